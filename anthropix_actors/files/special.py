"""Pipes and devices as files whose every wait goes through the scope: their other end may be silent for ever."""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

from anthropix_actors._cancel.scope import CancelScope, running_scope

if TYPE_CHECKING:
    from pathlib import Path

TICK = 0.02
"""Seconds between two looks whether the scope was cancelled."""

_NOBODY_READS = 6  # ENXIO: a named pipe that nobody has opened for reading


def is_special(mode: int) -> bool:
    """Whether a file is no regular one: it is opened once, and written to as it is.

    Example:
        >>> is_special(os.stat("/dev/null").st_mode)
        True
    """
    return not stat.S_ISREG(mode)


class Special:
    """A pipe or a device, open for reading or for writing.

    Args:
        path: Where it is. A named pipe is open when the other end is, too.
        writing: Whether it is written to.

    Raises:
        OSError: it cannot be opened.
        AnthropixError: the scope was cancelled meanwhile.
    """

    def __init__(self, path: Path, *, writing: bool = False) -> None:
        """Open it."""
        self._scope = running_scope() or CancelScope()
        self._file = -1
        self._events = select.POLLOUT if writing else select.POLLIN
        flags = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (os.O_WRONLY if writing else os.O_RDONLY)
        while self._file < 0:
            try:
                self._file = os.open(path, flags)
            except OSError as exc:
                if exc.errno != _NOBODY_READS or not path.is_fifo():
                    raise
                self._scope.sleep(TICK)
        self._poll = select.poll()
        self._poll.register(self._file, self._events)

    def read(self, size: int) -> bytes:
        """Get what there is, `size` bytes at most; b"" at the end."""
        while True:
            self._wait()
            try:
                return os.read(self._file, size)
            except BlockingIOError:  # somebody else was faster
                self._scope.sleep(TICK)

    def write(self, data: bytes) -> int:
        """Write some of it; get how much."""
        while True:
            self._wait()
            try:
                return os.write(self._file, data)
            except BlockingIOError:  # it has room, but not for all that would have to be written at once
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
