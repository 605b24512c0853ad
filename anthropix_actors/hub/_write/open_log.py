"""One log that a chat is written into: what is not in the store yet, and how it ends."""

from __future__ import annotations

import collections
import logging
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import log, safely
from anthropix_actors._tasks.window import CountedWindow
from anthropix_actors.errors import CancelledError, ParameterError
from anthropix_actors.hub._write.refused import instead_of
from anthropix_actors.hub.entries import ENDS
from anthropix_actors.stores import Append, Fenced, Lost, StoreClosedError
from anthropix_actors.stores.names import INBOX

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors.hub._write.appender import Appender
    from anthropix_actors.stores import Log

Outcome: TypeAlias = Literal["closed", "refused", "fenced", "gone", "released"]
"""How the writing of a log ends.

- "closed": the end of its chat is in the store;
- "refused": the store did not take an entry, and the end says so; the chat is cancelled if nobody else follows it;
- "fenced": another writer has claimed it, or it was deleted: the chat is cancelled;
- "gone": it could not be written; the chat is cancelled if nobody else follows it, and another writer may claim it;
- "released": it was given up before anything was written.
"""

DAY = 86400.0
"""Seconds that a log lives at least from when it was begun: one that has no end is not kept for ever."""


class Counts(msgspec.Struct):
    """What the logs of a hub have come to."""

    logs: int = 0
    entries: int = 0
    batches: int = 0
    bytes: int = 0


