"""What an interrupt in a call of a store leaves: said by exceptions that come from within."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores import MemoryStore, SQLiteStore, StoreError

if TYPE_CHECKING:
    from pathlib import Path


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


def test_a_step_that_is_interrupted_leaves_no_transaction(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "logs.db")) as store:
        with pytest.raises(KeyboardInterrupt):
            store._write(interrupt)
        assert store.claim("a") == 1


def test_a_handler_that_uses_the_store_it_interrupts_is_told_so(tmp_path: Path) -> None:
    with closing(SQLiteStore(tmp_path / "logs.db")) as store:

        def handler(_: object) -> None:
            store.claim("a")

        with pytest.raises(StoreError, match="a signal handler, or a fork, has interrupted"):
            store._write(handler)
        assert store.claim("a") == 1


def test_who_is_interrupted_before_the_block_of_the_lock_lets_it_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(SQLiteStore(tmp_path / "logs.db")) as store:
        acquire = store._writer._acquire

        def interrupted(deadline: float) -> None:
            acquire(deadline)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(store._writer, "_acquire", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.claim("a")
        assert store.claim("a") == 1


def test_a_fork_that_was_interrupted_lets_go_what_it_has_alone(tmp_path: Path) -> None:
    memory = MemoryStore()
    memory.after_fork_in_parent()
    assert memory.claim("a") == 1
    with closing(SQLiteStore(tmp_path / "logs.db")) as store:
        store._writer.let_go()
        assert store.claim("a") == 1
