"""Rules on images and documents, and on cache breakpoints. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

from anthropix_actors.emulator._model.json import is_object
from anthropix_actors.emulator.rules.rule import OPENAPI, Violation, documented, issue, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator.rules.chat_request import Block, ChatRequest

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")

_TTLS = ("5m", "1h")

_MAX_BREAKPOINTS = 4


class _Encoded(NamedTuple):
    """A base64 source: its place, its block's type, its media type and its data."""

    place: str
    kind: str
    media_type: str
    data: str


def _encoded(request: ChatRequest) -> Iterator[_Encoded]:
    for block in request.all_blocks:
        source = block.data.get("source")
        if block.kind in ("image", "document") and is_object(source) and source.get("type") == "base64":
            media_type, data = source.get("media_type"), source.get("data")
            if isinstance(media_type, str) and isinstance(data, str):
                yield _Encoded(f"{block.typed_place}.source.base64", block.kind, media_type, data)


def _image_type(request: ChatRequest) -> Iterator[Violation]:
    for each in _encoded(request):
        if each.kind == "image" and each.media_type not in _IMAGES:
            yield Violation(f"{each.place}.media_type")


def _document_type(request: ChatRequest) -> Iterator[Violation]:
    for each in _encoded(request):
        if each.kind == "document" and each.media_type != "application/pdf":
            yield Violation(f"{each.place}.media_type")


def _empty_image(request: ChatRequest) -> Iterator[Violation]:
    yield from (Violation(each.place) for each in _encoded(request) if each.kind == "image" and not each.data)


def _invalid_base64(request: ChatRequest) -> Iterator[Violation]:
    for each in _encoded(request):
        try:
            binascii.a2b_base64("".join(each.data.split()), strict_mode=True)
        except (binascii.Error, ValueError):  # ValueError: letters beyond ASCII
            yield Violation(each.place)


def _mismatch(request: ChatRequest) -> Iterator[Violation]:
    for each in _encoded(request):
        detected = _detected_type(each.data)
        if each.media_type in _IMAGES and detected and detected != each.media_type:
            yield Violation(each.place, (each.media_type, detected))


def _detected_type(data: str) -> str:
    """Return the type of an image by its first bytes; "" if they are of no known type.

    Example:
        >>> _detected_type("iVBORw0KGgo="), _detected_type("aGVsbG8=")
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
    """A cache breakpoint: its place, its block, and its time to live."""

    place: str
    block: Block
    ttl: Any


def _cacheable(request: ChatRequest) -> Iterator[Block]:
    """Yield all blocks that can have a breakpoint, in the order in which the API processes them."""
    yield from request.tools
    yield from request.system
    yield from request.all_blocks


def _marks(request: ChatRequest) -> Iterator[_Mark]:
    for block in _cacheable(request):
        control = block.data.get("cache_control")
        if is_object(control):
            yield _Mark(f"{block.place}.cache_control", block, control.get("ttl") or "5m")


def _ttl_unknown(request: ChatRequest) -> Iterator[Violation]:
    control = request.get_object("cache_control")
    if control and (control.get("ttl") or "5m") not in _TTLS:
        yield Violation("cache_control.ttl")
    yield from (Violation(f"{mark.place}.ttl") for mark in _marks(request) if mark.ttl not in _TTLS)


def _ttl_order(request: ChatRequest) -> Iterator[Violation]:
    short = False
    for mark in _marks(request):
        if mark.ttl == "1h" and short:
            yield Violation(f"{mark.place}.ttl")
        short = short or mark.ttl == "5m"


def _automatic(request: ChatRequest) -> tuple[bool, Any, Any]:
    """Look at the top-level `cache_control`.

    Returns:
        Whether there is one; its time to live; the time to live of its target block's own breakpoint, or None.
    """
    control = request.get_object("cache_control")
    last = next((block for block in reversed(list(_cacheable(request))) if block.kind not in _UNMARKED), None)
    marked = last.data.get("cache_control") if last else None
    return bool(control), control.get("ttl") or "5m", (marked.get("ttl") or "5m") if is_object(marked) else None


_UNMARKED = ("thinking", "redacted_thinking")


def _too_many(request: ChatRequest) -> Iterator[Violation]:
    automatic, _, marked = _automatic(request)
    count = sum(1 for _ in _marks(request)) + (automatic and marked is None)
    if count > _MAX_BREAKPOINTS:
        yield Violation("", (count,))


def _automatic_ttl(request: ChatRequest) -> Iterator[Violation]:
    automatic, ttl, marked = _automatic(request)
    if automatic and marked is not None and ttl != marked:
        yield Violation("", (ttl, marked))


def _cached_empty_text(request: ChatRequest) -> Iterator[Violation]:
    for mark in _marks(request):
        if mark.block.kind == "text" and mark.block.data.get("text") == "":
            yield Violation(mark.block.typed_place)


RULES = (
    seen(
        "image-media-type",
        _image_type,
        "an image of another type than JPEG, PNG, GIF and WebP; `image/jpg` is not one of them",
        "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
        issue("anthropics/claude-code", 8184),
    ),
    documented(
        "document-media-type",
        _document_type,
        "a document in base64 that is not a PDF",
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
        _invalid_base64,
        "base64 that cannot be decoded",
        "invalid base64 data",
        issue("Yeachan-Heo/gajae-code", 2806),
    ),
    seen(
        "image-mismatch",
        _mismatch,
        "an image whose first bytes are of another type than its media type",
        "The image was specified using the {} media type, but the image appears to be a {} image",
        issue("vybestack/llxprt-code", 2130),
    ),
    documented(
        "cache-ttl",
        _ttl_unknown,
        "a time to live in the cache other than 5m and 1h",
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
        "more than four breakpoints; a top-level `cache_control` counts as one",
        "A maximum of 4 blocks with cache_control may be provided. Found {}.",
        issue("tghamm/Anthropic.SDK", 50),
    ),
    seen(
        "cache-automatic-ttl",
        _automatic_ttl,
        "a top-level `cache_control` with another time to live than its target block's own breakpoint",
        "Top-level cache_control has ttl='{}' but the target block already has cache_control with ttl='{}'",
        issue("vellum-ai/vellum-assistant", 23414),
    ),
    seen(
        "cache-empty-text",
        _cached_empty_text,
        "a breakpoint on an empty text",
        "cache_control cannot be set for empty text blocks",
        issue("anthropics/claude-code", 50082),
    ),
)
