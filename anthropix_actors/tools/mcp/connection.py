"""One connection to a server, from its start to its end: a task on the loop's thread. With the `mcp` library.

It is used, and ended, from any thread; what is said of it there waits for nothing. Once it is lost, it stays so: the
next call makes another.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
from mcp.client import Client
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, Implementation, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import log
from anthropix_actors._http.version import __version__
from anthropix_actors.tools.errors import McpError
from anthropix_actors.tools.mcp.content import ABSENT
from anthropix_actors.tools.mcp.loop import LOOP
from anthropix_actors.tools.mcp.transports import transport_of

__all__ = ["Answer", "Connection", "failure_of", "transport_of"]

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from typing import Self

    from anyio.from_thread import BlockingPortal

_PARTING = 2.0
"""Seconds that a server gets to hear the end of its session; a process has `guard.py` for that."""

_MOST_PAGES = 100

PAUSE = 0.1
"""Seconds between two looks at tools that change, whatever the server says; ten times this, after a lost stream."""

LOOK = 30.0
"""Seconds that a server gets to list its tools again."""


class Answer:
    """What a server has answered to a call.

    Attributes:
        content: The content, as on the wire.
        structured: The structured content, or `ABSENT`.
        is_error: Whether the tool has failed.
    """

    def __init__(self, result: Any) -> None:
        """Take the parts of the library's result."""
        self.content = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in result.content]
        self.structured = result.structured_content if "structured_content" in result.model_fields_set else ABSENT
        self.is_error = bool(result.is_error)


