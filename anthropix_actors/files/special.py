"""Pipes and devices as files whose every wait goes through the scope: their other end may be silent for ever."""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._http.attempt_scope import running_attempt

if TYPE_CHECKING:
    from pathlib import Path

TICK = 0.02
"""Seconds between two checks whether the scope was cancelled."""

_NO_READER = 6  # ENXIO: a named pipe that is not open for reading


def is_special(mode: int) -> bool:
    """Return whether a file is not a regular one: it is opened once, and written to directly.

    Example:
        >>> is_special(os.stat("/dev/null").st_mode)
        True
    """
    return not stat.S_ISREG(mode)


class Special:
    """A pipe or a device, open for reading or for writing.

    Args:
        path: Its path. Opening a named pipe for writing waits until it is open for reading.
        writing: Whether it is opened for writing.

    Raises:
        OSError: it cannot be opened.
        AnthropixError: the scope was cancelled meanwhile.
    """

    def __init__(self, path: Path, *, writing: bool = False) -> None:
        """Open it."""
        attempt = running_attempt()
        self._scope = CancelScope() if attempt is None else attempt.cancel_scope
        self._file = -1
        self._events = select.POLLOUT if writing else select.POLLIN
        flags = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (os.O_WRONLY if writing else os.O_RDONLY)
        while self._file < 0:
            try:
                self._file = os.open(path, flags)
            except OSError as exc:
                if exc.errno != _NO_READER or not path.is_fifo():
                    raise
                self._scope.sleep(TICK)
        self._poll = select.poll()
        self._poll.register(self._file, self._events)

    def read(self, size: int) -> bytes:
        """Wait for bytes, and return at most `size`; b"" at the end."""
        while True:
            self._wait()
            try:
                return os.read(self._file, size)
            except BlockingIOError:  # another reader was faster
                self._scope.sleep(TICK)

    def write(self, data: bytes) -> int:
        """Write a part of `data`; return how many bytes."""
        while True:
            self._wait()
            try:
                return os.write(self._file, data)
            except BlockingIOError:  # there is room, but not for all bytes that must be written at once
                self._scope.sleep(TICK)

    def close(self) -> None:
        """Close it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _wait(self) -> None:
        while not self._poll.poll(TICK * 1000):
            self._scope.check()
        self._scope.check()
