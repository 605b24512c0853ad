"""Credentials that are set anew for each attempt."""

from __future__ import annotations

import contextvars
import hashlib
import hmac
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from requests.auth import AuthBase, HTTPBasicAuth

from anthropix_actors import (
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    CancelledError,
    CancelToken,
    ChatCancelled,
    ChatDone,
    ChatFailed,
    ChatRetrying,
    Client,
    ConfigurationError,
    Timeout,
)
from anthropix_actors.emulator import Emulator, Status

from actors import ASK, Inbox, core_of, no_thread_for
from servers import DEADLINE, Peer, Replies, Server, answer, answering, chunks, head, json_answer, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key="fresh") as running:
        yield running


@pytest.fixture
def make() -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def made(url: str, auth: Any, **options: Any) -> Client:
        given: dict[str, Any] = {"max_retries": 0, **options}
        clients.append(Client(base_url=url, auth=auth, **given))
        return clients[-1]

    yield made
    for client in clients:
        client.close()


class Token:
    """A token that has to be refreshed."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)
        self.asked = 0
        self.refreshed = 0

    def __call__(self, _: requests.PreparedRequest) -> dict[str, str]:
        self.asked += 1
        return {"Authorization": f"Bearer {self.values[0]}"}

    def refresh(self) -> None:
        self.refreshed += 1
        if len(self.values) > 1:
            del self.values[0]


def wrong(_: object) -> dict[str, str]:
    return {"x-api-key": "wrong"}


class Custom(AuthBase):
    """An auth object as requests' users write them."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["X-Api-Key"] = b"fresh"  # type: ignore[assignment] # some set bytes
        return r


def test_a_callable_or_an_auth_object_sets_headers_and_no_key_is_needed(
    emulator: Emulator, make: Callable[..., Client]
) -> None:
    def in_place(request: requests.PreparedRequest) -> None:
        request.headers["x-api-key"] = "fresh"

    def returned(_: object) -> dict[str, str]:
        return {"x-api-key": "fresh"}

    for auth in (Token("fresh"), Custom(), returned, in_place):
        assert make(emulator.url, auth).chat(**ASK)["stop_reason"] == "end_turn"
    assert [("authorization" in request.headers) for request in emulator.requests] == [True, False, False, False]


def test_what_cannot_be_called_is_refused_when_the_client_is_made() -> None:
    auth: Any = ("user", "password")
    with pytest.raises(ConfigurationError, match=r"^auth: expected a function of the request .*, got tuple$"):
        Client(auth=auth)


