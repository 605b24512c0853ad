"""How long it takes to the first piece of text: for a fresh script, and for a request on a connection that is there."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

from _measure import (
    HAS_SDK,
    WAYS,
    Verdict,
    Worker,
    fresh_interpreter,
    interleaved,
    median_and_range,
    ratio,
    table,
    times,
    title,
)
from _pipelines import BLOCKING, ITERATOR, NAMES, pipeline
from _server import running_server

if TYPE_CHECKING:
    from collections.abc import Callable

_RAW = "raw socket"
_OURS = "ours"
_SDK_CREATE = "SDK create"
_SDK_STREAM = "SDK stream"
_REQUESTS = 50
"""How many are made on one connection in each turn."""

_LEAST = {"plain": 6, "over TLS": 8}
"""How many times as long a fresh process with the SDK takes."""

_SCRIPTS = {
    _RAW: """
import time; start = time.perf_counter()
import json, socket, ssl, sys
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
sock = socket.create_connection((url.hostname, url.port))
if url.scheme == "https":
    sock = ssl.create_default_context().wrap_socket(sock, server_hostname=url.hostname)
sock.sendall(f"POST {url.path}/v1/messages HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 0\\r\\n\\r\\n".encode())
for line in sock.makefile("rb"):
    if line.startswith(b"data: ") and json.loads(line[6:])["type"] == "content_block_delta":
        print(time.perf_counter() - start)
        break
""",
    _OURS: """
import time; start = time.perf_counter()
import sys
from anthropix_actors import Client

client = Client("key", base_url=sys.argv[1])
hello = [{"role": "user", "content": "Hello"}]
for text in client.chat(model="claude-sonnet-5", max_tokens=1024, messages=hello, stream=True).text:
    print(time.perf_counter() - start)
    break
""",
    _SDK_CREATE: """
import time; start = time.perf_counter()
import sys
from anthropic import Anthropic

client = Anthropic(api_key="key", base_url=sys.argv[1])
hello = [{"role": "user", "content": "Hello"}]
with client.messages.create(model="claude-sonnet-5", max_tokens=1024, messages=hello, stream=True) as stream:
    for event in stream:
        if event.type == "content_block_delta":
            print(time.perf_counter() - start)
            break
""",
    _SDK_STREAM: """
import time; start = time.perf_counter()
import sys
from anthropic import Anthropic

client = Anthropic(api_key="key", base_url=sys.argv[1])
hello = [{"role": "user", "content": "Hello"}]
with client.messages.stream(model="claude-sonnet-5", max_tokens=1024, messages=hello) as stream:
    for text in stream.text_stream:
        print(time.perf_counter() - start)
        break
""",
}


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 3 if quick else 11
    verdicts = []
    for way, encrypted in WAYS.items():
        with running_server(encrypted=encrypted) as server:
            turns = 2 * repetitions  # a process of its own takes a third more in one turn than in the next
            title(f"first_event: fresh process, {way}, from its first line to the first text; median of {turns}")
            verdicts += _cold(server, turns, way)
            title(f"first_event: on a connection that is there, {way}; median of {repetitions} medians of {_REQUESTS}")
            _warm(server, repetitions)
    return verdicts


def _cold(server: str, repetitions: int, way: str) -> list[Verdict]:
    names = [_RAW, _OURS, *((_SDK_CREATE, _SDK_STREAM) if HAS_SDK else ())]
    url = f"{server}/text-1"  # a model's first text comes alone
    runs = {name: partial(_milliseconds, _SCRIPTS[name], url) for name in names}
    figures = interleaved(runs, repetitions)
    table(["", "ms", "from-to", "x ours"], [_row(name, figures[name], figures[_OURS]) for name in names])
    least, verdicts = _LEAST[way], []
    for sdk in names[2:]:
        parts = times(figures[sdk], figures[_OURS])
        what = f"first text of a fresh process, {way}, against {sdk}"
        verdicts.append(Verdict(what, f"<= 1/{least}", f"1/{parts:.1f}", parts >= least))
    return verdicts


def _warm(server: str, repetitions: int) -> None:
    names = [name for name in NAMES if name != BLOCKING]  # it has no text before the last
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(_asker, name, f"{server}/text-10")) for name in names}
        figures = interleaved(workers, repetitions)
    table(["", "ms", "from-to", "x ours"], [_row(name, figures[name], figures[ITERATOR]) for name in names])


def _row(name: str, values: list[float], ours: list[float]) -> list[str]:
    return [name, *median_and_range(values, 2), ratio(values, ours)]


def _milliseconds(script: str, url: str) -> float:
    done = subprocess.run(**fresh_interpreter(script, url), check=True, capture_output=True, text=True)
    return float(done.stdout) * 1000


def _asker(name: str, url: str) -> Callable[[], float]:
    read = pipeline(name, url)

    def first_text() -> float:
        came: list[float] = []
        start = time.perf_counter()
        read(lambda _: came.append(time.perf_counter()))
        return (came[0] - start) * 1000

    return lambda: statistics.median(first_text() for _ in range(_REQUESTS))
