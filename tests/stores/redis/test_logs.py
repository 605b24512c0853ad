"""Logs in a real Redis: as in memory, and what only happens there."""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import ParameterError
from anthropix_actors.stores import Fenced, Held, Lost, StoreError

from redis_servers import blocked, started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores.redis import RedisStore

    from redis_servers import RedisServer


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in numbers]


def test_what_was_appended_is_read_from_any_point(store: RedisStore) -> None:
    epoch = store.claim("a")
    store.append("a", epoch, 0, numbered(0, 1, 2))
    entries = store.read("a")
    assert [entry.id for entry in entries] == ["1-0", "1-1", "1-2"]
    assert [(entry.number, entry.data["n"]) for entry in entries] == [(0, 0), (1, 1), (2, 2)]
    assert store.read("a", after=entries[1].cursor) == entries[2:]
    assert store.read("a", after=entries[2].cursor) == []


def test_a_cursor_may_name_the_generation_alone(store: RedisStore) -> None:
    one, two = store.claim("a"), store.claim("a")
    store.append("a", two, 0, numbered(0, 1))
    three = store.claim("a")
    store.append("a", three, 2, numbered(2))
    state = store.state("a")
    assert state is not None
    assert one < two < three
    assert [entry.id for entry in store.read("a", after=f"{state.generation}.0")] == [f"{two}-1", f"{three}-2"]
    assert store.read("a", after=f"{state.generation}.2", wait=0.01) == []
    with pytest.raises(Lost, match="made anew, or has lost entries"):
        store.read("a", after=f"{state.generation}.3")


def test_what_is_appended_again_is_there_once_and_a_gap_is_refused(store: RedisStore) -> None:
    epoch = store.claim("a")
    store.append("a", epoch, 0, numbered(0, 1))
    store.append("a", epoch, 1, numbered(1, 2))
    store.append("a", epoch, 0, numbered(0))
    assert [entry.data["n"] for entry in store.read("a")] == [0, 1, 2]
    with pytest.raises(ParameterError, match="would be missing"):
        store.append("a", epoch, 4, numbered(4))


def test_a_writer_that_another_has_followed_is_fenced(store: RedisStore) -> None:
    before, after = store.claim("a"), store.claim("a")
    store.append("a", after, 0, numbered(0))
    with pytest.raises(Fenced, match=f"of epoch {after}"):
        store.append("a", before, 1, numbered(1))
    assert len(store.read("a")) == 1


def test_a_closed_log_takes_nothing_more(store: RedisStore) -> None:
    epoch = store.claim("a")
    store.append("a", epoch, 0, numbered(0), close=True)
    store.append("a", epoch, 0, numbered(0), close=True)
    with pytest.raises(ParameterError, match="closed"):
        store.append("a", epoch, 1, numbered(1))
    [entry] = store.read("a", wait=DEADLINE)
    assert store.read("a", after=entry.cursor, wait=DEADLINE) == []
    state = store.state("a")
    assert state is not None
    assert (state.epoch, state.length, state.closed) == (epoch, 1, True)


def test_a_reader_waits_for_what_comes(store: RedisStore, shared_redis: RedisServer) -> None:
    epoch = store.claim("a")
    for number in range(3):
        cursor = store.read("a")[-1].cursor if number else None
        reader, read = started(partial(store.read, "a", cursor, wait=DEADLINE))
        until(lambda: blocked(shared_redis))
        store.append("a", epoch, number, numbered(number))
        reader.join(DEADLINE)
        assert [entry.data for entry in read[0]] == numbered(number)


def test_a_reader_is_woken_by_the_end(store: RedisStore, shared_redis: RedisServer) -> None:
    epoch = store.claim("a")
    reader, read = started(lambda: store.read("a", wait=DEADLINE))
    until(lambda: blocked(shared_redis))
    store.append("a", epoch, 0, [], close=True)
    reader.join(DEADLINE)
    assert read == [[]]
    assert store.read_many({"a": None}, wait=0.01) == {}


def test_a_reader_is_woken_when_its_log_is_deleted(store: RedisStore, shared_redis: RedisServer) -> None:
    epoch = store.claim("a")
    store.append("a", epoch, 0, numbered(0), close=True)
    [entry] = store.read("a")
    reader, read = started(lambda: store.read_many({"a": entry.cursor}, wait=DEADLINE))
    until(lambda: blocked(shared_redis))
    store.delete("a")
    reader.join(DEADLINE)
    assert isinstance(read[0]["a"], Lost)
    assert store.state("a") is None


