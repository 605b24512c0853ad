"""A request of a turn: a chat whose end is the conversation's to hear, not the subscribers'."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.locks import is_held
from anthropix_actors._tasks.audience import Audience
from anthropix_actors._tasks.delivery import Delivery
from anthropix_actors.chat.task import ChatTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors._wire.events import Event
    from anthropix_actors.conversation.turn import TurnTask


_LATEST = 2.0
"""Seconds that a thread gets to go on that stopped in the middle of telling an actor something."""


class RequestTask(ChatTask):
    """The state of a chat of a turn. `in_turn` is to be called before it starts."""

    turn: TurnTask
    calls: CallFinder | None = None

    def in_turn(self, turn: TurnTask, on_call: Callable[[Mapping[str, Any]], object] | None) -> None:
        """Belong to a turn.

        Args:
            turn: The turn.
            on_call: Is told each call as soon as it is whole, in the chat's thread; None if nobody wants to know.
        """
        self.turn = turn
        self.audience = RequestAudience(self)
        self.audience.add_callback(Delivery(_End(self), self.scope))
        if on_call is not None:
            self.calls = CallFinder(on_call)

    def attach(self, delivery: Delivery) -> None:
        """Deliver the events so far, and all later ones; none of an answer that is whole, as the turn has told that."""
        with self.lock:
            if self.terminal is None:
                super().attach(delivery)

    def publish(self, events: list[Event]) -> None:
        """Add events to the answer, look for calls that are whole, and deliver the events."""
        if self.calls is not None:
            for event in events:
                self.calls.look(event)
        super().publish(events)


class _End:
    """Tells the conversation how the chat ended, after the subscribers have got its events."""

    def __init__(self, task: RequestTask) -> None:
        self._task = task

    def tell(self, terminal: Any, /) -> None:
        self._task.turn.talk.chat_ended(self._task, terminal)


class RequestAudience(Audience):
    """The audience of a chat of a turn: its subscribers are not told its end, and it never is abandoned."""

    def close(self, *last: Any) -> None:
        """Queue the last events for the subscribers, and the end for the conversation."""
        assert is_held(self._task.lock)
        *events, terminal = last
        for delivery in self.deliveries:
            delivery.close(*events)
        for callback in self.callbacks:
            callback.close(terminal)

    def _take(self, delivery: Delivery) -> None:
        """Do nothing: it is taken by the turn."""

    def held_up(self, late: float) -> list[Delivery]:
        """Leave the conversation out while a thread that has stopped is in the middle of telling an actor something.

        It would tell the end of its turn, and the actor be told an event after that. Not for ever: a mailbox may be one
        that makes it wait.
        """
        found = super().held_up(late)
        if late < _LATEST and any(each.is_telling and type(each) is not Delivery for each in self.deliveries):
            found = [each for each in found if each not in self.callbacks]
        return found

    def detach(self, delivery: Delivery, reason: str = "") -> None:
        """Remove a subscriber that takes no more messages: from the turn, too."""
        with self._task.lock:
            delivery.detach()
            self.deliveries = tuple(each for each in self.deliveries if each is not delivery)
        turn: TurnTask = self._task.turn  # type: ignore[attr-defined]
        for own in [each for each in turn.audience.deliveries if each.subscriber is delivery.subscriber]:
            turn.leave_out(own)
            turn.audience.detach(own, *([reason] if reason else []))

    @property
    def have_left(self) -> bool:
        """Whether all have left: that is the turn's to see."""
        return False

    def sweep(self) -> None:
        """Do nothing: the turn looks whether its subscribers live."""


class CallFinder:
    """Finds the calls of an answer as soon as each is whole.

    That is when the next block starts, or the answer says that it wants tools run; not when its own block stops, as an
    answer that is cut off stops it, too. A call is none of ours when another model goes on from before it.
    """

    def __init__(self, on_call: Callable[[Mapping[str, Any]], object]) -> None:
        """Start before the answer."""
        self._on_call = on_call
        self._block: dict[str, Any] | None = None  # of the latest block, if that is a call
        self._parts: list[str] = []
        self._over = False

    def look(self, event: Any) -> None:
        """Look at the next event. Pure but for `on_call`; raises nothing, whatever the event."""
        kind = event.get("type")
        if self._over:
            return
        if kind == "content_block_start":
            self._start(event.get("content_block"))
        elif kind == "content_block_delta" and self._block is not None:
            part = (event.get("delta") or {}).get("partial_json")
            self._parts += [part] if isinstance(part, str) else []
        elif kind == "message_delta":
            if (event.get("delta") or {}).get("stop_reason") == "tool_use":
                self._found()
            self._over = True

    def _start(self, block: Any) -> None:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "fallback":
            self._over = True
            return
        self._found()
        self._block, self._parts = (dict(block), []) if kind == "tool_use" else (None, [])

    def _found(self) -> None:
        block, self._block = self._block, None
        if block is None:
            return
        try:
            if self._parts:
                block["input"] = json.loads("".join(self._parts) or "{}")
        except ValueError:
            return  # the whole answer says what is wrong with it
        self._on_call(block)
