"""A proxy that opens a tunnel, and passes on how a connection ends: an end as an end, a reset as a reset."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from typing import TYPE_CHECKING

from records import ROOM, Far, until_taken
from servers import DEADLINE, Peer
from torture.worlds import serving

if TYPE_CHECKING:
    from collections.abc import Callable


class Relay:
    """Opens a tunnel to one server.

    Attributes:
        port: The server's.
        encrypted: Whether the proxy itself speaks TLS.
    """

    def __init__(self, port: int, *, encrypted: bool = False) -> None:
        self.port = port
        self.encrypted = encrypted

    def __call__(self, peer: Peer) -> None:
        """Serve one connection."""
        far: Far | None = None
        if self.encrypted:
            far = Far(peer.sock, serving("localhost"))
            far.shake_hands()
            request = b""
            while b"\r\n\r\n" not in request:
                if not (more := far.read_some(ROOM)):
                    return
                request += more
            far.send(_OPENED)
        else:
            peer.read_request()
            peer.send(_OPENED)
        with socket.create_connection(("127.0.0.1", self.port)) as upstream:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            encrypted, decrypted = (far.records, far.decrypted) if far else (bytes, bytes)
            _relayed(_Direction(peer.sock, upstream, decrypted), _Direction(upstream, peer.sock, encrypted))


_OPENED = b"HTTP/1.1 200 OK\r\n\r\n"


class _Direction:
    """From one socket to the other; what is read there is changed here."""

    def __init__(self, source: socket.socket, sink: socket.socket, changed: Callable[[bytes], bytes]) -> None:
        source.setblocking(False)  # noqa: FBT003 - as it is called
        self.source, self.sink, self.changed = source, sink, changed
        self.due = b""
        self.ended = self.was_reset = False

    def wanted(self) -> int:
        """Get what to wait for at the source: where nothing more is taken, its end."""
        return 0 if self.ended else select.POLLIN if len(self.due) < ROOM else select.POLLRDHUP

    def read(self, event: int) -> None:
        if event & ~select.POLLOUT:
            data = self.source.recv(ROOM)
            self.ended = not data or bool(event & select.POLLRDHUP)
            self.due += self.changed(data) if data else b""

    def write(self, event: int) -> None:
        if event & select.POLLOUT:
            try:
                self.due = self.due[self.sink.send(self.due) :]
            except ConnectionError:
                self.due = b""
                raise

    def reset(self) -> None:
        """Pass on what came, and then a reset."""
        self.sink.setblocking(True)  # noqa: FBT003 - as it is called
        with contextlib.suppress(OSError):
            self.sink.sendall(self.due)
            until_taken(self.sink)
            self.sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sink.close()


def _relayed(up: _Direction, down: _Direction) -> None:
    """Pass on what comes, until the client has ended, or all that the server sent has been passed on."""
    with contextlib.suppress(ssl.SSLError):  # the client's last alert
        while not up.ended and (down.due or not down.ended):
            poll = select.poll()
            for each, back in ((up, down), (down, up)):
                poll.register(each.source, each.wanted() | bool(back.due) * select.POLLOUT)
            ready = dict(poll.poll(DEADLINE * 1000))
            if not ready:
                return
            for each, back in ((up, down), (down, up)):
                event = ready.get(each.source.fileno(), 0)
                try:
                    back.write(event)
                except ConnectionError:  # the system says it once, and then reads to the end what came before
                    each.was_reset = True
                try:
                    each.read(event if not each.ended else 0)
                except ConnectionResetError:
                    each.was_reset = each.ended = True
                if each.was_reset and each.ended:
                    each.reset()
                    return
    down.sink.shutdown(socket.SHUT_WR)
