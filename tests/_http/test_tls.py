"""Encrypted connections, below urllib3: what arrives is cut anywhere, and what is sent may not be taken."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import APIConnectionError, APITimeoutError, Client, Timeout
from anthropix_actors._http.reuse import tls_context
from anthropix_actors._http.reuse.tls_context import TLSContext, buffered
from anthropix_actors._http.tls import TLSSocket

from actors import ASK, Inbox
from records import Encrypted, Far, Keys13, until_taken
from servers import DEADLINE, Peer, Server, acquire, answering, head, send_answer, until, wait, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import trustme

    Connected = Callable[..., contextlib.AbstractContextManager[tuple[TLSSocket, Far]]]
    Handmade = Callable[..., contextlib.AbstractContextManager[tuple[TLSSocket, Encrypted]]]

ROOM = 65536
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def sockets(buffers: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Connect two sockets, perhaps with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near, far = socket.socket(), None
        for sock in (listener, near):
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF) if buffers else ():
                sock.setsockopt(socket.SOL_SOCKET, option, buffers or 0)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(DEADLINE)
    return near, far


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def connected(request: pytest.FixtureRequest, authority: trustme.CA) -> Connected:
    """Connect both ends, with each version of TLS."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.minimum_version = trusting.maximum_version = request.param

    @contextlib.contextmanager
    def connect(buffers: int | None = None) -> Generator[tuple[TLSSocket, Far]]:
        near, sock = sockets(buffers)
        far = Far(sock, serving)
        with near, sock:
            shaking = threading.Thread(target=far.shake_hands)
            shaking.start()
            encrypted = TLSSocket(near, trusting, "localhost")
            shaking.join(DEADLINE)
            yield encrypted, far

    return connect


@pytest.fixture
def handmade(authority: trustme.CA, client_tls: ssl.SSLContext) -> Handmade:
    """Connect to a server whose records are made by hand."""

    @contextlib.contextmanager
    def connect(version: ssl.TLSVersion, buffers: int | None = None) -> Generator[tuple[TLSSocket, Encrypted]]:
        near, far = sockets(buffers)
        ends: list[Encrypted] = []
        with near, far:
            certificate = authority.issue_cert("localhost")
            shaking = threading.Thread(target=lambda: ends.append(Encrypted(far, certificate, version)))
            shaking.start()
            encrypted = TLSSocket(near, client_tls, "localhost")
            shaking.join(DEADLINE)
            yield encrypted, ends[0]

    return connect


def read(near: TLSSocket, room: int = ROOM) -> bytes:
    """Read once."""
    buffer = bytearray(room)
    return bytes(buffer[: near.recv_into(buffer)])


def read_on(near: TLSSocket, room: int) -> bytes:
    """Read what can be read now."""
    near.settimeout(0)
    data = b""
    with contextlib.suppress(TimeoutError):
        while piece := read(near, room):
            data += piece
    near.settimeout(None)
    return data


# What arrives


def test_one_read_takes_all_records_that_have_arrived(connected: Connected) -> None:
    """Of many kilobytes only when as many have arrived before."""
    events = [b"event %5d " % number for number in range(3000)]
    with connected() as (near, far):
        far.send(*events[:12])
        assert read(near) == b"".join(events[:12])
        far.send(*events)
        sizes = [len(read(near)) for _ in range(7)]
        assert sum(sizes) == len(b"".join(events))
        assert sizes == sorted(sizes)
        far.send(*events[:1000])
        assert read(near) == b"".join(events[:1000])
        assert near.is_quiet


