from __future__ import annotations

import gc
import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

import anthropix_actors.emulator
from anthropix_actors.emulator import Emulator, Headers, Reply, Request, Status, Thinking, ToolCall, recording, serve
from anthropix_actors.emulator import recordings as names_of_recordings
from anthropix_actors.emulator._model.errors import as_status
from anthropix_actors.emulator._model.events import accumulate, message_events
from anthropix_actors.emulator._model.schema_example import example_for
from anthropix_actors.emulator._model.tokens import count_input

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator import Answer

    from programs import Programs

jsonschema: Any = pytest.importorskip("jsonschema")

pytest_plugins = ("pytester",)

DEADLINE = 20.0
HEADERS = {"x-api-key": "sk-ant-api03-secret", "anthropic-version": "2023-06-01"}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer"},
        },
        "required": ["city", "unit"],
    },
}
CLOCK: dict[str, Any] = {"name": "clock", "input_schema": {"type": "object"}}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def asked(prompt: str = "Why is the sky blue?", **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-sonnet-5",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": prompt}],
        **more,
    }


def post(
    emulator: Emulator,
    body: object = None,
    *,
    path: str = "/v1/messages",
    headers: dict[str, str] | None = None,
    data: Any = None,
) -> requests.Response:
    sent = HEADERS if headers is None else headers
    return requests.post(emulator.url + path, headers=sent, json=body, data=data, timeout=DEADLINE)


def connected(emulator: Emulator) -> socket.socket:
    host, port = emulator.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE)


def get(emulator: Emulator, path: str) -> requests.Response:
    return requests.get(emulator.url + path, headers=HEADERS, timeout=DEADLINE)


def events_of(response: requests.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for block in response.content.decode().split("\n\n")[:-1]:
        event, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert event == f"event: {found[-1]['type']}"
    return found


def answered(emulator: Emulator, body: dict[str, Any]) -> dict[str, Any]:
    """Ask with a stream and without: both must answer the same."""
    whole: dict[str, Any] = post(emulator, body).json()
    streamed = accumulate(events_of(post(emulator, body | {"stream": True})))
    assert without_ids(streamed) == without_ids(whole)
    return whole


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    content = [{key: value for key, value in block.items() if key != "id"} for block in message["content"]]
    return {**message, "id": None, "content": content}


def nested(depth: int) -> dict[str, Any]:
    return {"type": "array", "items": nested(depth - 1)} if depth else {"type": "null"}


# Default answers


def test_a_stream_has_the_events_of_the_api_in_their_order(emulator: Emulator) -> None:
    emulator.queue("Hello, you.")
    response = post(emulator, asked(stream=True))
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    told = events_of(response)
    assert [event["type"] for event in told] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert told[0]["message"]["content"] == []
    assert told[0]["message"]["stop_reason"] is None
    assert [event["delta"]["text"] for event in told[3:7]] == ["Hello", ",", " you", "."]
    assert told[8]["delta"]["stop_reason"] == "end_turn"
    assert told[8]["usage"]["output_tokens"] == 4


def test_it_quotes_the_prompt_and_says_what_it_is(emulator: Emulator) -> None:
    message = answered(emulator, asked("Why is the sky blue?"))
    assert "Why is the sky blue?" in message["content"][0]["text"]
    assert "emulator" in message["content"][0]["text"]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] == 10


def test_a_long_prompt_is_quoted_in_part(emulator: Emulator) -> None:
    assert "x" * 197 + "..." in answered(emulator, asked("x" * 1000))["content"][0]["text"]


def test_a_prompt_of_blocks_is_read_too(emulator: Emulator) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    blocks = [{"type": "text", "text": "What is this?"}, image]
    message = answered(emulator, asked(messages=[{"role": "user", "content": blocks}]))
    assert "What is this?" in message["content"][0]["text"]
    assert message["usage"]["input_tokens"] == 1508


def test_a_forced_tool_is_called_with_input_that_fits(emulator: Emulator) -> None:
    message = answered(emulator, asked(tools=[CLOCK, WEATHER], tool_choice={"type": "tool", "name": "get_weather"}))
    (call,) = message["content"]
    assert call["name"] == "get_weather"
    assert call["input"] == {"city": "city", "unit": "celsius"}
    assert call["id"].startswith("toolu_01")
    assert message["stop_reason"] == "tool_use"


