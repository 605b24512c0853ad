"""The logs of a store of one machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from anthropix_actors.errors import ParameterError
from anthropix_actors.stores.appends import append_each
from anthropix_actors.stores.decoding import decoded
from anthropix_actors.stores.local.base import Base
from anthropix_actors.stores.local.rules import missing_of, next_epoch, there, with_more
from anthropix_actors.stores.log import Append, Entry, Fenced, LogState, Lost, StoreError, Unreadable
from anthropix_actors.stores.names import (
    checked_append,
    checked_name,
    checked_prefix,
    checked_seconds,
    cursor_of,
    encoded,
    refused_mix,
)
from anthropix_actors.stores.places import Place, Places, rest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.stores.local.tables import Head, LogTables, Tables
    from anthropix_actors.stores.log import Reads


class Logs(Base):
    """A `Log` over tables. Safe from any thread."""

    max_entry_bytes: int

    def __init__(self) -> None:
        """Begin with nobody who reads."""
        super().__init__()
        self._places: Places[Place] = Places(lambda name, after, _: Place(name, after))

    def claim(self, name: str, holder: str | None = None) -> int:
        """Become the writer of a log; see `Log`."""
        checked_name(name)
        if holder is not None:
            checked_name(holder, "holder")

        def step(tables: Tables) -> int:
            head = tables.head(name) or tables.make(name)
            epoch = next_epoch(head, holder, held=tables.lives(head.holder))
            tables.claim(head, epoch, holder)
            return epoch

        return self._write(step)

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        """Append entries; see `Log`."""
        _, part, found = checked_append(name, Append(epoch, first, entries, close), self.max_entry_bytes)
        self._write(lambda tables: _add(tables, there(name, tables.head(name)), part, found))
        self._changes.tell(name)

    def append_many(self, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
        """Append to several logs; see `Log`. One transaction writes all of them."""
        refused: dict[str, AnthropixError] = {}
        wanted: dict[str, tuple[Append, list[bytes]]] = {}
        for name, each in appends.items():
            try:
                _, part, found = checked_append(name, each, self.max_entry_bytes)
                wanted[name] = part, found
            except ParameterError as exc:
                refused[name] = exc
        if wanted:
            refused |= self._append_together(wanted)
        return refused

    def _append_together(self, wanted: Mapping[str, tuple[Append, list[bytes]]]) -> dict[str, AnthropixError]:
        refused: dict[str, AnthropixError] = {}
        began = False

        def step(tables: Tables) -> None:
            nonlocal began
            began = True
            heads = tables.heads(wanted)
            for name, (part, found) in wanted.items():
                try:
                    _add(tables, there(name, heads.get(name)), part, found)
                except (Lost, Fenced, ParameterError) as exc:  # before anything of it is written
                    refused[name] = exc

        try:
            self._write(step)
        except StoreError:  # nothing of any is written; but a full disk may have room for some of them
            if not began or len(wanted) == 1:
                raise
            return append_each(self, {name: part for name, (part, _) in wanted.items()})
        for name in wanted:
            self._changes.tell(name)
        return refused

    def post(self, name: str, data: Mapping[str, Any], *, key: str) -> bool:
        """Append one entry without being the writer; see `Log`."""
        checked_name(name)
        checked_name(key, "key")
        found = encoded(data, "data", self.max_entry_bytes)

        def step(tables: Tables) -> bool:
            head = tables.head(name) or tables.make(name)
            if head.epoch:
                raise refused_mix(name)
            if tables.has_key(head, key):
                return False
            tables.add(head, 0, [found], key)
            return True

        if posted := self._write(step):
            self._changes.tell(name)
        return posted

    def read(self, name: str, after: str | None = None, *, wait: float = 0.0) -> list[Entry]:
        """Return the entries after a cursor; see `Log`."""
        place = Place(name, after)

        def step(tables: Tables) -> list[Entry] | None:
            head = there(name, tables.head(name))
            found = _entries(place, head, tables) if with_more(place, head) else []
            if isinstance(found, Unreadable):
                raise found
            return found if found or head.closed else None

        return self._waited(lambda _: self._read(step), wait, (name,)) or []

    def read_many(self, cursors: Mapping[str, str | None], *, wait: float = 0.0) -> Reads:
        """Return the entries of several logs; see `Log`."""
        places = self._places.of(cursors)

        def look(changed: Collection[str] | None) -> Reads | None:
            return self._read_now(places.values() if changed is None else [places[name] for name in changed]) or None

        if rest := rest_of(len(places), checked_seconds(wait, "wait")):
            time.sleep(rest)
        return self._waited(look, wait, places) or {}

    def state(self, name: str) -> LogState | None:
        """Return the state of a log; see `Log`."""
        checked_name(name)

        def step(tables: Tables) -> LogState | None:
            head = tables.head(name)
            if head is None:
                return None
            holder = head.holder if tables.lives(head.holder) else None
            return LogState(head.generation, head.epoch, head.length, head.closed, holder)

        return self._read(step)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all logs; see `Log`."""
        checked_prefix(prefix)
        return self._read(lambda tables: tables.names(prefix))

    def expire(self, name: str, seconds: float | None) -> None:
        """Let a log be deleted later; see `Log`."""
        checked_name(name)
        if seconds is not None:
            checked_seconds(seconds, "seconds")

        def step(tables: Tables) -> None:
            if (head := tables.head(name)) is not None:
                tables.end_in(head, seconds)

        self._write(step)
        self._changes.tell(name)

    def delete(self, name: str) -> None:
        """Delete a log; see `Log`."""
        checked_name(name)

        def step(tables: Tables) -> None:
            if (head := tables.head(name)) is not None:
                tables.drop(head)

        self._write(step)
        self._changes.tell(name)

    def beat(self, holder: str, seconds: float) -> None:
        """Say how long a holder lives; see `Log`."""
        checked_name(holder, "holder")
        checked_seconds(seconds, "seconds")
        self._write(lambda tables: tables.beat(holder, seconds))
        if not seconds:
            self._changes.tell()  # its jobs are free

    def _read_now(self, places: Collection[Place]) -> Reads:
        return self._read(lambda tables: _found(places, tables))


def _found(places: Collection[Place], tables: Tables) -> Reads:
    found: Reads = {}
    heads = tables.heads(place.name for place in places)
    for place in places:
        try:
            if (head := with_more(place, heads.get(place.name))) is not None:
                found[place.name] = _entries(place, head, tables)
        except Lost as exc:
            found[place.name] = exc
    return found


def _add(tables: LogTables, head: Head, part: Append, found: Sequence[bytes]) -> None:
    missing = missing_of(head, part.epoch, part.first, found)
    if missing:
        tables.add(head, part.epoch, missing)
    if part.close:
        tables.close(head)


def _entries(place: Place, head: Head, tables: Tables) -> list[Entry] | Unreadable:
    kept = enumerate(tables.entries(head, place.number), place.number)
    return decoded(
        head.name, ((epoch, number, data, cursor_of(head.generation, number)) for number, (epoch, data) in kept)
    )
