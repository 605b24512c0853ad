"""`Worker`: takes jobs out of a store while it has room, and streams each answer into a log that anybody follows."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._cancel.scope import deadline_of
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._checks.call_errors import explains
from anthropix_actors._checks.shapes import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ConfigurationError, ParameterError, Problem
from anthropix_actors.hub._work.in_hand import InHand, WorkerMetrics
from anthropix_actors.hub._work.taker import WAIT, Ender, Taker
from anthropix_actors.hub.hub import Hub
from anthropix_actors.stores.names import JOBS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.hub._work.run import Asks
    from anthropix_actors.stores import Store

_PARTING = 5.0
"""Seconds, at most, that `stop` waits until what it has cancelled is in the store."""


class Worker:
    """Answers the jobs of a store, as `Hub.submit` puts them, until it is stopped. All methods may be called anywhere.

    A job is had by one worker at a time, which says with beats that it lives. When it dies, another one takes over: an
    answer of which no reader was told anything is asked for again; one that was begun is `Lost`, as its log then says,
    with the part that there is, or, if the job was submitted with `retry_lost=True`, asked for again. After `attempts`
    workers that died, a job is `Lost`, too. A worker that was frozen meanwhile finds that its log has another writer,
    and cancels its chat.

    Args:
        client: A `Client`, which asks the API; its `max_concurrency` and `governor` hold as well.
        store: A `Store`; or a `Hub`, which stays yours to close, with a `queue`, a `lease` and a `ttl` of its own.
        queue: The queue of jobs.
        concurrency: How many jobs it has at once.
        attempts: How many workers may have a job.
        lease: Seconds after which another worker takes over from one that does not beat any more.
        ttl: Seconds that a log is kept after its end.

    Attributes:
        hub: The `Hub` that it writes with; `hub.holder` is its name in the store.

    Raises:
        ParameterError: an argument is of the wrong kind.

    Example:
        >>> from anthropix_actors import Hub
        >>> from anthropix_actors.stores import MemoryStore
        >>> store = MemoryStore()
        >>> with Worker(client, store), Hub(store) as hub:
        ...     name = hub.submit({"model": "claude-sonnet-5", "messages": hello})
        ...     hub.result(name, timeout=60)["stop_reason"]
        'end_turn'
    """

    @explains("Worker")
    def __init__(  # noqa: PLR0913 - options of a front door, by name
        self,
        client: Asks,
        store: Store | Hub,
        *,
        queue: str = JOBS,
        concurrency: int = 200,
        attempts: int = 3,
        lease: float = 10.0,
        ttl: float = 3600.0,
    ) -> None:
        """Take nothing yet: `start` does."""
        _check(client, concurrency=concurrency, attempts=attempts)
        self._owns_hub = not isinstance(store, Hub)
        self.hub = store if isinstance(store, Hub) else Hub(store, lease=lease, ttl=ttl, queue=queue)
        self._in_hand = InHand(concurrency)
        self._ender = Ender(self.hub, self._in_hand)
        self._taker = Taker(client, self.hub, self._in_hand, attempts, self._ender)
        self._life = contextlib.ExitStack()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Show its name in the store, and how many jobs it has."""
        return f"<Worker {self.hub.holder}, {len(self._in_hand.runs)} jobs>"

    @property
    def refused(self) -> AnthropixError | None:
        """Why it takes no more jobs, though it was not stopped; or None.

        An `AuthenticationError`: the API does not take the key. A `ConfigurationError` or `StoreClosedError`: client,
        hub or store were closed first. It gives back all jobs of which nobody was told anything.
        """
        return self._ender.refused

    def start(self) -> Self:
        """Take jobs from now on; return the worker itself.

        Raises:
            ConfigurationError: it was started before, or stopped.
            StoreError: the store could not be reached.
        """
        with self._lock:
            if self._threads or not self._in_hand.takes:
                raise ConfigurationError("the worker was started, or stopped, before; make another one")
            with contextlib.ExitStack() as life:
                life.enter_context(self.hub.lives())  # what it takes is its own from the first moment to the last
                SWEEPER.watch(self)
                life.callback(SWEEPER.unwatch, self)
                self._life = life.pop_all()
            self._threads = [
                threading.Thread(target=run, name=f"anthropix-{name}", daemon=True)
                for name, run in (("worker", self._taker.run), ("worker-ends", self._ender.run))
            ]
            for thread in self._threads:
                thread.start()
        return self

    def drain(self, timeout: float | None = None) -> bool:
        """Take no more jobs, and wait until those that it has are finished. What has not begun goes back.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Returns:
            Whether all are finished.
        """
        deadline = deadline_of(timeout)
        self._in_hand.take_no_more()
        return self._in_hand.wait(deadline)

    def stop(self) -> None:
        """Take no more jobs, and end those that it has. A second call does nothing.

        Jobs of which nobody was told anything, or that were submitted with `retry_lost=True`, go back, for other
        workers; the other answers are `Lost`, as their logs then say. So it is when the interpreter exits, or client or
        hub are closed before the worker was stopped.
        """
        self._in_hand.take_no_more()
        with self._lock:
            threads, self._threads = self._threads, []
        if threads:
            threads[0].join(2 * WAIT)  # it begins nothing any more
            for run in [*self._in_hand.runs.values()]:
                run.stop()
            self.drain(_PARTING)
            self._ender.close()
            for thread in threads:
                thread.join(_PARTING)
            self._life.close()
        if self._owns_hub:
            self.hub.close()

    # For the sweeper

    cancel_first = True
    """Or it would begin others in place of those that are cancelled."""

    def sweep(self, now: float) -> None:
        """Do nothing: it is there to be told of the interpreter's exit."""

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:  # noqa: ARG002 - its chats are told that
        """Take no more jobs; return a function that waits, up to a timeout, until those that it has are given up."""
        self._in_hand.take_no_more()
        taker = self._threads[:1]

        def join(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            for thread in taker:  # it gives back what it has just taken
                thread.join(timeout)
            self._in_hand.wait(deadline)

        return join

    def after_fork(self) -> None:
        """Have nothing in a forked child: it is the parent's."""
        self._in_hand.after_fork()
        self._life = contextlib.ExitStack()
        self._threads = []
        self._lock = threading.Lock()

    # Any thread

    def metrics(self) -> WorkerMetrics:
        """Return what it has done so far."""
        return self._in_hand.metrics()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Stop."""
        self.stop()


def _check(client: object, **counts: object) -> None:
    problems = []
    if not callable(getattr(client, "chat", None)):
        problems.append(Problem("client", f"expected a Client, got {shown(client)}"))
    problems += [
        Problem(name, f"expected an integer from 1, got {shown(value)}")
        for name, value in counts.items()
        if isinstance(value, bool) or not isinstance(value, int) or value < 1
    ]
    if problems:
        raise ParameterError(problems)


publish("anthropix_actors.hub", (Worker,))
