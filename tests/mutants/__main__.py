"""Change the core a little, see that a test notices, and go on with the next change: `make mutants`.

What no test notices is explained in `survivors.toml`, or it is a failure; so is an explanation whose change is no more.
What is explained is not tried, but with `--explained`: it takes long, as all tests are run that might notice it.
`MODULES="limits.model_limits limits.governor"` names modules; `SAMPLE=50 SEED=3` takes some by chance. Interrupted, it
goes on where it was (in .mutants), as long as neither the package nor the tests change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mutants import cover
from mutants.operators import Mutant, mutants
from mutants.run import HANGS, KILLED, SURVIVED, UNTESTED, Job, Runner, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

CORE = (
    *(
        "_tasks.delivery",
        "_tasks.mailbox",
        "_tasks.window",
        "_tasks.window_delivery",
        "chat.coalescing",
        "chat.merging",
        "chat.event_queue",
        "_tasks.task",
        "_tasks.audience",
        "_tasks.flag",
        "_tasks.supervised",
        "_tasks.actor",
        "_tasks.ref",
        "_tasks.waits",
        "_tasks.concurrency",
        "_calls.registry",
        "_calls.request_factory",
        "_cancel.scope",
        "_cancel.socket_shutdown",
        "_foreign.threads",
        "limits.model_limits",
        "limits.headers",
        "limits.limit_estimate",
        "limits.governor",
    ),
    *(
        "_http.requester",
        "_http.backoff",
        "_http.attempt_scope",
        "_http.stall_timer",
        "_http.retry",
        "_http.api_errors",
        "batches.actor",
        "batches.task",
        "batches.delivered",
        "batches.results_actor",
        "batches.results",
        "sessions.follower",
        "sessions.actor",
        "sessions.ref",
        "sessions.task",
        "chat.accumulate",
    ),
    *("chat.block", "chat.resume", "usage", "content", "_checks.paths", "_cancel.sweeper", "_cancel.exit_and_fork"),
)
OWN = {
    "_tasks.delivery": "_tasks/test_delivery _tasks/test_ends",
    "_tasks.mailbox": "_tasks/test_delivery _tasks/test_ends",
    "chat.coalescing": "_tasks/test_delivery _tasks/test_ends",
    "chat.event_queue": "_tasks/test_delivery chat/test_stream",
    "_tasks.task": "_tasks/test_ends _foreign/test_log _cancel/test_sweeper _tasks/test_concurrency",
    "_tasks.flag": "_tasks/test_ends test_client",
    "_tasks.audience": "_tasks/test_ends _tasks/test_concurrency chat/test_actor",
    "_tasks.supervised": "test_timeouts _foreign/test_log _calls/test_blocking",
    "_tasks.actor": "_tasks/test_ends test_client chat/test_actor _cancel/test_cancel",
    "_tasks.ref": "_tasks/test_ends test_client chat/test_actor _cancel/test_cancel",
    "_tasks.waits": "_calls/test_blocking _tasks/test_ends test_client",
    "_calls.registry": "_tasks/test_ends test_client _calls/test_blocking",
    "_cancel.scope": "_cancel/test_scope _cancel/test_cancel",
    "_cancel.socket_shutdown": "_cancel/test_scope _cancel/test_cancel",
    "_foreign.threads": "_cancel/test_sweeper _tasks/test_delivery _tasks/test_ends",
    "limits.headers": "limits/test_model_limits",
    "_http.api_errors": "_http/test_retry test_errors",
    "limits.limit_estimate": "limits/test_limit_estimate limits/test_model_limits",
    "_http.attempt_scope": "_http/test_attempt_scope test_timeouts",
    "_http.requester": "test_timeouts test_client _http/test_retry _http/test_auth _foreign/test_log",
    "batches.actor": "batches/test_batches batches/test_faults",
    "batches.task": "batches/test_batches batches/test_faults batches/test_as_lists",
    "batches.delivered": "batches/test_batches batches/test_faults batches/test_as_lists",
    "batches.results_actor": "batches/test_batches batches/test_faults",
    "batches.results": "batches/test_batches batches/test_faults",
    "sessions.follower": "sessions/test_sessions",
    "sessions.actor": "sessions/test_sessions",
    "sessions.ref": "sessions/test_sessions",
    "sessions.task": "sessions/test_sessions",
    "chat.accumulate": "chat/test_accumulate chat/test_resume",
    "chat.block": "chat/test_accumulate",
    "_cancel.exit_and_fork": "_cancel/test_sweeper processes/test_end processes/test_fork",
    "usage": "test_usage test_ledger",
}
"""Which tests come first, as they look at what a module does: of others, the one of its name."""

TESTS = Path(__file__).parents[1]
SURVIVORS = Path(__file__).with_name("survivors.toml")
CACHE = TESTS.parent / ".mutants"

Key = tuple[str, str, str, str, int]


def main() -> int:
    options = _options()
    start = time.monotonic()
    chosen = [each for module in options.modules or CORE for each in _numbered(module)]
    if options.sample:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
        chosen.sort(key=lambda each: (each[1].module, each[0]))
    folder = CACHE / _stamp()
    folder.mkdir(parents=True, exist_ok=True)
    covered = _covered(folder)
    results = _Results(folder / "results.jsonl")
    passed_over = set() if options.explained else _explained()
    jobs = [Job(each, number, _tests(each, covered)) for number, each in chosen if each.name not in passed_over]
    for job in jobs:
        if not job.tests:
            results.add(job, UNTESTED, "")
    left = [job for job in jobs if job.mutant.key not in results.known]
    print(f"{len(chosen)} changes, {len(left)} of them to be tried", flush=True)
    if left:
        runner = Runner(left, covered["seconds"], results.add, TESTS)
        pytest.main(cover.arguments(TESTS), plugins=[runner])
    failed = _report([each for _, each in chosen], results)
    print(f"{time.monotonic() - start:.0f} s")
    return failed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--modules", nargs="+", metavar="module", help=f"of {', '.join(CORE)}")
    parser.add_argument("--sample", type=int, help="so many, by chance")
    parser.add_argument("--explained", action="store_true", help="try also those that are explained")
    parser.add_argument("--seed", type=int, default=0, help="for the sample")
    return parser.parse_args()


def _numbered(module: str) -> list[tuple[int, Mutant]]:
    return list(enumerate(mutants(module, source_of(module)[1])))


def _stamp() -> str:
    """Get what changes with the package, the tests and the interpreter."""
    digest = hashlib.sha256(sys.version.encode())
    for folder in (cover.PACKAGE, TESTS):
        for path in sorted(folder.rglob("*.py")):
            if "mutants" not in path.parts or path.name == "operators.py":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _covered(folder: Path) -> Any:
    path = folder / "covered.json"
    if not path.exists():
        print("which test runs which line", flush=True)
        command = [sys.executable, "-P", "-m", "mutants.cover", str(TESTS), str(path)]
        subprocess.run(command, cwd=TESTS.parent, env=os.environ, check=True, stdout=subprocess.DEVNULL)
    covered = json.loads(path.read_text("utf-8"))
    if covered["failed"]:
        print(f"not used, as they fail or are skipped unchanged: {', '.join(covered['failed'])}")
    return covered


def _tests(mutant: Mutant, covered: Any) -> list[str]:
    """Get the tests that run a mutant's lines: those of its module first, and the quick ones first."""
    lines = covered["lines"].get(mutant.module, {})
    if mutant.function:
        found = {name for line in range(mutant.line, mutant.last + 1) for name in lines.get(str(line), ())}
    else:  # it runs on import
        found = {name for names in lines.values() for name in names}
    folder, _, name = mutant.module.rpartition(".")
    own = [f"{name}.py" for name in OWN.get(mutant.module, f"{folder}/test_{name}".lstrip("/")).split()]
    seconds = covered["seconds"]
    return sorted(found, key=lambda name: (not any(each in name for each in own), seconds.get(name, 9.0), name))


