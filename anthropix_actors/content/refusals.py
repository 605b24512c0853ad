"""What the API refuses of content blocks, whatever else is in the request. Pure.

Such a block must not get into a history that is sent again and again: each request would be refused for it.

Source: https://docs.claude.com/en/docs/build-with-claude/vision and /pdf-support, read 2026-11-27.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anthropix_actors.content.media_type import image_type
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TYPES = {
    "image": ("image/jpeg", "image/png", "image/gif", "image/webp"),
    "document": ("application/pdf",),
}

_HEAD = 24
"""Characters of base64 whose bytes tell an image's type."""


def refused(blocks: Iterable[Any], place: str) -> Iterator[Problem]:
    """Yield what the API refuses of blocks whose shapes were checked, and of those in them.

    Example:
        >>> source = {"type": "base64", "media_type": "image/png", "data": "*no*"}
        >>> [str(problem) for problem in refused([{"type": "image", "source": source}], "content")]
        ['content[0].source.data: expected base64, got what cannot be decoded']
    """
    for index, block in enumerate(blocks):
        if not isinstance(block, Mapping):
            continue
        here = f"{place}[{index}]"
        source = block.get("source")
        if isinstance(source, Mapping):
            if source.get("type") == "base64" and block.get("type") in _TYPES:
                yield from _of_source(block["type"], source, f"{here}.source")
            yield from _within(source, f"{here}.source")
        yield from _within(block, here)


def _within(holder: Mapping[str, Any], place: str) -> Iterator[Problem]:
    content = holder.get("content")
    if isinstance(content, list):
        yield from refused(content, f"{place}.content")


def _of_source(kind: str, source: Mapping[str, Any], place: str) -> Iterator[Problem]:
    media_type, data = source.get("media_type"), "".join(str(source.get("data", "")).split())
    if media_type not in _TYPES[kind]:
        yield Problem(f"{place}.media_type", f"expected {' or '.join(_TYPES[kind])}, got {media_type!r:.60}")
    elif not data:
        yield Problem(f"{place}.data", f"expected the base64 of {kind} data, got none")
    elif not _is_base64(data):
        yield Problem(f"{place}.data", "expected base64, got what cannot be decoded")
    elif kind == "image" and (found := image_type(base64.b64decode(data[:_HEAD]))) not in {None, media_type}:
        yield Problem(f"{place}.media_type", f"expected {found}, which the data are, got {media_type!r}")


def _is_base64(data: str) -> bool:
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:  # also letters beyond ASCII
        return False
    return True
