"""What goes wrong on the wire, and which of our errors it becomes."""

from __future__ import annotations

import gzip
import http.client
import select
import socket
import ssl
import sys
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import trustme
import urllib3

from anthropix_actors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ChatDone,
    ChatEvent,
    Client,
    ConfigurationError,
    ProtocolError,
    StalledError,
    Timeout,
    TruncatedError,
)
from anthropix_actors._http.library_errors import LIBRARY_ERRORS, Way, fault
from anthropix_actors._http.request import Timeout as RequestTimeout
from anthropix_actors._http.transport import Transport
from anthropix_actors._http.trust import Trust

from actors import ASK, Inbox
from servers import (
    DEADLINE,
    PING,
    Halt,
    Peer,
    Server,
    Tunnel,
    acquire,
    after,
    answer,
    answering,
    block_start,
    chunk,
    chunks,
    head,
    json_answer,
    send_answer,
    sse,
    start,
    stream_of,
    text_delta,
    until,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = [start(), block_start(), text_delta("Hi")]
FIRST_BYTES = b"".join(map(sse, FIRST))
LONG = {"connect": DEADLINE, "read": DEADLINE, "idle": DEADLINE, "first_byte": DEADLINE}
SHORT = {"silent": {"read": 0.2}, "no response within 0.3 s": {"first_byte": 0.3}}
"""The timeout that is to run out, by the error's words."""


def and_reset(*pieces: bytes) -> Callable[[Peer], None]:
    """Get a script that sends these bytes, waits until they have been read, and resets the connection."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*pieces)
        peer.reset()

    return script


GZIPPED = gzip.compress(FIRST_BYTES)
BROKEN_GZIP = GZIPPED[:12] + b"\xff\xff\xff\xff" + GZIPPED[16:]

# name: (script, error class, words of the error, whether it may be retried)
FAULTS: dict[str, tuple[Callable[[Peer], None], type[APIError], str, bool]] = {
    "closed before the answer": (after(), APIConnectionError, "reset", True),
    "reset before the answer": (and_reset(), APIConnectionError, "reset", True),
    "no headers": (Halt(), APITimeoutError, "no response within 0.3 s", True),
    "half a header": (after(b"HTTP/1.1 200 OK\r\ncontent-ty"), TruncatedError, "response's head", True),
    "half of the kind": (after(b"HTTP/1.1 200 OK\r\ncontent-type: text/ev"), TruncatedError, "response's head", True),
    "half a header, but the kind": (
        after(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-y"),
        TruncatedError,
        "response's head",
        True,
    ),
    "garbage instead of a status": (after(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ProtocolError, "BadStatusLine", False),
    "a header line without end": (
        after(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000),
        ProtocolError,
        "LineTooLong",
        False,
    ),
    "too many headers": (after(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n"), ProtocolError, "headers", False),
    "silence in a chunked body": (Halt(head(), chunks(FIRST)), APITimeoutError, "silent", True),
    "silence in a body with a length": (Halt(head(framing="9999"), FIRST_BYTES), APITimeoutError, "silent", True),
    "silence in a body until close": (Halt(head(framing="close"), FIRST_BYTES), APITimeoutError, "silent", True),
    "the end between two chunks": (after(head(), chunks(FIRST)), TruncatedError, "ended inside", True),
    "the end in the size of a chunk": (after(head(), chunks(FIRST), b"4"), TruncatedError, "ended inside", True),
    "the end in a chunk": (after(head(), chunks(FIRST), b"40\r\ndata: {"), TruncatedError, "ended inside", True),
    "the end before a chunk's CRLF": (after(head(), chunks(FIRST)[:-2]), TruncatedError, "ended inside", True),
    "the last chunk, but no message_stop": (after(stream_of(*FIRST)), TruncatedError, "_stop", True),
    "the last chunk without its CRLF": (after(head(), chunks(FIRST), b"0\r\n"), TruncatedError, "ended inside", True),
    "the end inside an event": (
        after(
            head(), chunks(FIRST), chunk(b'event: content_block_stop\ndata: {"type":"content_block_st'), b"0\r\n\r\n"
        ),
        TruncatedError,
        "message_stop",
        True,
    ),
    "a body shorter than its length": (
        after(head(framing="9999"), FIRST_BYTES),
        TruncatedError,
        "inside the response",
        True,
    ),
    "a body until close that ends early": (after(head(framing="close"), FIRST_BYTES), TruncatedError, "_stop", True),
    "the end of an HTTP/1.0 answer": (
        after(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", FIRST_BYTES),
        TruncatedError,
        "message_stop",
        True,
    ),
    "a reset in the body": (and_reset(head(), chunks(FIRST)), APIConnectionError, "", True),
    "a chunk size that is no number": (after(head(), chunks(FIRST), b"zz\r\n"), ProtocolError, "not a number", False),
    "a negative chunk size": (after(head(), chunks(FIRST), b"-5\r\nabcde"), ProtocolError, "not a number", False),
    "a chunk larger than any memory": (
        Halt(head(), chunks(FIRST), b"7fffffffffff\r\nx"),
        APITimeoutError,
        "silent",
        True,
    ),
    "a chunk longer than its size": (after(head(), b"3\r\nevent: x\r\n"), ProtocolError, "size says", False),
    "broken gzip": (
        after(head(headers={"content-encoding": "gzip"}), chunk(BROKEN_GZIP), b"0\r\n\r\n"),
        ProtocolError,
        "gzip",
        False,
    ),
    "gzip that ends early": (
        after(head(headers={"content-encoding": "gzip"}), chunk(GZIPPED[:-9]), b"0\r\n\r\n"),
        TruncatedError,
        "compressed",
        True,
    ),
    "bad chunks of gzip": (
        after(head(headers={"content-encoding": "gzip"}), chunk(GZIPPED), b"zz\r\n"),
        ProtocolError,
        "invalid literal",
        False,
    ),
    "gzip whose chunks end early": (
        after(head(headers={"content-encoding": "gzip"}), chunk(GZIPPED)),
        TruncatedError,
        "ended inside",
        True,
    ),
    "an event that is not JSON": (
        after(head(), chunks(FIRST), chunk(b"event: content_block_delta\ndata: {oops\n\n")),
        ProtocolError,
        "{oops",
        False,
    ),
    "JSON instead of a stream": (
        after(head(content_type="application/json"), chunk(b'{"type":"message"}'), b"0\r\n\r\n"),
        ProtocolError,
        "expected an event stream, got application/json",
        False,
    ),
    "HTML of no type": (
        after(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<html>sign in to the hotel</html>"),
        TruncatedError,
        "message_stop",
        True,
    ),
    "HTML instead of a stream": (
        after(head(content_type="text/html"), chunk(b"<html>sign in to the hotel</html>"), b"0\r\n\r\n"),
        ProtocolError,
        "hotel",
        False,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_becomes_one_of_our_errors(name: str, connect: Callable[..., Client]) -> None:
    script, kind, words, retryable = FAULTS[name]
    with Server(script) as server:
        client = connect(server, timeout=Timeout(**{**LONG, **SHORT.get(words, {})}))
        with pytest.raises(APIError) as caught:
            client.chat(**ASK)
        client.close()
    error = caught.value
    assert isinstance(error, kind)
    assert words in str(error)
    assert error.retryable is retryable
    assert error.attempts == 1
    assert not isinstance(error, LIBRARY_ERRORS)
    if "events were told" in name:
        assert error.partial is not None


def test_what_arrived_before_a_fault_is_kept_with_the_error(connect: Callable[..., Client]) -> None:
    with Server(after(head(), chunks(FIRST))) as server:
        client = connect(server)
        with pytest.raises(TruncatedError) as caught:
            client.chat(**ASK)
        client.close()
    assert caught.value.partial is not None
    assert caught.value.partial["content"] == [{"type": "text", "text": "Hi"}]
    assert caught.value.request_id == "req_test"


def test_a_refused_connection_is_a_connection_error(connect: Callable[..., Client]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(APIConnectionError, match=r"no connection: .*refused") as caught:
        connect(f"http://127.0.0.1:{port}").chat(**ASK)
    assert not isinstance(caught.value, APITimeoutError)
    assert caught.value.unsent
    assert caught.value.retryable
    assert caught.value.status is None
    assert caught.value.partial is None


def test_a_host_without_an_address_is_a_connection_error(connect: Callable[..., Client]) -> None:
    with pytest.raises(APIConnectionError, match="the host's name was not found"):
        connect("http://nowhere.invalid").chat(**ASK)


class LateContext(ssl.SSLContext):
    """Begins with TLS only when the other side has hung up, as it may once TLS is `due`."""

    due: threading.Event

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        self.due.set()
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        assert poll.poll(DEADLINE * 1000)
        return super().wrap_socket(sock, *args, **options)


def test_the_error_of_a_reset_before_tls_keeps_no_socket_open() -> None:
    context = LateContext(ssl.PROTOCOL_TLS_CLIENT)
    context.due = threading.Event()

    def reset(peer: Peer) -> None:
        wait(context.due)  # as a reset that comes before the connection is noticed fails connecting, not TLS
        peer.reset()

    before = len(list(Path("/proc/self/fd").iterdir()))
    with (
        Server(reset) as server,
        Client("k", base_url=server.url.replace("http:", "https:"), verify=context, max_retries=0) as client,
        pytest.raises(APIConnectionError) as caught,
    ):
        client.chat(**ASK)
    assert caught.value.retryable
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) == before)


def test_a_certificate_of_somebody_else_is_not_retried(server_tls: ssl.SSLContext) -> None:
    stranger = ssl.create_default_context()
    trustme.CA().configure_trust(stranger)
    with (
        Server(answering("x"), server_tls) as server,
        Client("k", base_url=server.url, verify=stranger, max_retries=5) as client,
        pytest.raises(APIConnectionError, match="certificate is not trusted") as caught,
    ):
        client.chat(**ASK)
    assert caught.value.attempts == 1


def test_plain_http_on_a_tls_port_is_a_connection_error(client_tls: ssl.SSLContext) -> None:
    with (
        Server(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=client_tls) as client,
        pytest.raises(
            APIConnectionError, match=r"TLS failed: .* The server replies without TLS\. Is .* http://\?"
        ) as caught,
    ):
        client.chat(**ASK)
    assert (caught.value.retryable, caught.value.attempts, caught.value.unsent) == (False, 1, True)


def test_a_proxy_without_tls_is_named(client_tls: ssl.SSLContext) -> None:
    with Server(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as proxy:
        url = f"https://localhost:{proxy.port}"
        with (
            Client("k", base_url="https://localhost:1", proxy=url, verify=client_tls, max_retries=0) as client,
            pytest.raises(
                APIConnectionError, match=rf"The proxy {url} .*, or the server behind it, replies without TLS"
            ),
        ):
            client.chat(**ASK)


def test_what_is_not_encrypted_in_mid_stream_is_not_a_server_without_tls(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunks(answer("Hi")[:3]))
        socket.socket.sendall(peer.sock, b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        Server(script, server_tls) as server,
        Client("k", base_url=server.url, verify=client_tls, max_retries=0) as client,
        pytest.raises(APIConnectionError, match=r"TLS failed: .*WRONG_VERSION_NUMBER") as caught,
    ):
        client.chat(**ASK)
    assert "without TLS" not in str(caught.value)
    assert caught.value.retryable
    assert caught.value.partial is not None


def test_a_handshake_that_ends_early_is_a_connection_error(client_tls: ssl.SSLContext) -> None:
    with (
        Server(lambda peer: peer.sock.recv(1)) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=client_tls, max_retries=0) as client,
        pytest.raises(APIConnectionError),
    ):
        client.chat(**ASK)


@pytest.mark.parametrize(
    ("reply", "retryable"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", False),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", False),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", True),
    ],
)
def test_a_proxy_that_refuses_the_tunnel_is_a_connection_error(reply: bytes, *, retryable: bool) -> None:
    with (
        Server(after(reply)) as proxy,
        Client("k", base_url="https://api.invalid", proxy=proxy.url, max_retries=0) as client,
        pytest.raises(
            APIConnectionError, match=r"the proxy .* \(as passed to the client\) failed: Tunnel \w+ failed: \d+"
        ) as caught,
    ):
        client.chat(**ASK)
    assert caught.value.retryable is retryable
    assert ("http://user:password@127.0.0.1" in str(caught.value)) is (b" 407 " in reply)


def test_a_proxy_that_cannot_be_reached_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        Client("k", base_url="https://api.invalid", proxy=f"http://127.0.0.1:{port}", max_retries=0) as client,
        pytest.raises(APIConnectionError, match="no connection") as caught,
    ):
        client.chat(**ASK)
    assert caught.value.retryable


def test_a_server_that_closes_within_a_tunnel_is_not_the_proxys_fault(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with (
        Server(after(), server_tls) as server,
        Server(Tunnel(server.port)) as proxy,
        Client("k", base_url=server.url, proxy=proxy.url, verify=client_tls, max_retries=0) as client,
        pytest.raises(APIConnectionError) as caught,
    ):
        client.chat(**ASK)
    assert "proxy" not in str(caught.value)
    assert caught.value.retryable


@pytest.mark.parametrize("framing", ["chunked", "close", "99999"])
def test_a_reset_in_an_encrypted_body_is_an_error(
    framing: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Also where the body ends by closing."""
    body = chunks(FIRST) if framing == "chunked" else FIRST_BYTES
    with (
        Server(and_reset(head(framing=framing), body), server_tls) as server,
        Client("k", base_url=server.url, verify=client_tls, max_retries=0) as client,
        pytest.raises(APIConnectionError, match="the connection was reset"),
    ):
        client.chat(**ASK)


def test_bytes_that_are_no_text_spoil_only_themselves(connect: Callable[..., Client]) -> None:
    first, *rest = answer("x")
    body = sse(first) + b": \xff a comment\n\n" + b"".join(map(sse, rest)).replace(b'"x"', b'"a\xffb"')
    with Server(after(head(), chunk(body), b"0\r\n\r\n")) as server:
        assert connect(server).chat(**ASK)["content"][0]["text"] == "a\ufffdb"


def test_a_connection_that_takes_too_long_is_a_timeout(connect: Callable[..., Client]) -> None:
    """A TLS handshake that the server never answers counts as connecting."""
    with Server(lambda peer: peer.wait_for_hang_up()) as server:
        client = connect(f"https://localhost:{server.port}", timeout=Timeout(connect=0.2, read=60))
        with pytest.raises(APITimeoutError, match=r"the TLS handshake with the server did not end within 0\.2 s"):
            client.chat(**ASK)


def test_connecting_in_vain_is_a_timeout(full_backlog: int, connect: Callable[..., Client]) -> None:
    client = connect(f"http://127.0.0.1:{full_backlog}", timeout=Timeout(connect=0.1))
    with pytest.raises(APITimeoutError, match=r"no connection within 0\.1 s \(timeout\.connect\)") as caught:
        client.chat(**ASK)
    assert caught.value.retryable


def test_a_large_request_on_a_slow_line_is_bounded_per_block_and_not_as_a_whole(connect: Callable[..., Client]) -> None:
    """Given as bytes, the body would have to be sent whole within the connect timeout."""
    size = 24_000_000  # more than the buffers on the way take in at once

    def slowly(peer: Peer) -> None:
        # The first bytes only after most of the connect timeout; then in blocks, each with a pause in which the
        # client's send buffer is full. A pause is the slowness itself, not a wait for something to happen.
        pause = threading.Event()
        received = 0
        while received < size:
            pause.wait(0.02)
            received += len(peer.sock.recv(400_000))
        send_answer(peer, "got it")

    with Server(slowly) as server:
        client = connect(server, timeout=Timeout(connect=0.2, read=30))
        message = client.chat(model="m", messages=[{"role": "user", "content": "x" * size}])
    assert message["content"][0]["text"] == "got it"  # type: ignore[typeddict-item]


@pytest.mark.parametrize("framing", ["chunked", "close", "length", "gzip", "one chunk for all"])
def test_an_event_is_told_as_soon_as_it_has_arrived(framing: str, connect: Callable[..., Client]) -> None:
    """The server sends the next event only after this one was told."""
    events = answer("one ", "two ", "three")
    told = threading.Semaphore(0)
    data = b"".join(map(sse, events))

    class Told(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            if isinstance(message, ChatEvent) and message.data["type"] == "content_block_delta":
                told.release()

    def script(peer: Peer) -> None:
        peer.read_request()
        packer: Any = None
        if framing == "gzip":
            packer = zlib.compressobj(wbits=31)
            peer.send(head(headers={"content-encoding": "gzip"}))
        elif framing == "one chunk for all":
            peer.send(head(), b"%x\r\n" % len(data))
        else:
            peer.send(head(framing=str(len(data)) if framing == "length" else framing))
        for event in events:
            piece = sse(event)
            if packer is not None:
                piece = chunk(packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH))
            elif framing == "chunked":
                piece = chunk(piece)
            peer.send(piece)
            if event["type"] == "content_block_delta":
                acquire(told)

    with Server(script) as server:
        inbox = Told()
        connect(server).chat(**ASK, stream=inbox)
        assert isinstance(inbox.until_end()[-1], ChatDone)
    assert not server.errors


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_connection_is_used_again_after_a_complete_answer(framing: str, connect: Callable[..., Client]) -> None:
    data = b"".join(map(sse, answer("x")))

    def script(peer: Peer) -> None:
        while peer.read_request():
            if framing == "chunked":
                send_answer(peer, "x")
            else:
                peer.send(head(framing=str(len(data))), data)

    with Server(script) as server:
        client = connect(server)
        for _ in range(5):
            inbox = Inbox()
            chat = client.chat(**ASK, stream=inbox)
            inbox.until_end()
            wait(chat.actor_stopped)
        assert server.connections == 1


@pytest.mark.parametrize("kind", [b"", b"content-type: Text/Event-Stream\r\n"])
def test_a_stream_without_a_type_or_with_a_shouted_one_is_taken(kind: bytes, connect: Callable[..., Client]) -> None:
    body = b"".join(map(sse, answer("x")))
    with Server(after(b"HTTP/1.1 200 OK\r\nconnection: close\r\n" + kind + b"\r\n" + body)) as server:
        assert connect(server).chat(**ASK)["stop_reason"] == "end_turn"


def test_what_follows_message_stop_is_skipped(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(head(), chunks(answer("x")))
            peer.send(chunk(b"data: [DONE]\n\n"), b"0\r\n\r\n")

    with Server(script) as server:
        client = connect(server)
        for _ in range(3):
            inbox = Inbox()
            chat = client.chat(**ASK, stream=inbox)
            assert isinstance(inbox.until_end()[-1], ChatDone)
            wait(chat.actor_stopped)
        assert server.connections == 1


def test_a_connection_is_used_again_after_an_error_status(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(head("529 Overloaded", framing="2", content_type="application/json"), b"{}")

    with Server(script) as server:
        client = connect(server)
        for _ in range(3):
            with pytest.raises(APIError):
                client.chat(**ASK)
        assert server.connections == 1


@pytest.mark.parametrize(
    "ending", [b"", b"0\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n", b"zz\r\n"], ids=["none", "half", "too much", "wrong"]
)
def test_a_complete_answer_stays_complete_whatever_follows_it(ending: bytes, connect: Callable[..., Client]) -> None:
    """`message_stop` decides; a connection that does not end as it should is not used again."""

    def script(peer: Peer) -> None:
        peer.read_request()
        if peer.number == 1:
            peer.send(head(), chunks(answer("whole")), ending)
            peer.wait_for_hang_up()
        else:
            send_answer(peer, "whole")

    with Server(script) as server:
        client = connect(server)
        for _ in range(2):
            assert client.chat(**ASK)["content"][0]["text"] == "whole"
        acquire(server.hung_up)
    assert server.connections == 2


@pytest.mark.parametrize("drip", [sse(PING), b"x"], ids=["pings", "bytes of an event that never ends"])
def test_what_is_no_event_does_not_keep_a_stalled_answer_alive(drip: bytes, connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunks(FIRST))
        pause = threading.Event()
        while not pause.wait(0.01):
            peer.send(chunk(drip))

    with Server(script) as server:
        client = connect(server, timeout=Timeout(read=60, idle=0.3))
        with pytest.raises(StalledError, match=r"timeout\.idle") as caught:
            client.chat(**ASK)
        client.close()
    assert caught.value.partial is not None


def test_the_first_bytes_timeout_bounds_headers_that_drip(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        pause = threading.Event()
        peer.send(b"HTTP/1.1 200 OK\r\nx: ")
        while not pause.wait(0.01):
            peer.send(b"y")

    with Server(script) as server:
        client = connect(server, timeout=Timeout(first_byte=0.3))
        with pytest.raises(APITimeoutError, match=r"timeout\.first_byte"):
            client.chat(**ASK)
        client.close()


def test_without_a_read_timeout_the_idle_timeout_still_ends_silence(connect: Callable[..., Client]) -> None:
    with Server(Halt(head())) as server:
        client = connect(server, timeout=Timeout(read=None, idle=0.3))
        with pytest.raises(StalledError):
            client.chat(**ASK)
        client.close()


def test_the_total_timeout_bounds_everything(connect: Callable[..., Client]) -> None:
    with Server(Halt(head(), chunks(FIRST))) as server:
        client = connect(server, max_retries=5)
        with pytest.raises(APITimeoutError, match=r"timeout\.total") as caught:
            client.chat(**ASK, timeout=0.3)
        client.close()
    assert caught.value.attempts == 1
    assert caught.value.partial is not None


def test_a_proxy_comes_from_the_environment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(answering("through the proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with Client("k", base_url="http://api.invalid") as client:
            monkeypatch.delenv("http_proxy")
            assert client.chat(**ASK)["content"][0]["text"] == "through the proxy"


def test_no_proxy_and_an_empty_proxy_go_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Server(answering("direct")) as server:
        with Client("k", base_url=server.url, proxy="") as client:
            assert client.chat(**ASK)["stop_reason"] == "end_turn"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with Client("k", base_url=server.url) as client:
            assert client.chat(**ASK)["stop_reason"] == "end_turn"


def test_a_proxys_password_goes_to_the_proxy_and_into_no_error() -> None:
    seen: list[str | None] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        seen.append(peer.header("proxy-authorization"))

    with Server(script) as proxy:
        url = f"http://user:geheim@127.0.0.1:{proxy.port}"
        with (
            Client("k", base_url="http://api.invalid", proxy=url, max_retries=0) as client,
            pytest.raises(APIConnectionError) as caught,
        ):
            client.chat(**ASK)
    assert seen == ["Basic dXNlcjpnZWhlaW0="]
    assert "geheim" not in str(caught.value)


def test_an_https_proxy_is_trusted_as_the_server_is(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with Server(answering("through the proxy"), server_tls) as proxy:
        url = f"https://localhost:{proxy.port}"
        with Client("k", base_url="http://api.invalid", proxy=url, verify=client_tls) as client:
            assert client.chat(**ASK)["stop_reason"] == "end_turn"


def test_a_socks_proxy_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"'socks5'.*could not be cancelled"):
        Client("k")
    Client("k", proxy="").close()
    Client("k", proxy="127.0.0.1:3128").close()


def test_a_ca_bundle_comes_from_the_environment_or_the_caller(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with Server(answering("trusted"), server_tls) as server:
        with Client("k", base_url=server.url, verify=bundle) as client:
            assert client.chat(**ASK)["stop_reason"] == "end_turn"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        with Client("k", base_url=server.url) as client:
            monkeypatch.delenv("REQUESTS_CA_BUNDLE")
            assert client.chat(**ASK)["stop_reason"] == "end_turn"


def test_a_folder_of_certificates_is_taken_too(tmp_path: Path) -> None:
    transport = Transport("https://api.invalid", Trust(tmp_path))
    assert isinstance(transport._tls, ssl.SSLContext)


def test_a_bundle_that_is_not_there_is_an_error_when_the_client_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="verify: no such file"):
        Client("k", verify="/nowhere/bundle.pem")
    with pytest.raises(ConfigurationError, match="verify: expected the path of a file, got the text of a cert"):
        Client("k", verify="-----BEGIN CERTIFICATE-----\nMIIB")
    monkeypatch.setenv("CURL_CA_BUNDLE", "/nowhere/else.pem")
    with pytest.raises(ConfigurationError, match="CURL_CA_BUNDLE: no such file"):
        Client("k")


def test_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str | None] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        seen.append(peer.header("authorization"))
        send_answer(peer, "x")

    with Server(script) as server, Client("k", base_url=server.url) as client:
        client.chat(**ASK)
    assert seen == [None]


def test_redirects_are_not_followed(connect: Callable[..., Client]) -> None:
    with Server(answering("elsewhere")) as elsewhere:
        moved = head("307 Temporary Redirect", framing="0", headers={"location": elsewhere.url + "/v1/messages"})
        with Server(after(moved)) as server:
            with pytest.raises(APIError) as caught:
                connect(server).chat(**ASK)
            assert caught.value.status == 307
        assert elsewhere.connections == 0


def test_cookies_are_not_kept(connect: Callable[..., Client]) -> None:
    seen: list[str | None] = []

    def script(peer: Peer) -> None:
        while peer.read_request():
            seen.append(peer.header("cookie"))
            peer.send(head(headers={"set-cookie": "a=b; Path=/"}), chunks(answer("x")), b"0\r\n\r\n")

    with Server(script) as server:
        client = connect(server)
        client.chat(**ASK)
        client.chat(**ASK)
    assert seen == [None, None]


def test_outside_an_attempt_nothing_is_opened() -> None:
    request: Any = type(
        "R", (), {"method": "POST", "path": "/v1/messages", "headers": {}, "body": b"{}", "timeout": RequestTimeout()}
    )
    with Server(answering("x")) as server, pytest.raises(RuntimeError, match="only within an attempt"):
        Transport(server.url, Trust()).open(request)


def library_errors() -> list[type[BaseException]]:
    """Get every exception class that requests and urllib3 define, and http.client's."""
    modules = [requests.exceptions, urllib3.exceptions, http.client]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
        and value is not urllib3.exceptions.ProxySchemeUnsupported  # a proxy's scheme is checked before
        and value.__module__.startswith(("requests", "urllib3", "http"))
    }
    return sorted(found, key=lambda kind: kind.__module__ + kind.__name__)


@pytest.mark.parametrize("kind", library_errors(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_error_of_the_libraries_below_is_mapped(kind: type[Exception]) -> None:
    """Made without its constructor, as it is the class that counts."""
    assert issubclass(kind, LIBRARY_ERRORS)
    error = fault(kind.__new__(kind), Way(RequestTimeout()))
    assert isinstance(error, APIConnectionError | ProtocolError)


def test_a_reset_within_a_tunnel_is_a_reset_and_not_the_proxys_fault() -> None:
    reset = http.client.RemoteDisconnected("closed")
    proxy_error = urllib3.exceptions.ProxyError("Cannot connect to proxy.", reset)
    top = requests.exceptions.ProxyError(proxy_error)
    assert "reset" in str(fault(top, Way(RequestTimeout())))


def test_an_error_of_ours_inside_a_librarys_comes_out_as_it_is() -> None:
    ours = TruncatedError("cut")
    wrapped = OSError("odd")
    wrapped.__cause__ = ours
    assert fault(wrapped, Way(RequestTimeout())) is ours


def test_the_body_of_an_error_is_read_up_to_a_limit(connect: Callable[..., Client]) -> None:
    big = b"x" * (3 << 20)
    with Server(after(head("500 No", framing=str(len(big)), content_type="text/plain"), big)) as server:
        client = connect(server)
        with pytest.raises(APIError) as caught:
            client.chat(**ASK)
        client.close()
    assert len(caught.value.body) == 1 << 20
    assert len(str(caught.value)) < 1000


FILES = ("queue.py", "connectionpool.py", "poolmanager.py", "connections.py", "/auth.py", "/scope.py", "/__init__.py")


def test_a_signal_handler_may_use_the_client_wherever_it_interrupts_it(
    server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    """On each line that a call runs, once: a chat, which another thread sends, is waited for."""
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    seen: set[tuple[str, int]] = set()

    def handler(frame: Any, event: str, _: object) -> Any:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if not place[0].endswith(FILES) or "importlib" in place[0]:
            return None
        if event == "line" and place not in seen:
            seen.add(place)
            sys.settrace(None)
            client.chat(**ASK, stream=Inbox()).result(timeout=DEADLINE)
            sys.settrace(handler)
        return handler

    def script(peer: Peer) -> None:
        while peer.read_request():
            if b"count_tokens" in peer.head:
                peer.send(json_answer("200 OK", {"input_tokens": 1}))
            else:
                send_answer(peer, "x")

    before = sys.gettrace()
    with Server(script, server_tls) as server, Client("k", base_url=server.url, verify=bundle) as client:
        try:
            for _ in range(3):
                sys.settrace(handler)
                assert client.count_tokens(**ASK)["input_tokens"] == 1
                sys.settrace(before)
        finally:
            sys.settrace(before)
    assert len(seen) > 100


def test_a_connection_is_given_back_also_by_who_has_no_scope() -> None:
    """A collector of garbage, say."""
    pool = Transport("http://127.0.0.1:9", Trust())._adapter._pool
    connection = pool._get_conn()
    pool._put_conn(connection)
    assert pool._get_conn() is connection
