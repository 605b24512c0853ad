"""Redis servers for tests, each a process of its own, and what comes between a program and its server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from anthropix_actors.stores.redis import RedisStore

from servers import DEADLINE, Peer, Server, pump, until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Self


def redis_program() -> str:
    """Return the path of redis-server, or skip the test; where the environment has REQUIRE_REDIS, it fails."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("REQUIRE_REDIS"):
            pytest.fail("REQUIRE_REDIS is set, and there is no redis-server")
        pytest.skip("there is no redis-server")
    return program


class RedisServer:
    """One server. It listens at a Unix socket, and at a TCP port too if asked. Ends with its `with` block."""

    def __init__(self, *settings: str, tcp: bool = False, mode: str = "") -> None:
        self.program = redis_program()
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))  # its path has to be short
        self.path = self.folder / "socket"
        self.port = free_port() if tcp else 0
        self.settings = settings
        self.mode = mode
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def start(self, *, wait: bool = True) -> None:
        listen = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.path)]
        keep = ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        # Sentinel writes its file, so that has to come first.
        first = [str(self.folder / "sentinel.conf"), self.mode] if self.mode else []
        Path(self.folder / "sentinel.conf").touch()
        with (self.folder / "log").open("ab") as log:
            command = [self.program, *first, *listen, *([] if self.mode else keep), *self.settings]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        if wait:
            until(self.answers)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        try:
            return bool(self.run("PING"))
        except RedisError as exc:
            return "NOAUTH" in str(exc) or "Authentication" in str(exc)

    def said(self) -> str:
        """Return what the server has written into its log."""
        return (self.folder / "log").read_text()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(DEADLINE)
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def run(self, *command: Any) -> Any:
        """Run one command, over a connection of its own."""
        with Redis(unix_socket_path=str(self.path)) as client:
            return client.execute_command(*command)

    def store(self, url: str = "", **options: Any) -> RedisStore:
        return RedisStore.from_url(url or self.url, **options)


@contextlib.contextmanager
def cluster_of_one() -> Generator[RedisServer]:
    """Run a Cluster of one node, with all slots."""
    with RedisServer("--cluster-enabled", "yes", tcp=True) as node:
        node.run("CLUSTER", "ADDSLOTS", *range(16384))
        until(lambda: "ok" in str(node.run("CLUSTER", "INFO")))
        yield node


@contextlib.contextmanager
def cluster_of_two() -> Generator[tuple[RedisServer, RedisServer]]:
    """Run a Cluster of two nodes, each with half of the slots; it goes on when one of them is away."""
    settings = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    with RedisServer(*settings, tcp=True) as one, RedisServer(*settings, tcp=True) as two:
        one.run("CLUSTER", "ADDSLOTS", *range(8192))
        two.run("CLUSTER", "ADDSLOTS", *range(8192, 16384))
        one.run("CLUSTER", "MEET", "127.0.0.1", two.port)
        for node in (one, two):
            until(partial(_knows_all, node))
        yield one, two


def _knows_all(node: RedisServer) -> bool:
    return len(node.run("CLUSTER", "SLOTS")) == 2 and "ok" in str(node.run("CLUSTER", "INFO"))


class Cutter:
    """A proxy that can take a reply away: the server has done what was asked, and the client does not hear of it.

    Attributes:
        armed: Set to have the next reply taken away, and its connection closed.
        dead: Connections up to this number stay open, and pass on nothing any more.
    """

    def __init__(self, redis: RedisServer) -> None:
        self.server = Server(self.serve)
        self.redis = redis
        self.cuts = self.dead = 0
        self.armed = threading.Event()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server.port}"

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()
        assert not self.server.errors

    def serve(self, peer: Peer) -> None:
        with socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(str(self.redis.path))
            forth = threading.Thread(target=pump, args=(peer.sock, upstream), name="test-forth")
            forth.start()
            try:
                while data := upstream.recv(65536):
                    if peer.number <= self.dead:
                        continue
                    if self.armed.is_set():
                        self.armed.clear()
                        self.cuts += 1
                        return
                    peer.send(data)
            finally:
                peer.sock.shutdown(socket.SHUT_RDWR)
                forth.join(DEADLINE)


def free_port() -> int:
    """Return a port that nobody has, to which the 10,000 can be added that a node of a Cluster adds for another one."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as found:
            if (port := int(found.getsockname()[1])) <= 55535:
                return port


def started(function: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run a function in a thread, and collect what it returns or raises."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(function())
        except Exception as exc:  # noqa: BLE001
            found.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def blocked(redis: RedisServer) -> int:
    """Return how many clients wait."""
    return int(redis.run("INFO", "clients")["blocked_clients"])
