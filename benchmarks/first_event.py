"""How long a fresh script takes to its first piece of text: import, client, connection, request."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from _measure import HAS_SDK, Verdict, interleaved, median_and_range, ratio, table, times, title
from _server import running_server

_OURS = "ours"
_SDK = "SDK"

_SCRIPTS = {
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
    _SDK: """
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
    title(f"first_event: a fresh process, from the script's first line to the first text; median of {repetitions}")
    names = [_OURS, *([_SDK] if HAS_SDK else [])]
    with running_server() as server:
        runs = {name: partial(_milliseconds, _SCRIPTS[name], f"{server}/text-100") for name in names}
        figures = interleaved(runs, repetitions)
    rows = [[name, *median_and_range(figures[name]), ratio(figures[name], figures[_OURS])] for name in names]
    table(["", "ms", "from-to", "x ours"], rows)
    if _SDK not in figures:
        return []
    parts = times(figures[_SDK], figures[_OURS])
    return [Verdict("first text of a fresh process, against the SDK's", "<= 1/6", f"1/{parts:.1f}", parts >= 6)]


def _milliseconds(script: str, url: str) -> float:
    command = [sys.executable, "-P", "-c", script, url]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1000
