"""The tables of the file, and whether a file has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors.stores.log import StoreError

if TYPE_CHECKING:
    import sqlite3

FORMAT = 1
"""The version of the tables: the file's `user_version`."""

_OURS = 0x416E4163
"""The file's `application_id`."""

_SCHEMA = (
    # A log's id is its generation: another for each log, even of the same name.
    """CREATE TABLE logs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        epoch INTEGER NOT NULL DEFAULT 0,
        closed INTEGER NOT NULL DEFAULT 0,
        holder TEXT,
        ends_at REAL)""",
    "CREATE INDEX logs_that_end ON logs(ends_at) WHERE ends_at IS NOT NULL",
    """CREATE TABLE entries (
        log INTEGER NOT NULL,
        number INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        key TEXT,
        data BLOB NOT NULL,
        PRIMARY KEY (log, number)) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX entries_by_key ON entries(log, key) WHERE key IS NOT NULL",
    # By a clock that starts anew with the machine, as all holders do: who has beaten after `now` did so before that.
    """CREATE TABLE holders (
        name TEXT PRIMARY KEY,
        since REAL NOT NULL,
        until REAL NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE jobs (
        place INTEGER PRIMARY KEY,
        queue TEXT NOT NULL,
        id TEXT NOT NULL,
        since REAL NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        holder TEXT,
        data BLOB NOT NULL,
        UNIQUE (queue, id))""",
    "CREATE INDEX jobs_by_holder ON jobs(queue, holder)",
    f"PRAGMA application_id = {_OURS}",
    f"PRAGMA user_version = {FORMAT}",
)

# In one statement: another process may make the tables meanwhile.
_WHAT_IT_IS = """SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)
    FROM pragma_application_id, pragma_user_version"""


def prepare(db: sqlite3.Connection, synchronous: str) -> None:
    """Make the tables in a file that is new, or see that they are there; set what holds for this connection.

    Args:
        db: The connection.
        synchronous: When it waits for the disk, in the words of SQLite.

    Raises:
        StoreError: it is another program's file, or one of another version.
        sqlite3.Error: what SQLite says.
    """
    new = _is_new(db)
    if new:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before anything is in the file
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"SQLite cannot keep a write-ahead log there, as it has to be on a local disk: {mode}")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA journal_size_limit = 4194304")
    if new:
        _make(db)


def _is_new(db: sqlite3.Connection) -> bool:
    ours, version, tables = db.execute(_WHAT_IT_IS).fetchone()
    if ours == _OURS and version != FORMAT:
        raise StoreError(f"the file has format {version}, and this release reads format {FORMAT}")
    if ours != _OURS and (ours or version or tables):
        raise StoreError("the file is a database of another program")
    return not tables


def _make(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    if _is_new(db):  # else another process was faster
        for statement in _SCHEMA:
            db.execute(statement)
    db.execute("COMMIT")
