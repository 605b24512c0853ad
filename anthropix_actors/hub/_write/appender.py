"""The thread that writes the logs of one hub.

It appends to all logs that are due at once. While one append is on its way, the next ones fill: so each takes more, the
slower the store is, and none waits for others to come (group commit). What one log has too much of comes after what the
others have. A log that could not be written is tried again, and holds up nobody meanwhile.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import IDLE, start_thread
from anthropix_actors.stores import append_each

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anthropix_actors.hub._write.open_log import Counts, OpenLog
    from anthropix_actors.stores import Append, Log

    Batch = Mapping[OpenLog, Append | None]

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
"""Seconds between two tries of what has failed: as long as it has failed before."""

_SHARE, _MOST = 1 << 20, 16 << 20
"""How many bytes of JSON are appended at once, to one log and to all; of what is larger, one entry."""


class Appender:
    """Writes what is due. Any thread may `wake` it; one thread writes, while any log is open.

    Args:
        store: Where the logs are.
        counts: What they have come to.
        patience: Seconds after which a log that cannot be written is given up.

    Attributes:
        failures: How many appends have failed.
    """

    def __init__(self, store: Log, counts: Counts, patience: float) -> None:
        """Start without a thread."""
        self._append_many = getattr(store, "append_many", None) or partial(append_each, store)
        self._counts = counts
        self._patience = patience
        self._due: queue.SimpleQueue[OpenLog | None] = queue.SimpleQueue()  # None ends the thread
        self._lock = threading.RLock()  # reentrant: a finalizer may wake it in the middle of it
        self._thread: threading.Thread | None = None
        self._held = 0
        self._hurries = False
        self._away_since: float | None = None  # nothing at all could be written since then
        self._failed: list[OpenLog] = []  # which are tried again at `_again_at`
        self._again_at = 0.0
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
        self._hurries = True
        self._due.put(None)  # it looks now

    def close(self) -> None:
        """End the thread, when all that is due was written; it is started again if more comes."""
        self._due.put(None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                # Where an interrupt comes before it is stored, the thread ends, and the next call starts another.
                self._thread = start_thread(self._run, "anthropix-appender")

    def _run(self) -> None:
        with self._lock:
            me = threading.current_thread()
        while self._thread is me:
            self._write_all(self._all_due())
            self._write_all(self._all_failed())  # by themselves: what is wrong with one may cost the others of its call

    def _all_due(self) -> list[OpenLog]:
        """Wait for what is due, and return all of it; end the thread after a time without."""
        due: list[OpenLog | None] = []
        if self._due.empty() and not self._failed:
            self._away_since = None
        try:
            due.append(self._due.get(timeout=self._next_look()))
            while True:
                due.append(self._due.get_nowait())
        except queue.Empty:
            if not due or None in due:
                self._leave()
        # What has failed has its own time, though more of it may have come while that was tried.
        return [opened for opened in due if opened is not None and opened.failing_since is None]

    def _all_failed(self) -> list[OpenLog]:
        """Return what has failed, if it is time to try that again."""
        if not self._hurries and time.monotonic() < self._again_at:
            return []
        failed, self._failed = self._failed, []
        return failed

    def _next_look(self) -> float:
        return max(0.0, min(IDLE, self._again_at - time.monotonic())) if self._failed else IDLE

    def _leave(self) -> None:
        with self._lock:
            if self._held or self._failed:
                return
            me, self._thread = self._thread, None
            if not self._due.empty():  # it became due before it could be seen that this thread ends
                self._thread = me

    def _write_all(self, due: Sequence[OpenLog]) -> None:
        for batch in _batches(due):
            self._write(batch)

    def _write(self, batch: Batch) -> None:
        errors: Mapping[str, BaseException] = {}
        parts = {opened.name: part for opened, part in batch.items() if part is not None}
        try:
            if parts:
                errors = dict(self._append_many(parts))
                self._counts.batches += len(errors) < len(parts)
        except BaseException as exc:  # noqa: BLE001 - of the store, which may be anybody's
            errors = dict.fromkeys(parts, exc)
        failed: dict[OpenLog, BaseException] = {}
        for opened, part in batch.items():
            error = opened.settle(part, errors.get(opened.name))
            if error is not None:
                failed[opened] = error
                continue
            opened.failing_since = None
            if opened.behind:
                self.wake(opened)
        if len(failed) < len(batch):
            self._away_since = None
        if failed:
            self._try_again(failed, is_away=len(failed) == len(batch))

    def _try_again(self, failed: Mapping[OpenLog, BaseException], *, is_away: bool) -> None:
        """Have these tried again after a pause, or give them up."""
        now = time.monotonic()
        self.failures += 1
        first = next(iter(failed))
        if first.failing_since is None and self._away_since is None:
            text = "%s could not be written, and is tried again (%d in all)"
            log(logging.WARNING, text, first, len(failed), exc_info=failed[first])
        if is_away:
            self._away_since = self._away_since or now
        since = self._away_since or now
        for opened, error in failed.items():
            opened.failing_since = opened.failing_since or now
            if now - min(opened.failing_since, since) >= self._patience:
                opened.give_up(error)
                continue
            if not self._failed:  # later ones join those that wait already
                pause = max(_FIRST_PAUSE, now - opened.failing_since)
                self._again_at = now + min(pause, _LONGEST_PAUSE)
            opened.is_due = True
            self._failed.append(opened)


def _batches(due: Sequence[OpenLog]) -> Iterator[Batch]:
    """Yield what is to be appended at once, each as it is when the ones before are written."""
    batch: dict[OpenLog, Append | None] = {}
    left = _MOST
    for opened in due:
        opened.is_due = False
        if opened.outcome is not None:
            continue
        batch[opened] = opened.next_part(_SHARE)
        left -= opened.size
        if left <= 0:
            yield batch
            batch, left = {}, _MOST
    if batch:
        yield batch
