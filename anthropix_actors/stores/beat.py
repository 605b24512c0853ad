"""The beat of a holder: what it has claimed is nobody else's as long as it goes on.

A holder that is stopped for longer than its lease (a suspended laptop, SIGSTOP) loses what it holds to whoever claims
it, and finds that out as it writes: it is `Fenced`.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import start_thread
from anthropix_actors.errors import AnthropixError
from anthropix_actors.stores.log import StoreClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores.log import Log

LEASE = 10.0
"""Seconds that a holder lives after its last beat, unless it says otherwise."""

_BEATS, _TRIES = 3, 10
"""How often a holder beats in a lease, so one may be lost, and the next be late; how often while the store is away."""


class Beat:
    """Says that a holder lives, while it holds anything. Any thread; one thread beats, and ends with what is held.

    A forked child has no such thread: it makes a beat of its own, for a holder of another name.

    Args:
        store: Where it is said.
        holder: The holder.
        lease: For how many seconds, each time; it is said three times as often.

    Example:
        >>> from anthropix_actors.stores import MemoryStore
        >>> store = MemoryStore()
        >>> beat = Beat(store, "worker-1", LEASE)
        >>> beat.hold()
        >>> epoch = store.claim("answer-17", "worker-1")
        >>> store.state("answer-17").holder
        'worker-1'
        >>> beat.let_go()
        >>> beat.close()
    """

    def __init__(self, store: Log, holder: str, lease: float) -> None:
        """Hold nothing, without a thread."""
        self._store = store
        self._holder = holder
        self._lease = lease
        self._held = 0
        self._said = -lease  # when it was said last, on the monotonic clock
        self._lock = threading.RLock()  # reentrant: a signal handler may come in the middle of it
        self._wake = threading.Event()
        self._afterwards: list[tuple[float, Callable[[], object]]] = []
        self._thread: threading.Thread | None = None

    def hold(self) -> None:
        """Hold one thing more. The holder lives when this returns.

        Raises:
            StoreError: the store could not be reached.
            AnthropixError: there is no thread to beat.
        """
        if time.monotonic() - self._said > self._lease / 2:
            self._say()
        with self._lock:
            if self._thread is None:
                self._start()
            self._held += 1

    def let_go(self) -> None:
        """Hold one thing less."""
        with self._lock:
            self._held -= 1
            if self._held <= 0:
                self._wake.set()

    def afterwards(self, action: Callable[[], object], seconds: float = 0.0) -> None:
        """Do something in the store after a beat that arrives, the next one, or one in so many seconds.

        It may raise, and is done again after another beat.

        Where no beat comes, as nothing is held, the holder is over, and all that it has claimed is free.
        """
        self._afterwards.append((time.monotonic() + seconds, action))

    def close(self) -> None:
        """End, within a lease: what is held is free."""
        with self._lock:
            self._held = 0
            self._wake.set()
        if (thread := self._thread) is not None:
            thread.join(self._lease)
        try:
            self._store.beat(self._holder, 0)
        except Exception as exc:  # noqa: BLE001 - of the store, and this is to end
            log(logging.WARNING, "the end of %s could not be said; it comes by itself", self._holder, exc_info=exc)

    def _start(self) -> None:
        try:
            self._thread = start_thread(self._run, "anthropix-beat")
        except RuntimeError as exc:
            raise AnthropixError(f"no thread to say that {self._holder} lives: {exc}") from exc

    def _say(self) -> None:
        now = time.monotonic()
        self._store.beat(self._holder, self._lease)
        self._said = now

    def _run(self) -> None:
        pause = self._lease / _BEATS
        while self._goes_on(pause):
            try:
                self._say()
                self._do_what_is_due()
                pause = self._lease / _BEATS
            except StoreClosedError:  # who writes finds that out as well
                with self._lock:
                    self._thread = None
                return
            except BaseException as exc:  # noqa: BLE001 - of the store, which may be anybody's
                pause = self._lease / _TRIES
                log(logging.WARNING, "the beat of %s failed; what it holds may be lost", self._holder, exc_info=exc)

    def _do_what_is_due(self) -> None:
        for each in [*self._afterwards]:
            due, action = each
            if time.monotonic() >= due:
                action()
                self._afterwards.remove(each)

    def _goes_on(self, pause: float) -> bool:
        """Wait until it is time to beat, or nothing is held any more; return whether to beat."""
        at = time.monotonic() + pause
        while (left := at - time.monotonic()) > 0:
            self._wake.wait(left)
            with self._lock:
                self._wake.clear()
                if self._held <= 0:
                    self._thread = None
                    return False
        return True
