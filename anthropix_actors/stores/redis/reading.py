"""Reading logs: a look at what there is, and waits for what comes.

A look is one script: what it finds is of one moment, and of the log that a cursor names. A wait is one XREAD, which
only says where something has come. It says nothing of a log that has expired, or that Redis has lost: so each log is
looked at again and again, every few seconds, and after each fault of a connection.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from anthropix_actors.stores.log import Entry, Lost
from anthropix_actors.stores.names import MOST_READ, checked_seconds, cursor_of, place_of
from anthropix_actors.stores.redis import log_scripts as scripts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anthropix_actors.stores.redis.connections import Connections
    from anthropix_actors.stores.redis.keys import Keys

    Found = dict[str, list[Entry] | Lost]

LONGEST_WAIT = 5.0
"""How long a reader takes at most to find that a log has expired, or that Redis has thrown it away, in seconds."""

_REMEMBERED = 100_000
_LONGEST_EPOCH = 16
_OF_NO_LOG = "-"
"""A generation that no log has."""


class Reader:
    """Reads the logs of a store."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        """Take connections, and the names of keys."""
        self._connections = connections
        self._keys = keys
        # Logs that were there and open when they were looked at last, with their generation and the time.
        self._seen: dict[str, tuple[str, float]] = {}

    def read(self, cursors: Mapping[str, str | None], wait: float, *, until_closed: bool = False) -> Found:
        """Return what there is after cursors, as soon as there is anything.

        Args:
            cursors: As of `Log.read_many`.
            wait: For how many seconds to wait.
            until_closed: Whether not to wait if all of these logs are closed.
        """
        places = {name: _Place(after) for name, after in cursors.items()}
        deadline = time.monotonic() + checked_seconds(wait, "wait")
        rung = self._unseen(places) if wait else places
        while True:
            found = self._look({name: places[name] for name in rung}) if rung else {}
            left = deadline - time.monotonic()
            ended = until_closed and all(place.closed for place in places.values())
            if found or ended or left <= 0 or self._connections.closed:
                return found
            rung = self._listen(places, left)
            if self._connections.closed:
                return {}

    def _unseen(self, places: Mapping[str, _Place]) -> Iterable[str]:
        """Return those that have to be looked at before they can be waited for."""
        since = time.monotonic() - LONGEST_WAIT / 2
        never = ("", 0.0)
        return [
            name
            for name, place in places.items()
            if (seen := self._seen.get(name, never))[1] < since or seen[0] != place.generation
        ]

    def _listen(self, places: Mapping[str, _Place], seconds: float) -> Iterable[str]:
        """Wait for any of these; return those where something has come, or all that are to be looked at again."""
        names = {self._keys.log(name).stream: name for name in places}
        streams = {stream: places[name].last for stream, name in names.items()}
        rung = self._connections.listen(streams, min(seconds, LONGEST_WAIT / 2))
        if rung is None:
            self._seen.clear()
        return [names[stream] for stream in rung] if rung else places

    def _look(self, places: Mapping[str, _Place]) -> Found:
        """Return what there is now."""
        by_shard: dict[str, list[str]] = {}
        for name in places:
            by_shard.setdefault(self._keys.shard(name), []).append(name)
        now = time.monotonic()
        found: Found = {}
        for names in by_shard.values():
            keys = [key for name in names for key in self._keys.log(name)[:2]]
            args = [arg for name in names for arg in (places[name].generation, places[name].exact)]
            answers = self._connections.run(scripts.LOOK, keys, [MOST_READ, *args])
            self._remember(names, places, now)
            for number, what, *more in answers:
                name = names[number]
                if what != b"open":
                    self._seen.pop(name, None)
                places[name].closed = what == b"closed"
                if what in {b"lost", b"anew"}:
                    found[name] = _lost(name, what)
                elif more[2:]:
                    found[name] = _entries(*more)
        return found

    def _remember(self, names: Iterable[str], places: Mapping[str, _Place], now: float) -> None:
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        for name in names:
            self._seen[name] = places[name].generation, now


class _Place:
    """How far a reader of a log is."""

    __slots__ = ("_after", "closed", "exact", "generation")

    def __init__(self, after: str | None) -> None:
        place, number = place_of(after)
        generation, has_epoch, epoch = (place or "").partition("x")
        if has_epoch and not (generation and epoch.isdecimal() and len(epoch) < _LONGEST_EPOCH):
            generation, epoch = _OF_NO_LOG, "0"  # a cursor, but of another store
        self.generation = generation
        self.exact = f"{number}-{epoch}" if epoch else str(number or "")
        self._after = f"{number}-{epoch or scripts.LAST_EPOCH}" if number else "0-0"
        self.closed = False

    @property
    def last(self) -> str:
        """The id after which something new comes."""
        return scripts.END if self.closed else self._after


def _entries(generation: bytes, posted: int, *parts: bytes) -> list[Entry]:
    """Return entries of their ids and data, one after the other. A cursor names the epoch or mark of its entry, too."""
    epoch = 0 if posted else None
    return [_entry(generation.decode(), epoch, *pair) for pair in zip(parts[::2], parts[1::2], strict=True)]


def _entry(generation: str, epoch: int | None, entry_id: bytes, data: bytes) -> Entry:
    place, _, mark = entry_id.decode().partition("-")
    number, cursor = int(place) - 1, cursor_of(f"{generation}x{mark}", int(place) - 1)
    return Entry(int(mark) if epoch is None else epoch, number, msgspec.json.decode(data), cursor)


def _lost(name: str, what: bytes) -> Lost:
    if what == b"lost":
        return Lost(f"there is no log {name!r}")
    return Lost(f"the log {name!r} is not the one that was read: it was made anew, or has lost entries")
