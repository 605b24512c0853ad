"""Keys stay out of errors, whatever a server repeats, and errors say what was asked."""

from __future__ import annotations

import gc
import json
import pickle
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import (
    APIError,
    APITimeoutError,
    BadRequestError,
    ChatFailed,
    Client,
    PermissionDeniedError,
    ProtocolError,
    Timeout,
    TruncatedError,
)
from anthropix_actors._http.secrets import HIDDEN, hide, secrets_in

from actors import ASK, Inbox
from servers import Peer, Server, after, chunk, error_body, head, json_answer, sse

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "sk-ant-api03-geheim-0123456789"


def echoing(peer: Peer) -> None:
    """Repeat all that was sent, as a gateway does that is being debugged."""
    while peer.read_request():
        sent = peer.head.decode("latin-1")
        body = {"type": "error", "error": {"type": "invalid_request_error", "message": sent, KEY: [sent, 1, None]}}
        echo = " ".join(filter(None, (peer.header("x-api-key"), peer.header("authorization"))))
        peer.send(json_answer("400 Bad Request", body, {"x-echo": echo}))


def everything(error: BaseException) -> str:
    """Get all that is to be seen of an error and what led to it, and all that hangs on them."""
    seen: list[str] = []
    link: BaseException | None = error
    while link is not None:
        seen += [str(link), repr(link), repr(vars(link)), repr(link.args)]
        seen += [repr(frame.f_locals) for frame, _ in traceback.walk_tb(link.__traceback__) if ours(frame)]
        link = link.__cause__ or link.__context__
    return "\n".join(seen)


def ours(frame: Any) -> bool:
    """Whether a frame is of the library or below it, and not of the test, who knows the key."""
    return bool(frame.f_code.co_filename != __file__)


def signing(_: object) -> dict[str, str]:
    return {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": KEY},
        {"auth_token": KEY},
        {"auth": signing},
        {"api_key": "other", "headers": {"x-gateway-token": KEY}},
    ],
    ids=["key", "token", "auth", "header"],
)
def test_a_key_that_a_gateway_repeats_is_in_no_error(options: dict[str, Any]) -> None:
    with Server(echoing) as server, Client(base_url=server.url, max_retries=0, **options) as client:
        inbox = Inbox()
        client.chat(**ASK, stream=inbox)
        failed = inbox.until_end()[-1]
        assert isinstance(failed, ChatFailed)
        errors: list[BaseException] = [failed.error]
        calls: list[Callable[[], Any]] = [
            partial(client.chat, **ASK),
            partial(client.count_tokens, **ASK),
            lambda: client.files.download("file_1"),
            lambda: client.request("GET", "/anything", stream=True),
        ]
        for call in calls:
            with pytest.raises(BadRequestError) as caught:
                call()
            errors.append(caught.value)
    for error in errors:
        assert KEY not in everything(error)
        assert HIDDEN in str(error)
        assert isinstance(error, APIError)
        assert HIDDEN in json.dumps(error.body)


def test_a_key_in_an_error_of_a_stream_is_hidden_too(connect: Callable[..., Client]) -> None:
    event = {"type": "error", "error": {"type": "invalid_request_error", "message": "bad key sk-test-secret"}}
    with Server(after(head(), chunk(sse(event)), b"0\r\n\r\n")) as server, pytest.raises(BadRequestError) as caught:
        connect(server).chat(**ASK)
    assert "sk-test-secret" not in everything(caught.value)


def test_a_key_in_what_is_no_json_is_hidden_too(connect: Callable[..., Client]) -> None:
    with Server(after(json_answer("200 OK", b"<sk-test-secret>"))) as server, pytest.raises(ProtocolError) as caught:
        connect(server).count_tokens(**ASK)
    assert "sk-test-secret" not in str(caught.value) + repr(caught.value.body)


@pytest.mark.parametrize("pieces", [(), (head(), b"zz"), (b"x",), (head(framing="9"), b"1")])
def test_a_failed_connection_leads_to_no_key(pieces: tuple[bytes, ...], connect: Callable[..., Client]) -> None:
    with Server(after(*pieces)) as server, connect(server, proxy="") as client:
        with pytest.raises(APIError) as caught:
            client.count_tokens(**ASK)
    assert caught.value.__cause__ is None or caught.value.__cause__.__traceback__ is None
    assert "sk-test-secret" not in everything(caught.value)
    for held in gc.get_referents(caught.value.__cause__):
        assert not hasattr(held, "headers")


def test_the_password_of_a_proxy_is_hidden_as_well() -> None:
    with (
        Server(echoing_proxy) as proxy,
        Client("k", base_url="http://x.invalid", proxy=f"http://u:geheim-99@127.0.0.1:{proxy.port}") as client,
        pytest.raises(BadRequestError) as caught,
    ):
        client.chat(**ASK)
    assert "Proxy-Authorization: [redacted]" in str(caught.value)


PASSWORD = "pa55%20WORD-of-a-proxy"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_silent_leads_to_no_password(scheme: str) -> None:
    """urllib3's own exception has the URL of what it waited for."""
    with (
        Server(Peer.wait_for_hang_up) as proxy,
        Client(
            "k",
            base_url=f"{scheme}://x.invalid",
            proxy=f"http://u:{PASSWORD}@127.0.0.1:{proxy.port}",
            timeout=Timeout(connect=0.3, first_byte=0.3),
            max_retries=0,
        ) as client,
        pytest.raises(APITimeoutError) as caught,
    ):
        client.chat(**ASK)
    assert caught.value.__cause__ is not None
    assert "pa55" not in everything(caught.value) + repr(vars(caught.value.__cause__))


