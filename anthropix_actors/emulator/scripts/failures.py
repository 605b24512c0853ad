"""`failures`: the ways in which an answer can fail, for tests with a parameter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model import json as _json
from anthropix_actors.emulator.answers import Refusal, Reply, Status
from anthropix_actors.emulator.faults import Drop, ErrorEvent, Reset, Stall
from anthropix_actors.emulator.reply_parts import ToolCall

if TYPE_CHECKING:
    from anthropix_actors.emulator.answers import Answer

_AT_ONCE = {"retry-after-ms": "1"}


def failures(answer: str | ToolCall | Reply = "An answer that does not arrive.") -> dict[str, Answer]:
    """Return the ways in which an answer can fail, by name: what a program has to live with.

    Of these, `max_tokens` and `refusal` are complete answers, with status 200. `stalled` and `pings alone` end when the
    client gives up, or by `Emulator.release`.

    Args:
        answer: The answer. With `max_tokens`, its last call or text is cut in the middle.

    Example:
        >>> failures("Hello there.")["max_tokens"]
        Reply(content=['Hello'], stop_reason='max_tokens', stop_sequence=None, usage={})
        >>> sorted(failures())[:3]
        ['cut', 'cut after the start', 'max_tokens']
    """
    return {
        "overloaded": Status(529, headers=_AT_ONCE),
        "rate limited": Status(429, headers=_AT_ONCE),
        "server error": Status(500, headers=_AT_ONCE),
        "refused": Status(400),
        "no response": Drop(answer),
        "cut after the start": Drop(answer, after_events=1),
        "cut": Drop(answer, after_events=4),
        "reset": Reset(answer, after_events=4),
        "overloaded in the stream": ErrorEvent(answer, after_events=4),
        "stalled": Stall(answer, after_events=4),
        "pings alone": Stall(answer, after_events=4, ping_every=0.02),
        "max_tokens": _cut(answer),
        "refusal": Refusal(),
    }


def _cut(answer: str | ToolCall | Reply) -> Answer:
    parts: list[Any] = list(answer.content) if isinstance(answer, Reply) else [answer]
    last = parts.pop()
    match last:
        case ToolCall():
            parts.append(replace(last, cut=len(_json.encode(dict(last.input))) // 2))
        case str():
            parts.append(last[: len(last) // 2].rstrip() or last)
        case _:
            parts.append(last)
    return Reply(parts, stop_reason="max_tokens")
