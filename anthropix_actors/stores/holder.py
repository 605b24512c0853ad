"""This process, as a holder in a store: what it has claimed is nobody else's as long as it beats.

A forked child holds nothing.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors.stores.beat import LEASE, Beat
from anthropix_actors.stores.log import Held

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores.log import Log


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
        self._beat = Beat(self.store, self.name, self.lease)
        self._held: dict[str, int] = {}  # name of a log → the epoch of its claim
        self._claiming: set[str] = set()
        self._leave: dict[str, Callable[[str], object]] = {}  # name of a log → what gives it up

    def claim(self, name: str, *, take_over: bool = False) -> int:
        """Claim a log, and hold it; return the epoch.

        Args:
            name: The log.
            take_over: Whether to take it from who holds it, which will be `Fenced` as it writes.

        Raises:
            Held: somebody has it, who lives; perhaps this process itself.
            StoreError: the store cannot be asked.
            AnthropixError: there is no thread that could beat, or the interpreter is exiting.
        """
        with self._lock:
            if (name in self._held or name in self._claiming) and not take_over:
                raise Held(name, self.name, "it is in use in this process")
            self._claiming.add(name)  # to the store, two threads of a process are one holder
        try:
            return self._claim(name, take_over=take_over)
        finally:
            self._claiming.discard(name)

    def _claim(self, name: str, *, take_over: bool) -> int:
        self._beat.hold()
        try:
            epoch = self._claimed(name, take_over=take_over)
            self._keep(name, epoch)
        except BaseException:
            self._beat.let_go()
            raise
        return epoch

    def _claimed(self, name: str, *, take_over: bool) -> int:
        if take_over:
            self.store.claim(name)
        try:
            return self.store.claim(name, self.name)
        except Held as exc:
            when = f"it is free when that gives it up, or some {self.lease:g} s after its end"
            raise Held(name, exc.holder, f"{when}; take_over=True takes it now") from None

    def _keep(self, name: str, epoch: int) -> None:
        with self._lock:
            SWEEPER.watch(self)
            if name in self._held:  # this process has taken it from itself
                self._beat.let_go()
            self._held[name] = epoch

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
                self._beat.let_go()
            if not self._held:
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
