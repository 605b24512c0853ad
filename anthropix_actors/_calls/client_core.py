"""What a client's calls share: base URL, headers, timeouts, retries; and the set of running ones.

`ClientCore` makes requests from a caller's arguments, and runs blocking calls in the caller's own thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from anthropix_actors._calls.blocking import BlockingCall
from anthropix_actors._calls.options import CALL_OPTIONS, checked_options
from anthropix_actors._calls.pages import Pages
from anthropix_actors._cancel.scope import slice_of
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._decode.json import decoded as json_value
from anthropix_actors._http.request import Request, as_timeout, beta_names, merge_headers
from anthropix_actors._http.requester import raise_for_status, read_body
from anthropix_actors._http.urls import encode_query
from anthropix_actors.errors import AnthropixError, ConfigurationError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._calls.pages import PageKind
    from anthropix_actors._http.request import Body, Timeout
    from anthropix_actors._http.retry import RetryPolicy
    from anthropix_actors._http.transport import Response, Transport
    from anthropix_actors._tasks.concurrency import Slots
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.task import Task
    from anthropix_actors.errors import APIError
    from anthropix_actors.limits.governor import Governor

T = TypeVar("T")
C = TypeVar("C")

JSON_LINES = "application/binary, application/x-jsonl"
"""The `accept` header for batch results; the first name is the official SDK's."""

_QUOTED = 200
_CLOSED = "the client was closed"
_REFUSES_AS_CLOSED = "the client is closed; make another one"


