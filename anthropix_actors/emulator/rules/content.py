"""Rules on pictures and documents, and on what is cached. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

from anthropix_actors.emulator._model.json import is_object
from anthropix_actors.emulator.rules.rule import OPENAPI, Found, documented, issue, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator.rules.chat_request import Asked, Block

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")

_TTLS = ("5m", "1h")

_MOST_BREAKPOINTS = 4


class _Encoded(NamedTuple):
    """Something that came as base64: where, of what block, its type and its data."""

    place: str
    kind: str
    media_type: str
    data: str


def _encoded(asked: Asked) -> Iterator[_Encoded]:
    for block in asked.content:
        source = block.data.get("source")
        if block.kind in ("image", "document") and is_object(source) and source.get("type") == "base64":
            media_type, data = source.get("media_type"), source.get("data")
            if isinstance(media_type, str) and isinstance(data, str):
                yield _Encoded(f"{block.inner}.source.base64", block.kind, media_type, data)


def _image_type(asked: Asked) -> Iterator[Found]:
    for each in _encoded(asked):
        if each.kind == "image" and each.media_type not in _IMAGES:
            yield Found(f"{each.place}.media_type")


def _document_type(asked: Asked) -> Iterator[Found]:
    for each in _encoded(asked):
        if each.kind == "document" and each.media_type != "application/pdf":
            yield Found(f"{each.place}.media_type")


def _empty_image(asked: Asked) -> Iterator[Found]:
    yield from (Found(each.place) for each in _encoded(asked) if each.kind == "image" and not each.data)


def _no_base64(asked: Asked) -> Iterator[Found]:
    for each in _encoded(asked):
        try:
            binascii.a2b_base64("".join(each.data.split()), strict_mode=True)
        except (binascii.Error, ValueError):  # ValueError: letters beyond ASCII
            yield Found(each.place)


def _mismatch(asked: Asked) -> Iterator[Found]:
    for each in _encoded(asked):
        really = _really(each.data)
        if each.media_type in _IMAGES and really and really != each.media_type:
            yield Found(each.place, (each.media_type, really))


def _really(data: str) -> str:
    """Get the type of an image by its first bytes; "" where they say nothing.

    Example:
        >>> _really("iVBORw0KGgo="), _really("aGVsbG8=")
        ('image/png', '')
    """
    try:
        head = base64.b64decode(data[:16], validate=True)
    except (binascii.Error, ValueError):
        return ""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    starts = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"GIF8": "image/gif"}
    return next((kind for start, kind in starts.items() if head.startswith(start)), "")


class _Mark(NamedTuple):
    """A breakpoint of the cache: where, on which block, and how long it lasts."""

    place: str
    block: Block
    ttl: Any


def _cacheable(asked: Asked) -> Iterator[Block]:
    """Get all blocks that can be marked, in the order in which the API takes them."""
    yield from asked.tools
    yield from asked.system
    yield from asked.content


def _marks(asked: Asked) -> Iterator[_Mark]:
    for block in _cacheable(asked):
        control = block.data.get("cache_control")
        if is_object(control):
            yield _Mark(f"{block.place}.cache_control", block, control.get("ttl") or "5m")


def _ttl_unknown(asked: Asked) -> Iterator[Found]:
    control = asked.part("cache_control")
    if control and (control.get("ttl") or "5m") not in _TTLS:
        yield Found("cache_control.ttl")
    yield from (Found(f"{mark.place}.ttl") for mark in _marks(asked) if mark.ttl not in _TTLS)


def _ttl_order(asked: Asked) -> Iterator[Found]:
    short = False
    for mark in _marks(asked):
        if mark.ttl == "1h" and short:
            yield Found(f"{mark.place}.ttl")
        short = short or mark.ttl == "5m"


def _automatic(asked: Asked) -> tuple[bool, Any, Any]:
    """Look at the mark for the whole request.

    Returns:
        Whether there is one; how long it lasts; how long the mark lasts that its block has already, or None.
    """
    control = asked.part("cache_control")
    last = next((block for block in reversed(list(_cacheable(asked))) if block.kind not in _UNMARKED), None)
    marked = last.data.get("cache_control") if last else None
    return bool(control), control.get("ttl") or "5m", (marked.get("ttl") or "5m") if is_object(marked) else None


_UNMARKED = ("thinking", "redacted_thinking")


def _too_many(asked: Asked) -> Iterator[Found]:
    automatic, _, marked = _automatic(asked)
    count = sum(1 for _ in _marks(asked)) + (automatic and marked is None)
    if count > _MOST_BREAKPOINTS:
        yield Found("", (count,))


def _automatic_ttl(asked: Asked) -> Iterator[Found]:
    automatic, ttl, marked = _automatic(asked)
    if automatic and marked is not None and ttl != marked:
        yield Found("", (ttl, marked))


def _cached_nothing(asked: Asked) -> Iterator[Found]:
    for mark in _marks(asked):
        if mark.block.kind == "text" and mark.block.data.get("text") == "":
            yield Found(mark.block.inner)


RULES = (
    seen(
        "image-media-type",
        _image_type,
        "an image of another type than JPEG, PNG, GIF and WebP; `image/jpg` is none",
        "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
        issue("anthropics/claude-code", 8184),
    ),
    documented(
        "document-media-type",
        _document_type,
        "a document in base64 that is no PDF",
        "Input should be 'application/pdf'",
        OPENAPI,
    ),
    seen(
        "image-empty",
        _empty_image,
        "an image of no bytes",
        "image cannot be empty",
        issue("anthropics/claude-code", 12750),
    ),
    seen(
        "base64",
        _no_base64,
        "base64 that is none",
        "invalid base64 data",
        issue("Yeachan-Heo/gajae-code", 2806),
    ),
    seen(
        "image-mismatch",
        _mismatch,
        "an image that is said to be of another type than it is, by its first bytes",
        "The image was specified using the {} media type, but the image appears to be a {} image",
        issue("vybestack/llxprt-code", 2130),
    ),
    documented(
        "cache-ttl",
        _ttl_unknown,
        "another time to live in the cache than 5m and 1h",
        "Input should be '5m' or '1h'",
        OPENAPI,
    ),
    seen(
        "cache-ttl-order",
        _ttl_order,
        "a breakpoint of 1h after one of 5m",
        "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are "
        "processed in the following order: `tools`, `system`, `messages`.",
        issue("vellum-ai/vellum-assistant", 22191),
    ),
    seen(
        "cache-breakpoints",
        _too_many,
        "more than four breakpoints; `cache_control` at the top is one",
        "A maximum of 4 blocks with cache_control may be provided. Found {}.",
        issue("tghamm/Anthropic.SDK", 50),
    ),
    seen(
        "cache-automatic-ttl",
        _automatic_ttl,
        "`cache_control` at the top with another time to live than the block has that it stands for",
        "Top-level cache_control has ttl='{}' but the target block already has cache_control with ttl='{}'",
        issue("vellum-ai/vellum-assistant", 23414),
    ),
    seen(
        "cache-empty-text",
        _cached_nothing,
        "a breakpoint on an empty text",
        "cache_control cannot be set for empty text blocks",
        issue("anthropics/claude-code", 50082),
    ),
)
