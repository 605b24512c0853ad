from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import ProtocolError, TruncatedError
from anthropix_actors._decode.answer_form import KEPT, Form, form_of, message_in, no_answer, without_blanks

if TYPE_CHECKING:
    from collections.abc import Iterable

SSE = "text/event-stream; charset=utf-8"
BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("body", "content_type", "form"),
    [
        (b"event: a\n", SSE, Form.STREAM),
        (b"data: a\n", "", Form.STREAM),
        (b": comment\n", SSE, Form.STREAM),
        (BOM + b"event: a\n", SSE, Form.STREAM),
        (b"", SSE, Form.STREAM),
        (b"x", SSE, Form.STREAM),
        (b"event: a\n", "application/json", Form.STREAM),
        (BOM + b"data: {}\n", "text/plain", Form.STREAM),
        (b'{"type"', "application/json", Form.JSON),
        (b"{", "application/json", Form.JSON),
        (b'{"type"', SSE, Form.JSON),
        (b'{"type"', "", Form.JSON),
        (b' \n\t{"type"', "text/html", Form.JSON),
        (BOM + b'{"type"', SSE, Form.JSON),
        (b"<html>", "text/html", Form.OTHER),
        (b"event", "text/html", Form.OTHER),
        (b"[{}]  ", "application/json", Form.OTHER),
        (b"", "text/html", Form.OTHER),
    ],
)
@pytest.mark.parametrize("before", [[], [b"\n", b" ", b"\r\n \r\n"]])
def test_the_first_bytes_say_what_comes_wherever_they_are_cut(
    body: bytes, content_type: str, form: Form, before: list[bytes]
) -> None:
    for first in range(len(body) + 1):
        for pieces in ([body[:first], body[first:]], [body[i : i + 1] for i in range(len(body))]):
            head, found = beginning([*before, *pieces], content_type)
            assert found is form
            assert body.lstrip().startswith(head.lstrip())


def beginning(chunks: Iterable[bytes], content_type: str) -> tuple[bytes, Form | None]:
    """Take chunks until they say what comes."""
    head = b""
    for chunk in chunks:
        head = without_blanks(head + chunk)
        if (form := form_of(head, content_type)) is not None:
            return head, form
    return head, form_of(head, content_type, ended=True)


def test_white_space_is_not_kept_however_much_comes() -> None:
    assert beginning([*[b" \n" * 1000] * 1000, b"{}"], SSE) == (b"{}", Form.JSON)


def test_bytes_that_are_no_mark_are_not_waited_for() -> None:
    head, form = beginning(itertools.repeat(b"\xef"), "text/html")
    assert len(head) < 100
    assert form is Form.OTHER


MESSAGE = {"type": "message", "content": [], "usage": {}}
ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "\ufffd"}}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (json.dumps(MESSAGE).encode(), MESSAGE),
        (BOM + json.dumps(MESSAGE, indent=2).encode() + b"\n\n", MESSAGE),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"\\ud800"}}', ERROR),
        (b'{"error":{"type":"overloaded_error","message":"\xff"}}', ERROR),
        (b'{"error":"no"}', {"type": "error", "error": "no"}),
    ],
)
def test_a_body_is_a_message_or_an_error(body: bytes, found: Any) -> None:
    assert message_in(body, "application/json") == found


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[1]", b'{"type":"message"}', b'{"choices":[]}', b'{"error":null}', b"{nonsense}", b"[]}", b'[{"a":1}]}'],
)
def test_a_body_that_is_neither_is_a_protocol_error_with_the_body(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="expected an event stream, got application/json") as caught:
        message_in(body, "application/json")
    assert caught.value.body == body.decode()


def test_a_message_that_is_cut_anywhere_is_never_a_whole_one() -> None:
    body = json.dumps(MESSAGE).encode()
    for end in range(1, len(body)):
        with pytest.raises((TruncatedError, ProtocolError)) as caught:
            message_in(body[:end], SSE)
        assert isinstance(caught.value, TruncatedError) is not body[:end].endswith(b"}")


def test_anything_else_is_shown_from_its_beginning() -> None:
    error = no_answer(b"hello" + b" world" * 200_000, "text/plain")
    assert isinstance(error, ProtocolError)
    assert isinstance(error.body, str)
    assert len(error.body) == KEPT == 1 << 20
    assert error.message.startswith("expected an event stream, got text/plain: hello world")
    assert isinstance(no_answer(b"", "text/html"), TruncatedError)
    assert "no content type" in no_answer(b"x", "").message
