"""The endpoints of sessions: their events, as a list and as a stream.

Source: https://docs.claude.com/en/api/beta/sessions/events, read 2026-11-23.
"""

from __future__ import annotations

import datetime as dt
import operator
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._api.checks import refused_keys, refused_object
from anthropix_actors.emulator._api.pages import by_cursor, values
from anthropix_actors.emulator._api.route import Endpoint
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator._script.live_stream import LiveStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anthropix_actors.emulator._api.state import Desk
    from anthropix_actors.emulator._script.responder import Compiler
    from anthropix_actors.emulator._script.steps import Step
    from anthropix_actors.emulator.records import Request
    from anthropix_actors.emulator.sessions import Session

PATH = "/v1/sessions/{id}"

BETA = "managed-agents-2026-04-01"

_SENT = frozenset(
    {
        "user.message",
        "user.interrupt",
        "user.tool_confirmation",
        "user.custom_tool_result",
        "user.tool_result",
        "user.define_outcome",
        "system.message",
    }
)
"""What a client may send."""

_PREVIEWED = frozenset({"agent.message", "agent.thinking"})

_COMPARED = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


class Sessions:
    """All sessions of an emulator. Runs in its event loop.

    Args:
        desk: Has the sessions.
    """

    def __init__(self, desk: Desk) -> None:
        """Hold the desk."""
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """Get what it serves."""
        thread = PATH + "/threads/{thread_id}"
        return [
            Endpoint("GET", PATH + "/events", self._list),
            Endpoint("POST", PATH + "/events", self._send),
            Endpoint("GET", PATH + "/events/stream", self._stream, streams=True),
            Endpoint("GET", thread + "/events", self._list),
            Endpoint("GET", thread + "/stream", self._stream, streams=True),
        ]

    def _list(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        events = self._named(request).events
        wanted = _filtered(request.query, events)
        order = request.query.get("order", "asc")
        if order not in {"asc", "desc"}:
            raise RefusedError(400, "order: Input should be 'asc' or 'desc'")
        if order == "desc":
            wanted.reverse()
        numbers, cursor = by_cursor(request.query, wanted, falling=order == "desc")
        return compiler.json({"data": [events[number] for number in numbers], "next_page": cursor})

    def _send(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        session = self._named(request)
        if refusal := refused_object(request) or refused_keys(request.body, {"events"}):
            return compiler.other(refusal)
        sent: Any = request.body.get("events")
        if not is_array(sent) or not sent:
            raise RefusedError(400, "events: Input should be a list with at least 1 item")
        for place, event in enumerate(sent):
            if not is_object(event) or event.get("type") not in _SENT:
                raise RefusedError(400, f"events.{place}.type: Input should be one of {', '.join(sorted(_SENT))}")
        return compiler.json({"data": session.add(*sent)})

    def _stream(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        session = self._named(request)
        previews = frozenset(values(request.query, "event_deltas"))
        if previews - _PREVIEWED:
            raise RefusedError(400, f"event_deltas: Input should be one of {', '.join(sorted(_PREVIEWED))}")
        stream = LiveStream(previews)
        session.opened(stream)
        compiler.closing.callback(session.closed, stream)
        return compiler.stream(stream.steps())

    def _named(self, request: Request) -> Session:
        """Get the session that a request names, or the thread of it."""
        if BETA not in {name.strip() for name in request.headers.get("anthropic-beta", "").split(",")}:
            raise RefusedError(400, f"anthropic-beta: this endpoint is in beta: requests must send {BETA}")
        parts = request.path.split("/")
        return self._desk.session(parts[3], parts[5] if parts[4] == "threads" else None)


def _filtered(query: Mapping[str, str], events: list[dict[str, Any]]) -> list[int]:
    """Get the places of the events that a query asks for."""
    types = values(query, "types")
    bounds = [
        (compare, _moment(query[name], name))
        for key, compare in _COMPARED.items()
        if (name := f"created_at[{key}]") in query
    ]
    return [
        place
        for place, event in enumerate(events)
        if (not types or event["type"] in types)
        and all(_holds(event["processed_at"], compare, bound) for compare, bound in bounds)
    ]


def _holds(processed_at: str | None, compare: Any, bound: dt.datetime) -> bool:
    return processed_at is not None and compare(dt.datetime.fromisoformat(processed_at), bound)


def _moment(text: str, name: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, f"{name}: Input should be a valid datetime") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
