"""The table of faults: in which phase of a request what goes wrong, and what a chat must end with."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from servers import DEADLINE, Peer, chunk, head
from torture import worlds
from torture.truth import EVENTS, wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from anthropix_actors import APIError

    from torture.worlds import Script, World

AGAIN, NEVER = True, False
"""Whether another attempt may help."""

LARGEST_EVENT = 64 << 10
"""The `max_event_bytes` of the clients; what has no end reaches it."""

LARGEST_ANSWER = 16 << 20

LARGE_PROMPT = 8 << 20
"""More than fits into the sockets between a client and a server that does not read."""

Ends: TypeAlias = "type[APIError] | None"


@dataclass(frozen=True)
class Case:
    """One fault in one phase.

    Attributes:
        phase: When it happens.
        fault: What happens.
        ends: The class of the error that a chat must end with; None: the answer is whole.
        retryable: Whether that error says that another attempt may help.
        script: What the server does, or the proxy.
        world: Where the script runs.
        prompt: How many characters the request has.
        waits: Whether it takes until a timeout runs out.
        besides: An event that is told besides those of the answer, or None.
        reworded: The answer comes in other events than usual, though it is the same.
        arrived: How many events have arrived before the fault, and must be known whatever it is.
    """

    phase: str
    fault: str
    ends: Ends
    retryable: bool
    script: Script
    world: Callable[..., AbstractContextManager[World]] = worlds.plain
    prompt: int = 5
    waits: bool = False
    besides: Any = None
    reworded: bool = False
    arrived: int = 0

    def __str__(self) -> str:
        """Name it."""
        return f"{self.phase}: {self.fault}"


# What a server does when the moment has come


def close(_: Peer) -> None:
    """Return: the server then closes the connection."""


def reset(peer: Peer) -> None:
    peer.reset()


def stall(peer: Peer) -> None:
    peer.wait_for_hang_up()


def wait_unread(peer: Peer) -> None:
    """Wait until the client hangs up, and read nothing."""
    poll = select.poll()
    poll.register(peer.sock, select.POLLRDHUP)
    poll.poll(DEADLINE * 1000)


def forever(again: bytes) -> Script:
    """Get a script that sends the same until the client has had enough."""

    def script(peer: Peer) -> None:
        while True:
            peer.send(again)

    return script


def drip(data: bytes, then: Script = close) -> Script:
    """Get a script that sends one byte at a time."""

    def script(peer: Peer) -> None:
        for byte in data:
            peer.send(bytes([byte]))
        then(peer)

    return script


def says(*pieces: bytes, then: Script = stall) -> Script:
    """Get a script that reads a request and says this."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*pieces)
        then(peer)

    return script


def speaks(*pieces: bytes, then: Script = stall) -> Script:
    """Get a script that says this without reading anything first."""

    def script(peer: Peer) -> None:
        peer.send(*pieces)
        then(peer)

    return script


def reads(some: int, then: Script) -> Script:
    """Get a script that reads so many bytes of a request, and then does something."""

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # or the system makes room for all the rest
        left = some
        while left > 0 and (received := peer.sock.recv(min(left, 65536))):
            left -= len(received)
        then(peer)

    return script


SLOWLY = drip(head() + b"".join(chunk(wire(event)) for event in EVENTS) + b"0\r\n\r\n")


def after_request(script: Script) -> Script:
    def reading(peer: Peer) -> None:
        peer.read_request()
        script(peer)

    return reading
