"""Conversations in a file, whose processes are killed a thousand times; another goes on with each."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torn

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 4
KILLS = 50
"""How often the process of one conversation is killed."""


@dataclass
class Report:
    """What was tried, and what went wrong."""

    cases: int = 0
    failures: list[str] = field(default_factory=list)


def torture(seed: int, *, talks: int = 20, say: Callable[[str], object] = print) -> Report:
    """Kill the processes of so many conversations."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder, torn.Torn(Path(folder)) as world, ThreadPoolExecutor(AT_ONCE) as pool:
        for found in pool.map(partial(_one, world, seed), range(talks)):
            report.cases += KILLS
            report.failures += found
        report.failures += [world.errors] if world.errors else []
    say(f"  {report.cases} processes were killed, {len(report.failures)} failures")
    return report


def _one(world: torn.Torn, seed: int, number: int) -> list[str]:
    try:
        torn.torture(world, f"talk-{number}", kills=KILLS, seed=seed + number)
    except Exception as exc:  # noqa: BLE001 - each is reported
        return [f"talk {number}: {exc!r}"]
    return []
