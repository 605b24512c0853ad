"""Content blocks: images, documents and texts, from paths, bytes, URLs and uploaded files.

All helpers return plain dicts, as the API takes them. Data stay bytes or a path, and become base64 in the copy that is
sent; so a conversation that is kept does not carry them twice. `fixed` puts the base64 into a conversation that is to
be stored, or whose files may change or be deleted.

Example:
    >>> png = bytes.fromhex("89504e470d0a1a0a") + bytes(64)
    >>> question = [image(png), text("What is in this picture?")]
    >>> answer = client.chat(model="claude-sonnet-5", messages=[{"role": "user", "content": question}])

Source: https://docs.claude.com/en/docs/build-with-claude/vision, /pdf-support, /citations and /prompt-caching, read
2026-11-23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._foreign.log import shown
from anthropix_actors.content.media_type import image_type, pdf_type
from anthropix_actors.content.sources import EXPECTED, data_of, head_of, read, refused
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    import os

    from anthropix_actors._wire.message import Message
    from anthropix_actors._wire.params import (
        CacheControlParam,
        DocumentBlockParam,
        ImageBlockParam,
        TextBlockParam,
    )
    from anthropix_actors._wire.resources import FileMetadata

MAX_IMAGE_BYTES = 5 << 20
"""The largest image."""

MAX_DOCUMENT_BYTES = 24 << 20
"""The largest document: as base64, it must fit into a request of 32 MB."""

Source: TypeAlias = "str | os.PathLike[str] | bytes | FileMetadata | Mapping[str, Any]"
"""A URL, a path, bytes, or the metadata of an uploaded file. A string that begins with http is a URL, else a path."""

Cache: TypeAlias = 'bool | Literal["5m", "1h"] | None'
"""Whether to cache everything up to here: True for five minutes, or for how long."""

_URL = ("http://", "https://")
_TIMES = ("5m", "1h")


def text(words: str, *, cache: Cache = None) -> TextBlockParam:
    """Return a text block.

    Args:
        words: The text.
        cache: Whether to cache everything up to here.

    Example:
        >>> text("Be brief.", cache=True)
        {'type': 'text', 'text': 'Be brief.', 'cache_control': {'type': 'ephemeral'}}
    """
    return cast("TextBlockParam", {"type": "text", "text": words, **_cached(cache)})


def image(source: Source, *, cache: Cache = None) -> ImageBlockParam:
    """Return an image block: PNG, JPEG, GIF or WebP, recognised by its first bytes, not by its name.

    A path stays a path, and is read whenever it is sent; `fixed(image("cat.png"))` reads it now, once for all.

    Args:
        source: A URL (including `data:`), a path, bytes of at most 5 MB, or the metadata of an uploaded file.
        cache: Whether to cache everything up to here.

    Raises:
        ParameterError: it is not an image, too large, or does not exist; nothing was sent.

    Example:
        >>> image("https://example.com/cat.png")["source"]
        {'type': 'url', 'url': 'https://example.com/cat.png'}
    """
    found = _remote(source) or _encoded(source, image_type, "a PNG, JPEG, GIF or WebP image", MAX_IMAGE_BYTES)
    return cast("ImageBlockParam", {"type": "image", "source": found, **_cached(cache)})


def document(
    source: Source | Sequence[Mapping[str, Any]],
    *,
    title: str | None = None,
    context: str | None = None,
    citations: bool = False,
    cache: Cache = None,
) -> DocumentBlockParam:
    """Return a document block: a PDF, a plain text, or blocks of your own.

    The path of a PDF stays a path, as that of an image; a text is read at once.

    Args:
        source: A URL (of a PDF), a path, bytes, or the metadata of an uploaded file; any file but a PDF must be text in
            UTF-8. Or a list of text and image blocks, which are then cited block by block.
        title: The model's name for it.
        context: Information about it for the model; it is not cited.
        citations: Whether the answer cites it. All documents of a request are cited, or none.
        cache: Whether to cache everything up to here.

    Raises:
        ParameterError: it is not a document, too large, or does not exist; nothing was sent.

    Example:
        >>> document("Grass is green.".encode(), citations=True)["source"]
        {'type': 'text', 'media_type': 'text/plain', 'data': 'Grass is green.'}
    """
    block: dict[str, Any] = {"type": "document", "source": _document_source(source)}
    block |= {name: value for name, value in (("title", title), ("context", context)) if value is not None}
    if citations:
        block["citations"] = {"enabled": True}
    return cast("DocumentBlockParam", {**block, **_cached(cache)})


def cache_control(ttl: Literal["5m", "1h"] | None = None) -> CacheControlParam:
    """Return the mark at the end of a part to cache.

    Args:
        ttl: For how long; five minutes by default.

    Raises:
        ParameterError: `ttl` is another value.

    Example:
        >>> cache_control("1h")
        {'type': 'ephemeral', 'ttl': '1h'}
    """
    if ttl is not None and ttl not in _TIMES:
        raise ParameterError([Problem("ttl", f'expected "5m" or "1h", got {shown(ttl)}')])
    return {"type": "ephemeral"} if ttl is None else {"type": "ephemeral", "ttl": ttl}


def cached(items: Sequence[Any] | Mapping[str, Any] | str, ttl: Literal["5m", "1h"] | None = None) -> Any:
    """Return a copy that is cached up to its end: of blocks or tools (the last is marked), of one, or of a text.

    Args:
        items: The content of a message, `system` or `tools`; a block, a tool, a message; or a text.
        ttl: For how long; five minutes by default.

    Raises:
        ParameterError: there is nothing to mark.

    Example:
        >>> cached([{"name": "a", "input_schema": {}}, {"name": "b", "input_schema": {}}])[-1]["cache_control"]
        {'type': 'ephemeral'}
        >>> cached({"role": "user", "content": "Hello"})["content"][0]["text"]
        'Hello'
    """
    if isinstance(items, str):
        return [text(items, cache=ttl or True)]
    if isinstance(items, Mapping):
        if "role" in items:
            return {**items, "content": cached(items["content"], ttl)}
        return {**items, "cache_control": cache_control(ttl)}
    if not items:
        raise ParameterError([Problem("items", "expected something to cache, got nothing")])
    return [*items[:-1], cached(items[-1], ttl)]


def fixed(items: Any) -> Any:
    """Return a copy with all data in it, as base64: of a block, of blocks, of a message, or of a whole conversation.

    It can be stored as JSON, and no longer needs its files: it always sends the same data.

    Args:
        items: A value with blocks in it. Parts without data to fix are copied unchanged.

    Raises:
        ParameterError: a file cannot be read, or a part is not JSON; the error names every place.

    Example:
        >>> png = bytes.fromhex("89504e470d0a1a0a")
        >>> fixed([{"role": "user", "content": [image(png)]}])[0]["content"][0]["source"]["data"]
        'iVBORw0KGgo='
    """
    problems: list[Problem] = []
    copy = copy_json(items, "items", problems)
    if problems:
        raise ParameterError(problems)
    return copy


def text_of(message: Message | Mapping[str, Any] | None) -> str:
    """Return the text of an answer: that of all its text blocks, one after the other.

    Args:
        message: The Message, or a partial one (`snapshot()`, `error.partial`); None, before anything arrived, has no
            text.

    Raises:
        ParameterError: it is not a Message.

    Example:
        >>> text_of(client.chat(model="claude-sonnet-5", messages=hello))
        'Hello!'
    """
    if message is None:
        return ""
    if not isinstance(message, Mapping) or "content" not in message:
        what = "expected a Message, such as client.chat(...), chat.result(), turn.result() and stream.message() return"
        raise ParameterError([Problem("message", f"{what}, got {shown(message)}")])
    blocks: Any = message["content"]
    if isinstance(blocks, str):  # as in a user's message
        return blocks
    return "".join(block["text"] for block in blocks if block.get("type") == "text")


def _cached(cache: Cache) -> dict[str, Any]:
    if cache is None or cache is False:
        return {}
    return {"cache_control": cache_control(None if cache is True else cache)}


def _document_source(source: Any) -> dict[str, Any]:
    if isinstance(source, Sequence) and not isinstance(source, (str, bytes, bytearray)):
        return {"type": "content", "content": list(source)}
    if found := _remote(source):
        return found
    data = data_of(source, MAX_DOCUMENT_BYTES)
    head = head_of(data)
    if media_type := pdf_type(head):
        return {"type": "base64", "media_type": media_type, "data": data}
    try:
        words = (data if isinstance(data, bytes) else read(data)).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        what = f"expected a PDF, or text in UTF-8, got something that begins with {head!r}"
        raise ParameterError([Problem("source", what)]) from exc
    return {"type": "text", "media_type": "text/plain", "data": words}


def _remote(source: Any) -> dict[str, Any] | None:
    """Return the source of data that the API has or fetches itself; None for other data."""
    if isinstance(source, str) and source.lower().startswith(_URL):
        return {"type": "url", "url": source}
    if isinstance(source, Mapping):
        if source.get("type") == "file" and isinstance(source.get("id"), str):
            return {"type": "file", "file_id": source["id"]}
        raise ParameterError([Problem("source", f"{EXPECTED}, got a mapping that is not the metadata of a file")])
    return None


def _encoded(source: Any, type_of: Any, expected: str, limit: int) -> dict[str, Any]:
    """Return the source of data that is sent as base64."""
    data = data_of(source, limit)
    head = head_of(data)
    media_type = type_of(head)
    if media_type is None:
        raise refused(f"expected {expected}, got something that begins with {head!r}")
    return {"type": "base64", "media_type": media_type, "data": data}
