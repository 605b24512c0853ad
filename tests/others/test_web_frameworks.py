"""The programs of docs/web.md, each in its own server, as they stand there."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sseclient

from programs import BEGUN
from servers import BUSY, DEADLINE, Peer, Server, chunks, send_answer, text_delta, wait

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "web.md").read_text("utf-8")
FIRST, *_ = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def program(heading: str) -> str:
    """Return the program below a heading of the page, with what comes before all of them."""
    (text,) = re.findall(
        rf"^## {heading}\n(?:(?!## |```)[^\n]*\n)*```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
    return f"{FIRST}\n{text}"


DJANGO = """
from django.conf import settings
from django.core.{gateway} import get_{gateway}_application

settings.configure(SECRET_KEY="test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
application = get_{gateway}_application()
"""
UVICORN = ("uvicorn", "--log-level", "warning", "--timeout-graceful-shutdown", "1", "--fd")
GUNICORN = ("gunicorn", "-k", "gthread", "--threads", "8", "--graceful-timeout", "1", "-b")


@dataclass(frozen=True)
class Site:
    """A program of the page, and what runs it.

    Attributes:
        heading: Where it is on the page.
        server: The server's module and its options; the last one takes the socket.
        name: The name of the application.
        more: What the program needs besides.
    """

    heading: str
    server: tuple[str, ...]
    name: str
    more: str = ""

    def text(self) -> str:
        text = program(self.heading) + self.more
        if "asgi" in self.more:
            assert text.count("StreamingHttpResponse(sse_lines(") == 1
            text = re.sub(r"(?<=StreamingHttpResponse\()(sse_lines\(.*?\)\)),", r"aiter(\1),", text)
        return text


SITES = {
    "Starlette": Site("Starlette", UVICORN, "app"),
    "FastAPI": Site("FastAPI", UVICORN, "api"),
    "Flask": Site("Flask", GUNICORN, "flask_app"),
    "Django, WSGI": Site("Django", GUNICORN, "application", DJANGO.format(gateway="wsgi")),
    "Django, ASGI": Site("Django", UVICORN, "application", DJANGO.format(gateway="asgi")),
}


class Api:
    """The API behind a site: its answer depends on the question.

    Attributes:
        going_on: Set when an answer that goes on and on is to send more.
        left: Set when nobody takes it any more.
        hung_up: Set when nobody waits for more of a silent one.
    """

    def __init__(self) -> None:
        self.going_on = threading.Event()
        self.left = threading.Event()
        self.hung_up = threading.Event()

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            match json.loads(peer.body)["messages"][0]["content"].split():
                case ["busy"]:
                    peer.send(BUSY)
                case ["long"]:
                    peer.send(*BEGUN)
                    wait(self.going_on)
                    self.send_on(peer)
                    return
                case ["silent"]:
                    peer.send(*BEGUN)
                    peer.wait_for_hang_up()
                    self.hung_up.set()
                    return
                case words:
                    send_answer(peer, *words)

    def send_on(self, peer: Peer) -> None:
        deadline = time.monotonic() + DEADLINE
        try:
            while time.monotonic() < deadline:
                peer.send(chunks([text_delta("x" * 1000)]))
                self.left.wait(0.01)  # the pace
        except OSError:
            self.left.set()


@dataclass(frozen=True)
class Running:
    """A site that runs."""

    port: int
    api: Api
    server: Server

    def ask(self, question: str, tag: str = "t1", method: str = "GET") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3 * DEADLINE)
        connection.request(method, f"/ask/{tag}?question={question}", headers={"connection": "close"})
        return connection.getresponse()

    def read(self, question: str) -> list[Any]:
        with self.ask(question) as response:
            assert response.status == 200
            assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
            assert response.getheader("x-accel-buffering") == "no"
            return list(events(response))


def events(response: http.client.HTTPResponse) -> Iterator[Any]:
    """Yield events as they come."""
    lines: Any = iter(response.readline, b"")
    for event in sseclient.SSEClient(lines).events():
        data = json.loads(event.data)
        assert data["type"] == event.event
        yield data


@contextlib.contextmanager
def running(site: Site, folder: Path) -> Generator[Running]:
    (folder / "site_of_the_page.py").write_text(site.text())
    api = Api()
    with Server(api) as server, socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        number = listener.fileno()
        place = f"fd://{number}" if "gunicorn" in site.server else str(number)
        process = subprocess.Popen(
            [sys.executable, "-m", *site.server, place, f"site_of_the_page:{site.name}"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            pass_fds=[number],
            start_new_session=True,
            env={**os.environ, "ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": server.url},
        )
        try:
            yield Running(listener.getsockname()[1], api, server)
            process.terminate()
            _, log = process.communicate(timeout=2 * DEADLINE)
            assert "Traceback" not in log, log
        finally:
            with process, contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a session of its own: the workers, too


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with running(SITES[request.param], tmp_path) as site:
        yield site


def test_a_site_shows_each_visitor_an_answer_and_ends_what_nobody_waits_for(site: Running) -> None:
    """All in one test, as starting a server takes longest."""
    visitors_get_their_own_answers(site)
    an_error_is_the_last_event(site)
    a_chat_can_be_stopped(site)
    a_visitor_who_leaves_ends_the_chat(site)


def visitors_get_their_own_answers(site: Running) -> None:
    questions = ["Hello,+visitor+1", "Hello,+visitor+2"] * 3
    with ThreadPoolExecutor(6) as visitors:
        for question, told in zip(questions, visitors.map(site.read, questions), strict=True):
            pieces = [event["delta"]["text"] for event in told if "text" in event.get("delta", ())]
            assert "".join(pieces) == question.replace("+", "")
            assert [event["type"] for event in told].index("message_stop") == len(told) - 1


def an_error_is_the_last_event(site: Running) -> None:
    told = site.read("busy")
    assert [event["type"] for event in told if event["type"] != "retrying"] == ["error"]
    assert told[-1]["error"] == {"type": "overloaded_error", "message": "Overloaded"}


def a_chat_can_be_stopped(site: Running) -> None:
    with site.ask("silent", "t2") as response:
        coming = events(response)
        assert next(coming)["type"] == "message_start"
        with site.ask("", "t2", "DELETE") as stopped:
            assert stopped.status == 204
        *_, last = coming
    error = {"type": "cancelled_error", "message": "stopped by the visitor"}
    assert last == {"type": "error", "error": error, "request_id": "req_test"}


def a_visitor_who_leaves_ends_the_chat(site: Running) -> None:
    response = site.ask("long")
    assert next(events(response))["type"] == "message_start"
    response.close()
    site.api.going_on.set()
    wait(site.api.left)


def test_plain_text_is_the_answer_and_a_visitor_who_leaves_it_ends_the_chat(tmp_path: Path) -> None:
    with running(Site("Plain text", UVICORN, "texts"), tmp_path) as site:
        with site.ask("Hello,+visitor") as response:
            assert response.getheader("content-type") == "text/plain; charset=utf-8"
            assert response.read() == b"Hello,visitor"
        for question in ("silent", "long"):
            response = site.ask(question)
            assert response.read1(5) == b"Hello"
            response.close()
        wait(site.api.hung_up)
        site.api.going_on.set()
        wait(site.api.left)
