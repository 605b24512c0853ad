"""A store in one process: what its file may be, and what it does when it cannot."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from anthropix_actors import ParameterError
from anthropix_actors.stores import Lost, SQLiteStore, StoreError
from anthropix_actors.stores.sqlite import schema
from anthropix_actors.stores.sqlite.schema import FORMAT

from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.stores.local.tables import Tables


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(path)) as store:
        yield store


def other(path: Path) -> closing[sqlite3.Connection]:
    """Open the file as another program does."""
    return closing(sqlite3.connect(path, timeout=DEADLINE, isolation_level=None))


def test_what_was_written_is_there_for_the_next_one(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        store.append("a", store.claim("a"), 0, [{"n": 1}])
        store.put("jobs", "b", {"n": 2})
        [entry] = store.read("a")
    with closing(SQLiteStore(str(path))) as store:
        assert store.read("a") == [entry]
        assert store.read("a", entry.cursor) == []
        assert store.claim("a") == 2
        assert [job.data for job in store.take("jobs", "me", 1)] == [{"n": 2}]
    assert repr(store) == f"SQLiteStore({str(path)!r})"


@pytest.mark.parametrize(("synchronous", "number"), [("full", 2), ("normal", 1)])
def test_each_commit_is_on_the_disk_unless_that_is_not_wanted(path: Path, synchronous: Any, number: int) -> None:
    with closing(SQLiteStore(path, synchronous=synchronous)) as store:
        assert store.claim("a") == 1
        assert store._writer.run(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (number,)
    with other(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("path", ["", "a\0b", 7, None, b"a.db"])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(ParameterError, match="path: expected the path of a file"):
        SQLiteStore(path)


@pytest.mark.parametrize(
    "options", [{"max_entry_bytes": 0}, {"max_entry_bytes": "1"}, {"timeout": -1}, {"synchronous": "off"}]
)
def test_options_are_checked(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="expected"):
        SQLiteStore(path, **options)


def test_a_program_may_change_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(SQLiteStore(Path("logs.db"))) as store:
        store.claim("a")
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        store._writer.hold()  # it is opened anew
        store._writer.let_go()
        assert store.claim("a") == 2


def test_a_file_that_is_no_database_is_told(path: Path) -> None:
    path.write_bytes(b"something else, and longer than the head of a database" * 100)
    with pytest.raises(StoreError, match="file is not a database") as caught:
        SQLiteStore(path)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert path.read_bytes().startswith(b"something else")


def test_a_folder_or_none_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "logs.db"):
        with pytest.raises(StoreError, match="unable to open database file") as caught:
            SQLiteStore(path)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE theirs (a)", "PRAGMA user_version = 7", "PRAGMA application_id = 7"]
)
def test_a_database_of_another_program_is_left_alone(path: Path, statement: str) -> None:
    with other(path) as db:
        db.execute(statement)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="a database of another program"):
        SQLiteStore(path)
    assert path.read_bytes() == before


def test_a_file_of_another_format_is_refused(path: Path) -> None:
    SQLiteStore(path).close()
    with other(path) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(StoreError, match=f"has format {FORMAT + 1}, and this release reads format {FORMAT}"):
        SQLiteStore(path)


def test_where_there_can_be_no_log_ahead_that_is_told() -> None:
    with closing(sqlite3.connect(":memory:")) as db, pytest.raises(StoreError, match="local disk"):
        schema.prepare(db, "full")


def test_who_is_second_to_make_the_file_makes_nothing(path: Path, store: SQLiteStore) -> None:
    store.claim("a")
    with other(path) as db:
        schema._make(db)
    assert store.claim("a") == 2


def test_many_may_make_the_file_at_once(path: Path) -> None:
    stores: list[SQLiteStore] = []
    gate = threading.Barrier(8)

    def make() -> None:
        gate.wait(DEADLINE)
        stores.append(SQLiteStore(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(store.claim("a") for store in stores) == [*range(1, 9)]
    for store in stores:
        store.close()


def test_who_finds_the_file_locked_waits_and_goes_on(store: SQLiteStore, path: Path) -> None:
    claimed = threading.Event()

    def claim() -> None:
        store.claim("a")
        claimed.set()

    with other(path) as db:
        db.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=claim)
        thread.start()
        assert store.names() == []  # nobody who reads waits
        assert not claimed.is_set()
        db.execute("COMMIT")
        wait(claimed)
        thread.join(DEADLINE)


def test_who_finds_the_file_in_the_hands_of_one_alone_waits_and_goes_on(path: Path) -> None:
    """As when the last process that had it open puts it in order, or the first one after a crash."""
    SQLiteStore(path).close()
    opened: list[SQLiteStore] = []
    thread = threading.Thread(target=lambda: opened.append(SQLiteStore(path, timeout=DEADLINE)))
    with other(path) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN IMMEDIATE")
        db.execute("COMMIT")
        with pytest.raises(StoreError, match="locked"):
            SQLiteStore(path, timeout=0.01)
        thread.start()
    thread.join(2 * DEADLINE)
    assert opened[0].names() == []
    opened[0].close()


def test_a_file_that_is_locked_for_too_long_is_told(path: Path) -> None:
    with closing(SQLiteStore(path, timeout=0.05)) as store, other(path) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            store.claim("a")
        db.execute("COMMIT")
        assert store.claim("a") == 1


def test_a_thread_that_is_held_up_by_another_for_too_long_is_told(path: Path) -> None:
    held, done = threading.Event(), threading.Event()

    def hold(store: SQLiteStore) -> None:
        def step(_: object) -> None:
            held.set()
            wait(done)

        store._write(step)

    with closing(SQLiteStore(path, timeout=0.05)) as store:
        thread = threading.Thread(target=hold, args=(store,))
        thread.start()
        wait(held)
        with pytest.raises(StoreError, match="other threads use it"):
            store.claim("a")
        assert store.names() == []
        done.set()
        thread.join(DEADLINE)
        assert store.claim("a") == 1


def test_what_a_full_disk_did_not_take_is_not_there(store: SQLiteStore) -> None:
    store.append("a", store.claim("a"), 0, [{"n": 0}])
    store._writer.run(lambda db: db.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreError, match="full") as caught:
        store.append("a", 1, 1, [{"n": 1, "text": "x" * 100_000}])
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    store.append("a", 1, 1, [{"n": 2, "text": "x" * 100_000}])
    assert [entry.data["n"] for entry in store.read("a")] == [0, 2]


def test_a_corrupt_file_is_told(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        store.append("a", store.claim("a"), 0, [{"text": "x" * 2000}] * 100)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with closing(SQLiteStore(path)) as store:
        with pytest.raises(StoreError, match="malformed") as caught:
            store.read("a")
        assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
        path.write_bytes(whole)
        assert len(store.read("a")) == 100


def test_a_file_that_is_deleted_takes_its_logs_along(store: SQLiteStore, path: Path) -> None:
    """What is written into it would be gone with the process."""
    epoch = store.claim("a")
    store.append("a", epoch, 0, [{}])
    [entry] = store.read("a")
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink()
    with pytest.raises(Lost):
        store.append("a", epoch, 1, [{}])
    with pytest.raises(Lost):
        store.read("a", entry.cursor)
    assert path.exists()
    assert store.claim("a") == 1


def test_an_exception_in_the_middle_undoes_all(store: SQLiteStore) -> None:
    def step(tables: Tables) -> None:
        tables.make("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store._write(step)
    assert store.state("a") is None
    assert store.claim("a") == 1


def test_what_is_closed_says_so(store: SQLiteStore) -> None:
    store.close()
    store.close()
    for call in (lambda: store.claim("a"), lambda: store.read("a", wait=DEADLINE), lambda: store.take("a", "me", 1)):
        with pytest.raises(StoreError, match="is closed"):
            call()


def test_one_of_those_that_wait_asks_for_all_and_then_the_next_one(store: SQLiteStore, path: Path) -> None:
    """The first one that waits, and so asks whether another process has written, leaves before that has."""
    store.append("a", store.claim("a"), 0, [{"n": 0}])
    cursor = store.read("a")[0].cursor
    found: list[Any] = []
    first = threading.Thread(target=lambda: store.read("a", cursor, wait=0.2))
    first.start()
    until(lambda: store._changes._asker() is not None)
    second = threading.Thread(target=lambda: found.append(store.read("a", cursor, wait=DEADLINE)))
    second.start()
    first.join(DEADLINE)
    with closing(SQLiteStore(path)) as another:
        another.append("a", 1, 1, [{"n": 1}])
    second.join(DEADLINE)
    assert [entry.data for entry in found[0]] == [{"n": 1}]


def test_who_waits_is_told_when_the_file_is_no_more_one(store: SQLiteStore, path: Path) -> None:
    store.append("a", store.claim("a"), 0, [{"n": 0}])
    cursor = store.read("a")[0].cursor
    errors: list[BaseException] = []

    def read() -> None:
        try:
            store.read("a", cursor, wait=DEADLINE)
        except StoreError as exc:
            errors.append(exc)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: store._changes._asker() is not None)
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink()
    path.unlink()
    path.mkdir()
    reader.join(DEADLINE)
    assert "unable to open" in str(errors[0])
    path.rmdir()


def test_a_beat_of_before_the_machine_started_anew_is_none(store: SQLiteStore, path: Path) -> None:
    """The clock of beats begins anew then: a time after the present one was before that."""
    store.beat("me", 60)
    store.claim("a", holder="me")
    with other(path) as db:
        later = time.monotonic() + 1000
        db.execute("UPDATE holders SET since = ?, until = ?", (later, later + 60))
    assert store.claim("a", holder="you") == 2
    store.beat("you", 0)
    with other(path) as db:
        assert db.execute("SELECT count(*) FROM holders").fetchone() == (0,)


def test_logs_that_have_expired_are_deleted_and_their_room_is_used_again(store: SQLiteStore, path: Path) -> None:
    text = "x" * 20_000
    sizes = []
    for number in range(300):
        name = f"log-{number}"
        store.append(name, store.claim(name), 0, [{"text": text}])
        store.expire(name, 0)
        sizes.append(path.stat().st_size)
    assert sizes[-1] == sizes[150] < 60 * len(text)
    with other(path) as db:
        assert db.execute("SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM entries)").fetchone() == (0, 0)


def test_logs_that_expire_later_are_deleted_as_others_are_made(store: SQLiteStore, path: Path) -> None:
    for number in range(50):
        store.append(f"old-{number}", store.claim(f"old-{number}"), 0, [{}])
        store.expire(f"old-{number}", 0.01)
    until(lambda: store.names() == [])
    store.append("old-7", store.claim("old-7"), 0, [{"n": "new"}])
    assert [entry.data for entry in store.read("old-7")] == [{"n": "new"}]
    for number in range(3):
        store.claim(f"new-{number}")
    with other(path) as db:
        assert db.execute("SELECT count(*) FROM logs").fetchone() == (4,)
        assert db.execute("SELECT count(*) FROM entries").fetchone() == (1,)


def test_room_that_is_free_is_given_back_to_the_disk(store: SQLiteStore, path: Path) -> None:
    size = 0
    for number in range(8):
        store.append(str(number), store.claim(str(number)), 0, [{"text": "x" * 100_000}] * 10)
    store._writer.hold()
    store._reader.hold()  # what was written is in the file, not beside it
    size = path.stat().st_size
    store._writer.let_go()
    store._reader.let_go()
    for number in range(8):
        store.delete(str(number))
    store.close()
    assert path.stat().st_size < 0.9 * size


def test_what_comes_from_users_is_no_sql(store: SQLiteStore) -> None:
    evil = "a'; DROP TABLE logs; --"
    store.append(evil, store.claim(evil, holder=evil), 0, [{evil: evil}])
    store.put(evil, evil, {evil: evil})
    store.post(f"{evil}2", {}, key=evil)
    store.beat(evil, 60)
    assert store.names(evil) == [evil, f"{evil}2"]
    assert store.names("a%") == []
    with pytest.raises(ParameterError, match="prefix: expected a str, got 7"):
        store.names(cast("Any", 7))
    assert [job.id for job in store.take(evil, evil, 1)] == [evil]
    assert [entry.data for entry in store.read(evil)] == [{evil: evil}]


def test_entries_are_read_up_to_a_size(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.stores.local.rules.MOST_READ_BYTES", 2500)
    store.append("a", store.claim("a"), 0, [{"n": number, "text": "x" * 1000} for number in range(7)])
    cursor, numbers = None, []
    while entries := store.read("a", cursor):
        numbers.append([entry.number for entry in entries])
        cursor = entries[-1].cursor
    assert numbers == [[0, 1, 2], [3, 4, 5], [6]]


def test_threads_that_read_and_write_get_along(store: SQLiteStore) -> None:
    epoch = store.claim("a")
    done = threading.Event()
    lengths: list[list[int]] = [[] for _ in range(4)]

    def read(found: list[int]) -> None:
        while not done.is_set():
            found.append(len(store.read("a")))

    threads = [threading.Thread(target=partial(read, found)) for found in lengths]
    for thread in threads:
        thread.start()
    for number in range(100):
        store.append("a", epoch, number, [{"n": number}])
    done.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert all(found == sorted(found) for found in lengths)
