"""Connections between two requests: how many wait, for how long, and that they do not wait for ever."""

from __future__ import annotations

import gc
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Client
from anthropix_actors._cancel.sweeper import SWEEPER, Sweeper
from anthropix_actors._http.reuse import idle_connections
from anthropix_actors._http.reuse.idle_connections import IDLE_TIMEOUT, MAX_IDLE, IdleConnections

from actors import ASK, Inbox, thread_of, until_at_rest
from servers import DEADLINE, Server, Tunnel, Turnstile, acquire, answering, until, wait

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


class Connection:
    """One that notes whether it was closed."""

    idle_since: float
    closed = False

    def close(self) -> None:
        self.closed = True


def burst(client: Client, turnstile: Turnstile, chats: int) -> None:
    """Run so many chats at once, to their ends."""
    running = [client.chat(**ASK, stream=Inbox()) for _ in range(chats)]
    for _ in running:
        acquire(turnstile.reached)
    turnstile.let.release(chats)
    for chat in running:
        assert chat.result(DEADLINE)["stop_reason"] == "end_turn"
        wait(chat.actor_stopped)


def until_closed(server: Server, connections: int) -> None:
    """Wait until the client has closed so many connections, and no more: each ends a script."""
    for _ in range(connections):
        acquire(server.hung_up)
    assert not server.hung_up.acquire(blocking=False)


@pytest.fixture
def kept() -> Iterator[Any]:
    """Keep two at most, of which the sweeper knows nothing when the test is over."""
    kept = IdleConnections(2)
    yield kept
    SWEEPER.idle.discard(kept)


def test_the_latest_is_used_first_and_of_too_many_the_oldest_are_closed(kept: Any) -> None:
    first, second, third = connections = [Connection() for _ in range(3)]
    for connection in (None, *connections):  # urllib3 begins with as many None as it has room for
        kept.put(connection)
    assert [connection.closed for connection in connections] == [True, False, False]
    assert kept.get() is third
    kept.put(third)
    assert [kept.get(), kept.get()] == [third, second]
    with pytest.raises(queue.Empty):
        kept.get()
    assert not second.closed
    assert first.closed


def test_one_that_waited_too_long_is_not_used_as_it_is(kept: Any) -> None:
    """It is closed, and urllib3 connects it anew."""
    old, new = Connection(), Connection()
    kept.put(old)
    kept.put(new)
    old.idle_since -= IDLE_TIMEOUT
    assert kept.get() is new
    assert not new.closed
    assert kept.get() is old
    assert old.closed


def test_those_that_waited_too_long_are_closed_and_others_are_kept(kept: Any) -> None:
    connections = [Connection(), Connection()]
    for connection in connections:
        kept.put(connection)
    now = time.monotonic()
    connections[0].idle_since = now - IDLE_TIMEOUT
    SWEEPER.idle.discard(kept)  # as the sweeper does before
    kept.expire(now)
    assert [connection.closed for connection in connections] == [True, False]
    assert kept in SWEEPER.idle, "the other is looked at again"
    SWEEPER.idle.discard(kept)  # as the sweeper does before
    kept.expire(now + IDLE_TIMEOUT)
    assert all(connection.closed for connection in connections)
    assert kept not in SWEEPER.idle


def test_where_another_thread_has_just_taken_the_last_one_there_is_nothing_to_close(kept: Any) -> None:
    kept._close_oldest()
    kept.expire(time.monotonic())


def test_connections_of_a_burst_are_closed_after_a_while_though_nothing_else_happens(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[..., Client]
) -> None:
    monkeypatch.setattr(idle_connections, "IDLE_TIMEOUT", 0.3)
    turnstile = Turnstile("x")
    with Server(turnstile) as server:
        client = connect(server)
        burst(client, turnstile, 30)
        until_closed(server, 30)
        until(lambda: thread_of(SWEEPER) is None)
        turnstile.let.release()
        client.chat(**ASK)
        assert server.connections == 31