def test_the_environments_key_is_not_read_and_a_given_one_is_sent_too(
    emulator: Emulator, make: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-the-environment")
    make(emulator.url, Token("fresh")).models.retrieve("claude-opus-5")
    assert "x-api-key" not in emulator.requests[-1].headers
    make(emulator.url, HTTPBasicAuth("user", "password"), api_key="fresh").models.retrieve("claude-opus-5")
    assert emulator.requests[-1].headers["x-api-key"] == "fresh"
    assert emulator.requests[-1].headers["authorization"].startswith("Basic ")


def test_a_signature_sees_what_it_signs(make: Callable[..., Client]) -> None:
    seen: list[tuple[Any, ...]] = []

    def sign(request: requests.PreparedRequest) -> dict[str, str]:
        seen.append((request.method, request.url, request.headers["anthropic-version"], request.body))
        assert isinstance(request.body, bytes)
        return {"x-signature": hmac.new(b"secret", request.body, hashlib.sha256).hexdigest()}

    got: list[tuple[bytes, str | None]] = []

    def script(peer: Peer) -> None:
        while peer.read_request():
            got.append((peer.body, peer.header("x-signature")))
            peer.send(json_answer("200 OK", {"input_tokens": 1}))

    with Server(script) as server:
        make(server.url, sign).count_tokens(**ASK)
        assert seen[0][:3] == ("POST", server.url + "/v1/messages/count_tokens", "2023-06-01")
    assert got[0][1] == hmac.new(b"secret", got[0][0], hashlib.sha256).hexdigest()


def test_it_is_asked_anew_for_each_attempt(emulator: Emulator, make: Callable[..., Client]) -> None:
    token = Token("fresh")
    emulator.queue(*[Status(529, headers={"retry-after-ms": "1"})] * 2)
    make(emulator.url, token, max_retries=2).chat(**ASK)
    assert (token.asked, token.refreshed) == (3, 0)


def test_a_401_lets_it_refresh_once_beyond_all_retries(emulator: Emulator, make: Callable[..., Client]) -> None:
    token, inbox = Token("stale", "fresh"), Inbox()
    client = make(emulator.url, token)
    client.chat(**ASK, stream=inbox)
    messages = inbox.until_end()
    assert isinstance(messages[0], ChatRetrying)
    assert (messages[0].delay, type(messages[0].error)) == (0.0, AuthenticationError)
    assert isinstance(messages[-1], ChatDone)
    assert (token.asked, token.refreshed) == (2, 1)
    assert client.models.retrieve("claude-opus-5")


def test_a_refresh_takes_no_retry_and_gives_none(make: Callable[..., Client]) -> None:
    error = {"type": "error", "error": {"type": "api_error"}}
    statuses = ("401 Unauthorized", *["503 Service Unavailable"] * 5)
    script = Replies(*[json_answer(status, error, {"retry-after-ms": "1"}) for status in statuses])
    with Server(script) as server, pytest.raises(APIStatusError, match="503") as raised:
        make(server.url, Token("stale", "fresh"), max_retries=1).count_tokens(**ASK)
    assert raised.value.attempts == 3


def test_a_token_that_expires_again_is_refreshed_again(make: Callable[..., Client]) -> None:
    token = Token("first", "second", "third")
    statuses = ("401 Unauthorized", "200 OK") * 2
    with Server(Replies(*[json_answer(status, {"input_tokens": 3}) for status in statuses])) as server:
        client = make(server.url, token)
        for _ in range(2):
            assert client.count_tokens(**ASK) == {"input_tokens": 3}
    assert token.refreshed == 2


def test_a_second_401_is_the_end(emulator: Emulator, make: Callable[..., Client]) -> None:
    token = Token("stale", "stale too", "fresh")
    with pytest.raises(AuthenticationError) as raised:
        make(emulator.url, token, max_retries=5).chat(**ASK)
    assert raised.value.attempts == 2
    assert token.refreshed == 1
    with pytest.raises(AuthenticationError):
        make(emulator.url, wrong).models.retrieve("claude-opus-5")
    assert len(emulator.requests) == 4, "one without a refresh() gets a second try, too"


def test_chats_that_meet_one_expired_token_refresh_it_once(make: Callable[..., Client]) -> None:
    token = Token("stale", "fresh", "too fresh")
    together = threading.Barrier(8)

    def script(peer: Peer) -> None:
        while peer.read_request():
            if peer.header("authorization") == "Bearer stale":
                together.wait(10)  # all have been sent with the stale one, before any is refused
                peer.send(json_answer("401 Unauthorized", {"type": "error", "error": {"type": "authentication_error"}}))
            else:
                answered.append(peer.header("authorization"))
                peer.send(json_answer("200 OK", {"input_tokens": 1}))

    answered: list[str | None] = []
    with Server(script) as server:
        client = make(server.url, token)
        threads = [threading.Thread(target=client.count_tokens, kwargs=ASK) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert token.refreshed == 1
    assert answered == ["Bearer fresh"] * 8


def nonsense(_: object) -> int:
    return 5


def misnamed(_: object) -> dict[str, str]:
    return {"bad name": "x"}


def raising(_: object) -> None:
    raise ValueError("sk-secret is wrong")


def injecting(_: object) -> dict[str, str]:
    return {"x-api-key": "sk-secret\r\nx-evil: 1"}


@pytest.mark.parametrize("auth", [raising, injecting, nonsense, misnamed])
def test_one_that_fails_or_gives_nonsense_is_an_error_without_the_secret(
    make: Callable[..., Client], auth: Any
) -> None:
    with Server(answering("x")) as server:
        client = make(server.url, auth)
        with pytest.raises(ConfigurationError, match="auth") as raised:
            client.chat(**ASK)
        with pytest.raises(ConfigurationError, match="auth"):
            client.models.retrieve("m")
        assert server.errors == []
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(client)
    if auth is raising:
        assert isinstance(raised.value.__cause__, ValueError)


class Refusing(Token):
    def __init__(self, error: Exception) -> None:
        super().__init__("stale")
        self.error = error

    def refresh(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [KeyError("sk-secret"), ConfigurationError("no more tokens")])
def test_a_refresh_that_fails_is_an_error(emulator: Emulator, make: Callable[..., Client], error: Exception) -> None:
    with pytest.raises(ConfigurationError, match=r"refresh|no more") as raised:
        make(emulator.url, Refusing(error)).chat(**ASK)
    assert "secret" not in str(raised.value)


def test_an_error_of_ours_passes_as_it_is(make: Callable[..., Client]) -> None:
    def refuse(_: object) -> None:
        raise ConfigurationError("log in first")

    with pytest.raises(ConfigurationError, match="log in first"):
        make("http://127.0.0.1:9", refuse).models.retrieve("m")


def test_it_cannot_send_the_request_elsewhere(emulator: Emulator, make: Callable[..., Client]) -> None:
    def redirect(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.url = "http://127.0.0.1:9/"
        request.body = b"other"
        request.headers["x-api-key"] = "fresh"
        return request

    assert make(emulator.url, redirect).count_tokens(**ASK)["input_tokens"] == 5


# Code of the caller's that does what it should not


REFUSED = json_answer("401 Unauthorized", {"type": "error", "error": {"type": "authentication_error"}})


def refusing_stale(peer: Peer) -> None:
    while peer.read_request():
        fresh = peer.header("authorization") == "Bearer fresh"
        if b"/v1/messages HTTP" in peer.head:
            peer.send(head() + chunks(answer("x")) + b"0\r\n\r\n" if fresh else REFUSED)
        else:
            peer.send(json_answer("200 OK", {"id": "token", "input_tokens": 1}) if fresh else REFUSED)


class Held(Token):
    """Refreshes only when it may."""

    def __init__(self, *values: str) -> None:
        super().__init__(*values)
        self.began, self.may = threading.Event(), threading.Event()

    def refresh(self) -> None:
        self.began.set()
        wait(self.may)
        super().refresh()


def test_a_refresh_that_hangs_costs_those_that_wait_for_it_and_each_can_be_cancelled(
    make: Callable[..., Client],
) -> None:
    token = Held("stale", "fresh")
    with Server(refusing_stale) as server:
        client = make(server.url, token)
        inboxes = [Inbox() for _ in range(3)]
        chats = [client.chat(**ASK, stream=inbox) for inbox in inboxes]
        wait(token.began)
        chats[0].cancel("enough")
        chats[1].cancel("enough")
        for inbox in inboxes[:2]:
            assert isinstance(inbox.until_end()[-1], ChatCancelled)
        with pytest.raises(APITimeoutError, match=r"timeout\.total"):
            client.count_tokens(**ASK, timeout=0.2)
        cancel = CancelToken()
        threading.Timer(0.1, cancel.cancel, ["enough"]).start()
        with pytest.raises(CancelledError, match="enough"):
            client.count_tokens(**ASK, cancel=cancel)
        token.may.set()
        assert isinstance(inboxes[2].until_end()[-1], ChatDone)
    assert token.refreshed == 1


def test_a_refresh_that_never_ends_is_waited_for_as_long_as_for_any_progress_and_then_tried_anew(
    make: Callable[..., Client],
) -> None:
    token = Held("stale", "fresh")
    with Server(refusing_stale) as server:
        client = make(server.url, token, timeout=Timeout(idle=0.2))
        with pytest.raises(APITimeoutError, match=r"refresh\(\) did not end within 0\.2 s \(timeout\.idle\)"):
            client.count_tokens(**ASK)
        hung, token.may = token.may, threading.Event()
        token.may.set()
        assert client.count_tokens(**ASK)["input_tokens"] == 1
        hung.set()


def test_a_refresh_may_use_the_client_that_asks_it(make: Callable[..., Client]) -> None:
    """Also with a chat, whose request runs in another thread."""

    class Asking(Token):
        def refresh(self) -> None:
            self.values = ["fresh"]
            got.append(client.count_tokens(**ASK)["input_tokens"])
            got.append(client.chat(**ASK)["stop_reason"])
            super().refresh()

    got: list[Any] = []
    token = Asking("stale")
    with Server(refusing_stale) as server:
        client = make(server.url, token)
        assert client.count_tokens(**ASK)["input_tokens"] == 1
    assert got == [1, "end_turn"]
    assert token.refreshed == 1


def test_what_a_refresh_asks_in_vain_does_not_wait_for_the_refresh(make: Callable[..., Client]) -> None:
    class Asking(Token):
        def refresh(self) -> None:
            for ask in (client.count_tokens, client.chat):
                with pytest.raises(AuthenticationError):
                    ask(**ASK)
            self.values = ["fresh"]

    with Server(refusing_stale) as server:
        client = make(server.url, Asking("stale"))
        assert client.count_tokens(**ASK)["input_tokens"] == 1


def test_an_auth_may_use_the_client_when_it_is_asked(make: Callable[..., Client]) -> None:
    def auth(_: object) -> dict[str, str]:
        if not busy:
            busy.append(True)
            client.count_tokens(**ASK)
        return {"authorization": "Bearer fresh"}

    busy: list[bool] = []
    with Server(refusing_stale) as server:
        client = make(server.url, auth)
        assert client.count_tokens(**ASK)["input_tokens"] == 1


LEAVING = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), RuntimeError("sk-secret"), CancelledError("mine")]


@pytest.mark.parametrize("leaving", LEAVING, ids=lambda error: type(error).__name__)
def test_whatever_a_refresh_raises_ends_those_that_needed_it_and_nobody_else(
    make: Callable[..., Client], leaving: BaseException
) -> None:
    together = threading.Barrier(4)

    class Leaving(Token):
        def refresh(self) -> None:
            (running,) = core_of(client).transport.auth._refreshes.values()
            until(lambda: len(running.waiting) == 4)
            raise leaving

    def script(peer: Peer) -> None:
        while peer.read_request():
            if peer.header("authorization") == "Bearer stale":
                together.wait(DEADLINE)
                peer.send(REFUSED)
            else:
                peer.send(json_answer("200 OK", {"input_tokens": 1}))

    token = Leaving("stale")
    with Server(script) as server:
        client = make(server.url, token)
        inboxes = [Inbox() for _ in range(4)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        ends = [inbox.until_end()[-1] for inbox in inboxes]
        token.values = ["fresh"]
        assert client.count_tokens(**ASK)["input_tokens"] == 1
    for end in ends:
        if isinstance(leaving, CancelledError):
            assert isinstance(end, ChatCancelled)
        else:
            assert isinstance(end, ChatFailed)
            assert str(end.error) == f"auth failed to refresh: {type(leaving).__name__}"
    assert len({id(end) for end in ends}) == 4


class LoginError(ConfigurationError):
    """An error of a program, which takes something else than ours."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class OneOfAKindError(LoginError):
    """Cannot be copied."""

    def __copy__(self) -> None:
        raise RuntimeError("there is one of me")


@pytest.mark.parametrize(
    ("error", "told"), [(LoginError, LoginError), (OneOfAKindError, ConfigurationError)], ids=["copied", "by its text"]
)
def test_an_error_of_a_class_of_their_own_is_told(
    emulator: Emulator, make: Callable[..., Client], error: type[LoginError], told: type[ConfigurationError]
) -> None:
    with pytest.raises(ConfigurationError, match=r"log in$") as caught:
        make(emulator.url, Refusing(error("log", "in"))).chat(**ASK)
    assert type(caught.value) is told


def test_an_auth_that_leaves_fails_its_own_chat(make: Callable[..., Client]) -> None:
    def leaving(_: object) -> None:
        raise SystemExit(3)

    with Server(answering("x")) as server, pytest.raises(ConfigurationError, match=r"^auth failed: SystemExit$"):
        make(server.url, leaving).chat(**ASK)


class OddHeaders(dict[str, str]):
    def items(self) -> Any:
        raise RuntimeError("odd")


def test_headers_that_cannot_be_read_are_an_error(make: Callable[..., Client]) -> None:
    def odd(_: object) -> dict[str, str]:
        return OddHeaders(a="b")

    with Server(answering("x")) as server, pytest.raises(ConfigurationError, match=r"^auth failed: RuntimeError$"):
        make(server.url, odd).chat(**ASK)


def test_an_upload_that_cannot_be_sent_again_is_not_and_the_token_stays(
    emulator: Emulator, make: Callable[..., Client]
) -> None:
    token = Token("stale", "fresh")
    reading, writing = os.pipe()
    os.write(writing, b"x")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, pytest.raises(AuthenticationError):
        make(emulator.url, token).files.upload(pipe)
    assert token.refreshed == 0


def test_without_a_thread_for_it_the_refresh_fails_and_the_next_is_tried(
    make: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Token("stale", "fresh")
    with Server(refusing_stale) as server:
        client = make(server.url, token)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread_for("anthropix-auth"))
            with pytest.raises(ConfigurationError, match=r"no thread for auth\.refresh"):
                client.count_tokens(**ASK)
        assert client.count_tokens(**ASK)["input_tokens"] == 1


def test_a_refresh_sees_the_callers_context(emulator: Emulator, make: Callable[..., Client]) -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")

    class Seeing(Token):
        def refresh(self) -> None:
            seen.append(tenant.get())
            super().refresh()

    seen: list[str] = []
    tenant.set("somebody")
    make(emulator.url, Seeing("stale", "fresh")).models.retrieve("claude-opus-5")
    assert seen == ["somebody"]
