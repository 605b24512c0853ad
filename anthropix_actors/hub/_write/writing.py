"""The side of a hub that writes: which logs it has claimed, and what cancels their chats."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.interrupts import uninterrupted
from anthropix_actors._foreign.log import log
from anthropix_actors.errors import ConfigurationError, ParameterError, Problem
from anthropix_actors.hub._read.follower import Reading
from anthropix_actors.hub._write.appender import Appender
from anthropix_actors.hub._write.open_log import DAY, Counts, OpenLog
from anthropix_actors.hub.entries import ENDS, begin_entry
from anthropix_actors.hub.entry_forms import kind_of
from anthropix_actors.hub.log_writer import LogWriter
from anthropix_actors.stores import Fenced, Held, Lost, Unreadable
from anthropix_actors.stores.entries import entries_of, refuse_others
from anthropix_actors.stores.names import INBOX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.hub._read.crew import Crew
    from anthropix_actors.hub._read.follower import Follower
    from anthropix_actors.hub._write.open_log import Outcome
    from anthropix_actors.stores import Entry, Log, LogState
    from anthropix_actors.stores.beat import Beat

HUB_CLOSED = "the hub was closed"
"""Why the chats are cancelled that a hub writes, when it is closed."""

_PAUSE = 1.0
"""Seconds after which an inbox is read again that could not be read, or made."""

AGAIN = 60.0
"""Seconds after which what has ended is looked at once more: a replica may have become the primary that lacks its end.

