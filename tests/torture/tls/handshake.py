"""Faults in each phase of the handshake."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import ssl
from typing import TYPE_CHECKING

import trustme

from anthropix_actors import APIConnectionError, APITimeoutError

from records import ALERT, FATAL, Far
from torture.faults import AGAIN, NEVER, Case, close, reset, stall
from torture.tls.wire import ROUTES, VERSIONS, Bare
from torture.worlds import AUTHORITY, trusting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors import APIError

    from servers import Peer
    from torture.worlds import Script

    Served = Callable[[], ssl.SSLContext]

HANDSHAKE_FAILURE = 40

SUDDEN: tuple[tuple[Script, type[APIError]], ...] = (
    (close, APIConnectionError),
    (reset, APIConnectionError),
    (stall, APITimeoutError),
)

PHASES: dict[str, Callable[[bytes], int]] = {
    "before the hello is answered": lambda _: 0,
    "in the head of the first record": lambda _: 3,
    "in the middle of the server's flight": lambda flight: len(flight) // 2,
    "before the last byte of the server's flight": lambda flight: len(flight) - 1,
    "after the server's flight": len,
}
"""How much of the server's flight has been sent. After all of it, a client of TLS 1.3 sends its request."""


def handshakes() -> Iterator[Case]:
    yield from _reached(_interrupted())
    yield from _reached(_refused())


def _reached(cases: Iterator[tuple[str, str, type[APIError], bool, Script, Served]]) -> Iterator[Case]:
    for phase, fault, ends, retryable, script, verify in cases:
        for route in ROUTES:
            world = Bare(route, verify)
            waits = ends is APITimeoutError
            yield Case(f"TLS, {phase}", f"{fault}, {route}", ends, retryable, script, world, waits=waits)


def _interrupted() -> Iterator[tuple[str, str, type[APIError], bool, Script, Served]]:
    alert = bytes([ALERT, 3, 3, 0, 2, FATAL, HANDSHAKE_FAILURE])
    for version in VERSIONS:
        served = functools.partial(serving, version)
        for phase, part in PHASES.items():
            for then, ends in SUDDEN:
                script = flight(served, part, then)
                yield phase, f"{then.__name__}, {version}", ends, AGAIN, script, trusting
            if not phase.startswith("in"):  # or it would be taken for the rest of the record
                for fault, said in (("an alert", alert), ("garbage", b"\x00\xff" * 100)):
                    # Said in clear. Inside a record, an alert is taken for the rest of it; after the flight of TLS 1.3,
                    # nothing in clear is understood.
                    whole = fault == "garbage" or phase.startswith("after")
                    understood = phase.startswith("before the hello") or (version == "1.2" and whole)
                    script = flight(served, part, _says(said))
                    yield phase, f"{fault}, {version}", APIConnectionError, not understood, script, trusting


def _refused() -> Iterator[tuple[str, str, type[APIError], bool, Script, Served]]:
    """One does not accept the other. What the server does then changes nothing.

    But it does not reset the connection after an alert: in a proxy, that may overtake the alert, and none knows of it.
    """
    for version, other in zip(VERSIONS, reversed(VERSIONS), strict=True):
        certificates: tuple[tuple[str, Served, Served], ...] = (
            ("a stranger's certificate", functools.partial(serving, version), strangers),
            ("a certificate for another name", functools.partial(serving, version, "elsewhere"), trusting),
            ("an expired certificate", functools.partial(serving, version, "localhost", -1), trusting),
        )
        rest: tuple[tuple[str, Served, Served], ...] = (
            ("another version of TLS", functools.partial(serving, other), functools.partial(trusting_only, version)),
            ("no client certificate", functools.partial(demanding, version), trusting),
        )
        for fault, served, verify in certificates:
            for then, _ in SUDDEN:
                yield fault, f"{then.__name__}, {version}", APIConnectionError, NEVER, meets(served, then), verify
                script = flight(served, len, then)
                yield fault, f"{then.__name__} at once, {version}", APIConnectionError, NEVER, script, verify
        for fault, served, verify in rest:
            for then in (close, stall):
                yield fault, f"{then.__name__}, {version}", APIConnectionError, NEVER, meets(served, then), verify


# What a script does


def flight(served: Served, part: Callable[[bytes], int], then: Script) -> Script:
    """Get a script that sends so much of the server's flight."""

    def script(peer: Peer) -> None:
        wire = Far(peer.sock, served()).answer()
        peer.send(wire[: part(wire)])
        then(peer)

    return script


def meets(served: Served, then: Script) -> Script:
    """Get a script that shakes hands as far as it goes, says what is wrong, and reads what is said to that."""

    def script(peer: Peer) -> None:
        far = Far(peer.sock, served())
        with contextlib.suppress(ssl.SSLError):
            far.shake_hands()
            far.read_some(1)
        peer.send(far.outgoing.read())
        then(peer)

    return script


def _says(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.send(data)
        stall(peer)

    return script


# Contexts


@functools.cache
def serving(version: str, name: str = "localhost", days: int = 1) -> ssl.SSLContext:
    """Get a server's context; its certificate ends in so many days."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    begins = ends - dt.timedelta(days=9)
    AUTHORITY.issue_cert(name, not_before=begins, not_after=ends).configure_cert(context)
    return context


@functools.cache
def demanding(version: str) -> ssl.SSLContext:
    """Get the context of a server that demands a certificate of its client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    AUTHORITY.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@functools.cache
def trusting_only(version: str) -> ssl.SSLContext:
    """Get the context of a client that speaks one version only."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


@functools.cache
def strangers() -> ssl.SSLContext:
    """Get the context of a client that trusts others."""
    context = ssl.create_default_context()
    trustme.CA().configure_trust(context)
    return context
