"""A store in a file, for all processes of one machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from anthropix_actors._foreign.log import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.stores.local.changes import Changes
from anthropix_actors.stores.local.store import LocalStore
from anthropix_actors.stores.names import LARGEST_ENTRY, checked_seconds
from anthropix_actors.stores.sqlite.connection import Connection
from anthropix_actors.stores.sqlite.tables import SQLiteTables

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores.local.base import Found
    from anthropix_actors.stores.local.tables import Tables


class SQLiteStore(LocalStore):
    """A `Store` in a file of SQLite, for any number of threads and processes of one machine.

    What a method has done when it returns survives the end of the process, and a loss of power. Readers and takers
    that wait are woken at once by their own process, and within some milliseconds by another one. A forked child may
    use the store as its parent does; another process opens the same file.

    Beside the file, SQLite keeps two others, of its name with `-wal` and `-shm`, that belong to it. All three have to
    be on a local disk.

    Args:
        path: The file, which is made if there is none; its folder has to be there.
        max_entry_bytes: The largest entry, or job, as JSON.
        timeout: Seconds to wait for other processes that write.
        synchronous: "full" waits for the disk each time. "normal" does not, and is several times as fast: what was done
            survives the end of the process, but the last of it may be missing after a loss of power.

    Raises:
        StoreError: the file cannot be opened or made, is no database, or one of another program or format.
        ParameterError: an argument is none of these.

    Example:
        >>> import tempfile, os.path
        >>> from anthropix_actors.stores import SQLiteStore
        >>> folder = tempfile.TemporaryDirectory()
        >>> store = SQLiteStore(os.path.join(folder.name, "logs.db"))
        >>> store.append("a", store.claim("a"), 0, [{"n": 1}], close=True)
        >>> [entry.data for entry in store.read("a")]
        [{'n': 1}]
        >>> store.close()
        >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_entry_bytes: int = LARGEST_ENTRY,
        timeout: float = 10.0,
        synchronous: Literal["full", "normal"] = "full",
    ) -> None:
        """Open the file, or make it."""
        self.path = _checked_path(path)
        self._timeout = checked_seconds(timeout, "timeout")
        if synchronous not in ("full", "normal"):
            what = f"expected 'full' or 'normal', got {shown(synchronous)}"
            raise ParameterError([Problem("synchronous", what)])
        self._synchronous = synchronous
        self._connect()
        super().__init__(max_entry_bytes=max_entry_bytes)
        self._reader.version()  # what is wrong with the file is told now

    def close(self) -> None:
        """Close the file, and let those that wait go; see `Log`. What uses the store afterwards gets a `StoreError`."""
        super().close()
        self._reader.close()
        self._writer.close()

    def before_fork(self) -> None:
        """Wait until nothing is being done, close the file, and let nothing open it."""
        self._writer.hold()
        self._reader.hold()

    def after_fork_in_parent(self) -> None:
        """Let things go on."""
        self._reader.let_go()
        self._writer.let_go()

    def after_fork_in_child(self) -> None:
        """Begin with connections that are the child's own."""
        self._connect()
        super().after_fork_in_child()

    def __repr__(self) -> str:
        """Return the class and the path."""
        return f"SQLiteStore({self.path!r})"

    def _connect(self) -> None:
        # Two, as one that reads need not wait for the disk with one that writes; more gain nothing.
        self._reader, self._writer = (
            Connection(self.path, self._timeout, self._synchronous, begin) for begin in ("BEGIN", "BEGIN IMMEDIATE")
        )

    def _new_changes(self) -> Changes:
        seen: tuple[int, int] | None = None

        def ask() -> bool:
            nonlocal seen
            before, seen = seen, self._reader.version()
            return before != seen

        return Changes(ask)

    def _read(self, step: Callable[[Tables], Found]) -> Found:
        return self._reader.run(lambda db: step(SQLiteTables(db)))

    def _write(self, step: Callable[[Tables], Found]) -> Found:
        return self._writer.run(lambda db: step(SQLiteTables(db)))


def _checked_path(path: object) -> str:
    found = path if isinstance(path, str) else os.fspath(path) if isinstance(path, os.PathLike) else None
    if not isinstance(found, str) or not found or "\0" in found:
        raise ParameterError([Problem("path", f"expected the path of a file, got {shown(path)}")])
    return os.path.abspath(found)  # noqa: PTH100 - also ":memory:" is a file; and a program may change its folder


publish("anthropix_actors.stores", (SQLiteStore,))
