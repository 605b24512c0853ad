"""The thread that watches chats from outside: timeouts, chats without subscribers, interpreter exit, fork.

One sweeper thread per process, alive only while chats run, and after them until no connection is idle any more. It
checks each chat ten times a second, and its only action is to cancel; and it closes connections that nobody uses.

One watched object cannot harm another: exceptions of its `sweep` are logged, on another thread, as no code that may
block runs on this one: neither a subscriber's nor a logging handler's.

A finalizer may run in any thread, at any allocation, even while that thread holds a lock. So it takes no lock: it posts
an action to the sweeper (`SimpleQueue.put` is made for that), which ends the sweeper's wait for the next tick.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from anthropix_actors._foreign.late_imports import ENDING
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import ASKER, in_background
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 0.1
"""Seconds between two sweeps: how late a timeout may be."""


class Watched(Protocol):
    """A chat, a blocking call, or the queue of waiting chats, as the sweeper sees it."""

    cancel_first: bool
    """Whether to cancel this first: the queue, or each cancelled chat would start the next."""

    def sweep(self, now: float) -> None:
        """Cancel it if it exceeds a timeout or has no subscribers. In the sweeper's thread."""

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel it; return a function that waits, up to a timeout in seconds, until its subscribers know.

        In the thread that runs `Sweeper.cancel_all`.
        """
        ...

    def after_fork(self) -> None:
        """Mark it as finished in a forked child: thread and connection belong to the parent. In the forking thread."""


class Expiring(Protocol):
    """The idle connections of a client, as the sweeper sees them."""

    def expire(self, now: float) -> None:
        """Close those that have been idle for too long; add itself to `Sweeper.idle` if any are left.

        In the sweeper's thread.
        """


class ForkAware(Protocol):
    """An object that has to start afresh in a forked child."""

    def after_fork(self) -> None:
        """Drop everything that belongs to the parent. In the forking thread, which is the child's only one."""


class Sweeper:
    """The thread that watches running chats. There is one, `SWEEPER`."""

    def __init__(self) -> None:
        """Start with nothing to watch, and no thread."""
        # Reentrant, as a signal handler may cancel a chat while the thread it interrupts starts another.
        self._lock = threading.RLock()
        self._watched: set[Watched] = set()
        # Added to without the lock, by threads that are mostly watched themselves meanwhile: so the sweeper's is alive.
        self.idle: set[Expiring] = set()
        # Made with the first thread: a program may patch `queue` and `threading` after the import, as gevent does.
        self._posted: queue.SimpleQueue[Callable[[], object]] | None = None
        self._thread: threading.Thread | None = None
        self.ending = False  # the interpreter is exiting: from Python 3.12 on, no more threads can be started
        self.fork_listeners: weakref.WeakSet[ForkAware] = weakref.WeakSet()

    def watch(self, chat: Watched) -> None:
        """Watch a chat until `unwatch`. Any thread.

        Raises:
            AnthropixError: the sweeper's thread could not be started, or the interpreter is exiting.
        """
        if sys.is_finalizing():  # a thread would never start, and on Python 3.11 `start` would wait for it for ever
            raise AnthropixError(ENDING)
        with self._lock:
            try:
                self._watched.add(chat)
                self._ensure_thread()
            except BaseException as exc:
                self._watched.discard(chat)
                if not isinstance(exc, RuntimeError):
                    raise
                raise AnthropixError(f"no thread to watch timeouts: {exc}") from exc

    def watch_idle(self, connections: Expiring) -> None:
        """Have connections closed when they expire. Any thread."""
        self.idle.add(connections)
        if self._thread is None and not self.ending:  # others told the end of a chat, whose thread reads on a little
            with self._lock, contextlib.suppress(RuntimeError):  # no thread: a later request closes them
                self._ensure_thread()

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # Ctrl-C may come before it starts
            self._posted = self._posted or queue.SimpleQueue()
            self._thread = threading.Thread(target=self._run, name="anthropix-sweeper", daemon=True)
            self._thread.start()

    def unwatch(self, chat: Watched) -> None:
        """Watch a chat no longer. Any thread."""
        with self._lock:
            self._watched.discard(chat)
            if not self._watched:
                self.wake()  # the thread ends, or waits for idle connections only

    def wake(self) -> None:
        """Let the thread look now, if there is one, not at its next tick. Any thread."""
        if self._thread is not None:
            self.post(_nothing)

    def post(self, action: Callable[[], object]) -> None:
        """Run an action in the sweeper's thread, soon. Takes no lock, so a finalizer may call it. Any thread."""
        if (posted := self._posted) is not None:  # else nothing was ever watched
            posted.put(action)

    def run_elsewhere(self, action: Callable[[], object], name: str) -> None:
        """Run an action that may block, on a thread of its own; if none can be started, the next sweep tries again.

        From Python 3.12 on, no thread can be started while the interpreter exits. Then the action runs here, else no
        subscriber would get its terminal message. If it blocks, it delays those of other chats; the exit waits no
        longer than `patience`. In the sweeper's thread.
        """
        if not in_background(action, name) and self.ending:
            action()

    def cancel_all(self, reason: str, *, patience: float) -> None:
        """Cancel every chat, and wait until their subscribers know, for at most `patience` seconds.

        This includes chats that start meanwhile, queued or started by a subscriber.
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

    def after_fork(self) -> None:
        """Start afresh in a forked child, where only the forking thread lives on."""
        watched, fork_listeners = self._watched, list(self.fork_listeners)
        self.__init__()  # type: ignore[misc] # a thread that no longer exists may hold any part of it
        failed: list[Exception] = []
        for thing in [*watched, *fork_listeners]:
            try:
                thing.after_fork()
            except Exception as exc:  # noqa: BLE001 - a bug of this package, for which no other may keep what is the parent's
                failed.append(exc)
        self.fork_listeners.update(fork_listeners)
        if failed:
            raise ExceptionGroup("in a forked child", failed)

    def _run(self) -> None:
        posted: Any = self._posted
        while True:
            with contextlib.suppress(queue.Empty):
                self._safely(posted.get(timeout=TICK))
            self._act_on(posted)
            self._expire(time.monotonic())
            with self._lock:
                if not self._watched and not self.idle:
                    self._thread = None
                    break
            self._look(time.monotonic())
        self._act_on(posted)  # what was posted when this thread seemed to go on

    def _act_on(self, posted: Any) -> None:
        """Run what has been posted by now: all of it before one look at all chats."""
        with contextlib.suppress(queue.Empty):  # where the next sweeper's thread takes it as well
            for _ in range(posted.qsize()):
                self._safely(posted.get_nowait())

    def _expire(self, now: float) -> None:
        """Have connections closed that have been idle for too long."""
        for each in list(self.idle):
            self.idle.discard(each)  # it adds itself again if any are left
            self._safely(partial(each.expire, now))

    def _look(self, now: float) -> None:
        """Sweep all once. A method of its own, as the loop's variable would keep the last chat alive."""
        for chat in self._those_watched():
            self._safely(partial(chat.sweep, now))

    def _safely(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException as exc:  # noqa: BLE001 - a bug of this package, which must not end the timeouts of all others
            ASKER.ask(partial(log, logging.ERROR, "an error in the sweeper", exc_info=exc))

    def _those_watched(self) -> set[Watched]:
        with self._lock:
            return set(self._watched)


def _nothing() -> None:
    """Do nothing: an action that only ends a wait."""


SWEEPER = Sweeper()
SWEEPER.fork_listeners.add(ASKER)
