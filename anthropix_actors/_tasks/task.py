"""The state of one task, shared by its actor, its refs and the sweeper.

One lock guards the followers and the terminal message together, and what subclasses add. No foreign code runs while it
is held.

The end comes in two steps. `settle` decides it, once, and leaves the terminal message with every delivery; `announce`
has it told. Mostly the work's own thread does both. Where foreign code keeps it from that, in a subscriber's `tell`, a
ledger, or the look-up of a host's name, the sweeper settles, and each follower that waits is told on a thread of its
own: so one that never returns costs nobody else anything.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pykka

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import LOGGER, log, log_end, shown
from anthropix_actors._foreign.threads import ASKER, in_background
from anthropix_actors._tasks.delivery import DEAD, Delivery, Gone
from anthropix_actors._tasks.supervised import Supervised
from anthropix_actors.errors import AnthropixError, CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._http.request import Timeout
    from anthropix_actors._http.transport import Transport
    from anthropix_actors._tasks.concurrency import Slots
    from anthropix_actors._tasks.subscriber import Subscriber

PATIENCE = 0.1
"""Seconds that the working thread gets to tell the end of its work, before others do."""

State = Literal["queued", "sent", "answering", "running", "retrying", "done", "failed", "cancelled"]
"""What work is doing: waiting for its turn; a chat waits for its answer, or gets it; other work runs; or it ended."""

_STATES: dict[str, State] = {"Done": "done", "Failed": "failed", "Cancelled": "cancelled"}
_NOBODY = "nobody listens any more"


class Task(Supervised):
    """The state of what one actor does: a chat, a batch, the following of a session.

    Attributes:
        followers: The deliveries to the subscribers; none after these have been told the end.
        callbacks: The deliveries to those that are told the end alone.
        waiting: A token of each caller that waits for the result.
        terminal: The message that ended it, or None.
        last: The messages of the end: the terminal message, and those right before it.
        finished: Set when the outcome is known.
        delivered: Set when all followers have been told of it.
        ref: The actor's ref.
        ledger: Is told the end, and keeps no task alive; or None.
        claim: Acquired once, by the thread that runs the actor's loop, or by the one that ends the task without it.
        slots: The queue in which it waits for its turn; None where there is none.
        thread: The ident of the thread that runs it; None before.
        held: A token of each thread that it waits for, and that waits for a turn itself.
        retried: A token of the latest attempt that another is to follow; None before.
        patience: Seconds that this thread gets to tell the end, before others do.
        enter: Has the client take note of the ref before it begins; may refuse, with an error of our tree.
        leave: Has the client take note of its end; must not block, and not raise.
    """

    def __init__(
        self,
        transport: Transport,
        scope: CancelScope,
        timeout: Timeout,
        *,
        tag: str | None = None,
        ledger: Subscriber | None = None,
    ) -> None:
        """Start without followers."""
        super().__init__(transport, scope, timeout, tag)
        self.ledger = ledger
        self._booked = self._logged = False
        self.enter: Callable[[Any], object] = _nothing
        self.leave: Callable[[Any], object] = _nothing
        self.lock = threading.RLock()
        self.followers: tuple[Delivery, ...] = ()
        self.callbacks: tuple[Delivery, ...] = ()
        self.waiting: set[object] = set()
        self.terminal: Any = None
        self.last: tuple[Any, ...] = ()
        self.finished = threading.Event()
        self.delivered = threading.Event()
        self.ref: Any = None
        self.slots: Slots | None = None
        self.claim = threading.Lock()
        self.thread: int | None = None
        self.held: set[object] = set()
        self.retried: object = None
        self.patience = PATIENCE
        self._late_since: float | None = None

    def __repr__(self) -> str:
        """Show kind, state, age and how many subscribers it has."""
        age = (self.ended or time.monotonic()) - self.made
        return f"<{type(self).__name__} {self.state}, {len(self.followers)} subscribers, {age:.1f} s>"

    # By each kind of work

    def cancelled_message(self, error: CancelledError) -> Any:
        """Return the terminal message of a task that was cancelled."""
        raise NotImplementedError

    def failed_message(self, error: AnthropixError) -> Any:
        """Return the terminal message of a task that failed."""
        raise NotImplementedError

    def annotated(self, error: AnthropixError) -> AnthropixError:
        """Return an error with what is known of the task added."""
        self.requester.annotate(error)
        return error

    # By the actor's thread

    def tell(self, message: Any, followers: Iterable[Delivery] | None = None) -> None:
        """Tell the followers; wait for a slow one.

        Raises:
            AnthropixError: the task was cancelled while it waited.
        """
        for follower in self.followers if followers is None else followers:
            try:
                follower.tell(message)
            except Gone:
                self.detach(follower)

    def tell_all(self, messages: Iterable[Any]) -> None:
        """Tell the followers several messages; see `Delivery.tell_all`. Raises as `tell`."""
        for follower in self.followers:
            try:
                follower.tell_all(messages)
            except Gone:
                self.detach(follower)

    def finish(self, terminal: Any, *before: Any) -> None:
        """Settle the end, unless it was settled, and announce it. Never waits for capacity, never raises.

        Args:
            terminal: The message.
            before: Messages to tell before it.
        """
        self.settle(terminal, *before)
        self.announce()

    def announce(self) -> None:
        """Make known the end that was settled. Runs foreign code, one subscriber's after the other's."""
        self._book_end()  # before anything shows that it has finished
        self.finished.set()
        for delivery in (*self.followers, *self.callbacks):
            self.drain(delivery)
        self._note_told()
        self.leave(self.ref)
        self._log_end()

    def _log_end(self) -> None:
        """Write the record of the end; after all have been told, as a handler may block."""
        with self.lock:
            logged, self._logged = self._logged, True
        if not logged and LOGGER.isEnabledFor(logging.INFO):
            error = getattr(self.terminal, "error", None)
            fields = {**self.fields(), "state": self.state, "status": getattr(error, "status", self.requester.status)}
            log_end(self.what, fields, error, getattr(self.terminal, "reason", ""))

    def tell_ledger(self, message: Any) -> None:
        """Tell the client's ledger, which does not keep a task alive."""
        if self.ledger is not None:
            try:
                self.ledger.tell(message)
            except BaseException as exc:  # noqa: BLE001 - it is the caller's, and must not end the work
                log(logging.ERROR, "%s failed to take a message", shown(self.ledger), exc_info=exc)

    def note_retry(self) -> None:
        """Take note of an attempt that failed, and that another follows."""
        self.retried = self.requester.sent

    def _book_end(self) -> None:
        with self.lock:
            booked, self._booked = self._booked, True
        if not booked:
            self.tell_ledger(self.terminal)

    def drain(self, delivery: Delivery) -> None:
        """Deliver what waits for one follower."""
        try:
            delivery.drain()
        except Gone:
            self.detach(delivery)
        if self.finished.is_set():
            self._note_told()

    def terminal_for(self, exc: BaseException) -> Any:
        """Return the terminal message for the exception that ended the task."""
        if isinstance(exc, CancelledError):
            self.annotated(exc)
            return self.cancelled_message(exc)
        if not isinstance(exc, AnthropixError):
            log(logging.ERROR, "a %s ended by an error of its own", self.what, exc_info=exc, **self.fields())
            bug = AnthropixError(f"an error in the {self.what} itself: {exc!r}")
            bug.__cause__ = exc
            exc = bug
        return self.failed_message(self.annotated(exc))

    # By any thread

    def settle(self, terminal: Any, *before: Any) -> None:
        """Decide the end, once. Runs no foreign code."""
        with self.lock:
            if self.terminal is not None:
                return
            self.terminal, self.last = terminal, (*before, terminal)
            self.ended = time.monotonic()
            for follower in self.followers:
                follower.close(*self.last)
            for callback in self.callbacks:
                callback.close(terminal)

    def detach(self, follower: Delivery, reason: str = _NOBODY) -> None:
        with self.lock:
            follower.detach()
            self.followers = tuple(each for each in self.followers if each is not follower)
        self.cancel_if_abandoned(reason)

    @property
    def is_wanted(self) -> bool:
        """Whether it has followers, or callers that wait for its result; True when it has finished."""
        return bool(self.followers or self.waiting) or self.terminal is not None

    def cancel_if_abandoned(self, reason: str = _NOBODY) -> None:
        """Cancel it if it has neither followers nor callers that wait."""
        with self.lock:
            wanted = self.is_wanted
        if not wanted:
            self.cancel(reason)

    def cancel(self, reason: str) -> bool:
        cancelled = super().cancel(reason)
        if self.slots is not None:
            self.slots.start_cancelled(self)
        return cancelled

    def tell_end_to(self, callback: Delivery) -> None:
        """Add a callback, which is told the end alone; at once if it has come."""
        with self.lock:
            if self.terminal is not None:
                callback.close(self.terminal)
            else:
                self.callbacks = (*self.callbacks, callback)
        self.drain(callback)

    def untell_end(self, callback: Delivery | None) -> None:
        """Take a callback back."""
        with self.lock:
            self.callbacks = tuple(each for each in self.callbacks if each is not callback)

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
        self._note_told()
        self.leave(self.ref)
        try:
            (SWEEPER.unwatch if self.delivered.is_set() and self.ledger is None else SWEEPER.watch)(self)
        except AnthropixError:  # not even a thread for the sweeper
            self.announce()
        return True

    def is_followed_by(self, actors: Container[str]) -> bool:
        """Return whether one of these actors, by their urns, follows it."""
        refs = (each.subscriber for each in self.followers if isinstance(each.subscriber, pykka.ActorRef))
        return any(ref.actor_urn in actors for ref in refs)

    @property
    def state(self) -> State:
        """What the task is doing."""
        if self.terminal is not None:
            return next(state for ending, state in _STATES.items() if type(self.terminal).__name__.endswith(ending))
        if self.began is None or self.requester.sent is None:
            return "queued"
        return "retrying" if self.retried is self.requester.sent else self._doing()

    def _doing(self) -> State:
        return "running"

    def _note_told(self) -> None:
        """Set `delivered` when all have been told of the end."""
        if all(delivery.is_told for delivery in (*self.followers, *self.callbacks)):
            self.followers = self.callbacks = ()
            self.delivered.set()

    # By the sweeper

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel; return a function that waits, up to a timeout, for followers and actor to finish."""
        followers = self.followers
        self.cancel(reason)

        def heard(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            self.delivered.wait(timeout)
            for follower in followers:
                follower.flush(max(0.0, deadline - time.monotonic()))
            if self.ref is not None:  # else an interrupt came before there was an actor
                self.ref.actor_stopped.wait(max(0.0, deadline - time.monotonic()))

        return heard

    def sweep(self, now: float) -> None:
        super().sweep(now)
        if self.terminal is None:
            for follower in self.followers:
                if not follower.is_alive():
                    ASKER.ask(partial(self._log_death, follower.subscriber))
                    self.detach(follower)
            self.cancel_if_abandoned()  # again, where an interrupt kept somebody who left from doing so
        cause = self.scope.cause
        if cause is not None:
            self.scope.cancel(cause)  # again, for the same reason
        if cause is not None or self.terminal is not None:
            self._late_since = self._late_since or now
            if now - self._late_since >= self.patience:
                if cause is not None:
                    self.settle(self.terminal_for(cause))
                self._tell_end_without_its_thread()

    def _log_death(self, subscriber: object) -> None:
        log(logging.WARNING, DEAD, shown(subscriber), **self.fields())

    def _tell_end_without_its_thread(self) -> None:
        """Have other threads deliver the end, where the task's own thread has not by now. In the sweeper's thread."""
        self.finished.set()
        if self.slots is not None:
            self.slots.give_back(self)
        if not self._booked:
            _elsewhere(self._book_end, "anthropix-ledger")
        for delivery in (*self.followers, *self.callbacks):
            if delivery.is_held_up:
                _elsewhere(partial(self.drain, delivery), "anthropix-told")
        self._note_told()
        self.leave(self.ref)
        if self.delivered.is_set():
            SWEEPER.unwatch(self)
            _elsewhere(self._log_end, "anthropix-log")

    def after_fork(self) -> None:
        """End it in a forked child."""
        self.lock, self.finished, self.delivered = threading.RLock(), threading.Event(), threading.Event()
        self.followers = self.callbacks = ()
        cause = CancelledError(f"the process was forked; the {self.what} goes on in the parent")
        self.scope.after_fork(cause)
        self.terminal = self.terminal or self.terminal_for(cause)
        self.finished.set()
        self._stop_actor()

    def _stop_actor(self) -> None:
        """Have the actor count as stopped, where no thread runs its loop; an interrupt may have left none."""
        if self.ref is not None:
            pykka.ActorRegistry.unregister(self.ref)
            self.ref.actor_stopped.set()


def _nothing(_: object) -> None:
    """Stand for a client that takes note of nothing."""


def _elsewhere(action: Callable[[], object], name: str) -> None:
    """Run something on a thread of its own; where there is none, the next look comes back to it.

    While the interpreter ends there never is one, from Python 3.12 on. So it runs here, or nobody would be told: what
    blocks then keeps the sweeper from the ends of others, and the exit waits for none of them longer than it says.
    """
    if not in_background(action, name) and SWEEPER.ending:
        action()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    # pykka does not see to it: a child that was forked in the middle of its registry would wait for the lock for ever.
    _registry = pykka.ActorRegistry._actor_refs_lock  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    os.register_at_fork(before=_registry.acquire, after_in_parent=_registry.release, after_in_child=_registry.release)
