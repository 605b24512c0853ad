"""`openssl s_server` gets new keys, and shakes hands anew, in the middle of an answer; where the program is there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anthropix_actors import TruncatedError

from records import ROOM
from servers import DEADLINE, LAST_CHUNK, Peer, chunk, head, until
from torture.during import POINTS, SAMPLE
from torture.faults import AGAIN, NEVER, Case, stall
from torture.tls.wire import CERTIFICATE
from torture.truth import WHOLE
from torture.worlds import World, trusting

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from anthropix_actors import APIError

    from torture.worlds import Script

COMMANDS = {
    "new keys": ("1.3", b"k"),
    "new keys, asked for in return": ("1.3", b"K"),
    "a handshake anew": ("1.2", b"r"),
    "a handshake anew, with certificates": ("1.2", b"R"),
}


def consoles() -> Iterator[Case]:
    if shutil.which("openssl") is None:
        return
    for point in SAMPLE:
        for fault, (version, command) in COMMANDS.items():
            yield _case(version, point, fault, command)
    for version in ("1.2", "1.3"):
        yield _case(version, "after text_delta", "the end", b"Q", TruncatedError)


def _case(version: str, point: str, fault: str, command: bytes, ends: type[APIError] | None = None) -> Case:
    at = POINTS[point]
    rest = WHOLE[at:]

    def script(peer: Peer) -> None:
        console: Console = peer.sock  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
        peer.read_request()
        peer.send(head(), _chunk(WHOLE[:at]))
        console.command(command)
        if ends is None:
            peer.send(*[_chunk(rest)] if rest else [], LAST_CHUNK)
        stall(peer)

    retryable = AGAIN if ends else NEVER
    return Case(f"TLS of openssl, {point}", f"{fault}, {version}", ends, retryable, script, OpenSSL(version))


def _chunk(data: bytes) -> bytes:
    """Make a chunk that begins with no letter, as that might be a command."""
    return b"0" + chunk(data)


class Console:
    """Standard input and output of `openssl s_server`, as a script uses a socket. Some letters are commands."""

    def __init__(self, program: subprocess.Popen[bytes]) -> None:
        assert program.stdin is not None
        assert program.stdout is not None
        self._program = program
        self._input, self._output = program.stdin.fileno(), program.stdout.fileno()

    def recv(self, size: int) -> bytes:
        ready, _, _ = select.select([self._output], [], [], DEADLINE)
        return os.read(self._output, size) if ready else b""

    def sendall(self, data: bytes) -> None:
        """Have it read for itself: the program looks for commands where what it reads begins."""
        os.write(self._input, data)
        until(lambda: self._program.poll() is not None or not self._unread())
        if self._unread():
            raise BrokenPipeError

    def _unread(self) -> int:
        size: int = struct.unpack("i", fcntl.ioctl(self._input, termios.FIONREAD, bytes(4)))[0]
        return size

    def command(self, letter: bytes) -> None:
        self.sendall(letter + b"\n")


@dataclass(frozen=True)
class OpenSSL:
    """A world where `openssl s_server` sends what a script says.

    Attributes:
        version: That of TLS.
    """

    version: str

    @contextlib.contextmanager
    def __call__(self, script: Script, *, again: bool) -> Generator[World]:  # noqa: ARG002 - there is one connection
        """Have the program run the script."""
        with tempfile.NamedTemporaryFile() as pem:
            CERTIFICATE.private_key_and_cert_chain_pem.write_to_path(pem.name)
            options = ["-accept", "127.0.0.1:0", "-naccept", "1", "-cert", pem.name, "-key", pem.name]
            told = ["openssl", "s_server", *options, f"-tls{self.version.replace('.', '_')}"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            with subprocess.Popen(told, **pipes) as program, contextlib.ExitStack() as stack:  # type: ignore[call-overload]
                stack.callback(program.kill)  # or the end would be waited for
                console = Console(program)
                printed = b""
                while not (found := re.search(rb"ACCEPT \S+:(\d+)\n", printed)):
                    more = console.recv(ROOM)
                    assert more, printed
                    printed += more

                def play() -> None:
                    with contextlib.suppress(OSError):  # the client was faster
                        script(Peer(console, 1))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

                thread = threading.Thread(target=play, name="test-console")
                thread.start()
                stack.callback(thread.join, DEADLINE)
                stack.callback(program.kill)
                yield World(f"https://localhost:{int(found[1])}", trusting())
