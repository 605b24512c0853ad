"""What servers answer, as results."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors.tools.mcp.content import ABSENT, content_of
from anthropix_actors.tools.results import result_of

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 100).decode()
PDF = base64.b64encode(b"%PDF-1.7" + b"\0" * 100).decode()
HELLO = {"type": "text", "text": "hello"}


def image(data: str, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "data": data, "mimeType": kind}


def resource(**parts: Any) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": "file:///a", **parts}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (HELLO, HELLO),
        (
            image(PNG, "image/jpeg"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ),
        (image("aGVsbG8=", "image/tiff"), text("(an image is left out: image/tiff cannot be sent to you)")),
        (image("€"), text("(an image is left out: data that are not base64 cannot be sent to you)")),
        (
            {"type": "audio", "data": "", "mimeType": "audio/wav"},
            text("(audio is left out: audio/wav cannot be sent to you)"),
        ),
        ({"type": "smell"}, text("(smell is left out: it cannot be sent to you)")),
        (
            resource(text="words", mimeType="text/markdown"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "words"},
                "title": "file:///a",
            },
        ),
        (resource(text=""), text("")),
        (
            resource(blob=PDF, mimeType="application/pdf"),
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
        ),
        (resource(blob="aGVsbG8="), text("(file:///a is left out: it cannot be sent to you)")),
        (
            {"type": "resource_link", "uri": "file:///a", "name": "a", "size": 3},
            text('resource: {"uri":"file:///a","name":"a"}'),
        ),
    ],
)
def test_each_part_is_a_block_or_named(part: dict[str, Any], block: dict[str, Any]) -> None:
    assert content_of([HELLO, part]) == [HELLO, block]
    assert not result_of(content_of([HELLO, part])).is_error


@pytest.mark.parametrize(
    ("texts", "structured"),
    [
        (['{"a": [1, null]}'], {"a": [1, None]}),
        (["rain"], {"result": "rain"}),
        (["3"], {"result": 3}),
        (["1", "2"], {"result": [1, 2]}),
        (["a", '{"b": 1}'], ["a", {"b": 1}]),
        (["rain"], ABSENT),
    ],
)
def test_structured_content_that_the_texts_say_is_not_said_twice(texts: list[str], structured: Any) -> None:
    content = content_of([*map(text, texts)], structured)
    assert content == (texts[0] if len(texts) == 1 else [*map(text, texts)])


@pytest.mark.parametrize(
    ("content", "structured", "said"),
    [
        ([], {"a": 1}, '{"a":1}'),
        ([], None, "null"),
        ([HELLO], {"a": 1}, [HELLO, text('{"a":1}')]),
        ([HELLO], {"result": "other"}, [HELLO, text('{"result":"other"}')]),
    ],
)
def test_other_structured_content_is_added_as_json(content: list[Any], structured: Any, said: Any) -> None:
    assert content_of(content, structured) == said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.sampled_from(["type", "text", "data", "resource", "uri", "mimeType"]), JSON)), JSON)
def test_whatever_a_server_answers_is_content(content: list[dict[str, Any]], structured: Any) -> None:
    result_of(content_of([{**part, "type": str(part.get("type"))} for part in content if part], structured))
