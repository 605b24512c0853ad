"""The data of content blocks: reads a caller's `source` as bytes or a path."""

from __future__ import annotations

import binascii
import errno
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from anthropix_actors._checks.shapes import described, shown
from anthropix_actors.errors import ParameterError, Problem

EXPECTED = "expected a URL, a path, bytes, or the metadata of an uploaded file"

_SCHEME = re.compile(r"data:|[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_BASE64_HEADS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "JVBERi0")
"""The beginnings of PNG, JPEG, GIF, WebP and PDF data in base64."""

_HEAD = 16


def data_of(source: Any, limit: int) -> bytes | Path:
    """Return a source as bytes, or as the path of a file. Pipes and devices, readable only once, are read here.

    Args:
        source: Bytes, a path, or a `data:` URL.
        limit: The largest size, in bytes.

    Raises:
        ParameterError: the source is of another type, too large, or cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data: bytes | Path = bytes(source)
    elif isinstance(source, str) and _SCHEME.match(source):
        data = _carried(source)
    elif isinstance(source, (str, os.PathLike)):
        data = _path(source)
    else:
        raise refused(f"{EXPECTED}, got {type(source).__name__}")
    if isinstance(data, Path) and _is_stream(data):
        data = read(data, limit + 1)
    size = len(data) if isinstance(data, bytes) else _mode_and_size(data)[1]
    if size > limit:
        raise refused(f"expected at most {limit >> 20} MB, got {size:,} bytes")
    return data


def _carried(url: str) -> bytes:
    """Return the data of a `data:` URL."""
    head, comma, data = url.partition(",")
    if head[:5].lower() != "data:" or not comma:
        raise refused(f"expected a URL of http, https or data, got {shown(url)}")
    try:
        raw = unquote_to_bytes("".join(data.split()))
        return binascii.a2b_base64(raw, strict_mode=True) if head.lower().endswith(";base64") else raw
    except ValueError as exc:
        raise refused(f"expected base64 in the data URL: {exc}") from exc


def _path(source: str | os.PathLike[str]) -> Path:
    try:
        return Path(source)
    except Exception as exc:
        raise refused(f"expected a path, got one that raises {described(exc)}") from exc


def _mode_and_size(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return stat.S_IFREG, 0  # reading it raises the error
    return found.st_mode, found.st_size


def _is_stream(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device, which can be read only once."""
    mode, _ = _mode_and_size(path)
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def head_of(data: bytes | Path) -> bytes:
    """Return the first bytes, from which the media type is detected.

    Raises:
        ParameterError: the file cannot be read.
    """
    return data[:_HEAD] if isinstance(data, bytes) else read(data, _HEAD)


def read(path: Path, size: int = -1) -> bytes:
    """Return the content of a file, or its first `size` bytes.

    Raises:
        ParameterError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        what = f"no such file: {shown(str(path))} ({_hint(str(path))})"
    except (OSError, ValueError) as exc:
        what = f"it cannot be read: {exc.strerror if isinstance(exc, OSError) else exc}: {shown(str(path))}"
        if isinstance(exc, OSError) and exc.errno == errno.ENAMETOOLONG:
            what = f"{what} ({_hint(str(path))})"
    raise refused(what)


def _hint(name: str) -> str:
    """Return a hint for a caller who may have passed data as a string."""
    if name.startswith(_BASE64_HEADS):
        return "pass base64 as bytes: base64.b64decode(...)"
    return "a string is a path or a URL; pass data as bytes"


def refused(what: str) -> ParameterError:
    """Return the error for a source, with this text."""
    return ParameterError([Problem("source", what)])
