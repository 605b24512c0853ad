"""A chat on its way through a web server to a browser: how much later its events come, and when a leaver ends it."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from _answers import HEAD, beginning, chunked, text_delta
from _measure import Verdict, table, title
from _server import let_go, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

_ASK = """
import os
from anthropix_actors import Client
from anthropix_actors.subscribers import SSE_HEADERS, sse_lines

client = Client("key", base_url=os.environ["UPSTREAM"], proxy="", max_retries=0)

def lines():
    question = [{"role": "user", "content": "Hello"}]
    return sse_lines(client.chat(model="claude-sonnet-5", messages=question, stream=True))
"""
_STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

async def ask(request):
    return StreamingResponse(lines(), headers=SSE_HEADERS)

app = Starlette(routes=[Route("/", ask)])
"""
_FLASK = """
from flask import Flask, Response

app = Flask("ask")

@app.get("/")
def ask():
    return Response(lines(), headers=SSE_HEADERS)
"""


class _Site(NamedTuple):
    """A program, the module that serves it, and how that is told its socket."""

    program: str
    needs: str
    command: tuple[str, ...]
    place: str


_SITES = {
    "Starlette, uvicorn": _Site(_STARLETTE, "uvicorn", ("uvicorn", "--log-level", "error", "--fd"), "{}"),
    "Flask, gunicorn, 64 threads": _Site(
        _FLASK, "flask", ("gunicorn", "-k", "gthread", "--threads", "64", "--log-level", "error", "-b"), "fd://{}"
    ),
}
_COUNT, _INTERVAL_MS = 200, 20


def run(*, quick: bool) -> list[Verdict]:
    title(
        f"relays: {_COUNT} events at {1000 // _INTERVAL_MS}/s through a web server; from the API's send to the browser"
    )
    rows: list[list[str]] = []
    verdicts = []
    for name, site in _SITES.items():
        if importlib.util.find_spec(site.needs) is None:
            rows.append([name, "not installed", *[""] * 5])
            continue
        for streams in (1, 5) if quick else (1, 20):
            with running_server() as server, _running(site, f"{server}/timed-{_COUNT}-{_INTERVAL_MS}") as (port, pid):
                p50, p99, first, cpu = _relayed(port, pid, server, streams)
            rows.append([name, str(streams), f"{p50:.2f}", f"{p99:.2f}", f"{first:.0f}", f"{cpu:.0f}", ""])
        took = _left(site, repetitions=3 if quick else 15)
        rows[-1][-1] = f"{statistics.median(took):.0f} (worst {max(took):.0f})"
        verdicts.append(
            Verdict(f"a visitor leaves, {name}, the worst", "<= 300 ms", f"{max(took):.0f} ms", max(took) <= 300)
        )
    table(["server", "streams", "p50 ms", "p99 ms", "first byte, worst ms", "µs of CPU/event", "left, ms"], rows)
    return verdicts


@contextlib.contextmanager
def _running(site: _Site, upstream: str) -> Iterator[tuple[int, int]]:
    """Serve a site; get its port and the id of its process."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        Path(folder, "site_to_measure.py").write_text(_ASK + site.program)
        number = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", *site.command, site.place.format(number), "site_to_measure:app"],
            cwd=folder,
            pass_fds=[number],
            start_new_session=True,
            env={**os.environ, "UPSTREAM": upstream, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            yield listener.getsockname()[1], process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _connected(port: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    return connection.getresponse()


def _relayed(port: int, pid: int, server: str, streams: int) -> tuple[float, float, float, float]:
    """Read so many answers at once; get p50, p99 and the worst first byte in ms, and µs of CPU."""
    delays: list[float] = []
    firsts: list[float] = []
    ready = threading.Semaphore(0)

    def read() -> None:
        before = time.monotonic()
        with _connected(port) as response:
            response.readline()  # the comment that comes first
            firsts.append((time.monotonic() - before) * 1000)
            ready.release()
            for line in response:
                if line.startswith(b"data: ") and b"text_delta" in line:
                    sent = int(json.loads(line[6:])["delta"]["text"].partition(":")[2])
                    delays.append((time.monotonic_ns() - sent) / 1e6)

    threads = [threading.Thread(target=read) for _ in range(streams)]
    with _connected(port) as warm:  # so that no import is measured
        warm.readline()
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire(timeout=60)
    before = _cpu(pid)
    let_go(server)
    for thread in threads:
        thread.join()
    parts = statistics.quantiles(delays, n=100)
    return parts[49], parts[98], max(firsts), (_cpu(pid) - before) / len(delays) * 1e6


def _cpu(pid: int) -> float:
    """Get the seconds of CPU that a process and its children have used."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for each in (str(pid), *children):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class _Upstream:
    """An API whose answers have no end, and which notes when a client hangs up."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.hung_up: Any = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(HEAD + chunked(beginning()))
        threading.Thread(target=self._send_on, args=(sock,), daemon=True).start()
        with contextlib.suppress(OSError):
            while sock.recv(65536):
                pass
        self.hung_up.append(time.monotonic())

    def _send_on(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(chunked([text_delta("word ")]))
                time.sleep(_INTERVAL_MS / 1000)

    def close(self) -> None:
        self._listener.close()


def _left(site: _Site, repetitions: int) -> list[float]:
    """Get how many ms the API's connection lives on when a visitor has left."""
    took = []
    with contextlib.closing(_Upstream()) as upstream, _running(site, f"http://127.0.0.1:{upstream.port}") as (port, _):
        for _ in range(repetitions):
            upstream.hung_up = []
            response = _connected(port)
            while b"text_delta" not in response.readline():
                pass
            response.close()
            left = time.monotonic()
            while not upstream.hung_up and time.monotonic() < left + 30:
                time.sleep(0.001)
            took.append((upstream.hung_up[0] - left) * 1000 if upstream.hung_up else float("inf"))
    return took
