from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors.emulator import (
    Cut,
    Drop,
    Emulator,
    ErrorEvent,
    Raw,
    Reply,
    Request,
    Reset,
    Stall,
    Status,
    ToolCall,
    recording,
)
from anthropix_actors.emulator._api.batch import BatchSchedule
from anthropix_actors.emulator._api.pages import page_by_cursor, page_by_id, query_values
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.events import message_events

from servers import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator import Answer

DEADLINE = 20.0
HEADERS = {"x-api-key": "sk-ant-api03-secret", "anthropic-version": "2023-06-01"}
PATH = "/v1/messages/batches"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def params(prompt: str = "Why is the sky blue?", **more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5", "max_tokens": 1000, "messages": [{"role": "user", "content": prompt}], **more}


def asked(*custom_ids: str) -> dict[str, Any]:
    return {"requests": [{"custom_id": each, "params": params(each)} for each in custom_ids]}


def send(emulator: Emulator, method: str, path: str, body: object = None, **more: Any) -> requests.Response:
    return requests.request(method, emulator.url + path, headers=HEADERS, json=body, timeout=DEADLINE, **more)


def create(emulator: Emulator, *custom_ids: str) -> dict[str, Any]:
    response = send(emulator, "POST", PATH, asked(*custom_ids))
    assert response.status_code == 200, response.text
    batch: dict[str, Any] = response.json()
    return batch


def retrieve(emulator: Emulator, batch: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = send(emulator, "GET", f"{PATH}/{batch['id']}").json()
    return shown


def cancel(emulator: Emulator, batch: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = send(emulator, "POST", f"{PATH}/{batch['id']}/cancel").json()
    return shown


def results(emulator: Emulator, batch: dict[str, Any]) -> dict[str, dict[str, Any]]:
    response = send(emulator, "GET", f"{PATH}/{batch['id']}/results")
    assert response.status_code == 200, response.text
    lines = [json.loads(line) for line in response.content.splitlines()]
    return {line["custom_id"]: line["result"] for line in lines}


def counts(**some: int) -> dict[str, int]:
    return {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0} | some


def text(result: dict[str, Any]) -> str:
    said: str = result["message"]["content"][0]["text"]
    return said


# Life cycle


def test_a_batch_is_in_progress_and_then_has_ended(emulator: Emulator) -> None:
    created = create(emulator, "a", "b")
    assert re.fullmatch(r"msgbatch_01\w{22}", created["id"])
    assert created == {
        "id": created["id"],
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": counts(processing=2),
        "ended_at": None,
        "created_at": created["created_at"],
        "expires_at": created["expires_at"],
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None,
    }
    ended = retrieve(emulator, created)
    assert ended["processing_status"] == "ended"
    assert ended["request_counts"] == counts(succeeded=2)
    assert ended["ended_at"] > created["created_at"]
    assert retrieve(emulator, created) == ended


def test_its_objects_have_the_keys_of_the_apis_own(emulator: Emulator, corpus: Path) -> None:
    recorded = [json.loads(path.read_text()) for path in (corpus / "batches").glob("*.json")]
    created = create(emulator, "a")
    assert {tuple(batch) for batch in recorded} == {tuple(created)}
    assert {tuple(batch["request_counts"]) for batch in recorded} == {tuple(created["request_counts"])}
    lines = [line for path in (corpus / "batches").glob("*.jsonl") for line in path.read_text().splitlines()]
    result = results(emulator, created)["a"]
    for line in map(json.loads, lines):
        assert line["result"].keys() == result.keys()
        assert line["result"]["message"].keys() == result["message"].keys()
        assert line["result"]["message"]["usage"].keys() <= result["message"]["usage"].keys()
        assert line["result"]["message"]["usage"]["service_tier"] == result["message"]["usage"]["service_tier"]


def test_results_are_where_the_client_has_found_the_emulator(emulator: Emulator) -> None:
    created = create(emulator, "a")
    host = emulator.url.replace("127.0.0.1", "localhost").removeprefix("http://")
    response = requests.get(
        f"{emulator.url}{PATH}/{created['id']}", headers={**HEADERS, "host": host}, timeout=DEADLINE
    )
    assert response.json()["results_url"] == f"http://{host}{PATH}/{created['id']}/results"
    url = retrieve(emulator, created)["results_url"]
    assert url == f"{emulator.url}{PATH}/{created['id']}/results"
    assert requests.get(url, headers=HEADERS, timeout=DEADLINE).headers["content-type"] == "application/x-jsonl"


@pytest.mark.parametrize(
    ("forwarded", "scheme"),
    [("https", "https"), ("HTTPS, http", "https"), ("http", "http"), ("ws", "http"), ("", "http")],
)
def test_results_are_where_a_proxy_that_decrypts_is(emulator: Emulator, forwarded: str, scheme: str) -> None:
    created = create(emulator, "a")
    headers = {**HEADERS, "host": "localhost:8443", "x-forwarded-proto": forwarded}
    shown = requests.get(f"{emulator.url}{PATH}/{created['id']}", headers=headers, timeout=DEADLINE).json()
    assert shown["results_url"] == f"{scheme}://localhost:8443{PATH}/{created['id']}/results"
    assert {
        each["results_url"]
        for each in requests.get(f"{emulator.url}{PATH}", headers=headers, timeout=DEADLINE).json()["data"]
    } == {shown["results_url"]}


def test_a_batch_ends_when_it_is_retrieved_often_enough() -> None:
    with Emulator(batch_polls=3) as emulator:
        created = create(emulator, "a", "b", "c", "d")
        assert send(emulator, "GET", PATH).json()["data"] == [created]
        shown = [retrieve(emulator, created) for _ in range(3)]
        assert [each["processing_status"] for each in shown] == ["in_progress", "in_progress", "ended"]
        assert [each["request_counts"] for each in shown] == [
            counts(processing=4),
            counts(processing=4),
            counts(succeeded=4),
        ]


def test_a_batch_ends_after_its_time() -> None:
    with Emulator(batch_seconds=0.1) as emulator:
        created = create(emulator, *map(str, range(100)))
        shown = [created]

        def ended() -> bool:
            shown.append(retrieve(emulator, created))
            return bool(shown[-1]["processing_status"] == "ended")

        until(ended)
        left = [each["request_counts"]["processing"] for each in shown]
        assert left == sorted(left, reverse=True)
        assert all(sum(each["request_counts"].values()) == 100 for each in shown)
        refused = send(emulator, "POST", f"{PATH}/{created['id']}/cancel")
        assert refused.status_code == 400
        assert "has ended" in refused.json()["error"]["message"]


def test_what_is_not_done_when_it_is_canceled_is_canceled() -> None:
    with Emulator(batch_polls=2) as emulator:
        created = create(emulator, "a", "b")
        retrieve(emulator, created)
        canceling = cancel(emulator, created)
        assert canceling["processing_status"] == "canceling"
        assert canceling["cancel_initiated_at"] > created["created_at"]
        assert canceling["request_counts"] == counts(processing=2)
        assert cancel(emulator, created) == canceling
        ended = retrieve(emulator, created)
        assert ended["processing_status"] == "ended"
        assert ended["request_counts"] == counts(succeeded=1, canceled=1)
        assert ended["cancel_initiated_at"] == canceling["cancel_initiated_at"]
        found = results(emulator, created)
        assert (found["a"]["type"], found["b"]) == ("succeeded", {"type": "canceled"})


def test_a_batch_that_nobody_has_seen_end_can_be_canceled_as_a_whole(emulator: Emulator) -> None:
    created = create(emulator, "a", "b")
    assert cancel(emulator, created)["processing_status"] == "canceling"
    assert retrieve(emulator, created)["request_counts"] == counts(canceled=2)


def test_a_batch_with_time_left_is_canceled_with_what_it_has_done() -> None:
    with Emulator(batch_seconds=3600) as emulator:
        created = create(emulator, "a")
        assert cancel(emulator, created)["request_counts"] == counts(processing=1)
        assert results(emulator, created) == {"a": {"type": "canceled"}}


def test_only_a_batch_that_has_ended_has_results_and_can_be_deleted() -> None:
    with Emulator(batch_polls=1) as emulator:
        created = create(emulator, "a")
        path = f"{PATH}/{created['id']}"
        early = send(emulator, "GET", path + "/results")
        assert (early.status_code, early.json()["error"]["type"]) == (404, "not_found_error")
        early = send(emulator, "DELETE", path)
        assert (early.status_code, early.json()["error"]["type"]) == (400, "invalid_request_error")
        retrieve(emulator, created)
        assert send(emulator, "DELETE", path).json() == {"id": created["id"], "type": "message_batch_deleted"}
        assert send(emulator, "GET", path).status_code == 404


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/results")])
def test_a_batch_that_is_not_there_is_not_found(emulator: Emulator, method: str, end: str) -> None:
    response = send(emulator, method, f"{PATH}/msgbatch_1{end}")
    assert response.status_code == 404
    assert response.json()["error"] == {
        "details": None,
        "type": "not_found_error",
        "message": "message_batch: msgbatch_1",
    }


def test_batches_are_listed_page_by_page_the_newest_first(emulator: Emulator) -> None:
    made = [create(emulator, "a")["id"] for _ in range(5)][::-1]
    page = send(emulator, "GET", f"{PATH}?limit=3").json()
    assert [batch["id"] for batch in page["data"]] == made[:3]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, made[0], made[2])
    assert {batch["processing_status"] for batch in page["data"]} == {"ended"}
    page = send(emulator, "GET", f"{PATH}?limit=3&after_id={page['last_id']}").json()
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (made[3:], False)
    page = send(emulator, "GET", f"{PATH}?limit=3&before_id={made[3]}").json()
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (made[:3], False)
    wrong = send(emulator, "GET", f"{PATH}?after_id=msgbatch_1")
    assert wrong.status_code == 400
    assert wrong.json()["error"]["message"] == "after_id: no such message batch: msgbatch_1"


# Results


def test_requests_are_answered_as_chats_without_a_stream_are(emulator: Emulator) -> None:
    tool = {"name": "clock", "input_schema": {"type": "object"}}
    body = asked("a", "b")
    body["requests"][1]["params"] |= {"tools": [tool], "tool_choice": {"type": "any"}}
    batch = send(emulator, "POST", PATH, body).json()
    found = results(emulator, batch)
    assert text(found["a"]).startswith('You said: "a". This is the emulator')
    assert found["a"]["message"]["usage"]["service_tier"] == "batch"
    assert found["b"]["message"]["content"][0]["name"] == "clock"
    assert results(emulator, batch) == found


def test_requests_take_answers_from_the_queue_and_then_the_handler_is_asked() -> None:
    seen: list[Request] = []

    def rules(request: Request) -> Answer:
        seen.append(request)
        return None if request.custom_id == "d" else Status(529)

    with Emulator(handler=rules) as emulator:
        emulator.queue("one", {"type": "expired"})
        batch = create(emulator, "a", "b", "c", "d")
        assert retrieve(emulator, batch)["request_counts"] == counts(succeeded=2, expired=1, errored=1)
        found = results(emulator, batch)
        assert text(found["a"]) == "one"
        assert found["b"] == {"type": "expired"}
        assert found["c"]["error"]["error"]["type"] == "overloaded_error"
        assert "emulator" in text(found["d"])
        assert [(each.path, each.custom_id) for each in seen] == [("/v1/messages", "c"), ("/v1/messages", "d")]
        assert seen[0].body == params("c")
        assert seen[0].headers["x-api-key"] == HEADERS["x-api-key"]
        assert len(emulator.requests) == 3
        assert emulator.requests[0].custom_id is None


def test_every_kind_of_answer_is_a_result(emulator: Emulator) -> None:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": {}}
    emulator.queue(
        ToolCall("clock"),
        Reply(["Hi."], usage={"service_tier": "priority"}),
        message,
        recording("actors"),
        iter([*message_events(message | {"stop_reason": "end_turn"})]),
        iter([{"type": "error", "error": {"type": "rate_limit_error", "message": "Enough."}}]),
        Raw(b'"odd"'),
        Raw(b'{"odd":1}', status=404),
        Drop("Hello."),
        ErrorEvent("Hello.", "billing_error", "Pay."),
        Path("no.recording"),
    )
    batch = create(emulator, *"abcdefghijk")
    assert retrieve(emulator, batch)["request_counts"] == counts(succeeded=7, errored=4)
    found = results(emulator, batch)
    assert found["a"]["message"]["stop_reason"] == "tool_use"
    assert found["b"]["message"]["usage"]["service_tier"] == "priority"
    assert found["c"] == {"type": "succeeded", "message": message}
    assert "actor" in text(found["d"])
    assert found["e"]["message"]["stop_reason"] == "end_turn"
    assert found["f"]["error"]["error"]["type"] == "rate_limit_error"
    assert found["g"] == {"type": "succeeded", "message": "odd"}
    assert found["h"] == {"type": "errored", "error": {"odd": 1}}
    assert text(found["i"]) == "Hello."
    assert found["j"]["error"]["error"] == {"details": None, "type": "billing_error", "message": "Pay."}
    assert found["k"]["error"]["error"]["type"] == "api_error"
    assert results(emulator, batch) == found


@pytest.mark.parametrize("error", [LookupError("no idea"), SystemExit("no idea"), KeyboardInterrupt("no idea")])
def test_a_handler_that_raises_is_an_error_of_its_request_alone(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def rules(request: Request) -> Answer:
        if request.custom_id == "a":
            raise error
        return "Hello."

    with Emulator(handler=rules) as emulator:
        batch = create(emulator, "a", "b")
        found = results(emulator, batch)
    assert "no idea" in found["a"]["error"]["error"]["message"]
    assert text(found["b"]) == "Hello."
    assert f"no answer for a in {batch['id']}" in caplog.text


def test_many_requests_are_answered_one_by_one(emulator: Emulator) -> None:
    batch = create(emulator, *map(str, range(2000)))
    with send(emulator, "GET", f"{PATH}/{batch['id']}/results", stream=True) as response:
        assert response.headers["transfer-encoding"] == "chunked"
        assert [json.loads(line)["custom_id"] for line in response.iter_lines()] == list(map(str, range(2000)))


# Refusals


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "The request body is not valid JSON: an object was expected"),
        ({}, "requests: Field required"),
        ({"requests": [], "more": 1}, "more: Extra inputs are not permitted"),
        ({"requests": {}}, "requests: Input should be a valid list"),
        ({"requests": []}, "requests: List should have 1 to 100000 items, not 0"),
        ({"requests": [1]}, "requests.0: Input should be an object"),
        ({"requests": [{"params": {}}]}, "requests.0.custom_id: Field required"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{"custom_id": 1, "params": {}}]}, "requests.0.custom_id: String should match pattern"),
        ({"requests": [{"custom_id": "a b", "params": {}}]}, "requests.0.custom_id: String should match pattern"),
        ({"requests": [{"custom_id": "a" * 65, "params": {}}]}, "requests.0.custom_id: String should match pattern"),
        ({"requests": [{"custom_id": "a\n", "params": {}}]}, "requests.0.custom_id: String should match pattern"),
        ({"requests": [{"custom_id": "a", "params": 1}]}, "requests.0.params: Input should be an object"),
        (asked("a", "b", "a"), "requests.2.custom_id: a is used twice"),
        ({"requests": [*asked("a")["requests"], {"custom_id": "b"}]}, "requests.1.params: Field required"),
        ({"requests": [{**asked("a")["requests"][0], "x": 1}]}, "requests.0.x: Extra inputs are not permitted"),
    ],
)
def test_bad_batches_are_refused(emulator: Emulator, body: object, said: str) -> None:
    response = send(emulator, "POST", PATH, body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert said in response.json()["error"]["message"]
    assert send(emulator, "GET", PATH).json() == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "model: Field required"),
        (params(stream=True), "stream: Extra inputs are not permitted"),
        (params(messages=[{"role": "user", "content": 1}]), "messages.0.content: "),
        (params(temperature=1), "temperature: "),
    ],
)
def test_what_is_wrong_with_a_request_is_told_by_its_result(
    emulator: Emulator, wrong: dict[str, Any], said: str
) -> None:
    body = {"requests": [{"custom_id": "a", "params": wrong}, {"custom_id": "b", "params": params(stream=False)}]}
    headers = HEADERS | {"anthropic-version": "2026-10-21"}
    made = requests.post(emulator.url + PATH, headers=headers, json=body, timeout=DEADLINE).json()
    assert send(emulator, "GET", f"{PATH}/{made['id']}").json()["request_counts"]["errored"] == 1
    found = results(emulator, made)
    assert found["a"]["type"] == "errored"
    assert found["a"]["error"]["error"]["type"] == "invalid_request_error"
    assert found["a"]["error"]["error"]["message"].startswith(said)
    assert found["b"]["type"] == "succeeded"


