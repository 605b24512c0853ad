"""A call of a sub-agent: a conversation of its own, for one turn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._checks.actors import is_tool_server
from anthropix_actors._foreign.threads import in_background
from anthropix_actors._tasks.waits import task_of
from anthropix_actors.content import text_of
from anthropix_actors.conversation.messages import TurnCancelled, TurnDone, TurnFailed, TurnSuspended
from anthropix_actors.errors import AnthropixError
from anthropix_actors.tools.call import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.conversation.agent import Agent
    from anthropix_actors.conversation.core.state import Call
    from anthropix_actors.conversation.ref import ConversationRef
    from anthropix_actors.conversation.talk import Talk
    from anthropix_actors.conversation.turn import TurnTask
    from anthropix_actors.tools import Tool

_ENDS = (TurnDone, TurnFailed, TurnCancelled, TurnSuspended)


class SubAgentCall:
    """A call that is done by an agent. As `ToolCall`, for the conversation that starts it."""

    cancel_first = False

    def __init__(
        self, talk: Talk, turn: TurnTask, tool: Tool[..., Any], call: Call, on_outcome: Callable[[Any, Outcome], object]
    ) -> None:
        """Hold the parts; nothing runs yet."""
        self.name = call.name
        self._talk = talk
        self._turn = turn
        self._tool = tool
        delegate: Any = tool.function
        self._agent: Agent = delegate.agent
        self._deadline: float | None = None
        self._task = str(call.input.get("task", ""))
        self._on_outcome = on_outcome
        self._child: ConversationRef | None = None
        self._cancelled: str | None = None

    def start(self) -> None:
        """Begin the conversation. In the thread of the one that calls it, which is not to wait for servers of tools."""
        if not (any(map(is_tool_server, self._agent.tools)) and in_background(self._begin, "anthropix-sub-agent")):
            self._begin()

    def _begin(self) -> None:
        talk, budget = self._talk, self._turn.budget
        try:
            if self._tool.timeout is not None:
                self._deadline = time.monotonic() + self._tool.timeout
                SWEEPER.watch(self)
            talk.core.adopt(self._agent.tools)
            child: ConversationRef = talk.start(
                talk.core,
                self._agent,
                talk.new_chat,
                tag=talk.tag,
                parent=budget,
                above=talk,
                subscribers=[(self, False)],
            )
            self._child = child
            child.say(self._task)
            if self._cancelled is not None:  # before it had begun
                child.cancel(self._cancelled)
        except AnthropixError as exc:  # an empty task, a client that closes, no thread
            self._end(Outcome(f"not started: {exc}", is_error=True, state="not started"))

    def is_run_by(self, actors: set[str]) -> bool:
        """Return whether a call of the sub-agent is run by one of these actors."""
        child = self._child
        turns = [] if child is None else child.turns
        return any(task_of(turn).is_held_by(actors) for turn in turns)

    def sweep(self, now: float) -> None:
        """End it at its deadline. In the sweeper's thread."""
        if self._deadline is not None and now >= self._deadline:
            SWEEPER.unwatch(self)
            SWEEPER.run_elsewhere(self._time_out, f"anthropix-timeout-{self.name}")

    def _time_out(self) -> None:
        after = f"timed out after {self._tool.timeout:g} s"
        text = after if self._tool.safe else f"{after}; it may have taken effect"
        self._end(Outcome(text, is_error=True, seconds=self._tool.timeout or 0.0, state="timed out"))
        self.cancel(after)

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel it; its turn is waited for by itself."""
        self.cancel(reason)
        return lambda _: None

    def after_fork(self) -> None:
        """Do nothing: its conversation ends in a forked child."""

    def cancel(self, reason: str) -> None:
        """Cancel its turn. Returns at once."""
        SWEEPER.unwatch(self)
        self._cancelled = reason
        if self._child is not None:
            self._child.cancel(reason)

    def tell(self, message: Any, /) -> None:
        """Pass its messages on, and answer the call with its end. In the child's threads, one at a time."""
        if isinstance(message, _ENDS):
            self._answer(message)
        elif hasattr(message, "path"):
            self._turn.tell(replace(message, turn=self._turn.ref, path=(self.name, *message.path)))

    def _answer(self, terminal: Any) -> None:
        seconds = terminal.turn.age
        match terminal:
            case TurnDone(message=message, stopped=stopped):
                text = "" if message is None else text_of(message)
                note = f"(ended early: {stopped})" if stopped else ""
                outcome = Outcome(" ".join(filter(str.strip, (text, note))), seconds=seconds)
            case TurnFailed(error=error):
                outcome = Outcome(f"{type(error).__name__}: {error}", is_error=True, seconds=seconds, state="failed")
            case _:
                outcome = Outcome("cancelled", is_error=True, seconds=seconds, state="cancelled")
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        SWEEPER.unwatch(self)
        self._on_outcome(self, outcome)
        if self._child is not None:
            self._child.stop(block=False)
