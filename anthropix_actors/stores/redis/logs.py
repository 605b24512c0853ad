"""Logs in Redis Streams."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.cluster import RedisCluster

from anthropix_actors.errors import ParameterError
from anthropix_actors.stores.closing import Closing
from anthropix_actors.stores.log import Append, Entry, Fenced, Held, LogState, Lost, StoreError
from anthropix_actors.stores.names import (
    LARGEST_ENTRY,
    checked_append,
    checked_name,
    checked_prefix,
    checked_seconds,
    encoded,
    refused_closed,
    refused_gap,
    refused_mix,
)
from anthropix_actors.stores.redis import log_scripts as scripts
from anthropix_actors.stores.redis.many import run_many
from anthropix_actors.stores.redis.reading import Reader
from anthropix_actors.stores.redis.scripts import Call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.stores.log import Reads
    from anthropix_actors.stores.redis.connections import Connections
    from anthropix_actors.stores.redis.keys import Keys
    from anthropix_actors.stores.redis.scripts import Argument

_REMEMBERED = 100_000
_MARKS = 1_000_000


class _Claim(NamedTuple):
    """What is known of a log that was claimed here.

    Attributes:
        generation: Of which log the epoch is: another one of the same name may have the same epochs.
        length: How many entries it has had.
    """

    generation: bytes = b""
    length: int = 0


_UNKNOWN = _Claim()


class RedisLogs(Closing):
    """The logs of a `RedisStore`."""

    def __init__(self, connections: Connections, keys: Keys, max_entry_bytes: int = LARGEST_ENTRY) -> None:
        """Take connections, and the names of keys."""
        self._connections = connections
        self._keys = keys
        self._reader = Reader(connections, keys)
        self.max_entry_bytes = max_entry_bytes
        self._claims: OrderedDict[tuple[str, int], _Claim] = OrderedDict()

    def claim(self, name: str, holder: str | None = None) -> int:
        """Become the writer of a log; see `Log`."""
        log = self._keys.log(checked_name(name))
        who = "" if holder is None else checked_name(holder, "holder")
        keys = [self._new_reply(name), *log, self._keys.holders(self._keys.shard(name))]
        found = self._connections.run(scripts.CLAIM, keys, [who, secrets.token_hex(6), _mark()])
        if found[0] == b"mixed":
            raise refused_mix(name)
        if found[0] == b"held":
            raise Held(name, found[1].decode())
        epoch = int(found[1])
        if self._claims.get((name, epoch), _UNKNOWN).generation not in {b"", found[2]}:
            return self.claim(name, holder)  # or who has claimed here the log that was lost would write this one
        self._claims[name, epoch] = _Claim(found[2], found[3])
        if len(self._claims) > _REMEMBERED:
            self._claims.popitem(last=False)
        return epoch

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        """Append entries; see `Log`."""
        part = Append(epoch, first, entries, close)
        self._appended(name, part, self._connections.run(scripts.APPEND, *self._append_call(name, part)))

    def append_many(self, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
        """Append to several logs; see `Log`. It takes one round trip for each server that has some of them."""
        refused: dict[str, AnthropixError] = {}
        calls: dict[str, Call] = {}
        for name, part in appends.items():
            try:
                calls[name] = self._append_call(name, part)
            except ParameterError as exc:
                refused[name] = exc
        for name, reply in (run_many(self._connections, scripts.APPEND, calls) if calls else {}).items():
            if isinstance(reply, StoreError):
                refused[name] = reply
                continue
            try:
                self._appended(name, appends[name], reply)
            except (Lost, Fenced, ParameterError) as exc:
                refused[name] = exc
        return refused

    def _append_call(self, name: str, part: Append) -> Call:
        _, part, found = checked_append(name, part, self.max_entry_bytes)
        claim = self._claims.get((name, part.epoch), _UNKNOWN)
        return Call(self._keys.log(name), [claim.generation, part.epoch, part.first, int(part.close), *found])

    def _appended(self, name: str, part: Append, reply: Any) -> None:
        """Take the reply to it. Raises what `append` raises."""
        claim = self._claims.get((name, part.epoch), _UNKNOWN)
        what, *more = reply
        if what == b"lost":
            raise Lost(f"there is no log {name!r}, or it is another one of this name")
        if what == b"fenced":
            raise Fenced(f"the log {name!r} is of another writer, of epoch {more[0]}")
        if what == b"mixed":
            raise refused_mix(name)
        if what == b"gap" and more[0] < claim.length:
            raise Lost(f"the log {name!r} has lost entries: {more[0]} are left of {claim.length}")
        if what == b"gap":
            raise refused_gap(name, part.first, more[0])
        if what == b"closed":
            raise refused_closed(name)
        length = part.first + len(part.entries)
        if part.close:
            self._claims.pop((name, part.epoch), None)
        elif claim.generation and claim.length < length:
            self._claims[name, part.epoch] = _Claim(claim.generation, length)

    def post(self, name: str, data: Mapping[str, Any], *, key: str) -> bool:
        """Append one entry without being the writer; see `Log`."""
        log = self._keys.log(checked_name(name))
        checked_name(key, "key")
        args: list[Argument] = [secrets.token_hex(6), key, encoded(data, "data", self.max_entry_bytes), _mark()]
        found = int(self._connections.run(scripts.POST, [self._new_reply(name), *log], args))
        if found < 0:
            raise refused_mix(name)
        return bool(found)

    def read(self, name: str, after: str | None = None, *, wait: float = 0.0) -> list[Entry]:
        """Return the entries after a cursor; see `Log`."""
        found = self._reader.read({name: after}, wait, until_closed=True).get(name, [])
        if not isinstance(found, list):
            raise found
        return found

    def read_many(self, cursors: Mapping[str, str | None], *, wait: float = 0.0) -> Reads:
        """Return the entries of several logs; see `Log`. It takes a connection for each shard that they are in."""
        return self._reader.read(cursors, wait)

    def state(self, name: str) -> LogState | None:
        """Return the state of a log; see `Log`."""
        keys = [*self._keys.log(checked_name(name)), self._keys.holders(self._keys.shard(name))]
        found = self._connections.run(scripts.STATE, keys)
        if found is None:
            return None
        generation, epoch, length, closed, holder = found
        return LogState(generation.decode(), int(epoch), int(length), bool(closed), holder.decode() or None)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all logs; see `Log`. Redis goes through all its keys for that."""
        if not checked_prefix(prefix).isprintable():
            return []  # no name is so
        pattern = self._keys.pattern(prefix)
        metas = self._connections.ask(lambda client: _scanned(client, pattern))
        return sorted({self._keys.name(meta.decode()) for meta in metas})

    def expire(self, name: str, seconds: float | None) -> None:
        """Let a log be deleted later; see `Log`."""
        milliseconds = "" if seconds is None else int(checked_seconds(seconds, "seconds") * 1000)
        self._connections.run(scripts.EXPIRE, self._keys.log(checked_name(name)), [milliseconds])

    def delete(self, name: str) -> None:
        """Delete a log; see `Log`."""
        self._connections.run(scripts.DELETE, self._keys.log(checked_name(name)))

    def beat(self, holder: str, seconds: float) -> None:
        """Say how long a holder lives; see `Log`. Each shard is told."""
        checked_name(holder, "holder")
        milliseconds = int(checked_seconds(seconds, "seconds") * 1000)
        late = []
        for shard in self._keys.shards:
            try:
                self._beat(shard, holder, milliseconds, patience=0.0)
            except StoreError:
                late.append(shard)  # what is elsewhere is not to wait for it
        for shard in late:
            self._beat(shard, holder, milliseconds)

    def _beat(self, shard: str, holder: str, milliseconds: int, patience: float | None = None) -> None:
        keys = [self._keys.holders(shard), self._keys.ends(shard)]
        self._connections.run(scripts.BEAT, keys, [holder, milliseconds], patience=patience)

    def close(self) -> None:
        """Close the connections, and let those that wait go; see `Log`. What is called later is a `StoreError`."""
        self._connections.close()

    def _new_reply(self, name: str) -> str:
        return self._keys.reply(name, secrets.token_hex(8))


def _mark() -> int:
    """Return a number that tells a claim, or a post, from others at the same place of a log."""
    return 1 + secrets.randbelow(_MARKS)


def _scanned(client: Any, pattern: str) -> list[bytes]:
    if isinstance(client, RedisCluster):
        client.nodes_manager.initialize()  # keys may have moved to a node that is new
    return [*client.scan_iter(pattern, count=1000)]
