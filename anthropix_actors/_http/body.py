"""What a request carries, on its way to the server."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._http.request import Body


class Upload:
    """A body that is read while it is sent, block by block: each block that was taken shows that it goes on.

    A file, not bytes: else one timeout would bound all of the upload, and not each block of it.

    Args:
        file: What is read.
        scope: The scope of the attempt.

    Attributes:
        connection: What it is sent on.
    """

    def __init__(self, file: BinaryIO, scope: CancelScope) -> None:
        """Read nothing yet."""
        self._file = file
        self._scope = scope
        self.connection: Any = None

    def read(self, size: int = -1) -> bytes:
        """Get the next block. What the file itself takes for it is no silence of the network."""
        self._scope.idle_since = None
        data = self._file.read(size)
        self.connection.sock.settimeout(None)  # connecting is over; from here on the idle timeout looks after it
        self._scope.idle_since = time.monotonic()
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def opened(body: bytes | Body, scope: CancelScope) -> tuple[Upload, int | None]:
    """Get a body ready to be sent, and its length in bytes; None where that is not known before its end.

    Raises:
        AnthropixError: it cannot be read.
    """
    file, length = (io.BytesIO(body), len(body)) if isinstance(body, bytes) else body.open()
    return Upload(file, scope), length
