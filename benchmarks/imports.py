"""What an import costs: time, in fresh interpreters, and memory."""

from __future__ import annotations

import statistics
import subprocess
import time
from functools import partial
from typing import Any

from _measure import (
    BEFORE,
    HAS_SDK,
    Older,
    Verdict,
    fresh_interpreter,
    interleaved,
    median_and_range,
    ratio,
    table,
    times,
    title,
)

_OURS = "anthropix_actors.Client"
_FACE = "anthropix_actors"
_PARTS = "requests, sseclient, pykka, msgspec"
_SDK = "anthropic"
_BARE = "nothing"
_PRINT_PEAK = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


def run(*, quick: bool) -> list[Verdict]:
    repetitions = 5 if quick else 11
    older = [_OURS + BEFORE] if Older.checkout else []
    modules = [_BARE, _PARTS, _FACE, _OURS, *older, *([_SDK] if HAS_SDK else [])]
    title(f"import: wall time of a fresh interpreter over a bare one, and its memory; median of {repetitions}")
    figures = interleaved({name: partial(_seconds, name) for name in modules}, repetitions)
    bare = statistics.median(figures[_BARE])
    over = {name: [(value - bare) * 1000 for value in values] for name, values in figures.items()}
    memory = {name: _peak_mib(name) for name in modules}
    rows = [
        [name, *median_and_range(over[name]), ratio(over[name], over[_PARTS]), f"{memory[name]:.1f}"]
        for name in modules[1:]
    ]
    table(["import", "ms", "from-to", f"x {_PARTS}", "max RSS MiB"], rows)
    print(f"(a bare interpreter: {bare * 1000:.1f} ms, {memory[_BARE]:.1f} MiB)")
    return _verdicts(over)


def _statement(name: str) -> str:
    if name.removesuffix(BEFORE) == _OURS:  # its parts are imported when they are used first: this is what a chat needs
        return f"from {_FACE} import Client; Client('key', base_url='http://127.0.0.1')"
    return "pass" if name == _BARE else f"import {name}"


def _command(name: str, more: str = "") -> dict[str, Any]:
    """Return how a fresh interpreter is run that imports something, and does `more`."""
    path = Older.checkout if name.endswith(BEFORE) else None
    return fresh_interpreter(f"{_statement(name)}\n{more}", path=path)


def _seconds(name: str) -> float:
    start = time.perf_counter()
    subprocess.run(**_command(name), check=True)
    return time.perf_counter() - start


def _peak_mib(name: str) -> float:
    # Not getrusage: there a child begins with what its parent had.
    done = subprocess.run(**_command(name, _PRINT_PEAK), check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def _verdicts(over: dict[str, list[float]]) -> list[Verdict]:
    more = times(over[_OURS], over[_PARTS])
    verdicts = [Verdict(f"import, against that of {_PARTS}", "<= 1.2 x", f"{more:.2f} x", more <= 1.2)]
    if _SDK in over:
        parts = times(over[_SDK], over[_OURS])
        verdicts.append(Verdict("import, against the SDK's", "<= 1/8", f"1/{parts:.1f}", parts >= 8))
    return verdicts
