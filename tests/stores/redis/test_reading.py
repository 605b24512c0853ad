"""How often logs are looked at: seldom, and yet what is lost is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores import Lost
from anthropix_actors.stores.redis import reading

from redis_servers import blocked, started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.stores.redis import RedisStore

    from redis_servers import RedisServer


@pytest.fixture
def looks(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many logs each look was for."""
    found: list[int] = []
    look = store._reader._look

    def counted(places: dict[str, reading._Place]) -> reading.Found:
        found.append(len(places))
        return look(places)

    monkeypatch.setattr(store._reader, "_look", counted)
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


def test_no_more_logs_are_remembered_than_there_is_room_for(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_REMEMBERED", 2)
    for name in ("a", "b", "c", "d"):
        store.claim(name)
        store.read(name)
    assert [*store._reader._seen] == ["d"]
