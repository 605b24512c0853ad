"""A call of a sub-agent: a conversation of its own, for one turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

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

_ENDS = (TurnDone, TurnFailed, TurnCancelled, TurnSuspended)


class SubAgentCall:
    """A call that is done by an agent. As `ToolCall`, for the conversation that starts it."""

    def __init__(
        self, talk: Talk, turn: TurnTask, agent: Agent, call: Call, on_outcome: Callable[[Any, Outcome], object]
    ) -> None:
        """Hold the parts; nothing runs yet."""
        self.name = call.name
        self._talk = talk
        self._turn = turn
        self._agent = agent
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

    def cancel(self, reason: str) -> None:
        """Cancel its turn. Returns at once."""
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
                outcome = Outcome(" ".join(filter(None, (text, note))), seconds=seconds)
            case TurnFailed(error=error):
                outcome = Outcome(f"{type(error).__name__}: {error}", is_error=True, seconds=seconds, state="failed")
            case _:
                outcome = Outcome("cancelled", is_error=True, seconds=seconds, state="cancelled")
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self._on_outcome(self, outcome)
        if self._child is not None:
            self._child.stop(block=False)
