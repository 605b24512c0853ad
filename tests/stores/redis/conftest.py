from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores.redis import queues, reading

from redis_servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.stores.redis import RedisStore

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _who_waits_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody finds by looking again, within the time of a test, what a bell should have told."""
    for module in (reading, queues):
        monkeypatch.setattr(module, "LONGEST_WAIT", 120.0)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A server for tests that do nothing to it."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server for one test, that also listens at a port."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture
def store(shared_redis: RedisServer) -> Iterator[RedisStore]:
    """An empty store."""
    store = shared_redis.store(prefix=f"test-{next(_numbers)}")
    yield store
    store.close()
