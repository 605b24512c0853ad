"""Batches where something is wrong: an API, a gateway or a server that says odd things; and callers' odd code."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anthropix_actors import (
    AnthropixError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
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
from anthropix_actors._http.urls import origin_of
from anthropix_actors._tasks.task import PATIENCE
from anthropix_actors.batches import actor as batch_module
from anthropix_actors.batches import ref as batch_ref_module
from anthropix_actors.batches.results import MAY_EXIST, address_of, saying_what_may_exist
from anthropix_actors.batches.results_actor import REMEMBERED, Found
from anthropix_actors.batches.task import CANCEL_PATIENCE

from actors import HELLO, Blocking, Inbox, Reader, task_of, until_blocked
from servers import (
    DEADLINE,
    LAST_CHUNK,
    Peer,
    Server,
    batch_of,
    chunk,
    error_body,
    head,
    json_answer,
    line_of,
    until,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCHES = "/v1/messages/batches"
QUESTION: dict[str, Any] = {"model": "claude-test", "messages": HELLO}
ENDS = (BatchDone, BatchFailed, BatchCancelled)
REQUESTS = [{"custom_id": "a", "params": QUESTION}]
GONE = json_answer("404 Not Found", error_body("not_found_error", "no such batch"))
SOON = {"retry-after-ms": "1"}

Json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def told(inbox: Inbox) -> list[Any]:
    """Get all messages up to the terminal one."""
    return inbox.until_end(ENDS)


def ids_of(messages: list[Any]) -> list[str]:
    return [message.custom_id for message in messages if isinstance(message, BatchResult)]


class Cut(bytes):
    """An answer after which the connection is closed."""

    __slots__ = ()


class Api:
    """Answers for batches: those queued for a place, the last one again and again."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.times: list[float] = []
        self._answers: dict[str, list[bytes]] = {}
        self._lock = threading.Lock()

    def on(self, place: str, *answers: Any) -> None:
        """Queue answers: bytes as they are, else a batch."""
        self._answers[place] = [
            answer if isinstance(answer, bytes) else json_answer("200 OK", answer) for answer in answers
        ]

    def batch(self, batch_id: str, *lines: bytes) -> None:
        """Have a batch that has ended."""
        self.on(f"GET {BATCHES}/{batch_id}", batch_of(batch_id, len(lines)))
        self.on(f"GET {BATCHES}/{batch_id}/results", json_answer("200 OK", b"".join(lines)))

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            place = b" ".join(peer.head.split(b" ")[:2]).decode()
            with self._lock:
                self.asked.append(place)
                self.heads.append(peer.head)
                self.times.append(time.monotonic())
                answers = self._answers.get(place, [GONE])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if not answer:
                peer.wait_for_hang_up()
                return
            peer.send(answer)
            if isinstance(answer, Cut):
                return

    def count(self, place: str) -> int:
        return self.asked.count(place)


MAKE = f"POST {BATCHES}"
LOOK = f"GET {BATCHES}/msgbatch_1"
RESULTS = f"{LOOK}/results"


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def server(api: Api) -> Iterator[Server]:
    with Server(api) as running:
        yield running


@pytest.fixture
def client(server: Server, connect: Callable[..., Client]) -> Client:
    return connect(server, max_retries=2)


# A creation: once


