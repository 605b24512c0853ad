"""Steps → bytes on a connection: one ASGI response."""

from __future__ import annotations

import asyncio
import enum
import itertools
import socket
import struct
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from anthropix_actors.emulator._model.events import PING, encode
from anthropix_actors.emulator._script.steps import Hangup, Head, SleepUntil, WaitForMore, WaitForRelease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Message, Receive, Scope, Send

    from anthropix_actors.emulator._script.steps import Step

_STEPS_PER_TURN = 16
"""Steps between two yields to the event loop, in which other connections run and a hang-up is noticed."""

_PING = encode(PING)

_LINGER_ZERO = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER on, with 0 seconds: closing the socket resets the connection."""


class _End(enum.Enum):
    """How sending ended."""

    COMPLETE = enum.auto()
    CUT = enum.auto()
    DISCONNECTED = enum.auto()


class StepResponse:
    """The ASGI response that sends steps to the client. Runs in the emulator's event loop.

    Args:
        steps: The steps.
        released: Has a permit for each stalled answer to resume.
        on_hangup: Called if the client disconnects before the end.
        on_close: Closed when sending has ended, in whatever way.
    """

    def __init__(
        self,
        steps: Iterator[Step],
        released: asyncio.Semaphore,
        on_hangup: Callable[[], None],
        on_close: ExitStack | None = None,
    ) -> None:
        """Hold the steps; calling the response sends them."""
        self._steps = steps
        self._released = released
        self._on_hangup = on_hangup
        self._on_close = on_close or ExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client disconnects."""
        transport: asyncio.Transport = scope["state"]["transport"]
        sending = asyncio.ensure_future(self._send_steps(transport, send))
        disconnect = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((sending, disconnect), return_when=asyncio.FIRST_COMPLETED)
            end = sending.result() if sending.done() else _End.DISCONNECTED
            if end is _End.DISCONNECTED:
                self._on_hangup()
            elif end is _End.CUT:
                # uvicorn logs a response without an end as an error, unless the connection is lost first.
                await disconnect
        finally:
            sending.cancel()
            disconnect.cancel()
            self._on_close.close()

    async def _send_steps(self, transport: asyncio.Transport, send: Send) -> _End:
        loop = asyncio.get_running_loop()
        started = loop.time()
        # asyncio reports sends on a lost connection on stderr.
        steps = itertools.takewhile(lambda _: not transport.is_closing(), self._steps)
        # Over TLS, asyncio's transport knows of a lost connection a turn later.
        per_turn = _STEPS_PER_TURN if transport.get_extra_info("sslcontext") is None else 1
        for turn, step in enumerate(steps):
            match step:
                case bytes():
                    await send({"type": "http.response.body", "body": step, "more_body": True})
                case Head():
                    await send(_response_start(step))
                    started = loop.time()
                case WaitForRelease():
                    await self._wait_for_release(step, send)
                case SleepUntil():
                    await asyncio.sleep(started + step.seconds - loop.time())
                case WaitForMore():
                    await step.more.wait()
                case Hangup():
                    _hang_up(transport, reset=step.reset)
                    return _End.CUT
                case _:  # Finish
                    break
            if turn % per_turn == 0:
                await asyncio.sleep(0)
        if transport.is_closing():
            return _End.DISCONNECTED
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return _End.COMPLETE

    async def _wait_for_release(self, wait: WaitForRelease, send: Send) -> None:
        if wait.ping_every is None:
            await self._released.acquire()
            return
        while True:
            try:
                async with asyncio.timeout(wait.ping_every):
                    await self._released.acquire()
                    return
            except TimeoutError:
                await send({"type": "http.response.body", "body": _PING, "more_body": True})


def _response_start(head: Head) -> Message:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers.items()]
    return {"type": "http.response.start", "status": head.status, "headers": headers}


def _hang_up(transport: asyncio.Transport, *, reset: bool) -> None:
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()
    else:
        transport.close()  # bytes sent before are still flushed


async def _disconnected(receive: Receive) -> None:
    kind = ""
    while kind != "http.disconnect":  # the rest of a too large body may come first
        kind = (await receive())["type"]
