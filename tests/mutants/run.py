"""Runs mutants: each in a fork of a process that has imported and collected everything, with the tests of its line.

What is changed there is the code of the functions that are there already. What runs when a module is imported cannot be
changed so; such a mutant has a process of its own (`cold`).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.abc
import importlib.util
import os
import selectors
import signal
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings

import servers
from mutants.operators import changed

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator, Sequence

    from mutants.operators import Mutant

AT_ONCE = 2 * (os.cpu_count() or 1)
"""Mutants at a time: many of them make a test wait for what does not come."""

PATIENCE = 5.0
"""Seconds after which a test gives up such a wait."""

SLOWEST = 4.0
"""Seconds that a test may take at the least before it hangs; beyond, many times as long as it took unchanged."""

TIMES = 5.0
COLD_TESTS = 80
NOT_SO, FAILED, PASSED = 77, 1, 0
"""What a child returns: it could not be changed in this way; a test failed; none did."""

KILLED, SURVIVED, HANGS, UNTESTED = "killed", "survived", "hangs", "no test"


@dataclass
class Job:
    """A mutant and its tests.

    Attributes:
        mutant: The mutant.
        number: Which of its module's.
        tests: The ids of its tests, in the order in which they are run.
    """

    mutant: Mutant
    number: int
    tests: list[str]


@dataclass
class _Child:
    job: Job
    pid: int
    pipe: int
    cold: bool
    since: float = field(default_factory=time.monotonic)
    test: int = 0

    def limit(self, seconds: dict[str, float]) -> float:
        if self.cold:
            return 30.0 + TIMES * sum(seconds.get(name, 1.0) for name in self.job.tests[:COLD_TESTS])
        name = self.job.tests[self.test]
        return SLOWEST + TIMES * seconds.get(name, 1.0)


def source_of(module: str) -> tuple[Path, str]:
    found = importlib.util.find_spec(f"anthropix_actors.{module}")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin)
    return path, path.read_text("utf-8")


class Runner:
    """A plugin that runs mutants in place of the tests.

    Args:
        jobs: What is to be done.
        seconds: How long each test takes.
        done: Called with each mutant, its state, and the test that decided.
    """

    def __init__(
        self, jobs: Sequence[Job], seconds: dict[str, float], done: Callable[[Job, str, str], object], tests: Path
    ) -> None:
        self._jobs = list(jobs)
        self._seconds = seconds
        self._done = done
        self._tests = tests
        self._items: dict[str, pytest.Item] = {}
        self._functions: dict[str, list[FunctionType]] = {}

    def pytest_collection(self) -> None:
        """Before the tests are imported: one example that fails is enough, and need not be the smallest."""
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", settings.get_profile("suite"), phases=phases, report_multiple_bugs=False)
        settings.load_profile("mutants")
        servers.DEADLINE = PATIENCE

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        if unknown := {name for job in self._jobs for name in job.tests} - self._items.keys():
            raise KeyError(unknown)  # in a child, it would be taken for a test that fails
        gc.collect()
        self._functions = {module: functions(module) for module in {job.mutant.module for job in self._jobs}}
        gc.freeze()  # or each child would copy all of it by counting references
        running: dict[int, _Child] = {}
        waiting = [(job, not job.mutant.function) for job in self._jobs]
        with selectors.DefaultSelector() as selector:
            while waiting or running:
                while waiting and len(running) < AT_ONCE:
                    job, cold = waiting.pop(0)
                    child = self._fork(job, cold=cold)
                    running[child.pipe] = child
                    selector.register(child.pipe, selectors.EVENT_READ)
                for key, _ in selector.select(timeout=0.2):
                    child = running[key.fd]
                    if (test := _test_in(os.read(key.fd, 4))) is not None:
                        child.test = min(test, len(child.job.tests) - 1)
                        child.since = time.monotonic()
                        continue
                    selector.unregister(key.fd)
                    del running[key.fd]
                    if self._ended(child) == NOT_SO:
                        waiting.insert(0, (child.job, True))
                for child in running.values():
                    if time.monotonic() - child.since > child.limit(self._seconds):
                        with contextlib.suppress(ProcessLookupError):
                            os.killpg(child.pid, signal.SIGKILL)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(FAILED)  # a child; what the test began ends with it

    def _fork(self, job: Job, *, cold: bool) -> _Child:
        reads, writes = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writes)
            with contextlib.suppress(OSError):  # it was faster
                os.setpgid(pid, pid)
            return _Child(job, pid, reads, cold)
        os.setpgid(0, 0)
        _die_with_parent()
        os.close(reads)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)
        status = FAILED
        try:
            if cold:
                self._exec(job, writes)
            status = self._child(job, writes)
        finally:
            os._exit(status)

    def _exec(self, job: Job, pipe: int) -> None:
        os.set_inheritable(pipe, True)  # noqa: FBT003 - its end is the process's end
        what = [job.mutant.module, str(job.number), str(self._tests.parent), *job.tests[:COLD_TESTS]]
        os.execv(sys.executable, [sys.executable, "-P", "-m", "mutants.cold", *what])

    def _child(self, job: Job, pipe: int) -> int:
        try:
            mutate(job.mutant, job.number, self._functions[job.mutant.module])
        except ValueError:  # other free variables
            return NOT_SO
        items = [self._items[name] for name in job.tests]
        for number, (item, following) in enumerate(zip(items, [*items[1:], None], strict=True)):
            os.write(pipe, struct.pack("i", number))
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return PASSED

    def _ended(self, child: _Child) -> int:
        os.close(child.pipe)
        status = _status(child.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # what it has started
        code = os.waitstatus_to_exitcode(status)
        if code == NOT_SO:
            return code
        state = SURVIVED if code == PASSED else HANGS if code == -signal.SIGKILL else KILLED
        test = "" if state == SURVIVED else child.job.tests[child.test]
        self._done(child.job, state, test)
        return code


def _test_in(data: bytes) -> int | None:
    """Get what a child has written: that it begins with a test; None at its end."""
    if not data:
        return None
    return max(0, int(struct.unpack("i", data)[0])) if len(data) == struct.calcsize("i") else 0


def _status(pid: int) -> int:
    """Get a child's status, a moment after its pipe was closed: it may have closed that by mistake, and go on."""
    deadline = time.monotonic() + SLOWEST
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.001)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _die_with_parent() -> None:
    """Have Linux end this process when the one that started it ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def codes(code: CodeType) -> Iterator[CodeType]:
    """Get the code of all functions, but those within functions."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if "<locals>" not in each.co_qualname:
                yield each
            yield from codes(each)


