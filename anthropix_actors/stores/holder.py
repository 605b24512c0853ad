"""This process, as a holder in a store: what it has claimed is nobody else's as long as it beats. One thread beats.

A holder that is stopped for longer than its lease (a suspended laptop, SIGSTOP) loses what it holds to whoever claims
it, and finds that out as it writes: it is `Fenced`. A forked child holds nothing.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import in_background
from anthropix_actors.stores.log import Held, StoreClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores.log import Log

LEASE = 10.0
"""Seconds that a holder lives after its last beat, unless it says otherwise."""

BEATS = 3
"""How often a holder beats in a lease: so one beat may be lost, and the next be late."""


class Holder:
    """Claims logs, and holds them until they are released. All methods may be called from any thread.

    Args:
        store: Where the logs are.
        lease: Seconds that it lives after its last beat.

    Attributes:
        name: What it is called in the store; no other process has this name.

    Example:
        >>> from anthropix_actors.stores import MemoryStore
        >>> store = MemoryStore()
        >>> mine, other = Holder(store), Holder(store)
        >>> epoch = mine.claim("talk-17")
        >>> other.claim("talk-17")
        Traceback (most recent call last):
        ...
        anthropix_actors.stores.Held: the log 'talk-17' belongs to '...', which lives; ...
        >>> mine.release("talk-17", epoch)
        >>> other.release("talk-17", other.claim("talk-17"))
    """

    cancel_first = False

    def __init__(self, store: Log, lease: float = LEASE) -> None:
        """Hold nothing; no thread runs."""
        self.store = store
        self.lease = lease
        self._start_afresh()
        SWEEPER.fork_listeners.add(self)

    def _start_afresh(self) -> None:
        self.name = f"{socket.gethostname()[:64]}-{os.getpid()}-{secrets.token_hex(6)}"
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._held: dict[str, int] = {}  # name of a log → the epoch of its claim
        self._leave: dict[str, Callable[[str], object]] = {}  # name of a log → what gives it up
        self._beating = False

    def claim(self, name: str, *, take_over: bool = False) -> int:
        """Claim a log, and hold it; return the epoch.

        Args:
            name: The log.
            take_over: Whether to take it from who holds it, which will be `Fenced` as it writes.

        Raises:
            Held: somebody has it, who lives; perhaps this process itself.
            StoreError: the store cannot be asked.
        """
        with self._lock:
            held_here = name in self._held
        if held_here and not take_over:
            raise Held(name, self.name, "it is in use in this process")
        self.store.beat(self.name, self.lease)
        if take_over:
            self.store.claim(name)
        try:
            epoch = self.store.claim(name, self.name)
        except Held as exc:
            when = f"it is free when that gives it up, or some {self.lease:g} s after its end"
            raise Held(name, exc.holder, f"{when}; take_over=True takes it now") from None
        with self._lock:
            self._held[name] = epoch
            begins, self._beating = not self._beating, True
            if begins:
                SWEEPER.watch(self)
        if begins:
            in_background(self._beat, "anthropix-holder")
        return epoch

    def at_exit(self, name: str, leave: Callable[[str], object]) -> None:
        """Have a log given up at the interpreter's exit: `leave(reason)` is to have it released soon."""
        with self._lock:
            self._leave[name] = leave

    def release(self, name: str, epoch: int) -> None:
        """Give a log up, unless another has it: then it is left alone.

        Raises:
            StoreError: the store cannot be asked. It is free when the lease is over.
        """
        with self._lock:
            if self._held.get(name) != epoch:
                return
        try:
            state = self.store.state(name)
            if state is not None and (state.epoch, state.holder) == (epoch, self.name):
                self.store.claim(name)  # by nobody
        finally:  # and not before: until then, the interpreter's exit waits for it
            self._forget(name, epoch)

    def _forget(self, name: str, epoch: int) -> None:
        with self._lock:
            if self._held.get(name) == epoch:
                del self._held[name]
                self._leave.pop(name, None)
            if not self._held:
                self._wake.set()

    def _beat(self) -> None:
        """Beat as long as something is held. In its thread."""
        while True:
            self._wake.wait(self.lease / BEATS)
            with self._lock:
                self._wake.clear()
                if not self._held:
                    self._end_beat()
                    return
            try:
                self.store.beat(self.name, self.lease)
            except StoreClosedError:  # who writes finds that out as well
                self._end_beat()
                return
            except Exception as exc:  # noqa: BLE001 - the store's code, which may raise anything
                log(logging.WARNING, "a store does not take a beat; what is held may be lost", exc_info=exc)

    def _end_beat(self) -> None:
        with self._lock:
            self._beating = False
            SWEEPER.unwatch(self)

    # For the sweeper

    def sweep(self, now: float) -> None:
        """Do nothing: it is there to be told of the interpreter's exit."""

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Have all logs given up; return a function that waits for that, up to a timeout."""
        with self._lock:
            leave = [*self._leave.values()]
        for each in leave:
            each(reason)

        def join(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            while self._held and time.monotonic() < deadline:
                time.sleep(0.001)  # at exit there is nothing else to do

        return join

    def after_fork(self) -> None:
        """Hold nothing in a forked child: it is the parent's."""
        self._start_afresh()


class Holders:
    """The holders of this process, one for each store and lease that is in use. There is one, `HOLDERS`."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.RLock()
        # A holder keeps its store: as long as it is here, no other store has this id.
        self._known: weakref.WeakValueDictionary[tuple[int, float], Holder] = weakref.WeakValueDictionary()
        SWEEPER.fork_listeners.add(self)

    def of(self, store: Any, lease: float = LEASE) -> Holder:
        """Return the holder of a store, which is made if there is none."""
        with self._lock:
            key = id(store), lease
            found = self._known.get(key)
            if found is None:
                found = self._known[key] = Holder(store, lease)
            return found

    def after_fork(self) -> None:
        """Replace the lock in a forked child: a thread of the parent may have held it."""
        self._lock = threading.RLock()


HOLDERS = Holders()
