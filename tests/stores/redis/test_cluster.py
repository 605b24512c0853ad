"""A Cluster of several nodes, of which one is killed, or away, and whose slots move: nothing is told twice, or lost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores import Lost, StoreError
from anthropix_actors.stores.redis import RedisStore

from redis_servers import blocked, started
from redis_topologies import FORMING, agreed, cluster, new_node
from servers import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.stores import Entry

    from redis_topologies import Cluster

NAMES = [f"log-{number}" for number in range(30)]
"""Logs in all places."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster(1) as found:
        yield found


@pytest.fixture
def store(nodes: Cluster) -> Iterator[RedisStore]:
    yield from closing(nodes)


@pytest.fixture
def other(nodes: Cluster) -> Iterator[RedisStore]:
    yield from closing(nodes)


def closing(nodes: Cluster) -> Iterator[RedisStore]:
    store = RedisStore.from_url(nodes.url, patience=FORMING)
    yield store
    store.close()


def filled(store: RedisStore, names: list[str] = NAMES) -> dict[str, int]:
    """Return the epochs of logs with one entry each."""
    epochs = {name: store.claim(name) for name in names}
    for name, epoch in epochs.items():
        store.append(name, epoch, 0, [{"n": 0}])
    return epochs


def append(store: RedisStore, names: list[str], epochs: dict[str, int]) -> None:
    for name in names:
        store.append(name, epochs[name], 1, [{"n": 1}])


def follow(store: RedisStore, names: list[str], count: int) -> dict[str, list[Entry]]:
    """Read logs until each has so many entries."""
    read: dict[str, list[Entry]] = {name: [] for name in names}
    while left := {name: found for name, found in read.items() if len(found) < count}:
        cursors = {name: found[-1].cursor if found else None for name, found in left.items()}
        for name, entries in store.read_many(cursors, wait=FORMING).items():
            assert isinstance(entries, list), f"{name}: {entries}"
            read[name] += entries
    return read


def said(call: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        call()
    return str(caught.value)


def test_who_writes_follows_and_takes_goes_on_with_a_replica(
    nodes: Cluster, store: RedisStore, other: RedisStore
) -> None:
    epochs = filled(store)
    store.beat("one", 60)
    nodes.settle()
    queue = next(name for name in NAMES if nodes.primary_of(store._keys.log(name).meta) is nodes.servers[0])
    reader, read = started(lambda: follow(other, NAMES, 4))
    taker, taken = started(lambda: other.take(queue, "one", 1, wait=FORMING))
    until(lambda: sum(blocked(node) for node in nodes.running) > len(other._keys.shards))
    nodes.servers[0].kill()
    for number in (1, 2, 3):
        for name, epoch in epochs.items():
            store.append(name, epoch, number, [{"n": number}])
    store.beat("one", 60)
    assert store.put(queue, "job", {})
    for thread in (reader, taker):
        thread.join(FORMING)
    assert {name: [entry.data["n"] for entry in found] for name, found in read[0].items()} == {
        name: [0, 1, 2, 3] for name in NAMES
    }
    assert [job.id for job in taken[0]] == ["job"]
    assert store.names("log-") == sorted(NAMES)
    for name in NAMES:
        store.delete(name)
    nodes.rejoin(nodes.servers[0])


def test_a_slot_that_moves_is_waited_for_and_found_again(nodes: Cluster, store: RedisStore, other: RedisStore) -> None:
    epochs = filled(store)
    key = store._keys.log(NAMES[0]).meta
    here = [name for name in NAMES if store._keys.shard(name) == store._keys.shard(NAMES[0])]
    source = nodes.primary_of(key)
    target = next(nodes.primary_of(store._keys.log(name).meta) for name in NAMES[1:] if name not in here)
    target = next(node for node in nodes.primaries if node is not source) if target is source else target
    hasty = RedisStore.from_url(nodes.url, patience=0)
    moving = nodes.move(nodes.slot_of(key), source, target)
    moving.begin()
    for count in (0, 1, 1000):
        moving.move(count)
        assert "a slot of the Cluster is being moved" in said(lambda: hasty.append(NAMES[0], epochs[NAMES[0]], 1, [{}]))
        with contextlib.suppress(StoreError):  # TRYAGAIN, where one of its keys has moved
            assert [entry.data["n"] for entry in hasty.read(NAMES[0])] == [0]
    with pytest.raises(StoreError):
        hasty.beat("one", 60)
    elsewhere = next(name for name in NAMES if name not in here)
    hasty.claim(elsewhere, "one")
    assert hasty.state(elsewhere).holder == "one"  # type: ignore[union-attr]  # the other shards have heard it
    reader, read = started(lambda: follow(other, here, 2))
    writer, written = started(lambda: append(store, here, epochs))
    moving.end()
    for thread in (reader, writer):
        thread.join(FORMING)
    assert written == [None]
    assert {name: [entry.data["n"] for entry in found] for name, found in read[0].items()} == {
        name: [0, 1] for name in here
    }
    for name in NAMES:
        store.delete(name)
    hasty.close()


def test_a_node_that_is_new_is_waited_for_and_has_its_names(nodes: Cluster, store: RedisStore) -> None:
    filled(store)
    hasty = RedisStore.from_url(nodes.url, patience=0)
    key = store._keys.log(NAMES[0]).meta
    source = nodes.primary_of(key)
    with new_node(nodes) as node:
        there = nodes.move(nodes.slot_of(key), source, node)
        there.begin()
        there.move()
        assert "a slot of the Cluster is being moved" in said(lambda: hasty.state(NAMES[0]))
        there.end()
        assert nodes.primary_of(key) is node
        assert hasty.names("log-") == sorted(NAMES)
        assert hasty.state(NAMES[0]) is not None
        back = nodes.move(nodes.slot_of(key), node, source)
        back.begin()
        back.move()
        back.end()
        assert store.names("log-") == sorted(NAMES)
        for name in NAMES:
            store.delete(name)
    hasty.close()


def test_a_part_that_is_away_is_told_of_and_the_others_hear_who_lives(nodes: Cluster, store: RedisStore) -> None:
    filled(store)
    nodes.settle()
    hasty = RedisStore.from_url(nodes.url, patience=0)
    primary = nodes.primary_of(store._keys.log(NAMES[0]).meta)
    replica = nodes.replica_of(primary)
    away = [name for name in NAMES if nodes.primary_of(store._keys.log(name).meta) is primary]
    kept = next(name for name in NAMES if name not in away)
    for node in nodes.servers:
        node.run("CONFIG", "SET", "cluster-require-full-coverage", "no")
    for node in (replica, primary):
        node.kill()
    said(lambda: hasty.state(away[0]))
    said(lambda: hasty.beat("one", 60))
    hasty.claim(kept, "one")
    assert hasty.state(kept).holder == "one"  # type: ignore[union-attr]
    for node in nodes.running:
        node.run("CONFIG", "SET", "cluster-require-full-coverage", "yes")
    agreed(lambda: all("cluster_state:fail" in node.run("CLUSTER", "INFO").decode() for node in nodes.running))
    assert "a part of the Cluster is away" in said(lambda: hasty.state(kept))
    begun = RedisStore.from_url(f"redis+cluster://127.0.0.1:{nodes.running[0].port}", patience=FORMING)
    for node in (primary, replica):
        node.start()
    with pytest.raises(Lost):
        begun.read(away[0], wait=FORMING)
    assert begun.state(kept) is not None
    for name in NAMES:
        begun.delete(name)
    for each in (hasty, begun):
        each.close()
