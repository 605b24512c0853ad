"""The thread that writes the logs of one hub.

While one append is on its way, the next ones fill: so each takes more entries, the slower the store is, and none waits
for others to come (group commit). A log that could not be written is tried again, after the others.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import IDLE

if TYPE_CHECKING:
    from anthropix_actors.hub._write.open_log import OpenLog

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
"""Seconds between two tries while the store is away; doubled from one to the other."""


class Appender:
    """Writes what is due. Any thread may `wake` it; one thread writes, while any log is open.

    Attributes:
        failures: How many appends have failed.
    """

    def __init__(self, patience: float) -> None:
        """Start without a thread. A log is given up when it could not be written for `patience` seconds."""
        self._patience = patience
        self._due: queue.SimpleQueue[OpenLog | None] = queue.SimpleQueue()  # None ends the thread
        self._lock = threading.RLock()  # reentrant: a finalizer may wake it in the middle of it
        self._thread: threading.Thread | None = None
        self._held = 0
        self._hurry = threading.Event()
        self._away_since: float | None = None
        self._in_a_row = 0
        self.failures = 0

    def hold(self) -> None:
        """Keep the thread: a chat has begun, whose end is to be written even if it comes as the interpreter exits."""
        with self._lock:
            self._held += 1

    def let_go(self) -> None:
        """Let the thread end, when nothing is due and nobody else holds it."""
        with self._lock:
            self._held -= 1

    def wake(self, opened: OpenLog) -> None:
        """Have a log written soon. Takes no lock where the thread runs, so a finalizer may call it."""
        if not opened.is_due:
            opened.is_due = True
            self._due.put(opened)
        if self._thread is None:
            self._start()

    def hurry(self) -> None:
        """Try each log once more, and give it up if that fails: the hub is closed."""
        self._patience = 0.0
        self._hurry.set()

    def close(self) -> None:
        """End the thread, when all that is due was written; it is started again if more comes."""
        self._due.put(None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="anthropix-appender", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        me = threading.current_thread()
        while self._thread is me:
            for opened in self._all_due():
                self._write(opened)

    def _all_due(self) -> list[OpenLog]:
        """Wait for what is due, and return all of it; end the thread after a time without."""
        due: list[OpenLog | None] = []
        if self._due.empty():  # what has failed is due
            self._away_since, self._in_a_row = None, 0
        try:
            due.append(self._due.get(timeout=IDLE))
            while True:
                due.append(self._due.get_nowait())
        except queue.Empty:
            if not due or None in due:
                self._leave()
        return [opened for opened in due if opened is not None]

    def _leave(self) -> None:
        with self._lock:
            if self._held:
                return
            me, self._thread = self._thread, None
            if not self._due.empty():  # it became due before it could be seen that this thread ends
                self._thread = me

    def _write(self, opened: OpenLog) -> None:
        opened.is_due = False
        try:
            opened.write()
        except BaseException as exc:  # noqa: BLE001 - of the store, which may be anybody's
            self._failed(opened, exc)
        else:
            opened.failing_since = self._away_since = None
            self._in_a_row = 0

    def _failed(self, opened: OpenLog, exc: BaseException) -> None:
        now = time.monotonic()
        self.failures += 1
        self._in_a_row += 1
        self._away_since = self._away_since or now
        opened.failing_since = opened.failing_since or now
        if now - min(opened.failing_since, self._away_since) >= self._patience:
            opened.give_up(exc)
            return
        if self._in_a_row == 1:
            log(logging.WARNING, "%s could not be written, and is tried again", opened, exc_info=exc)
        self.wake(opened)
        self._hurry.wait(min(_FIRST_PAUSE * 2 ** min(self._in_a_row - 1, 10), _LONGEST_PAUSE))
