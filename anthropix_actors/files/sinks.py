"""The destinations of a download: memory, an open file, a path on the disk, a pipe or a device.

An open file is the caller's code: its exceptions become an `AnthropixError`, and it is called in the thread of the
call, without a lock. One that blocks holds up its own download, which cannot be cancelled until it returns.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anthropix_actors._http.requester import raise_for_status, read_body
from anthropix_actors.errors import AnthropixError, ParameterError, Problem
from anthropix_actors.files.special import Special, is_special

if TYPE_CHECKING:
    from collections.abc import Generator

    from anthropix_actors._http.transport import Response
    from anthropix_actors.errors import APIError


class Sink:
    """The destination of a download: this one keeps it in memory."""

    def take(self, answer: Response) -> bytes | int:
        """Read a response to its end; return its bytes, or how many were written.

        Raises:
            AnthropixError: it is an error, could not be read to its end, or cannot be written.
        """
        raise_for_status(answer)
        return read_body(answer)

    def again(self, _: APIError) -> bool:
        """Return whether the download may be retried."""
        return True


class _Opened(Sink):
    """Writes a download to an open file: perhaps the caller's, so its exceptions become an `AnthropixError`."""

    def __init__(self, file: Any, name: str = "the file") -> None:
        self._file = file
        self._name = name
        self._count = 0

    def take(self, answer: Response) -> bytes | int:
        raise_for_status(answer)
        for chunk in answer.chunks():
            self._write(chunk)
        with _writing(self._name):  # buffered bytes may not fit on the disk
            flush = getattr(self._file, "flush", None)
            if callable(flush):
                flush()
        return self._count

    def _write(self, chunk: bytes) -> None:
        """Write all of `chunk`, however little the file takes at a time."""
        while chunk:
            with _writing(self._name):
                written = self._file.write(chunk)
            if written is None and isinstance(self._file, io.RawIOBase):
                raise AnthropixError(f"{self._name} cannot be written: it would block")
            if not isinstance(written, int) or written > len(chunk):  # many a caller's own writer returns None
                written = len(chunk)
            if written <= 0:
                raise AnthropixError(f"{self._name} cannot be written: it takes nothing")
            self._count += written
            chunk = chunk[written:]

    def again(self, _: APIError) -> bool:
        return self._count == 0


class _OnDisk(Sink):
    """Writes a download beside its path, and moves it there when it is complete.

    Args:
        path: The destination.
        mode: The permissions of an existing file; None if there is none.
    """

    def __init__(self, path: Path, mode: int | None) -> None:
        self._path = path
        self._mode = mode

    def take(self, answer: Response) -> bytes | int:
        raise_for_status(answer)
        part = self._path.with_name(
            f".{secrets.token_hex(8)}.part"
        )  # short: the name itself may be as long as names can be
        mode = 0o666 if self._mode is None else self._mode
        try:
            with _writing(str(self._path)):
                file = open(part, "xb", opener=partial(os.open, mode=mode))  # noqa: SIM115 - closed below
            with contextlib.closing(file):
                if self._mode is not None:
                    with _writing(str(self._path)):
                        os.fchmod(file.fileno(), mode)  # the bits that the umask cleared
                count = _Opened(file, str(self._path)).take(answer)
            with _writing(str(self._path)):
                part.replace(self._path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
        return count


class _ToSpecial(Sink):
    """Writes a download to a pipe or a device, which is not replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False

    def take(self, answer: Response) -> bytes | int:
        raise_for_status(answer)
        self._begun = True
        with _writing(str(self._path)):
            file = Special(self._path, writing=True)
        with contextlib.closing(file):
            return _Opened(file, str(self._path)).take(answer)

    def again(self, _: APIError) -> bool:
        return not self._begun


@contextlib.contextmanager
def _writing(what: str) -> Generator[None]:
    try:
        yield
    except Exception as exc:  # even an AnthropixError: of a request that the file object made
        raise AnthropixError(f"{what} cannot be written: {type(exc).__name__}: {exc}") from exc


def sink_for(to: Any) -> Sink:
    """Return the sink for `to`.

    Raises:
        ParameterError: `to` cannot be written.
    """
    if to is None:
        return Sink()
    if callable(getattr(to, "write", None)) and not isinstance(to, io.TextIOBase):
        return _Opened(to)
    if not isinstance(to, (str, os.PathLike)):
        what = f"expected a path, or a file that is open for writing bytes, got {type(to).__name__}"
        raise ParameterError([Problem("to", what)])
    try:
        return _at(Path(os.fsdecode(to)))
    except ParameterError:  # is a ValueError, and says it already
        raise
    except (OSError, ValueError) as exc:
        raise ParameterError([Problem("to", f"it cannot be written: {exc}")]) from None


def _at(path: Path) -> Sink:
    """Return the sink for a path.

    Raises:
        OSError, ValueError, ParameterError: the file cannot exist, or must not be written.
    """
    mode = _mode_of(path)
    special = mode is not None and is_special(mode)  # by its own name: /dev/stdout may link to a pipe without one
    path = path if special else Path(os.path.realpath(path))  # follows links, as open() does
    if not path.parent.is_dir() or (mode is not None and stat.S_ISDIR(mode)):
        raise ParameterError([Problem("to", f"expected the path of a file in an existing folder, got {path}")])
    if not os.access(path if mode is not None else path.parent, os.W_OK):
        raise PermissionError(f"no permission to write {path}")
    if special:
        return _ToSpecial(path)
    return _OnDisk(path, None if mode is None else stat.S_IMODE(mode))


def _mode_of(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
