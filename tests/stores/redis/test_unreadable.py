"""What another program has put under the keys of a log: told of that log alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from interrupted_stores import CALLS, faults, prepare

from anthropix_actors.stores import StoreError, Unreadable
from anthropix_actors.stores.redis import connections

from interrupts import KINDS, interrupted_at
from redis_servers import blocked, started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from anthropix_actors.stores.redis import RedisStore

    from redis_servers import RedisServer


@pytest.fixture
def cursors(store: RedisStore) -> dict[str, str | None]:
    """What was read of two logs."""
    for name in ("good", "bad"):
        store.append(name, store.claim(name), 0, [{"n": 0}])
    return {name: store.read(name)[-1].cursor for name in ("good", "bad")}


def test_an_entry_that_is_no_json_is_told_of_its_log_alone(
    store: RedisStore, shared_redis: RedisServer, cursors: dict[str, str | None]
) -> None:
    meta, stream, _ = store._keys.log("bad")
    shared_redis.run("XADD", stream, "2-1", "data", "{half")
    shared_redis.run("HSET", meta, "length", 2)
    assert [entry.data for entry in store.read("bad")] == [{"n": 0}]
    found: Any = store.read_many({**cursors, "good": None})
    assert [entry.data for entry in found["good"]] == [{"n": 0}]
    assert isinstance(found["bad"], Unreadable)
    assert found["bad"].number == 1


@pytest.mark.parametrize("part", [0, 1])
def test_another_kind_of_value_is_told_of_its_log_alone(
    store: RedisStore, shared_redis: RedisServer, cursors: dict[str, str | None], part: int
) -> None:
    reader, found = started(lambda: store.read_many(cursors, wait=DEADLINE))
    until(lambda: blocked(shared_redis))
    shared_redis.run("SET", store._keys.log("bad")[part], "what?")
    store.append("good", 1, 1, [{"n": 1}])
    reader.join(DEADLINE)
    assert found
    found.append(store.read_many({**cursors, "bad": None}))
    assert isinstance(found[-1]["bad"], Unreadable)
    assert "WRONGTYPE" in str(found[-1]["bad"])
    assert [entry.data for entry in found[-1]["good"]] == [{"n": 1}]
    with pytest.raises(Unreadable):
        store.read("bad")


def test_who_waits_for_another_kind_of_value_is_told(
    store: RedisStore, shared_redis: RedisServer, cursors: dict[str, str | None]
) -> None:
    """Redis refuses to wait for it, and does not say which one it is."""
    assert store.read_many(cursors, wait=0.01) == {}  # that it is there is known
    shared_redis.run("SET", store._keys.log("bad")[1], "what?")
    assert isinstance(store.read_many(cursors, wait=DEADLINE)["bad"], Unreadable)


def test_a_hash_of_another_program_is_told_of_its_log_alone(
    store: RedisStore, shared_redis: RedisServer, cursors: dict[str, str | None]
) -> None:
    shared_redis.run("HDEL", store._keys.log("bad")[0], "length")
    assert [*store.read_many(cursors)] == ["bad"]


def test_what_redis_refuses_for_another_reason_is_no_fault_of_a_log(
    store: RedisStore, shared_redis: RedisServer, cursors: dict[str, str | None]
) -> None:
    shared_redis.run("ACL", "SETUSER", "nobody", "on", "nopass", "~*", "+@all", "-hmget")
    url = shared_redis.url.replace("unix://", "unix://nobody:x@")
    with (
        shared_redis.store(url, prefix=store._keys.prefix) as other,
        pytest.raises(StoreError, match=r"can.t run this command|permission"),
    ):
        other.read_many(cursors)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_leaves_no_reply_in_a_connection(store: RedisStore, kind: str) -> None:
    prepare(store)
    for call in CALLS:
        assert [*faults(store, call, kind, every=11)] == []
    assert not store._connections._here().redis.connection_pool._in_use_connections


def test_an_interrupt_while_connections_are_given_back_gives_them_back(store: RedisStore) -> None:
    store.claim("open")
    with pytest.raises(KeyboardInterrupt), interrupted_at(connections._give_back):
        store.read("open", wait=0.5)
    assert not store._connections._here().redis.connection_pool._in_use_connections
