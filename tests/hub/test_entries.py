"""Messages as entries of a log, and back; logs of format 1 as they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anthropix_actors import (
    AnthropixError,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatResumed,
    ChatRetrying,
    OverloadedError,
    ParameterError,
    ProtocolError,
    TurnCancelled,
)
from anthropix_actors.hub import Hub, told
from anthropix_actors.hub.entries import FORMAT, begin_entry, entry_of, message_of, refused
from anthropix_actors.stores import MemoryStore

from servers import answer, block_start, start, text_delta

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.jsonl"))
NOBODY: Any = None


@pytest.mark.parametrize(
    "message",
    [
        ChatEvent(NOBODY, start()),  # type: ignore[arg-type]
        ChatRetrying(NOBODY, 1, 0.5, OverloadedError("Overloaded", status=529, retryable=True)),
        ChatResumed(NOBODY, 2, 1),
        ChatDone(NOBODY, {"id": "msg_1", "content": []}, {"a": 1}, resumed=True),  # type: ignore[typeddict-item]
        ChatFailed(NOBODY, ProtocolError("no")),
        ChatCancelled(NOBODY, "enough", None),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_is_the_same_after_its_entry(message: Any) -> None:
    entry = json.loads(json.dumps(entry_of(message)))
    again = message_of(entry, None, "a.1")
    assert type(again) is type(message)
    assert again.cursor == "a.1"
    for name in set(message.__struct_fields__) - {"cursor", "error"}:
        assert getattr(again, name) == getattr(message, name)
    error, before = getattr(again, "error", None), getattr(message, "error", None)
    assert (type(error), str(error)) == (type(before), str(before))


def test_a_value_that_is_no_json_is_left_out() -> None:
    done = ChatDone(NOBODY, {"id": "msg_1"}, object())  # type: ignore[typeddict-item]
    assert "output" not in entry_of(done)


@pytest.mark.parametrize("message", [TurnCancelled(NOBODY, "no", NOBODY), "hello"])
def test_what_is_no_message_of_a_chat_is_refused(message: Any) -> None:
    with pytest.raises(ParameterError, match=r"store= of client\.converse"):
        entry_of(message)


def test_an_entry_of_no_message_is_none() -> None:
    assert message_of(begin_entry(1, "hub-1"), None, "a.0") is None
    assert message_of({"kind": "from the future"}, None, "a.0") is None


def test_another_format_is_refused() -> None:
    assert refused(begin_entry(1, "hub-1", "night")) is None
    assert refused({"kind": "event", "event": {}}) is None
    assert "expected a log of format 1, got 2" in str(refused({"kind": "begin", "format": 2}))


def test_what_was_told_of_an_answer() -> None:
    first = [begin_entry(1, "hub-1"), *({"kind": "event", "event": event} for event in answer("Hi")[:3])]
    message, any_told = told(first)
    assert any_told
    assert message is not None
    assert message["content"][0] == {"type": "text", "text": "Hi"}
    more: list[Any] = [
        {"kind": "resumed", "attempt": 2, "kept": 0},
        {"kind": "event", "event": block_start()},
        {"kind": "event", "event": text_delta("Ho")},
        {"kind": "event", "event": text_delta("?", index=7)},  # it fits no block: the chat failed by it
        {"kind": "retrying", "attempt": 1, "delay": 0, "error": {}},
    ]
    message, _ = told([*first, *more])
    assert message is not None
    assert message["content"][0] == {"type": "text", "text": "Ho"}
    assert told([*first, begin_entry(2, "hub-2")]) == (None, True)
    assert told([{"kind": "resumed", "attempt": 2, "kept": 0}]) == (None, False)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_logs_of_this_format_are_read_as_long_as_it_is_known(path: Path) -> None:
    assert FORMAT == 1
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    expected = json.loads(path.with_suffix(".json").read_text())
    store = MemoryStore()
    store.append("old", store.claim("old"), 0, entries, close=True)
    with Hub(store) as hub:
        messages = list(hub.follow("old"))
        assert [type(message).__name__ for message in messages] == expected["messages"]
        assert hub.status("old").state == expected["state"]
        try:
            text = "".join(block["text"] for block in hub.result("old", timeout=10)["content"])  # type: ignore[typeddict-item]
        except AnthropixError as exc:
            text = f"{type(exc).__name__}: {exc}"
        assert text == expected["text"]


def test_there_are_such_logs() -> None:
    assert len(GOLDEN) == 4
