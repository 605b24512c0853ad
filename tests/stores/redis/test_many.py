"""An append to many logs: one round trip for each server, repeated without harm, whatever one log or server does."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors.stores import Append, Fenced, StoreClosedError, StoreError
from anthropix_actors.stores.redis import RedisStore

from redis_servers import Cutter, cluster_of_two, started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from redis_servers import RedisServer

NAMES = [f"log-{number}" for number in range(100)]


def claimed(store: RedisStore) -> dict[str, int]:
    return {name: store.claim(name) for name in NAMES}


def appends(epochs: Mapping[str, int], first: int) -> dict[str, Append]:
    return {name: Append(epoch, first, [{"n": first}]) for name, epoch in epochs.items()}


def written(store: RedisStore, name: str) -> list[int]:
    return [entry.data["n"] for entry in store.read(name)]


def reads(redis: RedisServer) -> int:
    """Return how often the server has read anything."""
    return int(redis.run("INFO", "stats")["total_reads_processed"])


def test_many_logs_take_one_round_trip(redis: RedisServer) -> None:
    with closing(redis.store()) as store:
        epochs = claimed(store)
        store.append_many(appends(epochs, 0))
        before = reads(redis)
        store.append_many(appends(epochs, 1))
        assert reads(redis) - before < 20  # it is some packets, and the questions of this test
        assert [written(store, name) for name in NAMES] == [[0, 1]] * 100


def test_what_was_done_before_its_reply_was_lost_is_not_done_again(redis: RedisServer) -> None:
    with Cutter(redis) as cutter, closing(redis.store(cutter.url, patience=DEADLINE)) as store:
        epochs = claimed(store)
        for first in range(10):
            cutter.armed.set()
            assert store.append_many(appends(epochs, first)) == {}
        assert cutter.cuts == 10
        assert [written(store, name) for name in NAMES] == [[*range(10)]] * 100


def test_a_server_that_has_forgotten_the_script_gets_its_text(redis: RedisServer) -> None:
    with closing(redis.store()) as store:
        epochs = claimed(store)
        for first in range(3):
            redis.run("SCRIPT", "FLUSH")
            assert store.append_many(appends(epochs, first)) == {}
        assert [written(store, name) for name in NAMES] == [[0, 1, 2]] * 100


def test_what_redis_cannot_do_with_one_log_keeps_no_other_from_being_written(redis: RedisServer) -> None:
    with closing(redis.store()) as store:
        epochs = claimed(store)
        redis.run("DEL", store._keys.log(NAMES[7]).stream)
        redis.run("SET", store._keys.log(NAMES[7]).stream, "of somebody else")
        store.claim(NAMES[8])
        found = store.append_many(appends(epochs, 0))
        assert {name: type(error) for name, error in found.items()} == {NAMES[7]: StoreError, NAMES[8]: Fenced}
        assert "WRONGTYPE" in str(found[NAMES[7]])
        assert found[NAMES[7]].__cause__ is not None
        assert [written(store, name) for name in NAMES[9:]] == [[0]] * 91


def test_a_memory_that_is_full_is_told_of_each_log_and_nothing_is_lost(redis: RedisServer) -> None:
    with closing(redis.store()) as store:
        epochs = claimed(store)
        redis.run("CONFIG", "SET", "maxmemory", "1")
        found = store.append_many(appends(epochs, 0))
        assert {*found} == {*NAMES}
        assert all("raise maxmemory" in str(error) for error in found.values())
        redis.run("CONFIG", "SET", "maxmemory", "0")
        assert store.append_many(appends(epochs, 0)) == {}


def test_a_server_that_is_away_is_waited_for(redis: RedisServer) -> None:
    with closing(redis.store(patience=0)) as hasty, closing(redis.store(patience=DEADLINE)) as patient:
        epochs = claimed(hasty)
        redis.kill()
        with pytest.raises(StoreError, match="connecting to"):
            hasty.append_many(appends(epochs, 0))
        writer, found = started(lambda: patient.append_many(appends(epochs, 0)))
        redis.start()
        writer.join(DEADLINE)
        assert [type(error).__name__ for error in found[0].values()] == ["Lost"] * 100  # it keeps nothing
    with pytest.raises(StoreClosedError):
        hasty.append_many(appends(epochs, 0))


# A Cluster


@pytest.fixture
def nodes() -> Iterator[tuple[RedisServer, RedisServer]]:
    with cluster_of_two() as both:
        yield both


def cluster(node: RedisServer, **options: Any) -> RedisStore:
    return RedisStore.from_url(f"redis+cluster://127.0.0.1:{node.port}", **options)


def of_node(store: RedisStore, node: RedisServer) -> set[str]:
    """Return which logs a node has."""
    client = store._connections._here().redis
    return {name for name in NAMES if client.get_node_from_key(store._keys.log(name).meta).port == node.port}


def test_a_node_that_is_away_keeps_the_others_from_nothing(nodes: tuple[RedisServer, RedisServer]) -> None:
    """That of the first log, so that it is asked first."""
    one, two = nodes
    with closing(cluster(one, patience=DEADLINE)) as patient, closing(cluster(two, patience=0.1)) as hasty:
        epochs = claimed(patient)
        away, here = (one, two) if NAMES[0] in of_node(patient, one) else (two, one)
        there = of_node(patient, here)
        assert 0 < len(there) < 100
        assert patient.append_many(appends(epochs, 0)) == {}
        away.kill()
        found = hasty.append_many(appends(epochs, 1))
        assert {*found} == {*NAMES} - there
        assert all(isinstance(error, StoreError) for error in found.values())
        assert [written(patient, name) for name in there] == [[0, 1]] * len(there)


def moved(store: RedisStore, source: RedisServer, target: RedisServer) -> Iterator[str]:
    """Move all that one shard has from one node to another; yield the name of a log of it in the middle."""
    client = store._connections._here().redis
    name = min(of_node(store, source))
    slot = client.keyslot(store._keys.log(name).meta)
    ids = {node: node.run("CLUSTER", "MYID").decode() for node in (source, target)}
    target.run("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.run("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    while keys := source.run("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.run("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    yield name
    for node in (target, source):
        node.run("CLUSTER", "SETSLOT", slot, "NODE", ids[target])


def test_logs_that_move_to_another_node_are_written_there(nodes: tuple[RedisServer, RedisServer]) -> None:
    one, two = nodes
    with closing(cluster(one, patience=DEADLINE)) as store:
        epochs = claimed(store)
        assert store.append_many(appends(epochs, 0)) == {}
        move = moved(store, one, two)
        name = next(move)
        writer, found = started(lambda: store.append_many(appends(epochs, 1)))
        until(lambda: written(store, NAMES[-1]) == [0, 1])  # what does not move is written meanwhile
        assert [*move] == []
        writer.join(DEADLINE)
        assert found == [{}]
        assert store.append_many(appends(epochs, 2)) == {}
        assert name in of_node(store, two)
        assert [written(store, name) for name in NAMES] == [[0, 1, 2]] * 100
