from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors.emulator import Drop, Emulator, ErrorEvent, Reply, Status, Thinking, ToolCall, recording

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.untraced

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
def anthropic() -> Any:
    """Get the SDK; not before a test needs it, as it takes a second to import."""
    return pytest.importorskip("anthropic")


@pytest.fixture
def client(emulator: Emulator, anthropic: Any) -> Iterator[Any]:
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


def test_models_have_all_that_the_sdk_knows_of(emulator: Emulator, anthropic: Any) -> None:
    """In strict validation, the SDK refuses an answer that lacks a key."""
    with anthropic.Anthropic(
        base_url=emulator.url, api_key="any", max_retries=0, timeout=10.0, _strict_response_validation=True
    ) as strict:
        models = list(strict.models.list())
    assert len(models) > 5
    for model in models:
        assert model.capabilities.server_tools.web_search.supported
        assert model.capabilities.thinking.types.between_tools.supported


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
def test_a_status_is_its_error(emulator: Emulator, client: Any, status: int, name: str, anthropic: Any) -> None:
    emulator.queue(Status(status), Status(status))
    for streaming in (False, True):
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(**ASKED, stream=streaming)
        assert type(caught.value).__name__ == name
        assert caught.value.status_code == status
        assert caught.value.request_id == caught.value.body["request_id"]


def test_what_the_emulator_refuses_is_its_error(emulator: Emulator, client: Any, anthropic: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="foo: Extra inputs are not permitted"):
        client.messages.create(**ASKED, extra_body={"foo": 1})
    with pytest.raises(anthropic.NotFoundError, match="model: claude-0"):
        client.models.retrieve("claude-0")
    assert len(emulator.requests) == 2


def test_a_key_that_is_not_let_in_is_its_error(client: Any, anthropic: Any) -> None:
    with (
        Emulator(api_key="another") as strict,
        client.with_options(base_url=strict.url) as stranger,
        pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"),
    ):
        stranger.messages.create(**ASKED)


def test_an_error_inside_a_stream_is_an_error(emulator: Emulator, client: Any, anthropic: Any) -> None:
    emulator.queue(ErrorEvent("Hello there.", after_events=4), ErrorEvent())
    received: list[Any] = []
    with pytest.raises(anthropic.APIStatusError) as caught:
        received.extend(client.messages.create(**ASKED, stream=True))
    assert caught.value.type == "overloaded_error"
    assert received[-1].type == "content_block_delta"
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**ASKED)
    assert caught.value.status_code == 529


def test_a_connection_that_is_never_answered_is_an_error(emulator: Emulator, client: Any, anthropic: Any) -> None:
    emulator.queue(Drop())
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**ASKED)


# Batches


def requests_of(*custom_ids: str) -> list[dict[str, Any]]:
    return [{"custom_id": each, "params": ASKED} for each in custom_ids]


def test_a_batch_is_made_watched_and_read(client: Any, emulator: Emulator, anthropic: Any) -> None:
    emulator.queue("one", Status(529), {"type": "expired"})
    created = client.messages.batches.create(requests=requests_of("a", "b", "c", "d"))
    assert (created.processing_status, created.request_counts.processing) == ("in_progress", 4)
    ended = client.messages.batches.retrieve(created.id)
    assert ended.processing_status == "ended"
    assert ended.results_url.startswith(emulator.url)
    found = {line.custom_id: line.result for line in client.messages.batches.results(created.id)}
    assert found["a"].message.content[0].text == "one"
    assert found["b"].error.error.type == "overloaded_error"
    assert found["c"].type == "expired"
    assert "Why is the sky blue?" in found["d"].message.content[0].text
    assert client.messages.batches.delete(created.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(created.id)


def test_a_batch_is_canceled(client: Any, anthropic: Any) -> None:
    with Emulator(batch_polls=2) as slow, client.with_options(base_url=slow.url) as patient:
        created = patient.messages.batches.create(requests=requests_of("a", "b"))
        with pytest.raises(anthropic.AnthropicError, match="No `results_url`"):
            patient.messages.batches.results(created.id)
        assert patient.messages.batches.cancel(created.id).processing_status == "canceling"
        found = {line.custom_id: line.result.type for line in patient.messages.batches.results(created.id)}
        assert found == {"a": "succeeded", "b": "canceled"}


def test_a_wrong_batch_is_refused(client: Any, anthropic: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"requests\.0\.custom_id: String should match"):
        client.messages.batches.create(requests=[{"custom_id": "a b", "params": {}}])


def test_a_wrong_request_of_a_batch_is_an_errored_result(client: Any) -> None:
    created = client.messages.batches.create(requests=[{"custom_id": "a", "params": {}}])
    (line,) = client.messages.batches.results(created.id)
    assert (line.result.type, line.result.error.error.message) == ("errored", "model: Field required")


def test_batches_are_listed_page_by_page_in_both_directions(emulator: Emulator, client: Any) -> None:
    made = [client.messages.batches.create(requests=requests_of("a")).id for _ in range(5)][::-1]
    before = len(emulator.requests)
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == made
    assert len(emulator.requests) == before + 3
    back = client.messages.batches.list(limit=2, before_id=made[4])
    assert [batch.id for batch in back] == [made[2], made[3], made[0], made[1]]


def test_cut_results_are_an_error(emulator: Emulator, client: Any) -> None:
    created = client.messages.batches.create(requests=requests_of("a", "b", "c"))
    emulator.queue(Drop(after_bytes=1000), path=f"/v1/messages/batches/{created.id}/results")
    received: list[str] = []
    with pytest.raises(Exception, match="incomplete chunked read"):
        received.extend(line.custom_id for line in client.messages.batches.results(created.id))
    assert received == ["a"]


# Files


def test_a_file_is_uploaded_and_comes_back(emulator: Emulator, client: Any, anthropic: Any) -> None:
    made = client.files.upload(file=("notes.txt", b"Hello \xff", "text/plain"), expires_in_seconds=3600)
    assert (made.filename, made.mime_type, made.size_bytes, made.downloadable) == ("notes.txt", "text/plain", 7, True)
    assert (made.expires_at - made.created_at).total_seconds() == 3600
    assert client.files.retrieve_metadata(made.id) == made
    assert client.files.download(made.id).read() == b"Hello \xff"
    assert client.files.delete(made.id).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError, match=made.id):
        client.files.download(made.id)
    assert emulator.requests[0].body["file"].content == b"Hello \xff"