UNCLEAR = {
    "500": json_answer("500 Internal Server Error", error_body("api_error"), SOON),
    "502": json_answer("502 Bad Gateway", b"<html>bad gateway</html>", SOON),
    "503": json_answer("503 Service Unavailable", b"", SOON),
    "504": json_answer("504 Gateway Timeout", error_body("timeout_error"), SOON),
    "524": json_answer("524 A Timeout Occurred", b"<html>", SOON),
    "529 of a gateway": json_answer("529 Overloaded", {"error": "overloaded"}, SOON),
    "429 of a gateway": json_answer("429 Too Many Requests", b"<html>", SOON),
    "an error of another form": json_answer("529 x", {"error": {"type": "overloaded_error"}}, SOON),
    "a type of another type": json_answer("529 x", {"type": "error", "error": {"type": ["overloaded_error"]}}, SOON),
    "should be retried, says the header": json_answer("500 x", error_body("api_error"), {"x-should-retry": "true"}),
    "no batch": json_answer("200 OK", {"ok": True}),
    "no JSON": json_answer("200 OK", b"ok"),
    "cut": Cut(json_answer("200 OK", batch_of("msgbatch_1"))[:-9]),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_batch_is_not_made_twice_and_the_error_says_how_to_look_for_it(client: Client, api: Api, name: str) -> None:
    api.on(MAKE, UNCLEAR[name])
    with pytest.raises(AnthropixError, match=r"may have been created.*client\.batches\.list\(\)"):
        client.batches.create(REQUESTS)
    assert api.count(MAKE) == 1
    client.batches.run(REQUESTS, inbox := Inbox(), poll=0.001)
    (failed,) = told(inbox)
    assert "client.batches.list()" in str(failed.error)
    assert list(failed.failures) == ["requests[0:1]"]
    assert "the others" not in str(failed.error), "there are none"
    assert api.count(MAKE) == 2


def test_a_batch_is_not_made_twice_by_a_request_in_general_terms_either(client: Client, api: Api) -> None:
    api.on(MAKE, UNCLEAR["502"])
    with pytest.raises(InternalServerError, match="may have been created"):
        client.request("POST", "/messages/batches", json={"requests": REQUESTS})
    assert api.count(MAKE) == 1
    api.on(MAKE, json_answer("429 x", error_body("rate_limit_error"), SOON), batch_of("msgbatch_1"))
    made: Any = client.request("POST", "/messages/batches", json={"requests": REQUESTS})
    assert made["id"] == "msgbatch_1"


@pytest.mark.parametrize(
    ("status", "kind"), [("429 x", "rate_limit_error"), ("529 x", "overloaded_error"), ("503 x", "overloaded_error")]
)
def test_what_the_api_itself_refused_for_now_is_sent_again(client: Client, api: Api, status: str, kind: str) -> None:
    api.on(MAKE, json_answer(status, error_body(kind), SOON), batch_of("msgbatch_1"))
    assert client.batches.create(REQUESTS)["id"] == "msgbatch_1"
    assert api.count(MAKE) == 2


@pytest.mark.parametrize(
    "answer",
    [
        json_answer("400 x", error_body("invalid_request_error")),
        json_answer("413 x", b"<html>"),
        json_answer("529 x", error_body("overloaded_error"), {"x-should-retry": "false"}),
    ],
)
def test_what_was_refused_was_surely_not_made(client: Client, api: Api, answer: bytes) -> None:
    api.on(MAKE, answer)
    with pytest.raises(APIStatusError) as raised:
        client.batches.create(REQUESTS)
    assert "may have been created" not in str(raised.value)
    assert api.count(MAKE) == 1


def test_a_creation_that_could_not_be_sent_is_tried_again(connect: Callable[..., Client]) -> None:
    with Server(lambda _: None) as server:
        pass
    with pytest.raises(APIConnectionError) as raised:
        connect(server, max_retries=1).batches.create(REQUESTS)
    assert raised.value.attempts == 2
    assert "may have been created" not in str(raised.value)


def test_credentials_that_are_renewed_are_worth_another_attempt(server: Server, api: Api) -> None:
    class Auth:
        def __call__(self, prepared: Any) -> Any:
            return prepared

        def refresh(self) -> None:
            pass

    api.on(MAKE, json_answer("401 x", b"<html>"), batch_of("msgbatch_1"))
    with Client("key", base_url=server.url, auth=Auth(), max_retries=0) as client:
        assert client.batches.create(REQUESTS)["id"] == "msgbatch_1"


def test_what_is_cancelled_while_it_is_made_may_exist_and_says_so(client: Client, api: Api) -> None:
    api.on(MAKE, b"")
    work = client.batches.run(REQUESTS, inbox := Inbox())
    until(lambda: api.asked)
    work.cancel("lunch")
    (cancelled,) = told(inbox)
    assert cancelled.reason == "lunch"
    assert "requests[0:1]: the batch may have been created" in str(cancelled.error)
    token, errors = CancelToken(), []

    def create() -> None:
        try:
            client.batches.create(REQUESTS, cancel=token)
        except CancelledError as exc:
            errors.append(exc)

    thread = threading.Thread(target=create)
    thread.start()
    until(lambda: len(api.asked) == 2)
    token.cancel("no")
    thread.join(DEADLINE)
    assert "client.batches.list()" in errors[0].__notes__[0]
    with pytest.raises(CancelledError) as raised:
        client.batches.create(REQUESTS, cancel=token)
    assert not hasattr(raised.value, "__notes__"), "it was never sent"


def test_what_is_cancelled_after_a_refusal_does_not_exist(client: Client, api: Api) -> None:
    api.on(MAKE, json_answer("529 x", error_body("overloaded_error"), {"retry-after": "30"}))
    work = client.batches.run(REQUESTS, inbox := Inbox())
    inbox.until(BatchRetrying)
    work.cancel("lunch")
    assert told(inbox)[-1].error is None


def test_what_runs_out_of_time_while_it_is_made_may_exist(client: Client, api: Api) -> None:
    api.on(MAKE, b"")
    client.batches.run(REQUESTS, inbox := Inbox(), timeout=Timeout(total=0.2))
    (failed,) = told(inbox)
    assert isinstance(failed.error, APITimeoutError)
    assert "may have been created" in str(failed.error)
    assert failed.failures == {}, "it is the end of the work"


@pytest.mark.parametrize("silent", [LOOK, RESULTS])
def test_what_runs_out_of_time_while_it_is_followed_is_the_end_of_the_work_and_no_failure_of_a_batch(
    client: Client, api: Api, silent: str
) -> None:
    api.batch("msgbatch_1", line_of("a"))
    api.on(silent, b"")
    client.batches.follow("msgbatch_1", inbox := Inbox(), timeout=Timeout(total=0.2))
    *before, failed = told(inbox)
    assert isinstance(failed.error, APITimeoutError)
    assert failed.failures == {}
    assert not [message for message in before if isinstance(message, BatchRetrying)]


@pytest.mark.parametrize("place", [MAKE, RESULTS])
def test_work_that_waits_for_another_attempt_says_so(
    client: Client, api: Api, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("anthropix_actors._http.retry.FIRST_DELAY", 0.001)
    shown = []

    class Looking(Inbox):
        def tell(self, message: Any, /) -> None:
            shown.append((type(message), repr(message.batch).split(",")[0]))
            super().tell(message)

    api.on(MAKE, batch_of("msgbatch_1"))
    api.batch("msgbatch_1", line_of("a"))
    if place == MAKE:
        api.on(MAKE, json_answer("529 x", error_body("overloaded_error"), SOON), batch_of("msgbatch_1"))
    else:  # what has been read is found to be too little
        api.on(RESULTS, json_answer("200 OK", b""), json_answer("200 OK", line_of("a")))
    client.batches.run(REQUESTS, inbox := Looking(), poll=0.001)
    assert isinstance(told(inbox)[-1], BatchDone)
    assert [state for kind, state in shown if kind is BatchRetrying] == ["<BatchRef retrying"]
    assert {state for kind, state in shown if kind in {BatchProgress, BatchResult}} == {"<BatchRef running"}


# Where the results are


@pytest.mark.parametrize("folder", ["", "/anthropic"])
@pytest.mark.parametrize("form", ["{folder}{path}", "{path}", "{path[1:]}", "{origin}{folder}{path}"])
def test_a_relative_url_of_results_is_joined_with_the_base_url(
    api: Api, server: Server, connect: Callable[..., Client], folder: str, form: str
) -> None:
    path = f"{BATCHES}/msgbatch_1/results"
    url = form.replace("{path[1:]}", path[1:]).format(folder=folder, path=path, origin=server.url)
    place = f"GET {folder}{BATCHES}/msgbatch_1"
    api.on(place, batch_of("msgbatch_1", 1, results_url=url))
    api.on(f"{place}/results", json_answer("200 OK", line_of("a")))
    client = connect(server.url + folder)
    assert [line["custom_id"] for line in client.batches.results("msgbatch_1")] == ["a"]
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    assert ids_of(told(inbox)) == ["a"]


@pytest.mark.parametrize("form", ["/kept/a.jsonl", "/anthropic/kept/a.jsonl", "kept/a.jsonl"])
def test_another_relative_url_of_results_is_below_the_base_url_too(
    api: Api, server: Server, connect: Callable[..., Client], form: str
) -> None:
    api.on(f"GET /anthropic{BATCHES}/msgbatch_1", batch_of("msgbatch_1", 1, results_url=form))
    api.on("GET /anthropic/kept/a.jsonl", json_answer("200 OK", line_of("a")))
    client = connect(f"{server.url}/anthropic")
    assert [line["custom_id"] for line in client.batches.results("msgbatch_1")] == ["a"]


@pytest.mark.parametrize("folder", ["", "/anthropic"])
@pytest.mark.parametrize("prefix", ["", "/anthropic"])
def test_behind_a_gateway_results_are_asked_for_at_the_gateway_and_the_key_stays_there(
    api: Api, server: Server, connect: Callable[..., Client], folder: str, prefix: str
) -> None:
    place, path = f"{folder}{BATCHES}/msgbatch_1", f"{prefix * bool(folder)}{BATCHES}/msgbatch_1/results"
    api.on(f"GET {place}/results", json_answer("200 OK", line_of("a")))
    with Server(lambda peer: peer.read_request()) as upstream:
        batch = batch_of("msgbatch_1", 1, results_url=upstream.url + path)
        api.on(f"GET {place}", batch)
        api.on(f"POST {folder}{BATCHES}", batch)
        client = connect(server.url + folder)
        form: Any
        for form in ("msgbatch_1", batch, batch["results_url"]):
            assert [line["custom_id"] for line in client.batches.results(form)] == ["a"]
            assert [line["custom_id"] for line in client.batches.results(form, stream=True)] == ["a"]
            client.batches.results(form, stream=(inbox := Inbox()))
            assert ids_of(told(inbox)) == ["a"]
        client.batches.run(REQUESTS, inbox := Inbox(), poll=0.001)
        assert ids_of(told(inbox)) == ["a"]
        client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001, as_lists=True)
        assert [each.custom_id for each in told(inbox)[-2].results] == ["a"]
        assert upstream.connections == 0


@pytest.mark.parametrize("folder", ["", "/anthropic"])
def test_the_apis_own_path_is_below_the_base_url_also_where_the_origin_is_right(
    api: Api, server: Server, connect: Callable[..., Client], folder: str
) -> None:
    place = f"GET {folder}{BATCHES}/msgbatch_1"
    api.on(place, batch_of("msgbatch_1", 1, results_url=f"{server.url}{BATCHES}/msgbatch_1/results?part=1"))
    api.on(f"{place}/results?part=1", json_answer("200 OK", line_of("a")))
    assert [line["custom_id"] for line in connect(server.url + folder).batches.results("msgbatch_1")] == ["a"]


@pytest.mark.parametrize("path", [f"{BATCHES}/msgbatch_2/results", f"/else{BATCHES}/msgbatch_1/results"])
def test_the_path_of_another_batch_on_another_origin_is_refused(client: Client, api: Api, path: str) -> None:
    with Server(lambda peer: peer.read_request()) as stranger:
        api.on(LOOK, batch_of("msgbatch_1", 1, results_url=stranger.url + path))
        client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
        error = told(inbox)[-1].error
        assert isinstance(error, ProtocolError)
        assert f'client.request("GET", "{BATCHES}/msgbatch_1/results", stream=True)' in str(error)
        assert (stranger.connections, api.asked) == (0, [LOOK])


def test_what_a_refusal_says_to_write_fetches_the_results(client: Client, api: Api) -> None:
    api.on(RESULTS, head(content_type="application/x-jsonl") + chunk(line_of("a")) + LAST_CHUNK)
    advised = client.request("GET", f"{BATCHES}/msgbatch_1/results", stream=True)
    assert [line["custom_id"] for line in advised] == ["a"]


def test_what_tells_results_knows_their_batch(client: Client, api: Api) -> None:
    api.batch("msgbatch_1", line_of("a"), line_of("b"), line_of("c"))
    work = client.batches.results("msgbatch_1", stream=(inbox := Inbox()))
    assert ids_of(told(inbox)) == ["a", "b", "c"]
    assert work.state().counts["expired"] == 3
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001, seen={"a"})
    assert ids_of(told(inbox)) == ["b", "c"]
    assert api.count(f"GET {BATCHES}/msgbatch_1/results") == 2  # once for each


