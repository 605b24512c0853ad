"""The body of a request while it is sent."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO

    from anthropix_actors._http.request import Body
    from anthropix_actors._http.stall_timer import StallTimer


class Upload:
    """A body that is read while it is sent, block by block: each block taken counts as progress.

    A file, not bytes: with bytes, one timeout would bound the whole upload instead of each block.

    Args:
        file: The file to read.
        timer: The clocks of the attempt.

    Attributes:
        connection: The connection that it is sent on.
    """

    def __init__(self, file: BinaryIO, timer: StallTimer) -> None:
        """Read nothing yet."""
        self._file = file
        self._timer = timer
        self.connection: Any = None

    def read(self, size: int = -1) -> bytes:
        """Return the next block. The time that reading the file takes does not count as idle time."""
        self._timer.idle_since = None
        data = self._file.read(size)
        self.connection.sock.settimeout(None)  # connected: from here on, the idle timeout applies
        self._timer.idle_since = time.monotonic()
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def opened(body: bytes | Body, timer: StallTimer) -> tuple[Upload, int | None]:
    """Return a body ready to be sent, and its length in bytes; None if that is not known before its end.

    Raises:
        AnthropixError: the body cannot be read.
    """
    file, length = (io.BytesIO(body), len(body)) if isinstance(body, bytes) else body.open()
    return Upload(file, timer), length