def test_records_may_be_cut_anywhere_and_be_of_any_size(connected: Connected) -> None:
    with connected() as (near, far):

        @given(
            pieces=st.lists(st.binary(min_size=1, max_size=9) | st.integers(1, 40000).map(bytes), max_size=6),
            cuts=st.lists(st.integers(0, 60000), max_size=6),
            room=st.integers(1, 9) | st.integers(1000, ROOM),
        )
        def cut(pieces: list[bytes], cuts: list[int], room: int) -> None:
            wire, data = far.records(*pieces), b""
            places = [0, *sorted(min(place, len(wire)) for place in cuts), len(wire)]
            for start, stop in itertools.pairwise(places):
                far.sock.sendall(wire[start:stop])
                data += read_on(near, max(room, len(wire) // 500))
            assert data == b"".join(pieces)

        cut()


def test_byte_by_byte_too(connected: Connected) -> None:
    with connected() as (near, far):
        data = b""
        for byte in far.records(b"a", b"", b"bcd" * 9, b"e"):
            far.sock.sendall(bytes([byte]))
            data += read_on(near, 5)
        assert data == b"a" + b"bcd" * 9 + b"e"


def test_what_brings_no_bytes_is_not_the_end(connected: Connected) -> None:
    """Such as the tickets of a session, which TLS 1.3 sends when it likes."""
    with connected() as (near, far):
        far.send()
        assert read_on(near, ROOM) == b""
        assert near.is_quiet
        near.settimeout(DEADLINE)
        far.send(b"bytes")
        assert read(near) == b"bytes"


def test_a_part_of_a_buffer_can_be_asked_for(connected: Connected) -> None:
    with connected() as (near, far):
        far.send(b"abcdef")
        buffer = bytearray(6)
        assert near.recv_into(buffer, 2) == 2
        assert buffer == b"ab\0\0\0\0"
        assert near.pending() == 4
        assert not near.is_quiet


def test_the_reader_gives_the_lines_and_closes_the_socket_last(connected: Connected) -> None:
    with connected() as (near, far):
        reader = near.makefile("rb")
        far.send(b"one\r\n", b"two")
        near.close()
        assert reader.readline() == b"one\r\n"
        assert reader.read1(ROOM) == b"two"
        reader.close()
        assert near.fileno() == -1


# Ends


def test_a_close_notify_is_the_end_after_the_bytes_before_it(connected: Connected) -> None:
    with connected() as (near, far):
        far.sock.sendall(far.records(b"bytes") + far.farewell() + b"of no concern")
        assert read(near) == b"bytes"
        assert not near.is_quiet
        assert read(near) == read(near) == b""


@pytest.mark.parametrize("cut", [0, 1, 5, 20], ids="{} bytes into a record".format)
def test_the_end_of_the_connection_is_the_end(cut: int, connected: Connected) -> None:
    """With the framing of HTTP, and `message_stop`, a response that was cut is seen."""
    with connected() as (near, far):
        far.send(b"bytes")
        far.sock.sendall(far.records(b"never whole")[:cut])
        far.sock.close()
        assert read(near) == b"bytes"
        assert read(near) == read(near) == b""
        assert not near.is_quiet


def test_an_end_that_is_seen_while_sending_comes_after_what_was_sent_before_it(connected: Connected) -> None:
    with connected() as (near, far):
        far.sock.sendall(far.records(b"bytes") + far.records(b"never whole")[:9])
        far.sock.shutdown(socket.SHUT_WR)
        near._receive()
        near._receive()
        near.sendall(b"request")
        assert far.read(7) == b"request"
        assert read(near) == b"bytes"
        assert read(near) == b""


def test_a_reset_is_an_error(connected: Connected) -> None:
    with connected() as (near, far):
        far.send(b"bytes")
        far.reset()
        assert read(near) == b"bytes"
        with pytest.raises(ConnectionResetError):
            read(near)


def test_an_alert_is_an_error_after_the_bytes_before_it(connected: Connected) -> None:
    with connected() as (near, far):
        far.sock.sendall(far.records(b"bytes") + far.complaint())
        assert read(near) == b"bytes"
        assert not near.is_quiet
        for _ in range(2):
            with pytest.raises(ssl.SSLError, match="alert"):
                read(near)


def test_garbage_is_an_error_after_the_bytes_before_it_and_the_peer_is_told(connected: Connected) -> None:
    with connected() as (near, far):
        far.sock.sendall(far.records(b"bytes") + b"garbage of more bytes than a record's head has")
        assert read(near) == b"bytes"
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            read(near)
        with pytest.raises(ssl.SSLError, match="alert"):
            far.read(1)


def test_a_peer_that_takes_nothing_delays_no_failure(connected: Connected) -> None:
    """It is not told then."""
    with connected(8192) as (near, far):
        near.settimeout(0.1)
        with pytest.raises(TimeoutError):
            near.sendall(b"x" * 600_000)
        near.settimeout(DEADLINE)
        far.sock.sendall(far.records(b"bytes") + b"garbage of more bytes than a record's head has")
        start = time.monotonic()
        assert read(near) == b"bytes"
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            read(near)
        assert time.monotonic() - start < DEADLINE / 2
        assert near.gettimeout() == DEADLINE


def test_a_record_that_was_changed_is_an_error(connected: Connected) -> None:
    with connected() as (near, far):
        wire = bytearray(far.records(b"bytes"))
        wire[-1] ^= 1
        far.sock.sendall(wire)
        with pytest.raises(ssl.SSLError, match="DECRYPTION_FAILED_OR_BAD_RECORD_MAC"):
            read(near)


def test_after_a_shutdown_no_encrypted_byte_is_read_as_if_it_were_none(connected: Connected) -> None:
    with connected() as (near, far):
        far.send(b"bytes")
        select.select([near], [], [], DEADLINE)
        near.shutdown(socket.SHUT_RDWR)
        assert read(near) == b"bytes"
        assert read(near) == b""


def test_both_may_say_that_nothing_more_is_sent(connected: Connected) -> None:
    with connected() as (near, far):
        far.sock.sendall(far.farewell())
        assert near.unwrap() is near.socket
        assert read(near) == b""
        far.incoming.write(far.sock.recv(ROOM))
        far.tls.unwrap()


def test_a_peer_that_is_gone_has_nothing_more_to_say(connected: Connected) -> None:
    with connected() as (near, far):
        far.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ssl.SSLError, match="EOF"):
            near.unwrap()


# What is sent


def test_a_large_piece_is_sent_whole(connected: Connected) -> None:
    sent = bytes(range(256)) * 20_000
    with connected() as (near, far):
        got: list[bytes] = []
        reading = threading.Thread(target=lambda: got.append(far.read(len(sent))))
        reading.start()
        near.settimeout(None)
        near.sendall(sent)
        reading.join(DEADLINE)
        assert got == [sent]


@pytest.mark.parametrize("timeout", [DEADLINE, None])
def test_a_peer_that_first_wants_to_be_rid_of_its_own_bytes_stops_nothing(
    timeout: float | None, connected: Connected
) -> None:
    """It reads only when all that it sends has been taken."""
    sent, answered = b"x" * 600_000, b"y" * 600_000
    with connected(8192) as (near, far):
        got: list[bytes] = []

        def stubborn() -> None:
            far.send(answered)
            got.append(far.read(len(sent)))

        thread = threading.Thread(target=stubborn)
        thread.start()
        near.settimeout(timeout)
        near.sendall(sent)
        thread.join(DEADLINE)
        assert got == [sent]
        near.settimeout(DEADLINE)
        data = b""
        while len(data) < len(answered):
            data += read(near)
        assert data == answered


def test_while_sending_a_bounded_number_of_bytes_is_taken(connected: Connected) -> None:
    with connected(8192) as (near, far):
        wire = far.records(b"y" * (4 << 20))

        def flood() -> None:
            with contextlib.suppress(OSError):
                far.sock.sendall(wire)

        thread = threading.Thread(target=flood)
        thread.start()
        near.settimeout(0.3)
        with pytest.raises(TimeoutError, match="write"):
            near.sendall(b"x" * 600_000)
        assert 1 << 20 <= near.pending() < (1 << 20) + ROOM
        near.close()
        thread.join(DEADLINE)


def test_a_peer_that_is_gone_ends_the_sending(connected: Connected) -> None:
    with connected() as (near, far):
        far.reset()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(1000):
                near.sendall(b"x" * ROOM)


def test_what_arrived_counts_even_where_the_peer_cannot_be_answered(connected: Connected) -> None:
    """Its last words may ask for a reply of TLS, such as new keys, and it may be gone."""
    with connected() as (near, far):
        far.send(b"bytes")
        near._receive()
        near._outgoing.write(b"a reply of TLS")
        near.socket.shutdown(socket.SHUT_WR)
        assert read(near) == b"bytes"


@pytest.mark.parametrize("size", [5, 100_000])
def test_a_reset_that_a_reply_meets_is_an_error_after_the_bytes_before_it(size: int, connected: Connected) -> None:
    """The system says so once: to the reply. A response without a length would be taken for whole."""
    with connected() as (near, far):
        far.send(b"x" * size)
        until_taken(far.sock)
        far.reset()
        near._receive()
        near._outgoing.write(b"a reply of TLS")
        data = read(near)
        while len(data) < size:
            data += read(near)
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                read(near)


# What is said between the bytes


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_question_of_tls_is_answered_at_once(version: ssl.TLSVersion, handmade: Handmade) -> None:
    """And not only with the next request. OpenSSL itself keeps its reply to the first question for new keys so long."""
    with handmade(version) as (near, far):
        keys = far.keys
        for _ in range(2):
            far.put(keys.update(asked=True) if isinstance(keys, Keys13) else keys.ask_anew())
        assert read_on(near, ROOM) == b""
        assert select.select([far.sock], [], [], DEADLINE)[0]
        near.settimeout(DEADLINE)
        far.sendall(b"bytes")
        assert read(near) == b"bytes"


def test_a_peer_that_asks_and_reads_no_answer_is_waited_for_as_long_as_one_that_takes_no_request(
    handmade: Handmade,
) -> None:
    with handmade(ssl.TLSVersion.TLSv1_3, 8192) as (near, far):
        assert isinstance(far.keys, Keys13)
        wire = b"".join(far.keys.update(asked=True) for _ in range(100_000))

        def ask() -> None:
            with contextlib.suppress(OSError):
                far.sock.sendall(wire)

        thread = threading.Thread(target=ask)
        thread.start()
        near.settimeout(0.3)
        with pytest.raises(TimeoutError, match="write"):
            read(near)
        assert near.pending() < (1 << 20) + ROOM
        near.close()
        thread.join(DEADLINE)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the server is openssl's own")
@pytest.mark.parametrize(
    ("version", "command"),
    [("tls1_3", "k"), ("tls1_3", "K"), ("tls1_2", "r"), ("tls1_2", "R")],
    ids=["new keys", "new keys for both", "a handshake anew", "that with certificates"],
)
def test_new_keys_and_handshakes_in_mid_stream_are_no_bytes(
    version: str, command: str, authority: trustme.CA, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    pem = tmp_path / "localhost.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    told = ["openssl", "s_server", "-accept", "0", "-naccept", "1", "-cert", str(pem), "-key", str(pem), f"-{version}"]
    with subprocess.Popen(told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            port = int(heard(server, rb"ACCEPT \S+:(\d+)\n"))
            with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
                near = TLSSocket(sock, client_tls, "localhost")
                for number in range(3):
                    typed(server, b"line %d\n" % number)
                    assert read(near) == b"line %d\n" % number
                    typed(server, f"{command}\n".encode())
                    assert select.select([sock], [], [], DEADLINE)[0]
                    assert read_on(near, ROOM) == b""
                    near.settimeout(DEADLINE)
                    near.sendall(b"said in between %d\n" % number)
                    heard(server, rb"(said in between %d)\n" % number)
        finally:
            server.kill()


def typed(program: subprocess.Popen[bytes], line: bytes) -> None:
    assert program.stdin is not None
    program.stdin.write(line)
    program.stdin.flush()


def heard(program: subprocess.Popen[bytes], pattern: bytes) -> bytes:
    """Wait until a program prints it; return the group."""
    assert program.stdout is not None
    printed = b""
    while not (found := re.search(pattern, printed)):
        assert select.select([program.stdout], [], [], DEADLINE)[0], printed
        more = os.read(program.stdout.fileno(), ROOM)
        assert more, printed
        printed += more
    return found[1]


# The handshake


def test_the_timeout_is_for_the_whole_handshake_however_it_drips(client_tls: ssl.SSLContext) -> None:
    near, far = sockets()
    over = threading.Event()

    def drip() -> None:
        far.sendall(b"\x16\x03\x03\x40\x00")
        for _ in range(300):
            if over.wait(0.01):  # the slowness itself, not a wait for something to happen
                return
            far.sendall(b"\x02")
        far.shutdown(socket.SHUT_RDWR)

    with near, far:
        thread = threading.Thread(target=drip)
        thread.start()
        near.settimeout(0.2)
        with pytest.raises(TimeoutError):
            TLSSocket(near, client_tls, "localhost")
        over.set()
        thread.join(DEADLINE)


def test_a_handshake_has_no_more_time_than_is_left(client_tls: ssl.SSLContext) -> None:
    near, far = sockets()
    with near, far:
        near.settimeout(1e-9)
        with pytest.raises(TimeoutError, match="handshake"):
            TLSSocket(near, client_tls, "localhost")


def test_beside_the_main_thread_the_system_ends_a_wait_however_short(connected: Connected) -> None:
    with ThreadPoolExecutor(1) as thread, connected() as (near, _):
        thread.submit(near.settimeout, 1e-9).result(DEADLINE)
        with pytest.raises(TimeoutError, match="read"):
            thread.submit(near.recv, 1).result(DEADLINE)


def test_a_server_that_is_not_trusted_is_told_so(server_tls: ssl.SSLContext) -> None:
    near, far = sockets()
    told: list[str] = []

    def serve() -> None:
        with pytest.raises(ssl.SSLError) as caught:
            Far(far, server_tls).shake_hands()
        told.append(str(caught.value))

    with near, far:
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ssl.SSLCertVerificationError):
            TLSSocket(near, ssl.create_default_context(), "localhost")
        thread.join(DEADLINE)
    assert "ALERT_UNKNOWN_CA" in told[0]


def test_a_name_must_be_said_where_it_is_to_be_checked(client_tls: ssl.SSLContext) -> None:
    near, far = sockets()
    with near, far, pytest.raises(ValueError, match="check_hostname requires server_hostname"):
        TLSSocket(near, client_tls, None)


def test_the_error_of_a_reset_in_the_handshake_keeps_no_socket_open(client_tls: ssl.SSLContext) -> None:
    def reset(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.reset()

    before = len(list(Path("/proc/self/fd").iterdir()))
    with (
        Server(reset) as server,
        Client("k", base_url=server.url.replace("http:", "https:"), verify=client_tls, max_retries=0) as client,
        pytest.raises(APIConnectionError, match="reset") as caught,
    ):
        client.chat(**ASK)
    assert caught.value.retryable
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) == before)


# Which contexts


class Traced(ssl.SSLContext):
    """Makes sockets in a way of its own."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **options)


class Both(Traced):
    """Makes both in a way of its own, as truststore's context does."""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **options)


def test_a_context_that_makes_sockets_in_its_own_way_goes_on_to(client_tls: ssl.SSLContext) -> None:
    other = ssl.create_default_context()
    other.sslsocket_class = type("Mine", (ssl.SSLSocket,), {})
    assert buffered(other) is other
    traced = Traced(ssl.PROTOCOL_TLS_CLIENT)
    assert buffered(traced) is traced
    for context in (client_tls, Both(ssl.PROTOCOL_TLS_CLIENT)):
        assert isinstance(buffered(context), TLSContext)


def test_where_the_system_has_no_poll_the_context_makes_its_own_sockets(
    client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_context, "_POLLS", False)
    assert buffered(client_tls) is client_tls


def test_all_else_of_a_context_is_the_contexts_own() -> None:
    context = buffered(Both(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    context.options |= ssl.OP_NO_TICKET
    assert context._context.options == context.options
    assert context.options & ssl.OP_NO_TICKET
    context.verify_mode = ssl.CERT_NONE  # as urllib3 sets what it once was
    assert context._context.verify_mode == context.verify_mode == ssl.CERT_REQUIRED


# A client's chats


def chat_through(client: Client) -> None:
    """Chat until the connection is given back, which comes after the answer."""
    chat = client.chat(**ASK, stream=Inbox())
    assert chat.result(DEADLINE)["stop_reason"] == "end_turn"
    wait(chat.actor_stopped)


def test_one_connection_serves_chat_after_chat(server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    with Server(answering("x"), server_tls) as server, Client("k", base_url=server.url, verify=trusting) as client:
        for _ in range(20):
            chat_through(client)
    assert server.connections == 1


def test_a_connection_whose_end_was_received_with_the_answer_is_not_used_again(
    server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """The server says so in TLS only; its connection stays open, until the client closes it."""

    def script(peer: Peer) -> None:
        far = Far(peer.sock, server_tls)
        far.shake_hands()
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += far.read(1)
        far.read(int(request.lower().partition(b"content-length: ")[2].split()[0]))
        peer.sock.sendall(far.records(whole("x")) + far.farewell())
        peer.wait_for_hang_up()

    with (
        Server(script) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=trusting, max_retries=0) as client,
    ):
        for number in (1, 2, 3):
            chat_through(client)
            assert server.connections == number


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_body_without_a_length_that_a_reset_cuts_is_no_whole_one(
    version: ssl.TLSVersion, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    """The reset may meet the reply to the server's question."""
    certificate = authority.issue_cert("localhost")

    def script(peer: Peer) -> None:
        far = Encrypted(peer.sock, certificate, version)
        far.recv(ROOM)
        far.sendall(head(framing="close", content_type="application/octet-stream") + b"the first half")
        keys = far.keys
        for _ in range(2):
            far.put(keys.update(asked=True) if isinstance(keys, Keys13) else keys.ask_anew())
        peer.reset()

    with (
        Server(script) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=client_tls, max_retries=0) as client,
    ):
        for _ in range(20):
            with pytest.raises(APIConnectionError, match="reset"):
                client.files.download("file_1")


def test_the_servers_name_and_the_protocol_are_said(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    asked: list[str] = []
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    serving.set_alpn_protocols(["http/1.1"])
    serving.sni_callback = lambda _, name, __: asked.append(str(name))
    seen: list[Any] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        sock: Any = peer.sock
        seen.append(sock.selected_alpn_protocol())
        send_answer(peer, "x")

    with Server(script, serving) as server, Client("k", base_url=server.url, verify=trusting) as client:
        client.chat(**ASK)
    assert asked == ["localhost"]
    assert seen == ["http/1.1"]


def test_what_was_agreed_can_be_asked(connected: Connected) -> None:
    with connected() as (near, far):
        assert near.version() == far.tls.version()
        assert near.cipher() == far.tls.cipher()
        assert near.selected_alpn_protocol() is None
        assert near.getpeercert()["subjectAltName"] == (("DNS", "localhost"),)
        assert isinstance(near.getpeercert(binary_form=True), bytes)


@pytest.mark.parametrize("name", ["localhost", "example.org"])
def test_a_name_is_checked_by_urllib3_where_the_context_does_not(
    name: str, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    trusting.check_hostname = False
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(serving)
    with (
        Server(answering("x"), serving) as server,
        Client("k", base_url=server.url, verify=trusting, max_retries=0) as client,
    ):
        if name == "localhost":
            assert client.chat(**ASK)["stop_reason"] == "end_turn"
        else:
            with pytest.raises(
                APIConnectionError, match=r"is for another name .*: hostname 'localhost' doesn't match 'example\.org'"
            ) as caught:
                client.chat(**ASK)
            assert not caught.value.retryable


@pytest.mark.parametrize("has_one", [True, False])
@pytest.mark.parametrize("size", [5, 4 << 20])
def test_a_client_certificate_is_shown(
    size: int, authority: trustme.CA, trusting: ssl.SSLContext, *, has_one: bool
) -> None:
    """With TLS 1.3, the server says that one is missing while the request is sent, and then resets."""
    ask: Any = {**ASK, "messages": [{"role": "user", "content": "x" * size}]}
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(serving)
    serving.verify_mode = ssl.CERT_REQUIRED
    if has_one:
        authority.issue_cert("client@example.org").configure_cert(trusting)
    with (
        Server(answering("x"), serving) as server,
        Client("k", base_url=server.url, verify=trusting) as client,
    ):
        if has_one:
            assert client.chat(**ask)["stop_reason"] == "end_turn"
        else:
            alert = r"ALERT_(CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE).* wants a certificate .*load_cert_chain"
            with pytest.raises(APIConnectionError, match=alert) as caught:
                client.chat(**ask)
            assert (caught.value.retryable, caught.value.attempts) == (False, 1)


def test_a_client_certificate_is_shown_as_the_page_says(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "proxies-and-tls.md"
    (snippet,) = re.findall(r"^```python\n(def introduced.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"ssl": ssl, "Client": Client}
    exec(snippet, names)
    certfile, keyfile, cafile = (str(tmp_path / name) for name in ("client.pem", "client.key", "x.pem"))
    own = authority.issue_cert("client@example.org")
    own.cert_chain_pems[0].write_to_path(certfile)
    own.private_key_pem.write_to_path(keyfile)
    authority.cert_pem.write_to_path(cafile)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(serving)
    serving.verify_mode = ssl.CERT_REQUIRED
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    with (
        Server(answering("x"), serving) as server,
        names["introduced"](server.url, certfile, keyfile, cafile) as client,
    ):
        assert client.chat(**ASK)["stop_reason"] == "end_turn"


def test_silence_in_the_handshake_is_bounded_by_connect(client_tls: ssl.SSLContext) -> None:
    def half(peer: Peer) -> None:
        peer.sock.recv(ROOM)
        peer.send(b"\x16\x03\x03\x00\x7a\x02\x00")
        peer.wait_for_hang_up()

    with (
        Server(half) as server,
        Client(
            "k",
            base_url=f"https://localhost:{server.port}",
            verify=client_tls,
            max_retries=0,
            timeout=Timeout(connect=0.2, read=60),
        ) as client,
        pytest.raises(APITimeoutError, match=r"timeout\.connect"),
    ):
        client.chat(**ASK)
        acquire(server.hung_up)
