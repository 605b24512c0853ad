"""What each timeout means, row by row of the table in docs/timeouts.md."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import APITimeoutError, Client, ProtocolError, StalledError, Timeout
from anthropix_actors._http.request import as_task_timeout

from actors import ASK, HELLO, Inbox
from servers import (
    DEADLINE,
    PING,
    Always,
    Halt,
    Peer,
    Server,
    answer,
    block_start,
    chunk,
    chunks,
    head,
    json_answer,
    send_answer,
    sse,
    start,
    text_delta,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

LONG = 60.0
SHORT = 0.2
TICK = 0.01
"""Seconds: many of them make more than SHORT."""

NEVER = {"connect": LONG, "read": LONG, "idle": LONG, "first_byte": LONG}


def only(**short: float) -> Timeout:
    """Get a timeout whose other parts do not run out in a test."""
    return Timeout(**{**NEVER, **short})


def slowly(peer: Peer, pieces: list[bytes]) -> None:
    """Send pieces, each after a moment: the slowness itself, not a wait for something to happen."""
    pause = threading.Event()
    for piece in pieces:
        pause.wait(TICK)
        peer.send(piece)


JSON_HEAD = head(framing="100000", content_type="application/json")
FILE_HEAD = head(framing="100000", content_type="application/octet-stream")
STREAM_HEAD = head() + chunks([start(), block_start()])


def chat(client: Client) -> Any:
    return client.chat(**ASK)


def count(client: Client) -> Any:
    return client.count_tokens(**ASK)


def download(client: Client) -> Any:
    return client.files.download("file_1")


def upload(client: Client) -> Any:
    return client.files.upload(b"x")


def loop(client: Client) -> Any:
    return list(client.request("GET", "/files/file_1/content", stream=True))


USES = {"chat": chat, "call": count, "download": download, "upload": upload, "loop": loop}
HEADS = {"chat": STREAM_HEAD, "call": JSON_HEAD, "download": FILE_HEAD, "upload": JSON_HEAD, "loop": FILE_HEAD}


def fails(client: Client, use: str, field: str, seconds: float) -> APITimeoutError:
    with pytest.raises(APITimeoutError, match=rf"{seconds} s.*\(timeout\.{field}\)") as caught:
        USES[use](client)
    return caught.value


# connect


@pytest.mark.parametrize("use", USES)
def test_connect_is_the_time_to_reach_an_address(use: str, full_backlog: int, connect: Callable[..., Client]) -> None:
    client = connect(f"http://127.0.0.1:{full_backlog}", timeout=only(connect=SHORT))
    assert fails(client, use, "connect", SHORT).unsent


def test_idle_bounds_a_proxy_that_speaks_without_an_end(client_tls: ssl.SSLContext) -> None:
    """http.client reads the headers of a tunnel's answer for as long as they come, before Python 3.12."""

    def proxy(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            peer.send(b"x: y\r\n" * 5)

    with Server(proxy) as server:
        timeout = Timeout(connect=DEADLINE, read=DEADLINE, first_byte=DEADLINE, idle=0.3, total=DEADLINE)
        client = Client(
            "k", base_url="https://a.invalid", proxy=server.url, verify=client_tls, max_retries=0, timeout=timeout
        )
        with client, pytest.raises((StalledError, ProtocolError)):
            client.models.retrieve("m")


def test_connect_bounds_tls_and_a_tunnel(connect: Callable[..., Client]) -> None:
    with Server(lambda peer: peer.wait_for_hang_up()) as server:
        url = f"https://localhost:{server.port}"
        assert fails(connect(url, timeout=only(connect=SHORT)), "chat", "connect", SHORT).unsent
        error = fails(
            connect("https://x.invalid", proxy=server.url, timeout=only(connect=SHORT)), "call", "connect", SHORT
        )
        assert f"the proxy {server.url} (as passed to the client) opened no tunnel" in str(error)


def test_connect_says_nothing_of_an_upload(connect: Callable[..., Client]) -> None:
    """Nor of its blocks: a line that takes nothing for a while is idle, and connected."""

    def script(peer: Peer) -> None:
        threading.Event().wait(2 * SHORT)
        while not peer.body.endswith(b"--\r\n"):
            peer.body += peer.sock.recv(1 << 20)
        peer.send(json_answer("200 OK", {"id": "file_1"}))

    with Server(script) as server:
        client = connect(server, timeout=only(connect=SHORT))
        assert client.files.upload(bytes(24 << 20))["id"] == "file_1"


# first_byte


@pytest.mark.parametrize("use", USES)
def test_first_byte_is_the_time_from_the_request_to_the_head(use: str, connect: Callable[..., Client]) -> None:
    with Server(Halt()) as server:
        error = fails(connect(server, timeout=only(first_byte=SHORT)), use, "first_byte", SHORT)
    assert not error.unsent
    assert error.retryable


def test_a_head_that_drips_does_not_put_it_off(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        slowly(peer, [b"HTTP/1.1 200 OK\r\nx: ", *[b"y"] * 1000])

    with Server(script) as server:
        fails(connect(server, timeout=only(first_byte=SHORT)), "chat", "first_byte", SHORT)


@pytest.mark.parametrize("use", ["chat", "call"])
def test_no_other_timeout_ends_the_wait_for_the_head(use: str, connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        threading.Event().wait(2 * SHORT)
        if use == "chat":
            send_answer(peer, "late")
        else:
            peer.send(json_answer("200 OK", {"input_tokens": 1}))

    with Server(script) as server:
        USES[use](connect(server, timeout=only(read=SHORT, idle=SHORT, connect=SHORT)))


def test_first_byte_says_nothing_of_the_body(connect: Callable[..., Client]) -> None:
    body = json_answer("200 OK", {"input_tokens": 7})

    def script(peer: Peer) -> None:
        peer.read_request()
        cut = len(body) - 5
        peer.send(body[:cut])
        threading.Event().wait(2 * SHORT)
        peer.send(body[cut:])

    with Server(script) as server:
        assert connect(server, timeout=only(first_byte=SHORT)).count_tokens(**ASK)["input_tokens"] == 7


# read


@pytest.mark.parametrize("use", USES)
def test_read_is_the_time_between_two_bytes(use: str, connect: Callable[..., Client]) -> None:
    with Server(Halt(HEADS[use])) as server:
        fails(connect(server, timeout=only(read=SHORT)), use, "read", SHORT)


def test_bytes_that_come_in_time_put_read_off(connect: Callable[..., Client], tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(framing="40"))  # an event stream by its type, and a file by what was asked for
        slowly(peer, [b"x"] * 40)

    with Server(script) as server:
        client = connect(server, timeout=only(read=SHORT, idle=SHORT))
        assert client.files.download("file_1", tmp_path / "file") == 40


# idle


def test_idle_in_a_stream_is_the_time_without_an_event(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(STREAM_HEAD)
        slowly(peer, [chunk(sse(PING))] * 1000)

    with Server(script) as server, pytest.raises(StalledError, match=r"\(timeout\.idle\)"):
        connect(server, timeout=only(idle=SHORT)).chat(**ASK)


def test_a_stall_before_anything_was_told_is_worth_another_attempt(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        if stalls.acquire(blocking=False):
            peer.send(head())
            peer.wait_for_hang_up()
        else:
            send_answer(peer, "Hi")

    stalls = threading.Semaphore(1)
    with Server(script) as server:
        assert connect(server, timeout=only(idle=SHORT), max_retries=1).chat(**ASK)["stop_reason"] == "end_turn"


def test_events_that_come_in_time_put_idle_off(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head())
        events = answer(*["x"] * 120)  # for longer than the timeout
        slowly(peer, [chunk(sse(event)) for event in events])
        peer.send(b"0\r\n\r\n")

    with Server(script) as server:
        assert connect(server, timeout=only(idle=5 * SHORT)).chat(**ASK)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("use", ["call", "download", "loop"])
def test_idle_in_another_body_is_the_time_without_a_byte(use: str, connect: Callable[..., Client]) -> None:
    with Server(Halt(HEADS[use])) as server:
        fails(connect(server, timeout=only(idle=SHORT)), use, "idle", SHORT)


def test_idle_on_the_way_up_is_the_time_in_which_nothing_is_taken(connect: Callable[..., Client]) -> None:
    with Server(lambda peer: threading.Event().wait(4 * SHORT) and peer) as server:
        client = connect(server, timeout=only(idle=SHORT))
        with pytest.raises(StalledError, match=rf"{SHORT} s \(timeout\.idle\)"):
            client.files.upload(bytes(24 << 20))


def test_an_upload_that_moves_puts_idle_off(connect: Callable[..., Client]) -> None:
    size = 24 << 20

    def script(peer: Peer) -> None:
        pause = threading.Event()
        got = b""
        while not got.endswith(b"--\r\n"):
            pause.wait(TICK)
            got = got[-10:] + peer.sock.recv(200_000)
        peer.send(json_answer("200 OK", {"id": "file_1"}))

    with Server(script) as server:
        client = connect(server, timeout=only(idle=5 * SHORT, connect=5 * SHORT, read=5 * SHORT))
        assert client.files.upload(bytes(size))["id"] == "file_1"


def test_a_file_that_takes_its_time_is_no_silence_of_the_network(connect: Callable[..., Client]) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            threading.Event().wait(1.5 * SHORT)
            return super().read(size)

        def write(self, data: Any) -> int:
            threading.Event().wait(1.5 * SHORT)
            return super().write(data)

    def script(peer: Peer) -> None:
        while not peer.body.endswith(b"--\r\n"):
            peer.body += peer.sock.recv(65536)
        peer.send(json_answer("200 OK", {"id": "file_1"}))
        peer.read_request()
        peer.send(head(framing="3"), b"abc")

    with Server(script) as server:
        client = connect(server, timeout=only(idle=SHORT))
        assert client.files.upload(Slow(b"x"))["id"] == "file_1"
        assert client.files.download("file_1", Slow()) == 3


# total


@pytest.mark.parametrize("use", USES)
def test_total_is_the_time_for_everything(use: str, connect: Callable[..., Client]) -> None:
    """Whatever moves; and the client's is that of chats and calls."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(HEADS[use])
        events = chunks([text_delta("x")]) if use == "chat" else b"x"
        slowly(peer, [events] * 1000)

    with Server(script) as server:
        client = connect(server, timeout=only(total=SHORT), max_retries=5)
        assert fails(client, use, "total", SHORT).attempts == 1


def test_total_counts_all_attempts_and_the_waits_between_them(connect: Callable[..., Client]) -> None:
    script = Always(json_answer("529 Overloaded", {}, {"retry-after-ms": "50"}))
    with Server(script) as server:
        client = connect(server, timeout=SHORT, max_retries=1000)
        assert fails(client, "chat", "total", SHORT).attempts > 1


def test_a_wait_for_a_turn_or_for_a_limit_is_nobodys_silence(connect: Callable[..., Client]) -> None:
    """One chat at a time: the second waits for longer than any of its timeouts, and is answered."""
    release = threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_request():
            release.wait(2 * SHORT)
            send_answer(peer, "x")

    with Server(script) as server:
        client = connect(server, max_concurrency=1, timeout=only(idle=SHORT, read=SHORT, connect=SHORT))
        inboxes = [Inbox() for _ in range(3)]
        for inbox in inboxes:
            client.chat(model="m", messages=HELLO, stream=inbox)
        for inbox in inboxes:
            assert type(inbox.until_end()[-1]).__name__ == "ChatDone"


def test_work_that_goes_on_for_days_has_a_total_of_its_own() -> None:
    clients = Timeout(connect=1, read=2, idle=3, total=4, first_byte=5)
    assert as_task_timeout(None, clients) == Timeout(connect=1, read=2, idle=3, total=None, first_byte=5)
    assert as_task_timeout(9, clients) == Timeout(connect=1, read=2, idle=3, total=9, first_byte=5)
    assert as_task_timeout(Timeout(total=8), clients) == Timeout(total=8)
