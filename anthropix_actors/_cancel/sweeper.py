"""What looks after chats from outside: timeouts, chats that nobody listens to, interpreter exit, fork.

One sweeper thread per process, alive only while chats run. It looks at each of them ten times a second, and does
nothing to them but cancel.

One watched thing cannot harm another: what a look at it raises is logged, on another thread, as nothing that may block
runs on this one: no subscriber's code, and no handler of the logger's.

A finalizer may run in any thread, at any allocation, also while that thread holds a lock. So it takes none: it posts
what it wants done to the sweeper (`SimpleQueue.put` is made for that), whose wait for the next tick it ends.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import sys
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import ASKER
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 0.1
"""Seconds between two looks: how late a timeout may be."""

EXIT_PATIENCE = 1.0
"""Seconds that the interpreter's exit waits for chats to end."""


class Watched(Protocol):
    """A chat, or the queue of those that wait for their turn, seen by the sweeper."""

    cancel_first: bool
    """Whether it is cancelled before the others: else each that is cancelled would let another one begin."""

    def sweep(self, now: float) -> None:
        """Cancel what took too long, or what nobody listens to."""

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel it; get a function that waits, for some seconds at most, until its subscribers have heard."""
        ...

    def after_fork(self) -> None:
        """Be over, in a forked child: the thread and the connection belong to the parent."""


class ForkAware(Protocol):
    """What has to start afresh in a forked child."""

    def after_fork(self) -> None:
        """Leave to the parent what is the parent's."""


class Sweeper:
    """The thread that watches running chats. There is one, `SWEEPER`."""

    def __init__(self) -> None:
        """Start with nothing to watch, and no thread."""
        # Reentrant, as a signal handler may cancel a chat while the thread it interrupts starts another.
        self._lock = threading.RLock()
        self._watched: set[Watched] = set()
        # Made with the first thread: a program may patch `queue` and `threading` after the import, as gevent does.
        self._posted: queue.SimpleQueue[Callable[[], object]] | None = None
        self._thread: threading.Thread | None = None
        self.ending = False  # the interpreter is: from Python 3.12 on, no more threads can be had
        self.fork_listeners: weakref.WeakSet[ForkAware] = weakref.WeakSet()

    def watch(self, chat: Watched) -> None:
        """Look after a chat until `unwatch`. Any thread.

        Raises:
            AnthropixError: there is no thread to look after it, or the interpreter is ending.
        """
        if sys.is_finalizing():  # a thread would never start, and on Python 3.11 `start` would wait for it for ever
            raise AnthropixError("the interpreter is ending; nothing more is sent")
        with self._lock:
            try:
                self._watched.add(chat)
                if self._thread is None or not self._thread.is_alive():  # Ctrl-C may come before it starts
                    self._posted = self._posted or queue.SimpleQueue()
                    self._thread = threading.Thread(target=self._run, name="anthropix-sweeper", daemon=True)
                    self._thread.start()
            except BaseException as exc:
                self._watched.discard(chat)
                if not isinstance(exc, RuntimeError):
                    raise
                raise AnthropixError(f"no thread to look after timeouts: {exc}") from exc

    def unwatch(self, chat: Watched) -> None:
        """Look after it no longer. Any thread."""
        with self._lock:
            self._watched.discard(chat)
            if not self._watched:
                self.post(_nothing)  # wakes the thread, which ends

    def post(self, action: Callable[[], object]) -> None:
        """Have something done by the sweeper, soon. Takes no lock, so a finalizer may call it."""
        if (posted := self._posted) is not None:  # else nothing has ever run
            posted.put(action)

    def cancel_all(self, reason: str, *, patience: float) -> None:
        """Cancel every chat, and wait until their subscribers have heard, for `patience` seconds at most.

        Those, too, that begin meanwhile, as it is their turn or as a subscriber wants it.
        """
        deadline = time.monotonic() + patience
        parted: set[Watched] = set()
        while new := self._those_watched() - parted:
            parted |= new
            partings = [each.cancel_and_join(reason) for each in sorted(new, key=lambda each: not each.cancel_first)]
            for wait in partings:
                wait(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                return

    def end(self) -> None:
        """Cancel all, as the interpreter exits; another Ctrl-C, or `sys.exit()`, cuts the wait short."""
        self.ending = True
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            self.cancel_all("the interpreter exits", patience=EXIT_PATIENCE)

    def after_fork(self) -> None:
        """Start afresh in a forked child, where only the forking thread lives on."""
        watched, fork_listeners = self._watched, list(self.fork_listeners)
        self.__init__()  # type: ignore[misc] # every part of it may be held by a thread that is no more
        for thing in [*watched, *fork_listeners]:
            thing.after_fork()
        self.fork_listeners.update(fork_listeners)

    def _run(self) -> None:
        posted: Any = self._posted
        while True:
            try:
                action = posted.get(timeout=TICK)
            except queue.Empty:
                action = _nothing
            self._safely(action)
            del action
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        """Look at all once. A method of its own, as the loop's variable would keep the last of them alive."""
        for chat in self._those_watched():
            self._safely(partial(chat.sweep, now))

    def _safely(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as exc:  # noqa: BLE001 - a bug of ours, which must not end the timeouts of all others
            ASKER.ask(partial(log, logging.ERROR, "an error in the sweeper", exc_info=exc))

    def _those_watched(self) -> set[Watched]:
        with self._lock:
            return set(self._watched)


def _nothing() -> None:
    """Do nothing, but be an item that ends a wait."""


SWEEPER = Sweeper()
SWEEPER.fork_listeners.add(ASKER)

# Finalizers, too, run at exit, and urllib3's close the idle connections. They come after this, if one was made before.
weakref.finalize(SWEEPER, _nothing)
atexit.register(SWEEPER.end)
if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=SWEEPER.after_fork)
