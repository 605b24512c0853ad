"""The data of blocks: bytes or a path, from whatever a caller gives; and what kind of data they are."""

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
"""How PNG, JPEG, GIF, WebP and PDF begin as base64."""

_HEAD = 16


def data_of(source: Any, limit: int) -> bytes | Path:
    """Get data of a size that may be sent: bytes, or the path of a file. What can be read only once is read here.

    Raises:
        ParameterError: it is neither, too large, or cannot be read.
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
    """Get what a `data:` URL carries."""
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
        return stat.S_IFREG, 0  # reading it says what is wrong
    return found.st_mode, found.st_size


def _is_stream(path: Path) -> bool:
    """Whether a path leads to what can be read only once: a pipe, a socket, a device."""
    mode, _ = _mode_and_size(path)
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def head_of(data: bytes | Path) -> bytes:
    """Get the first bytes, which say what they are.

    Raises:
        ParameterError: the file cannot be read.
    """
    return data[:_HEAD] if isinstance(data, bytes) else read(data, _HEAD)


def read(path: Path, size: int = -1) -> bytes:
    """Get what is in a file, or so many bytes of it.

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
    """Say how to give what somebody may have taken for data."""
    if name.startswith(_BASE64_HEADS):
        return "base64 goes in as bytes, base64.b64decode(...)"
    return "a string is a path or a URL, data go in as bytes"


def refused(what: str) -> ParameterError:
    """Get the error that says what is wrong with a source."""
    return ParameterError([Problem("source", what)])


def image_type(head: bytes) -> str | None:
    """Get the media type of an image, or None if it is none that the API takes.

    Example:
        >>> image_type(b"GIF89a...")
        'image/gif'
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    for start, media_type in (
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
    ):
        if head.startswith(start):
            return media_type
    return None


def pdf_type(head: bytes) -> str | None:
    """Get the media type of a PDF, or None if it is none."""
    return "application/pdf" if head.startswith(b"%PDF-") else None
