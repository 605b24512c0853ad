"""The thread that reads any number of logs, of one hub, in one call of the store.

Several readings of one log share the call when they have read equally far. Those that have not take turns, without a
wait: what is behind reads on at once, and soon all are at the same place.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import start_thread
from anthropix_actors.errors import AnthropixError, ConfigurationError
from anthropix_actors.hub._read.wake_log import WakeLog
from anthropix_actors.stores import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anthropix_actors.stores import Entry, Log, Lost, Unreadable

_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
"""Seconds between two tries while the store is away; doubled from one to the other."""

_LOOKING = 0.005
"""Seconds in which silent logs are looked at, in each round."""


class Reading:
    """Something that reads one log, from one place on. All but `drop` is called in the follower's thread.

    Attributes:
        name: The log's name.
        cursor: The cursor of the last entry that it has taken; None before the first.
        heard: When something was last heard of it, on the monotonic clock.
        served: The round in which it was last read.
    """

    def __init__(self, name: str, cursor: str | None = None) -> None:
        """Read on after a cursor."""
        self.name = name
        self.cursor = cursor
        self.heard = time.monotonic()
        self.served = 0

    def wants_more(self) -> bool:
        """Return whether it takes entries now."""
        raise NotImplementedError

    def take(self, entries: Sequence[Entry]) -> bool:
        """Take entries; return whether it reads on. Must not block, or raise."""
        raise NotImplementedError

    def fail(self, error: AnthropixError) -> None:
        """Take note that the log is lost, or the store is: it reads no more, unless it is added again."""
        raise NotImplementedError

    def close(self) -> None:
        """Read no more, as the hub is closed. In the thread that closes it."""

    def look(self) -> AnthropixError | None:
        """Look whether more may come, after a silence; return why not. May raise what the store raises."""
        return None


class Follower:
    """Reads logs. Any thread may add a reading, or drop it; one thread reads, while there are any.

    Attributes:
        failures: How often the store could not be read.
    """

    def __init__(self, store: Log, holder: str, *, silence: float, patience: float) -> None:
        """Start without a thread.

        Args:
            store: The store.
            holder: The hub's name.
            silence: Seconds after which a log that is silent is looked at.
            patience: Seconds for which the store may be away before the readings fail.
        """
        self._store = store
        self._silence = silence
        self._patience = patience
        self._wake = WakeLog(store, holder)
        self._readings: dict[str, dict[Reading, None]] = {}  # by the names of their logs
        self._stale: set[str] = set()  # names whose readings are to be chosen anew
        self._chosen: dict[str, list[Reading]] = {}
        self._cursors: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_asleep = self._is_closed = False
        self._round = 0
        self._next_look = 0.0
        self._silent: list[Reading] = []
        self._may_wait = True
        self._away_since: float | None = None
        self._pause = _PAUSE
        self._hurry = threading.Event()
        self.failures = 0

    @property
    def count(self) -> int:
        """How many readings there are."""
        with self._lock:
            return sum(map(len, self._readings.values()))

    def add(self, reading: Reading) -> None:
        """Read a log.

        Raises:
            ConfigurationError: it was closed.
        """
        with self._lock:
            if self._is_closed:
                raise ConfigurationError("the hub is closed; make another one")
            self._readings.setdefault(reading.name, {})[reading] = None
            self._stale.add(reading.name)
            if self._thread is None:
                # Where an interrupt comes before it is stored, the thread ends, and the next call starts another.
                self._thread = start_thread(self._run, "anthropix-follower")
        self.wake()

    def drop(self, reading: Reading) -> None:
        """Read a log no more. Once is enough."""
        with self._lock:
            group = self._readings.get(reading.name, {})
            was_there = reading in group
            group.pop(reading, None)
            if was_there and not group:
                del self._readings[reading.name]
            self._stale.add(reading.name)
            is_last = was_there and not self._readings
        if is_last:  # the thread ends
            self.wake()

    def wake(self) -> None:
        """Let the thread look at once what is to be read."""
        with self._lock:
            is_asleep, self._is_asleep = self._is_asleep, False
        if is_asleep:
            with contextlib.suppress(Exception):  # of the store; then the thread does not wait for the store either
                self._wake.post()

    def close(self) -> None:
        """End all readings, and the thread."""
        with self._lock:
            self._is_closed = True
            readings, thread = self._all(), self._thread
            self._readings.clear()
        for reading in readings:
            reading.close()
        self._hurry.set()
        self.wake()
        if thread is not None:
            thread.join(self._silence)

    def _all(self) -> list[Reading]:
        return [reading for group in self._readings.values() for reading in group]

    # In the thread

    def _run(self) -> None:
        while self._goes_on():
            try:
                self._read()
                self._look()
            except BaseException as exc:  # noqa: BLE001 - of the store, which may be anybody's
                self._failed(exc)
            else:
                self._away_since, self._pause = None, _PAUSE
        with contextlib.suppress(BaseException):
            self._wake.delete()

    def _goes_on(self) -> bool:
        with self._lock:
            if self._thread is not threading.current_thread():
                return False
            if not self._readings:
                self._thread = None
            self._is_asleep = bool(self._readings)  # what is added from now on is to wake it
            return bool(self._readings)

    def _read(self) -> None:
        is_all = self._choose()
        cursors = {**self._cursors}
        self._wake.prepare(cursors)
        longest = _PAUSE if self._silent else self._silence
        wait = longest if is_all else 0.0 if self._may_wait else _PAUSE
        found = self._store.read_many(cursors, wait=wait)
        self._is_asleep = False
        if (woken := found.pop(self._wake.name, None)) is not None:
            self._wake.read(woken)
        self._may_wait = bool(found)  # where nothing came of several places, they may be one, written in two ways
        self._deliver(found)

    def _choose(self) -> bool:
        """Choose the readings to serve; return whether that is all of them.

        Only where something has happened: of a thousand logs, few have anything new.
        """
        with self._lock:
            stale, self._stale = self._stale, set()
            groups = {name: [*self._readings.get(name, ())] for name in stale}
        self._round += 1
        is_all = True
        for name, group in groups.items():
            is_all &= self._choose_of(name, group)
        return is_all

    def _choose_of(self, name: str, readings: Sequence[Reading]) -> bool:
        """Choose of the readings of one log those at the place that was not read for longest."""
        wanting = [reading for reading in readings if reading.wants_more()]
        chosen: list[Reading] = []
        if wanting:
            first = min(wanting, key=lambda reading: reading.served)
            chosen = [reading for reading in wanting if reading.cursor == first.cursor]
            self._chosen[name], self._cursors[name] = chosen, first.cursor
        else:
            self._chosen.pop(name, None)
            self._cursors.pop(name, None)
        for reading in chosen:
            reading.served = self._round
        if len(chosen) < len(readings):
            self._stale.add(name)
        return len(chosen) == len(wanting)

    def _deliver(self, found: Mapping[str, Sequence[Entry] | Lost | Unreadable]) -> None:
        now = time.monotonic()
        with self._lock:
            self._stale.update(found)
        for name, entries in found.items():
            for reading in self._chosen[name]:
                if isinstance(entries, AnthropixError):
                    self._fail(reading, entries)
                    continue
                reading.heard, reading.cursor = now, entries[-1].cursor
                if not reading.take(entries):
                    self.drop(reading)

    def _look(self) -> None:
        """Look at the logs that have been silent: whoever writes them may have died.

        At a few of them: the others wait for the next rounds, so that what has come elsewhere need not.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + self._silence / 4
            with self._lock:
                self._silent = [reading for reading in self._all() if now - reading.heard >= self._silence]
        while self._silent:
            reading = self._silent.pop()
            if now - reading.heard >= self._silence and self._is_read(reading) and reading.wants_more():
                reading.heard = now
                if (why := reading.look()) is not None:
                    self._fail(reading, why)
            if time.monotonic() - now >= _LOOKING:
                break

    def _is_read(self, reading: Reading) -> bool:
        with self._lock:
            return reading in self._readings.get(reading.name, ())

    def _fail(self, reading: Reading, error: AnthropixError) -> None:
        self.drop(reading)
        reading.fail(error)

    def _failed(self, exc: BaseException) -> None:
        """Wait a while; after too long, let all readings fail."""
        now = time.monotonic()
        self.failures += 1
        if self._away_since is None:
            self._away_since = now
            log(logging.WARNING, "the store could not be read; this is tried again", exc_info=exc)
        if now - self._away_since >= self._patience:
            self._fail_all(exc)
        self._hurry.wait(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _fail_all(self, exc: BaseException) -> None:
        self._away_since, self._pause = None, _PAUSE  # those that come later have patience of their own
        with self._lock:
            readings = self._all()
        for reading in readings:
            error = StoreError(f"the store could not be read for {self._patience:g} s: {exc}")
            error.__cause__ = exc
            self._fail(reading, error)
