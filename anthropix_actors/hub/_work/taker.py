"""The two threads of a worker: one takes jobs and begins them, one ends them.

Whatever a job or the store does, they go on: what cannot be done now is done later.
"""

from __future__ import annotations

import collections
import logging
import queue as queues
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log
from anthropix_actors.errors import ConfigurationError, ParameterError
from anthropix_actors.hub._write.writing import AGAIN
from anthropix_actors.stores import Held, StoreClosedError

if TYPE_CHECKING:
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.hub._work.in_hand import InHand
    from anthropix_actors.hub._work.run import Asks, Run
    from anthropix_actors.hub.hub import Hub

AT_ONCE = 20
"""How many jobs are taken in one go: more would starve other workers that have room."""

WAIT = 0.5
"""Seconds that one wait may take: how late it may be noticed that no more is to be taken."""

_CLOSED = (ConfigurationError, StoreClosedError)
"""What is raised where hub, client or store were closed before the worker was stopped."""

_TRIES = 3
"""How often it is tried to begin a job that raises what no job should."""


def _pause(faults: int) -> float:
    """Return how many seconds to wait after so many faults in a row."""
    return float(min(0.1 * 2 ** min(faults, 10), WAIT))


class Taker:
    """Takes jobs while there is room, and begins each.

    Args:
        client: Asks the API.
        hub: What the answers are written with.
        in_hand: The jobs that it has.
        attempts: How many workers may have a job.
        ender: Ends them.
    """

    def __init__(self, client: Asks, hub: Hub, in_hand: InHand, attempts: int, ender: Ender) -> None:
        """Take nothing yet."""
        self._client = client
        self._hub = hub
        self._in_hand = in_hand
        self._attempts = attempts
        self._ender = ender
        self._later: list[tuple[float, Run]] = []  # what could not begin, and when it is due again

    def run(self) -> None:
        """Take jobs until no more are to be taken, and give back what has not begun. In a thread of its own."""
        faults = 0
        while self._in_hand.takes:
            try:
                self._turn()
                faults = 0
            except _CLOSED as exc:
                self._ender.refuse(exc)
            except Exception as exc:  # noqa: BLE001 - a store is foreign code; whatever it is, this thread goes on
                faults += 1
                self._in_hand.note_fault(exc, first=faults == 1)
                self._in_hand.pause(_pause(faults))
        for _, run in self._later:
            run.give_back()

    def _turn(self) -> None:
        """Begin what is due again, and take as many jobs as there is room for."""
        self._ender.look_again()
        now = time.monotonic()
        due = [run for when, run in self._later if when <= now and not run.is_over]
        self._later = [(when, run) for when, run in self._later if when > now]
        for run in due:
            self._begin(run)
        wait = max(0.0, min([WAIT, *(when - now for when, _ in self._later)]))
        if room := self._in_hand.room(wait):
            self._hub.check_open()  # what is taken in the name of a holder that does not live is anybody's
            for job in self._hub.store.take(self._hub.queue, self._hub.holder, min(room, AT_ONCE), wait=wait):
                if (taken := self._in_hand.add(job, self._ender.put)) is None:
                    self._in_hand.pause(_pause(1))  # until the beat that is late has come
                else:
                    self._begin(taken)

    def _begin(self, run: Run) -> None:
        """Begin a job; one that cannot begin now begins later."""
        if not self._in_hand.takes:
            run.give_back()
            return
        try:
            run.begin(self._client, self._hub, self._attempts)
        except _CLOSED as exc:
            self._ender.refuse(exc)
            run.give_back()
        except Exception as exc:  # noqa: BLE001 - as above
            self._not_begun(run, exc)

    def _not_begun(self, run: Run, exc: Exception) -> None:
        """Try again later; but not for ever what no log can be made for."""
        run.faults += 1
        if isinstance(exc, ParameterError) and run.faults >= _TRIES:
            log(logging.ERROR, "the job %r has no log, and is dropped", run.job.id, exc_info=exc)
            run.fail(exc)
            return
        if not isinstance(exc, Held):
            self._in_hand.note_fault(exc, first=run.faults == 1)
        self._later.append((time.monotonic() + _pause(run.faults), run))


class Ender:
    """Takes jobs that are over out of the queue, or puts them back.

    Attributes:
        refused: Why no job can be asked any more, or None.
    """

    refused: AnthropixError | None = None

    def __init__(self, hub: Hub, in_hand: InHand) -> None:
        """End nothing yet."""
        self._hub = hub
        self._in_hand = in_hand
        self._over: queues.SimpleQueue[Run | None] = queues.SimpleQueue()
        self._hurry = threading.Event()
        self._ended: collections.deque[tuple[float, str, bool]] = collections.deque()  # when, what, whether finished

    def put(self, run: Run) -> None:
        """End a job soon. Any thread."""
        self._over.put(run)

    def close(self) -> None:
        """End the thread; what could not be ended by now is left to other workers. Any thread."""
        self._hurry.set()
        self._over.put(None)

    def run(self) -> None:
        """End jobs until it is closed. In a thread of its own."""
        faults = 0
        while (run := self._over.get()) is not None:
            if run.refused is not None:
                self.refuse(run.refused)
            if self._end(run, first=not faults):
                faults = 0
            else:
                self._over.put(run)  # after the others, which it is not to hold up
                faults += 1
                self._hurry.wait(_pause(faults))

    def refuse(self, error: AnthropixError) -> None:
        """Take no more jobs: none can be asked. Any thread."""
        if self.refused is None:
            log(logging.ERROR, "the worker takes no more jobs: %s", error)
        self.refused = error
        self._in_hand.take_no_more()

    def _end(self, run: Run, *, first: bool) -> bool:
        """End one; return whether that could be done."""
        store = self._hub.store
        try:
            act = store.give_back if self._goes_on(run) else store.finish
            # What was taken again is for the new run to end.
            ours = self._in_hand.has(run) and act(self._hub.queue, self._hub.holder, run.job.id)
        except StoreClosedError as exc:  # it is another worker's when the lease is over
            self.refuse(exc)
            run.end, ours = None, False
        except ParameterError as exc:  # no store takes its id: it is this worker's until that ends, and does no harm
            log(logging.ERROR, "the job %r cannot be taken out of the queue", run.job.id, exc_info=exc)
            self._in_hand.remove(run, ours=True)
            return True
        except Exception as exc:  # noqa: BLE001 - as above
            self._in_hand.note_fault(exc, first=first)
            return False
        self._in_hand.remove(run, ours=ours)
        if ours:
            self._ended.append((time.monotonic() + AGAIN, run.job.id, act == store.finish))
        return True

    def look_again(self) -> None:
        """End once more what was ended a while ago: a store that lost that has it as this worker's, while it lives.

        In the thread that takes jobs, so that none of these is on its way here. Raises what the store raises.
        """
        store = self._hub.store
        while self._ended and self._ended[0][0] <= time.monotonic():
            _, job_id, is_done = self._ended[0]
            if job_id not in self._in_hand.runs:
                state = store.state(job_id)
                if state is not None:
                    is_done = state.closed
                act = store.finish if is_done else store.give_back
                act(self._hub.queue, self._hub.holder, job_id)
            self._ended.popleft()

    def _goes_on(self, run: Run) -> bool:
        """Return whether somebody is to go on with its job.

        One whose log another has claimed is mostly theirs, and nothing happens to it. But they may have died, and the
        job be this worker's once more: then it is not done.
        """
        if run.end == "fenced":
            state = self._hub.store.state(run.job.id)
            return state is not None and not state.closed
        return run.end == "given_back"
