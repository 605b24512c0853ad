"""Measure what the project promises, side by side with the alternatives, and say which promises are kept.

Everything runs against a server on loopback; no key is needed. Run it by `python benchmarks` or `make bench`.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import accumulate
import batch_results
import bridges
import calm
import cancel
import cancel_many
import events
import first_event
import hub
import imports
import latency
import limits
import load
import many_chats
import redis_stores
import relays
import slow
import stores
import turns
import uploads
import windows
from _measure import Older, Verdict, table, title

BENCHMARKS = {
    "events": events.run,
    "accumulate": accumulate.run,
    "cancel": cancel.run,
    "cancel_many": cancel_many.run,
    "import": imports.run,
    "first_event": first_event.run,
    "latency": latency.run,
    "calm": calm.run,
    "concurrent": many_chats.run,
    "load": load.run,
    "limits": limits.run,
    "slow": slow.run,
    "turns": turns.run,
    "stores": stores.run,
    "bridges": bridges.run,
    "relays": relays.run,
    "redis": redis_stores.run,
    "batch_results": batch_results.run,
    "uploads": uploads.run,
    "windows": windows.run,
    "hub": hub.run,
}
_PACKAGES = ("anthropix-actors", "pykka", "requests", "sseclient-py", "msgspec", "anthropic")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(BENCHMARKS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and smaller sizes")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="FOLDER",
        help="a checkout to compare with, by `events`, `import` and `batch_results`",
    )
    arguments = parser.parse_args()
    if arguments.before and not (arguments.before / "anthropix_actors").is_dir():
        parser.error(f"--before: there is no package anthropix_actors in {arguments.before}")
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    Older.checkout = arguments.before and arguments.before.resolve()
    start = time.monotonic()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; {', '.join(map(_version, _PACKAGES))}")
    verdicts: list[Verdict] = []
    for name in arguments.names or BENCHMARKS:
        verdicts += BENCHMARKS[name](quick=arguments.quick)
    title(f"summary ({time.monotonic() - start:.0f} s)")
    table(["promise", "target", "measured", ""], [[v.what, v.target, v.measured, _word(v)] for v in verdicts])


def _word(verdict: Verdict) -> str:
    return "met" if verdict.met else "MISSED"


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} -"


if __name__ == "__main__":
    main()
