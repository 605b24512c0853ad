from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest
import requests

from anthropix_actors.emulator import Cut, Drop, Emulator, ErrorEvent, Stall, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 20.0
HEADERS = {
    "x-api-key": "sk-ant-api03-secret",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "files-api-2025-04-14, managed-agents-2026-04-01",
}
PATH = "/v1/sessions/sesn_1/events"
RUNNING = {"type": "session.status_running"}
IDLE = {"type": "session.status_idle", "stop_reason": {"type": "end_turn"}}
HELLO = {"type": "user.message", "content": [{"type": "text", "text": "Hello"}]}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "agent.message", "content": [{"type": "text", "text": text}], **more}


def start(event_id: str, kind: str = "agent.message") -> dict[str, Any]:
    return {"type": "event_start", "event": {"type": kind, "id": event_id}}


def delta(event_id: str, text: str) -> dict[str, Any]:
    content = {"type": "content_delta", "index": 0, "content": {"type": "text", "text": text}}
    return {"type": "event_delta", "event_id": event_id, "delta": content}


def send(emulator: Emulator, method: str = "GET", path: str = PATH, **more: Any) -> requests.Response:
    more = {"headers": HEADERS, "timeout": DEADLINE, **more}
    return requests.request(method, emulator.url + path, **more)


def events(emulator: Emulator, path: str = PATH, **query: Any) -> list[dict[str, Any]]:
    response = send(emulator, path=path, params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]
    return found


