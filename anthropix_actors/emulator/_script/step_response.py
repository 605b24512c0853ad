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
from anthropix_actors.emulator._script.steps import Hangup, Head, Hold, Pause, Until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Message, Receive, Scope, Send

    from anthropix_actors.emulator._script.steps import Step

_TURN = 16
"""Pieces sent before other connections get their turn, and before a hang-up is looked for."""

_PING = encode(PING)

_LINGER_NOT = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER on, for no time: closing resets."""


class _End(enum.Enum):
    """How playing ended."""

    WHOLE = enum.auto()
    CUT = enum.auto()
    UNHEARD = enum.auto()


class Playback:
    """Plays the steps of an answer to the client. Runs in the emulator's event loop.

    Args:
        steps: What to do.
        released: A permit for each stalled answer that may go on.
        hung_up: Called when the client goes away before the end.
        closing: Closed when playing has ended, in whatever way.
    """

    def __init__(
        self,
        steps: Iterator[Step],
        released: asyncio.Semaphore,
        hung_up: Callable[[], None],
        closing: ExitStack | None = None,
    ) -> None:
        """Hold what to play; calling it plays."""
        self._steps = steps
        self._released = released
        self._hung_up = hung_up
        self._closing = closing or ExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Play until the end, or until the client hangs up."""
        transport: asyncio.Transport = scope["state"]["transport"]
        playing = asyncio.ensure_future(self._play(transport, send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((playing, leaving), return_when=asyncio.FIRST_COMPLETED)
            end = playing.result() if playing.done() else _End.UNHEARD
            if end is _End.UNHEARD:
                self._hung_up()
            elif end is _End.CUT:
                # uvicorn reports an answer without an end as a failure, unless the connection has gone before it.
                await leaving
        finally:
            playing.cancel()
            leaving.cancel()
            self._closing.close()

    async def _play(self, transport: asyncio.Transport, send: Send) -> _End:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        # What is sent into a connection that has gone, asyncio reports on stderr.
        heard = itertools.takewhile(lambda _: not transport.is_closing(), self._steps)
        for turn, step in enumerate(heard):
            match step:
                case bytes():
                    await send({"type": "http.response.body", "body": step, "more_body": True})
                case Head():
                    await send(_start(step))
                    begun = loop.time()
                case Hold():
                    await self._hold(step, send)
                case Until():
                    await asyncio.sleep(begun + step.seconds - loop.time())
                case Pause():
                    await step.over.wait()
                case Hangup():
                    _hang_up(transport, reset=step.reset)
                    return _End.CUT
                case _:  # Finish
                    break
            if turn % _TURN == 0:
                await asyncio.sleep(0)
        if transport.is_closing():
            return _End.UNHEARD
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return _End.WHOLE

    async def _hold(self, hold: Hold, send: Send) -> None:
        if hold.ping_every is None:
            await self._released.acquire()
            return
        while True:
            try:
                async with asyncio.timeout(hold.ping_every):
                    await self._released.acquire()
                    return
            except TimeoutError:
                await send({"type": "http.response.body", "body": _PING, "more_body": True})


def _start(head: Head) -> Message:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers.items()]
    return {"type": "http.response.start", "status": head.status, "headers": headers}


def _hang_up(transport: asyncio.Transport, *, reset: bool) -> None:
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
    else:
        transport.close()  # what has been sent before still gets out


async def _disconnected(receive: Receive) -> None:
    kind = ""
    while kind != "http.disconnect":  # the rest of a body that is too large may come first
        kind = (await receive())["type"]
