"""Bytes of JSON lines → objects, each with the number of its line. Pure.

A byte order mark before the first line is left out. JSON is read leniently, as `json` says: one odd character never
costs the other lines.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._decode.json import decoded
from anthropix_actors.errors import APIError, ProtocolError, TruncatedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_LINE_BYTES = 256 << 20
"""The longest line by default: the size limit of a batch."""

_DECODER = msgspec.json.Decoder(dict[str, Any])
_QUOTED = 80
_BOM = b"\xef\xbb\xbf"


class Run:
    """The lines that arrived together, blank ones left out; a loop over it yields their numbers and objects.

    Attributes:
        numbers: The numbers of the lines; the first line is 1.
        objects: Their objects.
    """

    __slots__ = ("numbers", "objects")

    def __init__(self, numbers: Sequence[int], objects: list[dict[str, Any]]) -> None:
        """Hold both, equally long."""
        self.numbers = numbers
        self.objects = objects

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Loop over pairs of number and object."""
        return zip(self.numbers, self.objects, strict=True)

    def __len__(self) -> int:
        """Return how many lines there are."""
        return len(self.objects)


class JSONLinesDecoder:
    r"""Decodes JSON lines as they arrive: feed it bytes, loop over numbers and objects of the lines that they end.

    Args:
        max_line_bytes: The longest line to accept.

    Attributes:
        number: The number of the line whose end has not come.

    Example:
        >>> decoder = JSONLinesDecoder()
        >>> [list(run) for run in decoder.feed(b'{"a": 1}\n\n{"a"')]
        [[(1, {'a': 1})]]
        >>> [list(run) for run in decoder.feed(b": 2}\r\n")]
        [[(3, {'a': 2})]]
    """

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        """Start at the first line."""
        self.number = 1
        self._max_line_bytes = max_line_bytes
        self._held: list[bytes] = []  # pieces of the line whose end has not come; joined once, so the time is linear
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Run]:
        """Return the lines that end in `data`, blank ones left out, as one run; nothing if no line ends.

        Raises:
            ProtocolError: a line is not a JSON object, or too long. The lines before it were returned.
        """
        self._held.append(data)
        self._size += len(data)
        if b"\n" in data:
            yield from self._lines()
        if self._size > self._max_line_bytes:
            raise ProtocolError(f"line {self.number} is longer than {self._max_line_bytes} bytes")

    def _lines(self) -> Iterator[Run]:
        *lines, rest = b"".join(self._held).split(b"\n")
        run, error = _decoded(lines, self.number)
        if run:
            yield run
        if error is not None:
            raise error
        self.number += len(lines)
        self._held, self._size = [rest], len(rest)

    def close(self) -> Iterator[Run]:
        """Return the last line, if it lacks its line end.

        Raises:
            TruncatedError: it is not complete.
        """
        run, error = _decoded([b"".join(self._held)], self.number)
        if error is not None:
            raise TruncatedError(f"it ends within {error.message}", retryable=True) from error.__cause__
        if run:
            yield run


def json_lines(chunks: Iterable[bytes], *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Run]:
    r"""Yield the numbers and objects of the lines that are not blank: a run for each chunk in which lines end.

    The lines of a run have arrived; the next run may take a while.

    Args:
        chunks: The lines, cut anywhere. The last one may lack its end.
        max_line_bytes: The longest line to accept.

    Raises:
        ProtocolError: a line is not a JSON object, or too long. The lines before it were returned.
        TruncatedError: the chunks end within a line.
        APIError: the error that `chunks` raised; its text names the line.

    Example:
        >>> [list(run) for run in json_lines([b'{"a": 1}\n\n{"a"', b": 2}\r\n"])]
        [[(1, {'a': 1})], [(3, {'a': 2})]]
    """
    decoder = JSONLinesDecoder(max_line_bytes=max_line_bytes)
    for data in _saying_the_line(iter(chunks), decoder):
        yield from decoder.feed(data)
    yield from decoder.close()


def _saying_the_line(chunks: Iterator[bytes], decoder: JSONLinesDecoder) -> Iterator[bytes]:
    """Yield the chunks; if reading them fails, add the number of the line to the error."""
    try:
        yield from chunks
    except APIError as exc:
        exc.message = f"{exc.message}, at line {decoder.number}"
        raise


def _decoded(lines: list[bytes], number: int) -> tuple[Run, ProtocolError | None]:
    """Return the numbers and objects of lines, up to the first line that is not an object, and the error for that."""
    decode = _DECODER.decode
    with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
        return Run(range(number, number + len(lines)), [decode(line) for line in lines]), None
    run = Run(numbers := [], [])  # there is a blank or odd line, so one by one
    for line in lines:
        try:
            if found := _object_of(line.removeprefix(_BOM) if number == 1 else line):
                numbers.append(number)
                run.objects.append(*found)
        except (ValueError, RecursionError) as exc:
            text = repr(line[:_QUOTED].decode(errors="replace"))
            error = ProtocolError(f"line {number}, which is not a JSON object: {text}", body=line)
            error.__cause__ = exc
            return run, error
        number += 1
    return run, None


def _object_of(line: bytes) -> list[dict[str, Any]]:
    """Return the object of a line, in a list; an empty list for a blank line.

    Raises:
        ValueError, RecursionError: it is not a JSON object.
    """
    if not line.strip():
        return []
    value = decoded(line)
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}")  # noqa: TRY004 - as for text that is not JSON
    return [value]
