"""Connections that wait for another request: how many are kept, and for how long.

The sweeper closes those that have waited too long, also when no further request comes. It takes a connection off the
list before it closes it, as each other thread does before it uses one: so a connection has one owner at a time, and
there is no lock. A signal handler may use the client at any moment, and wait.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import deque
from typing import Any

from anthropix_actors._cancel.sweeper import SWEEPER

MAX_IDLE = 100
"""The most idle connections that a client keeps, as many as the official SDK does; the oldest are closed."""

IDLE_TIMEOUT = 50.0
"""Seconds that a connection is kept idle. Less than the 60 s or more after which most load balancers close theirs: a
request on a connection that is just being closed at the other end fails, and is sent again."""


class IdleConnections:
    """Idle connections, last in, first out: the part of `queue.LifoQueue` that urllib3 uses, without its lock.

    Args:
        size: The most connections to keep.
    """

    def __init__(self, size: int) -> None:
        """Start empty."""
        self._most = size
        self._kept: deque[Any] = deque()

    def get(self, block: bool = False, timeout: float | None = None) -> Any:  # noqa: ARG002, FBT001, FBT002 - as called
        """Return the connection that was used last. One that waited too long is closed; its user connects it anew.

        Raises:
            queue.Empty: there is none.
        """
        try:
            connection = self._kept.pop()
        except IndexError:
            raise queue.Empty from None
        if _is_over(connection, time.monotonic()):
            connection.close()
        return connection

    def put(self, connection: Any, block: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as called
        """Keep a connection, and close the oldest if there are too many."""
        if connection is None:  # urllib3 fills a new queue with placeholders
            return
        connection.idle_since = time.monotonic()
        self._kept.append(connection)
        SWEEPER.watch_idle(self)
        if len(self._kept) > self._most:
            self._close_oldest()

    def expire(self, now: float) -> None:
        """Close the connections that have waited too long; have the sweeper look again if any are left."""
        with contextlib.suppress(IndexError):  # there is none
            while _is_over(self._kept[0], now):
                self._close_oldest()
            SWEEPER.idle.add(self)

    def _close_oldest(self) -> None:
        with contextlib.suppress(IndexError):  # another thread has just taken it
            self._kept.popleft().close()


def _is_over(connection: Any, now: float) -> bool:
    over: bool = now - connection.idle_since >= IDLE_TIMEOUT
    return over
