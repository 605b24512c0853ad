"""TLS on a socket, of which as much is read at once as has arrived.

`ssl.SSLSocket` reads one record a call, with two system calls or more for each. A server that sends each event in a
record of its own makes that the largest part of what a fast stream costs. Here one `recv` takes all records that have
arrived, and OpenSSL decrypts them from memory.

A `TLSSocket` has what urllib3 and http.client use of a socket, and what another one uses that lies over it, in the
tunnel of an https proxy. The socket below stays a plain one. Only the request's thread touches OpenSSL's objects: a
cancel shuts down a duplicate of the socket's descriptor, which the next `recv`, `send` or `poll` sees.
"""

from __future__ import annotations

import _socket
import contextlib
import io
import select
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from anthropix_actors._cancel.scope import deadline_of
from anthropix_actors._http.reuse.tls_sessions import TLSSessions, is_checked_by_openssl

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_LEAST = 2048
"""How many bytes to receive at once to begin with; twice as many to encrypt."""

_FIRST = 1024
"""How many bytes to receive at once after the handshake: a chat that waits holds as much, and most need no more."""

_MOST = 65536
"""The most bytes to receive or to encrypt at once, when many have arrived or were sent. A record has 16384 at most."""

READER = 512
"""The bytes of the buffer for the head of a response. Its body is read past it; the usual buffer has 8 KiB."""

_SHORTEST = 1e-6
"""The shortest timeout, in seconds: the system takes 0 for none."""

_LONGEST_POLL = 2**31 - 1
"""The longest wait of a `poll`, in milliseconds: 24 days."""

_AHEAD = 1 << 20
"""The most bytes to receive while sending; the rest waits at the peer."""


def plain(sock: Any) -> socket.socket:
    """Return the socket that ends in the system, which has a descriptor and options: TLS may lie over it, or two."""
    while not isinstance(sock, socket.socket):
        sock = sock.socket  # a TLSSocket, or urllib3's SSLTransport in the tunnel of an https proxy
    return sock


