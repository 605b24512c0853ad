"""Subscribers of random conversations, and what must hold of what each is told."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import AnthropixError
from anthropix_actors.messages import (
    AnswerDone,
    ChatEvent,
    ToolDone,
    ToolProgress,
    ToolStarted,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDS = (TurnDone, TurnFailed, TurnCancelled, TurnSuspended)
GOING = frozenset({"raises", "dies", "leaves"})
"""Kinds of subscribers that go before the end."""

BLOCKED = 0.3


class Ear:
    """One subscriber; it does what its kind does, after some messages.

    Attributes:
        messages: All that it was told, in order.
        goes: Whether it goes before the end, so that it may miss what is told after that.
        alive: What it says of itself.
        overlapped: Whether two threads told it something of one turn at once.
        talk: The conversation that it follows.
        over: The driver is done: it does nothing more.
    """

    def __init__(self, kind: str, after: int) -> None:
        self.kind = kind
        self.messages: list[Any] = []
        self.goes = kind in GOING
        self.alive = True
        self.overlapped = False
        self.talk: Any = None
        self.over = False
        self._left = after
        self._busy: set[Any] = set()  # turns that tell it something at present

    def is_alive(self) -> bool:
        return self.alive

    def tell(self, message: Any, /) -> None:
        """Take one message. Of one turn, it gets one at a time; a meddler's own acts may tell it more meanwhile."""
        turn = turn_of(message)
        mine = turn not in self._busy
        self._busy.add(turn)
        self.overlapped |= not mine and self.kind != "meddles"
        try:
            self._take(message)
        finally:
            if mine:
                self._busy.discard(turn)

    def _take(self, message: Any) -> None:
        self.messages.append(message)
        self._left -= 1
        if self._left == 0 and not self.over:
            self._act(message)

    def _act(self, message: Any) -> None:
        match self.kind:
            case "raises":
                raise SystemExit(4)
            case "dies":
                self.alive = False
            case "leaves":
                self.talk.unsubscribe(self)
            case "blocks":
                threading.Event().wait(BLOCKED)
            case "meddles":
                self._left = 5
                self._meddle(message)

    def _meddle(self, message: Any) -> None:
        """Do things to the conversation, in a handler of its messages."""
        with contextlib.suppress(AnthropixError):
            self.talk.history()
            if isinstance(message, ToolDone):
                self.talk.cancel("from the handler")
            elif isinstance(message, AnswerDone):
                self.talk.say(f"#{self.talk._talk.tag} meddled {len(self.messages)}")


class EarActor(pykka.ThreadingActor):
    """An actor with such an ear."""

    use_daemon_thread = True

    def __init__(self, ear: Ear, breath: float) -> None:
        super().__init__()
        self._ear = ear
        self._breath = breath

    def on_receive(self, message: Any) -> None:
        if self._breath and len(self._ear.messages) % 10 == 0:
            threading.Event().wait(self._breath)
        self._ear.tell(message)


def turn_of(message: Any) -> Any:
    """Get the state of the turn that a message belongs to."""
    return message.chat._task.turn if not hasattr(message, "turn") else message.turn._task


def by_turn(messages: list[Any]) -> dict[Any, list[Any]]:
    """Get the messages of each turn."""
    found: defaultdict[Any, list[Any]] = defaultdict(list)
    for message in messages:
        found[turn_of(message)].append(message)
    return found


def wrong_in(messages: list[Any], *, goes: bool) -> Iterator[str]:
    """Say what is wrong with what somebody was told of one turn."""
    ends = [place for place, message in enumerate(messages) if isinstance(message, ENDS)]
    if len(ends) > 1 or (ends and ends[0] != len(messages) - 1) or (not ends and not goes):
        yield f"{len(ends)} terminal messages, at {ends} of {len(messages)}: {kinds(messages)[-6:]}"
    whole = set()
    for message in messages:
        if isinstance(message, AnswerDone) and not message.path:
            whole.add(message.chat)
        elif isinstance(message, ChatEvent) and message.chat in whole:
            yield "an event after the end of its answer"
            break
    yield from _wrong_calls(messages, ended=bool(ends))


def _wrong_calls(messages: list[Any], *, ended: bool) -> Iterator[str]:
    """Say which calls are told out of order, or without an end. A sub-agent's may be cut by the end of the turn."""
    started: set[str] = set()
    done: set[str] = set()
    for message in messages:
        match message:
            case ToolStarted(call=call):
                if call.id in started | done:
                    yield f"{call.id} started again, or after its end"
                started.add(call.id)
            case ToolProgress(call=call):
                if call.id not in started or call.id in done:
                    yield f"progress of {call.id} {'after its end' if call.id in done else 'before its start'}"
            case ToolDone(call=call):
                if call.id in done:
                    yield f"{call.id} is done twice"
                done.add(call.id)
    own = {message.call.id for message in messages if isinstance(message, ToolStarted) and not message.path}
    if ended and own - done:
        yield f"{own - done} started, and have no end"


def kinds(messages: list[Any]) -> list[str]:
    return [type(message).__name__ for message in messages]