def test_results_are_asked_for_again_after_the_wait_that_is_told(client: Client, api: Api) -> None:
    times: dict[type[Any], float] = {}

    class Timing(Inbox):
        def tell(self, message: Any, /) -> None:
            times[type(message)] = time.monotonic()
            super().tell(message)

    few = json_answer("200 OK", b"")
    api.on(f"GET {BATCHES}/msgbatch_1", batch_of("msgbatch_1", 1))
    api.on(f"GET {BATCHES}/msgbatch_1/results", few, json_answer("200 OK", line_of("a")))
    client.batches.follow("msgbatch_1", inbox := Timing(), poll=0.001)
    assert ids_of(told(inbox)) == ["a"]
    assert times[BatchResult] - times[BatchRetrying] >= 0.3


@pytest.mark.parametrize(
    "url", ["//evil.example/x", "http://[x", "ftp://127.0.0.1/x", "", " ", 5, ["/x"], {}, True, "http://a@127.0.0.1/"]
)
def test_an_odd_url_of_results_is_the_servers_fault(client: Client, api: Api, url: Any) -> None:
    api.on(LOOK, batch_of("msgbatch_1", 1, results_url=url))
    with pytest.raises(ProtocolError, match="results_url"):
        client.batches.results("msgbatch_1")
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    assert isinstance(told(inbox)[-1].error, ProtocolError)
    with pytest.raises(ParameterError, match="batch: expected its id"):
        client.batches.follow(f"{client.base_url}/x", inbox)


ENDINGS = ["", f"{BATCHES}/b/results", f"{BATCHES}/b/results?a=b#c", f"/p{BATCHES}/b/results"]


@given(
    st.text() | st.from_regex(r"[a-z]{0,5}:?/{0,3}[a-z.@:/?#\[\]\\]{0,20}"),
    st.sampled_from(ENDINGS),
    st.sampled_from(["", "/p", "/p/q"]),
    st.sampled_from([None, f"{BATCHES}/b/results"]),
)
def test_whatever_the_url_is_no_other_origin_is_asked(url: str, ending: str, folder: str, path: str | None) -> None:
    base = f"https://api.example{folder}"
    with contextlib.suppress(ValueError):
        address = address_of(url + ending, base, path)
        assert origin_of(address) == origin_of(base)
        assert address.isascii()
        assert address.isprintable()


# What is told is counted

MESSAGE = {"id": "m", "model": "m", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}
SUCCEEDED = [
    json.dumps({"custom_id": f"n{n}", "result": {"type": "succeeded", "message": MESSAGE}}).encode() + b"\n"
    for n in range(1500)
]


@pytest.mark.parametrize("actor", [False, True])
def test_what_was_told_before_a_cancel_is_what_is_counted(
    server: Server, api: Api, connect: Callable[..., Client], *, actor: bool
) -> None:
    api.batch("msgbatch_1", *SUCCEEDED)
    inbox, ledger = Inbox(), Ledger()
    client = connect(server, ledger=ledger)
    gate = threading.Event()
    reader = Reader.start(inbox, gate=gate)
    work = client.batches.results("msgbatch_1", stream=reader if actor else Cancelling(inbox))
    if actor:
        until_blocked(work)  # for the reader
        work.cancel("enough")
        gate.set()
    messages = told(inbox)
    assert isinstance(messages[-1], BatchCancelled)
    count = len(ids_of(messages))
    assert 0 < count < 1500
    assert (work.state().told, ledger.chats.done) == (count, count)
    reader.stop()


def test_the_result_that_a_subscriber_failed_to_take_is_the_last_that_is_counted(
    server: Server, api: Api, connect: Callable[..., Client]
) -> None:
    api.batch("msgbatch_1", *SUCCEEDED)
    ended, ledger = threading.Event(), Ledger()
    subscriber = Failing()
    work = connect(server, ledger=ledger).batches.results("msgbatch_1", stream=subscriber)
    work.add_done_callback(lambda _: ended.set())
    wait(ended)
    assert (subscriber.count, work.state().told, ledger.chats.done) == (46, 46, 46)


