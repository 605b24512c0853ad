"""The names of keys in Redis. Pure."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import NamedTuple

_REMEMBERED = 10_000


class LogKeys(NamedTuple):
    """The keys of one log."""

    meta: str
    stream: str
    posted: str


class QueueKeys(NamedTuple):
    """The keys of one queue."""

    jobs: str
    waiting: str
    taken: str
    since: str
    held: str
    bell: str


class Keys:
    """Names keys: `prefix:{s00}:what:name`.

    What is in braces decides on the place in a Cluster. It is the name's shard: what is read together, or changed in
    one step, has to be in one place.

    Example:
        >>> Keys("anthropix", 1).log("talk-17").stream
        'anthropix:{s00}:entries:talk-17'
    """

    def __init__(self, prefix: str, shards: int) -> None:
        """Take what all keys begin with, and the number of shards."""
        self.prefix = prefix
        self.shards = [f"{{s{number:02d}}}" for number in range(shards)]
        self.log = lru_cache(_REMEMBERED)(self._log)

    def shard(self, name: str) -> str:
        """Return the shard of a log or queue."""
        return self.shards[zlib.crc32(name.encode()) % len(self.shards)]

    def _log(self, name: str) -> LogKeys:
        """Return the keys of a log."""
        shard = self.shard(name)
        return LogKeys(*(f"{self.prefix}:{shard}:{kind}:{name}" for kind in ("log", "entries", "posted")))

    def queue(self, name: str) -> QueueKeys:
        """Return the keys of a queue."""
        shard = self.shard(name)
        return QueueKeys(*(f"{self.prefix}:{shard}:{kind}:{name}" for kind in QueueKeys._fields))

    def holders(self, shard: str) -> str:
        """Return the key of a shard's holders, with the ends of their lives."""
        return f"{self.prefix}:{shard}:holders"

    def ends(self, shard: str) -> str:
        """Return the key of the bell that rings when a life is to end sooner than was said before."""
        return f"{self.prefix}:{shard}:ends"

    def reply(self, name: str, token: str) -> str:
        """Return the key of the answer to a call, for who lost the reply."""
        return f"{self.prefix}:{self.shard(name)}:reply:{token}"

    def pattern(self, beginning: str) -> str:
        r"""Return the pattern of `SCAN` for the logs whose names have this beginning.

        Example:
            >>> Keys("anthropix", 1).pattern("a*b")
            'anthropix:{s[0-9][0-9]}:log:a\\*b*'
        """
        prefix, beginning = (re.sub(r"([][*?\\^])", r"\\\1", text) for text in (self.prefix, beginning))
        return f"{prefix}:{{s[0-9][0-9]}}:log:{beginning}*"

    def name(self, key: str) -> str:
        """Return the name of the log or queue of which this is a key.

        Example:
            >>> Keys("anthropix", 1).name("anthropix:{s00}:entries:talk-17")
            'talk-17'
        """
        place = len(f"{self.prefix}:{self.shards[0]}:")  # all shards' names are as long
        return key[place:].partition(":")[2]
