"""The routes of sessions: their events, as a list and as a stream.

Source: https://docs.claude.com/en/api/beta/sessions/events, read 2026-11-23.
"""

from __future__ import annotations

import datetime as dt
import operator
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._api.checks import check_keys, check_object
from anthropix_actors.emulator._api.pages import page_by_cursor, query_values
from anthropix_actors.emulator._api.route import Route
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator._script.live_stream import LiveStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anthropix_actors.emulator._api.state import ServerState
    from anthropix_actors.emulator._script.responder import Responder
    from anthropix_actors.emulator._script.steps import Step
    from anthropix_actors.emulator.records import Request
    from anthropix_actors.emulator.sessions import Session

PATH = "/v1/sessions/{id}"

BETA = "managed-agents-2026-04-01"

_CLIENT_EVENTS = frozenset(
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
"""The types of events that a client may send."""

_PREVIEWABLE = frozenset({"agent.message", "agent.thinking"})

_COMPARISONS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


class SessionRoutes:
    """All sessions of an emulator. Runs in its event loop.

    Args:
        state: Has the sessions.
    """

    def __init__(self, state: ServerState) -> None:
        """Hold the state."""
        self._state = state

    def routes(self) -> list[Route]:
        """Return its routes."""
        thread = PATH + "/threads/{thread_id}"
        return [
            Route("GET", PATH + "/events", self._list),
            Route("POST", PATH + "/events", self._send),
            Route("GET", PATH + "/events/stream", self._stream, streams=True),
            Route("GET", thread + "/events", self._list),
            Route("GET", thread + "/stream", self._stream, streams=True),
        ]

    def _list(self, request: Request, responder: Responder) -> Iterator[Step]:
        events = self._find(request).events
        wanted = _filter(request.query, events)
        order = request.query.get("order", "asc")
        if order not in {"asc", "desc"}:
            raise RefusedError(400, "order: Input should be 'asc' or 'desc'")
        if order == "desc":
            wanted.reverse()
        numbers, cursor = page_by_cursor(request.query, wanted, descending=order == "desc")
        return responder.json({"data": [events[number] for number in numbers], "next_page": cursor})

    def _send(self, request: Request, responder: Responder) -> Iterator[Step]:
        session = self._find(request)
        if refusal := check_object(request) or check_keys(request.body, {"events"}):
            return responder.answer(refusal)
        sent: Any = request.body.get("events")
        if not is_array(sent) or not sent:
            raise RefusedError(400, "events: Input should be a list with at least 1 item")
        for place, event in enumerate(sent):
            if not is_object(event) or event.get("type") not in _CLIENT_EVENTS:
                raise RefusedError(
                    400, f"events.{place}.type: Input should be one of {', '.join(sorted(_CLIENT_EVENTS))}"
                )
        return responder.json({"data": session.receive(sent)})

    def _stream(self, request: Request, responder: Responder) -> Iterator[Step]:
        session = self._find(request)
        previews = frozenset(query_values(request.query, "event_deltas"))
        if previews - _PREVIEWABLE:
            raise RefusedError(400, f"event_deltas: Input should be one of {', '.join(sorted(_PREVIEWABLE))}")
        stream = LiveStream(previews)
        session.opened(stream)
        responder.on_close.callback(session.closed, stream)
        return responder.event_stream(stream.steps())

    def _find(self, request: Request) -> Session:
        """Return the session, or the thread of one, that a request names.

        Raises:
            RefusedError: the request does not name the beta.
        """
        if BETA not in {name.strip() for name in request.headers.get("anthropic-beta", "").split(",")}:
            raise RefusedError(400, f"anthropic-beta: this endpoint is in beta: requests must send {BETA}")
        parts = request.path.split("/")
        return self._state.session(parts[3], parts[5] if parts[4] == "threads" else None)


def _filter(query: Mapping[str, str], events: list[dict[str, Any]]) -> list[int]:
    """Return the indexes of the events that match a query."""
    types = query_values(query, "types")
    bounds = [
        (compare, _parse_time(query[name], name))
        for key, compare in _COMPARISONS.items()
        if (name := f"created_at[{key}]") in query
    ]
    return [
        place
        for place, event in enumerate(events)
        if (not types or event["type"] in types)
        and all(_matches(event["processed_at"], compare, bound) for compare, bound in bounds)
    ]


def _matches(processed_at: str | None, compare: Any, bound: dt.datetime) -> bool:
    return processed_at is not None and compare(dt.datetime.fromisoformat(processed_at), bound)


def _parse_time(text: str, name: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, f"{name}: Input should be a valid datetime") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
