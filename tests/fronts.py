"""Programs that others wrote and that encrypt a server's answers: nginx, haproxy, stunnel, mitmproxy, openssl."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pytest
import trustme

from servers import DEADLINE, Peer, Server, pump, until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    Script = Callable[[Peer], object]

REQUIRED = "REQUIRE_TLS_SERVERS"
"""The environment variable that makes a missing program a failure."""


def needs(program: str) -> str:
    """Return the path of a program; skip the test if there is none."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")  # where a user's PATH does not go
    if path is None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"{program} is not installed")
    return path


class Place(NamedTuple):
    """What a program is told.

    Attributes:
        folder: Where it may write.
        port: Where to listen, on 127.0.0.1.
        behind: The port of the server whose answers to encrypt.
        pem: The key and the certificate to show, for localhost.
        ca: The certificate of the authority that clients' certificates are from.
    """

    folder: Path
    port: int
    behind: int
    pem: Path
    ca: Path


def place(folder: Path, behind: int, authority: trustme.CA) -> Place:
    pem, ca = folder / "localhost.pem", folder / "ca.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(ca))
    return Place(folder, free_port(), behind, pem, ca)


def free_port() -> int:
    """Return a port for a program. The system gives others to whoever asks for any, as all servers of tests do."""
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def running(command: Sequence[str], at: Place, stream: Any = subprocess.DEVNULL) -> Generator[subprocess.Popen[bytes]]:
    """Run a program from when it listens; `stream` is its input, and its output if it is a socket."""
    log = at.folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [needs(command[0]), *command[1:]],
            cwd=at.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(at.folder)},
            stdin=stream,
            stdout=errors if isinstance(stream, int) else stream,
            stderr=errors,
            start_new_session=True,  # so that its own processes can be ended with it
        )
    with process:
        try:
            until(lambda: process.poll() is not None or listens(at.port))
            assert process.poll() is None, f"{command[0]} does not start"
            yield process
        except (Exception, pytest.fail.Exception) as exc:
            exc.add_note(f"{command[0]} said:\n{log.read_text(errors='replace')[-4000:]}")
            raise
        finally:
            kill(process)


def listens(port: int) -> bool:
    """Ask the system, as openssl would take an attempt to connect for its only client."""
    return f"0100007F:{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and its own processes at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Running:
    """A program that runs before a server, or through which a client reaches one.

    Attributes:
        at: Where it runs.
        process: The program.
        hung_up: Released when the server has lost its client.
        reach: Returns the URL and the options of a client that finds the program at a port.
    """

    at: Place
    process: subprocess.Popen[bytes]
    hung_up: threading.Semaphore
    reach: Callable[[int], tuple[str, dict[str, Any]]]

    def said(self, text: str) -> bool:
        """Return whether the program has logged this."""
        return any(text in log.read_text(errors="replace") for log in self.at.folder.glob("*.log"))