class _Results:
    """What came of each mutant; kept in a file as it comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: dict[Key, tuple[str, str]] = {}
        self._count = 0
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                key, state, test = json.loads(line)
                self.known[tuple(key)] = (state, test)

    def add(self, job: Job, state: str, test: str) -> None:
        self.known[job.mutant.key] = (state, test)
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps([job.mutant.key, state, test]) + "\n")
        self._count += 1
        if state == SURVIVED or self._count % 100 == 0:
            sys.__stdout__.write(f"{self._count}: {state}: {job.mutant}\n")  # type: ignore[union-attr]
            sys.__stdout__.flush()  # type: ignore[union-attr]


def _explained() -> set[str]:
    kinds = tomllib.loads(SURVIVORS.read_text("utf-8"))["kind"]
    return {name for kind in kinds for name in kind["changes"]}


def _report(chosen: Sequence[Mutant], results: _Results) -> int:
    explained = _explained()
    state = {each: results.known.get(each.key, (SURVIVED, ""))[0] for each in chosen}  # or it was passed over
    left = [each for each in chosen if state[each] in (SURVIVED, UNTESTED)]
    modules: dict[str, Counter[str]] = {}
    for each in chosen:
        for name in (each.module, "all"):
            found = modules.setdefault(name, Counter())
            found[state[each]] += 1
            found["explained"] += each.name in explained and each in left
    print("\n| module | changes | noticed | explained | not noticed |\n|---|---|---|---|---|")
    for name, found in sorted(modules.items(), key=lambda each: each[0] == "all"):
        noticed, survived = found[KILLED] + found[HANGS], found[SURVIVED] + found[UNTESTED]
        figures = (noticed + survived, noticed, found["explained"], survived - found["explained"])
        print(f"| {name} | {' | '.join(map(str, figures))} |")
    unexplained = [each for each in left if each.name not in explained]
    known = {each.name for module in modules if module != "all" for _, each in _numbered(module)}
    stale = [name for name in explained - known if name.partition(":")[0] in modules]
    noticed_now = explained & {each.name for each in chosen if state[each] == KILLED}
    _list("survive, and nobody says why", [str(each) for each in unexplained])
    _list("are explained, and are no more", sorted(stale))
    _list("are explained, and noticed now", sorted(noticed_now))
    return int(bool(unexplained or stale))


def _list(what: str, things: Sequence[str]) -> None:
    if things:
        print(f"\n{len(things)} {what}:")
        for each in things:
            print(f"  {each}")


if __name__ == "__main__":
    sys.exit(main())