def mutate(mutant: Mutant, number: int, functions: list[FunctionType]) -> None:
    """Change one of the functions of a module that is imported.

    Raises:
        ValueError: that cannot be done.
    """
    path, source = source_of(mutant.module)
    new = compile(changed(source, number), str(path), "exec", dont_inherit=True)
    wanted = {(each.co_qualname, each.co_firstlineno): each for each in codes(new)}
    found = 0
    for thing in functions:
        code = wanted.get((thing.__code__.co_qualname, thing.__code__.co_firstlineno))
        if code is not None and code.co_qualname == mutant.function:
            thing.__code__ = code
            found += 1
    if not found:
        raise ValueError(mutant.function)


def functions(module: str) -> list[FunctionType]:
    """Get all functions of a module that are there, also those that something else wraps."""
    path = str(source_of(module)[0])
    return [each for each in gc.get_objects() if type(each) is FunctionType and each.__code__.co_filename == path]


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module in another form."""

    def __init__(self, module: str, number: int) -> None:
        self._name = f"anthropix_actors.{module}"
        self._module = module
        self._number = number

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:  # noqa: ARG002
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        self._path, source = source_of(self._module)
        self._tree: ast.Module = changed(source, self._number)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: Any) -> None:
        exec(compile(self._tree, str(self._path), "exec", dont_inherit=True), module.__dict__)