def test_a_request_of_a_batch_is_never_streamed() -> None:
    with Emulator(without={"batch-stream"}) as emulator:
        made = send(emulator, "POST", PATH, {"requests": [{"custom_id": "a", "params": params(stream=True)}]}).json()
        assert results(emulator, made)["a"]["type"] == "succeeded"


def test_more_than_a_hundred_thousand_requests_are_too_many(emulator: Emulator) -> None:
    response = send(emulator, "POST", PATH, {"requests": [0] * 100_001})
    assert response.json()["error"]["message"] == "requests: List should have 1 to 100000 items, not 100001"


def test_a_batch_may_be_larger_than_a_chat(emulator: Emulator) -> None:
    body = {"requests": [{"custom_id": "a", "params": params("x" * (33 << 20))}]}
    assert send(emulator, "POST", PATH, body).status_code == 200
    refused = requests.post(
        emulator.url + PATH, headers={**HEADERS, "content-length": str((256 << 20) + 1)}, timeout=DEADLINE
    )
    assert refused.status_code == 413
    assert refused.json()["error"]["message"] == "Request exceeds the maximum size of 256 MB"


@pytest.mark.parametrize("options", [{"batch_seconds": -1}, {"batch_polls": -1}])
def test_a_batch_ends_after_its_creation(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="batch_seconds and batch_polls must be 0 or more"):
        Emulator(**options)


