"""Each store of ours does what stores promise; and the checks find what one does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anthropix_actors import stores
from anthropix_actors.stores import MemoryStore, SQLiteStore

if TYPE_CHECKING:
    from pathlib import Path

    from anthropix_actors.stores.conformance.kit import Check

MOST = 2 << 20
"""Small enough to try what is too big."""


@pytest.mark.parametrize("check", stores.CHECKS)
def test_the_store_in_memory(check: Check) -> None:
    check(lambda: MemoryStore(max_entry_bytes=MOST))


@pytest.mark.parametrize("check", [*stores.CHECKS, *stores.SHARED_CHECKS])
def test_the_store_of_sqlite(check: Check, tmp_path: Path) -> None:
    check(lambda: SQLiteStore(tmp_path / "logs.db", max_entry_bytes=MOST))
