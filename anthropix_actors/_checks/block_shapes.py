"""The shapes of the content that both a caller and a tool may give: texts, images, documents, search results. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from anthropix_actors._checks.shapes import Leaf, ListOf, Shape, StringOr, Tagged

STRING = Leaf("a string", str)
NON_EMPTY = Leaf("a string that is not empty", Annotated[str, Meta(min_length=1)])
MAPPING = Shape()
MAPPINGS = ListOf(MAPPING, "a list of mappings")

CACHE_CONTROL = Shape({"type": STRING}, {"ttl": STRING}, 'a mapping like {"type": "ephemeral"}')
CACHED = {"cache_control": CACHE_CONTROL}

TEXT_BLOCK = 'a text block like {"type": "text", "text": "..."}'
BLOCK = 'a block like {"type": "text", "text": "..."}'
_SOURCE = 'a source like {"type": "url", "url": "..."}'
TEXT = Shape({"text": NON_EMPTY}, {**CACHED, "citations": MAPPINGS}, TEXT_BLOCK)
_ENCODED = Shape({"media_type": STRING, "data": STRING})
_FROM_URL = Shape({"url": NON_EMPTY})
_FROM_FILE = Shape({"file_id": NON_EMPTY})
IMAGE_SOURCE = Tagged({"base64": _ENCODED, "url": _FROM_URL, "file": _FROM_FILE}, _SOURCE)
IMAGE = Shape({"source": IMAGE_SOURCE}, CACHED)
_INNER_BLOCKS = ListOf(Tagged({"text": TEXT, "image": IMAGE}, BLOCK), "a list of blocks")
DOCUMENT_SOURCE = Tagged(
    {
        **IMAGE_SOURCE.shapes,
        "text": Shape({"media_type": STRING, "data": STRING}),
        "content": Shape({"content": StringOr(_INNER_BLOCKS)}),
    },
    _SOURCE,
)
DOCUMENT = Shape({"source": DOCUMENT_SOURCE}, {**CACHED, "title": STRING, "context": STRING, "citations": MAPPING})
SEARCH_RESULT = Shape(
    {
        "source": STRING,
        "title": STRING,
        "content": ListOf(Tagged({"text": TEXT}, TEXT_BLOCK), "a list of text blocks"),
    },
    {**CACHED, "citations": MAPPING},
)
TOOL_RESULT_CONTENT = Tagged(
    {"text": TEXT, "image": IMAGE, "document": DOCUMENT, "search_result": SEARCH_RESULT}, BLOCK
)

TOOL_NAME = Leaf("a name of letters, digits, _ and -", Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}\Z")])