class Failing:
    """Raises at its 46th result."""

    count = 0

    def tell(self, _: Any) -> None:
        self.count += 1
        if self.count == 46:
            raise ValueError("no more")


def test_a_ledger_hears_of_all_results_before_the_end_though_a_subscriber_does_not_return(
    server: Server, api: Api, connect: Callable[..., Client]
) -> None:
    api.batch("msgbatch_1", *SUCCEEDED)
    ledger, subscriber = Inbox(), BlockingLate()
    work = connect(server, ledger=ledger).batches.results("msgbatch_1", stream=subscriber)
    wait(subscriber.began)
    work.cancel("enough")
    messages = told(ledger)
    subscriber.let.set()
    assert ids_of(messages) == [f"n{n}" for n in range(46)]
    assert isinstance(messages[-1], BatchCancelled)
    told(subscriber)
    wait(task_of(work).audience.delivered)
    assert ledger.queue.empty()


class BlockingLate(Blocking):
    """Does not return from its 46th result."""

    count = 0

    def tell(self, message: Any, /) -> None:
        self.count += 1
        if self.count == 46:
            super().tell(message)
        else:
            Inbox.tell(self, message)


class Cancelling:
    """Cancels the work after its 46th result."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.count = 0

    def tell(self, message: Any) -> None:
        self.inbox.tell(message)
        self.count += 1
        if self.count == 46:
            message.batch.cancel("enough")


# Time


def ending_after(seconds: float) -> Callable[[Peer], None]:
    """Get a script in which a batch ends so many seconds after it was first asked for."""
    began: list[float] = []

    def script(peer: Peer) -> None:
        while peer.read_request():
            began.append(time.monotonic())
            if b"/results" in peer.head.split(b"\r\n")[0]:
                peer.send(json_answer("200 OK", line_of("a")))
            else:
                over = time.monotonic() - began[0] > seconds
                peer.send(json_answer("200 OK", batch_of("msgbatch_1", 1 if over else None)))

    return script


@pytest.mark.parametrize("timeout", [0.2, Timeout(total=0.2)])
@pytest.mark.parametrize("way", ["run", "follow"])
def test_the_clients_total_timeout_is_not_the_works_and_its_own_is(
    connect: Callable[..., Client], timeout: Any, way: str
) -> None:
    what: Any = REQUESTS if way == "run" else "msgbatch_1"
    with Server(ending_after(0.6)) as server:
        getattr(connect(server, timeout=timeout).batches, way)(what, inbox := Inbox(), poll=0.01)
        assert isinstance(told(inbox)[-1], BatchDone)
    with Server(ending_after(30)) as server:
        getattr(connect(server).batches, way)(what, inbox := Inbox(), poll=0.01, timeout=timeout)
        assert isinstance(told(inbox)[-1].error, APITimeoutError)
    with Server(ending_after(-1)) as server:
        work = connect(server, timeout=timeout).batches.results("msgbatch_1", stream=(inbox := Inbox()))
        assert isinstance(told(inbox)[-1], BatchDone)
        assert task_of(work).deadline is None


def test_a_stop_after_a_cancel_at_the_api_does_not_wait_for_a_silent_api(client: Client, api: Api) -> None:
    api.on(LOOK, batch_of("msgbatch_1"))
    api.on(f"POST {BATCHES}/msgbatch_1/cancel", b"")
    work = client.batches.follow("msgbatch_1", inbox := Inbox())
    inbox.until(BatchProgress)
    work.cancel("enough", at_api=True)
    until(lambda: api.asked[-1].endswith("/cancel"))
    began = time.monotonic()
    work.stop()
    assert time.monotonic() - began < 5, "the timeouts of the request are 15 s"
    assert "did not confirm in time" in str(told(inbox)[-1].error)


def test_a_stop_after_a_cancel_at_the_api_lets_it_be_cancelled(
    client: Client, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_ref_module, "STOP_PATIENCE", DEADLINE)  # the machine may be busy
    api.on(LOOK, batch_of("msgbatch_1"))
    api.on(f"POST {BATCHES}/msgbatch_1/cancel", batch_of("msgbatch_1", processing_status="canceling"))
    work = client.batches.follow("msgbatch_1", inbox := Inbox(), extra_headers={"x-mine": "1"})
    inbox.until(BatchProgress)
    work.cancel("enough", at_api=True)
    work.stop()
    assert told(inbox)[-1] == BatchCancelled(work, "enough", None)
    assert work.state().batches[0]["processing_status"] == "canceling"
    assert b"x-mine" in api.heads[-1].lower()


def test_a_cancel_at_the_api_has_its_time(connect: Callable[..., Client]) -> None:
    asked, let = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_request():
            if peer.head.startswith(f"POST {BATCHES}/msgbatch_1/cancel ".encode()):
                asked.set()
                wait(let)
            peer.send(json_answer("200 OK", batch_of("msgbatch_1")))

    with Server(script) as server:
        work = connect(server).batches.follow("msgbatch_1", inbox := Inbox())
        inbox.until(BatchProgress)
        work.cancel("enough", at_api=True)
        wait(asked)
        task_of(work).sweep(time.monotonic())  # as the sweeper does, sooner or later
        let.set()
        assert told(inbox)[-1] == BatchCancelled(work, "enough", None)


def test_after_a_cancel_at_the_api_a_thread_that_is_held_up_has_a_second_more_before_others_tell_the_end(
    client: Client, api: Api
) -> None:
    entered, gate = threading.Event(), threading.Event()

    class Blocking:
        def __contains__(self, name: object) -> bool:
            entered.set()
            wait(gate)
            return False

    api.batch("msgbatch_1", line_of("a"))
    work = client.batches.follow("msgbatch_1", inbox := Inbox(), seen=Blocking())
    wait(entered)
    task, second = task_of(work), 10 * PATIENCE
    before = time.monotonic()
    work.cancel("enough", at_api=True)
    after = time.monotonic()
    task.sweep(before)  # as the sweeper does: here, at times that are still to come
    task.sweep(after + CANCEL_PATIENCE)
    task.sweep(before + CANCEL_PATIENCE + second - 0.01)
    assert not task.finished.is_set()

    def is_over() -> bool:
        task.sweep(after + CANCEL_PATIENCE + second)
        return bool(task.finished.is_set())

    until(is_over)
    assert "did not confirm in time" in str(told(inbox)[-1].error)
    gate.set()


def test_a_look_waits_as_long_as_the_api_asks(client: Client, api: Api) -> None:
    running = json_answer("200 OK", batch_of("msgbatch_1"), {"retry-after": "0.4"})
    api.on(LOOK, running, batch_of("msgbatch_1", 1))
    api.on(RESULTS, json_answer("200 OK", line_of("a")))
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    assert isinstance(told(inbox)[-1], BatchDone)
    assert api.times[1] - api.times[0] >= 0.4


@pytest.mark.parametrize("asked", ["1e10", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_look_waits_no_longer_than_there_is_time(client: Client, api: Api, asked: str) -> None:
    api.on(LOOK, json_answer("200 OK", batch_of("msgbatch_1"), {"retry-after": asked}))
    work = client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    inbox.until(BatchProgress)
    until_blocked(work)  # an hour
    work.cancel()
    assert isinstance(told(inbox)[-1], BatchCancelled)
    assert api.count(LOOK) == 1


def test_looks_get_rarer(client: Client, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "FIRST_POLL", 0.02)
    api.on(LOOK, *[batch_of("msgbatch_1")] * 7, batch_of("msgbatch_1", 1))
    api.on(RESULTS, json_answer("200 OK", line_of("a")))
    client.batches.follow("msgbatch_1", inbox := Inbox())
    assert isinstance(told(inbox)[-1], BatchDone)
    waits = [after - before for before, after in zip(api.times, api.times[1:8], strict=False)]
    assert all(waited >= 0.02 * 1.5**number for number, waited in enumerate(waits))


@pytest.mark.parametrize("poll", [float("inf"), 1e10])
def test_a_poll_is_a_time_that_can_be_waited(client: Client, poll: float) -> None:
    with pytest.raises(ParameterError, match="poll"):
        client.batches.follow("msgbatch_1", Inbox(), poll=poll)


# One of several


def test_of_three_batches_one_was_deleted_and_the_others_go_on(
    client: Client, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("msgbatch_1", "msgbatch_3"):
        api.on(f"GET {BATCHES}/{name}", batch_of(name), batch_of(name), batch_of(name, 1))
        api.on(f"GET {BATCHES}/{name}/results", json_answer("200 OK", line_of(name)))
    api.on(f"GET {BATCHES}/msgbatch_2", batch_of("msgbatch_2"), GONE)
    work = client.batches.follow(["msgbatch_1", "msgbatch_2", "msgbatch_3"], inbox := Inbox(), poll=0.001)
    *before, failed = told(inbox)
    assert sorted(ids_of(before)) == ["msgbatch_1", "msgbatch_3"]
    assert isinstance(failed.error, NotFoundError)
    assert list(failed.failures) == ["msgbatch_2"]
    assert "msgbatch_2: no such batch (the results of the others were delivered)" in str(failed.error)
    with pytest.raises(NotFoundError):
        work.result(1)
    assert (work.state().told, list(work.state().failures)) == (2, ["msgbatch_2"])
    assert "msgbatch_2" in caplog.text


def test_several_that_failed_are_all_named(connect: Callable[..., Client], server: Server) -> None:
    ids = [f"msgbatch_{number}" for number in range(9)]
    connect(server).batches.follow(ids, inbox := Inbox())
    failed = told(inbox)[-1]
    assert list(failed.failures) == ids
    assert "msgbatch_0: no such batch (failed as well: msgbatch_1," in str(failed.error)
    assert "msgbatch_5, ...; see failures" in str(failed.error)


@pytest.mark.parametrize("number", [1, 2, 6])
def test_others_are_named_where_there_are_any(
    connect: Callable[..., Client], server: Server, api: Api, number: int
) -> None:
    ids = [f"msgbatch_{place}" for place in range(number)]
    for name in ids:
        api.on(f"GET {BATCHES}/{name}", GONE)
    if number == 2:
        api.batch("msgbatch_1", line_of("a"))
    connect(server, max_retries=0).batches.follow(ids, inbox := Inbox(), poll=0.001)
    text = str(told(inbox)[-1].error)
    assert ("msgbatch_0: no such batch (" in text) == (number > 1)
    assert ("(the results of the others were delivered)" in text) == (number == 2)
    assert ("msgbatch_4, msgbatch_5; see failures" in text) == (number == 6)


def test_what_got_no_answer_is_not_named_by_the_answer_to_another(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            if peer.head.startswith(f"{LOOK} ".encode()):
                return
            lines = b"/results" in peer.head.split(b"\r\n")[0]
            peer.send(json_answer("200 OK", line_of("b") if lines else batch_of("msgbatch_2", 1)))

    with Server(script) as server:
        client = connect(server, max_retries=0)
        client.batches.follow(["msgbatch_1", "msgbatch_2"], inbox := Inbox(), poll=0.001)
        failed = told(inbox)[-1]
    assert isinstance(failed.error, APIConnectionError)
    assert list(failed.failures) == ["msgbatch_1"]
    assert (failed.error.attempts, failed.error.request_id) == (1, None)


NOTHING = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}


def test_counts_of_all_batches_are_added_up_also_those_that_are_new(client: Client, api: Api) -> None:
    for name in ("msgbatch_1", "msgbatch_2"):
        api.on(f"GET {BATCHES}/{name}", batch_of(name, request_counts={"processing": 1, "paused": 2}))
    work = client.batches.follow(["msgbatch_1", "msgbatch_2"], inbox := Inbox(), poll=0.001)
    until(lambda: work.state().counts == {**NOTHING, "processing": 2, "paused": 4})
    work.cancel()
    told(inbox)


def test_progress_is_told_of_a_batch_that_is_new_and_then_only_of_counts_that_change(client: Client, api: Api) -> None:
    running = batch_of("msgbatch_1", request_counts=None)
    api.on(LOOK, running, running, batch_of("msgbatch_1", 0))
    api.on(RESULTS, json_answer("200 OK", b""))
    work = client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    assert told(inbox) == [BatchProgress(work, NOTHING), BatchDone(work, NOTHING)]  # type: ignore[arg-type]


def test_what_the_api_refuses_was_not_made_and_what_fails_in_it_may_be() -> None:
    for status, may in ((399, True), (400, False), (498, False), (500, True)):
        with pytest.raises(APIStatusError) as caught, saying_what_may_exist():
            raise APIStatusError("no", status=status)
        assert (MAY_EXIST in str(caught.value)) == may


def test_a_batch_that_always_fails_holds_up_no_other(client: Client, api: Api) -> None:
    down = json_answer("500 x", error_body("api_error"), SOON)
    api.on(LOOK, down)
    api.on(f"GET {BATCHES}/msgbatch_2", batch_of("msgbatch_2", 2))
    api.on(f"GET {BATCHES}/msgbatch_2/results", *[json_answer("500 x", error_body("api_error"), SOON)] * 12, line(2))
    api.batch("msgbatch_3", line_of("c"))
    work = client.batches.follow(["msgbatch_1", "msgbatch_2", "msgbatch_3"], inbox := Inbox(), poll=0.001)
    assert [inbox.until(BatchResult).custom_id for _ in range(3)] == ["c", "n0", "n1"]
    work.cancel()
    assert isinstance(told(inbox)[-1], BatchCancelled)


def test_results_that_fail_three_times_wait_for_the_next_look_and_no_longer(
    server: Server, api: Api, connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "FIRST_POLL", 0.05)
    api.batch("msgbatch_1", line_of("a"))
    down = json_answer("500 x", error_body("api_error"), SOON)
    api.on(RESULTS, *[down] * 6, json_answer("200 OK", line_of("a")))
    connect(server, max_retries=1).batches.follow("msgbatch_1", inbox := Inbox())
    messages = told(inbox)
    assert ids_of(messages) == ["a"]
    retries = [(each.attempt, each.delay) for each in messages if isinstance(each, BatchRetrying)]
    one, two, three = retries[1::2]  # the others are of the single request
    assert (one, two, three) == ((1, 0.001), (2, 0.001), (3, 0.05))
    assert api.count(LOOK) == 2


def test_results_are_read_again_after_a_wait_with_jitter(
    api: Api, connect: Callable[..., Client], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that many clients of a server that was down do not come back at the same moments."""
    monkeypatch.setattr("anthropix_actors._http.retry.FIRST_DELAY", 0.001)
    api.batch("msgbatch_1", line_of("a"))
    cut = json_answer("200 OK", line_of("a")[:-9])
    api.on(RESULTS, cut, cut, json_answer("200 OK", line_of("a")))
    connect(server, max_retries=1).batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    delays = [each.delay for each in told(inbox) if isinstance(each, BatchRetrying)]
    assert len(delays) == 2
    assert 0.00075 <= delays[0] < 0.001
    assert 0.0015 <= delays[1] < 0.002


