"""An entry that is no JSON object, as another program may write it: told of its log alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores import Entry, SQLiteStore, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anthropix_actors.stores import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store with two logs; the second entry of `bad` is no JSON."""
    path = tmp_path / "logs.db"
    with closing(SQLiteStore(path)) as store:
        for name in ("good", "bad"):
            store.append(name, store.claim(name), 0, [{"n": 0}, {"n": 1}, {"n": 2}])
        write(path, "'{half'")
        yield store


def write(path: Path, data: str) -> None:
    with closing(sqlite3.connect(path, timeout=10)) as db:
        db.execute(
            f"UPDATE entries SET data = {data} WHERE number = 1 AND log = (SELECT id FROM logs WHERE name = 'bad')"
        )
        db.commit()


def numbers(store: Store, name: str) -> list[int]:
    return [entry.number for entry in store.read(name)]


@pytest.mark.parametrize(
    "data", ["'{half'", "'[1]'", "'null'", "''", "7", "x'ff00'", "x'7b2261223a22ff227d'", f"'{'[' * 5000}'"]
)
def test_what_cannot_be_read_is_told_of_its_log_alone(store: SQLiteStore, data: str) -> None:
    write(store.path, data)  # type: ignore[arg-type] # any path will do
    first = store.read("bad")
    assert [entry.number for entry in first] == [0]
    found = store.read_many({"good": None, "bad": first[-1].cursor})
    assert isinstance(found["good"], list)
    assert [entry.number for entry in found["good"]] == [0, 1, 2]
    error = found["bad"]
    assert isinstance(error, Unreadable)
    assert (error.name, error.number) == ("bad", 1)
    with pytest.raises(Unreadable, match="entry 1 of the log 'bad' cannot be read"):
        store.read("bad", first[-1].cursor)


def test_what_comes_after_it_can_be_read(store: SQLiteStore) -> None:
    cursor = store.read("good")[1].cursor
    bad = store.read("bad")[0].cursor.partition(".")[0]
    [entry] = store.read("bad", f"{bad}.1")
    assert isinstance(entry, Entry)
    assert entry.data == {"n": 2}
    assert [each.data for each in store.read("good", cursor)] == [{"n": 2}]


def test_its_writer_writes_on(store: SQLiteStore) -> None:
    store.append("bad", 1, 3, [{"n": 3}], close=True)
    assert numbers(store, "good") == [0, 1, 2]
