"""`SessionPlay`: a script that is the agent of a session."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from anthropix_actors._foreign.log import log
from anthropix_actors.emulator._model.session_actions import ANSWERS
from anthropix_actors.emulator._model.tokens import tokens
from anthropix_actors.emulator.answers import Reply
from anthropix_actors.emulator.reply_parts import AskToUse, Thinking, ToolCall
from anthropix_actors.emulator.scripts.asks import Ask, Result, joined_text
from anthropix_actors.emulator.scripts.errors import ScriptError
from anthropix_actors.emulator.scripts.performance import asked_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.scripts.script import Script

END_TURN = {"type": "session.status_idle", "stop_reason": {"type": "end_turn"}}
RUNNING = {"type": "session.status_running"}


class SessionPlay:
    """Plays a script as the agent of one session. Only the event loop uses it, but for `check`.

    Args:
        script: The script.
        new_id: Returns the id for an event.
    """

    def __init__(self, script: Script, new_id: Callable[[], str]) -> None:
        """Begin nothing yet."""
        self._script = script
        self._new_id = new_id
        self._lines: Any = None
        self._number = 0
        self._calls: list[dict[str, Any]] = []
        self.failure: ScriptError | None = None

    def events(self, sent: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return what the agent does when these events have come from clients; the status is not among it.

        Args:
            sent: The events since the last time.
        """
        self._number += 1
        ask = _ask_of(sent, self._calls, self._number)
        try:
            answer, self._lines = asked_script(self._script, self._lines, ask)
            events = list(self._events(answer))
        except ScriptError as exc:
            where = f"the script {self._script.name}, at turn {self._number} of a session"
            self.failure = self.failure or ScriptError(f"{where}: {exc}")
            self.failure.__cause__ = exc.__cause__
            log(logging.ERROR, "a script failed: %s", self.failure, exc_info=exc.__cause__)
            error = {"type": "unknown_error", "message": str(self.failure), "retry_status": {"type": "terminal"}}
            return [{"type": "session.error", "error": error}, {"type": "session.status_terminated"}]
        self._calls = [event for event in events if str(event.get("type", "")).endswith("tool_use")]
        return events

    def _events(self, answer: Answer) -> Iterator[dict[str, Any]]:
        parts: Sequence[Any] = () if answer is None else answer.content if isinstance(answer, Reply) else (answer,)
        for part in parts:
            yield from self._events_of(part)

    def _events_of(self, part: Any) -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {"id": self._new_id()}
        match part:
            case str() if part.strip():
                event |= {"type": "agent.message", "content": [{"type": "text", "text": part}]}
                yield from _previews(event, part)
            case Thinking():
                event |= {"type": "agent.thinking"}
                yield {"type": "event_start", "event": dict(event)}
            case ToolCall(cut=None):
                event |= {"type": "agent.custom_tool_use", "name": part.name, "input": dict(part.input)}
                event |= {} if part.id is None else {"id": part.id}
            case AskToUse():
                server = {} if part.server is None else {"mcp_server_name": part.server}
                kind = "agent.tool_use" if part.server is None else "agent.mcp_tool_use"
                event |= {"type": kind, "name": part.name, "input": dict(part.input), **server}
                event |= {"evaluated_permission": "ask", "evaluation": {"type": "always_ask"}}
                event |= {} if part.id is None else {"id": part.id}
            case Mapping() if isinstance(cast("Mapping[str, Any]", part).get("type"), str):
                event |= dict(cast("Mapping[str, Any]", part))
            case _:
                raise ScriptError(f"no session's agent does this: {part!r}")
        yield event


def _previews(event: Mapping[str, Any], text: str) -> Iterator[dict[str, Any]]:
    yield {"type": "event_start", "event": {"type": event["type"], "id": event["id"]}}
    for piece in tokens(text):
        delta = {"type": "content_delta", "index": 0, "content": {"type": "text", "text": piece}}
        yield {"type": "event_delta", "event_id": event["id"], "delta": delta}


def _ask_of(sent: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]], number: int) -> Ask:
    """Return what events of clients bring to the script whose turn before made these calls."""
    messages = [joined_text(event.get("content")) for event in sent if event["type"] == "user.message"]
    answers = {event[ANSWERS[event["type"]][0]]: event for event in sent if event["type"] in ANSWERS}
    results = [_result(call, answers[call["id"]]) for call in calls if call["id"] in answers]
    return Ask({"events": list(sent)}, number, text="\n".join(messages), results=tuple(results))


def _result(call: Mapping[str, Any], answer: Mapping[str, Any]) -> Result:
    if answer["type"] == "user.tool_confirmation":
        allowed = answer["result"] == "allow"
        return Result(call["id"], call["name"], answer.get("deny_message") or "", not allowed, allowed)
    return Result(call["id"], call["name"], answer.get("content") or "", answer.get("is_error") is True)