class Relay(Server):
    """Passes on to a port, and back, and counts the connections.

    Attributes:
        ended: Released when the port has nothing more to say on a connection, and the client has been told.
    """

    def __init__(self, port: int) -> None:
        super().__init__(self.pass_on)
        self.to = port
        self.ended = threading.Semaphore(0)

    def pass_on(self, peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", self.to)) as upstream:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there = threading.Thread(target=pump, args=(peer.sock, upstream))
            there.start()
            pump(upstream, peer.sock)
            self.ended.release()
            there.join(DEADLINE)


@dataclass(frozen=True)
class Terminator:
    """A program before a server, and how it is told what to do.

    Attributes:
        name: What a test calls it.
        program: Its name.
        configure: Writes its files, and returns its arguments.
        live: Whether events come when they were sent.
    """

    name: str
    program: str
    configure: Callable[[Place], Sequence[str]]
    live: bool = True

    @contextlib.contextmanager
    def before(self, script: Script, folder: Path, authority: trustme.CA) -> Generator[Running]:
        """Run it before a server with a script."""
        needs(self.program)
        with Server(script) as server:
            at = place(folder, server.port, authority)
            with running([self.program, *self.configure(at)], at) as process:
                yield Running(at, process, server.hung_up, lambda port: (f"https://localhost:{port}", trusting(at)))


def nginx(*settings: str, of_location: Sequence[str] = ("proxy_buffering off",)) -> Callable[[Place], Sequence[str]]:
    """Let nginx encrypt."""

    def configure(at: Place) -> Sequence[str]:
        paths = [
            f"{kind}_temp_path {at.folder}/{kind}" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ]
        encrypted = [f"listen 127.0.0.1:{at.port} ssl", f"ssl_certificate {at.pem}", f"ssl_certificate_key {at.pem}"]
        location = [f"proxy_pass http://127.0.0.1:{at.behind}", "proxy_http_version 1.1", *of_location]
        text = f"""
            daemon off; user root; worker_processes 1; pid {at.folder}/pid; error_log stderr notice;
            events {{ worker_connections 512; }}
            http {{
                access_log off; client_max_body_size 0; {lines(paths)}
                server {{ {lines(encrypted)} {lines(settings).format(at=at)} location / {{ {lines(location)} }} }}
            }}
        """
        (at.folder / "nginx.conf").write_text(text)
        return ["-p", str(at.folder), "-c", "nginx.conf", "-e", "stderr"]

    return configure


def lines(settings: Sequence[str]) -> str:
    return "".join(f"{setting};\n" for setting in settings)


def haproxy(of_bind: str = "", *settings: str, mode: str = "http") -> Callable[[Place], Sequence[str]]:
    """Let haproxy encrypt; the settings whose names begin with "tune." are global ones."""

    def configure(at: Place) -> Sequence[str]:
        times = {"connect": "5s", "client": "30s", "server": "30s"}
        aborts = ["option abortonclose"] if mode == "http" else []  # or the server is not told of a cancel
        sections = {
            "global": [setting for setting in settings if setting.startswith("tune.")],
            "defaults": [f"mode {mode}", *(f"timeout {name} {time}" for name, time in times.items())],
            "listen front": [
                f"bind 127.0.0.1:{at.port} ssl crt {at.pem} {of_bind.format(at=at)}",
                *(setting for setting in settings if not setting.startswith("tune.")),
                *aborts,
                f"server behind 127.0.0.1:{at.behind} pool-max-conn 0",
            ],
        }
        text = "".join(f"{name}\n" + "".join(f"    {line}\n" for line in told) for name, told in sections.items())
        (at.folder / "haproxy.cfg").write_text(text)
        return ["-db", "-f", "haproxy.cfg"]

    return configure


def stunnel(*settings: str) -> Callable[[Place], Sequence[str]]:
    """Let stunnel encrypt."""

    def configure(at: Place) -> Sequence[str]:
        told = ["foreground = yes", "pid =", "debug = warning", "[front]", f"accept = 127.0.0.1:{at.port}"]
        told += [f"connect = 127.0.0.1:{at.behind}", f"cert = {at.pem}", "TIMEOUTclose = 0"]
        told += [setting.format(at=at) for setting in settings]
        (at.folder / "stunnel.conf").write_text("".join(f"{line}\n" for line in told))
        return [str(at.folder / "stunnel.conf")]

    return configure


@dataclass(frozen=True)
class OpenSSL:
    """`openssl s_server`, whose input and output a script reads and writes. It takes one connection.

    Attributes:
        name: What a test calls it.
        arguments: Its arguments.
        quiet: Whether it says nothing itself, and takes no commands from its input.
    """

    name: str
    arguments: str
    quiet: bool = True
    program = "openssl"
    live = True

    @staticmethod
    def told(at: Place) -> list[str]:
        """Return the beginning of each command."""
        return ["openssl", "s_server", "-accept", f"127.0.0.1:{at.port}", "-cert", str(at.pem), "-key", str(at.pem)]

    @contextlib.contextmanager
    def before(self, script: Script, folder: Path, authority: trustme.CA) -> Generator[Running]:
        """Run it before a script."""
        needs(self.program)
        at = place(folder, 0, authority)
        quiet = ["-quiet"] if self.quiet else []
        told = [*self.told(at), "-naccept", "1", *quiet, *self.arguments.format(at=at).split()]
        ours, theirs = socket.socketpair()
        with ours, theirs, running(told, at, theirs) as process:
            theirs.close()
            hung_up = threading.Semaphore(0)

            def play() -> None:
                """Play the script. At its end, openssl says farewell, and stays until the client has hung up."""
                peer = Peer(ours, 1)
                with contextlib.suppress(OSError):
                    script(peer)
                    ours.shutdown(socket.SHUT_WR)
                    peer.wait_for_hang_up()
                kill(process)  # if the script closed the connection
                hung_up.release()

            player = threading.Thread(target=play)
            player.start()
            yield Running(at, process, hung_up, lambda port: (f"https://localhost:{port}", trusting(at)))
            kill(process)
            player.join(DEADLINE)


@dataclass(frozen=True)
class Interceptor:
    """mitmproxy, a proxy that decrypts, reads and encrypts again all that passes.

    Attributes:
        name: What a test calls it.
        scheme: That of the proxy's URL: with "https", TLS is within TLS.
        options: mitmproxy's options.
        live: Whether events come when they were sent.
    """

    name: str
    scheme: str = "http"
    options: Sequence[str] = ()
    live: bool = True
    program = "mitmdump"

    @contextlib.contextmanager
    def runs(self, folder: Path, authority: trustme.CA) -> Generator[tuple[Place, subprocess.Popen[bytes]]]:
        """Run it. What it shows to clients is by an authority of its own."""
        at, own = place(folder, 0, authority), trustme.CA()
        (folder / "mitmproxy-ca.pem").write_bytes(own.private_key_pem.bytes() + own.cert_pem.bytes())
        own.cert_pem.write_to_path(str(folder / "own.pem"))
        told = [self.program, "--listen-host", "127.0.0.1", "--listen-port", str(at.port)]
        if self.live:
            (folder / "live.py").write_text("def responseheaders(flow):\n    flow.response.stream = True\n")
            told += ["--scripts", "live.py"]
        for option in (f"confdir={folder}", f"ssl_verify_upstream_trusted_ca={at.ca}", "flow_detail=0", *self.options):
            told += ["--set", option]
        with running(told, at) as process:
            yield at, process

    @contextlib.contextmanager
    def through(
        self, script: Script, at: Place, process: subprocess.Popen[bytes], authority: trustme.CA
    ) -> Generator[Running]:
        """Run a server with a script that is reached through it."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(tls)
        with Server(script, tls) as server:

            def reach(port: int) -> tuple[str, dict[str, Any]]:
                proxy = f"{self.scheme}://localhost:{port}"
                return server.url, {"proxy": proxy, "verify": str(at.folder / "own.pem")}

            yield Running(at, process, server.hung_up, reach)

    @contextlib.contextmanager
    def before(self, script: Script, folder: Path, authority: trustme.CA) -> Generator[Running]:
        """Run both."""
        with self.runs(folder, authority) as (at, process), self.through(script, at, process, authority) as there:
            yield there


Front: TypeAlias = Terminator | OpenSSL | Interceptor


def trusting(at: Place) -> dict[str, Any]:
    """Return the options of a client that trusts the authority by the path of its certificate."""
    return {"verify": str(at.ca)}
