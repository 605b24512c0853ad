"""The state of one task, shared by its actor, its refs and the sweeper.

One lock guards the terminal message, the audience, and what subclasses add. No foreign code runs while it is held.

A task ends in two steps: `settle` decides the outcome, once, and queues the terminal message in every delivery, and
`announce` delivers it. Normally its own thread does both. If that is blocked in foreign code (a `tell`, a ledger, DNS),
the sweeper settles, and each subscriber gets the message on a thread of its own: none delays the others.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pykka

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import LOGGER, log, log_end, shown
from anthropix_actors._foreign.raised import is_a
from anthropix_actors._tasks.audience import Audience
from anthropix_actors._tasks.flag import Flag
from anthropix_actors._tasks.supervised import Supervised
from anthropix_actors.errors import AnthropixError, CancelledError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._http.request import Timeout
    from anthropix_actors._http.transport import Transport
    from anthropix_actors._tasks.concurrency import Slots

PATIENCE = 0.1
"""Seconds that the task's thread gets to deliver the end, before other threads do."""

State = Literal["queued", "sent", "answering", "running", "retrying", "done", "failed", "cancelled", "suspended"]
"""The state of a task. Only a chat is `sent` (no response yet) or `answering`; only a turn may be `suspended`."""

_ENDS: dict[str, State] = {"Done": "done", "Failed": "failed", "Cancelled": "cancelled", "Suspended": "suspended"}
_STATES: dict[str, State] = {task + end: _ENDS[end] for task in ("Chat", "Batch", "Session", "Turn") for end in _ENDS}