def test_any_tool_is_the_first_one(emulator: Emulator) -> None:
    (call,) = answered(emulator, asked(tools=[CLOCK, WEATHER], tool_choice={"type": "any"}))["content"]
    assert call["name"] == "clock"
    assert call["input"] == {}


def test_a_tool_is_called_when_the_prompt_names_it(emulator: Emulator) -> None:
    body = asked("Use clock and get_weather, please", tools=[CLOCK, WEATHER])
    text, *calls = answered(emulator, body)["content"]
    assert text == {"type": "text", "text": "I will use clock and get_weather."}
    assert [call["name"] for call in calls] == ["clock", "get_weather"]
    alone = body | {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    assert len(answered(emulator, alone)["content"]) == 2


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "none"}])
def test_a_tool_is_not_called_otherwise(emulator: Emulator, choice: dict[str, Any]) -> None:
    prompt = "Look at my clockwork" if choice["type"] == "auto" else "Use clock"
    (block,) = answered(emulator, asked(prompt, tools=[CLOCK], tool_choice=choice))["content"]
    assert block["type"] == "text"


def test_tools_that_the_users_last_text_does_not_name_are_not_called(emulator: Emulator) -> None:
    """As Claude Code asks: texts of the program, which name all tools, around the user's own."""
    reminder = "<system-reminder>\nThe tools are clock and get_weather.\n</system-reminder>"
    contents: list[Any] = [
        [{"type": "text", "text": "Use clock."}, {"type": "text", "text": f"{reminder}\nhello\n{reminder}"}],
        [{"type": "text", "text": reminder}, {"type": "text", "text": "hello"}, {"type": "text", "text": reminder}],
        f"{reminder} hello {reminder} <system-reminder> clock",
    ]
    for content in contents:
        asking = asked(messages=[{"role": "user", "content": content}], tools=[CLOCK, WEATHER])
        (block,) = answered(emulator, asking)["content"]
        assert block["text"].startswith('You said: "')
        assert "hello" in block["text"]
    only_reminded = asked(messages=[{"role": "user", "content": [{"type": "text", "text": reminder}]}], tools=[CLOCK])
    (block,) = answered(emulator, only_reminded)["content"]
    assert block["text"].startswith('You said: "".')


def test_a_tool_that_the_users_last_text_names_is_called(emulator: Emulator) -> None:
    reminder = "<system-reminder>Never use clock.</system-reminder>"
    content = [{"type": "text", "text": reminder}, {"type": "text", "text": f"{reminder}Use get_weather."}]
    asking = asked(messages=[{"role": "user", "content": content}], tools=[CLOCK, WEATHER])
    _, call = answered(emulator, asking)["content"]
    assert call["name"] == "get_weather"


@pytest.mark.parametrize("content", ["It is noon.", [{"type": "text", "text": "It is noon."}], None])
def test_a_tool_result_is_answered_with_words(emulator: Emulator, content: object) -> None:
    call: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1"} | ({"content": content} if content else {})
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Use clock"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    (block,) = answered(emulator, asked(messages=messages, tools=[CLOCK]))["content"]
    assert block["text"].startswith('The tool said: "It is noon.".' if content else 'The tool said: "".')


@pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}])
def test_thinking_goes_first_where_it_was_asked_for(emulator: Emulator, thinking: dict[str, Any]) -> None:
    message = answered(emulator, asked(max_tokens=4000, thinking=thinking))
    thought, text = message["content"]
    assert "5 words" in thought["thinking"]
    assert thought["signature"].startswith("Ep")
    assert text["type"] == "text"
    assert 0 < message["usage"]["output_tokens_details"]["thinking_tokens"] < message["usage"]["output_tokens"]


def test_omitted_thinking_has_a_signature_alone(emulator: Emulator) -> None:
    thought, _ = answered(emulator, asked(thinking={"type": "adaptive", "display": "omitted"}))["content"]
    assert thought["thinking"] == ""
    assert thought["signature"]


def test_json_fits_the_schema_that_was_asked_for(emulator: Emulator) -> None:
    schema = {**WEATHER["input_schema"], "additionalProperties": False}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    (block,) = answered(emulator, asked(output_config=wanted))["content"]
    jsonschema.validate(json.loads(block["text"]), schema)


def test_max_tokens_cuts_the_text(emulator: Emulator) -> None:
    message = answered(emulator, asked(max_tokens=3))
    assert message["content"] == [{"type": "text", "text": "You said:"}]
    assert message["stop_reason"] == "max_tokens"
    assert message["usage"]["output_tokens"] == 3


