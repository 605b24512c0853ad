"""An answer's events, in whatever form a server writes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import APIConnectionError, APIError, ProtocolError, TruncatedError
from anthropix_actors._decode.answer_form import KEPT, Form
from anthropix_actors.chat.accumulate import events_of
from anthropix_actors.chat.answer_decoder import AnswerDecoder

from decoding import events, fed
from fuzz.odd import cut
from programs import EVENTS

SSE, JSON, HTML = "text/event-stream; charset=utf-8", "application/json", "text/html"
MESSAGE: dict[str, Any] = {"type": "message", "content": [{"type": "text", "text": "Hi"}], "usage": {}}
ERROR = {"type": "error", "error": {"type": "overloaded_error"}}
CUTS = st.lists(st.integers(1, 40), max_size=20)


def decoder(content_type: str) -> AnswerDecoder:
    return AnswerDecoder(content_type, max_event_bytes=1000)


@given(CUTS, st.sampled_from([SSE, JSON, HTML, ""]))
def test_a_stream_gives_its_events_wherever_it_is_cut_and_whatever_it_is_called(cuts: list[int], named: str) -> None:
    body = b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in EVENTS)
    one = decoder(named)
    assert list(fed(one, cut(body, cuts))) == list(events([body]))
    assert one.form is Form.STREAM


@given(CUTS, st.sampled_from([SSE, JSON, HTML, ""]), st.booleans())
def test_a_message_gives_events_when_all_of_it_is_there(cuts: list[int], named: str, error: bool) -> None:  # noqa: FBT001
    said = ERROR if error else MESSAGE
    one = decoder(named)
    for chunk in cut(b" \n" + json.dumps(said).encode(), cuts):
        assert not list(one.feed(chunk))
    assert list(one.close()) == ([ERROR] if error else list(events_of(MESSAGE)))
    assert one.form is Form.JSON


def test_a_message_that_is_cut_is_not_one() -> None:
    with pytest.raises(TruncatedError, match="within its JSON"):
        list(fed(decoder(JSON), [json.dumps(MESSAGE).encode()[:40]]))


@pytest.mark.parametrize("named", [SSE, HTML])
def test_an_empty_answer_is_cut(named: str) -> None:
    one = decoder(named)
    if named == SSE:  # that it has no end is said by those who know what an end is
        assert list(fed(one, [b"", b" "])) == []
    else:
        with pytest.raises(TruncatedError, match="before its first event"):
            list(fed(one, [b"", b" "]))


def test_anything_else_is_an_error_that_shows_it_and_no_more_is_read_than_is_kept() -> None:
    with pytest.raises(ProtocolError, match="expected an event stream, got text/html: <html>"):
        list(fed(decoder(HTML), [b"<html>", b"</html>"]))
    one = decoder(HTML)
    assert not list(one.feed(b"x" * (KEPT - 1)))
    with pytest.raises(ProtocolError) as caught:
        one.feed(b"yz")
    assert caught.value.body == "x" * (KEPT - 1) + "y"


@pytest.mark.parametrize(("body", "shows"), [(b"<html>", True), (b"", False), (b"event: a\n", False), (b"{", False)])
def test_where_the_body_is_cut_what_came_of_something_else_says_more(body: bytes, shows: bool) -> None:  # noqa: FBT001
    one, reset = decoder(HTML), APIConnectionError("reset")
    list(one.feed(body))
    error: APIError = one.cut(reset)
    assert (error.body == "<html>") if shows else (error is reset)
