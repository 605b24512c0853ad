"""Ctrl-C at every place of everything that a caller's thread does; the suite tries one in so many."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from interrupted_stores import CALLS, faults, prepare

from anthropix_actors.stores import MemoryStore, SQLiteStore

from interrupted import KINDS, PLANS, everything
from servers import Server


@dataclass
class Report:
    """What the interrupts showed.

    Attributes:
        cases: How many there were.
        failures: What did not hold.
    """

    cases: int = 0
    failures: list[str] = field(default_factory=list)


def torture() -> Report:
    """Interrupt everything everywhere: the places follow from the code, so there is no seed."""
    total = Report()
    # A socket that was just made, or is just being closed, is closed by Python when nobody has it any more.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning), Server(everything) as server:
        for plan in PLANS:
            for kind in KINDS:
                found = plan.interrupted(server.url, kind)
                total.cases += found.places
                total.failures += [f"{plan}, {kind}: {fault}" for fault in found.faults]
    with tempfile.TemporaryDirectory() as folder, SQLiteStore(Path(folder) / "logs.db", synchronous="normal") as file:
        for store in (MemoryStore(), file):
            prepare(store)
            for call, kind in itertools.product(CALLS, KINDS):
                total.cases += 1
                total.failures += faults(store, call, kind)
    return total
