"""A connection to the file, for one thread at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from anthropix_actors._foreign.locks import is_held
from anthropix_actors.stores.log import StoreClosedError, StoreError
from anthropix_actors.stores.sqlite.schema import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")

_PAUSE = 0.001
"""Seconds until it is tried again to write, when another process does."""


class Connection:
    """A connection that is opened when it is used, and anew after a failure, or when the file is another one.

    Args:
        path: The file.
        timeout: Seconds to wait for others that use it.
        synchronous: When it waits for the disk, in the words of SQLite.
        begin: How a transaction begins.
    """

    def __init__(self, path: str, timeout: float, synchronous: str, begin: str) -> None:
        """Open nothing yet."""
        self._path = path
        self._timeout = timeout
        self._synchronous = synchronous
        self._begin = begin
        self._lock = threading.RLock()  # reentrant, as a signal handler may fork while its thread uses the connection
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._opened = self._version = 0
        self._closed = False

    def run(self, step: Callable[[sqlite3.Connection], Found]) -> Found:
        """Return what a step returns, in a transaction: committed at its end, or else rolled back.

        An interrupt may come anywhere in it. So all that has to be undone is undone by a `with` of something of C,
        which no signal handler comes before.

        Raises:
            StoreError: SQLite cannot do it, or others use the file for too long.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            with contextlib.suppress(_OthersWriteError):
                return self._in_turn(step, deadline)
            # Without the lock: other threads, and forks, need not wait as well.
            time.sleep(_PAUSE)

    def version(self) -> tuple[int, int]:
        """Return a value that is another one after each change of the file by another connection.

        Raises:
            StoreError: as above.
        """
        return self.run(lambda _: (self._opened, self._version))

    def close(self) -> None:
        """Close it for good."""
        with self._lock:
            self._closed = True
            self._drop()

    def hold(self) -> None:
        """Close it, and let no other thread open it before `let_go`."""
        self._lock.acquire()
        self._drop()

    def let_go(self) -> None:
        """Let it be used again."""
        if is_held(self._lock):  # else the fork was interrupted before this was held
            self._lock.release()

    def _in_turn(self, step: Callable[[sqlite3.Connection], Found], deadline: float) -> Found:
        """Run a step when no other thread of this process uses the connection. Raises `_OthersWriteError` as well."""
        if is_held(self._lock):
            raise StoreError(f"the store {self._path!r} is in use by what a signal handler, or a fork, has interrupted")
        try:
            self._acquire(deadline)
            with self._lock:
                self._lock.release()  # what is left of it is released by the `with`
                return self._transacted(step, deadline)
        except BaseException:
            if is_held(self._lock):  # interrupted before the `with`
                self._lock.release()
            raise

    def _acquire(self, deadline: float) -> None:
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise StoreError(f"the store {self._path!r} is busy: other threads use it")

    def _transacted(self, step: Callable[[sqlite3.Connection], Found], deadline: float) -> Found:
        begun = False
        try:
            with self._current() as db:
                db.execute(self._begin)
                # The first that is read: what is in the way, such as another process that repairs the file, shows now.
                (self._version,) = db.execute("PRAGMA data_version").fetchone()
                begun = True
                return step(db)
        except sqlite3.Error as exc:
            if not _is_busy(exc):
                self._drop()  # the next one has a connection of its own
            elif not begun and time.monotonic() < deadline:
                raise _OthersWriteError from None
            raise StoreError(f"the store {self._path!r}: {exc}") from exc
        except Exception:
            raise
        except BaseException:  # in the middle of a statement, perhaps, which would keep the next one from what is new
            self._drop()
            raise

    def _current(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreClosedError(f"the store {self._path!r} is closed")
        if self._db is not None and self._file != _file_at(self._path):
            self._drop()  # it was deleted or replaced: what is written to it would be lost
        if self._db is None:
            self._opened += 1
            self._db = self._open()
            self._file = _file_at(self._path)
        return self._db

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            prepare(db, self._synchronous)
        except BaseException:
            db.close()
            raise
        return db

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


class _OthersWriteError(Exception):
    """Others write: it has not begun, and may be tried again."""


def _is_busy(exc: sqlite3.Error) -> bool:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a third of the time that a Path takes, before each transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino
