"""The parts of a client that its calls and tasks share, and how a blocking call runs in the caller's thread."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from anthropix_actors._calls.options import CALL_OPTIONS, checked_options
from anthropix_actors._calls.registry import Registry
from anthropix_actors._checks.actors import is_tool_server
from anthropix_actors._decode.json import decoded as json_value
from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.on_first_use import OnFirstUse
from anthropix_actors._http.requester import raise_for_status, read_body
from anthropix_actors.errors import AnthropixError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._calls.request_factory import RequestFactory
    from anthropix_actors._http.request import Request
    from anthropix_actors._http.transport import Response, Transport
    from anthropix_actors._tasks.concurrency import Slots
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.errors import APIError
    from anthropix_actors.limits.governor import Governor

T = TypeVar("T")

CLIENT_CLOSED = "the client was closed"
"""Why the tasks of a client are cancelled that is closed."""

_QUOTED = 200


class ClientCore:
    """The parts of a client. Safe to share between threads.

    Attributes:
        transport: Its connections.
        request_factory: Makes its requests.
        registry: Its running tasks and calls.
        api_version: The version of the API that it speaks.
        window: How many messages a subscriber may be behind.
        ledger: Gets the end of every chat and every batch result; or None.
        slots: The concurrency limit of its chats, or None.
        closers: What is to be closed before its running tasks are cancelled: its conversations, and servers of tools.
            A `close` returns what waits for its end, given a timeout, or None.
        windows: The most input tokens of the models that were asked about; None where the API does not say.
    """

    def __init__(  # noqa: PLR0913 - the parts, by name
        self,
        transport: Transport,
        request_factory: RequestFactory,
        *,
        api_version: str,
        window: int,
        ledger: Subscriber | None = None,
        slots: Slots | None = None,
        governor: Governor | Literal[True] | None = None,
    ) -> None:
        """Hold the parts; nothing runs. `governor=True` makes one for the first chat."""
        self.transport = transport
        self.request_factory = request_factory
        self.registry = Registry()
        self.closers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.windows: dict[str, int | None] = {}
        self.api_version = api_version
        self.window = window
        self.ledger = ledger
        self.slots = slots
        if governor is not True:
            self.governor = governor

    @OnFirstUse
    def governor(self) -> Governor | None:
        """The rate limiter of its chats, or None."""
        from anthropix_actors.limits.governor import Governor

        return Governor()

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
        with late_import():
            from anthropix_actors._calls.blocking import BlockingCall

        call = BlockingCall(self.transport, request.timeout)
        try:
            self.registry.begin(call, cancel)
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
                self.registry.end(call)
            except BaseException:  # Ctrl-C in the middle of it
                self.registry.end(call)
                raise

    def ask(  # noqa: PLR0913 - the parts of a call
        self,
        method: str,
        path: str,
        options: Mapping[str, Any],
        *,
        use: Callable[[Response], Any] | None = None,
        again: Callable[[APIError], bool] | None = None,
        of: Callable[..., object],
        known: Sequence[str] = CALL_OPTIONS,
        **more: Any,
    ) -> Any:
        """Send a request in this thread with a caller's `CallOptions`; return its JSON, or what `use` returns for it.

        Raises:
            ParameterError: an option is unknown, or its value is wrong.
            AnthropixError: it failed, or was cancelled.
        """
        given = checked_options(options, *known, of=of)
        cancel = given.pop("cancel", None)
        request = self.request_factory.build(method, path, **given, **more)
        return self.wait_for(request, use or decode_json, cancel=cancel, again=again)

    def adopt(self, tools: Any) -> None:
        """Have the servers that are opened now, for these tools, closed with the client.

        Args:
            tools: What the caller passes as tools.
        """
        for each in tools if isinstance(tools, (list, tuple)) else ():
            if is_tool_server(each) and not each.is_open:
                self.closers.add(each.closer)

    def close(self) -> list[Callable[[float], object]]:
        """Cancel all running calls, and close the idle connections. Returns at once, and raises nothing itself.

        Returns:
            What waits for the ends of what it closed, for `join`.
        """
        self.registry.close()
        if self.slots is not None:
            self.slots.close()
        waits = [each.close() for each in list(self.closers)]
        self.registry.cancel_all(CLIENT_CLOSED)
        self.transport.close()
        return [wait for wait in waits if wait is not None]

    def join(self, waits: Sequence[Callable[[float], object]], timeout: float, *, tasks: bool) -> None:
        """Wait for the ends of what was closed, and of all tasks if that is wanted, for so many seconds in all."""
        deadline = time.monotonic() + timeout
        if tasks:
            self.registry.drain(deadline)
        for wait in waits:
            wait(max(0.0, deadline - time.monotonic()))


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
