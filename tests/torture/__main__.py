"""Torture the package, and print a report. `make torture` runs this; see docs/reliability.md.

Bounded: some twenty minutes on two cores. The seed is printed; given again, the same faults, cancels and plans
are tried.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from torture import everywhere, foreign, kills, matrix, patience, pool, schedules, sdk, torn_talks, turns
from torture.before import before
from torture.during import during
from torture.report import (
    Part,
    bent,
    conversations,
    counted,
    encrypted,
    faults,
    killed,
    limited,
    plans,
    queued,
    report,
    side_by_side,
)
from torture.tls import cancels, runs

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND = 1000
"""How many random chats are run at a time."""

SCHEDULES_FOR = 60.0
"""Seconds after which no more of them are begun; of conversations, too."""

TALKS = 200
"""How many random conversations are had at a time."""

PACKAGES = ("pykka", "requests", "urllib3", "sseclient-py", "msgspec", "anthropic")


def main() -> int:
    options = _options()
    start = time.monotonic()
    parts = []
    for name in options.only or PARTS:
        print(f"{name}:", flush=True)
        parts.append(PARTS[name](options.seed))
    found = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores; {found}"
    text = report(parts, seed=options.seed, seconds=time.monotonic() - start, where=where)
    print(f"\n{text}")
    if options.report:
        options.report.write_text(text, encoding="utf-8")
    return int(any(part.failures for part in parts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="by default another each"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="part", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--report", type=Path, help="a file to write the report to, too")
    return parser.parse_args()


def _matrix(seed: int) -> Part:
    return faults(matrix.torture(seed))


def _tls(seed: int) -> Part:
    return encrypted(runs.torture(seed), cancels.torture())


def _schedules(seed: int) -> Part:
    total = schedules.Report()
    end = time.monotonic() + SCHEDULES_FOR
    while time.monotonic() < end:
        total += schedules.torture(seed, first=total.chats, count=ROUND)
    return plans(total)


def _turns(seed: int) -> Part:
    total = turns.Report()
    end = time.monotonic() + SCHEDULES_FOR
    while time.monotonic() < end:
        total += turns.torture(seed, first=total.plans, count=TALKS)
    return conversations(total)


def _torn_talks(seed: int) -> Part:
    return counted("Conversations whose processes are killed", "kills", torn_talks.torture(seed))


def _pool(seed: int) -> Part:
    return queued([pool.torture(seed, chats=5000, at_once=100), pool.torture(seed, chats=1000, at_once=1)])


def _foreign(seed: int) -> Part:
    return counted("Other people's code", "kinds of code", foreign.torture(seed))


def _patience(seed: int) -> Part:
    return counted("Slow transfers and changing limits", "transfers and schedules", patience.torture(seed))


def _interrupts(_: int) -> Part:
    return counted("Ctrl-C everywhere", "interrupts", everywhere.torture())


def _kills(seed: int) -> Part:
    with tempfile.TemporaryDirectory() as folder:
        return killed(kills.torture(seed, folder=Path(folder), redis=shutil.which("redis-server") is not None))


def _load(_: int) -> Part:
    import load  # noqa: PLC0415 - of the benchmarks, whose folder must be on the path

    return bent(load.measured(load.OURS, chats=1000, seconds=60, interval_ms=200))


def _limits(_: int) -> Part:
    import limits  # noqa: PLC0415 - as above

    return limited(limits.measured(2000, 60.0))


def _sdk(seed: int) -> Part:
    cases = [*before(), *during()]
    ours = {str(each.run.case): each.ended for each in matrix.alone(seed, cases)}
    return side_by_side(cases, ours, sdk.tried(cases) if sdk.INSTALLED else None)


PARTS: dict[str, Callable[[int], Part]] = {
    "faults": _matrix,
    "tls": _tls,
    "schedules": _schedules,
    "turns": _turns,
    "torn_talks": _torn_talks,
    "foreign": _foreign,
    "patience": _patience,
    "interrupts": _interrupts,
    "pool": _pool,
    "kills": _kills,
    "load": _load,
    "limits": _limits,
    "sdk": _sdk,
}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


if __name__ == "__main__":
    sys.exit(main())