class OpenLog:
    """A log that this process writes. The appender's thread writes it; the chat's adds to it.

    Attributes:
        name: Its name.
        outcome: How its writing ended; None while it goes on.
        window: How much of it waits, for the delivery.
        is_due: Whether the appender knows that it is to be written.
        failing_since: When it could not be written first, since it was last written, on the monotonic clock; else None.
        since: When the first of what waits came, on the monotonic clock.
        size: How many bytes of JSON the part has that is being written.
    """

    cancel_first = False
    outcome: Outcome | None = None
    is_due = False
    failing_since: float | None = None
    since = 0.0
    _at_once = sys.maxsize  # how many entries: one, where the store has not taken several
    _ends_early = False
    size = 0

    def __init__(  # noqa: PLR0913 - the parts of the state
        self,
        store: Log,
        appender: Appender,
        counts: Counts,
        name: str,
        *,
        holder: str,
        epoch: int,
        first: int,
        begin: dict[str, Any],
        ttl: float,
    ) -> None:
        """Go on with a log that was claimed, at the entry of number `first`; with `begin` as its chat begins."""
        self.name = name
        self._store = store
        self._appender = appender
        self._counts = counts
        self._holder = holder
        self._epoch = epoch
        self._first = self._next = first
        self._begin: dict[str, Any] | None = begin
        self._ttl = ttl
        self._waiting: collections.deque[dict[str, Any]] = collections.deque()
        self._has_end = self._is_closed = self._is_left = self._is_given_away = False
        self._scope: CancelScope | None = None
        self._cause: CancelledError | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[Outcome], object]] = []
        self.window = CountedWindow(partial(len, self._waiting))

    def __repr__(self) -> str:
        """Show name, state, and how much waits."""
        return f"<log {self.name!r}, {self.outcome or 'open'}, {len(self._waiting)} waiting>"

    # The chat's side

    @property
    def is_joined(self) -> bool:
        """Whether a chat writes it."""
        return self._scope is not None

    def join(self, scope: CancelScope) -> None:
        """Be the log of the chat that has this scope, unless it is that of another one."""
        if self.is_joined:
            return
        self._scope = scope
        self._appender.hold()
        SWEEPER.watch(self)
        self._begun()
        if self._cause is not None:
            scope.cancel(self._cause)

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry, to be written soon. Nothing follows an end."""
        if self._has_end or self.outcome is not None:
            return
        self._has_end = entry["kind"] in ENDS
        if not self._has_end:
            self._begun()
        self._put(entry)

    def _begun(self) -> None:
        """Say that a chat has begun. Of one that ends without a beginning, only the end is written."""
        begin, self._begin = self._begin, None
        if begin is not None:
            self._put(begin)

    def _put(self, entry: dict[str, Any]) -> None:
        if not self._waiting:
            self.since = time.monotonic()
        self._waiting.append(entry)
        self._appender.wake(self)

    def cancel(self, reason: str) -> None:
        """Cancel the chat; if it has not begun, it is cancelled as it begins. Any thread."""
        self._cause = CancelledError(reason)
        if self._scope is not None:
            self._scope.cancel(self._cause)

    def leave(self) -> None:
        """Give the log up, if nothing was written: others may claim it. Takes no lock. Any thread."""
        self._is_left = True
        self._appender.wake(self)

    def give_away(self) -> None:
        """Give the log up, unless its end is told: another writer is to go on with it. Any thread."""
        self._is_given_away = True
        self._appender.wake(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until its writing has ended, whatever the outcome."""
        return self._over.wait(timeout)

    def on_end(self, callback: Callable[[Outcome], object]) -> None:
        """Call a function with the outcome, soon after it is known; at once if it is."""
        with self._lock:
            if self.outcome is None:
                self._callbacks.append(callback)
                return
        callback(self.outcome)

    @property
    def behind(self) -> int:
        """How many entries wait."""
        return len(self._waiting)

    # The appender's side

    def next_part(self, most: int) -> Append | None:
        """Return what is to be appended next: entries of so many bytes of JSON, or one; None if nothing waits."""
        entries: list[dict[str, Any]] = []
        left = most
        for index in range(min(len(self._waiting), self._at_once)):
            if left <= 0:
                break
            entries.append(self._waiting[index])
            left -= _bytes_of(entries[-1])
        self.size = most - left
        if not entries:
            return None
        return Append(self._epoch, self._next, entries, close=entries[-1]["kind"] in ENDS)

    def settle(self, part: Append | None, error: BaseException | None) -> BaseException | None:
        """Take note of what came of a part, and do what else is due.

        Returns:
            The error after which the same is to be tried again; None if all is done, or the writing has ended.
        """
        try:
            if error is None:
                self._note(part)
                self._end_if_due()
            elif isinstance(error, Lost) and self._is_ours():
                self.give_up(error)  # the store came back without the last of it
                return None
            elif isinstance(error, ParameterError):
                self._not_taken(error)
                return None
        except BaseException as exc:  # noqa: BLE001 - of the store, which may be anybody's
            error = exc
        if isinstance(error, (Fenced, Lost)):
            log(logging.WARNING, "%s is not ours any more; its chat is cancelled", self, exc_info=error)
            self.cancel(f"the log {self.name!r} was claimed by another writer, or deleted")
            self._end("fenced")
        elif isinstance(error, (ParameterError, StoreClosedError)):
            self.give_up(error)
        else:
            return error
        return None

    def _note(self, part: Append | None) -> None:
        if part is None:
            return
        count = len(part.entries)
        self._next += count
        self._is_closed = part.close
        self._counts.entries += count
        self._counts.bytes += self.size
        self._forget(count)

    def _end_if_due(self) -> None:
        if self._is_closed:
            for name in (self.name, self.name + INBOX):
                self._store.expire(name, self._ttl)
            self._end("refused" if self._ends_early else "closed")
            return
        is_untouched = self._is_left and self._next == self._first
        is_given_away = self._is_given_away and not self._has_end
        if (is_untouched or is_given_away) and not self._waiting:
            self.free()
            self._end("released")

    def _not_taken(self, refusal: ParameterError) -> None:
        """Find the entry that the store does not take, and put another one in its place."""
        try:
            self._store.append(self.name, self._epoch, self._next, [])
        except ParameterError:  # it takes nothing at all, as it has lost entries
            self.give_up(refusal)
            return
        if self._at_once == 1:
            self._replace(refusal)
        else:
            self._at_once = 1

    def _replace(self, refusal: ParameterError) -> None:
        entry = self._waiting[0]
        log(logging.ERROR, "%s: the store did not take entry %d", self, self._next, exc_info=refusal)
        other = instead_of(entry, self._next, refusal)
        if other is None:
            self.free()  # so its readers are told that it is lost
            self._end("refused")
            return
        self._at_once = 1 if (is_end := other["kind"] in ENDS) else sys.maxsize
        self._has_end = self._has_end or is_end
        self._ends_early = self._ends_early or other["kind"] != entry["kind"]
        self._waiting[0] = other

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()
        self.since = time.monotonic()
        self.window.moved()

    def free(self) -> None:
        """Let the log be nobody's, where it is ours. Raises what the store raises."""
        # Not by way of its entries: a broker that came back without the last of them refuses what follows those.
        if not self._is_ours():
            raise Fenced(f"the log {self.name!r} is another writer's, or was deleted")
        self._store.claim(self.name)

    def _is_ours(self) -> bool:
        state = self._store.state(self.name)
        return state is not None and state.epoch == self._epoch and state.holder in {None, self._holder}

    def look_again(self) -> None:
        """Let the log be nobody's, if the store has lost its end: its readers wait for one who lives, but is done."""
        state = self._store.state(self.name)
        if state is not None and not state.closed and self._is_ours():
            log(logging.ERROR, "the store has lost the end of %s", self)
            self._store.claim(self.name)

    def give_up(self, exc: BaseException) -> None:
        """Write no more; let another writer have it as soon as the store is there."""
        log(logging.ERROR, "%s could not be written, and is given up", self, exc_info=exc)
        self._end("gone")

    def _end(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcome = outcome
            callbacks, self._callbacks = self._callbacks, []
        self._counts.logs += outcome == "closed"
        self._waiting.clear()
        self.window.moved()
        SWEEPER.unwatch(self)
        if self.is_joined:
            self._appender.let_go()
        for callback in callbacks:
            safely("a callback of a log", callback, outcome)
        self._over.set()  # last: whoever has waited finds its name free

    # As the sweeper sees it

    def sweep(self, now: float) -> None:
        """Have nothing to do: the appender looks at the time."""

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:  # noqa: ARG002 - its chat is watched itself
        """Return a function that waits until the end is in the store."""
        return self.wait

    def after_fork(self) -> None:
        """End it in a forked child: the parent writes it."""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.outcome = "gone"
        self._over.set()


def _bytes_of(entry: dict[str, Any]) -> int:
    try:
        return len(msgspec.json.encode(entry))
    except Exception:  # noqa: BLE001 - what is no JSON is refused by the store
        return 0
