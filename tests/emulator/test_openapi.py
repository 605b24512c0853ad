from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from anthropix_actors.emulator import (
    Emulator,
    ErrorEvent,
    PauseTurn,
    Refusal,
    Reply,
    Status,
    Thinking,
    ToolCall,
    recording,
    recordings,
)
from anthropix_actors.emulator._model.events import accumulate, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator import Answer

jsonschema: Any = pytest.importorskip("jsonschema")

DEADLINE = 20.0
SPEC = Path(__file__).parents[3] / "shared" / "openapi" / "anthropic-core.json"
HEADERS = {"x-api-key": "sk-ant-api03-secret", "anthropic-version": "2023-06-01"}
TOOL: dict[str, Any] = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"the API's description is not there: {SPEC}")
CLOSED: dict[str, Any] = {**TOOL["input_schema"], "additionalProperties": False}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(SPEC.read_bytes())
    return described


def check(value: object, name: str, spec: dict[str, Any]) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def asked(**more: Any) -> dict[str, Any]:
    body = {"model": "claude-sonnet-5", "max_tokens": 2000, "messages": [{"role": "user", "content": "Hi"}]}
    return body | more


def post(emulator: Emulator, body: object, path: str = "/v1/messages", **headers: str) -> requests.Response:
    return requests.post(emulator.url + path, headers=HEADERS | headers, json=body, timeout=DEADLINE)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"max_tokens": 0},
        {"max_tokens": 4},
        {"stop_sequences": ["the"]},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}},
    ],
)
def test_messages_are_as_described(emulator: Emulator, spec: dict[str, Any], more: dict[str, Any]) -> None:
    check(asked(**more), "CreateMessageParams", spec)
    response = post(emulator, asked(**more))
    assert response.status_code == 200
    check(response.json(), "Message", spec)
    streamed = post(emulator, asked(stream=True, **more))
    check(accumulate(decode(streamed.content)), "Message", spec)


def test_scripted_messages_are_as_described(emulator: Emulator, spec: dict[str, Any]) -> None:
    emulator.queue("Hi.", Reply([Thinking("Hm."), "Hi.", ToolCall("get_weather", {"city": "Bergen"})]))
    check(post(emulator, asked()).json(), "Message", spec)
    check(post(emulator, asked()).json(), "Message", spec)


@pytest.mark.parametrize(
    "answer", [PauseTurn(), Refusal("cyber"), Refusal(None, None, ["Well, "]), ToolCall("get_weather", {"a": 1}, cut=2)]
)
def test_answers_that_end_early_are_as_described(emulator: Emulator, spec: dict[str, Any], answer: Answer) -> None:
    emulator.queue(answer, answer)
    whole = post(emulator, asked()).json()
    check(whole, "Message", spec)
    streamed = accumulate(decode(post(emulator, asked(stream=True)).content))
    check(streamed, "Message", spec)
    assert streamed["stop_details"] == whole["stop_details"]


@pytest.mark.parametrize("name", recordings())
def test_recordings_are_as_described(spec: dict[str, Any], name: str) -> None:
    check(accumulate(decode(recording(name))), "Message", spec)


def test_counts_are_as_described(emulator: Emulator, spec: dict[str, Any]) -> None:
    body = asked()
    del body["max_tokens"]
    check(post(emulator, body, "/v1/messages/count_tokens").json(), "CountMessageTokensResponse", spec)


def test_models_are_as_described(emulator: Emulator, spec: dict[str, Any]) -> None:
    page = requests.get(emulator.url + "/v1/models?limit=3", headers=HEADERS, timeout=DEADLINE).json()
    check(page, "ListResponse_ModelInfo_", spec)
    url = f"{emulator.url}/v1/models/{page['first_id']}"
    check(requests.get(url, headers=HEADERS, timeout=DEADLINE).json(), "ModelInfo", spec)


def test_batches_are_as_described(emulator: Emulator, spec: dict[str, Any]) -> None:
    path = "/v1/messages/batches"
    emulator.queue(None, Status(529), {"type": "expired"})
    body = {"requests": [{"custom_id": each, "params": asked()} for each in "abc"]}
    check(body, "CreateMessageBatchParams", spec)
    created = post(emulator, body, path)
    check(created.json(), "MessageBatch", spec)
    path += "/" + created.json()["id"]
    ended = requests.get(emulator.url + path, headers=HEADERS, timeout=DEADLINE).json()
    check(ended, "MessageBatch", spec)
    lines = requests.get(ended["results_url"], headers=HEADERS, timeout=DEADLINE).content.splitlines()
    kinds = [json.loads(line)["result"]["type"] for line in lines]
    assert kinds == ["succeeded", "errored", "expired"]
    for line in lines:
        check(json.loads(line), "MessageBatchIndividualResponse", spec)
    page = requests.get(emulator.url + "/v1/messages/batches", headers=HEADERS, timeout=DEADLINE).json()
    check(page, "ListResponse_MessageBatch_", spec)
    deleted = requests.delete(emulator.url + path, headers=HEADERS, timeout=DEADLINE).json()
    check(deleted, "DeleteMessageBatchResponse", spec)


def test_canceled_batches_are_as_described(spec: dict[str, Any]) -> None:
    path = "/v1/messages/batches"
    with Emulator(batch_polls=2) as emulator:
        batch = post(emulator, {"requests": [{"custom_id": "a", "params": asked()}]}, path).json()
        path += "/" + batch["id"]
        refusals = [
            requests.get(emulator.url + path + "/results", headers=HEADERS, timeout=DEADLINE),
            requests.delete(emulator.url + path, headers=HEADERS, timeout=DEADLINE),
        ]
        check(post(emulator, None, path + "/cancel").json(), "MessageBatch", spec)
        check(requests.get(emulator.url + path, headers=HEADERS, timeout=DEADLINE).json(), "MessageBatch", spec)
        (line,) = requests.get(emulator.url + path + "/results", headers=HEADERS, timeout=DEADLINE).content.splitlines()
        check(json.loads(line), "MessageBatchIndividualResponse", spec)
        refusals += [post(emulator, None, path + "/cancel"), post(emulator, {}, "/v1/messages/batches")]
    assert [response.status_code for response in refusals] == [404, 400, 400, 400]
    for response in refusals:
        check(response.json(), "ErrorResponse", spec)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 422, 429, 500, 502, 503, 504, 529])
def test_errors_are_as_described(emulator: Emulator, spec: dict[str, Any], status: int) -> None:
    emulator.queue(Status(status))
    check(post(emulator, asked()).json(), "ErrorResponse", spec)


def test_refusals_are_as_described(emulator: Emulator, spec: dict[str, Any]) -> None:
    refusals = [
        post(emulator, asked(), **{"x-api-key": ""}),
        post(emulator, asked(), **{"anthropic-version": "never"}),
        post(emulator, asked(foo=1)),
        post(emulator, {}),
        post(emulator, asked(), "/v1/nothing"),
        requests.get(emulator.url + "/v1/messages", timeout=DEADLINE),
        requests.get(emulator.url + "/v1/models/none", headers=HEADERS, timeout=DEADLINE),
    ]
    assert [response.status_code for response in refusals] == [401, 400, 400, 400, 404, 405, 404]
    for response in refusals:
        check(response.json(), "ErrorResponse", spec)


def test_an_error_event_is_as_described(emulator: Emulator, spec: dict[str, Any]) -> None:
    emulator.queue(ErrorEvent())
    *_, error = decode(post(emulator, asked(stream=True)).content)
    check(error, "ErrorResponse", spec)