class Connection:
    """One connection.

    Args:
        title: What the server is called in texts.
        transport: Makes the transport.
        start_timeout: Seconds that the server gets to start, and to list its tools.
        on_listed: Called with this connection when the tools have changed, on the loop's thread.

    Attributes:
        ready: Done when the tools are listed, or with why they are not.
        listing: The tools, as on the wire.
        lost: Whether it takes no more calls.
        ended: Set when the server is gone.
    """

    cancel_first = False

    def __init__(
        self,
        title: str,
        transport: Callable[[], AbstractAsyncContextManager[Any]],
        start_timeout: float,
        on_listed: Callable[[Connection], object],
    ) -> None:
        """Start nothing yet."""
        self._title = title
        self._transport = transport
        self._start_timeout = start_timeout
        self._on_listed = on_listed
        self.ready: Future[None] = Future()
        self.listing: tuple[dict[str, Any], ...] = ()
        self.lost = False
        self.ended = threading.Event()
        self._portal: BlockingPortal | None = None
        self._calls: set[object] = set()
        self._heard = 0.0
        self._looks = 0
        self._closing: anyio.Event
        self._ended_early = False
        self._scope: anyio.CancelScope
        self._client: Client

    def start(self) -> None:
        """Start to connect. Returns soon; `ready` says what fails."""
        try:
            SWEEPER.watch(self)
            portal = LOOP.enter()
            self._portal = portal
            portal.start_task_soon(self._run).add_done_callback(self._over)
            if self.lost:  # it was closed before
                self.close()
        except BaseException as exc:
            self._end(exc)
            if not isinstance(exc, Exception):  # Ctrl-C
                raise

    # Any thread

    def call(self, name: str, given: dict[str, Any], on_progress: Callable[[Any], object]) -> Future[Answer]:
        """Begin a call. Cancelling the future cancels it at the server, too.

        Raises:
            McpError: the connection was lost before.
        """
        portal = self._portal
        try:
            if self.lost or portal is None:
                raise RuntimeError("closed")  # noqa: TRY301 - as the portal does, whose loop has just ended
            future = portal.start_task_soon(self._call, name, given, on_progress)
        except RuntimeError as exc:
            raise McpError(f"{self._title}: the connection was closed") from exc
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def is_silent(self, since: float) -> bool:
        """Return whether nothing was heard since then, and no call waits: the server hangs."""
        return self._heard < since and not self._calls

    def close(self) -> None:
        """End it. Returns at once; `ended` says when the server is gone."""
        self.lost = True
        if self._portal is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._portal.start_task_soon(self._close)

    # The sweeper's

    def sweep(self, now: float) -> None:
        """Do nothing: a server has no time that runs out."""

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:  # noqa: ARG002 - as all that is watched
        """End it, as the interpreter exits; return what waits for that."""
        self.close()
        return self.ended.wait

    def after_fork(self) -> None:
        """Let go of it in a forked child: it is the parent's."""
        self.lost, self._portal = True, None
        self.ended.set()

    # On the loop's thread

    async def _run(self) -> None:
        self._closing = anyio.Event()
        with anyio.CancelScope(deadline=anyio.current_time() + self._start_timeout) as self._scope:
            info = Implementation(name="anthropix-actors", version=__version__)
            transport: Any = _Heard(self)
            async with Client(transport, message_handler=self._heard_of, client_info=info) as self._client:
                vars(self._client.session)["validate_tool_result"] = _taken_as_it_is
                self.listing = await self._listed()
                self._scope.deadline = math.inf
                self.ready.set_result(None)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._follow_changes)
                    await self._closing.wait()
                    tasks.cancel_scope.cancel()
                self._scope.deadline = anyio.current_time() + _PARTING

    def transport(self) -> AbstractAsyncContextManager[Any]:
        """Return the transport, for the one that listens to it."""
        return self._transport()

    def hear(self) -> None:
        """Note that the server has said something."""
        self._heard = time.monotonic()

    def hear_end(self) -> None:
        """End it, as the server has nothing more to say."""
        self.lost = True
        self._closing.set()

    def _close(self) -> None:
        self._closing.set()
        if not self.ready.done():
            self._ended_early = True
            self._scope.cancel()

    def _over(self, task: Future[None]) -> None:
        """Say that it has ended, and why it was never ready."""
        self._end(None if task.cancelled() else task.exception())
        LOOP.leave()

    def _end(self, error: BaseException | None) -> None:
        self.lost = True
        SWEEPER.unwatch(self)
        if not self.ready.done():
            late = "it was closed" if self._ended_early else f"it was not ready within {self._start_timeout:g} s"
            why = late if error is None else _words(error)
            failure = McpError(f"{self._title} cannot be used: {why}")
            failure.__cause__ = error
            self.ready.set_exception(failure)
        self.ended.set()

    async def _listed(self) -> tuple[dict[str, Any], ...]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._client.list_tools(cursor=cursor, cache_mode="bypass")
            found += [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                return tuple(found)
        raise McpError(f"its list of tools has more than {_MOST_PAGES} pages")

    async def _call(self, name: str, given: dict[str, Any], on_progress: Callable[[Any], object]) -> Answer:
        async def progress(progress: float, total: float | None, message: str | None) -> None:
            known = {"progress": progress, "total": total, "message": message}
            on_progress({key: value for key, value in known.items() if value is not None})

        return Answer(await self._client.call_tool(name, given, progress_callback=progress))

    # Changes

    async def _follow_changes(self) -> None:
        """Subscribe to changes of the tools; servers of the older protocol tell them unasked."""
        tools = self._client.server_capabilities.tools
        while self._client.protocol_version in MODERN_PROTOCOL_VERSIONS and tools is not None and tools.list_changed:
            with suppress(SubscriptionLost):
                try:
                    async with self._client.listen(tools_list_changed=True) as changes:
                        async for _ in changes:  # `_heard_of` gets each, too
                            pass
                except MCPError:
                    return  # it does not want to tell
            await anyio.sleep(10 * PAUSE)
            await self._look_again()

    async def _heard_of(self, message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            await self._look_again()

    async def _look_again(self) -> None:
        """List the tools again; a server that says more often that they have changed is asked once more."""
        self._looks += 1
        if self._looks > 1:
            return
        while self._looks:
            self._looks = 1
            await anyio.sleep(PAUSE)
            listing = await self._listed_again()
            self._looks -= 1
            if listing != self.listing:
                self.listing = listing
                self._on_listed(self)

    async def _listed_again(self) -> tuple[dict[str, Any], ...]:
        """Return the tools as they are now; those that are known, if the server does not say."""
        try:
            with anyio.fail_after(LOOK):
                return await self._listed()
        except Exception as exc:  # noqa: BLE001 - the library's errors, of whatever the server says
            level = logging.DEBUG if self.lost else logging.WARNING
            log(level, "%s does not list its tools again, and those before are kept: %s", self._title, _words(exc))
            return self.listing


async def _taken_as_it_is(name: str, result: Any) -> None:
    """Check no result against the server's own schema of it: of a call that ran, the model is told what came of it.

    The library would check on the loop's thread, where a schema with a bad regular expression holds up all servers.
    """


class _Heard:
    """A transport that tells its connection what it hears."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport: Any = connection.transport()

    async def __aenter__(self) -> tuple[Any, Any]:
        read, write = await self._transport.__aenter__()
        return _Stream(read, self._connection), write

    async def __aexit__(self, *raised: object) -> Any:
        return await self._transport.__aexit__(*raised)


class _Stream:
    """The stream of what a server says."""

    def __init__(self, stream: Any, connection: Connection) -> None:
        self._stream = stream
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> Any:
        try:
            item = await self._stream.__anext__()
        except StopAsyncIteration:
            self._connection.hear_end()
            raise
        self._connection.hear()
        return item

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> Any:
        return await self._stream.__aexit__(*raised)


def failure_of(error: BaseException, title: str) -> tuple[str, bool]:
    """Return what the model is told of a call that failed, and whether the connection is lost.

    Example:
        >>> failure_of(MCPError(CONNECTION_CLOSED, "Connection closed"), "stdio files-server")
        ('stdio files-server ended the connection before it answered; the call may have taken effect', True)
        >>> failure_of(ValueError("no number"), "stdio files-server")
        ('ValueError: no number', False)
    """
    closed = isinstance(error, FutureCancelled) or (isinstance(error, MCPError) and error.code == CONNECTION_CLOSED)
    if closed:
        return f"{title} ended the connection before it answered; the call may have taken effect", True
    # So the library says that a server at a URL knows the session no more, and so did not run the call.
    forgotten = isinstance(error, MCPError) and (error.code, error.message) == (INVALID_REQUEST, "Session terminated")
    return _words(error), forgotten


def _words(error: BaseException) -> str:
    """Return what is wrong, of the first error in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, (MCPError, McpError)) else f"{type(error).__name__}: {error}"
