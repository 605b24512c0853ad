"""Foreign code on threads of its own, for those who must not wait for it: above all the sweeper.

A subscriber's `is_alive` may block, raise, or ask for a lock of its program's. So it is asked here, one at a time, and
the sweeper reads what it said last. One that does not return keeps its thread, and the others get another.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log, shown

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 1.0
"""Seconds after which a call that has not returned is left alone."""

IDLE = 0.5
"""Seconds after which a thread that is asked nothing ends."""


def in_background(action: Callable[[], object], name: str) -> bool:
    """Run something on a daemon thread of its own; False where there is no thread to be had."""
    try:
        threading.Thread(target=action, name=name, daemon=True).start()
    except RuntimeError:
        return False
    return True


class Asker:
    """The thread that asks. There is one, `ASKER`, for the sweeper's thread alone."""

    def __init__(self) -> None:
        """Start without a thread; its queue is made with it, as a program may patch `queue` before that."""
        self._actions: queue.SimpleQueue[Callable[[], object]] | None = None
        self._thread: threading.Thread | None = None
        self._since: float | None = None  # when the thread began what it is about

    def ask(self, action: Callable[[], object]) -> None:
        """Have something run soon, after what was asked before."""
        if self._actions is None:
            self._actions = queue.SimpleQueue()
        self._actions.put(action)
        self.look()

    def look(self) -> None:
        """Get another thread if there is none, or if it has been about one thing for too long."""
        since = self._since
        stuck = since is not None and time.monotonic() - since > PATIENCE
        if (self._thread is None or stuck) and self._actions is not None and not self._actions.empty():
            self._since = None
            self._thread = threading.Thread(target=self._run, name="anthropix-asker", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread to be had: perhaps next time
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
                if not actions.empty():  # it was put before the sweeper could see that this thread ends
                    self._thread = me
                continue
            self._since = time.monotonic()
            action()
            if self._thread is me:
                self._since = None

    def after_fork(self) -> None:
        """Start afresh in a forked child."""
        self.__init__()  # type: ignore[misc] # every part of it belongs to a thread that is no more


ASKER = Asker()


class Pulse:
    """Whether something of a caller's is alive, by what its `is_alive()` said last; without one it always is.

    One that raises is taken to be alive, and not asked again. So is a thread, or a process, that has not started.
    """

    def __init__(self, thing: object) -> None:
        """Ask nothing yet."""
        self._thing = thing
        self._alive = True
        self._asked = self._static = inspect.getattr_static(thing, "is_alive", None) is None

    def is_alive(self) -> bool:
        """Get what it said last, and have it asked again. Only the sweeper's thread."""
        if not self._asked:
            self._asked = True
            ASKER.ask(self._ask)
        elif not self._static:
            ASKER.look()  # it may wait behind one that does not return
        return self._alive

    def _ask(self) -> None:
        thing = self._thing
        try:
            unstarted = getattr(thing, "ident", thing) is None
            self._alive = bool(thing.is_alive()) or unstarted  # type: ignore[attr-defined]
        except BaseException as exc:  # noqa: BLE001 - it is the caller's
            log(logging.ERROR, "is_alive() of %s raised; it is taken to be alive", shown(thing), exc_info=exc)
        else:
            self._asked = False
