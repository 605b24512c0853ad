"""What other servers do that speak the same language: gateways, proxies, mocks, local models. None of it is a fault."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anthropix_actors import OverloadedError, RateLimitError

from servers import chunk, error_body, head, json_answer
from torture.faults import AGAIN, NEVER, Case, close, says, stall
from torture.truth import EVENTS, MESSAGE, WHOLE, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torture.faults import Ends
    from torture.worlds import Script

END = b"0\r\n\r\n"
ANSWER = (head(), chunk(WHOLE), END)
EVENT_BEFORE_LAST, LAST = EVENTS[-2:]


def habits() -> Iterator[Case]:
    yield from heads()
    yield from bodies()
    yield from events()
    yield from ends()


def _case(
    phase: str, habit: str, *pieces: bytes, ends: Ends = None, retryable: bool = NEVER, then: Script = stall
) -> Case:
    """Get a case whose answer is whole, in other words perhaps, unless it says otherwise."""
    return Case(phase, habit, ends, retryable, says(*pieces, then=then), reworded=True)


ENDS = {"connection": "close"}


def heads() -> Iterator[Case]:
    """More than one head; only the last is the answer's."""
    for status in ("100 Continue", "102 Processing", "103 Early Hints", "110 Whatever"):
        first = f"HTTP/1.1 {status}\r\nlink: </style.css>; rel=preload\r\n\r\n".encode()
        yield replace(_case("other heads", status, first, *ANSWER), reworded=False)
        yield replace(_case("other heads", f"{status}, twice", first, first, *ANSWER), reworded=False)


def bodies() -> Iterator[Case]:
    """Another type of body than was asked for."""
    message = json.dumps(MESSAGE).encode()
    for kind in ("application/json", "application/json; charset=utf-8"):
        answer = (head(content_type=kind, framing=str(len(message))), message)
        yield _case("other bodies", f"a whole Message as {kind}", *answer)
    for kind in ("application/json", "text/plain"):
        yield _case("other bodies", f"events as {kind}", head(content_type=kind), chunk(WHOLE), END)
    overloaded, limited = error_body("overloaded_error"), error_body("rate_limit_error")
    yield _case(
        "other bodies",
        "an error with 200",
        json_answer("200 OK", overloaded, ENDS),
        ends=OverloadedError,
        retryable=AGAIN,
    )
    yield _case(
        "other bodies", "a limit with 200", json_answer("200 OK", limited, ENDS), ends=RateLimitError, retryable=AGAIN
    )


def events() -> Iterator[Case]:
    """The same events, put otherwise."""
    phase = "other events"
    yield _case(
        phase, "without a type: the name is it", head(), chunk(_written(_untyped(each) for each in EVENTS)), END
    )
    yield _case(phase, "without a name", head(), chunk(b"".join(_lines(None, each) for each in EVENTS)), END)
    yield _case(phase, "every block has index 0", head(), chunk(_written(_all_zero())), END)
    yield _case(phase, "no ping, and no empty text", head(), chunk(b"".join(map(wire, _spare()))), END)
    yield _case(phase, "a tool's input whole in its start", head(), chunk(b"".join(map(wire, _at_once()))), END)
    yield _case(phase, "an event without data", head(), chunk(_with(b"event: note\ndata:\n\n")), END)
    yield _case(phase, "a name without data", head(), chunk(_with(b"event: note\n\n")), END)
    yield _case(phase, "a type that nobody knows", head(), chunk(_with(_lines("cost", {"usd": 0.1}))), END)
    again = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 41}}
    sent = b"".join(map(wire, [*EVENTS[:-1], again, LAST]))
    yield _case(phase, "the stop reason taken back", head(), chunk(sent), END)
    error: dict[str, Any] = {"error": {"type": "overloaded_error", "message": "no"}}
    sent = chunk(_lines("error", error))
    yield _case(phase, "an error without a type of its own", head(), sent, END, ends=OverloadedError, retryable=AGAIN)
    yield _case(phase, "a byte order mark", head(), chunk(b"\xef\xbb\xbf" + WHOLE), END)


def ends() -> Iterator[Case]:
    """The answer is whole, and then it is said in another way."""
    phase = "other ends"
    before = WHOLE[: -len(wire(LAST))]
    done = b"data: [DONE]\n\n"
    yield _case(phase, "[DONE] besides", head(), chunk(WHOLE + done), END)
    yield _case(phase, "[DONE] in place of message_stop", head(), chunk(before + done), END)
    yield _case(phase, "[DONE] before message_stop", head(), chunk(before + done + wire(LAST)), END)
    yield _case(phase, "the last line end is missing", head(framing="close"), WHOLE[:-1], then=close)
    yield _case(phase, "both last line ends are missing", head(framing="close"), WHOLE[:-2], then=close)
    yield _case(phase, "more after the end", head(), chunk(WHOLE + _lines("cost", {"usd": 0.1})), END)


def _lines(name: str | None, data: dict[str, Any]) -> bytes:
    named = "" if name is None else f"event: {name}\n"
    return f"{named}data: {json.dumps(data)}\n\n".encode()


def _untyped(event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return event["type"], {key: value for key, value in event.items() if key != "type"}


def _written(named: Any) -> bytes:
    return b"".join(_lines(name, event) for name, event in named)


def _all_zero() -> Iterator[tuple[str, dict[str, Any]]]:
    for event in EVENTS:
        yield event["type"], {**event, "index": 0} if "index" in event else event


def _spare() -> list[dict[str, Any]]:
    return [event for event in EVENTS if event["type"] != "ping"]


def _at_once() -> Iterator[dict[str, Any]]:
    """A tool's input comes whole, as one piece with the block, and then in an empty delta."""
    told = False
    for event in EVENTS:
        match event:
            case {"type": "content_block_start", "content_block": {"type": "tool_use"} as block}:
                whole = {**block, "input": {"city": "Zürich", "days": 3}}
                yield {**event, "content_block": whole}
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta"} as delta}:
                if not told:
                    yield {**event, "delta": {**delta, "partial_json": ""}}
                told = True
            case _:
                yield event


def _with(more: bytes) -> bytes:
    """Put something between all events, after the first."""
    return wire(EVENTS[0]) + b"".join(more + wire(event) for event in EVENTS[1:])
