"""The event loop of all connections to servers: one thread of the process, while there are any."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.threads import start_thread

_LAST_CALLBACKS = 0.1
"""Seconds for which the loop outlives its last connection: pipes that were closed are let go of in callbacks."""


class LoopThread:
    """The thread of the event loop. There is one, `LOOP`."""

    def __init__(self) -> None:
        """Start without a thread."""
        self._lock = threading.RLock()
        self._users = 0
        self._served: Future[tuple[BlockingPortal, anyio.Event]] = Future()

    def enter(self) -> BlockingPortal:
        """Start the thread, unless it runs; return what runs functions there. `leave` is to be called as often."""
        with self._lock:
            if not self._users:
                self._served = Future()
                start_thread(anyio.run, "anthropix-mcp", self._serve, self._served)
            self._users += 1
            served = self._served
        return served.result()[0]

    def leave(self) -> None:
        """End the thread, unless somebody else needs it. In that thread."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._served.result()[1].set()

    @staticmethod
    async def _serve(served: Future[tuple[BlockingPortal, anyio.Event]]) -> None:
        async with BlockingPortal() as portal:
            over = anyio.Event()
            served.set_result((portal, over))
            await over.wait()
            await anyio.sleep(_LAST_CALLBACKS)

    def after_fork(self) -> None:
        """Start afresh in a forked child, which does not have the thread."""
        # What waited in the loop is kept: its end would have the child do what is the parent's to do.
        _OF_THE_PARENT.append(self._served)
        self.__init__()  # type: ignore[misc] # a thread that no longer exists may hold any part of it


_OF_THE_PARENT: list[Any] = []

LOOP = LoopThread()
SWEEPER.fork_listeners.add(LOOP)
