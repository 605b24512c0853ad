"""Decoders that are fed pieces of a body, as loops over all that they return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.sse import EventSplitter, SSEDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def fed(decoder: Any, chunks: Iterable[bytes]) -> Iterator[Any]:
    for chunk in chunks:
        yield from decoder.feed(chunk)
    yield from decoder.close()


def events(chunks: Iterable[bytes], **options: Any) -> Iterator[dict[str, Any]]:
    return fed(SSEDecoder(**options), chunks)


def blocks(chunks: Iterable[bytes], **options: Any) -> Iterator[bytes]:
    """Cut into events; leave out blank blocks, which sseclient-py does not mind."""
    return (block for block in fed(EventSplitter(**options), chunks) if block.strip(b"\n"))
