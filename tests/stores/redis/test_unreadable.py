"""What another program has put under the keys of a log: told of that log alone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from interrupted_stores import CALLS, KINDS, faults, prepare

from anthropix_actors.stores import StoreError, Unreadable

from servers import DEADLINE, until

if TYPE_CHECKING:
    from anthropix_actors.stores.redis import RedisStore

    from redis_servers import RedisServer


@pytest.fixture
def raw(shared_redis: RedisServer) -> Any:
    return shared_redis.client()


def key(raw: Any, store: RedisStore, part: str) -> str:
    prefix = store._keys.prefix
    [found] = [each.decode() for each in raw.keys(f"{prefix}*{part}*bad")]
    return found


def test_an_entry_that_is_no_json_is_told_of_its_log_alone(store: RedisStore, raw: Any) -> None:
    for name in ("good", "bad"):
        store.append(name, store.claim(name), 0, [{"n": 0}])
    raw.xadd(key(raw, store, "entries"), {"data": "{half"}, id="2-1")
    raw.hset(store._keys.log("bad").meta, "length", 2)
    first = store.read("bad")
    assert [entry.data for entry in first] == [{"n": 0}]
    found = store.read_many({"good": None, "bad": first[-1].cursor})
    assert isinstance(found["good"], list)
    error = found["bad"]
    assert isinstance(error, Unreadable)
    assert error.number == 1


@pytest.mark.parametrize("part", ["meta", "stream"])
def test_another_kind_of_value_is_told_of_its_log_alone(store: RedisStore, raw: Any, part: str) -> None:
    for name in ("good", "bad"):
        store.append(name, store.claim(name), 0, [{"n": 0}])
    cursors = {name: store.read(name)[-1].cursor for name in ("good", "bad")}
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(store.read_many(cursors, wait=DEADLINE)))
    reader.start()
    until(lambda: raw.info("clients")["blocked_clients"])
    with raw.pipeline() as both:
        both.delete(getattr(store._keys.log("bad"), part)).set(getattr(store._keys.log("bad"), part), "what?").execute()
    store.append("good", 1, 1, [{"n": 1}])
    reader.join(DEADLINE)
    assert found
    found.append(store.read_many({**cursors, "bad": None}))
    assert isinstance(found[-1]["bad"], Unreadable)
    assert "WRONGTYPE" in str(found[-1]["bad"])
    assert [entry.data for entry in found[-1]["good"]] == [{"n": 1}]
    with pytest.raises(Unreadable):
        store.read("bad")


def test_a_hash_of_another_program_is_told_of_its_log_alone(store: RedisStore, raw: Any) -> None:
    store.claim("bad")
    raw.hdel(store._keys.log("bad").meta, "length")
    assert isinstance(store.read_many({"bad": None})["bad"], Unreadable)


def test_an_error_of_redis_is_that_of_all_logs(store: RedisStore, shared_redis: RedisServer, raw: Any) -> None:
    store.claim("bad")
    raw.acl_setuser("nobody", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-hmget"])
    url = shared_redis.url.replace("unix://", "unix://nobody:x@")
    with type(store).from_url(url, prefix=store._keys.prefix) as other, pytest.raises(StoreError, match="permission"):
        other.read_many({"bad": None})


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_leaves_no_reply_in_a_connection(store: RedisStore, kind: str) -> None:
    prepare(store)
    for call in CALLS:
        assert [*faults(store, call, kind, every=7)] == []
    assert not store._connections._here().redis.connection_pool._in_use_connections
