"""Ctrl-C in a call of a store: nothing stays held, and the interrupt is raised."""

from __future__ import annotations

import gc
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from interrupted_stores import CALLS, faults, prepare

from anthropix_actors.stores import MemoryStore, SQLiteStore, StoreError

from interrupts import KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from anthropix_actors.stores.local.store import LocalStore


def watching(store: LocalStore) -> object:
    gc.collect()
    return store._changes._watching()


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_leaves_nothing_held_in_a_store_in_memory(kind: str) -> None:
    store = MemoryStore()
    prepare(store)
    for call in CALLS:
        assert [*faults(store, call, kind, every=3)] == []
    assert not watching(store)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_leaves_no_lock_and_no_transaction_in_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "logs.db"

    def another_process_may_write() -> None:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")

    with closing(SQLiteStore(path, timeout=1, synchronous="normal")) as store:
        prepare(store)
        for call in CALLS:
            assert [*faults(store, call, kind, every=7, also=another_process_may_write)] == []
        assert not watching(store)


def test_a_handler_that_uses_what_it_interrupts_is_told(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "logs.db")) as store:

        def step(_: object) -> int:
            with pytest.raises(StoreError, match="signal handler"):
                store.claim("a")
            return 7

        assert store._write(step) == 7
        assert store.claim("a") == 1


def test_a_fork_that_was_interrupted_before_it_held_a_store_lets_go_of_nothing(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "logs.db")) as file:
        for store in (file, MemoryStore()):
            store.after_fork_in_parent()
            assert store.claim("a") == 1
