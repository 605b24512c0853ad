"""The steps of a store as statements of SQL. What comes from users is only ever a value of theirs."""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors.stores.local.rules import bounded
from anthropix_actors.stores.local.tables import Head, KeptJob
from anthropix_actors.stores.names import MOST_READ
from anthropix_actors.stores.queue import QueueState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

_SWEPT = 20
"""How many logs that have expired are deleted at once: more than are made, and few enough to hold up nobody."""

_LEFT, _FREED = 1024, 256
"""Above so many pages that nothing is in, so many are given back to the disk at once."""

_HEAD = """SELECT name, id, epoch, closed, holder,
    coalesce((SELECT max(number) + 1 FROM entries WHERE log = id), 0)
    FROM logs WHERE (ends_at IS NULL OR ends_at > :now) AND """
_JOB = "SELECT id, data, attempt, holder FROM jobs WHERE queue = :queue AND "
_ALIVE = "(SELECT name FROM holders WHERE since <= :now AND :now < until)"


class SQLiteTables:
    """`Tables` of one connection, within a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take a connection that is in a transaction."""
        self._db = db

    def head(self, name: str) -> Head | None:
        row = self._row(_HEAD + "name = :name", name=name, now=time.time())
        return None if row is None else _head(row)

    def heads(self, names: Iterable[str]) -> dict[str, Head]:
        wanted = msgspec.json.encode([*names]).decode()
        sql = _HEAD + "name IN (SELECT value FROM json_each(:names))"  # noqa: S608 - our own text
        return {row[0]: _head(row) for row in self._rows(sql, names=wanted, now=time.time())}

    def make(self, name: str) -> Head:
        self._sweep(name)
        head = Head(name, f"{secrets.randbits(62):016x}", 0, 0, closed=False, holder=None)
        self._run("INSERT INTO logs (id, name) VALUES (:log, :name)", log=_id(head), name=name)
        return head

    def claim(self, head: Head, epoch: int, holder: str | None) -> None:
        self._run(
            "UPDATE logs SET epoch = :epoch, holder = :holder WHERE id = :log",
            log=_id(head),
            epoch=epoch,
            holder=holder,
        )

    def add(self, head: Head, epoch: int, entries: Sequence[bytes], key: str | None = None) -> None:
        log = _id(head)
        rows = ((log, number, epoch, key, data) for number, data in enumerate(entries, head.length))
        self._db.executemany("INSERT INTO entries (log, number, epoch, key, data) VALUES (?, ?, ?, ?, ?)", rows)

    def close(self, head: Head) -> None:
        self._run("UPDATE logs SET closed = 1 WHERE id = :log", log=_id(head))

    def has_key(self, head: Head, key: str) -> bool:
        return self._row("SELECT 1 FROM entries WHERE log = :log AND key = :key", log=_id(head), key=key) is not None

    def entries(self, head: Head, place: int) -> list[tuple[int, bytes]]:
        # As bytes: another program may have written a number, or half a character.
        sql = """SELECT epoch, CAST(data AS BLOB) FROM entries
            WHERE log = :log AND number >= :place ORDER BY number LIMIT :most"""
        with closing(self._rows(sql, log=_id(head), place=place, most=MOST_READ)) as rows:
            return bounded(rows)

    def names(self, prefix: str) -> list[str]:
        if prefix and not prefix.isprintable():  # no name begins so; and SQLite takes no text that is not Unicode
            return []
        sql = """SELECT name FROM logs WHERE (ends_at IS NULL OR ends_at > :now)
            AND name >= :prefix AND substr(name, 1, length(:prefix)) = :prefix ORDER BY name"""
        return [name for (name,) in self._rows(sql, prefix=prefix, now=time.time())]

    def end_in(self, head: Head, seconds: float | None) -> None:
        ends_at = None if seconds is None else time.time() + seconds
        self._run("UPDATE logs SET ends_at = :ends_at WHERE id = :log", log=_id(head), ends_at=ends_at)
        self._sweep()

    def drop(self, head: Head) -> None:
        self._delete([_id(head)])

    def lives(self, holder: str | None) -> bool:
        sql = f"SELECT :holder IN {_ALIVE}"
        return holder is not None and self._row(sql, holder=holder, now=time.monotonic()) == (1,)

    def beat(self, holder: str, seconds: float) -> None:
        now = time.monotonic()
        self._run(f"DELETE FROM holders WHERE name NOT IN {_ALIVE} OR name = :holder", now=now, holder=holder)  # noqa: S608
        if seconds:
            self._run("INSERT INTO holders VALUES (:holder, :now, :until)", holder=holder, now=now, until=now + seconds)
        self._sweep()

    def put(self, queue: str, job_id: str, data: bytes) -> bool:
        sql = "INSERT OR IGNORE INTO jobs (queue, id, since, data) VALUES (:queue, :job, :now, :data)"
        return self._run(sql, queue=queue, job=job_id, now=time.time(), data=data) == 1

    def job(self, queue: str, job_id: str) -> KeptJob | None:
        row = self._row(_JOB + "id = :job", queue=queue, job=job_id)
        return None if row is None else KeptJob(*row)

    def free(self, queue: str, count: int) -> list[KeptJob]:
        orphaned = _JOB + f"holder IS NOT NULL AND holder NOT IN {_ALIVE} ORDER BY place LIMIT :count"
        found = [*self._rows(orphaned, queue=queue, count=count, now=time.monotonic())]
        waiting = _JOB + "holder IS NULL ORDER BY place LIMIT :count"
        found += self._rows(waiting, queue=queue, count=count - len(found))
        return [KeptJob(*row) for row in found]

    def hand(self, queue: str, job: KeptJob, holder: str) -> None:
        sql = "UPDATE jobs SET holder = :holder, attempt = attempt + 1 WHERE queue = :queue AND id = :job"
        self._run(sql, queue=queue, job=job.id, holder=holder)

    def to_front(self, queue: str, job: KeptJob) -> None:
        sql = """UPDATE jobs SET holder = NULL, attempt = attempt - 1, place = (SELECT min(place) - 1 FROM jobs)
            WHERE queue = :queue AND id = :job"""
        self._run(sql, queue=queue, job=job.id)

    def drop_job(self, queue: str, job_id: str) -> None:
        self._run("DELETE FROM jobs WHERE queue = :queue AND id = :job", queue=queue, job=job_id)

    def queue_state(self, queue: str) -> QueueState:
        sql = f"""SELECT count(*), count(holder), coalesce(sum(holder IN {_ALIVE}), 0),
            min(CASE WHEN holder IS NULL THEN since END) FROM jobs WHERE queue = :queue"""  # noqa: S608
        jobs, had, taken, since = self._row(sql, queue=queue, now=time.monotonic())
        oldest = 0.0 if since is None else max(0.0, time.time() - since)
        return QueueState(jobs - had, taken, had - taken, oldest)

    def _sweep(self, name: str | None = None) -> None:
        """Delete some of the logs that have expired, and that of this name if it is there still."""
        sql = """SELECT id FROM (SELECT id FROM logs WHERE ends_at <= :now LIMIT :most)
            UNION SELECT id FROM logs WHERE name = :name"""
        found = [log for (log,) in self._rows(sql, now=time.time(), most=_SWEPT, name=name)]
        if found:
            self._delete(found)

    def _delete(self, logs: Iterable[int]) -> None:
        for log in logs:
            self._run("DELETE FROM entries WHERE log = :log", log=log)
            self._run("DELETE FROM logs WHERE id = :log", log=log)
        (left,) = self._row("PRAGMA freelist_count")
        if left > _LEFT:
            for _ in range(_FREED):  # one a step, and `execute` makes one step
                self._db.execute("PRAGMA incremental_vacuum")

    def _run(self, sql: str, **values: Any) -> int:
        return self._db.execute(sql, values).rowcount

    def _row(self, sql: str, **values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()

    def _rows(self, sql: str, **values: Any) -> sqlite3.Cursor:
        return self._db.execute(sql, values)


def _head(row: tuple[str, int, int, int, str | None, int]) -> Head:
    name, log, epoch, closed, holder, length = row
    return Head(name, f"{log:016x}", epoch, length, closed=bool(closed), holder=holder)


def _id(head: Head) -> int:
    return int(head.generation, 16)
