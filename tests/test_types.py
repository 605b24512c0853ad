"""The types as a user meets them. The checkers read this module; running it shows that it does what it says."""

from __future__ import annotations

import json
import queue
from typing import TYPE_CHECKING, Any, Literal, assert_type, get_args

from anthropix_actors import ChatEvent, ChatRef, Client, Stream, Subscriber, types
from anthropix_actors.chat.parameters import PARAMETERS, chat_problems
from anthropix_actors.types import (
    ChatParams,
    ContentBlock,
    ContentBlockParam,
    Event,
    Message,
    MessageParam,
    MessageUsage,
    ToolParam,
    ToolUseBlock,
    WireEvent,
)

from actors import Inbox, Reader

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        assert_type(message["usage"], MessageUsage)
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


def sendable(messages: Sequence[MessageParam], **more: Any) -> bool:
    """What the checkers take here as literals is what the parameters' check takes at run time."""
    return not chat_problems({"model": "m", "max_tokens": 1, "messages": messages, **more}, api_version="2023-06-01")


def test_plain_literals_are_messages() -> None:
    assert sendable([{"role": "user", "content": "Hi"}])
    assert sendable([{"role": "system", "content": [{"type": "text", "text": "Hi", "citations": None}]}])
    image: ContentBlockParam = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    cached: ContentBlockParam = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    paper: ContentBlockParam = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "x"},
        "citations": {"enabled": True},
    }
    result: ContentBlockParam = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}
    assert sendable([{"role": "user", "content": [image, cached, paper, result]}])


def test_types_of_blocks_and_tools_that_nobody_knows_are_taken() -> None:
    tools: list[ToolParam | dict[str, Any]] = [
        {"name": "t", "input_schema": {"type": "object", "properties": {}}, "strict": True},
        {"type": "web_search_20991231", "name": "web_search", "max_uses": 3},
    ]
    assert sendable([{"role": "user", "content": [{"type": "of_the_future", "with": [1, 2]}]}], tools=tools)


def test_the_content_of_an_answer_is_the_content_of_a_message() -> None:
    call: ToolUseBlock = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}
    content: list[ContentBlock] = [{"type": "text", "text": "Let me see"}, call]
    messages: list[MessageParam] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}]
    results: list[ContentBlockParam] = []
    for block in content:
        if block["type"] == "tool_use":
            assert_type(block["input"], dict[str, Any])
            results.append({"type": "tool_result", "tool_use_id": block["id"], "content": "x"})
    messages.append({"role": "user", "content": results})
    assert sendable(messages)


def test_parameters_of_a_chat_have_a_type_each() -> None:
    params: ChatParams = {
        "model": "m",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "Hi"}],
        "system": [{"type": "text", "text": "x"}],
        "tool_choice": {"type": "tool", "name": "t"},
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "u"},
        "fallbacks": "default",
        "thread": {"type": "create"},
    }
    assert chat_problems({**params}, api_version="2023-06-01") == []
    assert set(PARAMETERS) <= set(ChatParams.__annotations__)


def test_what_is_on_the_wire_and_not_told_has_a_type_too() -> None:
    ping: WireEvent = {"type": "ping"}
    error: WireEvent = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    for event in (ping, error):
        if event["type"] == "error":
            assert_type(event, types.ErrorEvent)
    count: types.TokenCount = {"input_tokens": 3}
    model: types.Model = {"type": "model", "id": "m", "display_name": "M", "created_at": "2026-11-23T00:00:00Z"}
    assert_type(count["input_tokens"], int)
    assert model["id"] == "m"


def test_recorded_answers_have_what_the_types_require_and_only_known_keys(corpus: Path) -> None:
    shapes = {name: block for block in get_args(ContentBlock) for name in get_args(block.__annotations__["type"])}
    seen: set[str] = set()
    for path in corpus.glob("streams/*.expected.json"):
        message = json.loads(path.read_text()).get("message")
        if message is None:  # an answer that ends in an error
            continue
        fits(message, Message)
        fits(message["usage"], MessageUsage)
        for block in message["content"]:
            seen.add(block["type"])
            if block["type"] in shapes:
                fits(block, shapes[block["type"]])
            for citation in block.get("citations") or ():
                fits(citation, types.Citation)
    assert {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "mcp_tool_result"} <= seen


def fits(value: dict[str, Any], kind: Any) -> None:
    # What is null was not on the wire.
    here = {key for key, item in value.items() if item is not None}
    assert kind.__required_keys__ <= set(value)
    assert here <= set(kind.__annotations__)
