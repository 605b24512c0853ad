"""TLS on a plain socket, of which as much is read at once as has arrived.

`ssl.SSLSocket` reads one record a call, with two system calls or more for each. A server that sends each event in a
record of its own makes that the largest part of what a fast stream costs. Here one `recv` takes all records that have
arrived, and OpenSSL decrypts them from memory.

- `TLSContext` stands in for an `ssl.SSLContext` where urllib3 encrypts a socket;
- `TLSSocket` is the encrypted connection, as far as urllib3 and http.client use one.

The socket below stays a plain one. Only the request's thread touches OpenSSL's objects: a cancel shuts down a duplicate
of the socket's descriptor, which the next `recv`, `send` or `poll` sees.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, TypeVar

from anthropix_actors._cancel.scope import deadline_of

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_LEAST = 4096
"""How many bytes to receive or to encrypt at once to begin with: a chat of little text is to need little memory."""

_MOST = 65536
"""The most bytes to receive at once, when many have arrived."""

_RECORD = 16384
"""The most bytes of a record, and so to encrypt at once, when many have been sent."""

_POLLS = hasattr(select, "poll") and hasattr(socket, "MSG_DONTWAIT")
"""Whether the system can wait for room and for bytes at once, and send without waiting; Windows cannot."""

_AHEAD = 1 << 20
"""The most bytes to receive while sending; the rest waits at the peer."""


class TLSContext:
    """An `ssl.SSLContext` whose connections are of our kind; all else is the context's own.

    Args:
        context: The context.
    """

    _context: ssl.SSLContext

    def __init__(self, context: ssl.SSLContext) -> None:
        """Stand in for it."""
        object.__setattr__(self, "_context", context)

    def __getattr__(self, name: str) -> Any:
        """Return the context's attribute."""
        return getattr(self._context, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set the context's attribute: urllib3 sets how to verify, and the protocols to offer."""
        setattr(self._context, name, value)

    def wrap_socket(self, sock: socket.socket, *, server_hostname: str | None = None) -> TLSSocket:
        """Return the encrypted connection over a connected socket, after its handshake."""
        return TLSSocket(sock, self._context, server_hostname)


def buffered(context: ssl.SSLContext) -> Any:
    """Return what urllib3 is to encrypt with: the stand-in, or the context where that makes its sockets in its own way.

    A class of the caller's that overrides `wrap_bio` as well, as truststore's does, is asked for that.
    """
    if not _POLLS:
        return context
    kind = type(context)
    usual = kind.wrap_socket is ssl.SSLContext.wrap_socket and context.sslsocket_class is ssl.SSLSocket
    return TLSContext(context) if usual or kind.wrap_bio is not ssl.SSLContext.wrap_bio else context


class TLSSocket:
    """An encrypted connection. Used by one thread at a time.

    Raises:
        ssl.SSLError, OSError: as an `ssl.SSLSocket` does, here and in each method.

    Args:
        sock: The socket, connected; its owner closes it if the handshake fails.
        context: How to encrypt and to verify.
        server_hostname: The name that the server's certificate must be for.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None) -> None:
        """Shake hands; the socket's timeout is for all of it."""
        if context.check_hostname and not server_hostname:  # OpenSSL would check no name, and say nothing
            raise ValueError("check_hostname requires server_hostname")
        self.socket = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._room, self._sent = _LEAST, 0
        self._ended = False  # nothing more will arrive
        self._failure: ssl.SSLError | None = None  # what arrived cannot be decrypted from here on
        self._reset: ConnectionResetError | None = None  # met while sending
        timeout = self.gettimeout()
        self._perform(self._tls.do_handshake, deadline=deadline_of(timeout))
        self.settimeout(timeout)

    # What has arrived

    def recv_into(self, buffer: Any, nbytes: int = 0) -> int:
        """Read into a buffer all that has arrived and finds room there; wait for the first byte. Return 0 at the end.

        The end may be without a close_notify: that of the response is seen by its framing, and by `message_stop`.
        """
        view = memoryview(buffer)[: nbytes or None]
        while not (count := self._decrypt(view)):
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return 0
            self._receive()
        return count

    def _decrypt(self, view: memoryview) -> int:
        """Decrypt what has arrived, as far as there is room; return how many bytes that makes.

        It may make none: part of a record, a session's ticket, new keys.
        """
        count, room, read, incoming = 0, len(view), self._tls.read, self._incoming
        try:
            while count < room and (incoming.pending or self._tls.pending()):
                size = read(room - count, view[count:])
                if not size:  # a close_notify
                    self._ended = True
                    break
                count += size  # type: ignore[operator] # the size, as there is a buffer
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._ended = True
        except ssl.SSLError as exc:
            self._failure = exc  # told after the bytes before it
            self._send_alert()
        if self._outgoing.pending:  # such as the response to new keys
            with contextlib.suppress(ConnectionError):  # what arrived counts, and is followed by the end or the reset
                self._flush()
        return count

    def _receive(self) -> None:
        """Take what has arrived from the socket; wait for it."""
        if data := self.socket.recv(self._room):
            self._incoming.write(data)
            if len(data) == self._room < _MOST:
                self._room *= 2
        elif self._reset is not None:
            raise self._reset
        else:
            self._incoming.write_eof()
            self._ended = True

    def pending(self) -> int:
        """Return how many bytes have been received and not read, decrypted or not."""
        return self._tls.pending() + self._incoming.pending

    @property
    def is_quiet(self) -> bool:
        """Whether the peer has sent nothing that was not read, as far as was received, not even an end."""
        return not (self._ended or self._failure is not None or self.pending())

    # What is sent

    def sendall(self, data: Any) -> None:
        """Send all of it, in pieces that are encrypted one after the other; OpenSSL keeps the room of the largest."""
        view = memoryview(data).cast("B")
        while view:
            size = self._perform(self._tls.write, view[: min(_RECORD, _LEAST + self._sent // 16)])
            self._sent += size
            view = view[size:]

    def unwrap(self) -> socket.socket:
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
        try:
            while left:
                self._wait_for_room()
                with contextlib.suppress(BlockingIOError):
                    left = left[self.socket.send(left, socket.MSG_DONTWAIT) :]
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
            ready = poll.poll(None if timeout is None else timeout * 1000)
            if not ready:
                raise TimeoutError("The write operation timed out")
            if ready[0][1] != select.POLLIN:  # there is room, or `send` says what is wrong
                return
            self._receive()

    def _send_alert(self) -> None:
        """Send the alert that names the reason of a failure, if the peer takes it at once."""
        timeout = self.gettimeout()
        self.settimeout(0)  # MSG_DONTWAIT is not enough: Python waits for room first
        with contextlib.suppress(OSError):
            self.socket.send(self._outgoing.read())
        self.settimeout(timeout)

    # What a socket has

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader; the socket is closed when both are."""
        assert mode == "rb", "http.client reads by a file, and sends by `sendall`"
        counted: Any = self.socket
        counted._io_refs += 1  # noqa: SLF001 - as socket.makefile and urllib3's SSLTransport count
        reader: Any = self
        return io.BufferedReader(socket.SocketIO(reader, "r"))

    def _decref_socketios(self) -> None:
        """Note that the reader is closed: SocketIO calls this."""
        counted: Any = self.socket
        counted._decref_socketios()  # noqa: SLF001 - the other half of it

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.socket.fileno()

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
        """Set how long one wait for the peer may take."""
        self.socket.settimeout(value)

    def gettimeout(self) -> float | None:
        """Return how long one wait for the peer may take."""
        return self.socket.gettimeout()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("The handshake operation timed out")
    return left
