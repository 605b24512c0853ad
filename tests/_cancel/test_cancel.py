"""`cancel()` in every phase of a chat.

All timeouts are longer than the tests wait, so what ends a chat here is the cancel and nothing else.
"""

from __future__ import annotations

import gzip
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from urllib3.connectionpool import HTTPConnectionPool

from anthropix_actors import CancelledError, CancelToken, ChatCancelled, ChatEvent, ChatRetrying, Client, Timeout
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._http.attempt_scope import this_attempt
from anthropix_actors._http.requester import Requester

from actors import ASK, Inbox, Reader, core_of, socket_of, task_of, until_blocked
from programs import BEGUN
from servers import (
    DEADLINE,
    Halt,
    Peer,
    Server,
    Tunnel,
    acquire,
    after,
    answering,
    block_start,
    chunk,
    chunks,
    error_body,
    head,
    json_answer,
    send_answer,
    sse,
    stalling,
    start,
    text_delta,
    until,
    wait,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

PATIENT = Timeout(connect=120, read=120, idle=120)
FIRST = [start(), block_start(), text_delta("Hi")]
FIRST_BYTES = b"".join(map(sse, FIRST))


def waits_for_headers(peer: Peer) -> None:
    peer.read_request()


def half_a_header(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-ty")


def chunked_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(head(), chunks(FIRST))


def half_a_chunk(peer: Peer) -> None:
    peer.read_request()
    peer.send(head(), chunks(FIRST), b"40\r\ndata: ")


def body_with_length(peer: Peer) -> None:
    peer.read_request()
    peer.send(head(framing="100000"), FIRST_BYTES)


def close_delimited_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(head(framing="close"), FIRST_BYTES)


def gzip_body(peer: Peer) -> None:
    peer.read_request()
    packed = gzip.compress(FIRST_BYTES)[:-8]  # the end has not come
    peer.send(head(headers={"content-encoding": "gzip"}), chunk(packed))


SILENT = [
    waits_for_headers,
    half_a_header,
    chunked_body,
    half_a_chunk,
    body_with_length,
    close_delimited_body,
    gzip_body,
]


class StallsOnce:
    """A script that stalls on the first connection, after `until_then`, and answers on all others."""

    def __init__(self, until_then: Callable[[Peer], object]) -> None:
        self.until_then = until_then
        self.stalled = threading.Event()
        self.hung_up = threading.Event()

    def __call__(self, peer: Peer) -> None:
        if peer.number > 1:
            peer.read_request()
            send_answer(peer, "fresh")
            return
        self.until_then(peer)
        self.stalled.set()
        peer.wait_for_hang_up()
        self.hung_up.set()


def assert_cancelled(client: Client, stalled: threading.Event, inbox: Inbox, **options: Any) -> list[Any]:
    """Start a chat, cancel it once it has stalled, and see it end."""
    chat = client.chat(**ASK, stream=inbox, **options)
    wait(stalled)
    assert chat.cancel("enough") is True
    assert chat.cancel("again") is False
    messages = inbox.until_end()
    assert isinstance(messages[-1], ChatCancelled)
    assert messages[-1].reason == "enough"
    wait(chat.actor_stopped)
    assert socket_of(chat) is None, "the duplicate of the socket is closed"
    return messages


@pytest.mark.parametrize("phase", SILENT)
@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
def test_cancel_ends_a_chat_whose_server_is_silent(
    phase: Callable[[Peer], None], *, encrypted: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    script = StallsOnce(phase)
    with (
        Server(script, server_tls if encrypted else None) as server,
        Client("k", base_url=server.url, timeout=PATIENT, verify=client_tls) as client,
    ):
        assert_cancelled(client, script.stalled, Inbox())
        wait(script.hung_up)
        fresh = client.chat(**ASK)
    assert fresh["content"][0] == {"type": "text", "text": "fresh"}
    assert server.connections == 2, "a connection that was cut is not used again"


@pytest.mark.parametrize("phase", [waits_for_headers, chunked_body])
@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
def test_cancel_ends_a_chat_on_a_connection_that_was_used_before(
    phase: Callable[[Peer], None], *, encrypted: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    stalled, hung_up = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        send_answer(peer, "first")
        phase(peer)
        stalled.set()
        peer.wait_for_hang_up()
        hung_up.set()

    with (
        Server(script, server_tls if encrypted else None) as server,
        Client("k", base_url=server.url, timeout=PATIENT, verify=client_tls) as client,
    ):
        first = client.chat(**ASK, stream=Inbox())
        wait(first.actor_stopped)
        assert_cancelled(client, stalled, Inbox())
        wait(hung_up)
        assert server.connections == 1


def test_a_connection_in_the_pool_is_out_of_a_late_cancels_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment when another request may pick it up, the scope has let go of it."""
    held: list[object] = []
    check_in = HTTPConnectionPool._put_conn

    def observe(pool: HTTPConnectionPool, conn: Any) -> None:
        held.append(socket_of(this_attempt().cancel_scope))
        check_in(pool, conn)

    monkeypatch.setattr(HTTPConnectionPool, "_put_conn", observe)
    with Server(answering("x")) as server, Client("k", base_url=server.url) as client:
        wait(client.chat(**ASK, stream=Inbox()).actor_stopped)
    assert held == [None]


def test_cancel_ends_a_tls_handshake(client_tls: ssl.SSLContext) -> None:
    script = StallsOnce(lambda peer: peer.sock.recv(1))
    with (
        Server(script) as server,
        Client("k", base_url=f"https://localhost:{server.port}", timeout=PATIENT, verify=client_tls) as client,
    ):
        assert_cancelled(client, script.stalled, Inbox())
        wait(script.hung_up)


@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
def test_cancel_ends_the_sending_of_a_large_request(
    *, encrypted: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    script = StallsOnce(lambda peer: peer.sock.recv(1))
    with (
        Server(script, server_tls if encrypted else None) as server,
        Client("k", base_url=server.url, timeout=PATIENT, verify=client_tls) as client,
    ):
        server.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        inbox = Inbox()
        chat = client.chat(model="m", messages=[{"role": "user", "content": "x" * 20_000_000}], stream=inbox)
        wait(script.stalled)
        chat.cancel()
        assert isinstance(inbox.until_end()[-1], ChatCancelled)


def connecting_to(port: int) -> int:
    """Count the sockets in state SYN_SENT to a local port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the states of sockets cannot be seen here")
def test_cancel_ends_connecting(full_backlog: int) -> None:
    before = connecting_to(full_backlog)
    with Client("k", base_url=f"http://127.0.0.1:{full_backlog}", timeout=PATIENT) as client:
        inbox = Inbox()
        chat = client.chat(**ASK, stream=inbox)
        until(lambda: connecting_to(full_backlog) > before)
        chat.cancel()
        assert isinstance(inbox.until_end()[-1], ChatCancelled)
        wait(chat.actor_stopped)


def test_cancel_ends_a_proxys_connect() -> None:
    script = StallsOnce(Peer.read_request)
    with (
        Server(script) as proxy,
        Client("k", base_url="https://api.invalid", proxy=proxy.url, timeout=PATIENT) as client,
    ):
        assert_cancelled(client, script.stalled, Inbox())
        wait(script.hung_up)


@pytest.mark.parametrize("phase", [waits_for_headers, chunked_body])
def test_cancel_reaches_through_a_proxys_tunnel(
    phase: Callable[[Peer], None], server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    script = StallsOnce(phase)
    with Server(script, server_tls) as server:
        tunnel = Tunnel(server.port)
        with (
            Server(tunnel) as proxy,
            Client("k", base_url=server.url, proxy=proxy.url, timeout=PATIENT, verify=client_tls) as client,
        ):
            assert_cancelled(client, script.stalled, Inbox())
            wait(script.hung_up)
    assert tunnel.asked[0].startswith(f"CONNECT localhost:{server.port} ".encode())
    assert b"x-api-key" not in tunnel.asked[0], "the key is not the proxy's"


def test_cancel_ends_a_tls_handshake_within_a_tunnel(client_tls: ssl.SSLContext) -> None:
    script = StallsOnce(lambda peer: peer.sock.recv(1))
    with Server(script) as server:
        with (
            Server(Tunnel(server.port)) as proxy,
            Client(
                "k", base_url=f"https://localhost:{server.port}", proxy=proxy.url, timeout=PATIENT, verify=client_tls
            ) as client,
        ):
            assert_cancelled(client, script.stalled, Inbox())
            wait(script.hung_up)


def test_cancel_ends_the_wait_for_a_retry() -> None:
    overloaded = json_answer("529 Overloaded", error_body("overloaded_error"), {"retry-after": "30"})
    with Server(after(overloaded)) as server, Client("k", base_url=server.url, timeout=PATIENT) as client:
        inbox = Inbox()
        chat = client.chat(**ASK, stream=inbox)
        assert inbox.until(ChatRetrying).delay == 30
        chat.cancel()
        assert isinstance(inbox.until_end()[-1], ChatCancelled)
        wait(chat.actor_stopped)
    assert server.connections == 1


def test_cancel_ends_the_wait_for_a_slow_subscriber() -> None:
    with Server(answering(*["x"] * 200)) as server, Client("k", base_url=server.url, window=8) as client:
        inbox = Inbox()
        gate = threading.Event()
        reader = Reader.start(inbox, gate=gate)
        chat = client.chat(**ASK, stream=reader)
        until_blocked(chat)
        assert chat.cancel() is True
        wait(chat.actor_stopped)
        gate.set()
        messages = inbox.until_end()
        reader.stop()
    assert isinstance(messages[-1], ChatCancelled)
    assert len(messages) <= 8 + 1


def test_cancel_ends_the_wait_for_a_slow_iterator() -> None:
    with Server(answering(*["x"] * 200)) as server, Client("k", base_url=server.url, window=8) as client:
        stream = client.chat(**ASK, stream=True)
        until_blocked(stream)
        stream.chat.cancel()
        wait(stream.chat.actor_stopped)
        with pytest.raises(CancelledError, match=r"^cancelled$"):
            stream.chat.result(0)


def test_stop_cancels_and_waits_for_the_actor_but_not_for_the_network() -> None:
    script = StallsOnce(chunked_body)
    with Server(script) as server, Client("k", base_url=server.url, timeout=PATIENT) as client:
        inbox = Inbox()
        chat = client.chat(**ASK, stream=inbox)
        wait(script.stalled)
        assert chat.stop(timeout=DEADLINE) is True
        assert not chat.is_alive()
        assert inbox.until_end()[-1].reason == "stopped"
        assert chat.stop(timeout=DEADLINE) is False


def test_stop_all_cancels_every_chat() -> None:
    script = StallsOnce(waits_for_headers)
    with Server(script) as server, Client("k", base_url=server.url, timeout=PATIENT) as client:
        inbox = Inbox()
        chat = client.chat(**ASK, stream=inbox)
        wait(script.stalled)
        assert pykka.ActorRegistry.get_by_urn(chat.actor_urn) is chat
        pykka.ActorRegistry.stop_all(timeout=DEADLINE)
        assert isinstance(inbox.until_end()[-1], ChatCancelled)


def test_stop_right_after_the_start_ends_the_chat_with_one_terminal_message() -> None:
    def script(peer: Peer) -> None:
        peer.wait_for_hang_up()

    with Server(script) as server, Client("k", base_url=server.url, timeout=PATIENT) as client:
        for _ in range(20):
            inbox = Inbox()
            client.chat(**ASK, stream=inbox).stop(timeout=DEADLINE)
            assert [type(message) for message in inbox.until_end()] == [ChatCancelled]


def test_what_arrived_before_the_cancel_is_not_told_after_it() -> None:
    first_told, all_sent = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunks([*FIRST, *[text_delta("late")] * 50]))
        all_sent.set()
        peer.wait_for_hang_up()

    class Slow(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            first_told.set()
            wait(all_sent)
            if isinstance(message, ChatEvent):
                message.chat.cancel()

    with Server(script) as server, Client("k", base_url=server.url, timeout=PATIENT) as client:
        inbox = Slow()
        client.chat(**ASK, stream=inbox)
        wait(first_told)
        kinds = [type(message) for message in inbox.until_end()]
    assert kinds == [ChatEvent, ChatCancelled]


def test_bytes_that_arrived_before_the_cancel_are_not_read_after_it(connect: Callable[..., Client]) -> None:
    with Server(Halt(head(), chunk(b"x" * 200_000))) as server:
        core, scope = core_of(connect(server)), CancelScope()
        requester = Requester(core.transport, scope)
        answer = requester.open(core.request_factory.build("GET", "/v1/x"))
        arriving = requester.chunks(answer)
        assert next(arriving)
        scope.cancel(CancelledError("enough"))
        with pytest.raises(CancelledError):
            next(arriving)
        requester.close(answer)


def test_a_cancel_that_an_interrupt_cut_short_is_made_again(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        inbox = Inbox()
        chat = connect(server, timeout=PATIENT).chat(**ASK, stream=inbox)
        for _ in range(3):
            inbox.next()
        task_of(chat).scope.cause = CancelledError("enough")  # Ctrl-C came right after this line of `cancel`
        assert isinstance(inbox.until_end()[-1], ChatCancelled)
        wait(chat.actor_stopped)


def test_whoever_cancels_many_has_cancelled_the_last_before_the_first_has_ended(connect: Callable[..., Client]) -> None:
    """It keeps the interpreter's lock meanwhile, so those that are cancelled last cost no events until then."""
    interval = sys.getswitchinterval()
    with Server(stalling) as server:
        client = connect(server)
        inbox = Inbox()
        chats = [client.chat(**ASK, stream=inbox) for _ in range(30)]
        for _ in range(3 * len(chats)):
            inbox.next()
        sys.setswitchinterval(
            DEADLINE
        )  # threads run in turn only where one waits, or lets go of the lock for the system
        try:
            for chat in chats:
                chat.cancel()
            states = [chat.state for chat in chats]
        finally:
            sys.setswitchinterval(interval)
        for chat in chats:
            wait(chat.actor_stopped)
    assert set(states) == {"answering"}


def test_a_cancel_that_comes_late_does_not_hit_the_next_request_on_the_same_connection() -> None:
    """Every answer carries its question's tag; half of the chats are cancelled at some time, also after their end."""

    def echo(peer: Peer) -> None:
        while peer.read_request():
            send_answer(peer, peer.body.partition(b"tag ")[2][:6].decode())

    with Server(echo) as server, Client("k", base_url=server.url, timeout=PATIENT, max_retries=0) as client:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(partial(ask_and_cancel, client), range(8)))
    assert not server.errors


def ask_and_cancel(client: Client, number: int) -> None:
    """Ask 25 times; cancel every other chat while it runs, and each of them again when the next one runs."""
    previous = None
    for turn in range(25):
        tag = f"{number:02}{turn:04}"
        messages: Any = [{"role": "user", "content": f"tag {tag}"}]
        chat = client.chat(model="m", messages=messages, stream=Inbox())
        if previous is not None:
            previous.cancel()
            previous.stop(block=False)
        if turn % 2:
            chat.cancel()
        else:
            assert chat.result(DEADLINE)["content"] == [{"type": "text", "text": tag}]
        previous = chat


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open descriptors cannot be counted here")
def test_cancelled_chats_leave_no_descriptors() -> None:
    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def script(peer: Peer) -> None:
        chunked_body(peer)
        peer.wait_for_hang_up()
        peer.sock.close()

    with Server(script) as server, Client("k", base_url=server.url, timeout=PATIENT) as client:
        before = open_descriptors()
        for _ in range(20):
            inbox = Inbox()
            chat = client.chat(**ASK, stream=inbox)
            inbox.until(ChatEvent)
            chat.cancel()
            wait(chat.actor_stopped)
            acquire(server.hung_up)
        until(lambda: open_descriptors() <= before)


def test_a_reason_of_another_kind_becomes_a_text(connect: Callable[..., Client]) -> None:
    """Qt calls what is connected to a button's `clicked` with a bool."""
    token: Any = CancelToken()
    assert token.cancel(5)
    assert token.reason == "5"
    script = Halt(*BEGUN)
    with Server(script) as server:
        client = connect(server)
        chat: Any = client.chat(**ASK, stream=(inbox := Inbox()))
        acquire(script.reached)
        assert chat.cancel(False)  # noqa: FBT003
        assert inbox.until_end()[-1].reason == "False"
        with client.request("GET", "/anything", stream=True) as items:
            stream: Any = items
            assert stream.cancel(None)
            with pytest.raises(CancelledError, match=r"^None$"):
                next(items)
