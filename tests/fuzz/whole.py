"""What has to hold for a Message that comes as JSON, whatever it is."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from anthropix_actors._decode.answer_form import Form, message_in
from anthropix_actors.chat.accumulate import Accumulator, events_of
from anthropix_actors.chat.answer_decoder import AnswerDecoder
from anthropix_actors.errors import APIError

from fuzz.odd import Dice, cut, message, sizes
from fuzz.stream import check_replay, check_sendable


def whole(data: bytes) -> None:
    """The throws that make a Message, or the body itself, if it begins with a brace."""
    dice = Dice(data)
    body = data if data.startswith(b"{") else json.dumps(message(dice)).encode()
    lengths = sizes(dice)
    decoder = AnswerDecoder("application/json", max_event_bytes=1 << 20)
    for piece in cut(body, lengths):
        assert not list(decoder.feed(piece))
    with contextlib.suppress(APIError):
        list(decoder.close())
    assert decoder.form is Form.JSON
    for end in {len(body), *(length % (len(body) + 1) for length in lengths)}:
        _check(body[:end], is_whole=end == len(body))


def _check(body: bytes, *, is_whole: bool) -> None:
    try:
        said = message_in(body, "application/json")
        told = list(events_of(said)) if said["type"] == "message" else []
    except APIError:
        return
    assert is_whole or body.rstrip().endswith(b"}"), "a Message that was cut is taken for a whole one"
    if not told:
        assert said["type"] == "error"
        return
    answer = Accumulator()
    for event in told:
        answer.add(event)
        check_replay(answer)
    found: Any = answer.snapshot()
    check_sendable(found)
    assert len(found["content"]) == len(said["content"])
    assert found.get("stop_reason") == said.get("stop_reason")
