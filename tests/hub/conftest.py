"""Stores of each kind: what a hub promises, it promises over any of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores import MemoryStore, SQLiteStore

from redis_servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anthropix_actors.stores import Store

_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis_of_hubs() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, of each kind."""
    store: Store
    if request.param == "redis":
        store = request.getfixturevalue("redis_of_hubs").store(prefix=f"hub-{next(_numbers)}")
    else:
        store = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "chats.db")
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store, of each kind that processes share."""
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path}/chats.db"
        return
    server: RedisServer = request.getfixturevalue("redis_of_hubs")
    yield server.url
    server.run("FLUSHALL")
