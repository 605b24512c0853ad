"""What is written for each message in a stream of server-sent events, and how. Pure; in the folder only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from anthropix_actors._foreign.log import shown
from anthropix_actors.conversation.messages import (
    AnswerDone,
    ApprovalGiven,
    ApprovalNeeded,
    Compacted,
    LimitReached,
    Steered,
    ToolDone,
    ToolProgress,
    ToolStarted,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)
from anthropix_actors.errors import APIError, APITimeoutError, ParameterError, Problem
from anthropix_actors.messages import (
    ChatCancelled,
    ChatEvent,
    ChatFailed,
    ChatResumed,
    ChatRetrying,
    SessionCancelled,
    SessionEvent,
    SessionFailed,
    SessionRetrying,
)

_NAMES: dict[type, str] = {
    AnswerDone: "answer_done",
    ToolStarted: "tool_started",
    ToolProgress: "tool_progress",
    ToolDone: "tool_done",
    ApprovalNeeded: "approval_needed",
    ApprovalGiven: "approval_given",
    Steered: "steered",
    Compacted: "compacted",
    LimitReached: "limit_reached",
    TurnDone: "turn_done",
    TurnSuspended: "turn_suspended",
}
"""Type of a turn's message → type of its event; the others become an `error`."""

_OF_PROGRAMS = {"data", "output"}
"""The fields that have what a program has made: it need not be JSON."""

_ENDS_A_LINE = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}
"""What some readers take for the end of a line, against the specification; JSON can say it otherwise."""


def event_of(message: Any) -> Mapping[str, Any]:
    """Return what is written for a message.

    Raises:
        ParameterError: nothing is.
    """
    name = _NAMES.get(type(message))
    return _event_of_others(message) if name is None else {"type": name, **_fields_of(message)}


def _event_of_others(message: Any) -> Mapping[str, Any]:
    match message:
        case Mapping():
            return message
        case ChatEvent(data=event) | SessionEvent(data=event):
            return event
        case ChatFailed(error=error) | SessionFailed(error=error) | TurnFailed(error=error):
            return _error_event(_kind_of(error), _text_of(error), error.request_id)
        case (
            ChatCancelled(chat=ref, reason=reason)
            | SessionCancelled(session=ref, reason=reason)
            | TurnCancelled(turn=ref, reason=reason)
        ):
            return _error_event("cancelled_error", reason, ref.request_id)
        case ChatRetrying() | SessionRetrying():
            error = _error_event(_kind_of(message.error), _text_of(message.error), None)["error"]
            return {"type": "retrying", "attempt": message.attempt, "delay": message.delay, "error": error}
        case ChatResumed(kept=kept):
            return {"type": "resumed", "kept": kept}
    what = "expected an event (a mapping), or a message of a chat, a turn or a session, but no ChatDone or SessionDone"
    raise ParameterError([Problem("message", f"{what}, got {type(message).__name__}")])


def _fields_of(message: Any) -> dict[str, Any]:
    """Return the fields of a turn's message, but for the refs, which live in this process alone."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__ if name not in {"turn", "chat"}}
    for name in _OF_PROGRAMS & fields.keys():
        fields[name] = _plain(fields[name])
    return fields


def _plain(data: object) -> Any:
    """Return what a program has made as JSON has it; its repr, if it is no JSON: the stream goes on all the same."""
    try:
        plain = msgspec.to_builtins(data, str_keys=True)
        written({"data": plain})
    except Exception:  # noqa: BLE001 - it may be any object, with code of its own
        return shown(data)
    return plain


def _error_event(kind: str, text: str, request_id: str | None) -> dict[str, Any]:
    event = {"type": "error", "error": {"type": kind, "message": text}}
    return event if request_id is None else {**event, "request_id": request_id}


def _kind_of(error: Exception) -> str:
    """Return an error's type as the API writes it; for one that is not from the API, the nearest that it has."""
    said = error.type if isinstance(error, APIError) else None
    return said or ("timeout_error" if isinstance(error, APITimeoutError) else "api_error")


def _text_of(error: Exception) -> str:
    return error.message if isinstance(error, APIError) else str(error)


def written(event: Mapping[str, Any]) -> bytes:
    """Return JSON in one line, for all readers. What is no number, as NaN, is null.

    Raises:
        ParameterError: it is no JSON.
    """
    try:
        try:
            data = msgspec.json.encode(event)
        except UnicodeEncodeError:
            return _written_in_ascii(event)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ParameterError([Problem("message", f"expected JSON, got {shown(exc)}")]) from exc
    for mark, escape in _ENDS_A_LINE.items():
        data = data.replace(mark, escape)
    return data


def _written_in_ascii(event: Mapping[str, Any]) -> bytes:
    """Return JSON with half a surrogate pair in it, which msgspec refuses; all else is as msgspec writes it."""
    text = json.dumps(msgspec.to_builtins(event, str_keys=True))
    return json.dumps(json.loads(text, parse_constant=lambda _: None), separators=(",", ":")).encode()
