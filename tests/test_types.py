"""The types as a user meets them. The checkers read this module; running it shows that it does what it says."""

from __future__ import annotations

import json
import queue
from typing import TYPE_CHECKING, Any, Literal, assert_type

from anthropix_actors import ChatEvent, ChatRef, Client, Stream, Subscriber, types
from anthropix_actors.types import ContentBlock, Event, Message, MessageParam, Usage

from actors import Inbox, Reader

if TYPE_CHECKING:
    from pathlib import Path

    import pykka

    from anthropix_actors.emulator import Emulator


def text_of(event: Event) -> str:
    """Narrow by `if`, as one does in a loop."""
    if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
        return assert_type(event["delta"]["text"], str)
    return ""


def words_of(message: Message) -> list[str]:
    """Narrow by `match`, as one does in an actor."""
    words: list[str] = []
    for block in message["content"]:
        assert_type(block, ContentBlock)
        match block:
            case {"type": "text", "text": str(text)}:
                words.append(text)
            case {"type": "tool_use", "name": str(name)}:
                words.append(name)
            case _:
                pass
    return words


def test_the_three_ways_have_three_types(anthropix_emulator: Emulator) -> None:
    hello: list[MessageParam] = [{"role": "user", "content": "Hello"}]
    flag = bool(hello)
    with Client("k", base_url=anthropix_emulator.url) as client:
        message = client.chat(model="m", messages=hello, max_tokens=100)
        assert_type(message, Message)
        assert_type(message["usage"], Usage)
        assert_type(message["usage"]["output_tokens"], int)
        assert words_of(message)

        stream = client.chat(
            model="m", messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], stream=True
        )
        assert_type(stream, Stream)
        assert "".join(text_of(event) for event in stream)

        ref: pykka.ActorRef[Reader] = Reader.start(Inbox())
        chat = client.chat(model="m", messages=hello, stream=ref, coalesce=flag, tools=[{"type": "bash_20990101"}])
        assert_type(chat, ChatRef)
        assert_type(chat.result(10), Message)
        assert_type(chat.snapshot(), Message | None)
        ref.stop()


def test_anything_with_tell_is_a_subscriber() -> None:
    class ToQueue(queue.SimpleQueue[Any]):
        def tell(self, message: Any, /) -> None:
            self.put(message)

    subscribers: list[Subscriber] = [ToQueue(), Inbox()]
    assert all(isinstance(each, Subscriber) for each in subscribers)


def test_an_event_carries_its_chat_and_its_data() -> None:
    stop: types.MessageStop = {"type": "message_stop"}
    event = ChatEvent(Any, stop)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert_type(event.data, Event)
    assert event.data["type"] == "message_stop"


def test_a_stop_reason_is_one_of_the_known_ones() -> None:
    reason: types.StopReason = "pause_turn"
    expected: Literal["pause_turn"] = "pause_turn"
    assert reason == expected


def test_recorded_answers_have_what_the_types_require(corpus: Path) -> None:
    required: dict[str, Any] = {
        "text": types.TextBlock,
        "thinking": types.ThinkingBlock,
        "redacted_thinking": types.RedactedThinkingBlock,
        "tool_use": types.ToolUseBlock,
        "server_tool_use": types.ServerToolUseBlock,
        "web_search_tool_result": types.WebSearchResultBlock,
        "web_fetch_tool_result": types.WebFetchResultBlock,
    }
    seen: set[str] = set()
    for path in corpus.glob("streams/*.expected.json"):
        message = json.loads(path.read_text())["message"]
        assert {"id", "type", "role", "model", "content", "usage"} <= set(message)
        for block in message["content"]:
            if block["type"] in required:
                assert set(required[block["type"]].__required_keys__) <= set(block)
                seen.add(block["type"])
    assert seen == set(required)
