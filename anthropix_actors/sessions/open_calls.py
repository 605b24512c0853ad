"""Which calls of a session wait for an answer of its clients, by its events. Pure.

- `agent.custom_tool_use` waits for its result; `agent.tool_use` and `agent.mcp_tool_use` whose permission is `ask` wait
  for a confirmation.
- An answer ends that, from whichever client it comes; so do an interrupt, an idle session that requires no action, and
  the end of the session, or of the thread that called.
- What permission a custom tool may need in future is not guessed: a call with any other than `allow` is left alone.

Source: https://docs.claude.com/en/api/beta/sessions/events, and the types of the official SDK 2.14.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CUSTOM = "agent.custom_tool_use"

_ASKS = frozenset({"agent.tool_use", "agent.mcp_tool_use"})

_ANSWERS = {
    "user.custom_tool_result": "custom_tool_use_id",
    "user.tool_confirmation": "tool_use_id",
    "user.tool_result": "tool_use_id",
}

_ENDS = frozenset({"session.status_terminated", "session.deleted"})


class OpenCalls:
    """The calls that wait, in the order in which they came. Only one thread notes events.

    Attributes:
        waiting: Their events, by id. It is replaced, not changed: any thread may read it.

    Example:
        >>> calls = OpenCalls()
        >>> calls.note({"type": "agent.custom_tool_use", "id": "sevt_1", "name": "add", "input": {"a": 1}})
        >>> list(calls.waiting)
        ['sevt_1']
        >>> calls.note({"type": "user.custom_tool_result", "custom_tool_use_id": "sevt_1"})
        >>> calls.waiting
        {}
    """

    def __init__(self) -> None:
        """Start without calls."""
        self.waiting: Mapping[str, dict[str, Any]] = {}

    def note(self, event: dict[str, Any]) -> None:
        """Note an event of the session: each once, in their order."""
        kind, call_id = str(event.get("type")), event.get("id")
        if self._waits(kind, event) and isinstance(call_id, str):
            self.waiting = {**self.waiting, call_id: event}
        elif kind in _ANSWERS:
            answered = event.get(_ANSWERS[kind])
            self._end(lambda call: bool(call["id"] == answered))
        elif kind in _ENDS or (kind == "session.status_idle" and _stop_reason(event) != "requires_action"):
            self._end(lambda _: True)
        elif kind in {"user.interrupt", "session.thread_status_terminated"}:
            thread = event.get("session_thread_id")
            self._end(lambda call: thread in (None, call.get("session_thread_id")))

    def _waits(self, kind: str, event: Mapping[str, Any]) -> bool:
        permission = event.get("evaluated_permission")
        named = isinstance(event.get("name"), str)
        return named and ((kind == CUSTOM and permission in (None, "allow")) or (kind in _ASKS and permission == "ask"))

    def _end(self, ends: Callable[[Mapping[str, Any]], bool]) -> None:
        """Let the calls go that no longer wait."""
        self.waiting = {call_id: call for call_id, call in self.waiting.items() if not ends(call)}


def _stop_reason(event: Mapping[str, Any]) -> Any:
    reason = event.get("stop_reason")
    return reason.get("type") if isinstance(reason, dict) else None
