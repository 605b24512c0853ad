"""What a chat is at one moment, told of its log and its job."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.hub.entries import ENDS
from anthropix_actors.hub.entry_forms import kind_of
from anthropix_actors.stores import Lost

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anthropix_actors.stores import Entry, Job, Log, LogState

_REMEMBERED = 1000
"""How many logs are read on from where they were, when their state is asked for again."""


class ChatStatus(msgspec.Struct, frozen=True):
    """What a chat is at one moment.

    Attributes:
        name: Its name.
        state: "queued": its job waits, or it was claimed and has not begun; "running"; then "done", "failed" or
            "cancelled"; "lost": who ran it has died, and nobody goes on with it; "unknown": there is no such chat.
        attempts: How often it was begun, by any machine.
        entries: How many entries its log has.
        holder: Who runs it; None if nobody does.
        tag: The tag that it was given, or None.
    """

    name: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "lost", "unknown"]
    attempts: int = 0
    entries: int = 0
    holder: str | None = None
    tag: str | None = None


class Summary(msgspec.Struct, frozen=True):
    """What the entries of a log come to, up to one of them.

    Attributes:
        cursor: The cursor of that entry; None before the first.
        entries: How many they are.
        begins: How often the chat was begun.
        tag: The tag of the latest one that began.
        end: How it ended, or None.
    """

    cursor: str | None = None
    entries: int = 0
    begins: int = 0
    tag: str | None = None
    end: Literal["done", "failed", "cancelled"] | None = None

    def read_on(self, entries: Iterable[Entry]) -> Summary:
        """Return what these entries come to, and the next ones. Pure.

        Example:
            >>> from anthropix_actors.stores import Entry
            >>> Summary().read_on([Entry(1, 0, {"kind": "done"}, "a.0")]).end
            'done'
        """
        cursor, count, begins, tag, end = self.cursor, self.entries, self.begins, self.tag, self.end
        for entry in entries:
            cursor, count = entry.cursor, count + 1
            kind = kind_of(entry.data)
            if kind == "begin":
                begins, tag = begins + 1, _tag_of(entry)
            elif kind in ENDS:
                end = end or entry.data["kind"]
        return Summary(cursor, count, begins, tag, end)


def _tag_of(entry: Entry) -> str | None:
    tag = entry.data.get("tag")
    return tag if isinstance(tag, str) else None


class Summaries:
    """The summaries of logs, each read on from where it was read up to before. Any thread."""

    def __init__(self, log: Log) -> None:
        """Read nothing yet."""
        self._log = log
        self._known: OrderedDict[str, Summary] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, name: str) -> Summary:
        """Return what the entries of a log come to by now; without a log, they come to nothing."""
        with self._lock:
            known = self._known.pop(name, Summary())
        try:
            found = self._read_on(name, known)
        except Lost:  # it was just deleted, or made anew since it was read
            if known.cursor is None:
                return known
            return self.of(name)
        with self._lock:
            self._known[name] = found
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _read_on(self, name: str, known: Summary) -> Summary:
        while entries := self._log.read(name, known.cursor):
            known = known.read_on(entries)
        return known


def status_of(name: str, log: LogState | None, told: Summary, job: Job | None) -> ChatStatus:
    """Return what a chat is, by the state and the entries of its log, and its job. Pure.

    Example:
        >>> status_of("a", None, Summary(), None).state
        'unknown'
    """
    tag = told.tag if told.begins else None if job is None else job.data.get("tag")
    holder = None if log is None or told.end else log.holder
    state: Literal["queued", "running", "done", "failed", "cancelled", "lost", "unknown"]
    if told.end:
        state = told.end
    elif holder is not None:
        state = "running" if told.entries else "queued"
    elif job is not None:
        state = "queued"
    else:
        state = "unknown" if log is None else "lost"
    return ChatStatus(name, state, told.begins, told.entries, holder, tag)


publish("anthropix_actors.hub", (ChatStatus,))
