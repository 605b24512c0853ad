"""The server's end of TLS, as bytes: records that are cut, changed and joined, and such as no library makes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import socket
import ssl
import struct
import tempfile
import termios
import time
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Callable

    import trustme

ROOM = 65536
LARGEST = 16384
"""The most bytes of a record."""

ALERT, HANDSHAKE, DATA = 21, 22, 23
"""What a record may be."""

WARNING, FATAL = 1, 2
CLOSE_NOTIFY = 0

RANDOM = slice(11, 43)
"""Where the random bytes of a hello are, with its record's head."""


class Far:
    """The server's end of a connection: its records are bytes, which the test sends as it likes."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.hello = b""
        self.flight = b""

    def receive(self) -> bool:
        """Take what the client has sent; False when it has hung up."""
        data = self.sock.recv(ROOM)
        self.incoming.write(data)
        self.hello = self.hello or data
        return bool(data)

    def answer(self) -> bytes:
        """Wait for the client's hello; return the first flight, which is not sent yet."""
        while not (flight := self.outgoing.read()):
            if not self.receive():
                raise ConnectionError("the client has hung up")
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
        self.flight = flight
        return flight

    def shake_hands(self) -> None:
        """Shake hands. With TLS 1.3, the tickets of the session come with the next records, not before."""
        self.sock.sendall(self.answer())
        while True:
            if not self.receive():
                raise ConnectionError("the client has hung up")
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                break
        if self.tls.version() == "TLSv1.2":  # the end of the handshake itself
            self.sock.sendall(self.outgoing.read())

    def records(self, *pieces: bytes) -> bytes:
        """Encrypt each piece for itself."""
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[self.tls.write(rest) :]
        return self.outgoing.read()

    def send(self, *pieces: bytes) -> None:
        """Send the records of these pieces at once."""
        self.sock.sendall(self.records(*pieces))

    def read(self, size: int) -> bytes:
        """Read so many bytes, or up to the end."""
        data = b""
        while len(data) < size and (piece := self.read_some(size - len(data))):
            data += piece
        return data

    def read_some(self, size: int) -> bytes:
        """Read what there is; nothing at the end."""
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                if not self.receive():
                    return b""

    def decrypted(self, wire: bytes) -> bytes:
        """Return what these bytes bring."""
        self.incoming.write(wire)
        found = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self.tls.read(ROOM):
                found += piece
        return found

    def farewell(self) -> bytes:
        """Return a close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    def complaint(self) -> bytes:
        """Return a fatal alert."""
        self.incoming.write(b"no record of TLS at all")
        with contextlib.suppress(ssl.SSLError):
            self.tls.read(1)
        return self.outgoing.read()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Keys: TypeAlias = "Keys12 | Keys13"


class Cipher(NamedTuple):
    """What a cipher is made of: the name of its hash, and the size of its key."""

    hash: str
    size: int


def _cipher(name: str) -> Cipher:
    return Cipher(
        "sha384" if name.endswith("SHA384") else "sha256", 32 if "256_GCM" in name or "256-GCM" in name else 16
    )


class Keys13:
    """What a server encrypts with in TLS 1.3: RFC 8446, 5.2 and 7.3."""

    def __init__(self, cipher: Cipher, secret: bytes) -> None:
        self._cipher = cipher
        self._use(secret)

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._number = 0
        self._key = AESGCM(self._expanded(b"key", self._cipher.size))
        self._salt = int.from_bytes(self._expanded(b"iv", 12), "big")

    def _expanded(self, label: bytes, size: int) -> bytes:
        """Return HKDF-Expand-Label without a context, for no more bytes than the hash has."""
        label = b"tls13 " + label
        said = struct.pack(">HB", size, len(label)) + label + b"\0"
        return hmac.digest(self._secret, said + b"\x01", self._cipher.hash)[:size]

    def record(self, data: bytes, kind: int = DATA, padding: int = 0) -> bytes:
        """Return a record; its padding is not to be told from data on the way."""
        inner = data + bytes([kind]) + bytes(padding)
        head = struct.pack(">BHH", DATA, 0x0303, len(inner) + 16)
        nonce = (self._salt ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._key.encrypt(nonce, inner, head)

    def update(self, *, asked: bool = False) -> bytes:
        """Return the message that new keys follow, and use them from then on. Perhaps the peer must answer it."""
        record = self.record(b"\x18\0\0\x01" + bytes([asked]), HANDSHAKE)
        self._use(self._expanded(b"traffic upd", hashlib.new(self._cipher.hash).digest_size))
        return record

    def ticket(self) -> bytes:
        """Return a ticket of the session, which no server will take."""
        said = struct.pack(">IIBBH", 7200, 1, 1, 0, 32) + bytes(32) + b"\0\0"
        return self.record(b"\x04" + len(said).to_bytes(3, "big") + said, HANDSHAKE)


class Keys12:
    """What a server encrypts with in TLS 1.2: RFC 5246, 5 and 6.3, and RFC 5288."""

    def __init__(self, cipher: Cipher, secret: bytes, randoms: bytes) -> None:
        self._number = 1  # its Finished was the first
        seed = link = b"key expansion" + randoms
        block = b""
        while len(block) < 2 * cipher.size + 8:
            link = hmac.digest(secret, link, cipher.hash)
            block += hmac.digest(secret, link + seed, cipher.hash)
        self._key = AESGCM(block[cipher.size : 2 * cipher.size])
        self._salt = block[2 * cipher.size + 4 :][:4]

    def record(self, data: bytes, kind: int = DATA, padding: int = 0) -> bytes:  # noqa: ARG002 - there is none
        """Return a record."""
        number = self._number.to_bytes(8, "big")
        self._number += 1
        body = self._key.encrypt(self._salt + number, data, number + struct.pack(">BHH", kind, 0x0303, len(data)))
        return struct.pack(">BHH", kind, 0x0303, 8 + len(body)) + number + body

    def ask_anew(self) -> bytes:
        """Return a HelloRequest: the client is to shake hands once more."""
        return self.record(bytes(4), HANDSHAKE)


def until_taken(sock: socket.socket, seconds: float = 1.0) -> None:
    """Wait until the system of the peer has all that was sent, or is gone: a reset discards what is still here."""
    deadline = time.monotonic() + seconds
    while struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0] and time.monotonic() < deadline:
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED:
            return
        time.sleep(0.001)


_CLOSED = 7
"""The state, in Linux, of a TCP connection that the peer has reset."""


class Shape(NamedTuple):
    """How bytes travel.

    Attributes:
        segments: Makes segments of bytes: records, cut and joined in some way, each segment sent for itself.
        patient: Whether what a script sends is kept back until it waits or closes, and then sent at once.
    """

    segments: Callable[[Keys, bytes], list[bytes]]
    patient: bool = False


def split(data: bytes, size: int = LARGEST) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def one_by_one(keys: Keys, data: bytes) -> list[bytes]:
    """Make a record of each piece, and send it for itself."""
    return [keys.record(each) for each in split(data)]


PLAIN = Shape(one_by_one)


class Encrypted:
    """The server's end of an encrypted connection, as a script uses a socket. Its records are made by hand.

    Attributes:
        sock: The socket below.
        keys: What it encrypts with.
        version: That of TLS.
    """

    def __init__(
        self,
        sock: socket.socket,
        certificate: trustme.LeafCert,
        version: ssl.TLSVersion,
        shape: Shape = PLAIN,
        *,
        polite: bool = False,
    ) -> None:
        """Shake hands. One that is polite says farewell before it closes."""
        self.sock = sock
        self.version = version
        self._shape = shape
        self._polite = polite
        self._abrupt = False
        self._held = b""
        with tempfile.NamedTemporaryFile("r", encoding="ascii") as log:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            context.minimum_version = context.maximum_version = version
            context.num_tickets = 0  # they would be the first records
            context.keylog_filename = log.name
            self._far = Far(sock, context)
            self._far.shake_hands()
            secrets = {line.split()[0]: bytes.fromhex(line.split()[2]) for line in log if not line.startswith("#")}
        cipher = _cipher((self._far.tls.cipher() or ("",))[0])
        self.keys: Keys
        if version == ssl.TLSVersion.TLSv1_3:
            self.keys = Keys13(cipher, secrets["SERVER_TRAFFIC_SECRET_0"])
        else:
            self.keys = Keys12(cipher, secrets["CLIENT_RANDOM"], self._far.flight[RANDOM] + self._far.hello[RANDOM])

    def sendall(self, data: bytes) -> None:
        """Send it in the shape that was chosen."""
        self._held += data
        if not self._shape.patient or len(self._held) >= ROOM:
            self.flush()

    def flush(self) -> None:
        """Send what was kept back."""
        held, self._held = self._held, b""
        for segment in self._shape.segments(self.keys, held) if held else ():
            self.sock.sendall(segment)

    def put(self, wire: bytes) -> None:
        """Send bytes as they are."""
        self.flush()
        self.sock.sendall(wire)

    def alert(self, code: int, level: int = FATAL) -> None:
        self.put(self.keys.record(bytes([level, code]), ALERT))

    def recv(self, size: int) -> bytes:
        self.flush()
        return self._far.read_some(size)

    def fileno(self) -> int:
        self.flush()
        return self.sock.fileno()

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self.flush()
        if option == socket.SO_LINGER:  # it is about to be reset
            until_taken(self.sock)
            self._abrupt = True
        self.sock.setsockopt(level, option, value)

    def close(self) -> None:
        if self.sock.fileno() < 0:  # it was reset
            return
        with contextlib.suppress(OSError):
            self.flush()
            if not self._abrupt:
                self._end()
        self.sock.close()

    def _end(self) -> None:
        """End it so that all that was sent arrives, and the end as an end."""
        if self._polite:
            self.alert(CLOSE_NOTIFY, WARNING)
        until_taken(self.sock)
        self.sock.shutdown(socket.SHUT_WR)
        self.sock.recv(ROOM, socket.MSG_DONTWAIT)  # such as replies of TLS: what is unread makes a reset of an end
