"""The timeouts of docs/timeouts.md over TLS, where bytes may come that are no byte of the response."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import APIError, APITimeoutError, Client, StalledError, Timeout

from actors import ASK
from records import Keys13
from servers import DEADLINE, Always, Peer, Server, answer, chunks, head, json_answer
from torture.faults import stall, wait_unread
from torture.tls.handshake import PHASES, flight, meets, serving
from torture.tls.stream import end_of
from torture.tls.wire import ROUTES, VERSIONS, Bare, Wire

if TYPE_CHECKING:
    import ssl
    import subprocess
    from collections.abc import Callable, Iterator

    from torture.worlds import Script

LONG = 60.0
SHORT = 0.2
LATE = DEADLINE
"""Seconds by which a deadline may be late on a busy machine; far from LONG."""

STREAM = (head(), chunks(answer("Hi")[:3]))


def routed(values: list[Any]) -> list[tuple[Any, str, str]]:
    """Combine each with each version, and with one route."""
    pairs = itertools.product(values, VERSIONS)
    return [(value, version, route) for (value, version), route in zip(pairs, itertools.cycle(ROUTES), strict=False)]


def ended(world: Wire | Bare, script: Script, **short: float) -> APIError:
    """Chat with one timeout that runs out; return the error."""
    never = {"connect": LONG, "read": LONG, "idle": LONG, "first_byte": LONG}
    with (
        world(script, again=False) as place,
        Client(
            "k",
            base_url=place.url,
            verify=place.verify,
            proxy=place.proxy,
            max_retries=0,
            timeout=Timeout(**{**never, **short}),
        ) as client,
    ):
        start = time.monotonic()
        with pytest.raises(APIError) as caught:
            client.chat(**ASK)
        assert SHORT <= time.monotonic() - start < SHORT + LATE
    return caught.value


def says(*pieces: bytes, then: Script = stall) -> Script:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*pieces)
        then(peer)

    return script


def dripping(wire: bytes, peer: Peer) -> None:
    """Send bytes as they are, each after a moment: the slowness itself, not a wait for something to happen."""
    pause = threading.Event()
    for byte in wire:
        pause.wait(0.01)
        peer.send(bytes([byte]))


def one_record(data: bytes) -> Script:
    """Send one record, slowly."""

    def script(peer: Peer) -> None:
        end: Any = end_of(peer)
        dripping(end.keys.record(data), Peer(end.sock, 1))

    return script


def news(peer: Peer) -> None:
    """Send what is no byte of the response, slowly: tickets, or empty records, of which OpenSSL takes 32."""
    end = end_of(peer)
    pause = threading.Event()
    while not pause.wait(0.05):
        end.put(end.keys.ticket() if isinstance(end.keys, Keys13) else end.keys.record(b""))


@pytest.mark.parametrize(("phase", "version", "route"), routed(list(PHASES)[:-1]))
def test_connect_bounds_each_phase_of_the_handshake(phase: str, version: str, route: str) -> None:
    script = flight(partial(serving, version), PHASES[phase], stall)
    error = ended(Bare(route), script, connect=SHORT)
    assert isinstance(error, APITimeoutError)
    assert error.message.endswith(f"within {SHORT} s (timeout.connect)")
    assert error.unsent


@pytest.mark.parametrize("route", ROUTES[:2])
@pytest.mark.parametrize("version", VERSIONS)
def test_connect_bounds_a_handshake_that_drips(version: str, route: str) -> None:
    def drips(peer: Peer) -> None:
        flight(partial(serving, version), lambda _: 0, partial(dripping, b"\x16\x03\x03\x40\x00\x02" + bytes(999)))(
            peer
        )

    assert "(timeout.connect)" in str(ended(Bare(route), drips, connect=SHORT))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "script",
    [says(), says(head()[:40]), says(then=one_record(head() + bytes(999))), says(then=news)],
    ids=["silence", "half a head", "a head in a record that drips", "what is no byte of it"],
)
def test_first_byte_bounds_the_wait_for_the_head(script: Script, version: str) -> None:
    error = ended(Wire(version), script, first_byte=SHORT)
    assert isinstance(error, APITimeoutError)
    assert f"within {SHORT} s" in error.message
    assert "(timeout.first_byte)" in error.message


def torn(size: int) -> Script:
    """Send so many bytes of a record, and no more."""

    def script(peer: Peer) -> None:
        end = end_of(peer)
        end.put(end.keys.record(b"never whole")[:size])
        stall(peer)

    return script


@pytest.mark.parametrize(("size", "version", "route"), routed([0, 3, 5, 20]))
def test_read_bounds_the_silence_also_within_a_record(size: int, version: str, route: str) -> None:
    error = ended(Wire(version, route=route), says(*STREAM, then=torn(size)), read=SHORT)
    assert isinstance(error, APITimeoutError)
    assert error.message == f"the server was silent for {SHORT} s (timeout.read)"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("then", [one_record(bytes(999)), news], ids=["a record that drips", "what is no event"])
def test_bytes_of_tls_are_no_progress(then: Script, version: str) -> None:
    assert isinstance(ended(Wire(version), says(*STREAM, then=then), idle=SHORT), StalledError)


@pytest.mark.parametrize(
    ("bare", "script", "route"),
    [
        (True, flight(partial(serving, "1.2"), len, wait_unread), "proxy"),
        (True, meets(partial(serving, "1.3"), wait_unread), "https proxy"),
        (False, says(), "direct"),
        (False, says(*STREAM, then=torn(20)), "https proxy"),
        (False, says(*STREAM, then=one_record(bytes(999))), "proxy"),
        (False, says(*STREAM, then=news), "direct"),
    ],
    ids=["the handshake", "before the answer", "silence", "half a record", "a record that drips", "what is no byte"],
)
def test_total_bounds_everything(script: Script, route: str, *, bare: bool) -> None:
    error = ended(Bare(route) if bare else Wire(route=route), script, total=SHORT)
    assert isinstance(error, APITimeoutError)
    assert "(timeout.total)" in str(error)


@pytest.fixture
def _signals() -> Iterator[None]:
    """Signals interrupt the main thread, again and again."""

    def ignored(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGALRM, ignored)
    signal.setitimer(signal.ITIMER_REAL, SHORT / 5, SHORT / 5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("part", ["connect", "read"])
def test_signals_lengthen_no_wait(part: str, route: str) -> None:
    """Python begins a `recv` anew that a signal interrupted."""
    bare = Bare(route), flight(partial(serving, "1.3"), lambda _: 0, stall)
    world, script = bare if part == "connect" else (Wire(route=route), says(*STREAM, then=stall))
    timeout = Timeout(**{"total": LONG, part: SHORT})
    with world(script, again=False) as place:
        options: Any = {"base_url": place.url, "verify": place.verify, "proxy": place.proxy, "max_retries": 0}
        with Client("k", timeout=timeout, **options) as client:
            start = time.monotonic()
            with pytest.raises(APITimeoutError, match=rf"\(timeout\.{part}\)"):
                client.request("GET", "/models")
    assert SHORT <= time.monotonic() - start < SHORT + LATE


def test_timeouts_hold_for_the_sockets_of_gevent_too(begin: Callable[..., subprocess.Popen[str]]) -> None:
    pytest.importorskip("gevent", reason="gevent is not installed")
    with Server(lambda peer: peer.wait_for_hang_up()) as server:
        running = begin(
            server.url,
            """
            import warnings
            warnings.simplefilter("ignore")  # gevent warns of what is tried here
            from gevent import monkey
            monkey.patch_all()
            encrypted = Client("k", base_url=url.replace("http:", "https:"), proxy="", max_retries=0)
            try:
                encrypted.chat(**ask(), timeout=Timeout(connect=0.2, total=20))
            except APITimeoutError as error:
                print(error, flush=True)
            """,
        )
        out, err = running.communicate(timeout=2 * DEADLINE)
    assert "(timeout.connect)" in out, err


def test_a_timeout_may_be_longer_than_a_poll(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext) -> None:
    month = 30 * 86400.0
    timeout = Timeout(connect=month, read=month, first_byte=month)
    with (
        Server(Always(json_answer("200 OK", {"data": []})), server_tls) as server,
        Client("k", base_url=server.url, verify=client_tls, max_retries=0, timeout=timeout) as client,
    ):
        assert client.request("GET", "/models") == {"data": []}, "in the main thread"
