"""Subscribers that behave well, and those that do not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatResumed, ChatRetrying

if TYPE_CHECKING:
    from collections.abc import Callable

TERMINAL = (ChatDone, ChatFailed, ChatCancelled)

BREATH = 0.001


class Notes:
    """What one subscriber was told; safe to read once it is `over`, or when nobody tells it anything any more.

    Attributes:
        messages: All of it, in order.
        over: Set by the first terminal message.
        leaves: It goes before the end, so it may miss what is told after that.
    """

    def __init__(self, *, leaves: bool = False) -> None:
        self.messages: list[Any] = []
        self.over = threading.Event()
        self.leaves = leaves

    def tell(self, message: Any, /) -> None:
        self.messages.append(message)
        if isinstance(message, TERMINAL):
            self.over.set()

    def events(self) -> list[Any]:
        return [message.data for message in self.messages if isinstance(message, ChatEvent)]

    def disorder(self) -> str:
        """Say what is wrong with the order of the messages, or nothing."""
        ends = [place for place, message in enumerate(self.messages) if isinstance(message, TERMINAL)]
        if len(ends) > 1 or (ends and ends[0] != len(self.messages) - 1) or (not ends and not self.leaves):
            return f"{len(ends)} terminal messages, at {ends} of {len(self.messages)}"
        kinds = [type(message) for message in self.messages]
        if ChatEvent in kinds and ChatRetrying in kinds[kinds.index(ChatEvent) :]:
            return "told of another attempt after the first content"
        return "resumed unasked" if ChatResumed in kinds else ""


class Actor(pykka.ThreadingActor):
    """Writes down what it is told, and at some point does something."""

    use_daemon_thread = True

    def __init__(self, notes: Notes, after: int = 0, act: Callable[[Actor, Any], object] | None = None) -> None:
        super().__init__()
        self._notes = notes
        self._left = after
        self._act = act

    def on_receive(self, message: Any) -> None:
        self._notes.tell(message)
        self._left -= 1
        if self._act is not None and self._left == 0:
            self._act(self, message)

    def on_failure(self, exception_type: object, exception_value: object, traceback: object) -> None:
        """Say nothing: it was meant to."""


class SlowActor(Actor):
    """Takes a breath now and then, so that the chat has to wait for it."""

    def on_receive(self, message: Any) -> None:
        if len(self._notes.messages) % 20 == 0:
            threading.Event().wait(BREATH)
        super().on_receive(message)


def _raises(_: Actor, __: Any) -> None:
    raise ZeroDivisionError


def _stops(actor: Actor, _: Any) -> None:
    actor.stop()


def _leaves(actor: Actor, message: Any) -> None:
    message.chat.unsubscribe(actor.actor_ref)


def _cancels(_: Actor, message: Any) -> None:
    message.chat.cancel("from the handler")
    message.chat.cancel("and again")


def _stops_the_chat(_: Actor, message: Any) -> None:
    message.chat.stop(block=False)


ACTIONS: dict[str, Callable[[Actor, Any], object]] = {
    "actor that raises": _raises,
    "actor that stops": _stops,
    "actor that leaves": _leaves,
    "actor that cancels twice": _cancels,
    "actor that stops the chat": _stops_the_chat,
}
LEAVING = ("actor that raises", "actor that stops", "actor that leaves")
CANCELLING = (*LEAVING, "actor that cancels twice", "actor that stops the chat", "loop that is left")
"""Those because of whom a chat may be cancelled."""


def start(kind: str, after: int) -> tuple[Any, Notes]:
    """Start a subscriber; get it and its notes."""
    notes = Notes(leaves=kind in LEAVING)
    if kind == "inbox":
        return notes, notes
    actor = SlowActor if kind in ("slow actor", "coalescing actor") else Actor
    return actor.start(notes, after, ACTIONS.get(kind)), notes