Longer than that takes, by common settings. Until then, it is the old one that would be asked.
"""

_PARTING = 1.0
"""Seconds, at most, that a hub that is closed waits for the ends of what it cancelled; and again for the store."""


class Inbox(Reading):
    """Reads the cancels that are posted to a log, as long as its chat is written."""

    def __init__(self, opened: OpenLog, again: Callable[[Inbox, AnthropixError], None]) -> None:
        """Read from the beginning: a cancel may have come before the chat."""
        super().__init__(opened.name + INBOX)
        self._opened = opened
        self._again = again
        self._not_before = 0.0

    def wants_more(self) -> bool:
        """Return whether it is time to read."""
        return time.monotonic() >= self._not_before

    def fail(self, error: AnthropixError) -> None:
        """Go on, if need be with another log of the name: a chat that nobody could cancel would be paid for in full."""
        self.cursor = None
        if isinstance(error, Unreadable):  # nothing that comes later can be read either
            log(logging.WARNING, "a chat hears of no cancel any more: %s", error)
            return
        if not isinstance(error, Lost):
            self.rest()
        self._again(self, error)

    def rest(self) -> None:
        """Read nothing for a moment."""
        self._not_before = time.monotonic() + _PAUSE

    def take(self, entries: Sequence[Entry]) -> bool:
        """Cancel the chat, if one of the entries says so."""
        for entry in entries:
            if entry.data.get("kind") == "cancel":
                self._opened.cancel(str(entry.data.get("reason", "cancelled")))
                return False
        return True


class Writing:
    """The logs that a hub writes. Any thread.

    Attributes:
        counts: What has been written.
        appender: Writes.
    """

    def __init__(  # noqa: PLR0913 - the parts of a hub
        self, store: Log, holder: str, beat: Beat, follower: Follower, crew: Crew, *, ttl: float, patience: float
    ) -> None:
        """Write nothing yet."""
        self._store = store
        self._holder = holder
        self._beat = beat
        self._follower = follower
        self._crew = crew
        self._ttl = ttl
        self._lock = threading.Lock()
        self._open: dict[str, OpenLog | None] = {}  # None while it is being claimed
        self.counts = Counts()
        self.appender = Appender(store, self.counts, patience)

    @property
    def open(self) -> list[OpenLog]:
        """The logs that are being written."""
        with self._lock:
            return [opened for opened in self._open.values() if opened is not None]

    def begin(self, name: str, tag: str | None) -> LogWriter:
        """Claim a log, and return what writes it.

        Raises:
            Held: it is written by somebody who lives: by another hub, or by this one.
            ParameterError: it is closed.
            StoreError: the store could not be reached.
        """
        return uninterrupted(partial(self._begin, name, tag), LogWriter.release)

    def _begin(self, name: str, tag: str | None) -> LogWriter:
        with self._lock:
            if name in self._open:
                raise Held(name, self._holder)
            self._open[name] = None
        try:
            self._beat.hold()
            try:
                return self._opened(name, tag)
            except BaseException:
                self._beat.let_go()
                raise
        except BaseException:
            self._forget(name)
            raise

    def _opened(self, name: str, tag: str | None) -> LogWriter:
        epoch, state = self._claimed(name)
        kinds = [kind_of(entry.data) for entry in entries_of(self._store, name)] if state.length else []
        attempt = 1 + kinds.count("begin")
        self._make_inbox(name)
        self._store.expire(name, max(DAY, self._ttl))
        opened = OpenLog(
            self._store,
            self.appender,
            self.counts,
            name,
            holder=self._holder,
            epoch=epoch,
            first=len(kinds),
            begin=begin_entry(attempt, self._holder, tag),
            ttl=self._ttl,
        )
        writer = LogWriter(opened, self._crew, attempt)
        self._watch(opened)
        return writer

    def _make_inbox(self, name: str) -> None:
        """Make the inbox of a log, so that it can be read."""
        self._store.post(name + INBOX, {"kind": "open"}, key="open")
        self._store.expire(name + INBOX, max(DAY, self._ttl))

    def _read_again(self, opened: OpenLog, inbox: Inbox, error: AnthropixError) -> None:
        """Read an inbox again that could not be read, or that the store has thrown away. In the follower's thread."""
        if isinstance(error, Lost):
            try:
                self._make_inbox(opened.name)
            except Exception:  # noqa: BLE001 - of the store; it will be lost once more
                inbox.rest()
        with contextlib.suppress(ConfigurationError):  # the hub is closed
            self._follower.add(inbox)
        if opened.outcome is not None:  # it has ended meanwhile
            self._follower.drop(inbox)

    def refuse_others(self, name: str) -> None:
        """Refuse a log of something else, before it is taken from who writes it.

        Raises:
            ParameterError: it is none of a chat.
            StoreError: the store cannot be reached.
        """
        refuse_others(self._store, name, "name", "a chat", _is_chat)

    def _claimed(self, name: str) -> tuple[int, LogState]:
        state: LogState | None
        self.refuse_others(name)
        try:
            epoch = self._store.claim(name, self._holder)
        except Held:
            if (state := self._store.state(name)) is not None and state.closed:
                raise _ended(name) from None
            raise
        state = self._store.state(name)
        if state is None:
            raise Held(name, "nobody: it was deleted just now")
        if state.closed:
            raise _ended(name)
        return epoch, state

    def _watch(self, opened: OpenLog) -> None:
        """Let cancels reach its chat, until it has ended."""
        inbox = Inbox(opened, partial(self._read_again, opened))

        def end(outcome: Outcome) -> None:
            self._follower.drop(inbox)
            if outcome == "gone":  # or its readers would wait for as long as this hub has other chats
                self._beat.afterwards(partial(_free, opened))
            elif outcome == "closed":
                self._beat.afterwards(opened.look_again, AGAIN)
            self._beat.let_go()
            self._forget(opened.name)

        with self._lock:
            self._open[opened.name] = opened
        self._follower.add(inbox)
        opened.on_end(end)

    def close(self, grace: float) -> None:
        """Wait for the chats, cancel those that go on, and wait until their ends are in the store, or cannot be."""
        opened, deadline = self.open, time.monotonic() + grace
        _wait_for(opened, deadline)
        for each in opened:
            each.cancel(HUB_CLOSED)
            each.leave()
        _wait_for(opened, time.monotonic() + _PARTING)
        self.appender.hurry()
        _wait_for(opened, time.monotonic() + _PARTING)
        self.appender.close()

    def after_fork(self) -> None:
        """End all logs in a forked child: the parent writes them."""
        for opened in [*self._open.values()]:
            if opened is not None:
                opened.after_fork()

    def _forget(self, name: str) -> None:
        with self._lock:
            self._open.pop(name, None)


def _free(opened: OpenLog) -> None:
    with contextlib.suppress(Fenced, Lost, ParameterError):  # it is another's, or none any more
        opened.free()


def _is_chat(first: Mapping[str, Any] | None) -> bool:
    return first is None or kind_of(first) in {"begin", *ENDS}


def _ended(name: str) -> ParameterError:
    what = f"the log {name!r} is closed: its chat has ended. Follow it, or take another name"
    return ParameterError([Problem("name", what)])


def _wait_for(opened: Sequence[OpenLog], deadline: float) -> None:
    for each in opened:
        each.wait(max(0.0, deadline - time.monotonic()))
