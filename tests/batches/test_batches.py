"""Batches: made, followed, told, cancelled, cut, and followed again."""

from __future__ import annotations

import gc
import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import (
    AnthropixError,
    APIConnectionError,
    BatchCancelled,
    BatchDone,
    BatchFailed,
    BatchProgress,
    BatchResult,
    BatchRetrying,
    CancelledError,
    CancelToken,
    Client,
    ConflictError,
    InternalServerError,
    Ledger,
    NotFoundError,
    ParameterError,
    ProtocolError,
    Timeout,
    TruncatedError,
)
from anthropix_actors.batches import actor as batch_module
from anthropix_actors.batches.task import BatchTask
from anthropix_actors.emulator import Drop, Emulator, Raw, Status

from actors import HELLO, Inbox, Reader, no_thread_for, running_in, task_of, until_blocked
from interrupts import interrupted_at
from servers import (
    DEADLINE,
    LAST_CHUNK,
    Always,
    Halt,
    Peer,
    Server,
    acquire,
    batch_of,
    chunk,
    head,
    json_answer,
    line_of,
    until,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BATCHES = "/v1/messages/batches"
QUESTION: dict[str, Any] = {"model": "claude-test", "messages": HELLO}
ENDS = (BatchDone, BatchFailed, BatchCancelled)


def requests_of(count: int) -> list[dict[str, Any]]:
    return [{"custom_id": f"n{number}", "params": QUESTION} for number in range(count)]


def told(inbox: Inbox) -> list[Any]:
    """Get all messages up to the terminal one."""
    return inbox.until_end(ENDS)


def ids_of(messages: list[Any]) -> list[str]:
    return [message.custom_id for message in messages if isinstance(message, BatchResult)]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(batch_polls=2) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(emulator.url, max_retries=2)


# One call each


def test_a_batch_is_made_looked_at_listed_cancelled_and_deleted(client: Client) -> None:
    made = client.batches.create(requests_of(3))
    assert made["request_counts"]["processing"] == 3
    assert client.batches.retrieve(made)["id"] == client.batches.retrieve(made["id"])["id"] == made["id"]
    others = [client.batches.create(requests_of(1))["id"] for _ in range(3)]
    assert [batch["id"] for batch in client.batches.list(limit=2)] == [*reversed(others), made["id"]]
    assert client.batches.cancel(others[0])["processing_status"] == "canceling"
    assert client.batches.delete(made) == {"id": made["id"], "type": "message_batch_deleted"}
    with pytest.raises(NotFoundError):
        client.batches.retrieve(made)


def test_requests_of_a_batch_get_what_a_chat_gets_by_default(client: Client, emulator: Emulator) -> None:
    client.batches.create(iter(requests_of(1)), beta="one", extra_headers={"x-mine": "1"})
    (request,) = emulator.requests
    assert request.body["requests"][0]["params"]["max_tokens"] == 4096
    assert (request.headers["anthropic-beta"], request.headers["x-mine"]) == ("one", "1")


@pytest.mark.parametrize("count", [0, 2])
def test_wrong_requests_are_refused_with_all_their_places(client: Client, emulator: Emulator, count: int) -> None:
    wrong: list[Any] = [{"custom_id": "a b", "params": {**QUESTION, "top_k": -1}}, {"custom_id": "n0", "params": 5}]
    with pytest.raises(ParameterError) as raised:
        client.batches.create(wrong[:count])
    places = [problem.place for problem in raised.value.problems]
    assert places == (
        ["requests[0].custom_id", "requests[0].params.top_k", "requests[1].params"] if count else ["requests"]
    )
    with pytest.raises(ParameterError):
        client.batches.run(wrong[:count], Inbox())
    assert emulator.requests == []


def test_more_than_one_batch_admits_is_refused_by_create(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.batches.body.MAX_REQUESTS", 2)
    with pytest.raises(ParameterError, match=r"run\(\)"):
        client.batches.create(requests_of(3))


def test_a_creation_whose_answer_is_lost_is_not_sent_again(connect: Callable[..., Client]) -> None:
    with Server(lambda peer: peer.read_request()) as server:
        with pytest.raises(APIConnectionError):
            connect(server, max_retries=3).batches.create(requests_of(1))
        assert server.connections == 1


def test_a_creation_that_was_refused_for_now_is_sent_again(client: Client, emulator: Emulator) -> None:
    emulator.queue(Status(529, headers={"retry-after-ms": "1"}), path=BATCHES)
    assert client.batches.create(requests_of(1))["id"]
    assert len(emulator.requests) == 2


@pytest.mark.parametrize("body", [{"id": "x"}, [1], b"no json"])
def test_an_answer_that_is_no_batch_is_an_error(connect: Callable[..., Client], body: Any) -> None:
    with Server(Always(json_answer("200 OK", body))) as server:
        with pytest.raises(ProtocolError):
            connect(server).batches.retrieve("msgbatch_1")


@pytest.mark.parametrize("batch", ["", "..", None, {"id": 5}, 7])
def test_what_is_no_batch_is_refused(client: Client, emulator: Emulator, batch: Any) -> None:
    for call in (client.batches.retrieve, client.batches.cancel, client.batches.delete, client.batches.results):
        with pytest.raises(ParameterError) as raised:
            call(batch)
        assert [problem.place for problem in raised.value.problems] == ["batch"]
    with pytest.raises(ParameterError):
        client.batches.follow(batch, Inbox())
    assert emulator.requests == []


# Results


def ended(client: Client, count: int = 3) -> Any:
    batch = client.batches.create(requests_of(count))
    for _ in range(2):
        batch = client.batches.retrieve(batch)
    assert batch["processing_status"] == "ended"
    return batch


def test_options_of_results_are_those_of_both_requests(anthropix_emulator: Emulator, client: Client) -> None:
    batch = ended(client)
    options: Any = {"beta": iter(["b"]), "workspace_id": "wrkspc_1", "extra_headers": {"x-mine": "1"}}
    assert len(client.batches.results(batch["id"], **options)) == 3
    for request in anthropix_emulator.requests[-2:]:
        names = ("anthropic-beta", "anthropic-workspace-id", "x-mine")
        assert [request.headers.get(name) for name in names] == ["b", "wrkspc_1", "1"]


def test_results_come_all_at_once_in_a_loop_or_to_a_subscriber(client: Client) -> None:
    batch, inbox = ended(client), Inbox()
    expected = ["n0", "n1", "n2"]
    for form in (batch, batch["id"], batch["results_url"]):
        assert [line["custom_id"] for line in client.batches.results(form)] == expected
        assert [line["result"]["type"] for line in client.batches.results(form, stream=True)] == ["succeeded"] * 3
    work = client.batches.results(batch["id"], stream=inbox, tag="mine")
    *results, done = told(inbox)
    assert ids_of(results) == expected
    assert done == BatchDone(work, {"processing": 0, "succeeded": 3, "errored": 0, "canceled": 0, "expired": 0})
    assert work.result(1)["succeeded"] == 3
    assert (work.tag, results[0].batch) == ("mine", work)


def test_a_batch_that_has_not_ended_says_so_and_names_its_state(client: Client) -> None:
    batch, inbox = client.batches.create(requests_of(1)), Inbox()
    with pytest.raises(ConflictError, match="in_progress"):
        client.batches.results(batch)
    work = client.batches.results(client.batches.create(requests_of(1)), stream=inbox)
    assert isinstance(told(inbox)[-1], BatchFailed)
    with pytest.raises(ConflictError, match="in_progress"):
        work.result(1)


def test_a_batch_that_is_being_cancelled_says_so(connect: Callable[..., Client]) -> None:
    body = batch_of("msgbatch_1", processing_status="canceling")
    with Server(Always(json_answer("200 OK", body))) as server, pytest.raises(ConflictError, match="canceling"):
        connect(server).batches.results(body)  # type: ignore[call-overload] # a part of one is enough here


def test_results_that_are_kept_no_longer_are_named_so(connect: Callable[..., Client]) -> None:
    body = batch_of("msgbatch_1", processing_status="ended")
    with Server(Always(json_answer("200 OK", body))) as server:
        with pytest.raises(ConflictError, match="no longer kept"):
            connect(server).batches.results("msgbatch_1")


@pytest.mark.parametrize("form", ["url", "object", "retrieved", "user"])
def test_results_on_another_origin_are_refused_and_the_key_stays_here(
    connect: Callable[..., Client], form: str
) -> None:
    with Server(lambda peer: peer.read_request()) as stranger:
        url = stranger.url + "/kept/msgbatch_1.jsonl"
        body = batch_of("msgbatch_1", processing_status="ended", results_url=url)
        with Server(Always(json_answer("200 OK", body))) as server:
            if form == "user":
                url = server.url.replace("http://", "http://evil@") + "/results"
            path = "/v1/messages/batches/" + ("{id}" if form in {"url", "user"} else "msgbatch_1") + "/results"
            advice = re.escape(f'client.request("GET", "{path}", stream=True) asks base_url for the results')
            refused = rf"expected {path}, on any origin, or a URL on the client's own origin, .*{advice}"
            given: Any = {"url": url, "user": url, "object": {**body, "results_url": url}, "retrieved": "msgbatch_1"}[
                form
            ]
            client, inbox = connect(server), Inbox()
            mine = form in {"url", "user"}  # else it is the server's, and no fault of the caller's
            for stream in (False, True):
                with pytest.raises(ParameterError if mine else ProtocolError, match=refused):
                    client.batches.results(given, stream=stream)
            if mine:
                with pytest.raises(ParameterError, match=refused):
                    client.batches.results(given, stream=inbox)
            else:
                client.batches.results(given, stream=inbox)
                assert isinstance(told(inbox)[-1].error, ProtocolError)
        assert stranger.connections == 0


def serving_results(*pieces: bytes) -> Callable[[Peer], None]:
    """Get a script that answers any look with an ended batch, and a look at its results with these bytes."""

    def script(peer: Peer) -> None:
        while peer.read_request():
            if "/results" in peer.head.split(b"\r\n")[0].decode():
                peer.send(head(content_type="application/x-jsonl"), *pieces)
                if pieces[-1:] != (LAST_CHUNK,):
                    return
                continue
            url = f"http://{peer.header('host')}{BATCHES}/msgbatch_1/results"
            peer.send(json_answer("200 OK", batch_of("msgbatch_1", processing_status="ended", results_url=url)))

    return script


FAULTS = {
    "no json": ([chunk(line_of("a") + b"oops\n" + line_of("b")), LAST_CHUNK], ProtocolError, "line 2"),
    "no object": ([chunk(line_of("a") + b"[]\n"), LAST_CHUNK], ProtocolError, "line 2"),
    "no result": ([chunk(line_of("a") + b'{"custom_id": "b"}\n'), LAST_CHUNK], ProtocolError, "line 2"),
    "cut between chunks": ([chunk(line_of("a"))], TruncatedError, "line 2"),
    "cut within a line": ([chunk(line_of("a") + line_of("b")[:9])], TruncatedError, "line 2"),
    "ends within a line": ([chunk(line_of("a") + b"\n" + line_of("b")[:9]), LAST_CHUNK], TruncatedError, "line 3"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_results_that_break_off_say_at_which_line_and_what_came_before_is_told(
    connect: Callable[..., Client], name: str
) -> None:
    pieces, kind, line = FAULTS[name]
    with Server(serving_results(*pieces)) as server:
        client, inbox = connect(server), Inbox()
        got: list[str] = []
        with pytest.raises(kind, match=line):
            client.batches.results("msgbatch_1")
        with pytest.raises(kind, match=line):
            got.extend(each["custom_id"] for each in client.batches.results("msgbatch_1", stream=True))
        assert got == ["a"]
        client.batches.results("msgbatch_1", stream=inbox)
        *before, failed = told(inbox)
        assert ids_of(before) == ["a"]
        assert isinstance(failed.error, kind)
        assert line in str(failed.error)
        assert failed.error.request_id == "req_test"


def test_recorded_results_are_read_without_a_loss(connect: Callable[..., Client], corpus: Path) -> None:
    for path in sorted((corpus / "batches").glob("*.jsonl")):
        recorded = path.read_bytes()
        expected = [json.loads(line) for line in recorded.splitlines() if line.strip()]
        for size in (1, 7, 1000, len(recorded)):
            pieces = [chunk(recorded[start : start + size]) for start in range(0, len(recorded), size)]
            with Server(serving_results(*pieces, LAST_CHUNK)) as server:
                assert [*connect(server).batches.results("msgbatch_1", stream=True)] == expected


def test_recorded_batches_are_read_without_a_loss(connect: Callable[..., Client], corpus: Path) -> None:
    for path in sorted((corpus / "batches").glob("*.json")):
        recorded = path.read_bytes()
        with Server(Always(json_answer("200 OK", recorded))) as server:
            assert connect(server).batches.retrieve("msgbatch_1") == json.loads(recorded)


# Run


def test_a_run_tells_progress_results_and_one_end(client: Client) -> None:
    inbox = Inbox()
    work = client.batches.run(requests_of(3), inbox, poll=0.001, tag="nightly")
    messages = told(inbox)
    kinds = [type(message).__name__ for message in messages]
    assert kinds[0] == "BatchProgress"
    assert kinds[-4:] == ["BatchResult", "BatchResult", "BatchResult", "BatchDone"]
    counts = [message.counts["processing"] for message in messages if isinstance(message, BatchProgress)]
    assert (counts[0], counts[-1]) == (3, 0)
    assert sorted(counts, reverse=True) == counts
    assert sorted(ids_of(messages)) == ["n0", "n1", "n2"]
    assert all(message.batch is work for message in messages)
    assert work.result(1) == messages[-1].counts
    state = work.state()
    assert (state.told, state.counts["succeeded"], [batch["id"] for batch in state.batches]) == (3, 3, [*work.ids])
    assert work.tag == "nightly"


def test_many_requests_are_split_over_batches_under_one_ref(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.batches.body.MAX_REQUESTS", 2)
    inbox = Inbox()
    work = client.batches.run(iter(requests_of(5)), inbox, poll=0.001)
    messages = told(inbox)
    assert sorted(ids_of(messages)) == [f"n{number}" for number in range(5)]
    assert len(work.ids) == 3
    assert messages[-1].counts["succeeded"] == 5
    assert max(message.counts["processing"] for message in messages if isinstance(message, BatchProgress)) == 5


def test_a_batch_that_has_its_thread_is_not_broken_off(client: Client) -> None:
    work = client.batches.run(requests_of(1), (inbox := Inbox()), poll=0.01)
    inbox.until(BatchProgress)
    assert not task_of(work).abort(AnthropixError("too late"))
    assert work.result(DEADLINE)["succeeded"] == 1


def test_a_run_is_told_of_failed_attempts_and_outlives_them(client: Client, emulator: Emulator) -> None:
    inbox = Inbox()
    again = {"retry-after-ms": "1"}
    emulator.queue(Status(529, headers=again), path=BATCHES)
    work = client.batches.run(requests_of(2), inbox, poll=0.001)
    inbox.until(BatchProgress)
    path = f"{BATCHES}/{work.ids[0]}"
    emulator.queue(*[Status(500, headers=again)] * 4, path=path)
    messages = told(inbox)
    retries = [message for message in messages if isinstance(message, BatchRetrying)]
    assert len(retries) >= 1
    assert retries[0].error.attempts == retries[0].attempt == 1
    assert sorted(ids_of(messages)) == ["n0", "n1"]


def test_without_retries_a_run_fails_at_once_and_can_be_followed_again(
    emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client, inbox, second = connect(emulator.url), Inbox(), Inbox()
    batch = client.batches.create(requests_of(2))
    emulator.queue(Status(500), path=f"{BATCHES}/{batch['id']}")
    work = client.batches.follow(batch, inbox, poll=0.001)
    failed = told(inbox)[-1]
    assert isinstance(failed.error, InternalServerError)
    with pytest.raises(InternalServerError):
        work.result(1)
    client.batches.follow(work.ids, second, poll=0.001)
    assert sorted(ids_of(told(second))) == ["n0", "n1"]


def test_a_poll_waits_as_long_as_the_api_asks(client: Client, emulator: Emulator) -> None:
    inbox = Inbox()
    batch = client.batches.create(requests_of(1))
    body = json.dumps(batch_of(batch["id"])).encode()
    emulator.queue(Raw(body, headers={"retry-after": "3600"}), path=f"{BATCHES}/{batch['id']}")
    work = client.batches.follow(batch["id"], inbox, poll=0.001)
    until_blocked(work)  # it waits an hour, not a millisecond
    assert work.cancel()
    assert isinstance(told(inbox)[-1], BatchCancelled)
    assert len(emulator.requests) == 2


def test_results_that_are_cut_are_read_again_and_told_once(client: Client, emulator: Emulator) -> None:
    inbox = Inbox()
    batch = client.batches.create(requests_of(50))
    path = f"{BATCHES}/{batch['id']}/results"
    emulator.queue(Drop(None, after_bytes=3000), Drop(None, after_bytes=9000), path=path)
    client.batches.follow(batch, inbox, poll=0.001)
    messages = told(inbox)
    assert sorted(ids_of(messages)) == sorted(f"n{number}" for number in range(50))
    assert len(set(ids_of(messages))) == len(ids_of(messages))
    retries = [message for message in messages if isinstance(message, BatchRetrying)]
    assert [type(message.error) for message in retries] == [TruncatedError] * 2
    assert [message.attempt for message in retries] == [1, 1], "there was progress in between"


def test_a_file_of_results_that_is_always_cut_at_once_counts_its_failures(connect: Callable[..., Client]) -> None:
    with Server(serving_results()) as server:
        client, inbox = connect(server, max_retries=1), Inbox()
        work = client.batches.follow("msgbatch_1", inbox, poll=0.001)
        first, second = inbox.until(BatchRetrying), inbox.until(BatchRetrying)
        assert (first.attempt, second.attempt) == (1, 2)
        work.cancel()
        assert isinstance(told(inbox)[-1], BatchCancelled)


def test_without_retries_a_cut_file_is_the_end(connect: Callable[..., Client]) -> None:
    with Server(serving_results(chunk(line_of("a")))) as server:
        connect(server).batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
        *before, failed = told(inbox)
        assert ids_of(before) == ["a"]
        assert isinstance(failed.error, TruncatedError)


def test_what_was_seen_before_is_not_told_again(client: Client) -> None:
    inbox = Inbox()
    batch = client.batches.create(requests_of(4))
    client.batches.follow([batch["id"]], inbox, poll=0.001, seen={"n1", "n3"})
    messages = told(inbox)
    assert ids_of(messages) == ["n0", "n2"]
    assert messages[-1].counts["succeeded"] == 2


def test_following_an_unknown_batch_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "NEW_FOR", 0.1)
    inbox = Inbox()
    client.batches.follow("msgbatch_none", inbox)
    assert isinstance(told(inbox)[-1].error, NotFoundError)
    with pytest.raises(ParameterError, match="at least one"):
        client.batches.follow([], inbox)


@pytest.mark.parametrize("poll", [0, -1, True, "1", float("nan")])
def test_odd_options_are_refused(client: Client, emulator: Emulator, poll: Any) -> None:
    batches = client.batches
    with pytest.raises(ParameterError, match="poll"):
        batches.run(requests_of(1), Inbox(), poll=poll)
    with pytest.raises(ParameterError, match="subscriber"):
        batches.follow("msgbatch_1", "nobody")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="stream"):
        batches.results("msgbatch_1", stream="nobody")  # type: ignore[call-overload]
    with pytest.raises(ParameterError, match="unknown parameter"):
        batches.run(requests_of(1), Inbox(), cancel=CancelToken())  # type: ignore[call-arg]
    with pytest.raises(ParameterError, match="did you mean timeout"):
        batches.retrieve("msgbatch_1", tiemout=5)  # type: ignore[call-arg]
    assert emulator.requests == []


def test_a_dead_actor_is_refused_as_a_subscriber(client: Client) -> None:
    reader = Reader.start(Inbox())
    reader.stop()
    with pytest.raises(ParameterError, match="stopped"):
        client.batches.run(requests_of(1), reader)


# Cancel, in all the ways that work may end


def test_a_cancel_ends_the_work_here_and_the_batch_goes_on(client: Client, emulator: Emulator) -> None:
    inbox = Inbox()
    work = client.batches.run(requests_of(1), inbox)
    inbox.until(BatchProgress)
    until_blocked(work)
    assert work.cancel("lunch")
    assert not work.cancel("again")
    assert told(inbox)[-1] == BatchCancelled(work, "lunch", None)
    with pytest.raises(CancelledError, match="lunch"):
        work.result(1)
    assert not [request for request in emulator.requests if request.path.endswith("/cancel")]


def test_a_cancel_at_the_api_cancels_the_batches_there_too(client: Client, emulator: Emulator) -> None:
    inbox = Inbox()
    work = client.batches.run(requests_of(1), inbox)
    inbox.until(BatchProgress)
    until_blocked(work)
    work.cancel("enough", at_api=True)
    assert told(inbox)[-1] == BatchCancelled(work, "enough", None)
    assert emulator.requests[-1].path == f"{BATCHES}/{work.ids[0]}/cancel"
    assert work.state().batches[0]["processing_status"] == "canceling"
    client.batches.follow(work.ids, second := Inbox(), poll=0.001)
    assert [message.result["type"] for message in told(second) if isinstance(message, BatchResult)] == ["canceled"]


@pytest.mark.parametrize("answer", [Status(500), Raw(b"{}")])
def test_a_cancel_at_the_api_that_fails_says_why(
    emulator: Emulator, connect: Callable[..., Client], answer: Any
) -> None:
    client, inbox = connect(emulator.url), Inbox()
    work = client.batches.follow(client.batches.create(requests_of(1)), inbox)
    until_blocked(work)
    path = f"{BATCHES}/{work.ids[0]}"
    emulator.queue(answer, path=path + "/cancel")
    emulator.queue(batch_of(work.ids[0]), path=path)
    work.cancel("enough", at_api=True)
    assert isinstance(told(inbox)[-1].error, AnthropixError)


def test_a_batch_that_has_ended_meanwhile_needs_no_cancelling(client: Client, emulator: Emulator) -> None:
    work = client.batches.follow(client.batches.create(requests_of(1)), inbox := Inbox())
    until_blocked(work)
    client.batches.retrieve(work.ids[0])
    work.cancel("enough", at_api=True)
    assert told(inbox)[-1] == BatchCancelled(work, "enough", None)
    assert emulator.requests[-2].path.endswith("/cancel")
    assert work.state().batches[0]["processing_status"] == "ended"


def test_an_api_that_cannot_be_reached_is_why_a_batch_was_not_cancelled(connect: Callable[..., Client]) -> None:
    with Emulator(batch_polls=9) as emulator:
        client = connect(emulator.url)
        work = client.batches.follow(client.batches.create(requests_of(1)), inbox := Inbox())
        until_blocked(work)
    work.cancel("enough", at_api=True)
    assert isinstance(told(inbox)[-1].error, APIConnectionError)


def test_batches_that_have_ended_are_not_cancelled_at_the_api(client: Client, emulator: Emulator) -> None:
    gate = threading.Event()
    reader = Reader.start(inbox := Inbox(), gate=gate)
    batch = ended(client, 600)
    work = client.batches.follow(batch, reader, poll=0.001)
    until_blocked(work)  # for the reader
    work.cancel(at_api=True)
    gate.set()
    assert isinstance(told(inbox)[-1], BatchCancelled)
    assert not [request for request in emulator.requests if request.path.endswith("/cancel")]
    reader.stop()


def test_a_slow_subscriber_makes_the_work_wait(client: Client) -> None:
    batch = ended(client, 2000)
    gate = threading.Event()
    reader = Reader.start(inbox := Inbox(), gate=gate)
    work = client.batches.results(batch, stream=reader)
    until_blocked(work)
    assert reader.actor_inbox.qsize() <= 300  # type: ignore[attr-defined]
    gate.set()
    assert len(ids_of(told(inbox))) == 2000
    reader.stop()


@pytest.mark.parametrize("how", ["dies", "leaves"])
def test_a_subscriber_that_goes_in_the_middle_of_the_results_ends_the_work(client: Client, how: str) -> None:
    batch = ended(client, 2000)
    gate = threading.Event()
    reader = Reader.start(Inbox(), gate=gate)
    work = client.batches.results(batch, stream=reader)
    until_blocked(work)
    if how == "leaves":
        work.unsubscribe(reader, "seen enough")
    gate.set()
    reader.stop()
    wait(work.actor_stopped)
    with pytest.raises(CancelledError):
        work.result(0)


def test_a_subscriber_that_fails_is_told_nothing_more_and_ends_the_work(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            if self.queue.qsize() == 2:
                raise ValueError("two are enough")

    inbox = Failing()
    work = client.batches.results(ended(client, 10), stream=inbox)
    wait(work.actor_stopped)
    with pytest.raises(CancelledError):
        work.result(0)
    assert [inbox.next().custom_id for _ in range(2)] == ["n0", "n1"]
    assert inbox.queue.empty()
    assert "two are enough" in caplog.text


def test_results_count_without_a_subscriber_while_a_caller_waits(client: Client) -> None:
    gate = threading.Event()

    class Leaving(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            wait(gate)
            raise ValueError("one is enough")

    work = client.batches.results(ended(client, 10), stream=(inbox := Leaving()))
    waiting = threading.Thread(target=work.result, args=(DEADLINE,))
    waiting.start()
    until(lambda: task_of(work).audience.waiting)
    gate.set()
    waiting.join(DEADLINE)
    assert not waiting.is_alive()
    assert (work.state().told, inbox.queue.qsize()) == (10, 1)
    assert work.result(0) is not None


def test_work_that_nobody_listens_to_ends(client: Client) -> None:
    reader = Reader.start(Inbox())
    work = client.batches.run(requests_of(1), reader)
    reader.stop()
    wait(work.actor_stopped)  # to ask for the result sooner would be to listen
    with pytest.raises(CancelledError, match="no subscriber is left"):
        work.result(0)


@pytest.mark.parametrize("how", ["stop", "stop_all", "close", "unsubscribe", "total"])
def test_the_work_ends_in_every_way_that_a_chat_does(
    emulator: Emulator, connect: Callable[..., Client], how: str
) -> None:
    client, inbox = connect(emulator.url), Inbox()
    options: Any = {"timeout": Timeout(total=0.2)} if how == "total" else {}
    work = client.batches.follow(client.batches.create(requests_of(1)), inbox, **options)
    until_blocked(work)
    if how == "stop":
        work.stop()
    elif how == "stop_all":
        pykka.ActorRegistry.stop_all()
    elif how == "close":
        client.close()
    elif how == "unsubscribe":
        work.unsubscribe(inbox)
        with pytest.raises(CancelledError):
            work.result(5)
        assert inbox.queue.empty() or not isinstance(inbox.queue.get(), ENDS)
        return
    assert isinstance(told(inbox)[-1], BatchFailed if how == "total" else BatchCancelled)


def test_work_stopped_before_it_began_has_made_nothing(client: Client, emulator: Emulator) -> None:
    reader = Reader.start(inbox := Inbox())
    work = client.batches.run(requests_of(1), reader)
    work.stop()
    assert isinstance(told(inbox)[-1], BatchCancelled)
    assert len(emulator.requests) <= 1
    reader.stop()


def test_without_a_thread_there_is_no_work_and_nothing_left(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("BatchActor"))
    with pytest.raises(Exception, match="no thread for another batch"):
        client.batches.run(requests_of(1), Inbox())
    assert not pykka.ActorRegistry.get_all()


def test_a_total_timeout_ends_blocking_results(connect: Callable[..., Client]) -> None:
    with Server(Halt()) as server:
        token = CancelToken()
        client = connect(server)
        with pytest.raises(Exception, match=r"timeout\.total"):
            client.batches.results("msgbatch_1", timeout=Timeout(total=0.1))
        acquire(server.hung_up)
        token.cancel("no")
        with pytest.raises(CancelledError, match="no"):
            client.batches.results("msgbatch_1", cancel=token)


def test_a_ledger_is_told_each_result(emulator: Emulator, connect: Callable[..., Client]) -> None:
    ledger = Ledger()
    client = connect(emulator.url, ledger=ledger)
    inbox = Inbox()
    client.batches.run(requests_of(3), inbox, poll=0.001, tag="nightly")
    told(inbox)
    assert ledger.chats.done == 3
    assert ledger.by_tag()["nightly"].input_tokens == 15


def test_an_interrupt_while_a_run_starts_closes_what_was_to_be_sent(connect: Callable[..., Client]) -> None:
    client = connect("http://127.0.0.1:1")
    with pytest.raises(KeyboardInterrupt), interrupted_at(BatchTask.__init__):
        client.batches.run(requests_of(1), Inbox())
    gc.collect()  # a file that was left open would say so
    assert not running_in(client)


def test_work_that_is_no_chat_runs_until_it_ends(connect: Callable[..., Client]) -> None:
    asked, let = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_request():
            asked.set()
            wait(let)
            peer.send(json_answer("404 Not Found", {"type": "error", "error": {"type": "not_found_error"}}))

    with Server(script) as server:
        work = connect(server).batches.follow("msgbatch_1", inbox := Inbox())
        wait(asked)
        assert "running" in repr(work)
        work.cancel()
        let.set()
        assert isinstance(told(inbox)[-1], BatchCancelled)
        assert "cancelled" in repr(work)
