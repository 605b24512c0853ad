"""The body of a request while it is sent."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._http.request import Body


class Upload:
    """A body that is read while it is sent, block by block: each block taken counts as progress.

    A file, not bytes: with bytes, one timeout would bound the whole upload instead of each block.

    Args:
        file: The file to read.
        scope: The scope of the attempt.

    Attributes:
        connection: The connection that it is sent on.
    """

    def __init__(self, file: BinaryIO, scope: CancelScope) -> None:
        """Read nothing yet."""
        self._file = file
        self._scope = scope
        self.connection: Any = None

    def read(self, size: int = -1) -> bytes:
        """Return the next block. The time that reading the file takes does not count as idle time."""
        self._scope.idle_since = None
        data = self._file.read(size)
        self.connection.sock.settimeout(None)  # connected: from here on, the idle timeout applies
        self._scope.idle_since = time.monotonic()
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def opened(body: bytes | Body, scope: CancelScope) -> tuple[Upload, int | None]:
    """Return a body ready to be sent, and its length in bytes; None if that is not known before its end.

    Raises:
        AnthropixError: the body cannot be read.
    """
    file, length = (io.BytesIO(body), len(body)) if isinstance(body, bytes) else body.open()
    return Upload(file, scope), length