# Faults


@pytest.mark.parametrize("fault", [Drop, Reset])
def test_results_are_cut_after_so_many_bytes(emulator: Emulator, fault: type[Drop | Reset]) -> None:
    batch = create(emulator, "a", "b", "c")
    path = f"{PATH}/{batch['id']}/results"
    whole = send(emulator, "GET", path).content
    emulator.queue(fault(after_bytes=1000), path=path)
    response = send(emulator, "GET", path, stream=True)
    received = b""
    with pytest.raises(requests.RequestException):
        for chunk in response.iter_content(1):
            received += chunk
    assert received == whole[:1000] if fault is Drop else whole.startswith(received)
    assert send(emulator, "GET", path).content == whole


def test_results_are_cut_after_so_many_lines(emulator: Emulator) -> None:
    batch = create(emulator, "a", "b", "c")
    path = f"{PATH}/{batch['id']}/results"
    emulator.queue(Cut(Drop(after_events=2), every=7), path=path)
    response = send(emulator, "GET", path, stream=True)
    received: list[bytes] = []
    with pytest.raises(requests.RequestException):
        received.extend(response.iter_lines())
    assert [json.loads(line)["custom_id"] for line in received] == ["a", "b"]


def test_stalled_results_go_on_when_they_are_released(emulator: Emulator) -> None:
    batch = create(emulator, "a", "b")
    path = f"{PATH}/{batch['id']}/results"
    emulator.queue(Stall(after_events=1), path=path)
    with send(emulator, "GET", path, stream=True) as response:
        lines = response.iter_lines()
        assert json.loads(next(lines))["custom_id"] == "a"
        emulator.release()
        assert json.loads(next(lines))["custom_id"] == "b"