class TLSSocket:
    """An encrypted connection. Used by one thread at a time.

    Attributes:
        got_close_notify: Whether the peer has sent a close_notify, after which it sends nothing.

    Raises:
        ssl.SSLError, OSError: as an `ssl.SSLSocket` does, here and in each method.

    Args:
        sock: The socket, connected; its owner closes it if the handshake fails.
        context: How to encrypt and to verify.
        server_hostname: The name that the server's certificate must be for.
        sessions: Those to resume, and where to keep this one's; by default, none is resumed.
    """

    def __init__(
        self,
        sock: socket.socket | TLSSocket,
        context: ssl.SSLContext,
        server_hostname: str | None,
        sessions: TLSSessions | None = None,
    ) -> None:
        """Shake hands; the socket's timeout is for all of it."""
        if context.check_hostname and not server_hostname:  # OpenSSL would check no name, and say nothing
            raise ValueError("check_hostname requires server_hostname")
        self.socket = sock
        self._timeout = timeout = sock.gettimeout()
        self._polls = False  # before each `recv`: see `settimeout`
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        sessions = sessions or TLSSessions()
        # Looked at now, as the caller may change the context meanwhile. None: this one's is kept already, or never.
        self._sessions = sessions if is_checked_by_openssl(self._tls) else None
        self._room, self._sent = _LEAST, 0
        self._has_more = False  # something was received, and may not be decrypted yet
        self._ended = False  # nothing more will arrive
        self.got_close_notify = False
        self._failure: ssl.SSLError | None = None  # what arrived cannot be decrypted from here on
        self._reset: ConnectionResetError | None = None  # met while sending
        if isinstance(sock, socket.socket):
            sock.settimeout(None)  # see `settimeout`
        self._shake_hands(sessions, timeout)

    def _shake_hands(self, sessions: TLSSessions, timeout: float | None) -> None:
        self.settimeout(timeout)
        offered, resumed = sessions.offer(self._tls), False
        try:
            self._perform(self._tls.do_handshake, deadline=deadline_of(timeout))
            resumed = self._tls.session_reused is True
        finally:
            if offered and not resumed:
                sessions.forget(self._tls)
        self._room = _FIRST  # while it waits, a `recv` holds as much
        self.settimeout(timeout)

    # What has arrived

    def recv(self, size: int) -> bytes:
        """Return what has arrived, at most `size` bytes; wait for the first. Return none at the end.

        The end may be without a close_notify: that of the response is seen by its framing, and by `message_stop`; else
        by `got_close_notify`.
        """
        while True:
            if self._has_more and (data := self._decrypted(size)):
                return data
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return b""
            self._receive()

    def recv_into(self, buffer: Any, nbytes: int = 0) -> int:
        """Read as `recv` does, into a buffer; return how many bytes."""
        view = memoryview(buffer)
        data = self.recv(nbytes or len(view))
        view[: len(data)] = data
        return len(data)

    def _decrypted(self, room: int) -> bytes:
        """Decrypt what has arrived, as far as there is room.

        It may make no bytes: part of a record, a session's ticket, new keys.
        """
        read, incoming = self._tls.read, self._incoming
        pieces: list[bytes] = []
        more: int = True
        try:
            while more and room:
                piece = read(room)  # of one record, and all of it if there is room
                if not piece:
                    self._ended = self.got_close_notify = True
                    break
                pieces.append(piece)
                room -= len(piece)
                more = incoming.pending
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._ended = True
        except ssl.SSLError as exc:
            self._failure = exc  # told after the bytes before it
            self._send_alert()
        self._has_more = not room
        if self._outgoing.pending:  # such as the response to new keys
            with contextlib.suppress(ConnectionError):  # what arrived counts, and is followed by the end or the reset
                self._flush()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _receive(self) -> None:
        """Take what has arrived from the socket; wait for it."""
        if self._polls:
            self._wait_for_bytes()
        try:
            data = self.socket.recv(self._room)
        except BlockingIOError:
            raise TimeoutError("The read operation timed out") from None
        if data:
            self._incoming.write(data)
            self._has_more = True
            if len(data) == self._room < _MOST:
                self._room *= 2
        elif self._reset is not None:
            raise self._reset
        else:
            self._incoming.write_eof()
            self._ended = True

    def _wait_for_bytes(self) -> None:
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if not poll.poll(_milliseconds(self._timeout)):
            raise TimeoutError("The read operation timed out")

    def pending(self) -> int:
        """Return how many bytes have been received and not read, decrypted or not."""
        return self._tls.pending() + self._incoming.pending

    @property
    def is_quiet(self) -> bool:
        """Whether the peer has sent nothing that was not read, as far as was received, not even an end."""
        quiet = not (self._ended or self._failure is not None or self.pending())
        return quiet and not (isinstance(self.socket, TLSSocket) and not self.socket.is_quiet)

    # What is sent

    def sendall(self, data: Any) -> None:
        """Send all of it, in pieces that are encrypted one after the other; OpenSSL keeps the room of the largest."""
        view = memoryview(data).cast("B")
        while view:
            size = self._perform(self._tls.write, view[: min(_MOST, 2 * _LEAST + self._sent // 16)])
            self._sent += size
            view = view[size:]

    def send(self, data: Any, flags: int) -> int:
        """Send a little, as `flags` say: an alert of the TLS above."""
        self._tls.write(data)
        return self.socket.send(self._outgoing.read(), flags)

    def unwrap(self) -> socket.socket | TLSSocket:
        """Send a close_notify, wait until the peer sends one as well, and return the socket."""
        self._perform(self._tls.unwrap)
        self._ended = True
        return self.socket

    def _perform(self, step: Callable[..., Result], *args: Any, deadline: float | None = None) -> Result:
        """Let OpenSSL do something: send what it has to say, receive what it waits for."""
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                self._flush()
                if deadline is not None:
                    self.settimeout(_left(deadline))
                self._receive()
            except ssl.SSLError:
                self._send_alert()
                raise
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        """Send what is encrypted."""
        left = memoryview(self._outgoing.read())
        if isinstance(self.socket, TLSSocket):  # which receives meanwhile
            self.socket.sendall(left)
            return
        try:
            while left:
                try:
                    left = left[self.socket.send(left, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    self._wait_for_room()
        except ConnectionResetError as exc:
            self._reset = exc  # the system says so once: the next `recv` would return an end like any other
            raise

    def _wait_for_room(self) -> None:
        """Wait until more can be sent. Receive meanwhile: a peer may take nothing until it is rid of what it sends."""
        timeout = self.gettimeout()
        poll = select.poll()
        poll.register(self.socket, select.POLLIN | select.POLLOUT)
        while True:
            if self._ended or self._incoming.pending >= _AHEAD:
                poll.modify(self.socket, select.POLLOUT)
            ready = poll.poll(_milliseconds(timeout))
            if not ready:
                raise TimeoutError("The write operation timed out")
            if ready[0][1] != select.POLLIN:  # there is room, or `send` says what is wrong
                return
            self._receive()

    def _send_alert(self) -> None:
        """Send the alert that names the reason of a failure, if the peer takes it at once."""
        with contextlib.suppress(OSError):
            self.socket.send(self._outgoing.read(), socket.MSG_DONTWAIT)

    # What a socket has

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader; the socket is closed when both are."""
        assert mode == "rb", "http.client reads by a file, and sends by `sendall`"
        counted: Any = plain(self)
        counted._io_refs += 1  # noqa: SLF001 - as socket.makefile and urllib3's SSLTransport count
        reader: Any = self
        return io.BufferedReader(socket.SocketIO(reader, "r"), READER)

    def _decref_socketios(self) -> None:
        """Note that the reader is closed: SocketIO calls this."""
        counted: Any = plain(self)
        counted._decref_socketios()  # noqa: SLF001 - the other half of it

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.socket.fileno()

    def keep_session(self) -> None:
        """Keep the session for later connections, at the first call."""
        sessions, self._sessions = self._sessions, None
        if sessions is not None:
            sessions.keep(self._tls)
        if isinstance(self.socket, TLSSocket):
            self.socket.keep_session()

    def close(self) -> None:
        """Close the socket, without a close_notify: as `ssl.SSLSocket` does it."""
        self.socket.close()

    def shutdown(self, how: int) -> None:
        """Shut the socket down; TLS is left as it is, so that no reader sees encrypted bytes."""
        self.socket.shutdown(how)

    def getpeercert(self, binary_form: bool = False) -> Any:  # noqa: FBT001, FBT002 - as ssl has it
        """Return the server's certificate."""
        return self._tls.getpeercert(binary_form)

    def selected_alpn_protocol(self) -> str | None:
        """Return the protocol that the server chose, if it did."""
        return self._tls.selected_alpn_protocol()

    def version(self) -> str | None:
        """Return the version of TLS."""
        return self._tls.version()

    def cipher(self) -> tuple[str, str, int] | None:
        """Return the cipher: its name, its version of TLS, its bits."""
        return self._tls.cipher()

    def settimeout(self, value: float | None) -> None:
        """Set how long one wait for the peer may take.

        The system ends a `recv` that takes longer. Python's own timeout would need a `poll` before each, which a calm
        stream pays for with each event. But where a signal interrupts a `recv`, as in the main thread, Python begins it
        anew, with the whole timeout; and gevent's sockets do not know the system's. There, a `poll` comes before each.
        """
        self._timeout = value
        if isinstance(self.socket, TLSSocket):
            self.socket.settimeout(value)
        else:
            in_main_thread = threading.current_thread() is threading.main_thread()
            self._polls = in_main_thread or not isinstance(self.socket, _socket.socket)
            timed = None if self._polls else value
            whole, part = (0, 0) if timed is None else divmod(round(max(timed, _SHORTEST) * 1e6), 1_000_000)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", whole, part))

    def gettimeout(self) -> float | None:
        """Return how long one wait for the peer may take."""
        return self._timeout


def _milliseconds(timeout: float | None) -> float | None:
    """Return a timeout as `poll` takes it."""
    return None if timeout is None else min(timeout * 1000, _LONGEST_POLL)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("The handshake operation timed out")
    return left
