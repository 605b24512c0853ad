"""Bytes of JSON lines → objects, each with the number of its line. Pure.

A byte order mark before the first line is left out. JSON is read as `json` says: one odd character never costs the
rest of the lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._decode.json import decoded
from anthropix_actors.errors import APIError, ProtocolError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE_BYTES = 256 << 20
"""How long one line may be: as large as a batch's whole request."""

_DECODER = msgspec.json.Decoder(dict[str, Any])
_QUOTED = 80
_BOM = b"\xef\xbb\xbf"


def json_lines(
    chunks: Iterable[bytes], *, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    r"""Get line number and object of each line that is not blank: in lists, one for each chunk in which lines end.

    The first line is 1. What is in a list has arrived, and what follows it may take a while.

    Args:
        chunks: The lines, cut anywhere. The last one may lack its end.
        max_line_bytes: The longest line to accept.

    Raises:
        ProtocolError: a line is no JSON object, or too long. What was before it has been given.
        TruncatedError: the chunks end within a line.
        APIError: what the chunks raised, with the line where it happened in its text.

    Example:
        >>> list(json_lines([b'{"a": 1}\n\n{"a"', b": 2}\r\n"]))
        [[(1, {'a': 1})], [(3, {'a': 2})]]
    """
    number, size = 1, 0
    held: list[bytes] = []  # pieces of the line whose end has not come; joined once, so the time is linear
    source = iter(chunks)
    while (chunk := _next(source, number)) is not None:
        held.append(chunk)
        size += len(chunk)
        if b"\n" in chunk:
            *lines, rest = b"".join(held).split(b"\n")
            run, error = _decoded(lines, number)
            if run:
                yield run
            if error is not None:
                raise error
            number += len(lines)
            held, size = [rest], len(rest)
        if size > max_line_bytes:
            raise ProtocolError(f"line {number} is longer than {max_line_bytes} bytes")
    run, error = _decoded([b"".join(held)], number)
    if error is not None:
        raise TruncatedError(f"it ends within {error.message}", retryable=True) from error.__cause__
    if run:
        yield run


def _decoded(lines: list[bytes], number: int) -> tuple[list[tuple[int, dict[str, Any]]], ProtocolError | None]:
    """Get the objects of lines with their numbers, up to a line that is none, and the error for that."""
    run: list[tuple[int, dict[str, Any]]] = []
    decode = _DECODER.decode
    for line in lines:
        try:
            run.append((number, decode(line)))
        except (msgspec.DecodeError, ValueError, RecursionError):
            try:
                if number == 1:
                    line = line.removeprefix(_BOM)  # noqa: PLW2901 - what is left of it
                if line.strip():
                    run.append((number, _object(line)))
            except (ValueError, RecursionError) as exc:
                text = repr(line[:_QUOTED].decode(errors="replace"))
                error = ProtocolError(f"line {number}, which is no JSON object: {text}", body=line)
                error.__cause__ = exc
                return run, error
        number += 1
    return run, None


def _object(line: bytes) -> dict[str, Any]:
    value = decoded(line)
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}")  # noqa: TRY004 - as for what is no JSON
    return value


def _next(chunks: Iterator[bytes], number: int) -> bytes | None:
    """Get the next chunk, or None; let an error say at which line it happened."""
    try:
        return next(chunks, None)
    except APIError as exc:
        exc.message = f"{exc.message}, at line {number}"
        raise