def test_a_batch_is_made_even_if_its_client_never_hears_of_it(emulator: Emulator) -> None:
    emulator.queue(Drop(), path=PATH)
    with pytest.raises(requests.ConnectionError):
        create(emulator, "a")
    assert len(send(emulator, "GET", PATH).json()["data"]) == 1


def test_an_error_event_is_a_status_where_there_is_no_stream(emulator: Emulator) -> None:
    emulator.queue(ErrorEvent(), None, path=PATH)
    response = send(emulator, "POST", PATH, asked("a"))
    assert (response.status_code, response.json()["error"]["type"]) == (529, "overloaded_error")
    assert send(emulator, "GET", PATH).json()["data"] == []


def test_a_fault_happens_to_a_refusal_too(emulator: Emulator) -> None:
    emulator.queue(Cut(every=1), path=PATH)
    assert send(emulator, "POST", PATH, {}).status_code == 400


def test_a_stranger_takes_no_scripted_answer(emulator: Emulator) -> None:
    emulator.queue({"id": "msgbatch_1"}, path=PATH)
    assert requests.get(emulator.url + PATH, timeout=DEADLINE).status_code == 401
    assert send(emulator, "GET", PATH).json() == {"id": "msgbatch_1"}


# Pure functions


@given(st.floats(0, 10), st.integers(0, 10), st.floats(0, 20), st.integers(0, 20), st.floats(0, 5))
def test_progress_grows_from_nothing_to_one(
    seconds: float, polls: int, passed: float, polled: int, more: float
) -> None:
    schedule = BatchSchedule(seconds, polls)
    progress = schedule.progress(passed, polled)
    assert 0 <= progress <= schedule.progress(passed + more, polled + 1) <= 1
    assert (progress == 1) == (passed >= seconds and polled >= polls)


