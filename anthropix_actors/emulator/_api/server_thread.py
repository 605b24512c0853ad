"""`ServerThread`: uvicorn in a thread of its own that can be stopped at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette

_START_TIMEOUT = 10.0
_KEEP_ALIVE = 600


class _Connection(H11Protocol):
    """A connection that shows its transport to the application, which drops and resets it on demand."""

    def __init__(self, accepting: set[asyncio.Task[Any]], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # asyncio makes it in the task that accepts, which over TLS goes on until the client has shaken hands.
        if (task := asyncio.current_task()) is not None:  # pragma: no branch # there is none in the loop of Windows
            accepting.add(task)
            task.add_done_callback(accepting.discard)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        # asyncio leaves accepted sockets as they are, and Nagle's algorithm holds a small event back for 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """A server that stops at once: uvicorn's own polls ten times a second whether it should, then waits for clients."""

    def __init__(self, config: uvicorn.Config, accepting: set[asyncio.Task[Any]]) -> None:
        super().__init__(config)
        self._accepting = accepting
        self.loop: Future[asyncio.AbstractEventLoop] = Future()
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        self.loop.set_result(asyncio.get_running_loop())
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Stop accepting before the servers are closed: asyncio loses a connection that a closed server is just
        # accepting. Such a connection is a task first; then the protocol knows it.
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listener in server.sockets:
                loop.remove_reader(listener)
        while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) or self.server_state.connections:
            if self.config.is_ssl:  # a client that never shakes hands has no protocol to abort
                for task in self._accepting:
                    task.cancel()
            connections: list[Any] = list(self.server_state.connections)
            for connection in connections:
                connection.transport.abort()
            await asyncio.sleep(0)  # lets the protocols see the abort
            if tasks:
                await asyncio.wait(tasks)
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()


class ServerThread:
    """Serves an application until stopped.

    Args:
        app: The application.
        listener: A listening socket; the server closes it.
        certfile: The certificate for TLS; None for plain HTTP.
        keyfile: Its key; None if `certfile` has it.

    Raises:
        OSError: the certificate is no longer as it was when it was checked.
        RuntimeError: no thread can be started.
    """

    def __init__(self, app: Starlette, listener: socket.socket, certfile: str | None, keyfile: str | None) -> None:
        """Start, and wait until requests are accepted."""
        accepting: set[asyncio.Task[Any]] = set()
        connection: Any = partial(_Connection, accepting)  # uvicorn only calls it
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            http=connection,
            ws="none",
            lifespan="off",
            loop="asyncio",
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            ssl_certfile=certfile,
            ssl_keyfile=keyfile,
        )
        self._server = _Server(config, accepting)
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="anthropix-emulator", daemon=True)
        try:
            config.load()  # here: what it raises in the thread, nobody hears
            self._thread.start()
        except (OSError, RuntimeError):  # no certificate, or no thread can be started
            listener.close()
            raise
        self._loop = self._server.loop.result(_START_TIMEOUT)

    def _serve(self, listener: socket.socket) -> None:
        asyncio.run(self._server.serve(sockets=[listener]))

    def call(self, function: Callable[[], object]) -> None:
        """Schedule a call of a function in the event loop. Safe from any thread.

        Raises:
            RuntimeError: it has stopped.
        """
        self._loop.call_soon_threadsafe(function)

    def stop(self, timeout: float) -> None:
        """Abort all connections and end the thread. Does nothing if it has ended.

        Raises:
            TimeoutError: the thread is still busy after `timeout` seconds.
        """
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.call(self._server.stopping.set)
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the emulator is still busy after {timeout:g} s: a handler has not returned")