@pytest.mark.parametrize("password", [PASSWORD, unquote(PASSWORD)])
def test_a_proxy_that_repeats_its_password_is_not_quoted(password: str) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(json_answer(f"403 Not with {password}", {"you": password}))

    with (
        Server(script) as proxy,
        Client("k", base_url="http://x.invalid", proxy=f"http://u:{PASSWORD}@127.0.0.1:{proxy.port}") as client,
        pytest.raises(PermissionDeniedError) as caught,
    ):
        client.chat(**ASK)
    assert "pa55" not in everything(caught.value)


def echoing_proxy(peer: Peer) -> None:
    peer.read_request()
    peer.send(json_answer("400 Bad Request", error_body("invalid_request_error", peer.head.decode("latin-1"))))


def test_a_refused_connection_is_told_in_a_few_lines(connect: Callable[..., Client]) -> None:
    client = connect("http://127.0.0.1:9")
    calls: list[Callable[[], Any]] = [partial(client.chat, **ASK), partial(client.count_tokens, **ASK)]
    for call in calls:
        with pytest.raises(APIError) as caught:
            call()
        lines = "".join(traceback.format_exception(caught.value)).splitlines()
        assert len(lines) < 45
        assert not any("urllib3/" in line or "requests/" in line for line in lines)
        assert isinstance(caught.value.__cause__, Exception)
        assert "refused" in str(caught.value.__cause__)


@pytest.mark.parametrize("call", ["chat", "get", "results"])
def test_an_error_says_what_was_asked_without_the_query(call: str, connect: Callable[..., Client]) -> None:
    with Server(after(json_answer("404 Not Found", {}))) as server:
        client = connect(server)
        with pytest.raises(APIError) as caught:
            if call == "chat":
                client.chat(**ASK)
            elif call == "get":
                client.request("GET", "/files", params={"token": "geheim"})
            else:
                client.batches.results(f"{server.url}/v1/results?signature=geheim#geheim", stream=True)
        error = caught.value
    method, path = {"chat": ("POST", "/messages"), "get": ("GET", "/files"), "results": ("GET", "/results")}[call]
    assert (error.method, error.url) == (method, f"{server.url}/v1{path}")
    assert f"{method} {server.url}/v1{path})" in str(error)
    assert "geheim" not in str(error) + repr(vars(error))
    again = pickle.loads(pickle.dumps(error))
    assert (again.method, again.url, str(again)) == (method, error.url, str(error))


def test_an_error_that_was_never_a_request_names_none() -> None:
    assert TruncatedError("cut").url is None
    assert str(TruncatedError("cut")) == "cut"


@pytest.mark.parametrize("short", ["ollama", "x", ""])
def test_what_is_short_may_be_a_word_and_is_not_hidden(short: str) -> None:
    assert secrets_in({"x-api-key": short, "authorization": f"Bearer {short}"}) <= {f"Bearer {short}"}
    assert secrets_in({"x-api-key": "sk-1"}) == {"sk-1"}


def test_other_headers_are_no_secrets() -> None:
    assert (
        secrets_in({"user-agent": "a long word", "accept": "application/json", "anthropic-beta": "a-long-word"})
        == set()
    )


def test_a_body_as_deep_as_the_stack_is_dropped() -> None:
    body: Any = "secret-key"
    for _ in range(100_000):
        body = [body]
    error = APIError("x", body=body)
    hide(error, ["secret-key"])
    assert error.body is None


JSON = st.recursive(
    st.none() | st.text() | st.integers(), lambda some: st.lists(some) | st.dictionaries(st.text(), some)
)


@given(JSON, st.lists(st.text(min_size=8), max_size=3), st.text(), st.data())
def test_no_secret_is_left_and_the_rest_stays(body: Any, secrets: list[str], text: str, data: st.DataObject) -> None:
    if secrets:
        text += data.draw(st.sampled_from(secrets))
    error = APIError(text, body=[body, text], response_headers={"x": text})
    hide(error, secrets)
    shown = repr((error.message, error.args, error.body, error.response_headers)).replace(HIDDEN, "")
    if not any(secret in HIDDEN or HIDDEN in secret for secret in secrets):
        assert not any(repr(secret)[1:-1] in shown for secret in secrets if secret.isalpha())
    if not secrets:
        assert (error.message, error.body) == (text, [body, text])


@pytest.mark.parametrize(
    "raw",
    [
        b"NOTHTTP " + KEY.encode() + b"\r\n\r\n",
        head() + chunk(b"data: {" + KEY.encode() + b"\n\n") + chunk(b""),
    ],
    ids=["status line", "event"],
)
def test_a_key_stays_out_of_what_led_to_an_error(raw: bytes) -> None:
    with (
        Server(after(raw)) as server,
        Client(KEY, base_url=server.url, max_retries=0) as client,
        pytest.raises(APIError) as raised,
    ):
        client.chat(**ASK)
    assert KEY not in everything(raised.value)
    assert KEY not in "".join(traceback.format_exception(raised.value))


def test_what_led_to_an_error_is_let_go_of_when_it_cannot_be_looked_at() -> None:
    class Odd(Exception):  # noqa: N818 - somebody's own
        def __str__(self) -> str:
            raise LookupError

    error = APIError("no")
    error.__cause__ = Odd()
    hide(error, [KEY])
    assert error.__cause__ is None


def test_a_key_is_no_request_id_of_an_error() -> None:
    raw = json_answer("500 E", error_body("api_error"), {"request-id": KEY}).replace(b"request-id: req_test\r\n", b"")
    with Server(after(raw)) as server, Client(KEY, base_url=server.url, max_retries=0) as client:
        with pytest.raises(APIError) as raised:
            client.chat(**ASK)
    assert raised.value.request_id == HIDDEN
    assert KEY not in str(raised.value)