def test_max_tokens_cuts_thinking(emulator: Emulator) -> None:
    message = answered(emulator, asked(max_tokens=2, thinking={"type": "adaptive"}))
    assert [block.get("thinking") for block in message["content"]] == ["The prompt"]


def test_a_tool_call_is_all_or_nothing(emulator: Emulator) -> None:
    message = answered(emulator, asked(max_tokens=1, tools=[WEATHER], tool_choice={"type": "any"}))
    assert message["content"] == []
    assert message["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("more", [{}, {"thinking": {"type": "adaptive"}}])
def test_no_tokens_give_no_content(emulator: Emulator, more: dict[str, Any]) -> None:
    message = answered(emulator, asked(max_tokens=0, **more))
    assert message["content"] == []
    assert message["usage"]["output_tokens"] == 0


def test_a_stop_sequence_ends_the_text_before_it(emulator: Emulator) -> None:
    message = answered(emulator, asked(stop_sequences=["nowhere to be found", " of the", "emulator"]))
    assert message["content"][0]["text"].endswith("This is the ")
    assert message["stop_reason"] == "stop_sequence"
    assert message["stop_sequence"] == "emulator"
    assert answered(emulator, asked(stop_sequences=["You said"]))["content"] == []


@pytest.mark.parametrize(("prefill", "begin"), [("So:", " You said"), ("So: ", "You said")])
def test_it_goes_on_from_a_prefill(prefill: str, begin: str) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": prefill}]
    with Emulator(without={"prefill-whitespace"}) as emulator:
        message = answered(emulator, asked(messages=messages, model="claude-haiku-4-5"))
    assert message["content"][0]["text"].startswith(begin)


def test_a_count_is_what_the_answer_says_it_used(emulator: Emulator) -> None:
    body = asked(system="Be brief.", tools=[WEATHER])
    used = post(emulator, body).json()["usage"]["input_tokens"]
    del body["max_tokens"]
    assert post(emulator, body, path="/v1/messages/count_tokens").json() == {"input_tokens": used}


def test_every_kind_of_value_counts() -> None:
    assert count_input({"messages": [], "tools": [{"a": None, "b": 1.5, "data": "not read"}], "system": None}) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"const": 7},
        {"default": "a", "type": "string"},
        {"examples": [[1, 2]], "type": "array"},
        {"type": "array", "items": {"type": "number", "minimum": 0.25, "maximum": 0.75}, "minItems": 2},
        {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "minItems": 3},
        {"type": ["null", "integer"], "exclusiveMinimum": 3, "exclusiveMaximum": 9, "multipleOf": 5},
        {"type": "integer", "minimum": 7, "multipleOf": 5},
        {"type": ["null"]},
        {"type": "string", "minLength": 20},
        {"type": "string", "maxLength": 2},
        {"type": "string", "format": "date-time"},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"properties": {"a": {"type": "integer"}}, "required": ["a", "b"]},
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"$ref": "#/$defs/name"}}, "required": ["a"]},
                {"properties": {"b": True}, "required": ["b"]},
                True,
            ],
            "$defs": {"name": {"enum": ["x", "y"]}},
        },
        {"type": "object", "properties": {"more": {"$ref": "#"}}},
    ],
)
def test_values_fit_their_schema(schema: dict[str, Any]) -> None:
    jsonschema.validate(example_for(schema), schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"more": {"$ref": "#"}}, "required": ["more"]},
        {"$ref": "#"},
        {"$ref": "#/$defs/missing"},
        nested(20),
    ],
)
def test_a_schema_without_a_bottom_comes_to_an_end(schema: dict[str, Any]) -> None:
    json.dumps(example_for(schema))


# Scripted answers


def test_answers_are_taken_in_order_and_then_the_handler_is_asked() -> None:
    def rules(request: Request) -> Answer:
        return None if request.stream else f"{request.body['messages'][0]['content']} to you too"

    with Emulator(handler=rules) as emulator:
        emulator.queue("one", "two")
        texts = [post(emulator, asked("Hi")).json()["content"][0]["text"] for _ in range(3)]
        assert texts == ["one", "two", "Hi to you too"]
        assert b"emulator" in post(emulator, asked(stream=True)).content


