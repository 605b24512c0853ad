"""The loop of attempts: sends requests within one cancel scope, and reads responses step by step.

An answer is used in one of two ways: as a whole within its attempt (`send`), so that a failure may lead to another
attempt; or it is opened within its attempt and read afterwards, step by step (`open`, `chunks`).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from anthropix_actors._decode.json import decoded
from anthropix_actors._decode.sse import SSEDecoder
from anthropix_actors._foreign.log import LOGGER, log, log_retry, named
from anthropix_actors._http.api_errors import error_from_response
from anthropix_actors._http.attempt_scope import AttemptScope
from anthropix_actors._http.backoff import Backoff
from anthropix_actors.errors import APIError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._http.backoff import Retrying
    from anthropix_actors._http.request import Request
    from anthropix_actors._http.transport import Response, Transport
    from anthropix_actors.errors import AnthropixError

T = TypeVar("T")

_UNAUTHORIZED = 401


class Throttle(Protocol):
    """Decides when each attempt may be sent. All in the thread that sends."""

    def acquire(self) -> None:
        """Wait until the request may be sent.

        Raises:
            AnthropixError: the scope was cancelled while it waited.
        """

    def on_response(self, headers: Mapping[str, str]) -> None:
        """Note the headers of a response."""

    def release(self, error: APIError | None) -> None:
        """Note that the attempt has finished, and its error, if any. Called after each `acquire` that returned."""


class _NullThrottle:
    def acquire(self) -> None:
        pass

    def on_response(self, headers: Mapping[str, str]) -> None:
        pass

    def release(self, error: APIError | None) -> None:
        pass


_UNTHROTTLED: Throttle = _NullThrottle()


class Requester:
    """Sends the requests of one task or call, each as often as needed, and reads their responses.

    Attributes:
        scope: What cancels it.
        attempt_scope: What fails an attempt that stalls.
        attempts: How many times the current request has been sent.
        sent: A token of the latest attempt of any request; None before there is one.
        headers: Those of the latest response, names in lower case; empty before there is one.
        status: The HTTP status of the latest response; None before there is one.
        request: The request that is sent; it may be replaced between two attempts.
        fields: Returns the fields of records on the logger for the task that it belongs to.
        throttle: Decides when each attempt may be sent; at once, by default.
    """

    def __init__(self, transport: Transport, scope: CancelScope) -> None:
        """Hold the connections and the scope; send nothing yet."""
        self.scope = scope
        self.attempt_scope = AttemptScope(scope)
        self.attempts = 0
        self.sent: object = None
        self.headers: Mapping[str, str] = {}
        self.status: int | None = None
        self.request: Request | None = None
        self.throttle = _UNTHROTTLED
        self._opened: Response | None = None
        self.fields: Callable[[], dict[str, Any]] = dict
        self._transport = transport
        self._mark = 0  # of the credentials that the latest attempt was sent with
        self._sent: Mapping[str, str] = {}  # the headers of the latest attempt
        self._in_refresh = transport.auth.refreshes_here()

    @property
    def request_id(self) -> str | None:
        """The API's id of the current request; None before its response."""
        return self.headers.get("request-id")

    def send(
        self,
        request: Request,
        use: Callable[[Response], T],
        *,
        again: Callable[[APIError], bool] | None = None,
        retrying: Retrying | None = None,
        hold: bool = False,
    ) -> T:
        """Send a request, as often as needed, and return what `use` makes of the response.

        Args:
            request: The request.
            use: Called with the response, whatever its status; may raise `APIError`.
            again: Called with each error; False vetoes any retry.
            retrying: Called before the wait for each retry.
            hold: Whether the response stays open after `use`, to be read in steps and closed with `close`.

        Raises:
            AnthropixError: the error of the last attempt, or the one that cancelled the scope.
        """
        self.request = request
        self.attempts = 0
        backoff, refreshed = Backoff(self, request.retry), False
        while True:
            self.scope.check()  # cancelled before sending: no attempt
            try:
                return self._attempt(self.request, use, hold=hold)
            except APIError as exc:
                error = exc
            may_retry = (again is None or again(error)) and self.request.repeatable
            at_once = may_retry and not refreshed and error.status == _UNAUTHORIZED and self._refresh(self.request)
            refreshed = refreshed or at_once
            backoff.wait(error, retrying, veto=not may_retry, at_once=at_once)

    def open(self, request: Request, *, retrying: Retrying | None = None) -> Response:
        """Send a request as `send` does, and return the response open, its body unread. Close it with `close`.

        Raises:
            AnthropixError: there is no response, or its status is an error.
        """
        return self.send(request, _successful, retrying=retrying, hold=True)

    def chunks(self, answer: Response) -> Iterator[bytes]:
        """Yield the body of an open response as it arrives, each chunk in a step of its own.

        Raises:
            AnthropixError: it could not be read to its end, or the scope was cancelled.
        """
        chunks = answer.chunks()
        while True:
            self.scope.check()  # bytes that arrived before a cancel are still readable after it
            with self.attempt_scope.step():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def events(self, answer: Response, *, max_event_bytes: int) -> Iterator[dict[str, Any]]:
        """Yield the events of an open response that is an event stream, without pings.

        Raises:
            AnthropixError: it was cut, is not an event stream, or stalled; or an event was an error.
        """
        timer, decoder = self.attempt_scope.timer, SSEDecoder(max_event_bytes=max_event_bytes)
        timer.idle_since = time.monotonic()
        try:
            for events in itertools.chain(map(decoder.feed, self.chunks(answer)), (decoder.close(),)):
                for event in events:
                    if event["type"] == "error":
                        raise error_from_response(answer.status, event, answer.headers, now=time.time(), in_stream=True)
                    timer.idle_since = None
                    yield event
                    timer.idle_since = time.monotonic()
        finally:
            timer.idle_since = None

    def close(self, answer: Response) -> None:
        """Close a response that was opened. In the thread that reads it, or after its last read."""
        with self.attempt_scope.step():
            answer.close()
        self._opened = None
        self.scope.release()

    def let_go(self) -> None:
        """Close a response that its reader did not close, because of an interrupt. A second call does nothing."""
        if (answer := self._opened) is not None:
            self.close(answer)

    def annotate(self, error: AnthropixError) -> None:
        """Add the details of the request to an error, and remove secrets from it."""
        if not error.attempts:  # else it has the details of an earlier request, which was its own
            error.attempts = self.attempts
            error.request_id = error.request_id or self.request_id
        if isinstance(error, APIError) and error.url is None and self.request is not None:
            self._transport.annotate(error, self.request, self._sent)

    def _answer(self, request: Request) -> Response:
        self.headers = {}
        answer = self._opened = self._transport.open(request)
        self.headers, self.status, self._sent = answer.headers, answer.status, answer.sent
        self.attempt_scope.timer.idle_since = time.monotonic() if answer.of_events else None
        self.throttle.on_response(answer.headers)
        self._log("%s %s is answered with %s", request, answer.status)
        return answer

    def announce_retry(self, error: APIError, attempt: int, delay: float, retrying: Retrying | None) -> None:
        """Log a retry, and call `retrying`, before the delay."""
        if LOGGER.isEnabledFor(logging.INFO):
            log_retry({**self.fields(), "status": error.status, "delay": delay}, error)
        if retrying is not None:
            retrying(error, attempt, delay)

    def _log(self, text: str, request: Request, *more: object) -> None:
        if LOGGER.isEnabledFor(logging.DEBUG):  # an attempt is a hot path, and the fields take some time
            fields = self.fields()
            path = named(request.path.partition("?")[0], fields.get("tag"))
            log(logging.DEBUG, text, request.method, path, *more, **fields)

    def _refresh(self, request: Request) -> bool:
        """Renew refused credentials; return whether to try again."""
        auth = self._transport.auth
        return not self._in_refresh and auth.refresh(self._mark, self.scope, request.timeout.idle)

    def _attempt(self, request: Request, use: Callable[[Response], T], *, hold: bool) -> T:
        """Make one attempt, when the throttle allows it."""
        self.throttle.acquire()
        error = None
        try:
            self.attempts += 1
            self.sent = object()
            self._mark = self._transport.auth.mark
            self._log("%s %s is sent", request)
            with self.attempt_scope.attempt(hold=hold):
                answer, held = self._answer(request), False
                try:
                    used = use(answer)
                    held = hold
                    return used
                finally:
                    if not held:
                        answer.close()
                        self._opened = None
        except APIError as exc:
            error = exc
            raise
        finally:
            self.throttle.release(error)


def raise_for_status(answer: Response) -> None:
    """Raise if the response is an error.

    Raises:
        APIStatusError: its status is not a success.
    """
    if not answer.ok:
        error = error_from_response(answer.status, _json_or_text(answer.text()), answer.headers, now=time.time())
        raise answer.named(error)


def _successful(answer: Response) -> Response:
    raise_for_status(answer)
    return answer


def read_body(answer: Response) -> bytes:
    """Return the whole body.

    Raises:
        APIError: it could not be read to its end, or is larger than `answer.max_bytes`.
    """
    body = bytearray()
    for chunk in iter_limited(answer):
        body += chunk
    return bytes(body)


def iter_limited(answer: Response) -> Iterator[bytes]:
    """Yield the body of a response that is kept in memory, as it arrives.

    Raises:
        APIError: it could not be read to its end, or is larger than `answer.max_bytes`.
    """
    size = 0
    for chunk in answer.chunks():
        size += len(chunk)
        if size > answer.max_bytes:
            raise ProtocolError(f"the answer is larger than {answer.max_bytes} bytes (max_answer_bytes)")
        yield chunk


def _json_or_text(text: str) -> Any:
    with contextlib.suppress(ValueError, RecursionError):
        return decoded(text)
    return text
