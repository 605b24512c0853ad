"""Deliveries to actors: they measure how far the actor is behind, and bound it.

A probe is a message that pykka itself answers, in the mailbox's order. So when the reply
comes, the actor has handled all messages before it; and any actor can subscribe without extra code.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import queue
import sys
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
from pykka.messages import ProxyGetAttr

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._tasks.delivery import Delivery
from anthropix_actors._tasks.runs import RunInbox
from anthropix_actors._tasks.window import Window
from anthropix_actors._tasks.window_delivery import WindowDelivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.window import Place

_PROBE = ProxyGetAttr(attr_path=("actor_urn",))

_MOMENT = 0.05
"""Seconds between two looks whether a task that waits for an actor was cancelled."""

_LOOKS = 8
"""At how many places of a full mailbox a probe may be: with fewer, a task may wait although there is room again."""


class ActorDelivery(Delivery):
    """Base class of deliveries to an actor."""

    subscriber: pykka.ActorRef[Any]

    def until_handled(self) -> bool:
        try:
            handled = self.subscriber.ask(_PROBE, block=False)
            while True:
                with contextlib.suppress(pykka.Timeout):
                    handled.get(timeout=_MOMENT)
                    return True
                self._scope.check()
        except pykka.ActorDeadError:
            return False

    def flush(self, timeout: float) -> None:
        with contextlib.suppress(pykka.Timeout, pykka.ActorDeadError):
            self.subscriber.ask(_PROBE, timeout=timeout)

    def is_alive(self) -> bool:
        return not self.subscriber.actor_stopped.is_set()


class Mailbox(ActorDelivery, WindowDelivery):
    """Delivery to an actor, with at most `window` messages not yet handled, of this task and all others together."""

    def __init__(self, ref: pykka.ActorRef[Any], scope: CancelScope, size: int) -> None:
        """Share the window of the actor."""
        inbox = ref.actor_inbox
        self._inbox = inbox if isinstance(inbox, RunInbox) else None
        super().__init__(ref, scope, size, MailboxWindow.of(ref) if self._inbox is None else self._inbox.window)

    def _tell_some(self, messages: Iterable[Any]) -> None:
        super()._tell_some(messages if self._inbox is None else self._inbox.packed(messages))

    @property
    def has_ended(self) -> bool:
        return not self.subscriber.is_alive()


class MailboxWindow(Window):
    """The window of an actor: the length of its mailbox, and a probe that says when it has moved on."""

    @classmethod
    def of(cls, ref: pykka.ActorRef[Any]) -> MailboxWindow:
        """Return the window of an actor: the same for all tasks that it follows."""
        with WINDOWS.lock:
            window = WINDOWS.by_urn.get(ref.actor_urn)
            if window is None:
                window = WINDOWS.by_urn[ref.actor_urn] = cls(ref)
        return window

    def __init__(self, ref: pykka.ActorRef[Any]) -> None:
        super().__init__(self._is_full_at)
        self.behind = _length_of(ref.actor_inbox)
        self._probe_ref = probe_ref(ref, self._answered)
        self._is_probed = False
        self._in_order = not isinstance(ref.actor_inbox, (queue.LifoQueue, queue.PriorityQueue))

    def room(self, size: int) -> int:
        """Return how many may be told before the next look.

        From half a window on, a probe is on its way, so that the actor need not wait for more; and looks are closer.
        """
        room = size // 2 - 1 - self.behind()
        if room <= 0:
            self._probe()
            room = min(size - self._length(), 1 + size // _LOOKS)
            if room <= 0 or self._waiting:
                return 0
        return self._share_of(room)

    def enter(self, wake: Callable[[], object], size: int, count: int) -> Place:
        place = super().enter(wake, size, count)
        if not place.granted:  # the last probe may have been answered just before
            self._probe_or_let_go()
        return place

    def leave(self, place: Place) -> None:
        super().leave(place)
        if self._waiting:  # on an answer, as nobody else might ask for one
            self._probe_or_let_go()

    def _is_full_at(self, size: int) -> bool:
        return self._length() >= size

    def _length(self) -> int:
        # The message that the actor is handling is not in the mailbox, and the probe is nobody's message.
        return self.behind() + 1 - self._is_probed

    def _probe(self) -> None:
        """Send a probe, unless one is on its way."""
        with self._lock:
            is_probed, self._is_probed = self._is_probed, True
        if is_probed:
            return
        try:
            probe(self._probe_ref)
        except BaseException:  # of the actor's inbox
            self._is_probed = False
            raise

    def _probe_or_let_go(self) -> None:
        """Send a probe. Where the inbox refuses it, all go on: each finds that out itself."""
        try:
            self._probe()
        except BaseException:  # noqa: BLE001 - see above
            self.moved(at_least=len(self._waiting))

    def _answered(self) -> None:
        # In the actor's thread, or in a task's when the actor is dead.
        self._is_probed = False
        # In order, it has handled one at least, even if many more have come. Else the probe may have overtaken them.
        self.moved(at_least=int(self._in_order))


class _Windows:
    """The windows of all actors."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.by_urn: weakref.WeakValueDictionary[str, MailboxWindow] = weakref.WeakValueDictionary()

    def after_fork(self) -> None:
        """Start afresh in a forked child: a thread of the parent may hold any lock."""
        self.__init__()  # type: ignore[misc] # every part of it is of actors that do not run there


WINDOWS = _Windows()
SWEEPER.fork_listeners.add(WINDOWS)


def _length_of(inbox: Any) -> Callable[[], int]:
    """Return what tells an inbox's length; where nothing does, it counts as full, and each message is probed."""
    if isinstance(inbox, queue.Queue):
        return partial(len, inbox.queue)  # without its lock: the length of a deque or a list is always right
    if isinstance(inbox, queue.SimpleQueue):
        return inbox.qsize

    def length() -> int:
        try:
            return max(0, int(inbox.qsize()))
        except Exception:  # noqa: BLE001 - it may be of any class
            return sys.maxsize

    return length


class _ProbeFuture(pykka.Future[Any]):
    """The future of the probes of one mailbox. Its value is ignored; being set is the signal."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        super().__init__()
        self._on_answer = on_answer

    def set(self, value: Any = None) -> None:  # noqa: ARG002 - pykka's signature
        self._on_answer()

    def set_exception(self, exc_info: Any = None) -> None:  # noqa: ARG002 - pykka's signature
        self._on_answer()


class _ProbeFutureFactory:
    """Stands in for the actor class that pykka asks to make a future: the same for each probe, as it keeps nothing."""

    __name__ = "Subscriber"

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._future = _ProbeFuture(on_answer)

    def _create_future(self) -> _ProbeFuture:
        return self._future


def probe(prober: pykka.ActorRef[Any]) -> None:
    """Send a probe through a ref of `probe_ref`; the reply comes when the actor has handled all earlier messages."""
    prober.ask(_PROBE, block=False)


def probe_ref(ref: pykka.ActorRef[Any], on_answer: Callable[[], None]) -> pykka.ActorRef[Any]:
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
    own = inspect.getattr_static(subscriber, "window", None)
    if isinstance(own, Window):
        made: type[WindowDelivery] = inspect.getattr_static(subscriber, "delivery_class", WindowDelivery)
        return made(subscriber, scope, window, own)
    return Delivery(subscriber, scope, window)
