"""Through an https proxy: the server's TLS within the proxy's, both of our kind."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import APIConnectionError, APITimeoutError, CancelledError, Client, Timeout
from anthropix_actors._http.tls import TLSSocket

from actors import ASK, Inbox
from servers import DEADLINE, Halt, Peer, Server, Tunnel, acquire, answering, pump, stalling, until, wait, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import trustme

    Through = Callable[..., contextlib.AbstractContextManager[TLSSocket]]

ROOM = 65536


class Relay:
    """A proxy that opens a tunnel, and sends what comes through it in pieces of so many bytes."""

    def __init__(self, port: int, piece: int) -> None:
        self.port = port
        self.piece = piece

    def __call__(self, peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.port)) as upstream:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there = threading.Thread(target=pump, args=(peer.sock, upstream))
            there.start()
            with contextlib.suppress(OSError):
                while data := upstream.recv(self.piece):
                    peer.sock.sendall(data)
                peer.sock.shutdown(socket.SHUT_WR)
            there.join(DEADLINE)


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def through(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, authority: trustme.CA) -> Through:
    """Connect to a server with a script, in a tunnel; both with one version of TLS."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.minimum_version = trusting.maximum_version = request.param

    @contextlib.contextmanager
    def connect(script: Callable[[Peer], object], piece: int = ROOM) -> Generator[TLSSocket]:
        with Server(script, server_tls) as server, Server(Relay(server.port, piece), server_tls) as proxy:
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE) as sock:
                outer = TLSSocket(sock, trusting, "localhost")
                outer.sendall(b"CONNECT localhost:443 HTTP/1.1\r\n\r\n")
                assert outer.recv(ROOM) == b"HTTP/1.1 200 OK\r\n\r\n"
                yield TLSSocket(outer, trusting, "localhost")

    return connect


