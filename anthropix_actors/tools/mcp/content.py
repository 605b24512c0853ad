"""What an MCP server answers → what a tool returns. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors.content.media_type import image_type, pdf_type

if TYPE_CHECKING:
    from collections.abc import Sequence

ABSENT: Any = object()
"""Stands for structured content that a result does not have: null is one."""


def content_of(content: Sequence[Mapping[str, Any]], structured: Any = ABSENT) -> str | list[dict[str, Any]]:
    """Return the content of a result: a text, or blocks. What the API does not take is named in a text.

    Structured content is added as JSON, unless the texts say the same, as the protocol advises servers to do.

    Args:
        content: The content of the result, as on the wire.
        structured: Its structured content.

    Example:
        >>> content_of([{"type": "text", "text": "8 degrees"}], {"degrees": 8})
        [{'type': 'text', 'text': '8 degrees'}, {'type': 'text', 'text': '{"degrees":8}'}]
        >>> content_of([{"type": "text", "text": '{ "degrees": 8 }'}], {"degrees": 8})
        '{ "degrees": 8 }'
    """
    blocks = [_block(each) for each in content]
    texts = [each["text"] for each in content if each.get("type") == "text"]
    if structured is not ABSENT and not _is_said(structured, texts):
        blocks.append(_text(msgspec.json.encode(structured).decode()))
    match blocks:
        case [{"type": "text", "text": str(text)}]:
            return text
        case _:
            return blocks


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": text}:
            return _text(text)
        case {"type": "image", "data": data}:
            return _of_bytes(data, part.get("mimeType"), "an image")
        case {"type": "resource", "resource": {"text": text, **resource}}:
            source = {"type": "text", "media_type": "text/plain", "data": text}
            return {"type": "document", "source": source, "title": str(resource.get("uri"))} if text else _text("")
        case {"type": "resource", "resource": {"blob": data, **resource}}:
            return _of_bytes(data, resource.get("mimeType"), str(resource.get("uri")))
        case {"type": "resource_link"}:
            known = {key: part[key] for key in ("uri", "name", "title", "description", "mimeType") if part.get(key)}
            return _text(f"resource: {msgspec.json.encode(known).decode()}")
    return _left_out(str(part.get("type")), part.get("mimeType"))


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _of_bytes(data: str, media_type: Any, name: str) -> dict[str, Any]:
    """Return the image or document that bytes are, whatever they are said to be."""
    try:
        head = base64.b64decode(data[:64])
    except (ValueError, binascii.Error):
        return _left_out(name, "data that are not base64")
    for kind, found in (("image", image_type(head)), ("document", pdf_type(head))):
        if found is not None:
            return {"type": kind, "source": {"type": "base64", "media_type": found, "data": data}}
    return _left_out(name, media_type)


def _left_out(name: str, media_type: Any) -> dict[str, Any]:
    return _text(f"({name} is left out: {media_type or 'it'} cannot be sent to you)")


def _is_said(structured: Any, texts: list[str]) -> bool:
    """Return whether the texts say what the structured content does."""
    values = [structured]
    if isinstance(structured, Mapping) and [*structured] == ["result"]:  # so servers wrap what is no object
        values.append(structured["result"])
    said = [each for text in texts for each in (text, _decoded(text))]
    return any(value in said or _are(value, texts) for value in values)


def _are(value: Any, texts: list[str]) -> bool:
    """Return whether a value is a list, with a text for each part of it."""
    return (
        isinstance(value, list) and len(value) == len(texts) and all(map(_is_said, value, ([each] for each in texts)))
    )


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return ABSENT
