"""Delivery for actors that repaint: deltas that come while the actor is busy are merged into few, larger ones."""

from __future__ import annotations

import collections
import contextlib
from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.event_repair import GROWING
from anthropix_actors._foreign.threads import in_background
from anthropix_actors._tasks.delivery import Gone
from anthropix_actors._tasks.mailbox import ActorDelivery, probe, probe_ref
from anthropix_actors.chat.messages import ChatEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pykka

    from anthropix_actors._cancel.scope import CancelScope

COALESCED_CHARS = 1 << 16
"""How many characters wait for a slow subscriber before the chat itself waits."""


class CoalescingMailbox(ActorDelivery):
    """Delivery to an actor that gets more only when it has caught up; meanwhile, deltas are merged.

    For actors that repaint: a slow subscriber gets few large deltas instead of many small ones, and loses nothing.
    """

    def __init__(self, ref: pykka.ActorRef[Any], scope: CancelScope, window: int) -> None:
        """Keep at most `window` messages, or 64 Ki characters, for later."""
        super().__init__(ref, scope, window)
        self._waiting = collections.deque()
        self._probe_ref = probe_ref(ref, self._answered)
        self._busy = False
        self._chars = 0

    def tell_all(self, messages: Iterable[Any]) -> None:
        """Send messages, or keep them while it is busy; wait for capacity if needed. As `Delivery.tell_all`."""
        for message in messages:
            self._scope.check()
            self.put(message)
            self.drain()
            if not self._has_room():
                self._wait_for(self._has_room)

    def put(self, *messages: Any) -> None:
        """Queue messages for `drain`; a delta is merged with the one before. Any thread."""
        with self._lock:
            for message in () if self.detached else messages:
                kind, piece = _merge_key(message)
                last = self._waiting[-1] if self._waiting else None
                if not kind:
                    self._waiting.append(message)
                elif isinstance(last, _MergedDelta) and last.kind == kind:
                    last.pieces.append(piece)
                else:
                    self._waiting.append(_MergedDelta(message, kind, piece))
                self._chars += max(1, len(piece))  # else empty ones would be kept without bound

    def _is_due(self) -> bool:
        return bool(self._waiting) and (self._closed or not self._busy)

    def _tell_waiting(self) -> None:
        with self._lock:
            taken = [kept.message() if isinstance(kept, _MergedDelta) else kept for kept in self._waiting]
            self._waiting.clear()
            self._chars = 0
            self._busy = True
        for message in taken:
            if self.detached:
                return
            self._tell_now(message)
        if not self._closed:
            probe(self._probe_ref)

    def _has_room(self) -> bool:
        room = len(self._waiting) < self._size and self._chars < COALESCED_CHARS
        return room or not self.subscriber.is_alive()

    def _answered(self) -> None:
        # In the subscriber's thread, which pykka would end if this raised.
        self._busy = False
        if not self._is_due():
            self._scope.notify()
        elif getattr(self.subscriber.actor_inbox, "maxsize", 0) > 0:
            # A full inbox would make the actor wait for itself.
            in_background(self._drain_safely, "anthropix-told")
        else:
            self._drain_safely()

    def _drain_safely(self) -> None:
        with contextlib.suppress(Gone):
            self.drain()


class _MergedDelta:
    """Neighbouring deltas of one kind, merged."""

    __slots__ = ("first", "kind", "pieces")

    def __init__(self, first: Any, kind: tuple[Any, ...], piece: str) -> None:
        self.first = first
        self.kind = kind
        self.pieces = [piece]

    def message(self) -> ChatEvent:
        event = self.first.data
        merged: Any = {**event, "delta": {**event["delta"], self.kind[-1]: "".join(self.pieces)}}
        return ChatEvent(self.first.chat, merged)


_DELTA_EVENT = {"type", "index", "delta"}


def _merge_key(message: Any) -> tuple[tuple[Any, ...], str]:
    """Return the key by which deltas merge (block, type, key of the piece) and the piece; empty for other messages.

    A delta with any other key is not merged, so keys that the API adds to an event are not lost.
    """
    if isinstance(message, ChatEvent):
        event: Any = message.data
        delta = event.get("delta")
        if event.get("type") == "content_block_delta" and isinstance(delta, dict) and event.keys() == _DELTA_EVENT:
            kind = delta.get("type")
            key = GROWING.get(kind) if isinstance(kind, str) else None
            if key is not None and delta.keys() == {"type", key} and isinstance(delta[key], str):
                return (event["index"], kind, key), delta[key]
    return (), ""
