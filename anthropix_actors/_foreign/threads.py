"""Foreign code on threads of its own, for threads that must not wait for it: above all the sweeper's.

A subscriber's `is_alive` may block, raise, or take a lock of its program. So it is called here, one at a time, and
the sweeper reads the latest result. A call that does not return keeps its thread, and the others get a new one.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log, shown

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 1.0
"""Seconds after which a call that has not returned is abandoned."""

IDLE = 0.5
"""Seconds after which a thread without actions ends."""


def start_thread(action: Callable[..., object], name: str, *arguments: object) -> threading.Thread:
    """Start an action on a new daemon thread, and return the thread.

    Raises:
        RuntimeError: no thread could be started.
    """
    if sys.is_finalizing():  # Python 3.11 would wait for ever for a thread that can no longer begin
        raise RuntimeError("the interpreter is ending")
    thread = threading.Thread(target=action, args=arguments, name=name, daemon=True)
    thread.start()
    return thread


def in_background(action: Callable[[], object], name: str) -> bool:
    """Start an action on a new daemon thread; return False if no thread could be started."""
    try:
        start_thread(action, name)
    except RuntimeError:
        return False
    return True


class Asker:
    """The thread that runs foreign code for the sweeper. There is one, `ASKER`; only the sweeper's thread uses it."""

    def __init__(self) -> None:
        """Start without a thread; the queue is made with the first action, as a program may patch `queue` before."""
        self._actions: queue.SimpleQueue[Callable[[], object]] | None = None
        self._thread: threading.Thread | None = None
        self._since: float | None = None  # when the thread began its current action

    def ask(self, action: Callable[[], object]) -> None:
        """Queue an action, to run soon, after the earlier ones. In the sweeper's thread."""
        if self._actions is None:
            self._actions = queue.SimpleQueue()
        self._actions.put(action)
        self.look()

    def look(self) -> None:
        """Start a thread if there is none, or if an action has run longer than `PATIENCE`. In the sweeper's thread."""
        since = self._since
        stuck = since is not None and time.monotonic() - since > PATIENCE
        if (self._thread is None or stuck) and self._actions is not None and not self._actions.empty():
            self._since = None
            self._thread = threading.Thread(target=self._run, name="anthropix-asker", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread could be started: try again next time
                self._thread.start()
                return
            self._thread = None

    def _run(self) -> None:
        me, actions = threading.current_thread(), self._actions
        while self._thread is me and actions is not None:
            try:
                action = actions.get(timeout=IDLE)
            except queue.Empty:
                self._thread = None
                if not actions.empty():  # an action was queued before the sweeper could see that this thread ends
                    self._thread = me
                continue
            self._since = time.monotonic()
            action()
            if self._thread is me:
                self._since = None

    def after_fork(self) -> None:
        """Start afresh in a forked child."""
        self.__init__()  # type: ignore[misc] # every part of it belongs to a thread that no longer exists


ASKER = Asker()


class Pulse:
    """Whether an object of the caller is alive, by the latest result of its `is_alive()`; without one it always is.

    An object whose `is_alive()` raises counts as alive, and is not asked again. A thread or process that has not
    started counts as alive.
    """

    def __init__(self, thing: object) -> None:
        """Do not call `is_alive()` yet."""
        self._thing = thing
        self._alive = True
        self._asked = self._static = inspect.getattr_static(thing, "is_alive", None) is None

    def is_alive(self) -> bool:
        """Return the latest result, and ask again. Only in the sweeper's thread."""
        if not self._asked:
            self._asked = True
            ASKER.ask(self._ask)
        elif not self._static:
            ASKER.look()  # the question may wait behind a call that does not return
        return self._alive

    def _ask(self) -> None:
        """Call `is_alive()`. In the asker's thread."""
        thing = self._thing
        try:
            unstarted = getattr(thing, "ident", thing) is None
            self._alive = bool(thing.is_alive()) or unstarted  # type: ignore[attr-defined]
        except BaseException as exc:  # noqa: BLE001 - the caller's code may raise anything
            log(logging.ERROR, "is_alive() of %s raised; it is taken to be alive", shown(thing), exc_info=exc)
        else:
            self._asked = False
