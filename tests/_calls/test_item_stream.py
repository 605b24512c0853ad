"""Streams that are read in the caller's own thread."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelledError, CancelToken, Client, TruncatedError
from anthropix_actors._calls.registry import Registry
from anthropix_actors._http.requester import Requester

from actors import running_in, until_at_rest, watched
from interrupts import interrupted_at
from servers import DEADLINE, LAST_CHUNK, Peer, Server, acquire, chunk, head, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Lines:
    """A server that sends numbered lines, as many as it may."""

    def __init__(self, *, cut: bool = False) -> None:
        self.allowed = threading.Semaphore(0)
        self.cut = cut

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            peer.send(head(content_type="application/x-jsonl"))
            for number in range(10):
                if number >= 3 and not self.allowed.acquire(timeout=DEADLINE):
                    return
                if number == 5 and self.cut:
                    return
                peer.send(chunk(b'{"n": %d}\n' % number))
            peer.send(LAST_CHUNK)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def server(lines: Lines) -> Iterator[Server]:
    with Server(lines) as running:
        yield running
        lines.allowed.release(1000)


@pytest.fixture
def client(server: Server, connect: Callable[..., Client]) -> Client:
    return connect(server)


def open_stream(client: Client, **options: Any) -> Any:
    return client.request("GET", "/lines", stream=True, **options)


def closed(server: Server, client: Client, lines: Lines) -> None:
    """Wait until the connection is closed, and nothing looks after the stream any more."""
    lines.allowed.release(1000)
    acquire(server.hung_up)
    until(lambda: not running_in(client) and not watched())


def test_a_loop_gets_all_items_and_the_connection_is_kept(server: Server, client: Client, lines: Lines) -> None:
    lines.allowed.release(100)
    for _ in range(3):
        stream = open_stream(client)
        assert [item["n"] for item in stream] == list(range(10))
        assert list(stream) == []
        with pytest.raises(StopIteration):
            next(stream)
        stream.close()
        assert stream.cancel() in {True, False}
    assert server.connections == 1
    assert not watched()


def test_items_come_as_they_arrive(client: Client, lines: Lines) -> None:
    with open_stream(client) as stream:
        for number in range(3):
            assert next(stream) == {"n": number}
        lines.allowed.release()
        assert next(stream) == {"n": 3}


def leave_by_break(stream: Any) -> None:
    for _ in stream:
        break


def leave_by_an_exception(stream: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in stream:
            raise ZeroDivisionError


def close_it(stream: Any) -> None:
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)


def leave_its_block(stream: Any) -> None:
    with stream:
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def cancel_it(stream: Any) -> None:
    assert stream.cancel("enough")
    with pytest.raises(CancelledError, match="enough"):
        list(stream)


def lose_it(stream: Any) -> None:
    next(stream)


@pytest.mark.parametrize(
    "leave", [leave_by_break, leave_by_an_exception, close_it, leave_its_block, cancel_it, lose_it]
)
def test_leaving_it_closes_the_connection(
    server: Server, client: Client, lines: Lines, leave: Callable[[Any], None]
) -> None:
    leave(open_stream(client))
    gc.collect()
    closed(server, client, lines)


def test_closing_the_client_cancels_it(server: Server, client: Client, lines: Lines) -> None:
    stream = open_stream(client)
    client.close()
    with pytest.raises(CancelledError, match="client was closed"):
        next(stream)
    closed(server, client, lines)


@pytest.mark.parametrize("how", ["cancel", "close", "token"])
def test_a_reader_that_waits_is_woken_from_another_thread(
    server: Server, client: Client, lines: Lines, how: str
) -> None:
    token = CancelToken()
    got: list[Any] = []
    reading = threading.Semaphore(0)
    stream = open_stream(client, cancel=token)

    def read() -> None:
        try:
            for item in stream:
                got.append(item["n"])
                reading.release()
        except CancelledError as exc:
            got.append(str(exc))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(3):
        acquire(reading)
    {"cancel": stream.cancel, "close": stream.close, "token": token.cancel}[how]()
    thread.join(DEADLINE)
    assert got == [0, 1, 2, "the stream was closed" if how == "close" else "cancelled"]
    closed(server, client, lines)


def test_two_threads_share_one_stream(client: Client, lines: Lines) -> None:
    lines.allowed.release(100)
    got: list[int] = []
    stream = open_stream(client)
    threads = [threading.Thread(target=lambda: got.extend(item["n"] for item in stream)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(got) == list(range(10))


def test_streams_and_calls_of_one_thread_may_take_turns(server: Server, client: Client, lines: Lines) -> None:
    lines.allowed.release(100)
    first, second = open_stream(client), open_stream(client)
    got = [
        (one["n"], other["n"], client.request("GET", "/lines")[:8]) for one, other in zip(first, second, strict=True)
    ]
    assert got == [(number, number, b'{"n": 0}') for number in range(10)]
    assert server.connections == 3


def test_what_came_before_a_cut_is_had_before_its_error(connect: Callable[..., Client]) -> None:
    lines = Lines(cut=True)
    lines.allowed.release(100)
    with Server(lines) as server:
        client = connect(server)
        got: list[int] = []
        stream = open_stream(client)
        with pytest.raises(TruncatedError, match="line 6") as raised:
            got.extend(item["n"] for item in stream)
        assert got == [0, 1, 2, 3, 4]
        assert (raised.value.request_id, raised.value.attempts) == ("req_test", 1)
        closed(server, client, lines)


def test_a_cancelled_stream_is_not_kept_by_its_error(client: Client) -> None:
    """The error has the loop in its traceback, and the loop has the stream."""

    def loop() -> weakref.ref[Any]:
        stream = open_stream(client)
        next(stream)
        stream.cancel("enough")
        with pytest.raises(CancelledError):
            list(stream)
        return weakref.ref(stream)

    left = loop()
    until(lambda: gc.collect() >= 0 and left() is None)


@pytest.mark.parametrize("function", [Registry.untrack, Requester.close], ids=["untrack", "close"])
def test_an_interrupt_while_it_ends_leaves_nothing_behind(client: Client, lines: Lines, function: Any) -> None:
    lines.allowed.release(100)
    with pytest.raises(KeyboardInterrupt), interrupted_at(function):
        list(open_stream(client))
    assert not running_in(client)
    until_at_rest()