def test_a_log_that_is_gone_or_made_anew_is_lost(store: RedisStore) -> None:
    for call in (lambda: store.read("a", wait=DEADLINE), lambda: store.append("a", 1, 0, [])):
        with pytest.raises(Lost, match="there is no log 'a'"):
            call()
    epoch = store.claim("a")
    store.append("a", epoch, 0, numbered(0))
    [entry] = store.read("a")
    assert store.names() == ["a"]
    store.delete("a")
    store.delete("a")
    assert (store.names(), store.state("a")) == ([], None)
    store.append("a", store.claim("a"), 0, numbered(0))
    with pytest.raises(Lost, match="made anew"):
        store.read("a", after=entry.cursor)


def test_a_writer_of_a_log_that_was_made_anew_by_another_has_lost_it(
    store: RedisStore, shared_redis: RedisServer
) -> None:
    """Its epoch is the same as the other's."""
    epoch = store.claim("a")
    store.append("a", epoch, 0, numbered(0))
    store.delete("a")
    other = shared_redis.store(prefix=store._keys.prefix)
    assert other.claim("a") == epoch
    other.append("a", epoch, 0, numbered(5))
    with pytest.raises(Lost, match="another one of this name"):
        store.append("a", epoch, 1, numbered(1))
    assert [entry.data["n"] for entry in store.read("a")] == [5]
    other.close()


def test_a_writer_of_a_log_that_was_made_anew_here_does_not_write_the_new_one(store: RedisStore) -> None:
    before = store.claim("a")
    store.delete("a")
    after = store.claim("a")
    with pytest.raises(Lost):
        store.append("a", before, 0, numbered(0))
    store.append("a", after, 0, numbered(1))
    assert [entry.data["n"] for entry in store.read("a")] == [1]


@pytest.mark.parametrize("cursor", ["", "7", "abc", "abc.", "abc.-1", "abc.x"])
def test_what_is_no_cursor_is_refused(store: RedisStore, cursor: str) -> None:
    store.claim("a")
    with pytest.raises(ParameterError, match="expected the cursor"):
        store.read("a", after=cursor)


def test_an_entry_is_posted_once_for_each_key(store: RedisStore) -> None:
    assert store.post("a", {"n": 0}, key="x")
    assert not store.post("a", {"n": 1}, key="x")
    assert store.post("a", {"n": 2}, key="y")
    assert [(entry.id, entry.data["n"]) for entry in store.read("a")] == [("0-0", 0), ("0-1", 2)]


def test_a_log_is_posted_to_or_has_a_writer(store: RedisStore) -> None:
    store.post("a", {}, key="x")
    for call in (
        lambda: store.claim("a"),
        lambda: store.append("a", 0, 1, numbered(1)),
        lambda: store.claim("b") and store.post("b", {}, key="x"),
    ):
        with pytest.raises(ParameterError, match="not both"):
            call()


def test_a_log_is_held_for_as_long_as_its_holder_lives(store: RedisStore) -> None:
    store.beat("one", DEADLINE)
    assert 0 < store.claim("a", "one") < store.claim("a", "one")
    state = store.state("a")
    assert state is not None
    assert state.holder == "one"
    with pytest.raises(Held) as caught:
        store.claim("a", "two")
    assert caught.value.holder == "one"
    store.beat("one", 0)
    state = store.state("a")
    assert state is not None
    assert state.holder is None
    assert store.claim("a", "two") < store.claim("a")


def test_a_holder_that_does_not_beat_is_no_holder(store: RedisStore) -> None:
    store.beat("one", 0.02)
    store.claim("a", "one")
    until(lambda: store.state("a").holder is None)  # type: ignore[union-attr]
    store.claim("a", "two")


