"""Flow control between work and those who follow it.

One `Delivery` per subscriber. `tell` may wait until there is room; `put`, `close` and `drain` never do. The rules:

- a subscriber has at most `window` messages told and not yet handled; then the work waits, reads nothing, and the
  server waits;
- every wait goes through the scope of the work;
- how much an actor has handled is measured with a probe, a message that pykka itself answers, in its turn, so any actor
  can subscribe and none has to know;
- who is gone (`Gone`) is told nothing more.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import logging
import threading
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import ProxyGetAttr

from anthropix_actors._checks.hints import no_subscriber
from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.threads import Pulse
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.subscriber import Subscriber

WINDOW = 256
"""How many messages a subscriber may be behind, unless told otherwise."""

_PROBE = ProxyGetAttr(attr_path=("actor_urn",))
_PROBES_PER_WINDOW = 4

DEAD = "%s stopped before what it followed had ended; it is told nothing more"


class Gone(Exception):  # noqa: N818 - a message between two modules, no error
    """The subscriber will take no more messages."""


class Delivery:
    """Messages to one subscriber, in order, and one at a time. This kind is for one that is no actor.

    Several threads may have something to say to it: the one that works, the one that subscribed it, and one that makes
    an end known which the working thread is kept from. One of them has the turn, and calls `tell`; the others leave
    what they have in `_waiting`, where whoever has the turn finds it. So no thread waits for a `tell` but the one that
    runs it, and no lock is held while it runs: it may take as long as it likes, and call whatever it likes.

    The turn is a token in an attribute, not a lock: where it is given up, an interrupt finds no call to come between.

    Attributes:
        subscriber: Who is told.
        left: It does not follow any more: nothing more is told, not even the end.
    """

    def __init__(self, subscriber: Subscriber, scope: CancelScope, size: int = WINDOW) -> None:
        """Hold the subscriber, the scope of the work that it follows, and how many messages may wait for a turn."""
        self.subscriber = subscriber
        self.detached = False
        self._scope = scope
        self._size = size
        self._pulse = Pulse(subscriber)
        self._lock = threading.RLock()  # held for moments, and never while the subscriber's code runs
        self._turn: object | None = None  # the token of the thread that has it
        self._waiting: collections.deque[Any] = collections.deque()
        self._closed = False  # the last messages are among those that wait, or were told

    def __repr__(self) -> str:
        """Show whom it is to, and what waits."""
        state = "detached" if self.detached else "closed" if self._closed else "open"
        return f"<{type(self).__name__} to {shown(self.subscriber)}, {state}, {len(self._waiting)} waiting>"

    # By the thread that works

    def tell(self, message: Any) -> None:
        """Tell it; wait for room if need be. Raises as `tell_all`."""
        self.tell_all((message,))

    def tell_all(self, messages: Sequence[Any]) -> None:
        """Tell it messages, as long as it follows; wait for room if need be.

        Raises:
            Gone: it will take no more.
            CancelledError: the work was cancelled before the last of them.
        """
        mine = object()
        try:
            if not self._waiting and self._takes_turn(mine):
                self._tell_each(messages)
            else:
                self._wait_behind(messages)
        finally:
            if self._turn is mine:
                self._turn = None
        if self._waiting:
            self.drain()

    def _tell_each(self, messages: Sequence[Any]) -> None:
        """Tell messages; this thread has the turn."""
        for message in messages:
            self._scope.check()
            if self.detached:
                return
            self._tell_now(message)

    def _wait_behind(self, messages: Sequence[Any]) -> None:
        """Leave messages to the thread that has the turn; wait while it is far behind."""
        for message in messages:
            self._wait_for(lambda: len(self._waiting) < self._size)
            if not self._closed:
                self.put(message)
            if self._turn is None:
                self.drain()

    def _wait_for(self, has_room: Callable[[], bool]) -> None:
        """Wait for room, or until it follows no more: then nobody may ever make room."""
        self._scope.wait(lambda: self.detached or has_room())

    # By any thread

    def put(self, *messages: Any) -> None:
        """Leave messages for `drain`. Runs none of the subscriber's code, and waits for nothing."""
        if not self.detached:
            self._waiting.extend(messages)

    def close(self, *last: Any) -> None:
        """Leave the last messages for `drain`; whatever comes later is not told. As `put`."""
        self._closed = True
        self.put(*last)

    def drain(self) -> None:
        """Tell what waits, unless another thread has the turn: then that one will.

        Raises:
            Gone: it will take no more.
        """
        mine = object()
        try:
            while self._is_due() and self._takes_turn(mine):
                self._tell_waiting()
                self._turn = None  # and look again: what came before this, nobody else has seen
                self._scope.notify()
        finally:
            if self._turn is mine:
                self._turn = None

    def detach(self) -> None:
        """Tell it nothing more. What another thread is about to tell at this moment may still come."""
        self.detached = True
        self._waiting.clear()
        self._scope.notify()  # somebody may wait for it

    @property
    def is_told(self) -> bool:
        """Whether it has been told all that there was to tell it."""
        return self.detached or (self._turn is None and not self._waiting)

    @property
    def is_held_up(self) -> bool:
        """Whether something waits for it, and no thread is about it."""
        return self._turn is None and self._is_due()

    def _is_due(self) -> bool:
        """Whether there is something that may be told now."""
        return bool(self._waiting)

    def _takes_turn(self, mine: object) -> bool:
        with self._lock:
            if self._turn is None:
                self._turn = mine
        return self._turn is mine

    def _tell_waiting(self) -> None:
        """Tell what waits; this thread has the turn."""
        with contextlib.suppress(IndexError):  # at the end; or it has just left
            while True:
                self._tell_now(self._waiting.popleft())

    def _tell_now(self, message: Any) -> None:
        """Run the subscriber's `tell`.

        Raises:
            Gone: it will take no more.
        """
        try:
            self.subscriber.tell(message)
        except BaseException as exc:  # whatever it is, it is the subscriber's: a SystemExit would stop every actor
            raise self._gone(exc) from exc

    def _gone(self, exc: BaseException) -> BaseException:
        self.detach()
        if isinstance(exc, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            return exc  # Ctrl-C, and no answer of the subscriber's
        if isinstance(exc, pykka.ActorDeadError):
            log(logging.WARNING, DEAD, shown(self.subscriber))
        else:
            log(
                logging.ERROR,
                "%s failed to take a message and is told nothing more",
                shown(self.subscriber),
                exc_info=exc,
            )
        return Gone()

    def flush(self, timeout: float) -> None:
        """Wait until it has handled what it was told, for `timeout` seconds at most."""

    def is_alive(self) -> bool:
        """Whether it can still be told something, as far as is known. Runs none of its code on this thread.

        A subscriber says so by an `is_alive()`, if it has one.
        """
        return self._pulse.is_alive()


class ActorDelivery(Delivery):
    """What all deliveries to an actor have in common."""

    def __init__(
        self, ref: pykka.ActorRef[Any], scope: CancelScope, window: int, on_answer: Callable[[], None]
    ) -> None:
        super().__init__(ref, scope, window)
        self._ref = ref
        self._probe_ref = _probe_ref(ref, on_answer)

    def flush(self, timeout: float) -> None:
        with contextlib.suppress(pykka.Timeout, pykka.ActorDeadError):
            self._ref.ask(_PROBE, timeout=timeout)

    def is_alive(self) -> bool:
        return not self._ref.actor_stopped.is_set()

    def probe(self) -> None:
        """Send a probe, which is answered when the actor has handled all that it was told before."""
        self._probe_ref.ask(_PROBE, block=False)


class Mailbox(ActorDelivery):
    """Messages to an actor, at most `window` of them not yet handled."""

    def __init__(self, ref: pykka.ActorRef[Any], scope: CancelScope, window: int) -> None:
        """Measure with four probes per window: one would wait for an empty mailbox."""
        super().__init__(ref, scope, window, self._answered)
        self._every = max(1, window // _PROBES_PER_WINDOW)
        self._allowed = max(0, window // self._every - 1)  # unanswered probes
        self._unprobed = 0
        self._unanswered = 0

    def _tell_each(self, messages: Sequence[Any]) -> None:
        """Tell messages; after each quarter of the window, wait until the actor is less than a window behind.

        In one loop, as this is where the time goes.
        """
        scope, tell, every = self._scope, self._ref.tell, self._every
        for message in messages:
            if scope.cause is not None:
                scope.check()
            if self.detached:
                return
            try:
                tell(message)
            except BaseException as exc:  # as in `_tell_now`
                raise self._gone(exc) from exc
            self._unprobed += 1
            if self._unprobed >= every:
                self._measure()

    def _measure(self) -> None:
        """Ask for a sign of life, and wait while too many of them are missing."""
        self._unprobed = 0
        with self._scope.condition:
            self._unanswered += 1
        self.probe()
        if self._unanswered > self._allowed:
            self._wait_for(self._has_room)

    def _has_room(self) -> bool:
        return self._unanswered <= self._allowed or not self._ref.is_alive()

    def _answered(self) -> None:
        # In the subscriber's thread, or in the working one when the subscriber is dead.
        with self._scope.condition:
            self._unanswered -= 1
            self._scope.notify()


class _ProbeFuture(pykka.ThreadingFuture[Any]):
    """What a probe is answered to. Nobody gets it; the answer itself is the news."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        super().__init__()
        self._on_answer = on_answer

    def set(self, value: Any = None) -> None:  # noqa: ARG002 - pykka's signature
        self._on_answer()

    def set_exception(self, exc_info: Any = None) -> None:  # noqa: ARG002 - pykka's signature
        self._on_answer()


class _ProbeFutureFactory:
    """Stands for an actor class where pykka asks it to make a future."""

    __name__ = "Subscriber"

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._on_answer = on_answer

    def _create_future(self) -> _ProbeFuture:
        return _ProbeFuture(self._on_answer)


def _probe_ref(ref: pykka.ActorRef[Any], on_answer: Callable[[], None]) -> pykka.ActorRef[Any]:
    """Get a ref to the same actor whose `ask` calls `on_answer` once, in the answerer's thread, instead of waiting."""
    prober = copy.copy(ref)
    prober.actor_class = _ProbeFutureFactory(on_answer)  # type: ignore[assignment]
    return prober


def delivery_to(
    subscriber: Subscriber, scope: CancelScope, *, window: int, to_actor: Callable[..., Delivery] = Mailbox
) -> Delivery:
    """Get the delivery that fits a subscriber.

    Args:
        subscriber: Who is told.
        scope: That of the work which it follows.
        window: How many messages it may be behind.
        to_actor: Makes the delivery to an actor.

    Raises:
        ParameterError: `window` is no integer from 1.
    """
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise ParameterError([Problem("window", f"expected an integer from 1, got {window!r}")])
    if isinstance(subscriber, pykka.ActorRef):
        return to_actor(subscriber, scope, window)
    return Delivery(subscriber, scope, window)


def is_to(delivery: Delivery, subscriber: object) -> bool:
    """Whether a delivery is to this very subscriber: the same thing, not an equal one; or a ref to the same actor."""
    known = delivery.subscriber
    if isinstance(known, pykka.ActorRef) and isinstance(subscriber, pykka.ActorRef):
        return known.actor_urn == subscriber.actor_urn
    return known is subscriber


def subscriber_problems(
    subscriber: object, place: str, expected: str = "something with a tell method"
) -> list[Problem]:
    """Find what is wrong with somebody who is to be told.

    Args:
        subscriber: Who.
        place: The parameter, for the error.
        expected: What else may be given.
    """
    if (what := no_subscriber(subscriber)) is not None:
        return [Problem(place, f"expected {expected}, got {what}")]
    if isinstance(subscriber, pykka.ActorRef) and not subscriber.is_alive():
        return [Problem(place, f"expected an actor that is alive, got {subscriber}, which has stopped")]
    return []
