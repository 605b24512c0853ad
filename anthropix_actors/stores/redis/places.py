"""How far readers of logs are, and what Redis is sent for that. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors.stores.places import Place
from anthropix_actors.stores.redis import log_scripts as scripts

if TYPE_CHECKING:
    from collections.abc import Collection

    from anthropix_actors.stores.redis.keys import Keys

_LONGEST_EPOCH = 16
_OF_NO_LOG = "-"
"""A generation that no log has."""


class Stream:
    """A stream, and the id after which something new comes.

    Attributes:
        key: Its key.
        shard: The shard of that.
        sent_key: The key, as Redis is sent it.
        sent_after: The id, likewise.
    """

    __slots__ = ("key", "sent_after", "sent_key", "shard")

    def __init__(self, key: str, shard: str, after: str) -> None:
        """Take key and id."""
        self.key = key
        self.shard = shard
        self.sent_key = _sent(key)
        self.sent_after = _sent(after)


class LogPlace(Place):
    """How far a reader of a log is, and what is known of the log.

    Attributes:
        generation: Which log of the name that is of; None for any.
        exact: The id of the entry that was read last; empty if there is none.
        keys: Of the log's hash, and of its stream.
        stream: The log's stream, from there on.
        seen: When the log was there, and open, when it was looked at last, on the monotonic clock; 0 for never.
        closed: Whether nothing more comes.
    """

    __slots__ = ("closed", "exact", "keys", "seen", "stream")

    def __init__(self, name: str, after: str | None, keys: Keys) -> None:
        """Look at nothing yet."""
        super().__init__(name, after)
        generation, has_epoch, epoch = (self.generation or "").partition("x")
        if has_epoch and not (generation and epoch.isdecimal() and len(epoch) < _LONGEST_EPOCH):
            generation, epoch = _OF_NO_LOG, "0"  # a cursor, but of another store
        self.generation = generation or None
        self.exact = f"{self.number}-{epoch}" if epoch else str(self.number or "")
        self.keys = keys.log(name)[:2]
        last = f"{self.number}-{epoch or scripts.LAST_EPOCH}" if self.number else "0-0"
        self.stream = Stream(self.keys[1], keys.shard(name), last)
        self.seen = 0.0
        self.closed = False

    def close(self) -> None:
        """Note that nothing more comes, but that the log is deleted."""
        self.closed = True
        self.stream = Stream(self.stream.key, self.stream.shard, scripts.END)


def xread(streams: Collection[Stream], milliseconds: int) -> bytes:
    """Return the command that waits for any of some streams, at most so long.

    Example:
        >>> xread([Stream("p:{s00}:entries:a", "{s00}", "7-1")], 100).split()[2::2]
        [b'XREAD', b'COUNT', b'1', b'BLOCK', b'100', b'STREAMS', b'p:{s00}:entries:a', b'7-1']
    """
    start = "XREAD", "COUNT", "1", "BLOCK", str(milliseconds), "STREAMS"
    parts = [b"*%d\r\n" % (len(start) + 2 * len(streams)), *map(_sent, start)]
    parts += [stream.sent_key for stream in streams]
    parts += [stream.sent_after for stream in streams]
    return b"".join(parts)


def _sent(text: str) -> bytes:
    data = text.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)