def line(count: int) -> bytes:
    return json_answer("200 OK", b"".join(line_of(f"n{number}") for number in range(count)))


def test_a_batch_that_could_not_be_made_is_named_and_the_others_are_told(
    client: Client, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropix_actors.batches.body.MAX_REQUESTS", 2)
    api.on(MAKE, batch_of("msgbatch_1"), json_answer("502 x", b"<html>", SOON), batch_of("msgbatch_3"))
    for name, ids in {"msgbatch_1": "ab", "msgbatch_3": "e"}.items():
        api.batch(name, *map(line_of, ids))
    requests = [{"custom_id": name, "params": QUESTION} for name in "abcde"]
    work = client.batches.run(requests, inbox := Inbox(), poll=0.001)
    *before, failed = told(inbox)
    assert sorted(ids_of(before)) == ["a", "b", "e"]
    assert isinstance(failed.error, InternalServerError)
    assert list(failed.failures) == ["requests[2:4]"]
    assert work.ids == ("msgbatch_1", "msgbatch_3")
    assert api.count(MAKE) == 3


def test_while_the_first_of_two_batches_cannot_be_made_the_other_goes_on_and_the_log_says_so(
    client: Client, api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("anthropix_actors.batches.body.MAX_REQUESTS", 1)
    api.on(MAKE, json_answer("502 x", b"<html>"), batch_of("msgbatch_2"))
    api.batch("msgbatch_2", line_of("b"))
    client.batches.run([{"custom_id": name, "params": QUESTION} for name in "ab"], inbox := Inbox(), poll=0.001)
    messages = told(inbox)
    assert ids_of(messages) == ["b"]
    assert list(messages[-1].failures) == ["requests[0:1]"]
    assert any(text.startswith("requests[0:1]: ") and "the other batches go on" in text for text in caplog.messages)


# Odd results


ODD = [
    {"custom_id": "b"},
    {"custom_id": "b", "result": {}},
    {"custom_id": "b", "result": {"type": 5}},
    {"custom_id": "b", "result": {"type": ["expired"]}},
    {"custom_id": None, "result": {"type": "expired"}},
    {"custom_id": "b", "result": {"type": "succeeded"}},
    {"custom_id": "b", "result": {"type": "errored", "error": None}},
]


@pytest.mark.parametrize("odd", ODD)
def test_a_line_that_is_no_result_costs_itself_and_is_named(client: Client, api: Api, odd: Any) -> None:
    api.batch("msgbatch_1", line_of("a"), json.dumps(odd).encode() + b"\n", b"{}\n", line_of("c"))
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    *before, failed = told(inbox)
    assert ids_of(before) == ["a", "c"]
    assert isinstance(failed.error, ProtocolError)
    assert "line 2 is not a result: {'custom_id':" in str(failed.error)
    assert "nor are 1 other" in str(failed.error)
    got: list[str] = []
    with pytest.raises(ProtocolError, match="line 2 is not a result"):
        got.extend(each["custom_id"] for each in client.batches.results("msgbatch_1", stream=True))
    assert got == ["a", "c"]


def test_one_odd_line_is_named_alone(client: Client, api: Api) -> None:
    api.batch("msgbatch_1", line_of("a"), b"{}\n")
    with pytest.raises(ProtocolError, match="line 2 is not a result") as raised:
        list(client.batches.results("msgbatch_1", stream=True))
    assert "nor are" not in str(raised.value)


def test_a_result_of_a_type_that_is_new_to_us_is_told(client: Client, api: Api) -> None:
    odd = b'{"custom_id": "b", "result": {"type": "postponed"}}\n'
    api.batch("msgbatch_1", odd)
    api.on(LOOK, batch_of("msgbatch_1", 1, request_counts=None))
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    assert told(inbox)[-1].counts["postponed"] == 1


@pytest.mark.parametrize("way", ["follow", "results"])
def test_a_result_that_comes_twice_is_told_once(client: Client, api: Api, way: str) -> None:
    api.batch("msgbatch_1", line_of("a"), line_of("a"), line_of("b"), line_of("a"))
    api.on(LOOK, batch_of("msgbatch_1", 2))
    if way == "follow":
        client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    else:
        client.batches.results("msgbatch_1", stream=(inbox := Inbox()))
    messages = told(inbox)
    assert ids_of(messages) == ["a", "b"]
    assert messages[-1].counts["expired"] == 2


def test_a_file_that_ends_early_at_the_end_of_a_line_is_read_again(client: Client, api: Api) -> None:
    lines = [line_of(name) for name in "abc"]
    api.batch("msgbatch_1", *lines)
    api.on(RESULTS, *[json_answer("200 OK", b"".join(lines[:count])) for count in (1, 1, 2, 3)])
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    messages = told(inbox)
    assert ids_of(messages) == ["a", "b", "c"]
    retries = [message for message in messages if isinstance(message, BatchRetrying)]
    assert "the results end after 1 of 3" in str(retries[0].error)
    assert [retry.attempt for retry in retries] == [1, 2, 1]
    assert [(retry.error.attempts, retry.error.request_id) for retry in retries] == [(1, "req_test")] * 3
    for stream in (False, True):
        api.on(RESULTS, json_answer("200 OK", lines[0]))
        with pytest.raises(TruncatedError, match="1 of 3"):
            list(client.batches.results("msgbatch_1", stream=stream))
    client.batches.results("msgbatch_1", stream=(inbox := Inbox()))
    assert isinstance(told(inbox)[-1].error, TruncatedError)


@pytest.mark.parametrize(("names", "readings"), [("a", 3), ("", 2)])
def test_counts_that_are_wrong_for_ever_are_not_believed_for_ever(
    client: Client, api: Api, monkeypatch: pytest.MonkeyPatch, names: str, readings: int
) -> None:
    monkeypatch.setattr(batch_module, "FEWER_RESULTS", 2)
    api.batch("msgbatch_1", *map(line_of, names))
    api.on(LOOK, batch_of("msgbatch_1", 2))
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    *before, failed = told(inbox)
    assert ids_of(before) == list(names)
    assert isinstance(failed.error, TruncatedError)
    assert api.count(RESULTS) == readings


def test_a_file_that_is_cut_says_nothing_of_the_counts(
    client: Client, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "FEWER_RESULTS", 1)
    monkeypatch.setattr("anthropix_actors._http.retry.FIRST_DELAY", 0.001)
    api.batch("msgbatch_1", line_of("a"))
    whole = json_answer("200 OK", line_of("a"))
    api.on(RESULTS, *[Cut(whole[: -len(line_of("a"))])] * 2, whole)
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    messages = told(inbox)
    assert [message.attempt for message in messages if isinstance(message, BatchRetrying)] == [1, 2]
    assert ids_of(messages) == ["a"]


@pytest.mark.parametrize("missing", ["msgbatch_1", "msgbatch_2"])
def test_a_batch_that_was_just_made_may_take_a_moment_to_appear(client: Client, api: Api, missing: str) -> None:
    api.on(MAKE, batch_of("msgbatch_1"))
    for name in ("msgbatch_1", "msgbatch_2"):
        api.batch(name, line_of(name))
    api.on(f"GET {BATCHES}/{missing}", GONE, GONE, batch_of(missing, 1))
    if missing == "msgbatch_1":
        client.batches.run(REQUESTS, inbox := Inbox(), poll=0.001)
    else:
        client.batches.follow(["msgbatch_2", "msgbatch_1"], inbox := Inbox(), poll=0.001)
    messages = told(inbox)
    assert isinstance(messages[-1], BatchDone)
    assert missing in ids_of(messages)
    retries = [each for each in messages if isinstance(each, BatchRetrying)]
    assert [(type(each.error), each.delay) for each in retries] == [(NotFoundError, 0.001)] * 2


def test_a_batch_that_never_appears_is_an_error(client: Client, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "NEW_FOR", 0.1)
    api.on(MAKE, batch_of("msgbatch_1"))
    client.batches.run(REQUESTS, inbox := Inbox(), poll=0.001)
    assert isinstance(told(inbox)[-1].error, NotFoundError)


def test_results_that_come_all_at_once_are_bounded(server: Server, api: Api, connect: Callable[..., Client]) -> None:
    api.batch("msgbatch_1", *[line_of(f"n{number}") for number in range(100)])
    client = connect(server, max_answer_bytes=1000)
    with pytest.raises(ProtocolError, match="max_answer_bytes"):
        client.batches.results("msgbatch_1")
    assert len(list(client.batches.results("msgbatch_1", stream=True))) == 100
    client.batches.results("msgbatch_1", stream=(inbox := Inbox()))
    assert len(ids_of(told(inbox))) == 100
    api.batch("msgbatch_1", line_of("a"), json.dumps({"custom_id": "b" * 300_000}).encode() + b"\n")
    with pytest.raises(ProtocolError, match="line 2 is longer than 1000 bytes"):
        list(client.batches.results("msgbatch_1", stream=True))


# Whatever a server says


FIELDS = ["id", "processing_status", "request_counts", "results_url", "type", "expires_at"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(FIELDS), value=Json, missing=st.booleans())
def test_any_json_in_place_of_a_field_of_a_batch_is_an_outcome_or_an_error_of_ours(
    api: Api, client: Client, field: str, value: Any, *, missing: bool
) -> None:
    def odd(batch: dict[str, Any]) -> Any:
        return {name: each for name, each in batch.items() if name != field or not missing} | (
            {} if missing else {field: value}
        )

    api.batch("msgbatch_1", line_of("a"))
    api.on(MAKE, odd(batch_of("msgbatch_1")))
    api.on(LOOK, odd(batch_of("msgbatch_1")), odd(batch_of("msgbatch_1", 1)), batch_of("msgbatch_1", 1))
    work = client.batches.run(REQUESTS, inbox := Inbox(), poll=0.001)
    end = told(inbox)[-1]
    assert isinstance(end, BatchDone) or is_ours(end.error)
    assert work.state().told in {0, 1}
    for call in (client.batches.retrieve, client.batches.results):
        api.on(LOOK, odd(batch_of("msgbatch_1", 1)))
        with contextlib.suppress(ProtocolError, ConflictError, NotFoundError, TruncatedError):
            call("msgbatch_1")


def is_ours(error: AnthropixError) -> bool:
    """Whether it is an error about the API, not one of our own making, nor of the caller's."""
    return isinstance(error, (ProtocolError, APIStatusError, TruncatedError))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=Json, name=st.sampled_from(["processing", "succeeded", "expired", "new"]))
def test_any_json_in_place_of_a_count_costs_no_result(api: Api, client: Client, value: Any, name: str) -> None:
    ended = batch_of("msgbatch_1", 1)
    ended["request_counts"][name] = value if not isinstance(value, int) or value < 0 else 0
    api.batch("msgbatch_1", line_of("a"))
    api.on(LOOK, ended)
    work = client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001)
    messages = told(inbox)
    assert isinstance(messages[-1], BatchDone)
    assert ids_of(messages) == ["a"]
    assert all(type(count) is int for count in work.state().counts.values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(["custom_id", "result", "type", "message", "error", "line"]), value=Json)