class Follower:
    """A client that follows a stream."""

    def __init__(self, emulator: Emulator, path: str = PATH + "/stream", **query: Any) -> None:
        self.response = send(emulator, path=path, params=query, stream=True)
        assert self.response.status_code == 200
        self._lines = self.response.iter_lines()

    def next(self) -> dict[str, Any]:
        kind = next(self._lines).decode().removeprefix("event: ")
        event: dict[str, Any] = json.loads(next(self._lines).removeprefix(b"data: "))
        assert next(self._lines) == b""
        assert event["type"] == kind
        return event

    def take(self, count: int) -> list[dict[str, Any]]:
        return [self.next() for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()


# Streams


def test_a_stream_tells_what_happens_after_it_was_opened(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    session.add(RUNNING)
    with Follower(emulator) as follower:
        assert follower.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert session.streams == 1
        added = session.add(said("one"), said("two"))
        assert follower.take(2) == added
        session.add(IDLE)
        assert follower.next()["type"] == "session.status_idle"
    assert [event["type"] for event in events(emulator)] == [
        "session.status_running",
        "agent.message",
        "agent.message",
        "session.status_idle",
    ]


def test_everyone_who_follows_a_session_is_told(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    with Follower(emulator) as one, Follower(emulator) as two:
        assert emulator.session("sesn_1") is session
        session.wait_for_streams(2)
        added = session.add(said("one"))
        assert one.take(1) == two.take(1) == added
        emulator.session("sesn_2").add(said("elsewhere"))
        sent = send(emulator, "POST", json={"events": [HELLO]}).json()["data"]
        assert one.take(1) == two.take(1) == sent


def test_events_may_come_from_many_threads(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")

    def talk(name: str) -> None:
        for number in range(50):
            session.add(said(f"{name}{number}"))

    with Follower(emulator) as follower:
        threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        told = follower.take(200)
        for thread in threads:
            thread.join(DEADLINE)
    assert told == session.events
    texts = [event["content"][0]["text"] for event in told]
    assert [text for text in texts if text[0] == "c"] == [f"c{number}" for number in range(50)]
    assert len({event["id"] for event in told}) == 200


def test_ids_and_times_are_added_where_they_are_missing(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    (made,) = session.add(RUNNING)
    assert made["id"].startswith("sevt_01")
    assert made["processed_at"].endswith("+00:00")
    given = said("one", id="sevt_mine", processed_at="2026-01-01T00:00:00Z")
    assert session.add(given) == [given]
    assert session.events == [made, given]


def test_a_thread_has_events_of_its_own(emulator: Emulator) -> None:
    thread = emulator.session("sesn_1", "sthr_1")
    path = "/v1/sessions/sesn_1/threads/sthr_1"
    with Follower(emulator, path + "/stream") as follower, Follower(emulator) as whole:
        (added,) = thread.add(said("in the thread"))
        assert follower.next() == added
        (elsewhere,) = emulator.session("sesn_1").add(said("in the session"))
        assert whole.next() == elsewhere
    assert events(emulator, path + "/events") == [added]
    assert events(emulator) == [elsewhere]
    assert send(emulator, "POST", path + "/events", json={"events": [HELLO]}).status_code == 405


def test_previews_are_told_to_those_who_asked_and_never_listed(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    both: dict[str, Any] = {"event_deltas[]": ["agent.message", "agent.thinking"]}
    with Follower(emulator, **both) as all_of_it, Follower(emulator, event_deltas="agent.message") as some:
        with Follower(emulator) as none:
            previews = [start("a", "agent.thinking"), start("b"), delta("b", "He"), delta("late", "llo")]
            assert session.add(*previews) == previews
            (added,) = session.add(said("Hello", id="b"))
            assert all_of_it.take(5) == [*previews, added]
            assert some.take(4) == [*previews[1:], added]
            assert none.next() == added
    assert session.events == events(emulator) == [added]


def test_a_cut_session_has_no_streams_and_goes_on_without_them(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    for reset in (False, True):
        with Follower(emulator) as one, Follower(emulator) as two:
            (added,) = session.add(said("one"))
            assert one.next() == two.next() == added
            session.cut(reset=reset)
            assert session.streams == 0
            session.add(said("two"))
            for follower in (one, two):
                with pytest.raises(requests.RequestException):
                    follower.next()
    assert len(session.events) == 4
    assert emulator.hangups == 0


def test_what_was_missed_can_be_listed(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    with Follower(emulator) as follower:
        session.add(said("one"), said("two"))
        follower.next()
        session.cut()
    session.add(said("three"))
    with Follower(emulator) as follower:
        listed = events(emulator)
        session.add(said("four"))
        assert [*listed, follower.next()] == session.events


def test_a_client_that_leaves_closes_its_stream(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    with Follower(emulator):
        session.wait_for_streams()
    session.wait_for_streams(0)
    emulator.wait_for_hangups()
    with pytest.raises(TimeoutError, match=r"0 streams, not 1, after 0\.01 s"):
        session.wait_for_streams(timeout=0.01)


def test_a_stopped_emulator_cuts_its_streams() -> None:
    with Emulator() as emulator:
        session = emulator.session("sesn_1")
        follower = Follower(emulator)
    with follower, pytest.raises(requests.RequestException):
        follower.next()
    session.add(RUNNING)
    assert session.streams == 0


def test_a_stream_that_is_told_of_after_its_loop_has_closed_is_no_error() -> None:
    session = Emulator().session("sesn_1")
    with Emulator() as emulator:
        with Follower(emulator):
            (stream,) = emulator.session("sesn_1")._streams
    session.opened(stream)
    session.add(RUNNING)
    session.closed(stream)
    session.closed(stream)
    assert session.streams == 0


# Faults


def test_a_stream_breaks_after_so_many_events(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    emulator.queue(Drop(after_events=2), path=PATH + "/stream")
    with Follower(emulator) as follower:
        added = session.add(said("one"), said("two"), said("three"))
        assert follower.take(2) == added[:2]
        with pytest.raises(requests.RequestException):
            follower.next()
    session.wait_for_streams(0)


def test_a_stream_stalls_and_goes_on(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    emulator.queue(Stall(after_events=1, ping_every=0.01), path=PATH + "/stream")
    with Follower(emulator) as follower:
        added = session.add(said("one"), said("two"))
        assert follower.take(2) == [added[0], {"type": "ping"}]
        emulator.release()
        told = follower.next()
        while told["type"] == "ping":
            told = follower.next()
        assert told == added[1]


def test_a_stream_ends_with_an_error_event(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    emulator.queue(Cut(ErrorEvent(after_events=1), every=3), path=PATH + "/stream")
    with Follower(emulator) as follower:
        session.add(said("one"))
        assert [event["type"] for event in follower.take(2)] == ["agent.message", "error"]
        with pytest.raises(StopIteration):
            follower.next()


def test_a_stream_may_be_refused(emulator: Emulator) -> None:
    emulator.queue(Status(429), Drop(), path=PATH + "/stream")
    assert send(emulator, path=PATH + "/stream").status_code == 429
    with pytest.raises(requests.ConnectionError):
        send(emulator, path=PATH + "/stream")
    emulator.session("sesn_1").wait_for_streams(0)


# Lists


def test_events_are_listed_page_by_page_in_both_orders(emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    added = session.add(*(said(str(number)) for number in range(5)))
    for order, wanted in (("asc", added), ("desc", added[::-1])):
        found: list[dict[str, Any]] = []
        query: dict[str, str] = {"limit": "2", "order": order}
        while True:
            page = send(emulator, params=query).json()
            found += page["data"]
            if page["next_page"] is None:
                break
            query["page"] = page["next_page"]
        assert found == wanted
    assert events(emulator) == added


def test_events_are_listed_by_their_types(emulator: Emulator) -> None:
    added = emulator.session("sesn_1").add(RUNNING, said("one"), IDLE, said("two"))
    query: dict[str, Any] = {"types[]": ["agent.message", "session.status_idle"]}
    assert events(emulator, **query) == added[1:]
    assert events(emulator, types="session.status_running", limit="1") == added[:1]


@pytest.mark.parametrize(("key", "days"), [("gt", [3, 4]), ("gte", [2, 3, 4]), ("lt", [1]), ("lte", [1, 2])])
def test_events_are_listed_by_their_time(emulator: Emulator, key: str, days: list[int]) -> None:
    session = emulator.session("sesn_1")
    session.add(*(said(str(day), processed_at=f"2026-01-0{day}T00:00:00Z") for day in range(1, 5)))
    session.add(said("queued", processed_at=None))
    for moment in ("2026-01-02T00:00:00Z", "2026-01-02T01:00:00+01:00", "2026-01-02"):
        found = events(emulator, **{f"created_at[{key}]": moment})
        assert [int(event["content"][0]["text"]) for event in found] == days


# What clients send


def test_what_a_client_sends_has_happened(emulator: Emulator) -> None:
    response = send(emulator, "POST", json={"events": [HELLO, {"type": "user.interrupt"}]})
    assert response.status_code == 200
    sent = response.json()["data"]
    assert [event["type"] for event in sent] == ["user.message", "user.interrupt"]
    assert all(event["id"].startswith("sevt_") and event["processed_at"] for event in sent)
    assert emulator.session("sesn_1").events == events(emulator) == sent


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([], "The request body is not valid JSON: an object was expected"),
        ({}, "events: Input should be a list with at least 1 item"),
        ({"events": []}, "events: Input should be a list with at least 1 item"),
        ({"events": [HELLO], "more": 1}, "more: Extra inputs are not permitted"),
        ({"events": [HELLO, 1]}, "events.1.type: Input should be one of system.message, user.custom_tool_result"),
        ({"events": [said("me")]}, "events.0.type: Input should be one of system.message, user.custom_tool_result"),
    ],
)
def test_what_no_client_may_send_is_refused(emulator: Emulator, body: object, text: str) -> None:
    response = send(emulator, "POST", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(text)
    assert emulator.session("sesn_1").events == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (PATH + "?order=up", "order: "),
        (PATH + "?limit=0", "limit: "),
        (PATH + "?page=1", "page: "),
        (PATH + "?created_at[gt]=noon", "created_at[gt]: "),
        (PATH + "/stream?event_deltas=user.message", "event_deltas: "),
    ],
)
def test_wrong_queries_are_refused(emulator: Emulator, path: str, text: str) -> None:
    response = send(emulator, path=path)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(text)


@pytest.mark.parametrize("path", [PATH, PATH + "/stream", "/v1/sessions/a/threads/b/stream"])
@pytest.mark.parametrize("beta", [None, "", "managed-agents-2026-04-02"])
def test_sessions_are_in_beta(emulator: Emulator, path: str, beta: str | None) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "anthropic-beta"}
    response = send(emulator, path=path, headers=headers if beta is None else headers | {"anthropic-beta": beta})
    assert response.status_code == 400
    assert "managed-agents-2026-04-01" in response.json()["error"]["message"]
    assert emulator.session("sesn_1").streams == 0


@pytest.mark.parametrize(
    ("event", "error"), [({}, ValueError), ({"type": 1}, ValueError), ({"type": "a", "b": object()}, TypeError)]
)
def test_what_is_no_event_cannot_be_added(event: dict[str, Any], error: type[Exception]) -> None:
    session = Emulator().session("sesn_1")
    with pytest.raises(error):
        session.add(RUNNING, event)
    assert session.events == []
