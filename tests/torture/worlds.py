"""Where a script runs: in the open, behind TLS, as a proxy; and places where there is nobody.

With `again`, only the first connection goes wrong; the next is answered.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trustme

from servers import Peer, Server, Tunnel, chunk, head
from torture.truth import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Script: TypeAlias = Callable[[Peer], object]


@dataclass(frozen=True)
class World:
    """How to reach what a script does."""

    url: str
    verify: ssl.SSLContext | None = None
    proxy: str = ""


def answer(peer: Peer) -> None:
    """Answer one request, as if nothing had ever been wrong."""
    if peer.read_request():
        peer.send(head(), chunk(WHOLE), b"0\r\n\r\n")


def once(script: Script, others: Script = answer) -> Script:
    """Get a script that goes wrong on the first connection only."""
    return lambda peer: (script if peer.number == 1 else others)(peer)


AUTHORITY = trustme.CA()


@functools.cache
def serving(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


@functools.cache
def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@contextlib.contextmanager
def plain(script: Script, *, again: bool) -> Generator[World]:
    with Server(once(script) if again else script) as server:
        yield World(server.url)


@contextlib.contextmanager
def encrypted(script: Script, *, again: bool) -> Generator[World]:
    with Server(once(script) if again else script, serving("localhost")) as server:
        yield World(server.url, trusting())


@contextlib.contextmanager
def before_tls(script: Script, *, again: bool) -> Generator[World]:
    """The script has the bare socket of somebody who wants to speak TLS."""

    def greeted(peer: Peer) -> None:
        with serving("localhost").wrap_socket(peer.sock, server_side=True) as sock:
            answer(Peer(sock, peer.number))

    with Server(once(script, greeted) if again else script) as server:
        yield World(server.url.replace("http://127.0.0.1", "https://localhost"), trusting())


@contextlib.contextmanager
def stranger(script: Script, *, again: bool) -> Generator[World]:
    """TLS with a certificate that nobody the client trusts has signed."""
    with Server(once(script) if again else script, serving("localhost")) as server:
        yield World(server.url, ssl.create_default_context())


@contextlib.contextmanager
def namesake(script: Script, *, again: bool) -> Generator[World]:
    """TLS with a certificate for another name."""
    with Server(once(script) if again else script, serving("elsewhere")) as server:
        yield World(server.url, trusting())


@contextlib.contextmanager
def proxy(script: Script, *, again: bool) -> Generator[World]:
    """The script is the proxy of an API that answers."""
    with (
        Server(answer, serving("localhost")) as api,
        Server(once(script, Tunnel(api.port)) if again else script) as server,
    ):
        yield World(api.url, trusting(), server.url)


@contextlib.contextmanager
def nameless(_: Script, *, again: bool) -> Generator[World]:  # noqa: ARG001
    yield World("http://nowhere.invalid")


@contextlib.contextmanager
def closed(_: Script, *, again: bool) -> Generator[World]:  # noqa: ARG001
    """A port where nobody listens, and nobody will meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield World(f"http://127.0.0.1:{taken.getsockname()[1]}")


@contextlib.contextmanager
def crowded(_: Script, *, again: bool) -> Generator[World]:  # noqa: ARG001
    """A port whose queue of connections is full: it drops every SYN."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        for _number in range(8):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(address)
        yield World(f"http://127.0.0.1:{address[1]}")