def received(near: TLSSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = near.recv(ROOM)
        assert more, "the connection ended"
        data += more
    return data


@pytest.mark.parametrize("piece", [1, 7, 1000, ROOM])
def test_both_may_cut_anywhere(piece: int, through: Through) -> None:
    pieces = [b"event %d " % number * (number % 9 + 1) for number in range(30)]

    def script(peer: Peer) -> None:
        peer.send(*pieces)
        peer.wait_for_hang_up()

    with through(script, piece) as near:
        assert received(near, len(b"".join(pieces))) == b"".join(pieces)
        assert near.is_quiet


def test_one_read_takes_the_records_of_both_that_have_arrived(through: Through) -> None:
    sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(*[b"event"] * 100)
        sent.set()
        peer.wait_for_hang_up()

    with through(script) as near:
        wait(sent)
        data, reads = b"", 0
        while len(data) < 500:
            data, reads = data + near.recv(ROOM), reads + 1
        assert data == b"event" * 100
        assert reads < 50


def test_a_peer_that_first_wants_to_be_rid_of_its_own_bytes_stops_nothing(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """The lower one takes meanwhile what arrives. Both layers end in one thread here, which sends or receives."""
    sent, answered, got = b"x" * 600_000, b"y" * 600_000, []

    def stubborn(peer: Peer) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        upper = server_tls.wrap_bio(incoming, outgoing, server_side=True)

        def perform(step: Callable[..., Any], *args: Any) -> Any:
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    result = step(*args)
                    peer.send(outgoing.read())
                    return result
                peer.send(outgoing.read())
                incoming.write(peer.sock.recv(ROOM))

        perform(upper.do_handshake)
        perform(upper.write, answered)
        data = b""
        while len(data) < len(sent):
            data += perform(upper.read, ROOM)
        got.append(data)
        peer.wait_for_hang_up()

    with Server(stubborn, server_tls) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
            near = TLSSocket(TLSSocket(sock, client_tls, "localhost"), client_tls, "localhost")
            near.sendall(sent)
            assert received(near, len(answered)) == answered
        acquire(server.hung_up)
        assert server.errors == []
    assert got == [sent]


def test_the_end_of_either_is_the_end(through: Through) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"bytes")

    with through(script) as near:
        assert received(near, 5) == b"bytes"
        assert near.recv(1) == near.recv(1) == b""
        assert not near.is_quiet


def test_what_the_lower_one_received_and_nobody_read_spoils_the_connection(through: Through) -> None:
    """Such as the proxy's end, received with the answer's: the system has nothing to tell of it any more."""
    with through(Peer.wait_for_hang_up) as near:
        assert near.is_quiet
        outer: Any = near.socket
        outer._ended = True
        assert not near.is_quiet


@pytest.mark.parametrize("where", ["in the proxy's handshake", "in the tunnel's", "in the response"])
def test_a_cancel_ends_each_wait(where: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    stalled = threading.Semaphore(0)

    def stall(peer: Peer) -> None:
        stalled.release()
        peer.wait_for_hang_up()

    halt = Halt(whole("x")[:200])
    with (
        Server(halt, server_tls) if where == "in the response" else Server(stall) as server,
        Server(Tunnel(server.port), server_tls) as proxy,
        Client(
            "k",
            base_url="https://localhost:1",
            proxy=f"https://localhost:{(server if 'proxy' in where else proxy).port}",
            verify=client_tls,
        ) as client,
    ):
        chat = client.chat(**ASK, stream=Inbox())
        acquire(halt.reached if where == "in the response" else stalled)
        chat.cancel()
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError):
            chat.result(0)
        acquire(server.hung_up)


def test_the_timeouts_hold(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with (
        Server(stalling, server_tls) as server,
        Server(Tunnel(server.port), server_tls) as proxy,
        Client(
            "k",
            base_url=server.url,
            proxy=f"https://localhost:{proxy.port}",
            verify=client_tls,
            max_retries=0,
            timeout=Timeout(connect=5, read=0.3, idle=10),
        ) as client,
        pytest.raises(APITimeoutError, match=r"timeout\.read"),
    ):
        client.chat(**ASK)


@pytest.mark.parametrize("whose", ["proxy", "server"])
def test_each_certificate_is_checked_the_peer_is_told_and_no_socket_stays_open(
    whose: str, authority: trustme.CA, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """The alert of the upper one goes through the lower one."""
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(other)
    told: list[str] = []

    def wrongly(peer: Peer) -> None:
        with pytest.raises(ssl.SSLError) as caught:
            other.wrap_socket(peer.sock, server_side=True)
        told.append(caught.value.reason)

    before = len(list(Path("/proc/self/fd").iterdir()))
    with Server(wrongly) as server, Server(Tunnel(server.port), server_tls) as proxy:
        wrong = server if whose == "proxy" else proxy
        with (
            Client(
                "k",
                base_url="https://localhost:1",
                proxy=f"https://localhost:{wrong.port}",
                verify=client_tls,
                max_retries=0,
            ) as client,
            pytest.raises(APIConnectionError, match="the certificate of the proxy") as caught,
        ):
            client.chat(**ASK)
        assert "Hostname mismatch" in str(caught.value)
        assert "is for another name than that of the URL" in str(caught.value)
        assert "verify" not in str(caught.value).replace("verify failed", "")
        acquire(server.hung_up)
    assert told == ["SSLV3_ALERT_BAD_CERTIFICATE"]
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) == before)


class Traced(ssl.SSLContext):
    """Makes sockets in a way of its own."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **options)


def test_a_context_that_makes_sockets_in_its_own_way_makes_the_proxys(
    authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    """And urllib3 the tunnel's."""
    trusting = Traced(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    with (
        Server(answering("x"), server_tls) as server,
        Server(Tunnel(server.port), server_tls) as proxy,
        Client("k", base_url=server.url, proxy=f"https://localhost:{proxy.port}", verify=trusting) as client,
    ):
        for _ in range(2):
            chat = client.chat(**ASK, stream=Inbox())
            assert chat.result(DEADLINE)["stop_reason"] == "end_turn"
            wait(chat.actor_stopped)
        assert server.connections == 1
