"""A connection to the file, for one thread at a time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors.stores.log import StoreClosedError, StoreError
from anthropix_actors.stores.sqlite.schema import prepare

if TYPE_CHECKING:
    from collections.abc import Generator

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

    @contextlib.contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Return a context with the connection in a transaction: committed at its end, or else rolled back.

        Raises:
            StoreError: SQLite cannot do it, or others use the file for too long.
        """
        db = self._started()
        try:
            yield db
            db.execute("COMMIT")
        except BaseException as exc:
            self._undo(exc)
            if isinstance(exc, sqlite3.Error):
                raise self._fault(exc) from exc
            raise
        finally:
            self._lock.release()

    def version(self) -> tuple[int, int]:
        """Return a value that is another one after each change of the file by another connection.

        Raises:
            StoreError: as above.
        """
        with self.transaction():
            return self._opened, self._version

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
        self._lock.release()

    def _started(self) -> sqlite3.Connection:
        """Return the connection in a transaction, with the lock held."""
        deadline = time.monotonic() + self._timeout
        while True:
            if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise StoreError(f"the store {self._path!r} is busy: other threads use it")
            try:
                db = self._current()
                db.execute(self._begin)
                # The first that is read: what is in the way, such as another process that repairs the file, shows now.
                (self._version,) = db.execute("PRAGMA data_version").fetchone()
            except BaseException as exc:
                self._undo(exc)
                self._lock.release()
                if not isinstance(exc, sqlite3.Error):
                    raise
                if not _is_busy(exc) or time.monotonic() >= deadline:
                    raise self._fault(exc) from exc
            else:
                return db
            # Without the lock: other threads, and forks, need not wait as well.
            time.sleep(_PAUSE)

    def _current(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreClosedError(f"the store {self._path!r} is closed")
        if self._db is not None and self._file != _file_at(self._path):
            self._drop()  # it was deleted or replaced: what is written to it would be lost
        if self._db is None:
            self._db = self._open()
            self._opened += 1
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

    def _undo(self, exc: BaseException) -> None:
        """Leave the transaction; after a failure of SQLite, the next one has a connection of its own."""
        if isinstance(exc, sqlite3.Error) and not _is_busy(exc):
            self._drop()
        elif self._db is not None:
            with contextlib.suppress(sqlite3.Error):  # what goes on in spite of it fails when the next one begins
                self._db.rollback()

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _fault(self, exc: sqlite3.Error) -> StoreError:
        return StoreError(f"the store {self._path!r}: {exc}")


def _is_busy(exc: sqlite3.Error) -> bool:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a third of the time that a Path takes, before each transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino
