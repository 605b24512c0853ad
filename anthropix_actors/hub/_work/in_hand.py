"""The jobs that a worker has in hand, and what it has done so far."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from anthropix_actors._cancel.scope import slice_of
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.hub._work.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores import Job


class WorkerMetrics(msgspec.Struct, frozen=True):
    """What a worker has done so far.

    Attributes:
        running: How many jobs it has.
        taken: How many it has taken; one that was given back and taken again counts twice.
        done: How many answers were whole.
        failed: How many failed.
        cancelled: How many were cancelled.
        lost: How many were begun by a worker that has died, and could not be asked again.
        fenced: How many another worker has taken over, as this one was frozen, or cut off, for too long.
        given_back: How many it has put back, for others.
        faults: How many times something failed that was tried again, such as a call of the store.
    """

    running: int = 0
    taken: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    fenced: int = 0
    given_back: int = 0
    faults: int = 0


class InHand:
    """The jobs that a worker has. Any thread.

    Attributes:
        takes: Whether it takes more.
        runs: Id → job, in the order in which they were taken.
    """

    def __init__(self, most: int) -> None:
        """Have none; take up to `most` at once."""
        self.takes = True
        self.runs: dict[str, Run] = {}
        self._most = most
        self._counts = dict.fromkeys(WorkerMetrics.__struct_fields__, 0)
        self._changed = threading.Condition()

    def add(self, job: Job, on_end: Callable[[Run], object]) -> Run | None:
        """Have a job; return None for one that it has: it was frozen, and has got back what it had.

        One that is over is had anew: it was given back, and taken again before this was noted here.
        """
        with self._changed:
            if job.id in self.runs and not self.runs[job.id].is_over:
                return None
            run = self.runs[job.id] = Run(job, on_end)
            self._counts["taken"] += 1
            return run

    def remove(self, run: Run, *, ours: bool) -> None:
        """Have a job no more; `ours` is whether it was its own to the end."""
        with self._changed:
            end = run.end if ours or run.end is None else "fenced"
            if end is not None:
                self._counts[end] += 1
            if self.has(run):
                del self.runs[run.job.id]
            self._changed.notify_all()
        if end is not None:
            log(logging.INFO, "%s: %s after %.1f s", run.job.id, end, time.monotonic() - run.since)

    def has(self, run: Run) -> bool:
        """Return whether it has this, and not the same job anew."""
        return self.runs.get(run.job.id) is run

    def room(self, wait: float) -> int:
        """Return for how many jobs there is room, after waiting for some, for a while."""
        with self._changed:
            self._changed.wait_for(lambda: not self.takes or len(self.runs) < self._most, wait)
            return self._most - len(self.runs) if self.takes else 0

    def pause(self, seconds: float) -> None:
        """Wait, unless it takes no more."""
        with self._changed:
            self._changed.wait_for(lambda: not self.takes, seconds)

    def take_no_more(self) -> None:
        """Take no more jobs."""
        with self._changed:
            self.takes = False
            self._changed.notify_all()

    def wait(self, deadline: float | None) -> bool:
        """Wait until there are none; return whether there are."""
        with self._changed:
            while self.runs:
                if not (left := slice_of(deadline)):
                    return False
                self._changed.wait(left)
        return True

    def note_fault(self, exc: Exception, *, first: bool) -> None:
        """Count what failed and is tried again; log the first of a series."""
        with self._changed:
            self._counts["faults"] += 1
        if first:
            log(logging.WARNING, "the worker tries again what failed: %s: %s", type(exc).__name__, exc)

    def after_fork(self) -> None:
        """Have none in a forked child, and take none: a thread of the parent may have held the lock."""
        self._changed = threading.Condition()
        self.runs, self.takes = {}, False

    def metrics(self) -> WorkerMetrics:
        """Return what was done so far."""
        with self._changed:
            return WorkerMetrics(**{**self._counts, "running": len(self.runs)})


publish("anthropix_actors.hub", (WorkerMetrics,))