@given(st.lists(st.text(max_size=3), unique=True, max_size=30), st.integers(1, 10))
def test_walking_the_pages_by_id_finds_everything_once_in_both_directions(ids: list[str], limit: int) -> None:
    def page(**query: str) -> dict[str, Any]:
        return page_by_id({"limit": str(limit), **query}, ids, lambda name: {"id": name}, "letter")

    found = page()
    walked = found["data"]
    while found["has_more"]:
        found = page(after_id=found["last_id"])
        walked += found["data"]
    assert [each["id"] for each in walked] == ids
    if ids:
        found = page(before_id=ids[-1])
        walked = found["data"]
        while found["has_more"]:
            found = page(before_id=found["first_id"])
            walked = found["data"] + walked
        assert [each["id"] for each in walked] == ids[:-1]


@given(st.sets(st.integers(0, 200)), st.integers(1, 10), st.booleans(), st.randoms(use_true_random=False))
def test_walking_the_pages_by_cursor_finds_everything_that_stays_once(
    numbers: set[int],
    limit: int,
    falling: bool,  # noqa: FBT001
    random: Any,
) -> None:
    left = set(numbers)
    walked: list[int] = []
    gone: set[int] = set()
    query = {"limit": str(limit)}
    while True:
        found, cursor = page_by_cursor(query, sorted(left, reverse=falling), descending=falling)
        walked += found
        if cursor is None:
            break
        query["page"] = cursor
        lost = random.choice(sorted(left))
        left.discard(lost)
        gone.add(lost)
    assert walked == sorted(set(walked), reverse=falling)
    assert numbers - gone <= set(walked) <= numbers


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"limit": "0"}, "limit: "),
        ({"limit": "x"}, "limit: "),
        ({"limit": "1001"}, "limit: "),
        ({"page": "x"}, "page: "),
    ],
)
def test_wrong_pages_are_refused(query: dict[str, str], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        page_by_cursor(query, [1])


def test_a_parameter_may_have_several_values() -> None:
    assert query_values({"types": "a,b", "types[]": "c", "type": "d"}, "types") == ["a", "b", "c"]
    assert query_values({}, "types") == []
