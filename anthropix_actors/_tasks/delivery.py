"""Flow control between a task and its subscribers.

One `Delivery` per subscriber. `tell` may wait for capacity; `put`, `close` and `drain` never do. The rules:

- a subscriber has at most `window` messages sent and not yet handled; then the task waits, reads nothing, and the
  server waits;
- every wait goes through the scope of the task;
- how much an actor has handled is measured, as `mailbox` says;
- a subscriber that has stopped or failed (`Gone`) gets no more messages.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.raised import is_a
from anthropix_actors._foreign.threads import Pulse, in_background

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.subscriber import Subscriber

    Keep: TypeAlias = Callable[[], Callable[[], collections.deque[Any]] | None]

WINDOW = 256
"""The default of `window`: how many messages a subscriber may be behind."""

DEAD = "%s stopped before what it followed had ended; it is told nothing more"
FAILED = "%s failed to take a message and is told nothing more"


_NONE: collections.deque[Any] = collections.deque(maxlen=0)
"""What waits in a delivery as long as nothing ever did: a deque of its own takes 0.75 KiB all the time."""


class Gone(Exception):  # noqa: N818 - a signal between two modules, not an error
    """The subscriber takes no more messages."""


class Delivery:
    """Messages to one subscriber, in order, one at a time. This class is for a subscriber that is not an actor.

    Several threads may have messages for it: the task's thread, the thread that subscribed it, and a thread that sends
    the terminal message while the task's thread is blocked. One of them has the turn, and calls `tell`; the others put
    their messages into `_waiting`, and the thread with the turn sends them. So only the thread that runs a `tell` waits
    for it, and no lock is held while it runs: it may take any time, and call anything.

    The turn is a token in an attribute, not a lock: releasing it is not a call, so no interrupt can come between.

    Attributes:
        subscriber: The subscriber.
        detached: Whether it was detached: it gets no more messages, not even the terminal one.
        takes_events: Whether it takes the events of a chat as they are, by a `tell_events`, in place of messages.
    """

    takes_events: ClassVar[bool] = False

    def __init__(self, subscriber: Subscriber, scope: CancelScope, size: int = WINDOW) -> None:
        """Hold the subscriber, the scope of the task that it follows, and how many messages may wait for a turn."""
        self.subscriber = subscriber
        self.detached = False
        self._scope = scope
        self._size = size
        self._pulse = Pulse(subscriber)
        self._lock = threading.RLock()  # held briefly, and never while the subscriber's code runs
        self._turn: object | None = None  # the token of the thread that has the turn
        self._waiting = _NONE
        self._closed = False  # the last messages are waiting, or were sent

    def __repr__(self) -> str:
        """Show the subscriber, the state, and how many messages wait."""
        state = "detached" if self.detached else "closed" if self._closed else "open"
        return f"<{type(self).__name__} to {shown(self.subscriber)}, {state}, {len(self._waiting)} waiting>"

    # In the task's thread

    def tell(self, message: Any) -> None:
        """Send a message; wait for capacity if needed. Raises as `tell_all`. In the task's thread."""
        self.tell_all((message,))

    def tell_all(self, messages: Iterable[Any]) -> None:
        """Send messages until it is detached; wait for capacity if needed. In the task's thread.

        A message is taken from an iterator only when it can be sent: so the caller's iterator knows which were. It has
        to know how many are left, as that of a list does.

        Raises:
            Gone: the subscriber takes no more messages.
            CancelledError: the task was cancelled before the last message was sent.
        """
        mine = object()
        try:
            self._scope.check()
            if not self._waiting and self._takes_turn(mine):
                self._tell_each(messages)
            else:
                self._wait_behind(messages)
        finally:
            if self._turn is mine:
                self._turn = None
        if self._is_due():
            self.drain()

    def offer_all(self, messages: Iterable[Any], keep: Keep) -> None:  # noqa: ARG002
        """Send messages, or those that there is room for, where that is known; the others wait in a queue of `keep`.

        As long as `keep()` is None, wait for room: no other subscriber is held up. Raises as `tell_all`.
        """
        self.tell_all(messages)

    @property
    def is_behind(self) -> bool:
        """Whether it has no room, or messages are kept for it."""
        return False

    def _tell_each(self, messages: Iterable[Any]) -> None:
        """Send messages; this thread has the turn."""
        if self.detached:
            return
        for message in messages:
            self._tell_now(message)
            self._scope.check()
            if self.detached:
                return

    def _wait_behind(self, messages: Iterable[Any]) -> None:
        """Leave messages to the thread that has the turn; wait while too many are waiting."""
        self._wait_for(self._has_turns)
        for message in messages:
            if not self._closed:
                self.put(message)
            if self._turn is None:
                self.drain()
            self._wait_for(self._has_turns)

    def _has_turns(self) -> bool:
        return len(self._waiting) < self._size

    def _wait_for(self, has_room: Callable[[], bool]) -> None:
        """Wait for capacity, or until it is detached: then capacity might never come."""
        self._scope.wait(lambda: self.detached or has_room())

    # In any thread

    def put(self, *messages: Any) -> None:
        """Queue messages for `drain`. Runs none of the subscriber's code, and never waits. Any thread."""
        if not self.detached:
            with self._lock:
                if self._waiting is _NONE:
                    self._waiting = collections.deque()
            self._waiting.extend(messages)

    def close(self, *last: Any) -> None:
        """Queue the last messages for `drain`; later ones are not sent. As `put`."""
        self._closed = True
        self.put(*last)

    def drain(self) -> None:
        """Send the waiting messages, unless another thread has the turn: then that thread sends them. Any thread.

        Raises:
            Gone: the subscriber takes no more messages.
        """
        mine = object()
        try:
            while self._is_due() and self._takes_turn(mine):
                self._tell_waiting()
                self._turn = None  # and re-check: no other thread has seen the messages that came before this line
                self._scope.notify()
        finally:
            if self._turn is mine:
                self._turn = None

    def drain_safely(self) -> None:
        """Drain, in a thread that must not fail. The sweeper looks for a subscriber that takes no more. Any thread."""
        with contextlib.suppress(Gone):
            self.drain()

    def drain_in_background(self) -> None:
        """Drain on a thread of its own. Any thread."""
        in_background(self.drain_safely, "anthropix-told")

    def detach(self) -> None:
        """Send it no more messages. One that another thread is sending at this moment may still arrive. Any thread."""
        self.detached = True
        self._waiting.clear()
        self._scope.notify()  # a thread may wait for its capacity

    @property
    def is_told(self) -> bool:
        """Whether all its messages have been sent."""
        return self.detached or (self._turn is None and not self._waiting)

    @property
    def is_held_up(self) -> bool:
        """Whether messages are due, and no thread is sending them."""
        return self._turn is None and self._is_due()

    @property
    def is_telling(self) -> bool:
        """Whether a thread is sending messages, or has stopped in the middle of that."""
        return self._turn is not None

    def _is_due(self) -> bool:
        """Whether there are messages that may be sent now."""
        return bool(self._waiting)

    def _takes_turn(self, mine: object) -> bool:
        with self._lock:
            if self._turn is None:
                self._turn = mine
        return self._turn is mine

    def _tell_waiting(self) -> None:
        """Send the waiting messages; this thread has the turn."""
        with contextlib.suppress(IndexError):  # at the end; or it has just been detached
            while True:
                self._tell_now(self._waiting.popleft())

    def _tell_now(self, message: Any) -> None:
        """Run the subscriber's `tell`.

        Raises:
            Gone: the subscriber takes no more messages.
        """
        try:
            self.subscriber.tell(message)
        except BaseException as exc:  # no exception of the subscriber's may pass: a SystemExit would stop every actor
            raise self._gone(exc) from exc

    def _gone(self, exc: BaseException) -> BaseException:
        self.detach()
        if is_a(exc, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            return exc  # Ctrl-C, not an exception of the subscriber
        if is_a(exc, pykka.ActorDeadError):
            log(logging.WARNING, DEAD, shown(self.subscriber))
        else:
            log(logging.ERROR, FAILED, shown(self.subscriber), exc_info=exc)
        return Gone()

    def until_handled(self) -> bool:
        """Wait until it has handled its messages; return whether it has. In the task's thread."""
        return True

    def flush(self, timeout: float) -> None:
        """Wait until it has handled its messages, for at most `timeout` seconds."""

    def is_alive(self) -> bool:
        """Return whether it can still take messages, as far as is known.

        In the sweeper's thread, which runs none of its code. A subscriber may have an `is_alive()` that says so.
        """
        return self._pulse.is_alive()


def is_to(delivery: Delivery, subscriber: object) -> bool:
    """Return whether a delivery is to this subscriber: the same object, not just an equal one; or the same actor."""
    known = delivery.subscriber
    if isinstance(known, pykka.ActorRef) and isinstance(subscriber, pykka.ActorRef):
        return known.actor_urn == subscriber.actor_urn
    return known is subscriber
