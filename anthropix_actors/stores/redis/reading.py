"""Reading logs: a look at what there is, and waits for what comes.

A look is one script: what it finds is of one moment, and of the log that a cursor names. A wait is one XREAD, which
only says where something has come. It says nothing of a log that has expired, or that Redis has lost: so each log is
looked at again and again, every few seconds, and after each fault of a connection.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anthropix_actors.stores.decoding import decoded
from anthropix_actors.stores.log import Lost, Unreadable
from anthropix_actors.stores.names import MOST_READ, checked_seconds, cursor_of
from anthropix_actors.stores.places import Places, rest_of
from anthropix_actors.stores.redis import log_scripts as scripts
from anthropix_actors.stores.redis.places import LogPlace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from anthropix_actors.stores.log import Entry, Reads
    from anthropix_actors.stores.redis.connections import Connections
    from anthropix_actors.stores.redis.keys import Keys

LONGEST_WAIT = 5.0
"""How long a reader takes at most to find that a log has expired, or that Redis has thrown it away, in seconds."""

_AT_ONCE = 250
"""How many logs are looked at in one script, some microseconds each, in which Redis does nothing else."""


class Reader:
    """Reads the logs of a store."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        """Take connections, and the names of keys."""
        self._connections = connections
        self._keys = keys
        self._places = Places(self._next_place)
        self._failed_at = 0.0  # what was seen before is in doubt

    def read(self, cursors: Mapping[str, str | None], wait: float, *, until_closed: bool = False) -> Reads:
        """Return what there is after cursors, as soon as there is anything.

        Args:
            cursors: As of `Log.read_many`.
            wait: For how many seconds to wait.
            until_closed: Whether not to wait if all of these logs are closed.
        """
        places = self._places.of(cursors)
        deadline = time.monotonic() + checked_seconds(wait, "wait")
        rung = self._unseen(places) if wait else places.values()
        while True:
            found = self._look(rung)
            left = deadline - time.monotonic()
            ended = until_closed and all(place.closed for place in places.values())
            if found or ended or left <= 0 or self._connections.closed:
                return found
            rung = self._listen(places, left)
            if self._connections.closed:
                return {}

    def _next_place(self, name: str, after: str | None, before: LogPlace | None) -> LogPlace:
        place = LogPlace(name, after, self._keys)
        if before is not None and before.generation == place.generation:
            place.seen = before.seen
        return place

    def _unseen(self, places: Mapping[str, LogPlace]) -> Collection[LogPlace]:
        """Return those that have to be looked at before they can be waited for."""
        since = max(time.monotonic() - LONGEST_WAIT / 2, self._failed_at)
        return [place for place in places.values() if place.seen < since]

    def _listen(self, places: Mapping[str, LogPlace], seconds: float) -> Collection[LogPlace]:
        """Wait for any of these; return those where something has come, or those that are to be looked at again."""
        if rest := rest_of(len(places), seconds):
            self._connections.pause(rest)
        streams = [place.stream for place in places.values()]
        rung = self._connections.listen(streams, min(seconds - rest, LONGEST_WAIT / 2))
        if rung is None:
            self._failed_at = time.monotonic()
        return [places[self._keys.name(key)] for key in rung] if rung else self._unseen(places)

    def _look(self, places: Iterable[LogPlace]) -> Reads:
        """Return what there is now."""
        by_shard: dict[str, list[LogPlace]] = {}
        for place in places:
            by_shard.setdefault(place.stream.shard, []).append(place)
        found: Reads = {}
        for there in by_shard.values():
            for first in range(0, len(there), _AT_ONCE):
                self._look_at(there[first : first + _AT_ONCE], found)
        return found

    def _look_at(self, places: Sequence[LogPlace], found: Reads) -> None:
        """Add what there is in logs of one shard."""
        now = time.monotonic()
        keys = [key for place in places for key in place.keys]
        args = [arg for place in places for arg in (place.generation or "", place.exact)]
        answers = self._connections.run(scripts.LOOK, keys, [MOST_READ, *args])
        for place in places:
            place.seen = now
        for number, what, *more in answers:
            place = places[number]
            if what != b"open":
                self._places.forget(place.name)
            if what == b"closed":
                place.close()
            if what in {b"lost", b"anew"}:
                found[place.name] = _lost(place.name, what)
            elif what == b"unreadable":
                found[place.name] = Unreadable(place.name, None, more[0].decode())
            elif more[2:]:
                found[place.name] = _entries(place.name, *more)


def _entries(name: str, generation: bytes, posted: int, *parts: bytes) -> list[Entry] | Unreadable:
    """Return entries of their ids and data, one after the other. A cursor names the epoch or mark of its entry, too."""
    log, epoch = generation.decode(), 0 if posted else None
    return decoded(name, (_kept(log, epoch, *pair) for pair in zip(parts[::2], parts[1::2], strict=True)))


def _kept(generation: str, epoch: int | None, entry_id: bytes, data: bytes) -> tuple[int, int, bytes, str]:
    place, _, mark = entry_id.decode().partition("-")
    number = int(place) - 1
    return int(mark) if epoch is None else epoch, number, data, cursor_of(f"{generation}x{mark}", number)


def _lost(name: str, what: bytes) -> Lost:
    if what == b"lost":
        return Lost(f"there is no log {name!r}")
    return Lost(f"the log {name!r} is not the one that was read: it was made anew, or has lost entries")
