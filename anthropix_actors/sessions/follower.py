"""Follows the events of a session, without a gap and without a duplicate, however often the connection is lost.

The API keeps a session's events, so missed events can be listed. For each connection: the stream is opened first, then
the events after the last one yielded are listed and yielded, then the stream is read, except for the listed events. So
no event falls between the two.

Previews (`event_start`, `event_delta`) are not kept, so those of a lost connection stay lost; the complete event does
not.
"""

from __future__ import annotations

import contextlib
import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any

from anthropix_actors._calls.client_core import decode_json
from anthropix_actors._calls.pages import Pages
from anthropix_actors._http.backoff import Backoff
from anthropix_actors._http.requester import Requester
from anthropix_actors.errors import APIError, ParameterError, Problem, ProtocolError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.backoff import Retrying
    from anthropix_actors._http.request import Request
    from anthropix_actors._http.retry import RetryPolicy
    from anthropix_actors._http.transport import Response

REMEMBERED = 10_000
"""How many events back a duplicate is recognised."""

_PREVIEWS = frozenset({"event_start", "event_delta"})
_ENDS = frozenset({"session.status_terminated", "session.deleted"})
_THREAD_ENDS = _ENDS | {"session.thread_status_terminated"}


class Follower:
    """Follows one session, or one thread of it.

    Args:
        core: The client's core: settings, transport, request factory.
        stream: The request for its stream.
        listing: Returns the request for a page of its events, given the query.
        retry: The retry policy for lost connections.
        after: The id of the event to resume after; "" for the beginning, None for now.
        thread: Whether it follows a thread.
    """

    def __init__(  # noqa: PLR0913 - the parts of its state
        self,
        core: ClientCore,
        stream: Request,
        listing: Callable[[Mapping[str, Any]], Request],
        *,
        retry: RetryPolicy,
        after: str | None,
        thread: bool,
    ) -> None:
        """Hold the requests; send none yet."""
        self._core = core
        self._stream = stream
        self._listing = listing
        self._retry = retry
        self._thread = thread
        self._asked = after
        self._time: str | None = None  # of the last event, if it has one
        self._recent: dict[str, None] = {}  # ids, the oldest first
        self.last_id = after

    def events(self, requester: Requester, retrying: Retrying | None = None) -> Iterator[dict[str, Any] | None]:
        """Yield the events, up to the one that ends the session; and None each time that a connection opens, so first.

        Args:
            requester: Sends its requests.
            retrying: Called before each wait for another connection.

        Raises:
            AnthropixError: the session cannot be followed any longer.
        """
        backoff = Backoff(requester, self._retry)
        known = self.last_id is not None
        while True:
            try:
                if not known:
                    self._begin(requester)
                    known = True
                for event in self._connection(requester):
                    if event is not None:  # a mere connection is not progress: each may be closed at once
                        backoff.reset()
                    yield event
                    if event is not None and _kind(event) in (_THREAD_ENDS if self._thread else _ENDS):
                        return
                raise TruncatedError("the session's stream ended, but the session did not", retryable=True)
            except APIError as exc:
                error = exc
            requester.scope.check()  # a cancel comes before the error
            backoff.wait(error, retrying)

    def history(self, requester: Requester, retrying: Retrying | None = None) -> Iterator[dict[str, Any]]:
        """Yield the events so far, each once. If no event to follow after was named, following goes on after these.

        Args:
            requester: Sends its requests.
            retrying: Called before each wait for another attempt.

        Raises:
            AnthropixError: they cannot be listed.
        """
        backoff, begins = Backoff(requester, self._retry), self.last_id is None
        seen: set[str] = set()
        while True:
            try:
                for event in self._listed(requester, {}):  # after a failure, from the beginning again
                    if event["id"] not in seen:
                        seen.add(event["id"])
                        if begins:
                            self._note(event)
                        yield event
            except APIError as exc:
                error = exc
            else:
                if begins and self.last_id is None:
                    self.last_id = ""
                return
            requester.scope.check()
            backoff.wait(error, retrying)

    def _begin(self, requester: Requester) -> None:
        """Note the newest event: following starts after it."""
        self.last_id = ""
        if self._thread:  # its list has only one order
            for event in self._listed(requester, {}):
                self._note(event)
        else:
            for event in self._listed(requester, {"order": "desc", "limit": 1}):
                self._note(event)
                break

    def _connection(self, requester: Requester) -> Iterator[dict[str, Any] | None]:
        answer = requester.open(self._stream)
        try:
            kind = answer.headers.get("content-type", "")
            if not kind.lower().startswith("text/event-stream"):
                raise ProtocolError(f"expected an event stream, got {kind}")
            with requester.scope.child() as scope:
                missed = self._missed(Requester(self._core.transport, scope))
                first = next(missed, None)  # raises if the event to resume after does not exist
                yield None
                for event in itertools.chain([] if first is None else [first], missed):
                    self._note(event)
                    yield event
            yield from self._read(requester, answer)
        finally:
            requester.close(answer)

    def _read(self, requester: Requester, answer: Response) -> Iterator[dict[str, Any]]:
        for event in requester.events(answer, max_event_bytes=self._stream.max_event_bytes):
            if _kind(event) in _PREVIEWS:
                yield event
            elif _id(event) not in self._recent:
                self._note(event)
                yield event

    def _missed(self, requester: Requester) -> Iterator[dict[str, Any]]:
        """Yield the events after the last one, page by page, as a history may be large."""
        query = {} if self._time is None or self._thread else {"created_at[gte]": self._time}
        found, some = not self.last_id, False
        for event in self._listed(requester, query):
            some = True
            if not found:
                found = event["id"] == self.last_id or event["id"] in self._recent
            elif event["id"] not in self._recent:
                yield event
        if found:
            return
        if self._asked and self.last_id == self._asked:
            raise ParameterError([Problem("after", f"the session has no event {self._asked!r}")])
        for event in self._listed(requester, query) if some else ():  # no known event is listed, so all are new
            if event["id"] not in self._recent:
                yield event

    def _listed(self, requester: Requester, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the listed events that have an id: others cannot be recognised as duplicates."""

        def fetch(params: Mapping[str, Any]) -> Any:
            return requester.send(self._listing(params), decode_json)

        for event in Pages[Any](fetch, query, "cursor"):
            if isinstance(event, dict) and _id(event) is not None:
                yield event

    def _note(self, event: dict[str, Any]) -> None:
        event_id = _id(event)
        if event_id is not None:
            self.last_id = event_id
            self._time = _time(event) or self._time
            self._recent[event_id] = None
            if len(self._recent) > REMEMBERED:
                del self._recent[next(iter(self._recent))]


def _kind(event: dict[str, Any]) -> str:
    kind = event.get("type")
    return kind if isinstance(kind, str) else ""


def _id(event: dict[str, Any]) -> str | None:
    event_id = event.get("id")
    return event_id if isinstance(event_id, str) and event_id else None


def _time(event: dict[str, Any]) -> str | None:
    """Return the time of an event, if it is valid: it goes into a query, which the API would refuse otherwise."""
    when = event.get("processed_at")
    with contextlib.suppress(ValueError):
        if isinstance(when, str):
            datetime.fromisoformat(when)
            return when
    return None
