"""Files and form fields as one body, `multipart/form-data`, read while it is sent.

A caller gives a file as a path, bytes, or a file object; or as a pair of a name and one of these. File objects are the
caller's code: an exception, or a result other than bytes, becomes an `AnthropixError`. They are read in the thread of
the call, without a lock; one that blocks holds up its own upload, which cannot be cancelled until it returns.

Source: https://www.rfc-editor.org/rfc/rfc7578 and https://html.spec.whatwg.org/multipage/form-control-infrastructure.html
(4.10.21.8, how names are escaped), read 2026-11-23.
"""

from __future__ import annotations

import io
import mimetypes
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from anthropix_actors._foreign.log import shown
from anthropix_actors.errors import AnthropixError, ParameterError, Problem
from anthropix_actors.files.special import Special, is_special

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EXPECTED = "expected a path, bytes, or a file that is open for reading bytes"
_ESCAPED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class Multipart:
    """The body of a multipart form.

    Args:
        fields: Its text fields.
        files: Its files, by field; a list under one name for several.

    Raises:
        ParameterError: a value is not a file, or a file does not exist; it has all such problems.
    """

    def __init__(self, fields: Mapping[str, Any], files: Mapping[str, Any]) -> None:
        """Check the files; their content is not read yet."""
        problems: list[Problem] = []
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._parts: list[_Part] = []
        for name, value in fields.items():
            data = _field(value, f"json.{name}", problems)
            self._add(boundary, f'name="{_escaped(name, "json", problems)}"', _Bytes(data))
        for name, given in files.items():
            for place, one in _several(f"files.{name}", given):
                source = _source(one, place, problems)
                quoted = _escaped(source.name, place, problems)
                head = f'name="{_escaped(name, "files", problems)}"; filename="{quoted}"'
                self._add(boundary, head, source, source.kind)
        self._parts.append(_Bytes(f"--{boundary}--\r\n".encode()))
        if problems:
            raise ParameterError(problems)

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent again."""
        return all(part.repeatable for part in self._parts)

    def open(self) -> tuple[BinaryIO, int | None]:
        """Return the body as a file, and its length; None if the length of a file is not known."""
        sizes = [part.size for part in self._parts]
        length = None if None in sizes else sum(cast("list[int]", sizes))
        return cast("BinaryIO", _Joined(self._parts)), length

    def _add(self, boundary: str, head: str, part: _Part, kind: str | None = None) -> None:
        content_type = f"\r\nContent-Type: {kind}" if kind else ""
        text = f"--{boundary}\r\nContent-Disposition: form-data; {head}{content_type}\r\n\r\n"
        self._parts += [_Bytes(text.encode()), part, _Bytes(b"\r\n")]


class _Part:
    """A piece of the body.

    Attributes:
        name: Its file name.
        kind: Its media type.
        size: Its length in bytes, or None if that is not known.
        repeatable: Whether it can be opened again.
    """

    name = ""
    size: int | None = None
    repeatable = True

    @property
    def kind(self) -> str:
        """The media type, guessed from the name, as browsers do."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    def open(self) -> Any:
        """Return it as a file."""
        raise NotImplementedError

    def close(self, file: Any) -> None:
        """Close the file that `open` returned."""
        file.close()


class _Bytes(_Part):
    """Bytes in memory."""

    def __init__(self, data: bytes, name: str = "file") -> None:
        self.name = name
        self.size = len(data)
        self._data = data

    def open(self) -> Any:
        return io.BytesIO(self._data)


class _OnDisk(_Part):
    """A file by its path."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        with path.open("rb") as file:  # so that an unreadable file is found now
            size = os.fstat(file.fileno()).st_size
            # Files of /proc report the size 0, and are not empty.
            self.size = size if size or not file.read(1) else None

    def open(self) -> Any:
        return self._path.open("rb")


class _Pipe(_Part):
    """A pipe or a device by its path: opened when it is sent, and read to its end, once."""

    repeatable = False

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        if not os.access(path, os.R_OK):
            raise PermissionError(f"no permission to read {path}")

    def open(self) -> Any:
        return Special(self._path)


class _Given(_Part):
    """The caller's file object, sent from its current position; the caller closes it."""

    def __init__(self, file: Any) -> None:
        name = getattr(file, "name", None)
        self.name = os.path.basename(name) if isinstance(name, str) and name else "file"  # noqa: PTH119 - of any system
        self._file = file
        self.repeatable = bool(getattr(file, "seekable", bool)())
        if self.repeatable:
            self._start = file.tell()
            self.size = max(0, file.seek(0, os.SEEK_END) - self._start)
            file.seek(self._start)

    def open(self) -> Any:
        if self.repeatable:
            self._file.seek(self._start)
        return self._file

    def close(self, file: Any) -> None:
        """Leave it to the caller."""


