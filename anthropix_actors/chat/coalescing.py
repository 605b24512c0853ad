"""Delivery for actors that repaint: deltas that come while the actor is busy are merged into few, larger ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._tasks.mailbox import ActorDelivery, probe, probe_ref
from anthropix_actors.chat.merging import MergingQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pykka

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.delivery import Keep


class CoalescingMailbox(ActorDelivery):
    """Delivery to an actor that gets more only when it has caught up; meanwhile, deltas are merged.

    For actors that repaint: a slow subscriber gets few large deltas instead of many small ones, and loses nothing.
    """

    def __init__(self, ref: pykka.ActorRef[Any], scope: CancelScope, window: int) -> None:
        """Keep at most `window` messages, or 64 Ki characters, for later."""
        super().__init__(ref, scope, window)
        self._probe_ref = probe_ref(ref, self._answered)
        self._busy = False
        self._waiting: MergingQueue = MergingQueue()  # pyright: ignore[reportIncompatibleVariableOverride] # its own

    def tell_all(self, messages: Iterable[Any]) -> None:
        """Send messages, or keep them while it is busy; wait for capacity if needed. As `Delivery.tell_all`."""
        self._tell_unless(messages, lambda: False)

    def offer_all(self, messages: Iterable[Any], keep: Keep) -> None:
        """Send messages, or keep them while it is busy; wait for capacity unless others would be held up."""
        self._tell_unless(messages, lambda: keep() is not None)

    def _tell_unless(self, messages: Iterable[Any], others_wait: Callable[[], bool]) -> None:
        for message in messages:
            self._send_or_keep(message)
            if not self._has_room() and not others_wait():
                self._wait_for(lambda: self._has_room() or others_wait())

    def _send_or_keep(self, message: Any) -> None:
        self._scope.check()
        self.put(message)
        self.drain()

    @property
    def is_behind(self) -> bool:
        """Whether as much waits for it as may."""
        return not self.detached and not self._has_room()

    def put(self, *messages: Any) -> None:
        """Queue messages for `drain`; a delta is merged with the one before. Any thread."""
        with self._lock:
            if not self.detached:
                self._waiting.extend(messages)

    def _is_due(self) -> bool:
        return bool(self._waiting) and (self._closed or not self._busy)

    def _tell_waiting(self) -> None:
        with self._lock:
            taken = self._waiting.take_all()
            self._busy = True
        for message in taken:
            if self.detached:
                return
            self._tell_now(message)
        if not self._closed:
            probe(self._probe_ref)

    def _has_room(self) -> bool:
        return not self._waiting.is_full(self._size) or not self.subscriber.is_alive()

    def _answered(self) -> None:
        # In the subscriber's thread, which pykka would end if this raised.
        self._busy = False
        if not self._is_due():
            self._scope.notify()
        elif getattr(self.subscriber.actor_inbox, "maxsize", 0) > 0:
            # A full inbox would make the actor wait for itself.
            self.drain_in_background()
        else:
            self.drain_safely()
