"""Deliveries to actors: they measure how far the actor is behind, and bound it.

A probe is a message that pykka itself answers, in the mailbox's order. So when the reply
comes, the actor has handled all messages before it; and any actor can subscribe without extra code.
"""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import ProxyGetAttr

from anthropix_actors._tasks.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.subscriber import Subscriber

_PROBE = ProxyGetAttr(attr_path=("actor_urn",))
_PROBES_PER_WINDOW = 4


class ActorDelivery(Delivery):
    """Base class of deliveries to an actor."""

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
        """Send a probe; the reply comes when the actor has handled all earlier messages."""
        self._probe_ref.ask(_PROBE, block=False)


class Mailbox(ActorDelivery):
    """Delivery to an actor, with at most `window` messages not yet handled."""

    def __init__(self, ref: pykka.ActorRef[Any], scope: CancelScope, window: int) -> None:
        """Send four probes per window: with a single one, the task would wait until the mailbox is empty."""
        super().__init__(ref, scope, window, self._answered)
        self._every = max(1, window // _PROBES_PER_WINDOW)
        self._allowed = max(0, window // self._every - 1)  # unanswered probes
        self._unprobed = 0
        self._unanswered = 0

    def _tell_each(self, messages: Iterable[Any]) -> None:
        """Send messages; after each quarter of the window, wait until the actor is less than a window behind.

        All in one loop, as this is where the time goes.
        """
        scope, tell, every = self._scope, self._ref.tell, self._every
        if self.detached:
            return
        for message in messages:
            try:
                tell(message)
            except BaseException as exc:  # as in `_tell_now`
                raise self._gone(exc) from exc
            self._unprobed += 1
            if self._unprobed >= every:
                self._measure()
            if scope.cause is not None:
                scope.check()
            if self.detached:
                return

    def _measure(self) -> None:
        """Send a probe; wait while too many are unanswered."""
        self._unprobed = 0
        with self._scope.condition:
            self._unanswered += 1
        self.probe()
        if self._unanswered > self._allowed:
            self._wait_for(self._has_room)

    def _has_room(self) -> bool:
        return self._unanswered <= self._allowed or not self._ref.is_alive()

    def _answered(self) -> None:
        # In the subscriber's thread, or in the task's thread when the subscriber is dead.
        with self._scope.condition:
            self._unanswered -= 1
            self._scope.notify()


class _ProbeFuture(pykka.ThreadingFuture[Any]):
    """The future of a probe. Its value is ignored; being set is the signal."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        super().__init__()
        self._on_answer = on_answer

    def set(self, value: Any = None) -> None:  # noqa: ARG002 - pykka's signature
        self._on_answer()

    def set_exception(self, exc_info: Any = None) -> None:  # noqa: ARG002 - pykka's signature
        self._on_answer()


class _ProbeFutureFactory:
    """Stands in for the actor class that pykka asks to make a future."""

    __name__ = "Subscriber"

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._on_answer = on_answer

    def _create_future(self) -> _ProbeFuture:
        return _ProbeFuture(self._on_answer)


def _probe_ref(ref: pykka.ActorRef[Any], on_answer: Callable[[], None]) -> pykka.ActorRef[Any]:
    """Return a ref to the same actor whose `ask` calls `on_answer` once, in the actor's thread, instead of waiting."""
    prober = copy.copy(ref)
    prober.actor_class = _ProbeFutureFactory(on_answer)  # type: ignore[assignment]
    return prober


def delivery_to(
    subscriber: Subscriber, scope: CancelScope, *, window: int, to_actor: Callable[..., Delivery] = Mailbox
) -> Delivery:
    """Return a delivery of the class that fits the subscriber.

    Args:
        subscriber: The subscriber.
        scope: The scope of the task that it follows.
        window: How many messages it may be behind.
        to_actor: Makes the delivery if the subscriber is an actor.
    """
    if isinstance(subscriber, pykka.ActorRef):
        return to_actor(subscriber, scope, window)
    return Delivery(subscriber, scope, window)