def test_any_json_in_place_of_a_field_of_a_result_is_told_or_an_error_of_ours(
    api: Api, client: Client, field: str, value: Any
) -> None:
    whole: Any = {"custom_id": "a", "result": {"type": "succeeded", "message": {"id": "m"}, "error": {}}}
    if field == "line":
        whole = value
    elif field in whole:
        whole[field] = value
    else:
        whole["result"][field] = value
    api.batch("msgbatch_1", json.dumps(whole).encode() + b"\n")
    api.on(LOOK, batch_of("msgbatch_1", 1))
    client.batches.results("msgbatch_1", stream=(inbox := Inbox()))
    *before, end = told(inbox)
    if isinstance(end, BatchDone):
        assert [message.result for message in before] == [whole["result"]]
    else:
        assert isinstance(end.error, (ProtocolError, TruncatedError))


# Callers' code


@pytest.mark.parametrize("seen", ["n1", b"n1", iter(["n1"]), 5, None])
def test_what_cannot_say_what_was_seen_is_refused(client: Client, api: Api, seen: Any) -> None:
    with pytest.raises(ParameterError, match="seen"):
        client.batches.follow("msgbatch_1", Inbox(), seen=seen)
    assert api.asked == []


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_the_callers_memory_raises_ends_its_work_alone(client: Client, api: Api, kind: Any) -> None:
    class Seen:
        def __contains__(self, name: object) -> bool:
            raise kind("no")

        def __ne__(self, other: object) -> bool:
            raise kind("no")

    api.batch("msgbatch_1", line_of("a"))
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001, seen=Seen())
    error = told(inbox)[-1].error
    assert isinstance(error, ParameterError)
    assert "seen: it raised" in str(error)
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001, seen=())
    assert isinstance(told(inbox)[-1], BatchDone)