class _Joined:
    """Parts one after the other, as one file."""

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = iter(parts)
        self._part: _Part | None = None
        self._file: Any = None
        self._left: int | None = None
        self._rest = b""  # of a file that returned more than `size`

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; b"" at the end.

        Raises:
            AnthropixError: a file cannot be read, or has become shorter.
        """
        while True:
            if self._part is None and not self._next():
                return b""
            part = cast("_Part", self._part)
            data = self._rest or self._read(part, size if self._left is None else min(size, self._left))
            if self._left is not None:
                data = data[: self._left]  # bytes added to a file meanwhile are not sent
            if data:
                data, self._rest = data[:size], data[size:]
                if self._left is not None:
                    self._left -= len(data)
                return data
            if self._left:
                raise AnthropixError(f"{part.name}: it has become shorter while it was sent")
            self.close()

    def _read(self, part: _Part, size: int) -> bytes:
        if not size:
            return b""
        try:
            data = self._file.read(size)
        except Exception as exc:  # even an AnthropixError: of a request that the file object made
            raise AnthropixError(f"{part.name}: it cannot be read: {_text(exc)}") from exc
        if not isinstance(data, bytes | bytearray | memoryview):
            raise AnthropixError(f"{part.name}: it cannot be read: expected bytes, got {type(data).__name__}")
        return bytes(data)

    def close(self) -> None:
        """Close the part that is open."""
        if self._part is not None:
            self._part.close(self._file)
            self._part, self._rest = None, b""

    def _next(self) -> bool:
        part = next(self._parts, None)
        if part is None:
            return False
        try:
            self._file = part.open()
        except Exception as exc:
            raise AnthropixError(f"{part.name}: it cannot be opened: {_text(exc)}") from exc
        self._part, self._left = part, part.size
        return True


def _several(place: str, given: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(given, list):
        for index, one in enumerate(given):
            yield f"{place}[{index}]", one
    else:
        yield place, given


def _source(given: Any, place: str, problems: list[Problem]) -> _Part:
    """Return the part for a file that the caller gave."""
    name, value = given if isinstance(given, tuple) and len(given) == 2 else (None, given)  # noqa: PLR2004 - a pair
    part: _Part = _Bytes(b"")
    try:
        if isinstance(value, (bytes, bytearray, memoryview)):
            part = _Bytes(bytes(value))
        elif isinstance(value, (str, os.PathLike)):
            path = Path(value)
            mode = path.stat().st_mode
            part = _Pipe(path) if is_special(mode) and not stat.S_ISDIR(mode) else _OnDisk(path)
        elif callable(getattr(value, "read", None)) and not isinstance(value, io.TextIOBase):
            part = _Given(value)
        else:
            problems.append(Problem(place, f"{_EXPECTED}, got {type(value).__name__}"))
    except FileNotFoundError:
        problems.append(Problem(place, f"no such file: {shown(value)}"))
    except Exception as exc:  # noqa: BLE001 - a file object is the caller's code
        problems.append(Problem(place, f"it cannot be read: {_text(exc)}"))
    if isinstance(name, str) and name:
        part.name = name
    elif name is not None:
        problems.append(Problem(place, f"expected a name before the file, got {name!r}"))
    return part


def _field(value: Any, place: str, problems: list[Problem]) -> bytes:
    if isinstance(value, bool):
        return str(value).lower().encode()
    if not isinstance(value, (str, int, float)):
        problems.append(Problem(place, f"expected a string, a number or a bool in a form, got {type(value).__name__}"))
    try:
        return str(value).encode()
    except UnicodeEncodeError:
        problems.append(Problem(place, "expected text, got half a surrogate pair in it"))
        return b""


def _escaped(name: Any, place: str, problems: list[Problem]) -> str:
    """Return a name as it is written in the head of a part."""
    if not isinstance(name, str):
        problems.append(Problem(place, f"expected names that are strings, got {shown(name)}"))
        return ""
    try:
        name.encode()
    except UnicodeEncodeError:
        problems.append(Problem(place, f"its name is not UTF-8: {name!a}; give another one, such as filename="))
        return ""
    return name.translate(_ESCAPED)


def _text(exc: BaseException) -> str:
    """Return the text of an exception, with its class; the text of an OSError suffices."""
    try:
        said = f"{exc}"
    except Exception:  # noqa: BLE001 - the caller's code
        said = ""
    return said if said and isinstance(exc, OSError) else f"{type(exc).__name__}: {said}"