def test_many_logs_are_read_at_once(store: RedisStore, shared_redis: RedisServer) -> None:
    names = [f"log-{number}" for number in range(1000)]
    epochs = {name: store.claim(name) for name in names}
    store.append("log-3", epochs["log-3"], 0, numbered(3))
    found = store.read_many({**dict.fromkeys(names), "nothing": None})
    assert {*found} == {"log-3", "nothing"}
    assert isinstance(found["nothing"], Lost)
    cursor = found["log-3"][-1].cursor  # type: ignore[index]
    reader, read = started(lambda: store.read_many({**dict.fromkeys(names), "log-3": cursor}, wait=DEADLINE))
    until(lambda: blocked(shared_redis) == 1)
    store.append("log-7", epochs["log-7"], 0, numbered(7))
    reader.join(DEADLINE)
    assert [*read[0]] == ["log-7"]


def test_a_long_log_is_read_in_parts(store: RedisStore) -> None:
    epoch = store.claim("a")
    store.append("a", epoch, 0, numbered(*range(2500)))
    read: list[int] = []
    sizes: list[int] = []
    cursor = None
    while entries := store.read("a", cursor):
        sizes.append(len(entries))
        read += [entry.data["n"] for entry in entries]
        cursor = entries[-1].cursor
    assert sizes == [1000, 1000, 500]
    assert read == [*range(2500)]


def test_large_entries_come_a_few_at_a_time(store: RedisStore) -> None:
    epoch = store.claim("a")
    large = [{"text": "x" * (3 << 20)} for _ in range(8)]
    store.append("a", epoch, 0, large)
    first = store.read("a")
    assert 1 <= len(first) < 8
    assert len(first) + len(store.read("a", first[-1].cursor)) == 8


def test_names_have_a_beginning(store: RedisStore) -> None:
    names = ["a", "a*b", "a[1]", "a\\", "ab", "b", "ä:log:{x}", "a?"]
    for name in names:
        store.claim(name)
    assert store.names() == sorted(names)
    for beginning in ("a", "a*", "a[", "a\\", "ä:", "a?", "c", "\ud800"):
        assert store.names(beginning) == sorted(name for name in names if name.startswith(beginning))


def test_a_log_expires_with_all_that_belongs_to_it(store: RedisStore, shared_redis: RedisServer) -> None:
    epoch = store.claim("a")
    store.expire("a", DEADLINE)
    store.append("a", epoch, 0, numbered(0))  # its stream begins after that
    store.claim("kept")
    store.expire("kept", 0.02)
    store.expire("kept", None)
    store.expire("nothing", 1.0)
    store.post("posted", {}, key="x")
    for name in ("a", "posted"):
        store.expire(name, 0.02)
    until(lambda: store.names() == ["kept"])
    keys = shared_redis.run("KEYS", f"{store._keys.prefix}*")
    assert not [key for key in keys if key.endswith((b":a", b":posted"))]
    with pytest.raises(Lost):
        store.read("a")


def test_what_begins_after_a_log_was_told_to_expire_expires_with_it(
    store: RedisStore, shared_redis: RedisServer
) -> None:
    epoch = store.claim("a")
    store.expire("a", 1000.0)
    store.append("a", epoch, 0, numbered(0))
    for key in store._keys.log("a")[:2]:
        assert 0 < shared_redis.run("PTTL", key) <= 1_000_000


def test_a_log_of_which_redis_has_thrown_a_part_away_is_lost(store: RedisStore, shared_redis: RedisServer) -> None:
    for number, part in itertools.product(range(2), ("meta", "stream")):
        name = f"log-{part}-{number}"
        epoch = store.claim(name)
        store.append(name, epoch, 0, numbered(0))
        [entry] = store.read(name)
        shared_redis.run("DEL", getattr(store._keys.log(name), part))
        with pytest.raises(Lost):
            store.append(name, epoch, 1, numbered(1))
        assert store.state(name) is None
        if number:
            store.claim(name)
        with pytest.raises(Lost):
            store.read(name, entry.cursor, wait=DEADLINE)
    store.post("posted", {"n": 0}, key="x")
    shared_redis.run("DEL", store._keys.log("posted").posted)
    assert store.post("posted", {"n": 1}, key="y")
    assert [entry.data["n"] for entry in store.read("posted")] == [1]


