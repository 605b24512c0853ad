"""Calls that block in the caller's thread: cancelled from another, looked after, and forgotten."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import (
    APITimeoutError,
    CancelledError,
    CancelToken,
    ChatCancelled,
    Client,
    ConfigurationError,
    OverloadedError,
    ParameterError,
    ProtocolError,
    Timeout,
    TruncatedError,
)
from anthropix_actors._calls.registry import Registry
from anthropix_actors.chat.actor import ChatActor
from anthropix_actors.emulator import Status

from actors import ASK, Inbox, calls_of, running_in, until_at_rest, watched
from interrupts import interrupted_at
from servers import (
    BUSY,
    DEADLINE,
    Always,
    Halt,
    Peer,
    Server,
    acquire,
    after,
    answering,
    chunk,
    head,
    json_answer,
    until,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.emulator import Emulator

LARGE = {"a": "x" * (32 << 20)}


def waiting(peer: Peer) -> None:
    peer.read_request()
    began.release()
    peer.wait_for_hang_up()


def in_the_middle(peer: Peer) -> None:
    peer.read_request()
    peer.send(head(content_type="application/json"), chunk(b'{"a":'))
    began.release()
    peer.wait_for_hang_up()


def asking_to_wait(peer: Peer) -> None:
    while peer.read_request():
        peer.send(json_answer("529 Overloaded", {}, {"retry-after": "30"}))
        began.release()


def not_reading(peer: Peer) -> None:
    peer.sock.recv(1000)
    began.release()
    ended.acquire(timeout=DEADLINE)


began = threading.Semaphore(0)
ended = threading.Semaphore(0)

PHASES: dict[str, tuple[Callable[[Peer], None], Any]] = {
    "headers": (waiting, None),
    "body": (in_the_middle, None),
    "retry": (asking_to_wait, None),
    "upload": (not_reading, LARGE),
}


class Blocked:
    """A call in a thread of its own, and what it raised."""

    def __init__(self, client: Client, json: Any = None, **options: Any) -> None:
        self.errors: list[BaseException] = []
        self.client = client
        self.given = {"json": json, **options}
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        try:
            self.client.request("POST", "/anything", **self.given)
        except Exception as exc:  # noqa: BLE001 - a test looks at it
            self.errors.append(exc)

    def end(self) -> BaseException:
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()
        (error,) = self.errors
        return error


@pytest.mark.parametrize("how", ["token", "close", "total"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_call_ends_in_every_phase(connect: Callable[..., Client], phase: str, how: str) -> None:
    script, json = PHASES[phase]
    with Server(script) as server:
        client, token = connect(server, max_retries=2), CancelToken()
        timeout = Timeout(total=0.3) if how == "total" else None
        call = Blocked(client, json, cancel=token, timeout=timeout)
        acquire(began)
        if how == "token":
            assert token.cancel("enough")
        elif how == "close":
            client.close()
        error: Any = call.end()
        ended.release()
        client.close()
        acquire(server.hung_up)
    assert isinstance(error, APITimeoutError if how == "total" else CancelledError)
    expected = {"token": "enough", "close": "the client was closed", "total": "timeout.total"}
    assert expected[how] in str(error)
    assert error.attempts == 1
    if phase in {"body", "retry"}:
        assert error.request_id == "req_test"
    assert not running_in(client)
    until(lambda: not watched())
    while ended.acquire(blocking=False):
        pass


def test_one_token_cancels_several_calls_and_those_to_come(connect: Callable[..., Client]) -> None:
    with Server(waiting) as server:
        client, token = connect(server), CancelToken()
        calls = [Blocked(client, cancel=token) for _ in range(3)]
        for _ in calls:
            acquire(began)
        assert not token.cancelled
        assert token.cancel("all of you")
        assert [str(call.end()) for call in calls] == ["all of you"] * 3
        assert token.cancelled
        assert not token.cancel("again")
        late = Blocked(client, cancel=token)
        assert str(late.end()) == "all of you"
        assert server.connections == 3


class Watching(CancelToken):
    """Notes how many chats there are when it hears of one."""

    def __init__(self) -> None:
        super().__init__()
        self.chats: list[int] = []

    def add(self, cancellable: Any) -> None:
        self.chats.append(len(pykka.ActorRegistry.get_by_class(ChatActor)))
        super().add(cancellable)


def test_with_a_token_that_was_cancelled_before_nothing_is_sent(connect: Callable[..., Client]) -> None:
    with Server(answering("Hi")) as server:
        client, token = connect(server), Watching()
        token.cancel("enough")
        inbox = Inbox()
        with pytest.raises(CancelledError, match="enough"):
            client.chat(**ASK, cancel=token)
        with pytest.raises(CancelledError, match="enough"):
            list(client.chat(**ASK, cancel=token, stream=True))
        client.chat(**ASK, cancel=token, stream=inbox).actor_stopped.wait(DEADLINE)
        assert [type(message) for message in inbox.until_end()] == [ChatCancelled]
        assert server.connections == 0
    assert token.chats[0] == 0  # it heard before there was an actor that could have sent something


def test_a_chat_that_was_cancelled_before_it_waits_its_turn_does_not_wait(connect: Callable[..., Client]) -> None:
    halt = Halt()
    with Server(halt) as server:
        client, token = connect(server, max_concurrency=1), CancelToken()
        first = client.chat(**ASK, stream=Inbox())
        acquire(halt.reached)
        token.cancel("enough")
        with pytest.raises(CancelledError, match="enough"):
            client.chat(**ASK, cancel=token)
        assert not first.actor_stopped.is_set()
        first.cancel()
        assert server.connections == 1


def test_a_token_keeps_nothing_alive_and_harms_no_other_call(connect: Callable[..., Client]) -> None:
    with Server(Always(json_answer("200 OK", {}))) as server:
        client, token = connect(server), CancelToken()
        assert client.request("GET", "/x", cancel=token) == {}
        gc.collect()
        assert not calls_of(token)
        token.cancel()
        assert client.request("GET", "/x") == {}
        assert server.connections == 1, "the connection was kept"


def test_a_character_that_is_not_utf_8_costs_itself(connect: Callable[..., Client]) -> None:
    with Server(after(json_answer("200 OK", b'{"id": "caf\xe9"}'))) as server:
        assert connect(server).request("GET", "/x") == {"id": "caf\ufffd"}


def test_a_closed_client_makes_no_calls(connect: Callable[..., Client]) -> None:
    client = connect("http://127.0.0.1:9")
    client.close()
    for call in (client.models.retrieve, client.batches.retrieve, client.files.retrieve):
        with pytest.raises(ConfigurationError, match="closed"):
            call("x")
    with pytest.raises(ConfigurationError, match="closed"):
        client.request("GET", "/x", stream=True)
    with pytest.raises(ConfigurationError, match="closed"):
        client.sessions.events("x")


def test_an_answer_that_is_too_large_is_refused(connect: Callable[..., Client]) -> None:
    answer = json_answer("200 OK", ["x" * 2000])
    with Server(after(answer)) as server, pytest.raises(ProtocolError, match=r"larger than 1000 bytes \(max_answer"):
        connect(server, max_answer_bytes=1000).request("GET", "/x")


@pytest.mark.parametrize("answer", [b"\xff", b"[" * 5000, b"<html>"])
def test_an_answer_that_is_no_json_in_utf_8_is_a_protocol_error(connect: Callable[..., Client], answer: bytes) -> None:
    with Server(after(json_answer("200 OK", answer))) as server, pytest.raises(ProtocolError, match="expected JSON"):
        connect(server).request("GET", "/x")


def test_a_call_of_the_parents_is_over_in_a_forked_child(connect: Callable[..., Client]) -> None:
    with Server(waiting) as server:
        client, token = connect(server), CancelToken()
        call = Blocked(client, cancel=token)
        acquire(began)
        (running,) = running_in(client)
        running.after_fork()  # what a fork does to it, in the child
        assert "forked" in str(running.requester.scope.cause)
        assert running.cancel_and_join("the interpreter exits")(1) is None
        server.hang_up()
        assert "forked" in str(call.end())


def test_an_answer_whose_head_is_cut_is_not_taken_for_an_empty_one(connect: Callable[..., Client]) -> None:
    with Server(after(b"HTTP/1.1 200 OK\r\ncontent-type: application/js")) as server:
        with pytest.raises(TruncatedError, match="response's head"):
            connect(server).models.retrieve("claude-test")
    with Server(after(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as server:
        assert connect(server).request("GET", "/x") is None


# options


CALLS = (
    *("chat", "stream", "subscriber", "count_tokens", "models", "pages"),
    *("files", "batches", "request", "paginate", "sessions", "create"),
)


def make(call: str, client: Any, **options: Any) -> object:  # noqa: C901, PLR0911 - a list
    match call:
        case "chat":
            return client.chat(**ASK, **options)
        case "stream":
            return [*client.chat(**ASK, stream=True, **options)]
        case "subscriber":
            return client.chat(**ASK, stream=Inbox(), **options).result(DEADLINE)
        case "count_tokens":
            return client.count_tokens(**ASK, **options)
        case "models":
            return client.models.retrieve("m", **options)
        case "pages":
            return [*client.models.list(**options)]
        case "files":
            return client.files.upload(b"x", filename="x.txt", **options)
        case "batches":
            return client.batches.retrieve("msgbatch_1", **options)
        case "request":
            return client.request("GET", "/models", **options)
        case "paginate":
            return [*client.paginate("/models", **options)]
        case "sessions":
            return [*client.sessions.events("sesn_1", **options)]
        case _:
            requests = [{"custom_id": "a", "params": {**ASK, "user_profile_id": "uprof_2"}}]
            return client.batches.create(requests, **options)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("client_s", "call_s", "attempts"), [(0, 2, 3), (2, 0, 1), (1, None, 2)])
def test_a_call_may_say_how_often_it_is_sent_again(
    call: str, client_s: int, call_s: int | None, attempts: int, connect: Callable[..., Client]
) -> None:
    if call == "sessions" and (client_s if call_s is None else call_s):
        return  # patient for ever, or not at all
    busy = Always(BUSY)
    with Server(busy) as server, pytest.raises(OverloadedError):
        make(call, connect(server, max_retries=client_s), max_retries=call_s)
    assert len(busy.heads) == attempts


@pytest.mark.parametrize("call", ["chat", "stream", "subscriber", "count_tokens", "create"])
def test_on_whose_behalf_and_where_are_headers(call: str, connect: Callable[..., Client]) -> None:
    busy = Always(BUSY)
    with Server(busy) as server, pytest.raises(OverloadedError):
        make(
            call,
            connect(server),
            user_profile_id="uprof_1",
            workspace_id="wrkspc_1",
            extra_headers={"Anthropic-Workspace-Id": "wrkspc_2", "x-more": "1"},
        )
    sent = busy.heads[0].decode("latin-1").lower()
    assert "anthropic-user-profile-id: uprof_1\r\n" in sent
    assert sent.count("anthropic-workspace-id:") == 1
    assert "anthropic-workspace-id: wrkspc_2\r\n" in sent
    assert "x-more: 1\r\n" in sent


def test_the_workspace_is_a_header_of_every_call(connect: Callable[..., Client]) -> None:
    for call in {*CALLS} - {"request", "paginate"}:
        busy = Always(BUSY)
        with Server(busy) as server, pytest.raises(OverloadedError):
            make(call, connect(server), workspace_id="wrkspc_1")
        assert b"anthropic-workspace-id: wrkspc_1" in busy.heads[0].lower().splitlines()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_retries": -1}, "max_retries: expected an integer from 0, got -1"),
        ({"max_retries": True}, "max_retries: expected an integer from 0, got True"),
        ({"max_retries": 1.5}, "max_retries: expected an integer from 0, got 1.5"),
        ({"workspace_id": "a\r\nb"}, "workspace_id: expected an id of letters, digits and . : / _ -, got 'a"),
        ({"user_profile_id": ""}, "user_profile_id: expected an id"),
        ({"user_profile_id": 5}, "user_profile_id: expected an id of letters, digits and . : / _ -, got 5"),
        ({"workspace_id": "w", "extra_headers": 5}, "extra_headers: expected a mapping of names to values, got int"),
    ],
)
def test_options_that_cannot_be_right_are_refused_before_sending(
    options: dict[str, Any], text: str, connect: Callable[..., Client]
) -> None:
    with Server(Always(BUSY)) as server:
        with pytest.raises(ParameterError) as raised:
            connect(server).chat(**ASK, **options)
        assert server.connections == 0
    assert text in str(raised.value)


def test_only_calls_that_are_made_for_somebody_say_for_whom(connect: Callable[..., Client]) -> None:
    with Server(Always(BUSY)) as server, pytest.raises(ParameterError, match="user_profile_id: unknown parameter"):
        connect(server).models.retrieve("m", user_profile_id="uprof_1")  # type: ignore[call-arg]


@pytest.mark.parametrize("where", ["", "/results"])
def test_work_with_batches_is_as_patient_as_its_call_says(
    where: str, anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client = connect(anthropix_emulator.url, max_retries=2)
    batch = client.batches.create([{"custom_id": "a", "params": ASK}])
    anthropix_emulator.queue(Status(529), path=f"/v1/messages/batches/{batch['id']}{where}")
    work = client.batches.follow(batch["id"], Inbox(), poll=0.01, max_retries=0)
    with pytest.raises(OverloadedError) as caught:
        work.result(timeout=DEADLINE)
    assert caught.value.attempts == 1


def test_an_interrupt_while_a_call_ends_leaves_nothing_behind(connect: Callable[..., Client]) -> None:
    with Server(after(json_answer("200 OK", {"input_tokens": 3}))) as server:
        client = connect(server)
        with pytest.raises(KeyboardInterrupt), interrupted_at(Registry.untrack):
            client.count_tokens(**ASK)
        assert not running_in(client)
        assert client.drain(timeout=0)
        until_at_rest()


def test_draining_waits_for_calls_too(connect: Callable[..., Client]) -> None:
    asked, let = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        asked.set()
        wait(let)
        peer.send(json_answer("200 OK", {"input_tokens": 3}))

    with Server(script) as server:
        client = connect(server)
        counts: list[Any] = []
        calling = threading.Thread(target=lambda: counts.append(client.count_tokens(**ASK)))
        calling.start()
        wait(asked)
        assert not client.drain(timeout=0)
        let.set()
        assert client.drain(timeout=DEADLINE)
        calling.join(DEADLINE)
    assert counts == [{"input_tokens": 3}]
