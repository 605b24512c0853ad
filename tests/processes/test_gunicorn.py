"""One client in a WSGI program, in the threads of several worker processes of gunicorn."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from programs import BEGUN, EVENTS
from servers import DEADLINE, Halt, Peer, Server, acquire, chunks, send_answer, text_delta, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APP = """
import os

from anthropix_actors import Client

client = Client("k", base_url=os.environ["UPSTREAM"], proxy="")


class Text:
    def __init__(self, stream):
        self.stream = stream

    def __iter__(self):
        for text in self.stream.text:
            yield text.encode()

    def close(self):  # called at the end, whatever the end is
        self.stream.close()


def app(environ, start_response):
    ask = {"model": "m", "messages": [{"role": "user", "content": environ["QUERY_STRING"]}]}
    if environ["PATH_INFO"] == "/stream":
        body = Text(client.chat(**ask, stream=True))
    else:
        body = [client.chat(**ask)["content"][0]["text"].encode()]
    start_response("200 OK", [("content-type", "text/plain")])
    return body
"""

CLOSING = """
import signal


def post_worker_init(worker):
    from app import client

    def stop(number, frame):
        worker.handle_exit(number, frame)
        client.close()

    signal.signal(signal.SIGTERM, stop)
"""


class Gunicorn:
    """A running gunicorn, and its address."""

    def __init__(self, folder: Path, upstream: str, *options: str, config: str = "") -> None:
        (folder / "app.py").write_text(APP)
        (folder / "gunicorn.conf.py").write_text(config)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        number = self.listener.fileno()
        fixed = ["-k", "gthread", "--threads", "8", "-w", "2", "-b", f"fd://{number}", "--chdir", str(folder)]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gunicorn", *fixed, *options, "app:app"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            pass_fds=[number],
            start_new_session=True,
            env={**os.environ, "UPSTREAM": upstream},
        )

    def get(self, path: str) -> http.client.HTTPResponse:
        """Send a request, and get its answer, unread."""
        port: int = self.listener.getsockname()[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3 * DEADLINE)
        connection.request("GET", path, headers={"connection": "close"})
        return connection.getresponse()

    def read(self, path: str) -> str:
        with self.get(path) as response:
            assert response.status == 200
            return response.read().decode()

    def wait_for(self, words: str) -> None:
        """Wait for a line of its log."""
        assert self.process.stderr is not None
        while words not in (read := self.process.stderr.readline()):
            assert read, "it has ended"

    def end(self) -> str:
        """Wait until it has ended well, and get the rest of its log."""
        self.listener.close()
        _, log = self.process.communicate(timeout=2 * DEADLINE)
        assert self.process.returncode == 0, log
        return log

    def kill(self) -> None:
        self.listener.close()
        with self.process:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)  # a session of its own: the workers, too


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    started: list[Gunicorn] = []

    def start(server: Server, *options: str, config: str = "") -> Gunicorn:
        started.append(Gunicorn(tmp_path, server.url, *options, config=config))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def question(peer: Peer) -> str:
    asked: Any = json.loads(peer.body)
    return str(asked["messages"][0]["content"])


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each loads the program", "loaded before the fork"])
def test_every_request_gets_its_own_answer_and_sigterm_ends_it(
    gunicorn: Callable[..., Gunicorn], options: tuple[str, ...]
) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            send_answer(peer, "answer ", "to ", question(peer))

    with Server(script) as server, ThreadPoolExecutor(16) as visitors:
        running = gunicorn(server, *options)
        paths = [f"/{('stream', 'whole')[n % 2]}?q{n}" for n in range(60)]
        answers = list(visitors.map(running.read, paths))
        running.process.terminate()
        log = running.end()
    assert answers == [f"answer to q{n}" for n in range(60)]
    assert "Error" not in log
    assert server.errors == []


def test_a_visitor_who_leaves_ends_the_chat_at_the_api(gunicorn: Callable[..., Gunicorn]) -> None:
    left, over = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*BEGUN)
        wait(left)
        while not over.wait(0.01):  # until nobody takes any more
            peer.send(chunks([text_delta("x" * 1000)]))

    with Server(script) as server:
        running = gunicorn(server)
        response = running.get("/stream?long")
        assert response.read(3) == b"Hel"
        response.close()
        left.set()
        acquire(server.hung_up)
        over.set()
        running.process.terminate()
        running.end()


def test_sigterm_lets_answers_come_to_their_end(gunicorn: Callable[..., Gunicorn]) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*BEGUN)
        wait(go_on)
        peer.send(chunks(EVENTS[3:]), b"0\r\n\r\n")

    with Server(script) as server:
        running = gunicorn(server)
        responses = [running.get("/stream?slow") for _ in range(6)]
        running.process.terminate()
        running.wait_for("Handling signal: term")
        go_on.set()
        assert [response.read() for response in responses] == [b"Hello, you"] * 6
        running.end()


@pytest.mark.parametrize(
    ("options", "config"),
    [(("--graceful-timeout", "30"), CLOSING), (("--graceful-timeout", "1"), "")],
    ids=["as the client is closed", "after the graceful timeout"],
)
def test_sigterm_ends_answers_that_have_no_end(
    gunicorn: Callable[..., Gunicorn], options: tuple[str, ...], config: str
) -> None:
    halt = Halt(*BEGUN)
    with Server(halt) as server:
        running = gunicorn(server, *options, config=config)
        responses = [running.get("/stream?endless") for _ in range(6)]
        assert [response.read(3) for response in responses] == [b"Hel"] * 6
        running.process.terminate()
        for _ in responses:
            acquire(server.hung_up)
        running.end()
        for response in responses:
            with response, pytest.raises((http.client.HTTPException, ConnectionError)):
                response.read()  # nobody takes it for a whole one