def test_what_is_made_in_place_of_what_redis_has_thrown_away_is_new(
    store: RedisStore, shared_redis: RedisServer
) -> None:
    store.beat("one", 60)
    store.append("a", store.claim("a", "one"), 0, numbered(0), close=True)
    store.expire("a", 1000)
    keys = store._keys.log("a")
    shared_redis.run("DEL", keys.stream)
    assert store.claim("a", "two") == 1
    store.append("a", 1, 0, numbered(0))
    state = store.state("a")
    assert state is not None
    assert not state.closed
    assert shared_redis.run("PTTL", keys.meta) == -1
    store.post("posted", {}, key="x")
    shared_redis.run("DEL", store._keys.log("posted").posted)
    assert store.claim("posted") == 1


def test_what_is_wrong_is_refused_before_anything_happens(store: RedisStore) -> None:
    epoch = store.claim("a")
    calls: list[Callable[[], object]] = [
        lambda: store.claim(""),
        lambda: store.claim("a", ""),
        lambda: store.append("a\n", epoch, 0, []),
        lambda: store.append("a", epoch, -1, []),
        lambda: store.append("a", epoch, 2**53, []),
        lambda: store.append("a", True, 0, []),
        lambda: store.append("a", epoch, 0, [{"x": object()}]),
        lambda: store.post("a", {}, key=""),
        lambda: store.post("p", {"x": object()}, key="x"),
        lambda: store.read("x" * 257),
        lambda: store.read_many({"": None}),
        lambda: store.state(""),
        lambda: store.names(None),  # type: ignore[arg-type]
        lambda: store.read("a", wait=-1),
        lambda: store.expire("a", -1),
        lambda: store.beat("one", float("inf")),
    ]
    for call in calls:
        with pytest.raises(ParameterError):
            call()
    assert store.names() == ["a"]


def test_an_entry_has_a_largest_size(shared_redis: RedisServer) -> None:
    store = shared_redis.store(prefix="sizes", max_entry_bytes=20)
    epoch = store.claim("a")
    with pytest.raises(ParameterError, match="expected 20 bytes"):
        store.append("a", epoch, 0, [{"n": 1}, {"text": "x" * 20}])
    with pytest.raises(ParameterError, match="expected 20 bytes"):
        store.post("p", {"text": "x" * 20}, key="x")
    assert store.read("a") == []
    store.close()


def test_close_ends_waits_and_what_comes_later_is_refused(shared_redis: RedisServer) -> None:
    store = shared_redis.store(prefix="closing")
    store.claim("a")
    waits = [
        started(lambda: store.read("a", wait=60)),
        started(lambda: store.read_many({"a": None}, wait=60)),
        started(lambda: store.take("q", "one", 1, wait=60)),
    ]
    until(lambda: blocked(shared_redis) == 3)
    store.close()
    store.close()
    for thread, _ in waits:
        thread.join(DEADLINE)
    assert [found for _, found in waits] == [[[]], [{}], [[]]]
    until(lambda: not blocked(shared_redis))
    with pytest.raises(StoreError, match="the store is closed"):
        store.state("a")


def test_no_more_epochs_are_remembered_than_there_is_room_for(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anthropix_actors.stores.redis.logs._REMEMBERED", 2)
    epochs = {name: store.claim(name) for name in ("a", "b", "c")}
    for name, epoch in epochs.items():
        store.append(name, epoch, 0, numbered(0))
    assert [name for name, _ in store._claims] == ["b", "c"]
    store.append("a", epochs["a"], 1, numbered(1), close=True)
    store.append("b", epochs["b"], 1, numbered(1), close=True)
    assert [name for name, _ in store._claims] == ["c"]


def test_fifty_threads_write_and_read(store: RedisStore) -> None:
    """Each has its log; all of them post to one, and read it to its end."""

    def work(number: int) -> bool:
        name = f"log-{number}"
        epoch = store.claim(name)
        for first in range(0, 20, 4):
            store.append(name, epoch, first, numbered(*range(first, first + 4)))
        store.post("all", {"n": number}, key=name)
        read: list[int] = []
        cursor = None
        while len(read) < 50:
            entries = store.read("all", cursor, wait=DEADLINE)
            read += [entry.data["n"] for entry in entries]
            cursor = entries[-1].cursor
        own = [entry.data["n"] for entry in store.read(name)]
        return own == [*range(20)] and sorted(read) == [*range(50)]

    threads = [started(partial(work, number)) for number in range(50)]
    deadline = time.monotonic() + 3 * DEADLINE
    for thread, _ in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert [found for _, found in threads] == [[True]] * 50
