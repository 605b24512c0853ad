"""Sessions: their events, each once, however often the connection is lost."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anthropix_actors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    CancelledError,
    CancelToken,
    Client,
    NotFoundError,
    ParameterError,
    ProtocolError,
    SessionCancelled,
    SessionDone,
    SessionEvent,
    SessionFailed,
    SessionRetrying,
    StalledError,
    Timeout,
)
from anthropix_actors.emulator import Emulator, Raw, Status
from anthropix_actors.sessions.follower import REMEMBERED

from actors import Inbox, Reader, task_of, timeout_of
from servers import Peer, Server, chunk, chunks, head, json_answer, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDS = (SessionDone, SessionFailed, SessionCancelled)
TERMINATED = {"type": "session.status_terminated"}
EVENTS = "/v1/sessions/sesn_1/events"
BETA = "managed-agents-2026-04-01"


def message(number: int) -> dict[str, Any]:
    return {"type": "agent.message", "content": [{"type": "text", "text": str(number)}]}


def numbers(events: list[Any]) -> list[int]:
    return [int(event["content"][0]["text"]) for event in events if event["type"] == "agent.message"]


def told(inbox: Inbox) -> list[Any]:
    """Get all messages up to the terminal one."""
    return inbox.until_end(ENDS)


def data_of(messages: list[Any]) -> list[Any]:
    return [each.data for each in messages if isinstance(each, SessionEvent)]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(emulator.url, max_retries=2)


def test_a_subscriber_is_told_what_happens_from_now_on_until_the_end(client: Client, emulator: Emulator) -> None:
    session, inbox = emulator.session("sesn_1"), Inbox()
    session.add(message(-1), message(0))
    work = client.sessions.events("sesn_1", stream=inbox, tag="mine")
    session.wait_for_streams()
    session.add(message(1), message(2))
    last = session.add(TERMINATED)[0]
    messages = told(inbox)
    assert numbers(data_of(messages)) == [1, 2]
    assert messages[-1] == SessionDone(work, last)
    assert work.result(1) == last
    assert (work.last_event_id, work.tag) == (last["id"], "mine")
    assert all(request.headers["anthropic-beta"] == BETA for request in emulator.requests)


def test_a_loop_gets_the_events_and_ends_with_the_session(client: Client, emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    with client.sessions.events({"id": "sesn_1"}, beta="mine") as events:
        session.add(message(1), {"type": "session.thread_status_terminated"}, message(2), {"type": "session.deleted"})
        assert numbers(list(events)) == [1, 2]
    assert emulator.requests[-1].headers["anthropic-beta"] == f"mine,{BETA}"


def test_silence_between_events_is_a_stall_and_an_event_that_takes_its_time_to_be_told_is_none(
    client: Client, emulator: Emulator
) -> None:
    class Slow(Inbox):
        def tell(self, message: Any, /) -> None:
            if isinstance(message, SessionEvent) and numbers([message.data]) == [1]:
                threading.Timer(0.8, self.told_late.set).start()
                wait(self.told_late)
            super().tell(message)

        told_late = threading.Event()

    session, inbox = emulator.session("sesn_1"), Slow()
    work = client.sessions.events("sesn_1", stream=inbox, timeout=Timeout(idle=0.4))
    session.wait_for_streams()
    session.add(message(0))
    inbox.until(SessionEvent)  # after that, the stream is read
    session.add(message(1))
    wait(inbox.told_late)
    session.add(message(2))
    first, second, lost = (inbox.next() for _ in range(3))
    assert numbers(data_of([first, second])) == [1, 2]
    assert isinstance(lost, SessionRetrying)
    assert isinstance(lost.error, StalledError)
    assert (lost.attempt, lost.error.request_id) == (1, work.request_id)
    work.cancel()


def test_between_two_attempts_there_is_the_wait_that_is_told(connect: Callable[..., Client]) -> None:
    times: list[float] = []

    class Timing(Inbox):
        def tell(self, message: Any, /) -> None:
            times.append(time.monotonic())
            super().tell(message)

    inbox = Timing()
    work = connect("http://127.0.0.1:1", max_retries=2).sessions.events("sesn_1", stream=inbox)
    first = inbox.next()
    assert first.attempt == 1
    assert "retrying" in repr(work)
    assert inbox.next().attempt == 2
    assert times[1] - times[0] >= first.delay > 0.3
    work.cancel()


@pytest.mark.parametrize(
    ("told_time", "known"), [("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"), ("yesterday", None), (5, None)]
)
def test_what_is_no_time_is_not_asked_for(client: Client, emulator: Emulator, told_time: Any, known: Any) -> None:
    session, inbox = emulator.session("sesn_1"), Inbox()
    work = client.sessions.events("sesn_1", stream=inbox)
    session.wait_for_streams()
    session.add({**message(1), "processed_at": told_time})
    inbox.until(SessionEvent)
    assert task_of(work).follower._time == known
    work.cancel()


@pytest.mark.parametrize("after", ["", "first", "object"])
def test_one_can_begin_at_the_beginning_or_after_an_event(client: Client, emulator: Emulator, after: str) -> None:
    session = emulator.session("sesn_1")
    first = session.add(message(1))[0]
    session.add(message(2), message(3))
    given: Any = {"": "", "first": first["id"], "object": first}[after]
    with client.sessions.events("sesn_1", after=given) as events:
        session.wait_for_streams()
        session.add(message(4), TERMINATED)
        assert numbers(list(events)) == ([1, 2, 3, 4] if after == "" else [2, 3, 4])


def test_to_go_on_after_an_event_that_there_is_not_is_an_error(client: Client, emulator: Emulator) -> None:
    emulator.session("sesn_1").add(message(1))
    with pytest.raises(ParameterError, match="sevt_none"):
        client.sessions.events("sesn_1", after="sevt_none")
    client.sessions.events("sesn_1", after="sevt_none", stream=(inbox := Inbox()))
    assert isinstance(told(inbox)[-1].error, ParameterError)


@pytest.mark.parametrize("thread", [None, "sthr_1"])
@pytest.mark.parametrize("reset", [False, True])
def test_what_happens_between_two_connections_is_not_lost_and_not_repeated(
    client: Client, emulator: Emulator, thread: str | None, *, reset: bool
) -> None:
    session = emulator.session("sesn_1", *filter(None, [thread]))
    session.add(message(-1))
    inbox = Inbox()
    client.sessions.events("sesn_1", thread=thread, stream=inbox)
    for number in range(0, 9, 3):
        session.wait_for_streams()
        session.add(message(number))
        if number % 2:
            until(partial(has_come, inbox, number))
        session.cut(reset=reset)
        session.add(message(number + 1), message(number + 2))
    session.wait_for_streams()
    session.add(TERMINATED if thread is None else {"type": "session.thread_status_terminated"})
    messages = told(inbox)
    assert numbers(data_of(messages)) == list(range(9))
    retries = [each for each in messages if isinstance(each, SessionRetrying)]
    assert len(retries) == 3
    assert {each.attempt for each in retries} <= {1, 2}
    assert all(isinstance(each.error, APIConnectionError) for each in retries)


def has_come(inbox: Inbox, number: int) -> bool:
    while not inbox.queue.empty():
        inbox.next()
    return number in numbers(data_of(inbox.messages))


def test_a_loop_goes_on_after_a_cut_without_a_word(client: Client, emulator: Emulator) -> None:
    session = emulator.session("sesn_1")
    with client.sessions.events("sesn_1") as events:
        session.add(message(1))
        assert numbers([next(events)]) == [1]
        session.cut()
        session.add(message(2), TERMINATED)
        assert numbers(list(events)) == [2]


def test_a_loop_that_lost_its_connection_has_it_in_the_log(
    client: Client, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anthropix_actors")
    session = emulator.session("sesn_1")
    with client.sessions.events("sesn_1") as events:
        session.cut()
        session.add(TERMINATED)
        assert len(list(events)) == 1
    (again,) = [record for record in caplog.records if "sent again" in record.getMessage()]
    assert again.getMessage().startswith("call is sent again in 0.")


def test_previews_come_when_they_are_asked_for_and_are_no_place_to_go_on(client: Client, emulator: Emulator) -> None:
    session, inbox = emulator.session("sesn_1"), Inbox()
    work = client.sessions.events("sesn_1", stream=inbox, event_deltas=["agent.message"])
    session.wait_for_streams()
    before = work.last_event_id
    preview = {"type": "event_start", "event": {"id": "sevt_9", "type": "agent.message"}}
    session.add(preview)
    assert inbox.until(SessionEvent).data == preview
    assert work.last_event_id == before
    session.add({**message(1), "id": "sevt_9"}, TERMINATED)
    assert numbers(data_of(told(inbox))) == [1]
    assert any("event_deltas[]" in request.query for request in emulator.requests)


def test_a_refused_stream_is_asked_for_again(client: Client, emulator: Emulator) -> None:
    emulator.queue(Status(529, headers={"retry-after-ms": "1"}), path=EVENTS + "/stream")
    session, inbox = emulator.session("sesn_1"), Inbox()
    client.sessions.events("sesn_1", stream=inbox)
    assert inbox.until(SessionRetrying).attempt == 1
    session.wait_for_streams()
    session.add(TERMINATED)
    assert isinstance(told(inbox)[-1], SessionDone)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(Status(404), NotFoundError), (Raw(b"<html>", content_type="text/html"), ProtocolError)],
)
def test_what_no_attempt_can_mend_is_the_end(client: Client, emulator: Emulator, answer: Any, kind: Any) -> None:
    emulator.queue(answer, answer, path=EVENTS + "/stream")
    with pytest.raises(kind):
        client.sessions.events("sesn_1", stream=True)
    work = client.sessions.events("sesn_1", stream=(inbox := Inbox()))
    assert isinstance(told(inbox)[-1].error, kind)
    with pytest.raises(kind):
        work.result(1)


def test_without_retries_a_cut_is_the_end(emulator: Emulator, connect: Callable[..., Client]) -> None:
    session = emulator.session("sesn_1")
    with connect(emulator.url).sessions.events("sesn_1") as events:
        session.cut()
        with pytest.raises(APIConnectionError) as caught:
            next(events)
    files = {Path(frame.filename).name for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert "follower.py" in files
    assert "response.py" not in files  # nor what is below it, whose frames hold the connection


def test_an_error_event_is_an_error(connect: Callable[..., Client]) -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "no more"}}

    def script(peer: Peer) -> None:
        while peer.read_request():
            if b"/stream" in peer.head.split(b"\r\n")[0]:
                peer.send(head(), chunks([{**message(1), "id": "sevt_1"}, {"type": "no_id"}, error]))
            else:
                peer.send(json_answer("200 OK", {"data": [], "next_page": None}))

    with Server(script) as server:
        connect(server).sessions.events("sesn_1", stream=(inbox := Inbox()))
        *before, failed = told(inbox)
        assert [event["type"] for event in data_of(before)] == ["agent.message", "no_id"]
        assert failed.error.in_stream


def test_a_stream_that_ends_in_good_order_is_opened_again_too(connect: Callable[..., Client]) -> None:
    first = {**message(1), "id": "sevt_1", "processed_at": "2026-11-23T12:00:00Z"}
    streams = [[first], [{**TERMINATED, "id": "sevt_2"}]]
    listed: list[str] = []

    def script(peer: Peer) -> None:
        while peer.read_request():
            path = peer.head.split(b" ")[1].decode()
            if "/stream" in path:
                peer.send(head(), chunks(streams.pop(0)), b"0\r\n\r\n")
            else:
                listed.append(path)
                peer.send(json_answer("200 OK", {"data": [first] if len(listed) > 2 else [], "next_page": None}))

    with Server(script) as server:
        connect(server, max_retries=1).sessions.events("sesn_1", stream=(inbox := Inbox()))
        messages = told(inbox)
    assert [event["id"] for event in data_of(messages)] == ["sevt_1", "sevt_2"]
    assert next(str(each.error) for each in messages if isinstance(each, SessionRetrying)).startswith(
        "the session's stream"
    )
    assert "created_at%5Bgte%5D=2026-11-23T12%3A00%3A00Z" in listed[-1]


def test_only_so_many_ids_are_remembered(connect: Callable[..., Client]) -> None:
    many = [{**message(number), "id": f"sevt_{number}"} for number in range(REMEMBERED + 5)]

    def script(peer: Peer) -> None:
        while peer.read_request():
            if b"/stream" in peer.head.split(b"\r\n")[0]:
                peer.send(head(), chunks([{**TERMINATED, "id": "sevt_end"}]))
            else:
                peer.send(json_answer("200 OK", {"data": many, "next_page": None}))

    with Server(script) as server:
        work = connect(server).sessions.events("sesn_1", after="", stream=(inbox := Inbox()))
        assert numbers(data_of(told(inbox))) == list(range(REMEMBERED + 5))
        assert len(task_of(work).follower._recent) == REMEMBERED


def test_everything_wrong_is_refused_before_anything_is_sent(client: Client, emulator: Emulator) -> None:
    events: Any = client.sessions.events
    with pytest.raises(ParameterError) as raised:
        events("sesn_1", stream=False, after=5, event_deltas="agent.message")
    assert [problem.place for problem in raised.value.problems] == ["stream", "after", "event_deltas"]
    with pytest.raises(ParameterError, match="session"):
        events("..")
    with pytest.raises(ParameterError, match="thread"):
        events("sesn_1", thread="")
    with pytest.raises(ParameterError, match="cancel"):
        events("sesn_1", stream=Inbox(), cancel=CancelToken())
    assert emulator.requests == []


@pytest.mark.parametrize("how", ["cancel", "stop", "stop_all", "close", "subscriber"])
def test_the_following_ends_in_every_way_that_a_chat_does(
    emulator: Emulator, connect: Callable[..., Client], how: str
) -> None:
    client, inbox, session = connect(emulator.url), Inbox(), emulator.session("sesn_1")
    reader = Reader.start(inbox)
    work = client.sessions.events("sesn_1", stream=reader)
    session.wait_for_streams()
    if how == "subscriber":
        reader.stop()
        wait(work.actor_stopped)
        with pytest.raises(CancelledError):
            work.result(0)
    else:
        ways: dict[str, Callable[[], object]] = {"cancel": work.cancel, "stop": work.stop, "close": client.close}
        ways.get(how, partial(stop_all_but, reader))()
        assert isinstance(told(inbox)[-1], SessionCancelled)
        with pytest.raises(CancelledError):
            work.result(1)
        reader.stop()
    session.wait_for_streams(0)


def stop_all_but(reader: Any) -> None:
    for ref in pykka.ActorRegistry.get_all():
        if ref != reader:
            ref.stop()


def test_a_cancel_reaches_the_listing_of_what_was_missed(connect: Callable[..., Client]) -> None:
    listing = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        if b"/stream" in peer.head.split(b"\r\n")[0]:
            peer.send(head())
        else:
            listing.release()
        peer.wait_for_hang_up()

    with Server(script) as server:
        client = connect(server)
        work = client.sessions.events("sesn_1", after="", stream=(inbox := Inbox()))
        assert listing.acquire(timeout=10)
        work.cancel("lunch")
        assert told(inbox)[-1] == SessionCancelled(work, "lunch")
        for _ in range(2):
            assert server.hung_up.acquire(timeout=10)


def test_a_session_may_be_silent_unless_the_caller_says_otherwise(
    emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client = connect(emulator.url, timeout=Timeout(idle=0.05, read=5))
    session = emulator.session("sesn_1")
    work = client.sessions.events("sesn_1", stream=(inbox := Inbox()))
    assert timeout_of(work).idle is None
    work.cancel()
    assert isinstance(told(inbox)[-1], SessionCancelled)
    session.wait_for_streams(0)
    client.sessions.events("sesn_1", stream=(inbox := Inbox()), timeout=Timeout(total=0.1))
    assert isinstance(told(inbox)[-1].error, APITimeoutError)


# Where something is odd


class Sessions:
    """A server with one session: what its streams say, one after the other, and what its listing has."""

    def __init__(self, *streams: list[Any], pages: list[list[Any]] | None = None) -> None:
        self.streams = [*streams]
        self.pages = pages or [[]]
        self.asked: list[str] = []
        self.gates: dict[int, threading.Event] = {}
        self.whole_page: bytes | None = None

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            path = peer.head.split(b" ")[1].decode()
            if "/stream" in path:
                events = self.streams.pop(0) if self.streams else [{**TERMINATED, "id": "sevt_end"}]
                peer.send(head(), b"".join(chunk(b"data: " + json.dumps(each).encode() + b"\n\n") for each in events))
                peer.send(b"0\r\n\r\n")
            else:
                self.asked.append(path)
                self.page(peer, path)

    def page(self, peer: Peer, path: str) -> None:
        number = int(found[1]) if (found := re.search(r"page=(\d+)", path)) else 0
        if number in self.gates:
            wait(self.gates[number])
        following = str(number + 1) if number + 1 < len(self.pages) else None
        peer.send(self.whole_page or json_answer("200 OK", {"data": self.pages[number], "next_page": following}))


def events_of(*ids: Any) -> list[dict[str, Any]]:
    return [{"type": "agent.message", "content": [], "id": each} for each in ids]


def ids_told(messages: list[Any]) -> list[Any]:
    return [event.get("id") for event in data_of(messages)]


@pytest.mark.parametrize("listed", [[], ["sevt_1"]])
def test_an_event_that_a_stream_repeats_is_told_once(connect: Callable[..., Client], listed: list[str]) -> None:
    sessions = Sessions(events_of("sevt_1", "sevt_2", "sevt_1", "sevt_2"), pages=[events_of(*listed, *listed)])
    with Server(sessions) as server:
        client = connect(server, max_retries=1)
        client.sessions.events("sesn_1", after="", stream=(inbox := Inbox()))
        assert ids_told(told(inbox)) == ["sevt_1", "sevt_2", "sevt_end"]


def test_a_whole_history_is_told_page_by_page(connect: Callable[..., Client]) -> None:
    sessions = Sessions(pages=[events_of("sevt_1"), events_of("sevt_2"), events_of("sevt_3")])
    sessions.gates[1] = threading.Event()
    with Server(sessions) as server:
        client = connect(server)
        client.sessions.events("sesn_1", after="", stream=(inbox := Inbox()))
        assert inbox.until(SessionEvent).data["id"] == "sevt_1"
        assert len(sessions.asked) <= 2
        sessions.gates[1].set()
        assert ids_told(told(inbox)) == ["sevt_1", "sevt_2", "sevt_3", "sevt_end"]


def test_what_comes_after_an_event_deep_in_the_history_is_found(connect: Callable[..., Client]) -> None:
    pages = [events_of("sevt_1", "sevt_2"), events_of("sevt_3", "sevt_4"), events_of("sevt_5")]
    with Server(Sessions(pages=pages)) as server:
        client = connect(server)
        client.sessions.events("sesn_1", after="sevt_3", stream=(inbox := Inbox()))
        assert ids_told(told(inbox)) == ["sevt_4", "sevt_5", "sevt_end"]


@pytest.mark.parametrize("after", [None, "sevt_0"])
def test_when_nothing_that_is_known_is_listed_all_of_it_is_new(
    connect: Callable[..., Client], after: str | None
) -> None:
    first = [{**events_of("sevt_1")[0], "processed_at": "2026-11-23T12:00:00Z"}]
    sessions = Sessions(first, pages=[events_of("sevt_0")])
    with Server(sessions) as server:
        client = connect(server, max_retries=1)
        client.sessions.events("sesn_1", after=after, stream=(inbox := Inbox()))
        inbox.until(SessionEvent)
        sessions.pages = [events_of("sevt_2", "sevt_2"), events_of("sevt_3")]
        assert ids_told(told(inbox)) == ["sevt_1", "sevt_2", "sevt_3", "sevt_end"]


@pytest.mark.parametrize("thread", [None, "sthr_1"])
def test_a_session_is_listed_by_time_and_a_thread_is_not(connect: Callable[..., Client], thread: str | None) -> None:
    first = [{**events_of("sevt_1")[0], "processed_at": "2026-11-23T12:00:00Z"}]
    end = {"type": "session.thread_status_terminated", "id": "sevt_2"}
    sessions = Sessions(first, [end if thread else {**TERMINATED, "id": "sevt_2"}])
    with Server(sessions) as server:
        connect(server, max_retries=1).sessions.events("sesn_1", thread=thread, stream=(inbox := Inbox()))
        assert ids_told(told(inbox)) == ["sevt_1", "sevt_2"]
    assert len(sessions.asked) == 3
    assert ["created_at" in path for path in sessions.asked] == [False, False, thread is None]
    assert ["order=desc" in path for path in sessions.asked] == [thread is None, False, False]


@pytest.mark.parametrize("thread", [None, "sthr_1"])
def test_what_happened_before_is_not_told_whatever_the_newest_event_is(
    connect: Callable[..., Client], thread: str | None
) -> None:
    odd: list[Any] = [{"type": "odd"}, "sevt_id", {"id": 5}, {"id": ""}]
    history = [*events_of("sevt_1"), *odd] if thread else [*odd, *events_of("sevt_1")]
    sessions = Sessions([{"type": "session.thread_status_terminated"}], pages=[history[:3], history[3:]])
    with Server(sessions) as server:
        client = connect(server, max_retries=1)
        work = client.sessions.events("sesn_1", thread=thread, stream=(inbox := Inbox()))
        until(lambda: work.last_event_id == "sevt_1")
        sessions.pages = [events_of("sevt_1", "sevt_2")]
        assert set(ids_told(told(inbox))) <= {"sevt_2", None, "sevt_end"}


def test_a_listing_that_goes_in_a_circle_is_the_end(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            path = peer.head.split(b" ")[1]
            if b"/stream" in path:
                peer.send(head())
            else:
                following = "b" if b"page=a" in path else "a"
                peer.send(json_answer("200 OK", {"data": events_of("sevt_1"), "next_page": following}))

    with Server(script) as server:
        connect(server, max_retries=2).sessions.events("sesn_1", after="", stream=(inbox := Inbox()))
        *before, failed = told(inbox)
    assert ids_told(before) == ["sevt_1"]
    assert "does not end" in str(failed.error)


def test_connections_that_are_closed_at_once_are_made_less_and_less_often(connect: Callable[..., Client]) -> None:
    with Server(Sessions([], [], [])) as server:
        connect(server, max_retries=1).sessions.events("sesn_1", stream=(inbox := Inbox()))
        messages = told(inbox)
    assert [each.attempt for each in messages if isinstance(each, SessionRetrying)] == [1, 2, 3]


_Json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(["id", "type", "processed_at", "event", "page"]), value=_Json, streamed=st.booleans())
def test_any_json_in_place_of_a_field_of_an_event_costs_no_other_event(
    connect: Callable[..., Client], field: str, value: Any, *, streamed: bool
) -> None:
    odd: Any = value if field == "event" else {**events_of("sevt_1")[0], field: value}
    stream = [odd, *events_of("sevt_2"), {**TERMINATED, "id": "sevt_end"}]
    sessions = Sessions(stream) if streamed else Sessions(pages=[[odd, *events_of("sevt_2")]])
    if field == "page" and not streamed:
        sessions.whole_page = json_answer("200 OK", value)
    with Server(sessions) as server:
        connect(server).sessions.events("sesn_1", after="", stream=(inbox := Inbox()))
        *messages, end = told(inbox)
    if isinstance(end, SessionDone):
        assert "sevt_2" in ids_told(messages)
        assert len(set(filter(None, map(str, ids_told(messages))))) >= 2
    else:
        assert isinstance(end.error, APIError)
        assert field in {"event", "page", "type"}


@pytest.mark.parametrize("timeout", [0.3, Timeout(total=0.3)])
def test_the_clients_total_timeout_is_not_a_sessions_and_its_own_is(
    emulator: Emulator, connect: Callable[..., Client], timeout: Any
) -> None:
    session = emulator.session("sesn_1")
    client, inbox, mine = connect(emulator.url, timeout=timeout), Inbox(), Inbox()
    work = client.sessions.events("sesn_1", stream=inbox)
    with client.sessions.events("sesn_1") as events:
        client.sessions.events("sesn_1", stream=mine, timeout=timeout)
        assert isinstance(told(mine)[-1].error, APITimeoutError)
        session.add(message(1), TERMINATED)
        assert numbers(list(events)) == [1]
    assert isinstance(told(inbox)[-1], SessionDone)
    assert task_of(work).deadline is None
    work = client.sessions.events("sesn_1", after="", stream=Inbox(), timeout=30)
    assert timeout_of(work).idle is None, "a number is the time in all, and says nothing of silence"


@pytest.mark.parametrize("deltas", [5, [5], [{"a": 1}], None])
def test_odd_previews_and_events_are_refused(client: Client, emulator: Emulator, deltas: Any) -> None:
    with pytest.raises(ParameterError, match="event_deltas"):
        client.sessions.events("sesn_1", event_deltas=deltas)
    for after in ({}, {"id": 5}, 5):
        with pytest.raises(ParameterError, match="after"):
            client.sessions.events("sesn_1", after=after)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="extra_headers"):
        client.sessions.events("sesn_1", extra_headers={"a b": "c"}, stream=Inbox())
    assert emulator.requests == []
