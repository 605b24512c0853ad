"""How often logs are looked at: seldom, and yet what is lost is found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores import Lost, StoreClosedError, places
from anthropix_actors.stores.redis import reading

from redis_servers import blocked, started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anthropix_actors.stores.log import Reads
    from anthropix_actors.stores.redis import RedisStore
    from anthropix_actors.stores.redis.places import LogPlace

    from redis_servers import RedisServer


@pytest.fixture
def looks(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many logs each look was for."""
    found: list[int] = []
    look = store._reader._look_at

    def counted(places: Sequence[LogPlace], more: Reads) -> None:
        found.append(len(places))
        look(places, more)

    monkeypatch.setattr(store._reader, "_look_at", counted)
    return found


def test_who_follows_many_logs_looks_only_where_something_has_come(
    store: RedisStore, shared_redis: RedisServer, looks: list[int]
) -> None:
    names = [f"log-{number}" for number in range(50)]
    cursors: dict[str, str | None] = {}
    for name in names:
        store.append(name, store.claim(name), 0, [{"n": 0}])
        cursors[name] = store.read(name)[-1].cursor
    assert store.read_many(cursors) == {}
    looks.clear()
    for name in names[:3]:
        reader, found = started(lambda: store.read_many(cursors, wait=DEADLINE))
        until(lambda: blocked(shared_redis))
        store.append(name, 1, 1, [{"n": 1}])
        reader.join(DEADLINE)
        cursors[name] = found[0][name][-1].cursor
    assert looks == [1, 1, 1]


def ends(store: RedisStore, redis: RedisServer) -> Iterator[Callable[[], object]]:
    """Get what ends the log `a`, without a word to who waits."""
    yield lambda: store.expire("a", 0.01)
    yield lambda: redis.run("DEL", *store._keys.log("a"))
    yield lambda: redis.run("DEL", store._keys.log("a").meta) and store.claim("a")


@pytest.mark.parametrize("way", range(3))
def test_what_ends_in_silence_is_found_soon(
    store: RedisStore, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, way: int
) -> None:
    monkeypatch.setattr(reading, "LONGEST_WAIT", 0.2)
    store.append("a", store.claim("a"), 0, [{"n": 0}])
    cursor = store.read("a")[-1].cursor
    reader, found = started(lambda: store.read("a", cursor, wait=DEADLINE))
    until(lambda: blocked(shared_redis))
    [*ends(store, shared_redis)][way]()
    reader.join(DEADLINE)
    assert isinstance(found[0], Lost)


def test_a_closed_log_is_looked_at_each_time(store: RedisStore) -> None:
    """Nobody rings for it: the log that takes its place has no word for those who read the one before."""
    store.append("a", store.claim("a"), 0, [{"n": 0}], close=True)
    cursor = store.read("a")[-1].cursor
    assert store.read("a", cursor, wait=DEADLINE) == []
    store.delete("a")
    store.append("a", store.claim("a"), 0, [{"n": 0}])
    reader, found = started(lambda: store.read_many({"a": cursor}, wait=1000))
    reader.join(DEADLINE)
    assert isinstance(found[0]["a"], Lost)


def test_a_cursor_may_go_back_and_forth(store: RedisStore) -> None:
    store.append("a", store.claim("a"), 0, [{"n": n} for n in range(3)])
    entries = store.read("a")
    for number in (2, 0, 1, 1, 2, 0):
        cursors = {"a": entries[number].cursor}
        assert store.read_many(cursors, wait=0.001).get("a", []) == entries[number + 1 :]


def test_after_a_fault_all_are_looked_at_though_others_met_it(redis: RedisServer) -> None:
    with redis.store(redis.tcp_url) as store:
        for name in ("a", "b"):
            store.append(name, store.claim(name), 0, [{"n": 0}])
        cursors = {name: store.read(name)[-1].cursor for name in ("a", "b")}
        assert store.read("b", cursors["b"], wait=0.001) == []  # it was there just now
        reader, found = started(lambda: store.read("a", cursors["a"], wait=DEADLINE))
        until(lambda: blocked(redis))
        redis.restart()  # with nothing
        reader.join(DEADLINE)
        assert isinstance(found[0], Lost)
        reader, found = started(lambda: store.read_many({"b": cursors["b"]}, wait=1000))
        reader.join(DEADLINE)
        assert isinstance(found[0]["b"], Lost)


def test_who_follows_many_logs_rests_before_it_waits(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    cursors: dict[str, str | None] = {f"log-{number}": None for number in range(300)}
    for name in cursors:
        store.claim(name)
    assert store.read_many(cursors, wait=0.001) == {}
    store.append("log-7", 1, 0, [{"n": 0}])
    monkeypatch.setattr(places, "_REST", 1.0)
    monkeypatch.setattr(places, "_LONGEST_REST", 0.2)
    begun = time.monotonic()
    assert [*store.read_many(cursors, wait=DEADLINE)] == ["log-7"]
    assert time.monotonic() - begun >= 0.2
    monkeypatch.setattr(places, "_LONGEST_REST", 1000.0)
    cursors["log-7"] = store.read("log-7")[-1].cursor
    reader, found = started(lambda: store.read_many(cursors, wait=1000))
    store.close()
    reader.join(DEADLINE)
    assert found == [{}] or isinstance(found[0], StoreClosedError)