def test_a_ledger_hears_of_results_while_more_are_to_come(connect: Callable[..., Client]) -> None:
    api = Api()
    api.on(LOOK, batch_of("msgbatch_1", 2))
    api.on(RESULTS, head() + chunk(line_of("a")))  # and nothing more
    with Server(api) as server:
        client = connect(server, ledger=(books := Inbox()))
        work = client.batches.follow("msgbatch_1", Inbox(), poll=0.001)
        assert books.next().custom_id == "a"
        assert work.state().told == 1
        work.cancel()


def test_a_file_that_is_read_once_is_remembered_as_far_as_it_is_likely_to_repeat_itself(
    client: Client, api: Api
) -> None:
    names = [f"n{number}" for number in range(2 * REMEMBERED)]
    repeated = [*names[:REMEMBERED], *names[1:9], *names[REMEMBERED:], names[-1], *names[REMEMBERED:][:9]]
    api.on(LOOK, batch_of("msgbatch_1", len(names)))
    api.on(RESULTS, json_answer("200 OK", b"".join(map(line_of, repeated))))
    client.batches.results("msgbatch_1", stream=(inbox := Inbox()))
    messages = told(inbox)
    assert ids_of(messages) == names
    assert isinstance(messages[-1], BatchDone)
    names = [f"n{number}" for number in range(4 * REMEMBERED)]
    api.on(LOOK, batch_of("msgbatch_1", len(names)))
    api.on(RESULTS, json_answer("200 OK", b"".join(map(line_of, [*names, names[0]]))))
    client.batches.results("msgbatch_1", stream=(inbox := Inbox()))
    assert ids_of(told(inbox)) == [*names, names[0]]  # that far back, none is remembered


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 5), st.integers(1, 4))
def test_names_are_kept_as_long_as_they_should_be_and_not_twice_as_long(
    numbers: list[int], most: int, run: int
) -> None:
    found, all_found, came = Found(most), Found(), list[str]()
    for start in range(0, len(numbers), run):
        for name in map(str, numbers[start : start + run]):
            if name not in found.names and name not in found.older:
                assert name not in came[-most:]
                found.names.add(name)
                came.append(name)
            all_found.names.add(name)
        found.forget_oldest()
        assert len(found.names) < most
        all_found.forget_oldest()
        assert len(found.names) + len(found.older) < 2 * most + 2 * run
    assert len(found) == len(came)
    assert len(all_found) == len(all_found.names) == len(set(numbers))


