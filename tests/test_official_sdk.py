from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors.emulator import Drop, Emulator, ErrorEvent, Reply, Status, Thinking, ToolCall, recording

anthropic = pytest.importorskip("anthropic")

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKED: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 2000,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
TOOL: dict[str, Any] = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=emulator.url, api_key="sk-ant-any", max_retries=0, timeout=10.0) as made:
        yield made


def test_all_ways_to_ask_get_the_same_text(emulator: Emulator, client: Any) -> None:
    whole = client.messages.create(**ASKED).content[0].text
    deltas = [event for event in client.messages.create(**ASKED, stream=True) if event.type == "content_block_delta"]
    with client.messages.stream(**ASKED) as stream:
        helped = stream.get_final_message()
    assert "Why is the sky blue?" in whole
    assert "".join(event.delta.text for event in deltas) == whole
    assert helped.content[0].text == whole
    assert helped.stop_reason == "end_turn"
    assert helped.usage.output_tokens > 20
    first = emulator.requests[0]
    assert first.headers["anthropic-version"] == "2026-10-21"
    assert first.headers["authorization"] == "Bearer sk-ant-any"


def test_a_tool_call_comes_through(client: Any) -> None:
    forced: dict[str, Any] = {**ASKED, "tools": [TOOL], "tool_choice": {"type": "any"}}
    with client.messages.stream(**forced) as stream:
        streamed = stream.get_final_message()
    for message in (client.messages.create(**forced), streamed):
        (call,) = message.content
        assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "city"})
        assert message.stop_reason == "tool_use"


def test_thinking_comes_through(emulator: Emulator, client: Any) -> None:
    reply = Reply([Thinking("A sum.", signature="sig"), "I will add.", ToolCall("add", {"a": 1, "b": [2.5, None]})])
    emulator.queue(reply, reply)
    with client.messages.stream(**ASKED) as stream:
        streamed = stream.get_final_message()
    for message in (client.messages.create(**ASKED), streamed):
        thought, text, call = message.content
        assert (thought.thinking, thought.signature) == ("A sum.", "sig")
        assert text.text == "I will add."
        assert call.input == {"a": 1, "b": [2.5, None]}


def test_thinking_that_was_asked_for_comes_through(client: Any) -> None:
    message = client.messages.create(**ASKED, thinking={"type": "adaptive"})
    assert [block.type for block in message.content] == ["thinking", "text"]


@pytest.mark.parametrize(("name", "kinds"), [("actors", ["text"]), ("weather", ["thinking", "text", "tool_use"])])
def test_recordings_come_through(emulator: Emulator, client: Any, name: str, kinds: list[str]) -> None:
    emulator.queue(recording(name), recording(name))
    with client.messages.stream(**ASKED) as stream:
        streamed = stream.get_final_message()
    assert [block.type for block in streamed.content] == kinds
    whole = client.messages.create(**ASKED)
    assert whole.to_dict()["usage"] == streamed.to_dict()["usage"]
    assert [block.type for block in whole.content] == kinds


def test_tokens_are_counted_as_they_are_used(client: Any) -> None:
    counted = client.messages.count_tokens(model=ASKED["model"], messages=ASKED["messages"]).input_tokens
    assert counted == client.messages.create(**ASKED).usage.input_tokens


def test_models_are_listed_page_by_page(emulator: Emulator, client: Any) -> None:
    found = [model.id for model in client.models.list(limit=3)]
    assert "claude-sonnet-5" in found
    assert len(set(found)) == len(found)
    assert len(emulator.requests) == -(-len(found) // 3)
    assert client.models.retrieve("claude-sonnet-5").display_name == "Claude Sonnet 5"


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (529, "OverloadedError"),
    ],
)
def test_a_status_is_its_error(emulator: Emulator, client: Any, status: int, name: str) -> None:
    emulator.queue(Status(status), Status(status))
    for streaming in (False, True):
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(**ASKED, stream=streaming)
        assert type(caught.value).__name__ == name
        assert caught.value.status_code == status
        assert caught.value.request_id == caught.value.body["request_id"]


def test_what_the_emulator_refuses_is_its_error(emulator: Emulator, client: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="foo: Extra inputs are not permitted"):
        client.messages.create(**ASKED, extra_body={"foo": 1})
    with pytest.raises(anthropic.NotFoundError, match="model: claude-0"):
        client.models.retrieve("claude-0")
    assert len(emulator.requests) == 2


def test_a_key_that_is_not_let_in_is_its_error(client: Any) -> None:
    with (
        Emulator(api_key="another") as strict,
        client.with_options(base_url=strict.url) as stranger,
        pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"),
    ):
        stranger.messages.create(**ASKED)


def test_an_error_inside_a_stream_is_an_error(emulator: Emulator, client: Any) -> None:
    emulator.queue(ErrorEvent("Hello there.", after_events=4), ErrorEvent())
    received: list[Any] = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        received.extend(client.messages.create(**ASKED, stream=True))
    assert caught.value.type == "overloaded_error"
    assert received[-1].type == "content_block_delta"
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**ASKED)
    assert caught.value.status_code == 529


def test_a_connection_that_is_never_answered_is_an_error(emulator: Emulator, client: Any) -> None:
    emulator.queue(Drop())
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**ASKED)
