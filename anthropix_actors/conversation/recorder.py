"""Writes a conversation into its log, in order, on a thread that runs while there is something to write.

Nobody waits for the store: who wants something to be durable before it takes place is told when it is. While one append
is on its way, what comes meanwhile is gathered for the next. An append that is tried again is not there twice.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.threads import in_background
from anthropix_actors.conversation.record import FORMAT, HEAD, Reader, head
from anthropix_actors.errors import AnthropixError, ParameterError, Problem
from anthropix_actors.stores import StoreClosedError, StoreError
from anthropix_actors.stores.entries import entries_of, refuse_others
from anthropix_actors.stores.holder import HOLDERS
from anthropix_actors.stores.names import JOBS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anthropix_actors.conversation.core.state import State
    from anthropix_actors.conversation.record import Past
    from anthropix_actors.stores import Log

FIRST_DELAY, LONGEST_DELAY = 0.02, 1.0
"""Seconds between two tries of an append while the store is away."""

MOST = 256
"""How many entries one append has at most."""


class Recorder:
    """The log of one conversation, which this process holds. All methods may be called from any thread.

    Args:
        log: The store.
        name: The conversation's name there.
        lease: Seconds after which it is free if this process dies.
        take_over: Whether to take it from who runs it.
        begins: What it is, where the log is new.
        patience: Seconds to wait for a store that is away; None for no end.

    Attributes:
        past: What the log told, when it was claimed.
        is_new: Whether there was nothing in it.
        durable: How many entries are in the log for good.
        on_written: Called with how many entries are durable, in the writing thread.
        on_failed: Called with the error, once, when nothing more will be written.
        on_released: Called when the log was given up.
    """

    def __init__(  # noqa: PLR0913 - options, by name
        self,
        log: Log,
        name: str,
        *,
        lease: float,
        take_over: bool,
        begins: State,
        patience: float | None,
    ) -> None:
        """Claim the log, read it, and write what it begins with.

        Raises:
            Held: somebody else runs the conversation.
            ParameterError: both the log and the caller have a history; or the log is of something else, or none that
                can be read.
            StoreError: the store cannot be reached.
        """
        self.store = log
        self.name = name
        self.on_written: Callable[[int], object] = _nothing
        self.on_failed: Callable[[AnthropixError], object] = _nothing
        self.on_released: Callable[[], object] = _nothing
        self._patience = patience
        self._lock = threading.RLock()
        self._waiting: list[Mapping[str, Any]] = []  # the first of them has the number `durable`
        self._writing = self._closed = False
        self._released = threading.Event()
        self._failed: AnthropixError | None = None
        refuse_others(log, name, "id", "a conversation", partial(_is_conversation, log, name))
        self._holder = HOLDERS.of(log, lease)
        self._epoch = self._holder.claim(name, take_over=take_over)
        try:
            self.past, self.durable = self._read()
            self.is_new = not self.past.format
            self._begin(begins)
        except BaseException:
            self._give_up()
            raise

    def _read(self) -> tuple[Past, int]:
        """Return what the log tells, and how many entries it has."""
        reader, count = Reader(), 0
        for entry in entries_of(self.store, self.name):
            reader.add(entry.data)
            count += 1
        return reader.past, count

    def _begin(self, begins: State) -> None:
        if not self.is_new and begins.messages:
            raise ParameterError([Problem("history", f"the log {self.name!r} has one: leave it out")])
        if self.past.format != FORMAT:
            first = head(replace(begins, messages=begins.messages or self.past.history))
            self.store.append(self.name, self._epoch, self.durable, [first])
            self.durable += 1
            reader = Reader()
            reader.add(first)
            self.past = reader.past

    def put(self, entry: Mapping[str, Any]) -> int:
        """Have one more entry written, after the others; return how many are durable when it is."""
        with self._lock:
            self._waiting.append(entry)
            number = self.durable + len(self._waiting)
        self._go_on()
        return number

    def close(self) -> None:
        """Give the log up when all is written. Once is enough."""
        with self._lock:
            self._closed = True
        self._go_on()

    def at_exit(self, leave: Callable[[str], object]) -> None:
        """Have `leave(reason)` called at the interpreter's exit, which is to close this soon."""
        self._holder.at_exit(self.name, leave)

    def wait_released(self, timeout: float) -> bool:
        """Wait until the log was given up, for so many seconds at most; return whether it was."""
        return self._released.wait(timeout)

    @property
    def unwritten(self) -> list[Mapping[str, Any]]:
        """The entries that are not known to be durable."""
        with self._lock:
            return [*self._waiting]

    def _go_on(self) -> None:
        with self._lock:
            if self._writing or self._released.is_set():
                return
            self._writing = True
        if not in_background(self._write, "anthropix-recorder"):
            self._write()  # at exit, no thread can be started

    def _write(self) -> None:
        """Write all there is. In its thread."""
        while True:
            with self._lock:
                batch = [] if self._failed is not None else self._waiting[:MOST]
                if not batch:
                    closed, self._writing = self._closed, self._closed
                    break
            try:
                self._append(batch)
            except AnthropixError as exc:
                self._failed = exc
                self.on_failed(exc)
                continue
            with self._lock:
                del self._waiting[: len(batch)]
                self.durable += len(batch)
            self.on_written(self.durable)
        if closed:
            self._give_up()

    def _append(self, batch: Sequence[Mapping[str, Any]]) -> None:
        """Append entries; while the store is away, try again for as long as there is patience."""
        began, delay = time.monotonic(), FIRST_DELAY
        while True:
            try:
                self.store.append(self.name, self._epoch, self.durable, batch)
            except StoreClosedError:
                raise
            except StoreError as exc:
                if self._patience is not None and time.monotonic() - began >= self._patience:
                    raise
                log(logging.WARNING, "the log %r waits for its store", self.name, exc_info=exc)
            except AnthropixError:
                raise
            except BaseException as exc:
                raise StoreError(f"the log failed: {shown(exc)}") from exc
            else:
                return
            time.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    def _give_up(self) -> None:
        try:
            self._holder.release(self.name, self._epoch)
        except StoreClosedError:
            what = "the log %r could not be given up: its store was closed first; it is free when the lease is over"
            log(logging.WARNING, what, self.name)
        except BaseException as exc:  # noqa: BLE001 - the store's code; the log is free when the lease is over
            log(logging.WARNING, "the log %r could not be given up", self.name, exc_info=exc)
        self._released.set()
        self.on_released()


def _is_conversation(store: Any, name: str, first: Mapping[str, Any] | None) -> bool:
    if first is not None:
        return first.get("kind") == HEAD
    return not (hasattr(store, "job") and store.job(JOBS, name))  # the log of a job is made before anybody writes it


def _nothing(*_: object) -> None:
    """Tell nobody."""
