"""Two thousand chats and the API's limits: how long they take, with the client's governor and with retries alone.

The emulator has the limits, as the API has them: buckets of a minute, filled without a break.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from _measure import Verdict, Worker, table, title

from anthropix_actors import ChatDone, ChatFailed, Client
from anthropix_actors.emulator import Emulator, Limits

if TYPE_CHECKING:
    from collections.abc import Callable

GOVERNED = "with its governor"
ALONE = "retries alone"

_PROMPT = "word " * 14
_ANSWER = "word " * 40
_ENOUGH = 100
"""Retries; with fewer, some of the chats that retry on their own would fail."""

_AT_ONCE = 50
"""Or all would be let in before their output, which is taken as it is written, has used up the limit of that."""

_KINDS = ("requests", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class Figures:
    """What one run showed.

    Attributes:
        chats: How many there were.
        best: The seconds that it takes at the least.
        seconds: Those that it took.
        refused: The requests that were refused, as a part of all.
        failed: The chats that failed.
    """

    chats: int
    best: float
    seconds: float
    refused: float
    failed: int

    def cells(self) -> list[str]:
        """Get what goes into a table, after the names."""
        ratio = self.seconds / self.best
        return [f"{self.best:.1f}", f"{self.seconds:.1f}", f"{ratio:.2f}", f"{self.refused:.1%}", str(self.failed)]


def run(*, quick: bool) -> list[Verdict]:
    chats, seconds = (200, 5.0) if quick else (2000, 60.0)
    title(f"limits: {chats:,} chats, buckets of {seconds:.0f} s")
    found = measured(chats, seconds)
    rows = [[kind, name, *figures.cells()] for (kind, name), figures in found.items()]
    table(["limit of", "", "best s", "took s", "x best", "refused", "failed"], rows)
    verdicts = []
    for kind in _KINDS:
        figures = found[kind, GOVERNED]
        ratio = figures.seconds / figures.best
        what = f"{chats:,} chats under a limit of {kind.replace('_', ' ')}"
        met = ratio <= 1.15 and not figures.failed
        verdicts.append(Verdict(f"{what}: time", "<= 1.15 x the best", f"{ratio:.2f} x", met))
        verdicts.append(Verdict(f"{what}: refused", "< 2 %", f"{figures.refused:.1%}", figures.refused < 0.02))
    return verdicts


def measured(chats: int, seconds: float) -> dict[tuple[str, str], Figures]:
    """Run all of them, those of one limit side by side; each has an emulator and a process of its own."""
    found = {}
    for kind in _KINDS:
        with (
            Worker(_make, GOVERNED, kind, chats, seconds) as governed,
            Worker(_make, ALONE, kind, chats, seconds) as alone,
            ThreadPoolExecutor() as pool,
        ):
            limit = 10 * seconds + 60
            results = pool.submit(governed, limit), pool.submit(alone, limit)
            for name, result in zip((GOVERNED, ALONE), results, strict=True):
                found[kind, name] = result.result()
    return found


def _make(name: str, kind: str, chats: int, seconds: float) -> Callable[[], Figures]:
    return partial(_run, name, kind, chats, seconds)


def _run(name: str, kind: str, chats: int, seconds: float) -> Figures:
    """Let as much in as makes the best time that of one bucket."""
    per_minute = round(chats * _need(kind) / (2 * seconds) * 60)
    limits: Any = dict.fromkeys(_KINDS, 10**9) | {kind: per_minute}
    with Emulator(limits=Limits(**limits, seconds=seconds), handler=lambda _: _ANSWER) as emulator:
        ends = _Ends()
        governed = name == GOVERNED
        client = Client(
            "key",
            base_url=emulator.url,
            proxy="",
            governor=governed,
            max_retries=2 if governed else _ENOUGH,
            max_concurrency=_AT_ONCE,
        )
        start = time.monotonic()
        for _ in range(chats):
            client.chat(**_ask(), stream=ends)
        for _ in range(chats):
            ends.one.acquire()
        took = time.monotonic() - start
        client.close()
        asked = len(emulator.requests)
    return Figures(chats, seconds, took, (asked - chats) / asked, ends.failed)


def _ask() -> dict[str, Any]:
    return {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": _PROMPT}]}


def _need(kind: str) -> int:
    """Get how much of a limit one chat takes."""
    with Emulator(handler=lambda _: _ANSWER) as emulator, Client("key", base_url=emulator.url, proxy="") as client:
        usage: Any = client.chat(**_ask())["usage"]
    return 1 if kind == "requests" else int(usage[kind])


class _Ends:
    """Counts the chats that end."""

    def __init__(self) -> None:
        self.one = threading.Semaphore(0)
        self.failed = 0

    def tell(self, message: Any, /) -> None:
        if isinstance(message, (ChatDone, ChatFailed)):
            self.failed += isinstance(message, ChatFailed)
            self.one.release()