class ClientCore:
    """The core of a client: its settings and its running calls. Safe to share between threads.

    Attributes:
        transport: Its connections.
        base_url: The URL that all requests go to.
        api_version: The version of the API that it speaks.
        timeout: The default timeouts of a call.
        retry: The default retry policy of a call.
        window: How many messages a subscriber may be behind.
        max_event_bytes: The largest event to accept.
        max_answer_bytes: The largest answer to keep in memory.
        ledger: Is told how every chat and every batch result ended, or None.
        slots: The concurrency limit of its chats, or None.
        governor: The rate limiter of its chats, or None.
    """

    def __init__(  # noqa: PLR0913 - a client's settings
        self,
        transport: Transport,
        *,
        api_version: str,
        system: Mapping[str, str],
        headers: Mapping[str, str | None],
        beta: Iterable[str],
        timeout: Timeout,
        retry: RetryPolicy,
        window: int,
        max_event_bytes: int,
        max_answer_bytes: int,
        ledger: Subscriber | None = None,
        slots: Slots | None = None,
        governor: Governor | None = None,
    ) -> None:
        """Hold the settings; nothing runs.

        `system` are the headers of every request, including credentials; `headers` are the user's, over them.
        """
        self.transport = transport
        self.base_url = transport.base_url
        self.api_version = api_version
        self._system = system
        self._headers = {name.lower(): value for name, value in headers.items()}
        self.timeout = timeout
        self.retry = retry
        self.window = window
        self.max_event_bytes = max_event_bytes
        self.max_answer_bytes = max_answer_bytes
        self.ledger = ledger
        self.slots = slots
        self.governor = governor
        self._beta = [*beta_names(self._headers.get("anthropic-beta")), *beta]
        # Reentrant, as a signal handler may close the client while the thread it interrupts starts a chat.
        self._lock = threading.RLock()
        self._ended = threading.Condition(self._lock)
        self._running: dict[Any, None] = {}  # in the order in which they were started
        self._refuses: str | None = None  # why new calls and chats are refused
        SWEEPER.fork_listeners.add(self)

    def request(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        body: bytes | Body | None = None,
        accept: str = "application/json",
        beta: str | Iterable[str] | None = None,
        default_betas: Iterable[str] = (),
        extra_headers: Mapping[str, str | None] | None = None,
        timeout: Timeout | float | None = None,
        max_retries: int | None = None,
    ) -> Request:
        """Make a request.

        Args:
            method: The HTTP method.
            path: The path from `/v1` on, or a whole URL.
            params: The query.
            json: A value to send as a JSON body; or else
            body: the body itself, with its content type, or bytes of JSON.
            accept: The `accept` header.
            beta: The caller's betas, after the client's.
            default_betas: Betas that go with the path, after all others.
            extra_headers: Headers that replace any other; an `anthropic-beta` replaces all betas.
            timeout: The caller's timeouts; None for the client's.
            max_retries: The caller's number of retries; None for the client's.

        Raises:
            ParameterError: an argument cannot be sent.
        """
        if json is not None:
            body = msgspec.json.encode(json)
        own = {"accept": accept}
        if accept in {"application/json", JSON_LINES}:
            own["accept-encoding"] = "gzip, deflate"  # the latency of their first bytes does not matter
        if body is not None:
            own["content-type"] = "application/json" if isinstance(body, bytes) else body.content_type
        names = ",".join(self.betas(beta, *default_betas))
        betas = {"anthropic-beta": names} if names else None
        return Request(
            method=method,
            path=path + encode_query(params),
            body=body,
            headers=merge_headers(self._system, own, self._headers, betas, extra_headers, place="extra_headers"),
            timeout=as_timeout(timeout, self.timeout),
            retry=self.retry_of(max_retries),
            max_event_bytes=self.max_event_bytes,
            max_answer_bytes=self.max_answer_bytes,
            window=self.window,
        )

    def betas(self, beta: str | Iterable[str] | None, *more: str) -> list[str]:
        """Return the betas of a request: the client's, the caller's, and those that go with the path.

        Raises:
            ParameterError: one of them is not a string.
        """
        return [*dict.fromkeys([*self._beta, *beta_names(beta), *more])]

    def retry_of(self, max_retries: int | None) -> RetryPolicy:
        """Return the retry policy of a call: the client's, with the caller's `max_retries` if given."""
        return self.retry if max_retries is None else msgspec.structs.replace(self.retry, max_retries=max_retries)

    def wait_for(
        self,
        request: Request,
        use: Callable[[Response], T],
        *,
        cancel: CancelToken | None = None,
        again: Callable[[APIError], bool] | None = None,
    ) -> T:
        """Send a request in this thread, and return the result of `use(response)`.

        Raises:
            AnthropixError: it failed, or was cancelled.
        """
        call = BlockingCall(self.transport, request.timeout)
        try:
            self.begin(call, cancel)
            found = call.requester.send(request, use, again=again)
        except AnthropixError as exc:
            call.requester.annotate(exc)
            call.log_end(exc)
            raise
        else:
            call.log_end()
            return found
        finally:
            try:
                self.end(call)
            except BaseException:  # Ctrl-C in the middle of it
                self.end(call)
                raise

    def ask(  # noqa: PLR0913 - the parts of a call
        self,
        method: str,
        path: str,
        options: Mapping[str, Any],
        *,
        use: Callable[[Response], Any] | None = None,
        again: Callable[[APIError], bool] | None = None,
        known: Sequence[str] = CALL_OPTIONS,
        **more: Any,
    ) -> Any:
        """Send a request in this thread with a caller's `CallOptions`; return its JSON, or what `use` returns for it.

        Raises:
            ParameterError: an option is unknown, or its value is wrong.
            AnthropixError: it failed, or was cancelled.
        """
        given = checked_options(options, *known)
        cancel = given.pop("cancel", None)
        request = self.request(method, path, **given, **more)
        return self.wait_for(request, use or decode_json, cancel=cancel, again=again)

    def pages(
        self,
        path: str,
        options: Mapping[str, Any],
        params: Mapping[str, Any],
        kind: PageKind | None,
        **more: Any,
    ) -> Pages[Any]:
        """Return a list that comes in pages; nothing is sent yet.

        Raises:
            ParameterError: an option is unknown, or a value of `params` cannot go into a query.
        """
        checked_options(options, *CALL_OPTIONS)
        encode_query(params)
        return Pages(lambda query: self.ask("GET", path, options, params=query, **more), params, kind)

    def begin(self, call: BlockingCall, cancel: CancelToken | None = None) -> None:
        """Track a call, and let the sweeper watch it, until `end`.

        Raises:
            ConfigurationError: the client is closed.
            AnthropixError: the sweeper's thread could not be started.
        """
        self._enter(call)
        SWEEPER.watch(call)
        if cancel is not None:
            cancel.add(call)

    def end(self, call: BlockingCall) -> None:
        """Track a call no longer. Calling it again does nothing."""
        SWEEPER.unwatch(call)
        call.requester.let_go()
        self.leave(call)

    def start(self, task: Task, start: Callable[[], C]) -> C:
        """Start the actor of a task, and cancel the task when the client is closed.

        The task is tracked before its thread begins, and no lock is held meanwhile: pykka writes to its logger.

        Raises:
            ConfigurationError: the client is closed.
            AnthropixError: it cannot be started.
        """
        task.enter, task.leave = self._enter, self.leave
        try:
            return start()
        except BaseException:  # Ctrl-C: the caller does not get the ref
            task.cancel("interrupted while it started")
            raise

    def _enter(self, started: Any) -> None:
        """Track a call or task that begins.

        Raises:
            ConfigurationError: the client is closed, or draining.
        """
        with self._lock:
            self._running[started] = None
        if self._refuses is not None:  # checked last: a later `close` finds this call among the running ones
            self.leave(started)
            raise ConfigurationError(self._refuses)

    def leave(self, started: Any) -> None:
        """Track a call or task no longer: it has ended. Any thread."""
        with self._lock:
            self._running.pop(started, None)
            self._ended.notify_all()

    def running(self) -> list[Any]:
        """Return the running calls and tasks, in the order in which they were started. Any thread."""
        with self._lock:
            return list(self._running)

    def drain(self, deadline: float | None) -> bool:
        """Refuse new calls, and wait for the running ones until the deadline; return whether all have ended."""
        with self._lock:
            self._refuses = self._refuses or "the client takes nothing new, as it is being drained; make another one"
            while self._running:
                if not (left := slice_of(deadline)):
                    return False
                self._ended.wait(left)
        return True

    def close(self) -> None:
        """Cancel all running calls, and close the idle connections. Returns at once, and raises nothing itself."""
        with self._lock:
            self._refuses = _REFUSES_AS_CLOSED
        if self.slots is not None:
            self.slots.close()
        for each in self.running():
            each.cancel(_CLOSED)
        self.transport.close()

    def after_fork(self) -> None:
        """Replace the lock in a forked child: a thread of the parent may have held it to start a chat."""
        self._lock = threading.RLock()
        self._ended = threading.Condition(self._lock)
        self._running = {}


def decode_json(answer: Response) -> Any:
    """Return the JSON of a response; None for an empty body.

    Raises:
        APIError: the response is an error, or is not JSON.
    """
    raise_for_status(answer)
    body = read_body(answer)
    try:
        return json_value(body) if body else None
    except (ValueError, RecursionError) as exc:
        text = body[:_QUOTED].decode(errors="replace")
        kind = answer.headers.get("content-type", "no content type")
        raise ProtocolError(f"expected JSON, got {kind}: {text}", body=text) from exc
