"""The chunked transfer coding of HTTP/1.1, decoded as it arrives. Pure.

The API sends one HTTP chunk per event. http.client reads them one by one, with four calls each; its other methods wait
until a chunk, or a buffer, is full. `ChunkedBody.feed` takes the bytes that have arrived, and returns their payload at
once.

The rules: a body is chunks, then a chunk of size zero, trailers, an empty line. A chunk is its size in hexadecimal,
perhaps extensions after a semicolon, CRLF, that many bytes, CRLF. A bare LF may end a line, but not a chunk.

Source: RFC 9112, section 7.1.
"""

from __future__ import annotations

import re

from anthropix_actors.errors import ProtocolError

LONGEST_LINE = 8192
"""The most bytes of a size line with its extensions, or of a trailer."""

_HEX = re.compile(rb"0*[0-9A-Fa-f]{1,16}")


class ChunkedBody:
    r"""The decoder of one chunked body.

    Attributes:
        complete: The end of the body has come.
        excess: The bytes after the end, which do not belong to any response.
        error: The error that ended the decoding, or None. The payload returned before it is valid.

    Example:
        >>> body = ChunkedBody()
        >>> body.feed(b"5\r\nhello\r\n3;x=y\r\n, w") + body.feed(b"\r\n0\r\n\r\n")
        b'hello, w'
        >>> body.complete
        True
    """

    __slots__ = ("_in_trailers", "_left", "_line", "complete", "error", "excess")

    def __init__(self) -> None:
        """Start before the first size."""
        self._line = b""  # the part of a line whose end has not arrived
        self._left = 0  # bytes of the chunk still to come, including its CRLF; 0 before a size
        self._in_trailers = False
        self.complete = False
        self.excess = b""
        self.error: ProtocolError | None = None

    def feed(self, data: bytes) -> bytes:
        """Decode the bytes that have arrived; return their payload, which may be empty. Never raises: see `error`."""
        if self.error is not None:
            return b""
        if self._line:
            data, self._line = self._line + data, b""
        found: list[bytes] = []
        try:
            position = 0 if self._left or self._in_trailers else _whole_chunks(data, 0, found)
            if position < len(data):
                position = self._decode(data, position, found)
        except ProtocolError as exc:
            self.error = exc
        else:
            if self.complete:
                self.excess += data[position:]
        return found[0] if len(found) == 1 else b"".join(found)

    def _decode(self, data: bytes, position: int, found: list[bytes]) -> int:
        """Decode what is not just whole chunks; return the position of what is left: what comes after the body."""
        while position < len(data) and not self.complete:
            if not self._left:
                position = self._next_line(data, position)
            if self._left:
                position = self._take(data, position, found)
            if not self._left and not self._in_trailers:
                position = _whole_chunks(data, position, found)
        return position

    def _next_line(self, data: bytes, position: int) -> int:
        """Read the line that starts here, or keep it until its end arrives; return the position after it."""
        line_end = data.find(b"\n", position)
        if (len(data) if line_end < 0 else line_end) - position > LONGEST_LINE:
            raise ProtocolError("a line between the chunks of the response is too long")
        if line_end < 0:
            self._line = data[position:]
            return len(data)
        self._read_line(data[position:line_end])
        return line_end + 1

    def _take(self, data: bytes, position: int, found: list[bytes]) -> int:
        """Take the bytes of a chunk, and the CRLF after them; return the position after these."""
        stop = position + self._left
        arrived = len(data)
        found.append(data[position : max(position, stop - 2)])
        line_end = data[max(position, stop - 2) : stop]  # or the part of it that has arrived
        if not (b"\r\n".endswith(line_end) if stop <= arrived else b"\r\n".startswith(line_end)):
            raise ProtocolError("a chunk of the response does not end where its size says")
        if stop <= arrived:  # the whole chunk, and its line end
            self._left = 0
            return stop
        self._left = stop - arrived
        return arrived

    def _read_line(self, line: bytes) -> None:
        """Read a size line, or a trailer."""
        if self._in_trailers:
            self.complete = not line.strip()
            return
        size = line.partition(b";")[0].strip()
        if not _HEX.fullmatch(size):
            raise ProtocolError(f"the size of a chunk of the response is not a number: {size[:40]!r}")
        length = int(size, 16)
        if length:
            self._left = length + 2
        else:
            self._in_trailers = True


def _whole_chunks(data: bytes, position: int, found: list[bytes]) -> int:
    """Take chunks while they are plain and complete, as nearly all are; return the position of the first other line."""
    while True:
        size_end = data.find(b"\r\n", position)
        size = data[position:size_end]
        if size_end < 0 or not size.isalnum():  # int() would take a sign, spaces, underscores
            return position
        start = size_end + 2
        try:
            stop = start + int(b"00" + size, 16)  # the zeros prevent a prefix 0x, or x, from being accepted
        except ValueError:
            return position
        if start == stop or data[stop : stop + 2] != b"\r\n":
            return position
        found.append(data[start:stop])
        position = stop + 2