def test_a_burst_leaves_a_bounded_number_of_connections_and_says_nothing_of_it(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    turnstile = Turnstile("x")
    with Server(turnstile) as server:
        client = connect(server)
        burst(client, turnstile, MAX_IDLE + 40)
        until_closed(server, 40)
        assert server.connections == MAX_IDLE + 40
        assert not [record for record in caplog.records if record.levelname == "WARNING"]
        burst(client, turnstile, MAX_IDLE)
        assert server.connections == MAX_IDLE + 40, "the others are used again"
        client.close()
        until_closed(server, MAX_IDLE)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_a_hundred_chats_one_after_the_other_use_one_connection(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, *, encrypted: bool
) -> None:
    with (
        Server(answering("x"), server_tls if encrypted else None) as server,
        Client("k", base_url=server.url, verify=client_tls) as client,
    ):
        for _ in range(50):  # the next one starts as soon as the end is told: the connection is back before
            client.chat(**ASK, stream=Inbox()).result(DEADLINE)
            client.chat(**ASK)
        assert server.connections == 1


@pytest.mark.parametrize("through", ["nothing", "http", "https"])
def test_one_that_waited_too_long_is_connected_anew_also_through_proxies(
    through: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle_connections, "IDLE_TIMEOUT", 0.0)
    with (
        Server(answering("x"), server_tls) as server,
        Server(Tunnel(server.port), server_tls if through == "https" else None) as proxy,
    ):
        url = "" if through == "nothing" else f"{through}://localhost:{proxy.port}"
        with Client("k", base_url=server.url, verify=client_tls, proxy=url, max_retries=0) as client:
            for number in (1, 2, 3):
                chat = client.chat(**ASK, stream=Inbox())
                assert chat.result(DEADLINE)["stop_reason"] == "end_turn"
                wait(chat.actor_stopped)
                assert server.connections == number


def test_when_the_client_is_closed_its_connections_are_and_the_sweeper_ends_at_once(
    connect: Callable[..., Client],
) -> None:
    with Server(answering("x")) as server:
        client = connect(server)
        client.chat(**ASK)
        thread = thread_of(SWEEPER)
        assert thread is not None
        client.close()
        acquire(server.hung_up)
        thread.join(DEADLINE)
        assert thread_of(SWEEPER) is None


def test_a_client_that_is_forgotten_keeps_no_thread(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with Server(answering("x"), server_tls) as server:
        Client("k", base_url=server.url, verify=client_tls).chat(**ASK)
        until(lambda: gc.collect() >= 0 and server.hung_up.acquire(blocking=False))
        until(lambda: thread_of(SWEEPER) is None)


def test_whose_closing_fails_keeps_no_other_from_it(caplog: pytest.LogCaptureFixture) -> None:
    sweeper, done = Sweeper(), threading.Event()

    class Faulty:
        def expire(self, now: float) -> None:
            raise OSError(now)

    class Fine:
        def expire(self, now: float) -> None:
            assert now <= time.monotonic()
            done.set()

    class Watched:
        cancel_first = False

        def sweep(self, now: float) -> None:
            pass

    chat: Any = Watched()
    sweeper.idle |= {Faulty(), Fine()}
    sweeper.watch(chat)
    wait(done)
    sweeper.unwatch(chat)
    until(lambda: "an error in the sweeper" in caplog.text)
    until_at_rest(sweeper)


def test_a_connection_that_comes_back_when_no_thread_watches_is_closed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its chat's end was told by others, or took long, and the end of the response came after that."""
    until(lambda: SWEEPER._thread is None)
    monkeypatch.setattr(idle_connections, "IDLE_TIMEOUT", 0.01)
    connection = Connection()
    IdleConnections(1).put(connection)
    until(lambda: connection.closed)
    until(lambda: SWEEPER._thread is None)
