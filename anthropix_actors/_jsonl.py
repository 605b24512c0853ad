"""Bytes of JSON lines → objects, each with the number of its line. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors.errors import APIError, ProtocolError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE_BYTES = 256 << 20
"""How long one line may be: as large as a batch's whole request."""

_QUOTED = 80
_NOT_JSON = (msgspec.DecodeError, RecursionError)


def json_lines(
    chunks: Iterable[bytes], *, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, dict[str, Any]]]:
    r"""Get line number and object of each line that is not blank, as soon as the line is there. The first line is 1.

    Args:
        chunks: The lines, cut anywhere. The last one may lack its end.
        max_line_bytes: The longest line to accept.

    Raises:
        ProtocolError: a line is no JSON object, or too long.
        TruncatedError: the chunks end within a line.
        APIError: what the chunks raised, with the line where it happened in its text.

    Example:
        >>> list(json_lines([b'{"a": 1}\n\n{"a"', b": 2}\r\n"]))
        [(1, {'a': 1}), (3, {'a': 2})]
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    number, size = 1, 0
    held: list[bytes] = []  # pieces of the line whose end has not come; joined once, so the time is linear
    source = iter(chunks)
    while (chunk := _next(source, number)) is not None:
        held.append(chunk)
        size += len(chunk)
        if b"\n" in chunk:
            *lines, rest = b"".join(held).split(b"\n")
            for line in lines:
                try:
                    item = decode(line)
                except _NOT_JSON as exc:
                    if line.strip():
                        raise ProtocolError(f"line {number} is no JSON object: {_quoted(line)}", body=line) from exc
                else:
                    yield number, item
                number += 1
            held, size = [rest], len(rest)
        if size > max_line_bytes:
            raise ProtocolError(f"line {number} is longer than {max_line_bytes} bytes")
    if last := b"".join(held).strip():
        try:
            item = decode(last)
        except _NOT_JSON as exc:
            raise TruncatedError(f"it ends within line {number}: {_quoted(last)}", retryable=True) from exc
        yield number, item


def _next(chunks: Iterator[bytes], number: int) -> bytes | None:
    """Get the next chunk, or None; let an error say at which line it happened."""
    try:
        return next(chunks, None)
    except APIError as exc:
        exc.message = f"{exc.message}, at line {number}"
        raise


def _quoted(line: bytes) -> str:
    return repr(line[:_QUOTED].decode(errors="replace"))
