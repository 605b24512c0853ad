"""What a session waits for: the results of custom tools, and permissions; and what it refuses meanwhile. Pure.

Source: the types of the official SDK 2.14.0, and the API's words in
https://github.com/anthropics/anthropic-sdk-python/issues/1744 (an id that matches no event), and in tests of public
projects (a message that comes while the session waits). The words for a second answer are not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.json import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ANSWERS = {
    "user.custom_tool_result": ("custom_tool_use_id", ("agent.custom_tool_use",)),
    "user.tool_confirmation": ("tool_use_id", ("agent.tool_use", "agent.mcp_tool_use")),
    "user.tool_result": ("tool_use_id", ("agent.tool_use",)),
}
"""The events that answer a call: the key of the call's id, and the types of the calls."""

_ANY_TIME = ("user.tool_confirmation", "user.custom_tool_result", "user.tool_result", "user.interrupt")

_BLOCKS = ("text", "image", "document", "search_result")


class SessionActions:
    """The calls of a session. Not thread-safe: the session's lock guards it."""

    def __init__(self) -> None:
        """Start without calls."""
        self._calls: dict[str, str] = {}  # the type of each call's event, by its id
        self._answered: set[tuple[str, str]] = set()  # type of the answer, and id of the call
        self.waiting: dict[str, Mapping[str, Any]] = {}

    def copy(self) -> SessionActions:
        """Return a copy, to try events on."""
        other = SessionActions()
        other._calls, other._answered, other.waiting = dict(self._calls), set(self._answered), dict(self.waiting)
        return other

    def note(self, event: Mapping[str, Any]) -> None:
        """Note an event that has happened."""
        kind = event["type"]
        if kind in ANSWERS:
            call_id = str(event.get(ANSWERS[kind][0]))
            self._answered.add((kind, call_id))
            self.waiting.pop(call_id, None)
        elif kind in {"user.interrupt", "session.thread_status_terminated"}:
            thread = event.get("session_thread_id")
            waiting = self.waiting.items()
            self.waiting = {key: call for key, call in waiting if thread not in (None, call.get("session_thread_id"))}
        elif kind in {"agent.custom_tool_use", "agent.tool_use", "agent.mcp_tool_use"}:
            self._calls[str(event.get("id"))] = kind
            if kind == "agent.custom_tool_use" or event.get("evaluated_permission") == "ask":
                self.waiting[str(event.get("id"))] = event

    def check(self, event: Mapping[str, Any], place: int) -> None:
        """Check an event that a client sends; its type is known.

        Raises:
            RefusedError: the API would refuse it.
        """
        kind = event["type"]
        if kind not in _ANY_TIME and self.waiting:
            raise self._busy(kind, place)
        if kind in ANSWERS:
            for problem in _problems(event):
                raise RefusedError(400, f"events.{place}.{problem}")
            self._check_call(event, place)

    def _check_call(self, event: Mapping[str, Any], place: int) -> None:
        kind = event["type"]
        key, kinds = ANSWERS[kind]
        call_id = event[key]
        if self._calls.get(call_id) not in kinds:
            named = " or ".join(f"`{each}`" for each in kinds)
            raise RefusedError(400, f'`{key}` "{call_id}" does not match any {named} event in this session')
        if (kind, call_id) in self._answered or (kind != "user.tool_result" and call_id not in self.waiting):
            if self.waiting:
                raise self._busy(kind, place)
            raise RefusedError(400, f"Invalid {kind} event at events[{place}]: no response to {call_id} is awaited")

    def _busy(self, kind: str, place: int) -> RefusedError:
        allowed = ", ".join(_ANY_TIME[:-1]) + f", or {_ANY_TIME[-1]}"
        waits = f"waiting on responses to events [{', '.join(self.waiting)}]; only {allowed} may be sent"
        return RefusedError(400, f"Invalid {kind} event at events[{place}]: {waits}")


def _problems(event: Mapping[str, Any]) -> Iterator[str]:
    key, _ = ANSWERS[event["type"]]
    if not isinstance(event.get(key), str):
        yield f"{key}: " + ("Input should be a valid string" if key in event else "Field required")
    if event["type"] == "user.tool_confirmation":
        yield from _confirmation_problems(event)
        return
    if not isinstance(event.get("is_error"), (bool, type(None))):
        yield "is_error: Input should be a valid boolean"
    content = event.get("content", [])
    if not is_array(content):
        yield "content: Input should be a valid list"
    for index, block in enumerate(content if is_array(content) else ()):
        if not is_object(block) or block.get("type") not in _BLOCKS:
            yield f"content.{index}.type: Input should be one of {', '.join(_BLOCKS)}"


def _confirmation_problems(event: Mapping[str, Any]) -> Iterator[str]:
    if event.get("result") not in ("allow", "deny"):
        yield "result: " + ("Input should be 'allow' or 'deny'" if "result" in event else "Field required")
    if event.get("deny_message") is not None and event.get("result") != "deny":
        yield "deny_message: only allowed when result is 'deny'"
