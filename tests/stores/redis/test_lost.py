"""What a server lacks that takes another one's place is said to be lost, and what comes instead is not taken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anthropix_actors import ParameterError
from anthropix_actors.stores import Fenced, Held, Lost

from redis_servers import RedisServer, started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.stores.redis import RedisStore


@pytest.fixture
def own(redis: RedisServer) -> Iterator[RedisStore]:
    store = redis.store(patience=DEADLINE)
    yield store
    store.close()


@pytest.fixture
def other(redis: RedisServer) -> Iterator[RedisStore]:
    store = redis.store(patience=DEADLINE)
    yield store
    store.close()


def numbered(*numbers: int) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


def holder_of(store: RedisStore, name: str) -> str | None:
    state = store.state(name)
    assert state is not None
    return state.holder


def test_a_claim_that_is_lost_is_nobody_elses(own: RedisStore, other: RedisStore, redis: RedisServer) -> None:
    """With the same epoch, each of two writers would write what the other lacks, and their readers would not see it."""
    own.append("a", own.claim("a"), 0, numbered(0))
    redis.run("SAVE")
    lost = own.claim("a")
    own.append("a", lost, 1, numbered(1, 2))
    cursor = other.read("a")[-1].cursor
    redis.go_back()
    epoch = other.claim("a")
    other.append("a", epoch, 1, numbered(11, 12))
    with pytest.raises(Fenced, match=f"of epoch {epoch}"):
        own.append("a", lost, 3, numbered(3))
    with pytest.raises(Fenced):
        own.append("a", lost, 1, numbered(1, 2, 3, 4))
    other.append("a", epoch, 3, numbered(13))
    with pytest.raises(Lost, match="has lost entries"):
        other.read("a", cursor)
    assert [entry.data["n"] for entry in own.read("a")] == [0, 11, 12, 13]


def test_a_claim_that_is_lost_before_another_is_made_is_fenced(own: RedisStore, redis: RedisServer) -> None:
    before = own.claim("a")
    redis.run("SAVE")
    lost = own.claim("a")
    redis.go_back()
    with pytest.raises(Fenced):
        own.append("a", lost, 0, numbered(0))
    own.append("a", before, 0, numbered(0))


def test_a_post_that_is_lost_is_not_another_one(own: RedisStore, other: RedisStore, redis: RedisServer) -> None:
    own.post("p", {"n": 0}, key="0")
    kept = own.read("p")[-1].cursor
    redis.run("SAVE")
    own.post("p", {"n": 1}, key="1")
    cursor = own.read("p")[-1].cursor
    redis.go_back()
    assert other.post("p", {"n": 2}, key="2")
    assert other.post("p", {"n": 3}, key="3")
    with pytest.raises(Lost, match="has lost entries"):
        own.read("p", cursor)
    assert [(entry.id, entry.data["n"]) for entry in own.read("p", kept)] == [("0-1", 2), ("0-2", 3)]
    assert own.post("p", {"n": 1}, key="1")


def test_a_writer_of_what_is_lost_is_told(own: RedisStore, other: RedisStore, redis: RedisServer) -> None:
    epoch = own.claim("a")
    own.append("a", epoch, 0, numbered(0))
    redis.run("SAVE")
    own.append("a", epoch, 1, numbered(1, 2))
    cursor = other.read("a")[-1].cursor
    reader, found = started(lambda: other.read("a", cursor, wait=DEADLINE))
    redis.go_back()
    reader.join(DEADLINE)
    assert isinstance(found[0], Lost)
    with pytest.raises(Lost, match="1 are left of 3"):
        own.append("a", epoch, 3, numbered(3))
    later = own.claim("a")
    with pytest.raises(ParameterError, match="would be missing"):
        own.append("a", later, 2, numbered(2))
    own.append("a", later, 1, numbered(1))
    assert [entry.data["n"] for entry in own.read("a")] == [0, 1]


def test_who_writes_again_what_is_lost_has_lost_nothing(own: RedisStore, redis: RedisServer) -> None:
    """As where a primary has died before it could answer."""
    epoch = own.claim("a")
    redis.run("SAVE")
    own.append("a", epoch, 0, numbered(0, 1))
    cursor = own.read("a")[-1].cursor
    redis.go_back()
    own.append("a", epoch, 0, numbered(0, 1, 2))
    assert [entry.data["n"] for entry in own.read("a", cursor)] == [2]


def outlived(own: RedisStore, redis: RedisServer, seconds: float) -> None:
    """Have a holder, with a log and a job, that lived so long when the server was saved that came back later."""
    own.beat("one", seconds)
    own.claim("a", "one")
    own.put("q", "job", {})
    own.take("q", "one", 1)
    redis.run("SAVE")
    until(lambda: holder_of(own, "a") is None)
    redis.go_back()


def test_who_lived_when_a_server_died_lives_on_for_as_long_as_it_had_left(
    own: RedisStore, other: RedisStore, redis: RedisServer
) -> None:
    """It takes longer than a lease until another is the primary, and nobody can beat meanwhile."""
    own.beat("dead", 0.01)
    own.claim("b", "dead")
    until(lambda: holder_of(own, "b") is None)
    outlived(own, redis, 1.0)
    assert holder_of(own, "b") is None
    with pytest.raises(Held):
        other.claim("a", "two")
    assert other.take("q", "two", 1) == []
    until(lambda: holder_of(own, "a") is None)
    assert [job.id for job in other.take("q", "two", 1)] == ["job"]


@pytest.mark.parametrize("look", ["take", "queue_state", "beat"])
def test_whoever_looks_first_finds_who_lives(own: RedisStore, redis: RedisServer, look: str) -> None:
    outlived(own, redis, 0.7)
    match look:
        case "take":
            assert own.take("q", "two", 1) == []
        case "queue_state":
            assert own.queue_state("q").taken == 1
        case _:
            own.beat("two", DEADLINE)
            assert holder_of(own, "a") == "one"


def test_holders_of_a_server_of_which_nothing_is_known_are_left_as_they_are(
    own: RedisStore, redis: RedisServer
) -> None:
    assert own.take("q", "one", 1) == []
    key = own._keys.holders("{s00}")
    assert redis.run("EXISTS", key) == 0
    redis.run("ZADD", key, 1, "dead", 1 << 50, "one")
    for name, holder in (("a", "one"), ("b", "dead")):
        own.claim(name, holder)
    assert (holder_of(own, "a"), holder_of(own, "b")) == ("one", None)
