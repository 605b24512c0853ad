"""How an answer travels over TLS: in which version, in records of which shape, by which route.

None of it is a fault: whatever a script sends, and however it goes wrong, the outcome is that over plain HTTP.
"""

from __future__ import annotations

import contextlib
import functools
import random
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from records import LARGEST, PLAIN, Encrypted, Keys, Keys13, Shape, one_by_one, split
from servers import Peer, Server
from torture.tls.relay import Relay
from torture.worlds import AUTHORITY, World, answer, once, serving, trusting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torture.worlds import Script

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

FEW = 500
"""How many bytes of a piece get records, or segments, of their own, where each byte does: answers may be immense."""


def _tiny(keys: Keys, data: bytes) -> list[bytes]:
    tiny = b"".join(keys.record(each) for each in split(data[:FEW], 1))
    return [tiny, *one_by_one(keys, data[FEW:])]


def _bytewise(keys: Keys, data: bytes) -> list[bytes]:
    return [*split(b"".join(one_by_one(keys, data[:FEW])), 1), *one_by_one(keys, data[FEW:])]


def _cut(keys: Keys, data: bytes) -> list[bytes]:
    """Cut anywhere: in a record's head, in its middle, in its last bytes, between two."""
    wire = b"".join(one_by_one(keys, data))
    dice = random.Random(len(wire))
    places = sorted(dice.sample(range(1, len(wire)), min(9, len(wire) - 1)))
    return [wire[start:stop] for start, stop in zip([0, *places], [*places, len(wire)], strict=True)]


def _full(keys: Keys, data: bytes) -> list[bytes]:
    """As large as a record may be; where there are too few bytes, TLS 1.3 has padding."""
    return [keys.record(each, padding=LARGEST - len(each)) for each in split(data)]


def _packed(keys: Keys, data: bytes) -> list[bytes]:
    return [b"".join(keys.record(each) for each in split(data, 50))]


def _interrupted(keys: Keys, data: bytes) -> list[bytes]:
    """Between the records, what makes no bytes; some of it wants to be answered."""
    if not isinstance(keys, Keys13):
        return [keys.record(b"") + keys.record(each) for each in split(data)]
    dice = random.Random(len(data))
    news: list[Callable[[], bytes]] = [
        keys.ticket,
        keys.update,
        functools.partial(keys.update, asked=True),
        functools.partial(keys.record, b""),
    ]
    segments: list[bytes] = []
    for each in split(data):
        segments.append(dice.choice(news)() + keys.record(each[:1]))
        segments.append(dice.choice(news)() + keys.record(each[1:]))
    return segments


SHAPES = {
    "a record a piece": PLAIN,
    "records of one byte": Shape(_tiny),
    "segments of one byte": Shape(_bytewise),
    "cut anywhere": Shape(_cut),
    "full records": Shape(_full, patient=True),
    "many records in one packet": Shape(_packed, patient=True),
    "news between the records": Shape(_interrupted),
}

SLOW = ("records of one byte", "segments of one byte", "news between the records")

ROUTES = ("direct", "proxy", "https proxy")


CERTIFICATE = AUTHORITY.issue_cert("localhost")


@dataclass(frozen=True)
class Wire:
    """A world where a script's answer is encrypted.

    Attributes:
        version: That of TLS.
        shape: What its records are like.
        route: How the server is reached.
        polite: Whether the server says farewell before it closes.
    """

    version: str = "1.3"
    shape: str = "a record a piece"
    route: str = "direct"
    polite: bool = False

    def __str__(self) -> str:
        """Name it."""
        return f"TLS {self.version}, {self.shape}, {self.route}{', close_notify' if self.polite else ''}"

    def __call__(self, script: Script, *, again: bool) -> contextlib.AbstractContextManager[World]:
        """Have a server that runs the script."""
        return _reached(self._encrypting(once(script) if again else script), self.route)

    def _encrypting(self, script: Script) -> Script:
        version, shape = VERSIONS[self.version], SHAPES[self.shape]

        def encrypting(peer: Peer) -> None:
            end = Encrypted(peer.sock, CERTIFICATE, version, shape, polite=self.polite)
            try:
                script(Peer(end, peer.number))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
            finally:
                end.close()

        return encrypting


@dataclass(frozen=True)
class Bare:
    """A world where a script has the bare socket of a client who wants to speak TLS; another attempt is answered.

    Attributes:
        route: How the server is reached.
        verify: Makes what the client verifies with.
    """

    route: str = "direct"
    verify: Callable[[], ssl.SSLContext] = trusting

    def __str__(self) -> str:
        """Name it."""
        return self.route

    def __call__(self, script: Script, *, again: bool) -> contextlib.AbstractContextManager[World]:
        """Have a server that runs the script."""
        return _reached(once(script, _greeted) if again else script, self.route, self.verify())


def _greeted(peer: Peer) -> None:
    with serving("localhost").wrap_socket(peer.sock, server_side=True) as sock:
        answer(Peer(sock, peer.number))


@contextlib.contextmanager
def _reached(script: Script, route: str, verify: ssl.SSLContext | None = None) -> Generator[World]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(script))
        proxy = ""
        if route != "direct":
            relay = stack.enter_context(Server(Relay(server.port, encrypted=route == "https proxy")))
            proxy = f"https://localhost:{relay.port}" if route == "https proxy" else relay.url
        yield World(f"https://localhost:{server.port}", verify or trusting(), proxy)
    if server.errors:
        raise server.errors[0]
