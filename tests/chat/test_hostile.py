"""Servers with ill will, and text that wants to be a header."""

from __future__ import annotations

import gzip
import io
import select
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    AnthropixError,
    APIError,
    APIStatusError,
    Client,
    ParameterError,
    ProtocolError,
    StalledError,
    Timeout,
)

from actors import ASK, Inbox
from servers import (
    DEADLINE,
    STOP,
    Always,
    Peer,
    Server,
    acquire,
    answering,
    block_start,
    chunk,
    chunks,
    error_body,
    head,
    json_answer,
    sse,
    start,
    text_delta,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVIL = "\r\nevil: yes"
FIRST = sse(start()) + sse(block_start())


def endless(*pieces: bytes, again: bytes = b"") -> Callable[[Peer], None]:
    """Get a script that sends something, and then the same for ever; or waits, where that is nothing."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*pieces)
        while again:  # until the client hangs up
            peer.send(again)
        peer.wait_for_hang_up()

    return script


def gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def chat(client: Client) -> APIError:
    with pytest.raises(APIError) as caught:
        client.chat(**ASK)
    return caught.value


# Answers without an end


def test_an_answer_without_an_end_is_too_large_at_some_point(connect: Callable[..., Client]) -> None:
    script = endless(head(), chunks([start(), block_start()]), again=chunk(sse(text_delta("x" * 1000))))
    with Server(script) as server:
        error = chat(connect(server, max_answer_bytes=1_000_000))
        acquire(server.hung_up)
    assert isinstance(error, ProtocolError)
    assert "larger than 1000000 bytes (max_answer_bytes)" in str(error)
    assert not error.retryable
    assert error.partial is not None
    assert 800_000 < len(error.partial["content"][0]["text"]) < 1_000_000  # type: ignore[typeddict-item]


def test_an_event_without_an_end_is_too_large_at_some_point(connect: Callable[..., Client]) -> None:
    script = endless(head(), chunk(b"data: "), again=chunk(b"x" * 10_000))
    with Server(script) as server:
        error = chat(connect(server, max_event_bytes=100_000))
        acquire(server.hung_up)
    assert "an event is larger than 100000 bytes" in str(error)


@pytest.mark.parametrize(
    ("again", "text"),
    [(b"x-filler: yes\r\n", "headers"), (b"y" * 10_000, "LineTooLong")],
    ids=["headers", "one header"],
)
def test_headers_without_an_end_are_refused(connect: Callable[..., Client], again: bytes, text: str) -> None:
    with Server(endless(b"HTTP/1.1 200 OK\r\n" + b"x: " * (b"y" in again), again=again)) as server:
        error = chat(connect(server))
        acquire(server.hung_up)
    assert isinstance(error, ProtocolError)
    assert text in str(error)


@pytest.mark.parametrize(
    ("pieces", "again"),
    [
        ((head(), chunks([start(), block_start()])), chunks([{"type": "ping"}])),
        ((head(), chunks([start(), block_start()])), chunk(b": a comment\n\n")),
    ],
    ids=["pings", "comments"],
)
def test_what_goes_on_without_getting_anywhere_stalls(
    connect: Callable[..., Client], pieces: tuple[bytes, ...], again: bytes
) -> None:
    with Server(endless(*pieces, again=again)) as server:
        error = chat(connect(server, timeout=Timeout(idle=0.3)))
        acquire(server.hung_up)
    assert isinstance(error, StalledError)
    assert "0.3 s" in str(error)


@pytest.mark.parametrize("status", ["400 Bad Request", "529 Overloaded"])
def test_an_error_without_an_end_is_read_as_far_as_it_helps(connect: Callable[..., Client], status: str) -> None:
    with Server(endless(head(status, content_type="text/html"), again=chunk(b"<p>" * 10_000))) as server:
        error = chat(connect(server))
        acquire(server.hung_up)
    assert isinstance(error, APIStatusError)
    assert len(error.body) == 1 << 20
    assert len(str(error)) < 1000


def test_what_a_call_returns_is_bounded_and_what_is_read_in_a_loop_is_not(connect: Callable[..., Client]) -> None:
    with Server(endless(head(content_type="application/binary"), again=chunk(b"x" * 10_000))) as server:
        client = connect(server, max_answer_bytes=1_000_000, timeout=Timeout(total=DEADLINE))
        for call in (lambda: client.files.download("file_1"), lambda: client.request("GET", "/x")):
            with pytest.raises(ProtocolError, match="larger than 1000000 bytes"):
                call()
        with client.request("GET", "/x", stream=True) as items:
            size = 0
            for piece in items:
                size += len(piece)
                if size > 2_000_000:
                    break


# Bombs


def test_a_bomb_in_a_stream_does_not_go_off(connect: Callable[..., Client]) -> None:
    """100 MB of one event, in 100 kB."""
    bomb = b"".join(gzipped(piece for piece in [FIRST, b"data: ", *[b"x" * 1_000_000] * 100]))
    assert len(bomb) < 200_000
    with Server(endless(head(headers={"content-encoding": "gzip"}), chunk(bomb))) as server:
        client = connect(server, max_event_bytes=1_000_000)
        tracemalloc.start()
        try:
            error = chat(client)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert "an event is larger than 1000000 bytes" in str(error)
    assert most < 20_000_000


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_of_json_does_not_go_off(connect: Callable[..., Client], layers: int) -> None:
    bomb = b"".join(gzipped(piece for piece in [b'["', *[b"x" * 1_000_000] * 100, b'"]']))
    for _ in range(layers - 1):
        bomb = gzip.compress(bomb)
    encoding = ", ".join(["gzip"] * layers)
    answer = head(framing=str(len(bomb)), content_type="application/json", headers={"content-encoding": encoding})
    with Server(endless(answer, bomb)) as server:
        client = connect(server, max_answer_bytes=1_000_000)
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError, match="larger than 1000000 bytes"):
                client.request("GET", "/x")
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 20_000_000


# The key


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
@pytest.mark.parametrize("to", ["another", "same"])
def test_a_redirect_takes_the_key_nowhere(connect: Callable[..., Client], status: str, to: str) -> None:
    with Server(answering("elsewhere")) as elsewhere:
        asked = []

        def script(peer: Peer) -> None:
            while peer.read_request():
                asked.append(peer.head)
                target = (elsewhere.url if to == "another" else "") + "/v1/elsewhere"
                peer.send(head(f"{status} Moved", framing="0", headers={"location": target}))

        with Server(script) as server:
            client = connect(server)
            assert chat(client).status == int(status)
            for call in (
                lambda: client.models.retrieve("m"),
                lambda: client.files.download("file_1"),
                lambda: list(client.request("GET", "/x", stream=True)),
            ):
                with pytest.raises(APIStatusError):
                    call()
        assert elsewhere.connections == 0
        assert len(asked) == 4


SECRET = "sk-test-secret"


@pytest.mark.parametrize(
    "reply",
    [
        json_answer("401 No", error_body("authentication_error", "invalid x-api-key")),
        json_answer("400 Bad", b"\xff\xfe not UTF-8"),
        json_answer("500 Oops", b""),
        b"not HTTP at all\r\n\r\n",
        head() + chunk(b"data: {nonsense\n\n"),
        head() + chunks([start(), STOP, STOP]) + b"0\r\n\r\n",
    ],
)
def test_the_key_is_in_no_error(connect: Callable[..., Client], caplog: pytest.LogCaptureFixture, reply: bytes) -> None:
    caplog.set_level(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        assert SECRET in peer.head.decode()
        peer.send(reply)

    with Server(script) as server:
        client = connect(server)
        try:
            client.chat(**ASK)
        except AnthropixError as error:
            link: BaseException | None = error
            while link is not None:
                assert SECRET not in f"{link!s} {link!r} {vars(link)}"
                link = link.__cause__ or link.__context__
    assert SECRET not in caplog.text


# Text that wants to be a header, or a line of the request


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": "k" + EVIL},
        {"api_key": None, "auth_token": "t" + EVIL},
        {"api_version": "2023-06-01" + EVIL},
        {"beta": "b" + EVIL},
        {"headers": {"x": "y" + EVIL}},
        {"headers": {"x" + EVIL: "y"}},
        {"base_url": "http://127.0.0.1:1" + EVIL},
        {"base_url": "http://127.0.0.1:1/a b" + EVIL},
        {"base_url": "http://127.0.0.1\r\n:1"},
    ],
)
def test_no_option_of_a_client_can_be_more_than_it_is(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"api_key": "k", "base_url": "http://127.0.0.1:1", "timeout": 5, **options}
    with pytest.raises((ParameterError, AnthropixError), match=r".") as caught, Client(**given) as client:
        client.chat(**ASK)
    assert not isinstance(caught.value, APIError)


def ask(client: Client, **more: Any) -> object:
    answer: object = client.chat(**{**ASK, **more})
    return answer


CALLS: list[Callable[[Client], object]] = [
    lambda client: ask(client, beta="b" + EVIL),
    lambda client: ask(client, extra_headers={"x": "y" + EVIL}),
    lambda client: ask(client, extra_headers={"x" + EVIL: "y"}),
    lambda client: client.models.retrieve("m" + EVIL),
    lambda client: client.models.retrieve("m HTTP/1.1\r\nevil: yes\r\n\r\n"),
    lambda client: client.files.retrieve("f/../../x" + EVIL),
    lambda client: client.batches.retrieve("b?x=" + EVIL),
    lambda client: client.request("GET" + EVIL, "/x"),
    lambda client: client.request("GET", "/x" + EVIL),
    lambda client: client.request("GET", "/x/{id}", path_params={"id": "y" + EVIL}),
    lambda client: client.request("GET", "/x", params={"q": "y" + EVIL}),
    lambda client: client.request("GET", "/x", params={"q" + EVIL: "y"}),
    lambda client: client.request("GET", "/x", headers={"x": "y" + EVIL}),
    lambda client: client.files.upload(b"text", filename="name" + EVIL),
    lambda client: client.files.upload(io.BytesIO(b"text"), filename='n"; evil="yes'),
    lambda client: client.request("POST", "/x", files={"f" + EVIL: b"text"}),
    lambda client: ask(client, model="m" + EVIL),
    lambda client: ask(client, tag="t" + EVIL),
]


@pytest.mark.parametrize("call", CALLS)
def test_no_parameter_of_a_call_can_be_more_than_it_is(
    connect: Callable[..., Client], call: Callable[[Client], object]
) -> None:
    """It is refused, or arrives as the text that it is; and there is no line of its own in the head."""
    script = Always(json_answer("404 Not Found", error_body("not_found_error")))
    with Server(script) as server:
        with pytest.raises((AnthropixError, TypeError)) as caught:
            call(connect(server))
        assert server.connections == len(script.heads) == int(isinstance(caught.value, APIError))
    for each in script.heads:
        assert not any(line.lower().startswith(b"evil") for line in each.split(b"\r\n"))
        assert each.count(b" HTTP/1.1") == 1


def test_a_server_hears_at_once_that_nobody_reads_any_more(connect: Callable[..., Client]) -> None:
    """By a reset, whatever it waits for. A mere end of the other direction is not heard by one whose window is full."""
    heard: list[Any] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunks([start(), block_start()]))
        poll = select.poll()
        poll.register(peer.sock, 0)  # for errors alone
        heard.extend(poll.poll(DEADLINE * 1000))  # milliseconds

    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        until(lambda: chat.response_headers)
        chat.cancel("enough")
        acquire(server.hung_up)
    assert heard