class Task(Supervised):
    """The state of the task of one actor: a chat, a batch, or following a session.

    Attributes:
        lock: Guards what several threads change.
        audience: Its subscribers, callbacks and waiting callers; without any, it is cancelled.
        terminal: The message that ended it, or None.
        last: The messages of the end: the terminal message, and those right before it.
        finished: Set when the outcome is known.
        ref: The actor's ref.
        ledger: Gets the terminal message, but does not keep the task alive; or None.
        claim: Acquired once, by the thread that runs the actor's loop, or by the one that ends the task without it.
        slots: The concurrency limit whose queue it waits in; None if there is no limit.
        thread: The ident of the thread that runs it; None before.
        held: A token of each thread that it depends on, and that waits for a queued task itself.
        keep: Makes a queue for what a subscriber has no room for while others have; None if they wait for each other.
        retried: The token of the latest attempt that is to be followed by another; None before.
        patience: Seconds that its thread gets to deliver the end; then other threads do.
        enter: Registers the ref with the client before the task begins; may refuse with an `AnthropixError`.
        leave: Removes the ref from the client at the end; must not block or raise.
    """

    # Not set in `__init__`: beyond 30 attributes, each object has a table of their names of its own, which takes 1 KiB.
    keep: Callable[[], deque[Any]] | None = None
    retried: object = None
    patience = PATIENCE
    _late_since: float | None = None
    _booked = _logged = False

    def __init__(
        self, transport: Transport, scope: CancelScope, timeout: Timeout, *, tag: str | None = None, ledger: Any = None
    ) -> None:
        """Start without an audience."""
        super().__init__(transport, scope, timeout, tag)
        self.ledger = ledger
        self.enter: Callable[[Any], object] = _nothing
        self.leave: Callable[[Any], object] = _nothing
        self.lock = threading.RLock()
        self.audience = Audience(self)
        self.terminal: Any = None
        self.last: tuple[Any, ...] = ()
        self.finished = Flag(self.scope.condition)
        self.ref: Any = None
        self.slots: Slots | None = None
        self.claim = threading.Lock()
        self.thread: int | None = None
        self.held: set[object] = set()

    def __repr__(self) -> str:
        """Show kind, state, age and how many subscribers it has."""
        age = (self.ended or time.monotonic()) - self.made
        return f"<{type(self).__name__} {self.state}, {len(self.audience.deliveries)} subscribers, {age:.1f} s>"

    # In each kind of task

    def cancelled_message(self, error: CancelledError) -> Any:
        """Return the terminal message of a task that was cancelled."""
        raise NotImplementedError

    def failed_message(self, error: AnthropixError) -> Any:
        """Return the terminal message of a task that failed."""
        raise NotImplementedError

    def annotated(self, error: AnthropixError) -> AnthropixError:
        """Return an error with the details of the task added."""
        self.requester.annotate(error)
        return error

    def is_held_by(self, actors: set[str]) -> bool:  # noqa: ARG002 - for those that wait for others
        """Return whether it waits for one of these actors, by their urns."""
        return False

    # In the task's thread

    def finish(self, terminal: Any, *before: Any) -> None:
        """Settle the end, unless it was settled, and announce it. Never waits for capacity, never raises.

        Args:
            terminal: The message.
            before: Messages to deliver before it.
        """
        self.settle(terminal, *before)
        self.announce()

    def announce(self) -> None:
        """Deliver the end that was settled. Runs foreign code: that of one subscriber after the other."""
        if self._logged and self.audience.delivered.is_set():  # all of it was done before
            return
        self._book_end()  # before anything shows that it has finished
        self.finished.set()
        for delivery in self.audience.all_deliveries:
            self.audience.drain(delivery)
        self.audience.note_told()
        self.leave(self.ref)
        self._log_end()

    def _log_end(self) -> None:
        """Log the end; after it was delivered, as a logging handler may block."""
        with self.lock:
            logged, self._logged = self._logged, True
        if not logged and LOGGER.isEnabledFor(logging.INFO):
            error = getattr(self.terminal, "error", None)
            log_end(self.what, self.end_fields(self.state, error), error, getattr(self.terminal, "reason", ""))

    def tell_ledger(self, message: Any) -> None:
        """Tell the client's ledger, which does not keep a task alive."""
        if self.ledger is not None:
            try:
                self.ledger.tell(message)
            except BaseException as exc:  # noqa: BLE001 - the caller's code, which must not end the task
                log(logging.ERROR, "%s failed to take a message", shown(self.ledger), exc_info=exc)

    def note_retry(self) -> None:
        """Note that the latest attempt failed, and that another follows."""
        self.retried = self.requester.sent

    def _book_end(self) -> None:
        with self.lock:
            booked, self._booked = self._booked, True
        if not booked:
            self.tell_ledger(self.terminal)

    def terminal_for(self, exc: BaseException) -> Any:
        """Return the terminal message for the exception that ended the task."""
        if is_a(exc, CancelledError):
            self.annotated(exc)
            return self.cancelled_message(exc)
        if not is_a(exc, AnthropixError):
            log(logging.ERROR, "a %s ended by an error of its own", self.what, exc_info=exc, **self.fields())
            bug = AnthropixError(f"an error in the {self.what} itself: {shown(exc)}")
            bug.__cause__ = exc
            exc = bug
        return self.failed_message(self.annotated(exc))

    # In any thread

    def settle(self, terminal: Any, *before: Any) -> None:
        """Decide the end, once. Runs no foreign code."""
        with self.lock:
            if self.terminal is not None:
                return
            self.terminal, self.last = terminal, (*before, terminal)
            self.ended = time.monotonic()
            self.audience.close(*self.last)

    def cancel(self, reason: str) -> bool:
        cancelled = super().cancel(reason)
        if self.slots is not None:
            self.slots.start_cancelled(self)
        return cancelled

    def abort(self, error: AnthropixError) -> bool:
        """End a task whose thread could not be started; a thread that runs ends it itself.

        Runs no foreign code: the sweeper has the end delivered.

        Returns:
            Whether this call ended it.
        """
        if not self.claim.acquire(blocking=False):
            return False
        self.settle(self.terminal_for(self.scope.cause or error))
        self.finished.set()
        self._stop_actor()
        if self.slots is not None:
            self.slots.release(self)
        self.patience, self._late_since = 0.0, self.made  # at once
        self.audience.note_told()
        self.leave(self.ref)
        try:
            (SWEEPER.unwatch if self.audience.delivered.is_set() and self.ledger is None else SWEEPER.watch)(self)
        except AnthropixError:  # not even a thread for the sweeper
            self.announce()
        return True

    @property
    def state(self) -> State:
        """What the task is doing."""
        if self.terminal is not None:
            return _STATES[type(self.terminal).__name__]
        if self.began is None or self.requester.sent is None:
            return "queued"
        return "retrying" if self.retried is self.requester.sent else self._doing()

    def _doing(self) -> State:
        return "running"

    # In the sweeper's thread

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel; return a function that waits, up to a timeout, for subscribers and actor to finish."""
        deliveries = self.audience.deliveries
        self.cancel(reason)

        def join(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            self.audience.delivered.wait(timeout)
            for delivery in deliveries:
                delivery.flush(max(0.0, deadline - time.monotonic()))
            if self.ref is not None:  # else an interrupt came before there was an actor
                self.ref.actor_stopped.wait(max(0.0, deadline - time.monotonic()))

        return join

    def sweep(self, now: float) -> None:
        super().sweep(now)
        if self.terminal is None:
            self.audience.sweep()
        if (cause := self.scope.cause) is not None:
            self.scope.cancel(cause)  # again, where an interrupt kept a cancel from its end
        if cause is not None or self.terminal is not None:
            self._late_since = self._late_since or now
            if now - self._late_since >= self.patience:
                if cause is not None:
                    self.settle(self.terminal_for(cause))
                self._tell_end_without_its_thread(now - self._late_since)

    def _tell_end_without_its_thread(self, late: float) -> None:
        """Have other threads deliver the end, as the task's own thread has not yet. In the sweeper's thread."""
        self.finished.set()
        if self.slots is not None:
            self.slots.give_back(self)
        if not self._booked:
            SWEEPER.run_elsewhere(self._book_end, "anthropix-ledger")
        for delivery in self.audience.held_up(late):
            SWEEPER.run_elsewhere(partial(self.audience.drain, delivery), "anthropix-told")
        self.audience.note_told()
        self.leave(self.ref)
        if self.audience.delivered.is_set():
            SWEEPER.unwatch(self)
            SWEEPER.run_elsewhere(self._log_end, "anthropix-log")

    def after_fork(self) -> None:
        """End it in a forked child."""
        self.lock = threading.RLock()
        cause = CancelledError(f"the process was forked; the {self.what} goes on in the parent")
        self.scope.after_fork(cause)
        self.finished = Flag(self.scope.condition)
        self.audience.after_fork()
        self.settle(self.terminal_for(cause))
        self.finished.set()
        self._stop_actor()

    def _stop_actor(self) -> None:
        """Mark the actor as stopped, as no thread runs its loop. After an interrupt there may be no actor."""
        if self.ref is not None:
            pykka.ActorRegistry.unregister(self.ref)
            self.ref.actor_stopped.set()


def _nothing(_: object) -> None:
    """Do nothing, in place of a client's registry."""