def test_what_comes_before_the_callers_memory_raises_is_delivered_and_counted(client: Client, api: Api) -> None:
    class Seen:
        def __contains__(self, name: object) -> bool:
            if name == "c":
                raise ValueError("no")
            return name == "a"

    api.batch("msgbatch_1", *map(line_of, "abcd"))
    work = client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001, seen=Seen())
    messages = told(inbox)
    assert ids_of(messages) == ["b"]
    assert isinstance(messages[-1].error, ParameterError)
    assert work.state().told == 1


def test_the_callers_memory_may_use_the_client_and_be_cancelled(client: Client, api: Api) -> None:
    class Seen:
        def __contains__(self, name: object) -> bool:
            return client.batches.retrieve("msgbatch_1")["id"] == name

    api.batch("msgbatch_1", line_of("a"), line_of("msgbatch_1"))
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001, seen=Seen())
    assert ids_of(told(inbox)) == ["a"]
    entered, gate = threading.Event(), threading.Event()

    class Blocking:
        def __contains__(self, name: object) -> bool:
            entered.set()
            wait(gate)
            return False

    work = client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001, seen=Blocking())
    wait(entered)
    work.cancel("enough")
    assert work.state().told == 0
    gate.set()
    assert isinstance(told(inbox)[-1], BatchCancelled)


def test_options_of_work_are_fixed_when_it_starts(client: Client, api: Api) -> None:
    api.on(LOOK, batch_of("msgbatch_1"), batch_of("msgbatch_1", 1))
    api.on(RESULTS, json_answer("200 OK", line_of("a")))
    headers = {"x-mine": "1"}
    client.batches.follow("msgbatch_1", inbox := Inbox(), poll=0.001, beta=iter(["one"]), extra_headers=headers)
    headers["x-mine"] = "line\nend"
    assert isinstance(told(inbox)[-1], BatchDone)
    assert all(b"anthropic-beta: one" in head.lower() and b"x-mine: 1" in head.lower() for head in api.heads)
    odd: list[dict[str, Any]] = [{"beta": 5}, {"extra_headers": {"a b": "c"}}, {"extra_headers": 5}, {"timeout": "x"}]
    for options in odd:
        with pytest.raises(ParameterError):
            client.batches.run(REQUESTS, inbox, **options)


def test_what_a_forked_child_knows_of_the_work_cancels_nothing(client: Client, api: Api) -> None:
    api.batch("msgbatch_1", line_of("a"))
    work = client.batches.follow("msgbatch_1", inbox := Inbox())
    assert isinstance(told(inbox)[-1], BatchDone)
    task_of(work).after_fork()
    assert str(task_of(work).parting.cause) == "the process was forked"
    assert work.result(1)["expired"] == 1


def test_what_a_caller_does_with_what_it_got_changes_nothing(client: Client, api: Api) -> None:
    api.on(LOOK, batch_of("msgbatch_1"), batch_of("msgbatch_1", 1))
    api.on(RESULTS, json_answer("200 OK", line_of("a")))
    api.on(f"POST {BATCHES}/msgbatch_1/cancel", batch_of("msgbatch_1", processing_status="canceling"))
    work = client.batches.follow("msgbatch_1", inbox := Inbox())
    inbox.until(BatchProgress)
    work.state().batches[0].clear()  # type: ignore[attr-defined]
    work.cancel("enough", at_api=True)
    assert told(inbox)[-1] == BatchCancelled(work, "enough", None)
    batch: Any = batch_of("msgbatch_1", 1)
    work = client.batches.results(batch, stream=(inbox := Inbox()))
    batch.clear()
    done = told(inbox)[-1]
    done.counts.clear()
    assert work.state().told == 1
