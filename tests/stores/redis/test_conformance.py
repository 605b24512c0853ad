"""A store in Redis does what all stores promise: alone, by way of Sentinel, and as a Cluster of several nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anthropix_actors import stores
from anthropix_actors.stores.redis import RedisStore, reading

from redis_topologies import cluster, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis_servers import RedisServer

EACH = pytest.mark.parametrize("check", [*stores.CHECKS, *stores.SHARED_CHECKS], ids=lambda check: str(check.__name__))


@pytest.fixture(autouse=True)
def _what_ends_in_silence_is_found_soon(monkeypatch: pytest.MonkeyPatch, _who_waits_is_woken: None) -> None:
    """One check has a log expire."""
    monkeypatch.setattr(reading, "LONGEST_WAIT", 1.0)


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    with cluster() as nodes:
        yield nodes.url


@pytest.fixture(scope="module")
def sentinel_url() -> Iterator[str]:
    with watched(3) as servers:
        yield servers.url


@EACH
def test_alone(shared_redis: RedisServer, check: Callable[[object], None]) -> None:
    check(lambda: shared_redis.store(prefix="conforming"))


@EACH
def test_by_way_of_sentinel(sentinel_url: str, check: Callable[[object], None]) -> None:
    check(lambda: RedisStore.from_url(sentinel_url))


@EACH
def test_in_a_cluster(cluster_url: str, check: Callable[[object], None]) -> None:
    check(lambda: RedisStore.from_url(cluster_url))
