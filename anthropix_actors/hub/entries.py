"""A chat's messages as the entries of a log, and messages of entries again. Pure.

| kind | written |
|---|---|
| `begin` | when a writer begins, with the version of the format, and which attempt this is |
| `event` | for each event, as it is on the wire |
| `retrying` | when the request failed before any content, and is sent again |
| `resumed` | when an answer that was cut is resumed |
| `done`, `failed`, `cancelled` | once, last |

A second `begin` follows where another machine asks again for what the first one lost: what was told before is void.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.chat.messages import (
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatResumed,
    ChatRetrying,
)
from anthropix_actors.errors import ParameterError, Problem, ProtocolError
from anthropix_actors.hub.entry_forms import wrong_in
from anthropix_actors.stores import Unreadable
from anthropix_actors.stores.error_form import as_json, error_form, error_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anthropix_actors._wire.message import Message

FORMAT = 1
"""The version of the entries."""

ENDS = frozenset({"done", "failed", "cancelled"})
"""The kinds of which one is last."""

JSON = dict[str, Any]


def begin_entry(attempt: int, holder: str, tag: str | None = None) -> JSON:
    """Return the entry of a writer that begins.

    Example:
        >>> begin_entry(1, "hub-1")
        {'kind': 'begin', 'format': 1, 'attempt': 1, 'holder': 'hub-1'}
    """
    entry: JSON = {"kind": "begin", "format": FORMAT, "attempt": attempt, "holder": holder}
    return entry if tag is None else {**entry, "tag": tag}


def entry_of(message: Any) -> JSON:
    """Return the entry of a chat's message.

    Raises:
        ParameterError: it is none.
    """
    match message:
        case ChatEvent(data=event):
            entry: JSON = {"kind": "event", "event": event}
            return {**entry, **_request(message.chat)} if event["type"] == "message_start" else entry
        case ChatRetrying(attempt=attempt, delay=delay, error=error):
            return {"kind": "retrying", "attempt": attempt, "delay": delay, "error": error_form(error)}
        case ChatResumed(attempt=attempt, kept=kept):
            return {"kind": "resumed", "attempt": attempt, "kept": kept}
        case ChatDone(message=answer, resumed=resumed):
            entry = {"kind": "done", "message": answer, "resumed": resumed}
            output = as_json(message.output)
            return {**entry, **({} if output is None else {"output": output}), **_spent(message)}
        case ChatFailed(error=error):
            return {"kind": "failed", "error": error_form(error), **_spent(message)}
        case ChatCancelled(reason=reason, partial=partial):
            return {"kind": "cancelled", "reason": reason, "partial": partial, **_spent(message)}
    what = "expected the messages of a chat (a conversation is kept with store= of client.converse)"
    raise ParameterError([Problem("stream", f"{what}, got a {type(message).__name__}")])


def _request(chat: Any) -> JSON:
    return {} if chat is None else {"request_id": chat.request_id, "attempts": chat.attempts}


def _spent(message: Any) -> JSON:
    """Return what a chat's end says of its cost: usage as numbers, and the answers that were begun and lost."""
    if message.chat is None:
        return {}
    lost = [dict(each) for each in message.chat.lost]
    return {**_request(message.chat), "usage": as_json(message.usage), **({"lost": lost} if lost else {})}


def message_of(entry: Mapping[str, Any], chat: Any, cursor: str) -> Any:  # noqa: PLR0911 - a table
    """Return the message that an entry tells of, as one of `chat`; None for an entry that is of no message.

    Example:
        >>> message_of({"kind": "event", "event": {"type": "message_stop"}}, None, "a.1").data
        {'type': 'message_stop'}
    """
    match entry:
        case {"kind": "event", "event": event}:
            return ChatEvent(chat, event, cursor)
        case {"kind": "retrying", "attempt": attempt, "delay": delay, "error": error}:
            return ChatRetrying(chat, attempt, delay, error_of(error), cursor)
        case {"kind": "resumed", "attempt": attempt, "kept": kept}:
            return ChatResumed(chat, attempt, kept, cursor)
        case {"kind": "done", "message": message, "resumed": resumed}:
            return ChatDone(chat, message, entry.get("output"), resumed, cursor)
        case {"kind": "failed", "error": error}:
            return ChatFailed(chat, error_of(error), cursor)
        case {"kind": "cancelled", "reason": reason, "partial": partial}:
            return ChatCancelled(chat, reason, partial, cursor)
    return None


def refused(entry: Mapping[str, Any]) -> ParameterError | None:
    """Return the error for a log of a version that is not known here; None for any other entry."""
    if entry.get("kind") == "begin" and entry.get("format") != FORMAT:
        what = f"expected a log of format {FORMAT}, got {entry.get('format')!r}: it was written by a newer version"
        return ParameterError([Problem("name", what)])
    return None


def told(entries: Iterable[Mapping[str, Any]], name: str = "") -> tuple[Message | None, bool]:
    """Return the answer so far that entries tell of, and whether its readers were told anything of an answer.

    Args:
        entries: All of a log, from the first one on.
        name: The log, for the error.

    Raises:
        Unreadable: one of them cannot be understood.

    Example:
        >>> told([{"kind": "begin", "format": 1, "attempt": 1, "holder": "hub-1"}])
        (None, False)
    """
    answer, any_event = Accumulator(), False
    for number, entry in enumerate(entries):
        if (why := wrong_in(entry)) is not None:
            raise Unreadable(name, number, why)
        if entry.get("kind") == "begin":
            answer = Accumulator()
        elif entry.get("kind") == "event":
            any_event = True
            add_to(answer, entry["event"])
        elif entry.get("kind") == "resumed":
            resume(answer, entry["kept"])
    return answer.snapshot(), any_event


def add_to(answer: Accumulator, event: Any) -> None:
    """Add an event to an answer; one that does not fit changes nothing: its chat has failed by it."""
    try:
        answer.add(event)
    except ProtocolError:
        return


def resume(answer: Accumulator, kept: int) -> None:
    """Let the events of another answer follow the first blocks of this one."""
    message: Any = answer.snapshot()
    if message is not None:
        answer.resume_from(kept, message.get("usage") or {})


publish("anthropix_actors.hub", (told,))
