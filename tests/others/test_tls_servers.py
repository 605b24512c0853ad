"""Chats over TLS that others speak, where they are installed: nginx, haproxy, stunnel, mitmproxy, `openssl s_server`.

What is behind them is a server of `servers.py`, whose answers they encrypt in their own way: into records of their own
sizes, with their own farewells. A program that is missing is a skipped test, or a failure if REQUIRE_TLS_SERVERS is set.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from anthropix_actors import APIConnectionError, APIStatusError, ChatCancelled, ChatDone, ChatEvent, ChatFailed, Client, TruncatedError

from actors import ASK, Inbox, text_of
from fronts import Front, Interceptor, OpenSSL, Relay, Running, Terminator, haproxy, kill, nginx, stunnel
from servers import (
    DEADLINE,
    LAST_CHUNK,
    Halt,
    Peer,
    acquire,
    answer,
    answering,
    chunk,
    chunks,
    head,
    json_answer,
    send_answer,
    sse,
    wait,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    import trustme

    Connect = Callable[..., Client]
    Behind = Callable[[Front, Callable[[Peer], object]], contextlib.AbstractContextManager[Running]]

OLD, NEW = "ssl_protocols TLSv1.2", "ssl_protocols TLSv1.3"
TICKETS, NO_TICKETS = "ssl_session_tickets on", "ssl_session_tickets off"
CACHE = "ssl_session_cache shared:sessions:1m"
SMALL, FULL = "ssl_buffer_size 512", "ssl_buffer_size 16k"
VERSION_OF_HAPROXY = "ssl-min-ver TLSv1.{0} ssl-max-ver TLSv1.{0}".format

FRONTS: list[Front] = [
    Terminator("nginx, 1.3, small records", "nginx", nginx(NEW, SMALL, TICKETS, CACHE)),
    Terminator("nginx, 1.3, full records, no tickets", "nginx", nginx(NEW, FULL, NO_TICKETS)),
    Terminator("nginx, 1.2, small records, no tickets", "nginx", nginx(OLD, SMALL, NO_TICKETS, CACHE)),
    Terminator("nginx, 1.2, full records", "nginx", nginx(OLD, FULL, TICKETS)),
    Terminator("nginx, 1.3, buffering", "nginx", nginx(NEW, FULL, of_location=()), live=False),
    Terminator("nginx, 1.2, buffering", "nginx", nginx(OLD, SMALL, of_location=()), live=False),
    Terminator("haproxy, 1.3", "haproxy", haproxy(VERSION_OF_HAPROXY(3))),
    Terminator("haproxy, 1.3, small records", "haproxy", haproxy(VERSION_OF_HAPROXY(3), "tune.ssl.maxrecord 512")),
    Terminator("haproxy, 1.2, no tickets", "haproxy", haproxy(f"{VERSION_OF_HAPROXY(2)} no-tls-tickets")),
    Terminator(
        "haproxy, 1.2, small records", "haproxy", haproxy(VERSION_OF_HAPROXY(2), "tune.ssl.maxrecord 512", mode="tcp")
    ),
    Terminator("stunnel, 1.3", "stunnel", stunnel("sslVersion = TLSv1.3")),
    Terminator("stunnel, 1.2", "stunnel", stunnel("sslVersion = TLSv1.2")),
    Interceptor("mitmproxy"),
    Interceptor("mitmproxy, 1.2", options=("tls_version_client_max=TLS1_2",)),
    Interceptor("mitmproxy, TLS in TLS", "https"),
    Interceptor("mitmproxy, buffering", live=False),
    OpenSSL("openssl, 1.3", "-tls1_3"),
    OpenSSL("openssl, 1.3, no tickets", "-tls1_3 -num_tickets 0"),
    OpenSSL("openssl, 1.3, many tickets", "-tls1_3 -num_tickets 20"),
    OpenSSL("openssl, 1.3, small records", "-tls1_3 -max_send_frag 512"),
    OpenSSL("openssl, 1.3, padded records", "-tls1_3 -record_padding 4096"),
    OpenSSL("openssl, 1.3, another hello", "-tls1_3 -groups P-521"),
    OpenSSL("openssl, 1.2", "-tls1_2"),
    OpenSSL("openssl, 1.2, no tickets", "-tls1_2 -no_ticket"),
    OpenSSL("openssl, 1.2, small records", "-tls1_2 -max_send_frag 512"),
    OpenSSL("openssl, 1.2, by blocks", "-tls1_2 -cipher ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA384"),
]
LIVE = [front for front in FRONTS if front.live]

TEXTS = ["Hello", ",", " ", "空 ø", "x" * 100_000, "!", *(f" word {number}" for number in range(300))]
TEXT = "".join(TEXTS)


def each(fronts: list[Front]) -> Any:
    return pytest.mark.parametrize("front", fronts, ids=lambda front: front.name)


@pytest.fixture
def behind(tmp_path: Path, authority: trustme.CA) -> Behind:
    """Run a program before a server with a script."""
    return lambda front, script: front.before(script, tmp_path, authority)


@pytest.fixture
def reached(connect: Connect) -> Callable[..., Client]:
    """Make a client that reaches what runs."""

    def reach(there: Running, port: int | None = None, **more: Any) -> Client:
        url, options = there.reach(port or there.at.port)
        return connect(url, **{**options, **more})

    return reach


# All of them


@each(FRONTS)
def test_chat_after_chat_streams_whole_on_one_connection(
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    with behind(front, answering(*TEXTS)) as there, Relay(there.at.port) as relay:
        client = reached(there, relay.port)
        for _ in range(3):
            chat = client.chat(**ASK, stream=(inbox := Inbox()))
            assert text_of(inbox.until_end()) == TEXT
            assert isinstance(inbox.messages[-1], ChatDone)
            wait(chat.actor_stopped)  # then it has given the connection back
    assert relay.connections == 1


@each(LIVE)
def test_events_come_when_they_were_sent(front: Front, behind: Behind, reached: Callable[..., Client]) -> None:
    """Each is sent when the client has been told the one before it."""
    told = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head())
        for number, event in enumerate(answer(*TEXTS[:6])):
            if number > 2:  # a first text is told with all that comes before it
                acquire(told)
            peer.send(chunk(sse(event)))
        peer.send(LAST_CHUNK)
        peer.wait_for_hang_up()

    with behind(front, script) as there:
        inbox = Inbox()
        reached(there).chat(**ASK, stream=inbox)
        while not isinstance(message := inbox.next(), ChatDone):
            assert isinstance(message, ChatEvent), message
            told.release()
        assert text_of(inbox.messages) == "".join(TEXTS[:6])


class Cut(NamedTuple):
    """Where a stream is cut, and how the server does that.

    Attributes:
        name: What a test calls it.
        sent: The bytes before the cut.
        framed: Whether the framing of HTTP shows the cut.
        reset: Whether the connection is reset, when the client has been told the first text.
    """

    name: str
    sent: bytes
    framed: bool = True
    reset: bool = False


EVENTS = answer("Hello", " there")
CUTS = [
    Cut("between events", head() + chunks(EVENTS[:4])),
    Cut("in an event", head() + chunks(EVENTS[:4]) + chunk(sse(EVENTS[4]))[:-30]),
    Cut("before its last event", head() + chunks(EVENTS[:-1])),
    Cut("by a reset", head() + chunks(EVENTS[:4]), reset=True),
    Cut("at an end that looks like one", head() + chunks(EVENTS[:4]) + LAST_CHUNK, framed=False),
    Cut("without a length", head(framing="close") + b"".join(map(sse, EVENTS[:4])), framed=False),
]


def until_text(inbox: Inbox, text: str) -> None:
    """Wait until a subscriber has been told this text; nothing else may be told."""
    while text_of(inbox.messages) != text:
        assert isinstance(message := inbox.next(), ChatEvent), message


@each(FRONTS)
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.name)
def test_a_stream_that_is_cut_is_an_error_with_what_arrived(
    cut: Cut, front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    told = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(cut.sent)
        if cut.reset:
            wait(told)
            peer.reset()

    with behind(front, script) as there:
        chat = reached(there).chat(**ASK, stream=(inbox := Inbox()))
        if cut.reset and front.live:
            until_text(inbox, "Hello there")
        told.set()
        inbox.until_end()
        wait(chat.actor_stopped)
    assert isinstance(failed := inbox.messages[-1], ChatFailed)
    if isinstance(front, Interceptor) and not front.live and cut.framed:
        assert isinstance(failed.error, APIStatusError)  # of the proxy's own, in place of the stream
        assert failed.error.status == 502
        return
    assert isinstance(failed.error, APIConnectionError if cut.reset else TruncatedError)
    assert text_of(inbox.messages) == "Hello there"
    assert failed.error.partial is not None
    assert failed.error.partial["content"] == [{"type": "text", "text": "Hello there"}]


@each(LIVE)
def test_an_answer_is_whole_with_its_last_event_whatever_follows(
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head() + chunks(answer(*TEXTS)))

    with behind(front, script) as there:
        assert reached(there).chat(**ASK)["content"] == [{"type": "text", "text": TEXT}]


BEGUN = (head(), chunks(answer("Hi")[:3]))


@each(LIVE)
def test_a_program_that_is_killed_ends_a_stream(front: Front, behind: Behind, reached: Callable[..., Client]) -> None:
    with behind(front, Halt(*BEGUN)) as there:
        reached(there).chat(**ASK, stream=(inbox := Inbox()))
        until_text(inbox, "Hi")
        kill(there.process)
        inbox.until_end()
    assert isinstance(failed := inbox.messages[-1], ChatFailed)
    assert isinstance(failed.error, APIConnectionError)
    assert failed.error.partial is not None
    assert failed.error.partial["content"] == [{"type": "text", "text": "Hi"}]


@each(LIVE)
def test_a_cancel_ends_a_stream_and_the_server_is_told(
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    with behind(front, Halt(*BEGUN)) as there:
        chat = reached(there).chat(**ASK, stream=(inbox := Inbox()))
        until_text(inbox, "Hi")
        chat.cancel()
        inbox.until(ChatCancelled)
        wait(chat.actor_stopped)
        acquire(there.hung_up)


LARGE = "0123456789" * 2_000_000


@each(FRONTS)
def test_an_upload_of_20_MB_arrives_whole(  # noqa: N802 - as the unit is written
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    got: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        got.append(peer.body)
        send_answer(peer, "thanks")
        peer.wait_for_hang_up()

    with behind(front, script) as there:
        answered = reached(there).chat(model="m", messages=[{"role": "user", "content": LARGE}])
    assert answered["content"][0]["text"] == "thanks"
    assert json.loads(got[0])["messages"][0]["content"] == LARGE


@each([front for front in LIVE if not isinstance(front, OpenSSL)])
def test_many_chats_at_once_are_whole(front: Front, behind: Behind, reached: Callable[..., Client]) -> None:
    with behind(front, answering(*TEXTS)) as there:
        client = reached(there)
        chats = [client.chat(**ASK, stream=Inbox()) for _ in range(20)]
        for chat in chats:
            assert chat.result(DEADLINE)["content"] == [{"type": "text", "text": TEXT}]
