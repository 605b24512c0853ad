"""How things are measured, and how that is said.

Machines are noisy. So what is to be compared runs in turn, A B C A B C, each in a process of its own that has nothing
else to do; of all its runs the median counts.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import multiprocessing
import os
import statistics
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from _server import allow_many_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path
    from types import TracebackType
    from typing import Self

Result = TypeVar("Result")

HAS_SDK = importlib.util.find_spec("anthropic") is not None
MIB = 1 << 20
WAYS = {"plain": False, "over TLS": True}
"""How what is measured travels, and whether that is encrypted."""


@dataclass(frozen=True)
class Verdict:
    """One line of the summary: a promise, and what was measured."""

    what: str
    target: str
    measured: str
    met: bool


class Older:
    """A checkout of an older version, to be measured in the same run.

    Attributes:
        checkout: Its folder, or None.
    """

    checkout: Path | None = None


BEFORE = ", before"
"""What the name of a row ends with that is measured with that version."""


class Worker(Generic[Result]):
    """A fresh process that makes something to run, `make(*args)`, and runs it whenever it is called."""

    def __init__(self, make: Callable[..., Callable[[], Result]], *args: Any, package: Path | None = None) -> None:
        """Start the process; `package` is a folder from which it takes our package, in place of the present one."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, make, args), daemon=True)
        here = sys.path[:]
        if package is not None:
            sys.path.insert(0, str(package))  # the process starts with a copy of it
        try:
            self._process.start()
        finally:
            sys.path[:] = here
        theirs.close()

    def __call__(self, limit: float = 300) -> Result:
        """Run it once.

        Raises:
            TimeoutError: it did not end within `limit` seconds.
            RuntimeError: it raised; the text is its traceback.
        """
        self._pipe.send("run")
        if not self._pipe.poll(limit):
            raise TimeoutError(f"not done within {limit:.0f} s")
        result: Result
        error, result = self._pipe.recv()
        if error:
            raise RuntimeError(error)
        return result

    def __enter__(self) -> Self:
        """Get the worker itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _work(pipe: Connection, make: Callable[..., Callable[[], Any]], args: tuple[Any, ...]) -> None:
    allow_many_descriptors()
    run = make(*args)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while pipe.recv():
            try:
                pipe.send(("", run()))
            except Exception:  # noqa: BLE001 - whoever asked is told
                pipe.send((traceback.format_exc(), None))


def interleaved(workers: Mapping[str, Callable[[], Result]], repetitions: int) -> dict[str, list[Result]]:
    """Call each in turn, `repetitions` times, after one turn that does not count."""
    for run in workers.values():
        run()
    results: dict[str, list[Result]] = {name: [] for name in workers}
    for _ in range(repetitions):
        for name, run in workers.items():
            results[name].append(run())
    return results


def fresh_interpreter(script: str, *arguments: str, path: object = None) -> dict[str, Any]:
    """Return how `subprocess.run` runs a script in an interpreter of its own.

    Args:
        script: Its text.
        arguments: Its arguments.
        path: A folder to import from first, in place of what the environment says.
    """
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or a checkout, unlike what pip installs, is compiled each time
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return {"args": [sys.executable, "-P", "-c", script, *arguments], "env": environment}


def cpu_of(run: Callable[[], object]) -> float:
    """Get the seconds of CPU that this process needs for it, all threads together."""
    gc.collect()
    start = time.process_time()
    run()
    return time.process_time() - start


def rss() -> int:
    """Get the bytes of memory that this process has at present."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - the plainest way is the quickest
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def forget_peak_rss() -> None:
    """Let `peak_rss` count from now on."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as clear_refs:  # noqa: PTH123 - as above
        clear_refs.write("5")


def peak_rss() -> int:
    """Get the most bytes of memory that this process ever had, or has had since `forget_peak_rss`.

    Not from `getrusage`: there a process begins with what its parent had.
    """
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def median_and_range(values: Sequence[float], digits: int = 1) -> tuple[str, str]:
    """Get a median, and from where to where the values went, as texts."""
    return f"{statistics.median(values):.{digits}f}", f"{min(values):.{digits}f}-{max(values):.{digits}f}"


def title(text: str) -> None:
    print(f"\n{text}\n", flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns: the first flush left, the others flush right."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    for first, *others in lines:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        print("  ".join(cells).rstrip(), flush=True)


def times(values: Sequence[float], units: Sequence[float]) -> float:
    """Get how many times the units the values are: the median of each turn's ratio.

    Not the ratio of two medians: where a machine's speed changes from turn to turn, it would compare two speeds.
    """
    return statistics.median(value / unit for value, unit in zip(values, units, strict=True))


def ratio(values: Sequence[float], units: Sequence[float]) -> str:
    """Get `times` as a text."""
    number = times(values, units)
    return f"{number:.2f}" if number < 10 else f"{number:.1f}"
