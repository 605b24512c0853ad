"""A primary that Sentinels watch is killed, replaced, or becomes a replica: nothing is told twice, or lost silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores import Lost, StoreError
from anthropix_actors.stores.redis import RedisStore

from redis_servers import RedisServer, blocked, started
from redis_topologies import FORMING, agreed, watched
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_topologies import Watched


@pytest.fixture(scope="module")
def servers() -> Iterator[Watched]:
    with watched() as found:
        yield found


@pytest.fixture(autouse=True)
def _are_whole(servers: Watched) -> Iterator[None]:
    """Leave a primary with a replica to the next test."""
    yield
    for server in servers.servers:
        if server.process is None:
            servers.rejoin(server)


@pytest.fixture
def store(servers: Watched) -> Iterator[RedisStore]:
    store = RedisStore.from_url(servers.url, patience=FORMING)
    yield store
    store.close()


@pytest.fixture
def other(servers: Watched) -> Iterator[RedisStore]:
    store = RedisStore.from_url(servers.url, patience=FORMING)
    yield store
    store.close()


def write(store: RedisStore, name: str, epoch: int, first: int, count: int) -> None:
    for number in range(first, first + count):
        store.append(name, epoch, number, [{"n": number}])


def test_who_writes_follows_and_takes_goes_on_with_the_replica(
    store: RedisStore, other: RedisStore, servers: Watched
) -> None:
    epoch = store.claim("a")
    write(store, "a", epoch, 0, 3)
    cursor = other.read("a")[-1].cursor
    store.beat("one", 60)
    servers.settle()
    reader, read = started(lambda: other.read("a", cursor, wait=FORMING))
    taker, taken = started(lambda: other.take("q", "one", 1, wait=FORMING))
    until(lambda: blocked(servers.primary) == 2)
    killed = servers.primary
    killed.kill()
    write(store, "a", epoch, 3, 3)
    assert servers.primary is not killed
    assert store.put("q", "job", {"n": 1})
    for thread in (reader, taker):
        thread.join(FORMING)
    assert [entry.data["n"] for entry in read[0]] == [3, 4, 5][: len(read[0])]
    assert [entry.data["n"] for entry in other.read("a")] == [0, 1, 2, 3, 4, 5]
    assert [job.id for job in taken[0]] == ["job"]
    store.append("a", epoch, 6, [], close=True)
    assert other.finish("q", "one", "job")
    assert other.names() == ["a"]


def test_what_the_replica_does_not_have_is_lost_and_nobody_else_gets_its_place(
    store: RedisStore, other: RedisStore, servers: Watched
) -> None:
    epoch = store.claim("b")
    write(store, "b", epoch, 0, 2)
    servers.settle()
    servers.cut_off(servers.primary)
    lost = store.claim("b")
    write(store, "b", lost, 2, 3)
    cursor = other.read("b")[-1].cursor
    reader, found = started(lambda: other.read("b", cursor, wait=FORMING))
    servers.fail_over(servers.primary)
    reader.join(FORMING)
    assert isinstance(found[0], Lost)
    later = other.claim("b")
    write(other, "b", later, 2, 4)
    with pytest.raises(Lost, match="has lost entries"):
        other.read("b", cursor)
    assert [entry.epoch for entry in other.read("b")] == [epoch] * 2 + [later] * 4


def test_a_primary_that_was_replaced_while_it_lives_is_not_written_to() -> None:
    """As for an upgrade. For ten seconds it is not told, and what it takes until then is lost."""
    with watched() as servers:
        store = RedisStore.from_url(servers.url, patience=FORMING)
        key = store._keys.log("c").meta
        store.claim("c")
        servers.settle()
        before = servers.primary
        servers.sentinels[0].run("SENTINEL", "FAILOVER", "mymaster")
        agreed(lambda: servers.primary is not before)
        known = store.claim("c")
        until(lambda: store.claim("c") and int(servers.primary.run("HGET", key, "epoch")) >= known)
        assert before.run("INFO", "replication")["role"] == "master"
        store.close()


def test_a_server_that_is_no_primary_any_more_is_not_read(servers: Watched) -> None:
    """A Sentinel may not know it yet. What is old there would be taken for lost."""
    with RedisServer(tcp=True) as old, RedisServer(mode="--sentinel", tcp=True) as sentinel:
        sentinel.run("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", old.port, 1)
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        store = RedisStore.from_url(url, patience=0)
        store.append("a", store.claim("a"), 0, [{"n": 0}])
        old.run("REPLICAOF", "127.0.0.1", servers.primary.port)
        old.run("CLIENT", "KILL", "TYPE", "normal")
        for _ in range(3):
            with pytest.raises(StoreError):
                store.read("a")
        with pytest.raises(StoreError, match="the Sentinels name no other primary yet"):
            RedisStore.from_url(url, patience=0)
        old.run("REPLICAOF", "NO", "ONE")
        patient = RedisStore.from_url(url, patience=DEADLINE)
        patient.claim("b")
        old.run("REPLICAOF", "127.0.0.1", servers.primary.port)
        writer, found = started(lambda: patient.append("b", patient.claim("b"), 0, [{"n": 0}]))
        old.run("REPLICAOF", "NO", "ONE")
        writer.join(DEADLINE)
        assert not isinstance(found[0], StoreError)
        for each in (store, patient):
            each.close()


def test_what_is_connected_goes_on_without_sentinels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.stores.redis.connections._ASKS_EVERY", 0.0)
    with RedisServer(tcp=True) as redis:
        with RedisServer(mode="--sentinel", tcp=True) as sentinel:
            sentinel.run("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", redis.port, 1)
            store = RedisStore.from_url(f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster", patience=0)
            store.claim("a")
        assert store.claim("a") > 1
        assert store.state("a") is not None
        store.close()


def test_sentinels_that_know_no_primary_are_told_of() -> None:
    with RedisServer(tcp=True) as redis, RedisServer(mode="--sentinel", tcp=True) as sentinel:
        sentinel.run("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", redis.port, 1)
        sentinel.run("SENTINEL", "SET", "mymaster", "down-after-milliseconds", 100)
        store = RedisStore.from_url(f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster", patience=0)
        redis.kill()

        def is_told_of() -> bool:
            with pytest.raises(StoreError) as caught:
                store.claim("a")
            return "the Sentinels name no primary" in str(caught.value)

        until(is_told_of)
        store.close()