def test_bytes_without_a_name_are_a_file(client: Any) -> None:
    made = client.files.upload(file=b"\xff\x00")
    assert (made.filename, made.size_bytes) == ("unnamed.bin", 2)
    assert client.files.download(made.id).read() == b"\xff\x00"


def test_files_are_listed_page_by_page(emulator: Emulator, client: Any) -> None:
    made = [client.files.upload(file=(name, b"")).id for name in "abcde"][::-1]
    before = len(emulator.requests)
    assert [file.id for file in client.files.list(limit=2)] == made
    assert len(emulator.requests) == before + 3
    assert [file.id for file in client.files.list(ids=[made[3], made[1]])] == [made[1], made[3]]


# Sessions


def test_a_session_is_streamed_and_listed(emulator: Emulator, client: Any) -> None:
    session = emulator.session("sesn_1")
    session.add({"type": "session.status_running"})
    calls = client.beta.sessions.events
    with calls.stream("sesn_1", event_deltas=["agent.message"]) as stream:
        hello = {"type": "user.message", "content": [{"type": "text", "text": "Hello"}]}
        (sent,) = calls.send("sesn_1", events=[hello]).data
        session.add(
            {"type": "event_start", "event": {"type": "agent.message", "id": "sevt_1"}},
            {
                "type": "event_delta",
                "event_id": "sevt_1",
                "delta": {"type": "content_delta", "index": 0, "content": {"type": "text", "text": "Hi."}},
            },
            {"type": "agent.message", "id": "sevt_1", "content": [{"type": "text", "text": "Hi."}]},
        )
        told = [next(stream) for _ in range(4)]
        assert [event.type for event in told] == ["user.message", "event_start", "event_delta", "agent.message"]
        assert told[0] == sent
        assert told[2].delta.content.text == told[3].content[0].text
        session.cut()
        with pytest.raises(Exception, match="incomplete chunked read"):
            next(stream)
    listed = list(calls.list("sesn_1", limit=1))
    assert [event.type for event in listed] == ["session.status_running", "user.message", "agent.message"]
    assert listed[1:] == [told[0], told[3]]
    query: dict[str, Any] = {"types": ["user.message", "agent.message"], "order": "desc"}
    assert list(calls.list("sesn_1", **query)) == [told[3], told[0]]
    assert list(calls.list("sesn_1", created_at_gt=listed[0].processed_at, limit=1)) == listed[1:]


def test_a_thread_of_a_session_is_streamed_and_listed(emulator: Emulator, client: Any) -> None:
    calls = client.beta.sessions.threads.events
    with calls.stream("sthr_1", session_id="sesn_1") as stream:
        emulator.session("sesn_1", "sthr_1").add({"type": "session.status_running"})
        told = next(stream)
        assert told.type == "session.status_running"
    assert list(calls.list("sthr_1", session_id="sesn_1")) == [told]