def test_a_handler_that_raises_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    def rules(_: Request) -> Answer:
        raise LookupError("no idea")

    with Emulator(handler=rules) as emulator:
        response = post(emulator, asked())
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "api_error"
    assert "no idea" in response.json()["error"]["message"]
    assert "no answer for POST /v1/messages" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_handler_that_exits_ends_its_own_answer_alone(caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    def rules(request: Request) -> Answer:
        if request.body["messages"][0]["content"] == "Exit":
            raise error
        return "Still here."

    with Emulator(handler=rules) as emulator:
        assert post(emulator, asked("Exit")).status_code == 500
        assert post(emulator, asked("Hi")).json()["content"][0]["text"] == "Still here."
    assert "no answer for POST /v1/messages" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_events_that_exit_cut_their_own_answer_alone(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def told() -> Iterator[dict[str, Any]]:
        yield {"type": "ping"}
        raise error

    emulator.queue(told(), told())
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        post(emulator, asked(stream=True))
    assert post(emulator, asked()).status_code == 500
    assert post(emulator, asked()).status_code == 200
    assert "an iterable of events raised" in caplog.text


def test_a_clock_that_fails_is_a_500() -> None:
    def clock() -> float:
        raise LookupError("no clock")

    with Emulator(clock=clock) as emulator:
        assert "no clock" in post(emulator, asked()).json()["error"]["message"]


def test_what_is_refused_is_logged_with_its_reason(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="anthropix_actors"):
        post(emulator, {"model": "m"})
        emulator.queue(Status(529))
        post(emulator, asked())
    told = [record.getMessage() for record in caplog.records if "the emulator answers" in record.getMessage()]
    assert "POST /v1/messages: 400, messages: Field required" in told[0]
    assert "POST /v1/messages: 529, Overloaded" in told[1]
    assert HEADERS["x-api-key"] not in caplog.text


def test_a_reply_has_its_blocks_in_order(emulator: Emulator) -> None:
    search: dict[str, Any] = {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "sky"},
    }
    search["input"] = {"query": "sky"}
    found: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    cited = {"type": "text", "text": "Blue.", "citations": [{"type": "char_location", "cited_text": "blue"}]}
    reply = Reply(
        [Thinking("Hm.", signature="sig"), "Let me see.", search, found, cited, ToolCall("clock", {"é": 1}, id="t1")],
        usage={"cache_read_input_tokens": 12},
    )
    emulator.queue(reply, reply)
    message = answered(emulator, asked())
    assert message["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "text", "text": "Let me see."},
        search,
        found,
        cited,
        {"type": "tool_use", "id": "t1", "name": "clock", "input": {"é": 1}, "caller": {"type": "direct"}},
    ]
    assert message["stop_reason"] == "tool_use"
    assert message["usage"]["cache_read_input_tokens"] == 12


def test_a_reply_may_say_why_it_stopped(emulator: Emulator) -> None:
    emulator.queue(Reply(["I will not."], stop_reason="refusal"))
    assert post(emulator, asked()).json()["stop_reason"] == "refusal"


def test_a_message_is_sent_as_it_is(emulator: Emulator) -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    emulator.queue(message, message)
    assert post(emulator, asked()).json() == message
    assert accumulate(events_of(post(emulator, asked(stream=True)))) == message


def test_events_are_sent_as_they_are_with_a_stream_or_without(emulator: Emulator) -> None:
    told = list(message_events({"id": "msg_1", "content": [{"type": "text", "text": "Hi"}], "usage": None}))
    emulator.queue(told, iter(told), [*told[:3], {"type": "error", "error": {"type": "api_error"}}])
    assert events_of(post(emulator, asked(stream=True))) == told
    assert post(emulator, asked()).json()["content"] == [{"type": "text", "text": "Hi"}]
    assert post(emulator, asked()).status_code == 500


def test_events_may_be_made_while_they_are_sent(emulator: Emulator) -> None:
    received = threading.Event()
    in_time: list[bool] = []

    def one_at_a_time() -> Iterator[dict[str, Any]]:
        for number in range(20):
            yield {"type": "ping", "number": number}
        in_time.append(received.wait(DEADLINE))
        yield {"type": "ping", "number": 20}

    emulator.queue(one_at_a_time())
    with requests.post(
        emulator.url + "/v1/messages", headers=HEADERS, json=asked(stream=True), stream=True, timeout=DEADLINE
    ) as response:
        lines = response.iter_lines()
        assert b'"number":0' in next(line for line in lines if line.startswith(b"data"))
        received.set()
        assert sum(line.startswith(b"data") for line in lines) == 20
    assert in_time == [True]


@pytest.mark.parametrize("name", names_of_recordings())
def test_a_recording_is_replayed_byte_for_byte(emulator: Emulator, name: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.sse"
    path.write_bytes(recording(name))
    emulator.queue(recording(name), path, recording(name))
    assert post(emulator, asked(stream=True)).content == recording(name)
    streamed = post(emulator, asked(stream=True))
    assert streamed.content == recording(name)
    assert post(emulator, asked()).json() == accumulate(events_of(streamed))


def test_a_recording_that_is_missing_is_named_with_those_there_are() -> None:
    assert names_of_recordings() == ["actors", "weather"]
    with pytest.raises(KeyError, match="no recording 'rain'; there are actors, weather"):
        recording("rain")


def test_other_paths_can_be_scripted_too(emulator: Emulator) -> None:
    emulator.queue({"id": "skill_1"}, b"[]", Status(429, retry_after=0.5), path="/v1/skills")
    path = "/v1/skills"
    assert post(emulator, {"requests": []}, path=path).json() == {"id": "skill_1"}
    assert get(emulator, path).json() == []
    limited = get(emulator, path)
    assert limited.status_code == 429
    assert limited.headers["retry-after"] == "0.5"
    assert get(emulator, path).status_code == 404
    emulator.queue({"data": []}, path="/v1/models")
    assert get(emulator, "/v1/models").json() == {"data": []}


def test_what_is_no_answer_is_refused_at_once(emulator: Emulator) -> None:
    with pytest.raises(TypeError, match="not an answer: 7"):
        emulator.queue(7)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="only a chat is answered with 'text'"):
        emulator.queue("text", path="/v1/models")


# Refusals


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"x-api-key": None}, 401, "x-api-key header is required"),
        ({"x-api-key": None, "authorization": "Basic abc"}, 401, "x-api-key header is required"),
        ({"anthropic-version": None}, 400, "anthropic-version: header is required"),
        ({"anthropic-version": "2020-01-01"}, 400, 'anthropic-version: "2020-01-01" is not a valid version'),
        ({"content-type": "text/plain"}, 400, "content-type: Input should be application/json, not text/plain"),
    ],
)
def test_bad_headers_are_refused(emulator: Emulator, headers: dict[str, str], status: int, text: str) -> None:
    response = post(emulator, asked(), headers=HEADERS | headers)
    assert response.status_code == status
    assert response.json()["error"]["message"] == text
    assert response.json()["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_a_bearer_token_is_a_key_too(emulator: Emulator, version: str) -> None:
    response = post(emulator, asked(), headers={"authorization": "Bearer sk", "anthropic-version": version})
    assert response.status_code == 200
    assert response.headers["anthropic-organization-id"]
    assert response.headers["anthropic-ratelimit-requests-limit"] == "4000"


def test_only_the_right_key_is_let_in_where_one_is_set() -> None:
    with Emulator(api_key="right") as emulator:
        assert post(emulator, asked(), headers=HEADERS | {"x-api-key": "right"}).status_code == 200
        refused = post(emulator, asked())
    assert refused.status_code == 401
    assert refused.json()["error"] == {"type": "authentication_error", "message": "invalid x-api-key", "details": None}
    assert "anthropic-organization-id" not in refused.headers


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([], "The request body is not valid JSON: an object was expected"),
        (asked(stream=1), "stream: Input should be a valid boolean"),
        (asked(foo=1), "foo: Extra inputs are not permitted"),
        ({"model": "m", "max_tokens": 1}, "messages: Field required"),
    ],
)
def test_bad_bodies_are_refused_and_take_no_answer(emulator: Emulator, body: object, text: str) -> None:
    emulator.queue("still there")
    response = post(emulator, body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["message"] == text
    assert post(emulator, asked()).json()["content"][0]["text"] == "still there"


@pytest.mark.parametrize("data", [b"", b"{", b'"\xff"', b"[" * 100_000])
def test_what_is_not_json_is_refused(emulator: Emulator, data: bytes) -> None:
    response = post(emulator, headers=HEADERS | {"content-type": "application/json"}, data=data)
    assert response.status_code == 400
    assert "not valid JSON" in response.json()["error"]["message"]
    assert emulator.requests[0].body == (data or None)


def test_a_problem_is_told_with_its_place_in_the_apis_way(emulator: Emulator) -> None:
    response = post(emulator, asked(messages=[{"role": "user", "content": [{"type": "text", "text": 7}]}]))
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("messages.0.content.0.text: ")


def test_counting_takes_no_parameters_of_an_answer(emulator: Emulator) -> None:
    response = post(emulator, asked(), path="/v1/messages/count_tokens")
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "max_tokens: Extra inputs are not permitted"


def test_the_newer_version_takes_no_temperature(emulator: Emulator) -> None:
    newer = HEADERS | {"anthropic-version": "2026-10-21"}
    assert post(emulator, asked(temperature=0.5)).status_code == 200
    assert post(emulator, asked(temperature=0.5), headers=newer).status_code == 400


@pytest.mark.parametrize("path", ["/", "/v1/message", "/v1/messages/"])
def test_an_unknown_path_is_not_found(emulator: Emulator, path: str) -> None:
    response = requests.post(emulator.url + path, allow_redirects=False, timeout=DEADLINE)
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"


def test_a_wrong_method_is_not_allowed(emulator: Emulator) -> None:
    response = get(emulator, "/v1/messages")
    assert response.status_code == 405
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_is_too_large_is_refused_before_it_has_come(emulator: Emulator) -> None:
    with connected(emulator) as client:
        head = f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: {(32 << 20) + 1}\r\n\r\n"
        client.sendall(head.encode() + b"{")
        response = http.client.HTTPResponse(client)
        response.begin()
        assert response.status == 413
        assert json.loads(response.read())["error"]["type"] == "request_too_large"
        response.close()
    assert emulator.requests[0].body is None


def test_a_body_that_grows_too_large_is_refused(emulator: Emulator) -> None:
    response = post(emulator, headers=HEADERS, data=iter([b"x" * (16 << 20)] * 2 + [b"x"]))
    assert response.status_code == 413


def test_a_client_that_leaves_while_it_sends_leaves_no_request(emulator: Emulator) -> None:
    with connected(emulator) as half:
        half.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
    emulator.wait_for_hangups(1, DEADLINE)
    assert emulator.requests == []


# Host names


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.:80", "my.localhost:1", "127.0.0.2:99", "[::1]:8", "::1"])
def test_the_names_of_loopback_are_its_own(emulator: Emulator, host: str) -> None:
    assert post(emulator, asked(), headers={**HEADERS, "host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:80", "10.0.0.1", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_is_not_its_own_is_refused(emulator: Emulator, host: str) -> None:
    for path in ("/v1/messages", "/v1/files", "/elsewhere"):
        response = post(emulator, asked(), path=path, headers={**HEADERS, "host": host})
        assert response.status_code == 403
        assert response.json()["error"]["type"] == "permission_error"
        assert "Emulator(hosts=" in response.json()["error"]["message"]
    assert len(emulator.requests) == 3


def test_a_name_that_was_told_is_let_in() -> None:
    with Emulator(hosts=["claude.test"]) as emulator:
        assert post(emulator, asked(), headers={**HEADERS, "host": "claude.test:80"}).status_code == 200
        assert post(emulator, asked(), headers={**HEADERS, "host": "other.test"}).status_code == 403
    with Emulator(hosts=("*",)) as emulator:
        assert post(emulator, asked(), headers={**HEADERS, "host": "other.test"}).status_code == 200
    with pytest.raises(TypeError, match=r"give \['claude.test'\]"):
        Emulator(hosts="claude.test")


def test_who_listens_everywhere_is_called_by_any_address_and_by_no_strange_name() -> None:
    with Emulator(host="0.0.0.0") as emulator:
        url = emulator.url.replace("0.0.0.0", "127.0.0.1")
        for host, status in {"10.1.2.3:80": 200, "[fe80::1]": 200, "localhost": 200, "evil.example": 403}.items():
            sent = {**HEADERS, "host": host}
            response = requests.post(f"{url}/v1/messages", json=asked(), headers=sent, timeout=DEADLINE)
            assert response.status_code == status


def test_a_client_that_names_no_host_is_no_browser(emulator: Emulator) -> None:
    with connected(emulator) as old:
        old.sendall(b"GET /v1/models HTTP/1.0\r\nx-api-key: a\r\nanthropic-version: 2023-06-01\r\n\r\n")
        assert old.makefile("rb").readline().startswith(b"HTTP/1.1 200")


# Models


def test_models_come_in_pages_forwards(emulator: Emulator) -> None:
    everything = get(emulator, "/v1/models").json()
    assert not everything["has_more"]
    found: list[dict[str, Any]] = []
    page = get(emulator, "/v1/models?limit=4").json()
    while page["has_more"]:
        found += page["data"]
        page = get(emulator, f"/v1/models?limit=4&after_id={page['last_id']}").json()
    assert found + page["data"] == everything["data"]


def test_models_come_in_pages_backwards(emulator: Emulator) -> None:
    everything = get(emulator, "/v1/models").json()
    last = everything["last_id"]
    page = get(emulator, f"/v1/models?limit=4&before_id={last}").json()
    assert page["data"] == everything["data"][-5:-1]
    assert page["has_more"]
    page = get(emulator, f"/v1/models?limit=20&before_id={page['first_id']}").json()
    assert page["data"] == everything["data"][:-5]
    assert not page["has_more"]


def test_a_page_after_the_last_model_is_empty(emulator: Emulator) -> None:
    last = get(emulator, "/v1/models").json()["last_id"]
    page = get(emulator, f"/v1/models?after_id={last}").json()
    assert page == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "after_id=nobody", "before_id=nobody"])
def test_a_wrong_page_is_refused(emulator: Emulator, query: str) -> None:
    response = get(emulator, f"/v1/models?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(query.partition("=")[0])


def test_a_model_is_found_or_not(emulator: Emulator) -> None:
    assert get(emulator, "/v1/models/claude-sonnet-5").json()["display_name"] == "Claude Sonnet 5"
    missing = get(emulator, "/v1/models/claude-0")
    assert missing.status_code == 404
    assert missing.json()["error"]["message"] == "model: claude-0"


# Recorded requests


def test_it_notes_its_requests_and_hides_their_key(emulator: Emulator) -> None:
    body = asked(stream=True)
    post(emulator, body, path="/v1/messages?beta=true")
    get(emulator, "/v1/models")
    first, second = emulator.wait_for_requests(2, DEADLINE)
    assert (first.method, first.path, first.query, first.body) == ("POST", "/v1/messages", {"beta": "true"}, body)
    assert first.stream
    assert first.headers["x-api-key"] == HEADERS["x-api-key"]
    assert HEADERS["x-api-key"] not in repr(first)
    assert (second.method, second.body, second.stream) == ("GET", None, False)


def test_no_secret_header_is_shown() -> None:
    shown = repr(Headers({"authorization": "Bearer sk", "accept": "*/*"}))
    assert shown == "Headers({'authorization': '...', 'accept': '*/*'})"


def test_a_wait_ends_after_its_timeout(emulator: Emulator) -> None:
    with pytest.raises(TimeoutError, match=r"0 of 1 requests after 0\.01 s"):
        emulator.wait_for_requests(timeout=0.01)
    with pytest.raises(TimeoutError, match=r"0 of 2 hang-ups after 0\.01 s"):
        emulator.wait_for_hangups(2, timeout=0.01)


def test_a_type_without_a_status_is_a_500() -> None:
    assert as_status("strange_error", None).status == 500


# Starting and stopping


def test_it_is_started_once(emulator: Emulator) -> None:
    with pytest.raises(RuntimeError, match="started only once"):
        emulator.start()


def test_what_has_not_been_started_has_no_address() -> None:
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = emulator.url
    with pytest.raises(RuntimeError, match="not been started"):
        emulator.release()
    emulator.stop()


def test_an_address_that_is_taken_is_an_error(emulator: Emulator) -> None:
    port = int(emulator.url.rsplit(":", maxsplit=1)[1])
    with pytest.raises(OSError, match="in use"):
        Emulator(port=port).start()


def test_stopping_twice_is_stopping() -> None:
    emulator = Emulator().start()
    assert not emulator.wait(timeout=0)
    emulator.stop()
    emulator.stop()
    assert emulator.wait(timeout=0)
    with pytest.raises(RuntimeError):
        emulator.release()
    with pytest.raises(requests.ConnectionError):
        post(emulator, asked())


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
def test_it_speaks_ipv6() -> None:
    try:
        emulator = Emulator(host="::1").start()
    except OSError as exc:
        pytest.skip(f"no IPv6 loopback: {exc}")
    with_brackets = emulator.url
    try:
        assert with_brackets.startswith("http://[::1]:")
        assert post(emulator, asked()).status_code == 200
    finally:
        emulator.stop()


def test_a_busy_handler_is_waited_for_in_bounds() -> None:
    called, done = threading.Event(), threading.Event()

    def slow(_: Request) -> Answer:
        called.set()
        done.wait(DEADLINE)
        return None

    emulator = Emulator(handler=slow).start()
    with connected(emulator) as client:
        body = json.dumps(asked()).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        client.sendall(
            f"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{head}"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert called.wait(DEADLINE)
        with pytest.raises(TimeoutError, match="still busy"):
            emulator.stop(timeout=0.01)
    done.set()
    emulator.stop()


def test_serving_ends_when_it_is_stopped_or_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []

    def started(emulator: Emulator) -> None:
        urls.append(emulator.url)
        emulator.stop()

    serve(started=started)
    assert urls[0].startswith("http://127.0.0.1:")

    def interrupted(_: Emulator) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Emulator, "wait", interrupted)
    serve()


def test_importing_the_package_imports_no_emulator_and_the_plugin_no_server() -> None:
    code = (
        "import sys, anthropix_actors; assert 'anthropix_actors.emulator' not in sys.modules\n"
        "import anthropix_actors.emulator.pytest_plugin\n"
        "names = {name for name in sys.modules if name.startswith('anthropix_actors.emulator')}\n"
        "assert names == {'anthropix_actors.emulator', 'anthropix_actors.emulator.pytest_plugin'}, names\n"
        "assert not {'starlette', 'uvicorn', 'h11'} & set(sys.modules)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-P", "-c", code], env=environment, timeout=60, check=True)


@pytest.mark.parametrize("missing", ["starlette.applications", "uvicorn"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for module in ("server", "_api.app", "_api.server_thread"):
        monkeypatch.delitem(sys.modules, f"anthropix_actors.emulator.{module}")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"needs (starlette|uvicorn): pip install python-multipart "):
        _ = anthropix_actors.emulator.Emulator


def test_another_missing_module_is_named_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropix_actors.emulator.answers", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        _ = anthropix_actors.emulator.Status
    assert caught.value.name == "anthropix_actors.emulator.answers"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Simulator'"):
        _ = anthropix_actors.emulator.Simulator


def test_pytest_has_the_fixture(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("""
        def test_one(anthropix_emulator):
            assert anthropix_emulator.url.startswith("http://127.0.0.1:")
    """)
    pytester.runpytest_inprocess("-p", "anthropix_actors.emulator.pytest_plugin").assert_outcomes(passed=1)


def test_a_tool_call_alone_is_an_answer(emulator: Emulator) -> None:
    emulator.queue(ToolCall("weather", {"city": "Bergen"}))
    said = post(emulator, asked()).json()
    assert said["stop_reason"] == "tool_use"
    assert [(block["type"], block["input"]) for block in said["content"]] == [("tool_use", {"city": "Bergen"})]


def test_an_emulator_that_gets_no_thread_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    emulator = Emulator()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)  # as in a process that has used up its threads
        with pytest.raises(RuntimeError, match="can't start new thread"):
            emulator.start()
    gc.collect()
    assert not recwarn.list
    with emulator:
        assert post(emulator, asked()).status_code == 200


def test_stopping_while_clients_connect_loses_no_connection(recwarn: pytest.WarningsRecorder) -> None:
    for _ in range(5):
        emulator = Emulator().start()
        address = ("127.0.0.1", int(emulator.url.rpartition(":")[2]))
        clients = [socket.create_connection(address, timeout=10) for _ in range(100)]
        emulator.stop()
        for client in clients:
            client.close()
        gc.collect()  # would find a lost connection, and its warning would fail this test
    assert not recwarn.list


FORKED = """
import os, sys, threading
from anthropix_actors.emulator import Emulator

with Emulator() as emulator:
    held, let = threading.Event(), threading.Event()

    def hold():
        with emulator._state._changed:
            held.set()
            let.wait()

    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    if os.fork() == 0:
        sys.exit(3)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
    let.set()
"""


def test_a_forked_child_leaves_the_emulator_of_its_parent_alone(programs: Programs) -> None:
    running = programs.run([sys.executable, "-W", "ignore", "-c", FORKED])
    assert running.communicate(timeout=2 * DEADLINE) == ("3\n", "")


@pytest.mark.parametrize("given", [{"name": "\ud800"}, {"name": "look", "input": {"a": ["\ud800"]}}])
def test_a_call_that_is_no_json_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="expected text that UTF-8 can encode, got half of a surrogate pair"):
        ToolCall(**given)
