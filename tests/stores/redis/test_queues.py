"""Queues in a real Redis."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from anthropix_actors import ParameterError
from anthropix_actors.stores import Job, QueueState

from redis_servers import blocked, started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores.redis import RedisStore

    from redis_servers import RedisServer


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


def test_a_job_is_put_once(store: RedisStore) -> None:
    assert store.put("q", "a", {"n": 1})
    assert not store.put("q", "a", {"n": 2})
    assert store.job("q", "a") == Job("a", {"n": 1})
    assert store.job("q", "b") is None
    assert store.job("other", "a") is None


def test_jobs_are_taken_in_their_order_and_finished(store: RedisStore) -> None:
    store.beat("one", DEADLINE)
    for job_id in ("c", "b", "a"):
        store.put("q", job_id, {"id": job_id})
    assert store.take("q", "one", 2) == [Job("c", {"id": "c"}, 1, "one"), Job("b", {"id": "b"}, 1, "one")]
    assert not store.finish("q", "two", "c")
    assert store.finish("q", "one", "c")
    assert not store.finish("q", "one", "c")
    assert ids(store.take("q", "one", 5)) == ["a"]
    assert store.job("q", "a") == Job("a", {"id": "a"}, 1, "one")
    assert store.put("q", "c", {})
    assert ids(store.take("q", "one", 5)) == ["c"]


def test_a_job_that_is_given_back_is_the_first(store: RedisStore) -> None:
    store.beat("one", DEADLINE)
    for job_id in ("a", "b", "c"):
        store.put("q", job_id, {})
    store.take("q", "one", 2)
    assert not store.give_back("q", "two", "b")
    assert store.give_back("q", "one", "b")
    assert not store.give_back("q", "one", "b")
    assert store.give_back("q", "one", "a")
    assert store.job("q", "a") == Job("a", {}, 0, None)
    assert [(job.id, job.attempt) for job in store.take("q", "one", 9)] == [("a", 1), ("b", 1), ("c", 1)]


def test_what_the_dead_had_comes_first(store: RedisStore) -> None:
    store.beat("one", DEADLINE)
    for job_id in ("a", "b", "c", "d"):
        store.put("q", job_id, {})
    store.take("q", "one", 2)
    store.beat("two", DEADLINE)
    assert ids(store.take("q", "two", 1)) == ["c"]
    store.beat("one", 0)
    assert store.queue_state("q").orphaned == 2
    assert [(job.id, job.attempt, job.holder) for job in store.take("q", "two", 1)] == [("a", 2, "two")]
    assert ids(store.take("q", "two", 9)) == ["b", "d"]
    assert not store.finish("q", "one", "a")


def test_a_job_is_removed_unless_somebody_has_it(store: RedisStore) -> None:
    store.beat("one", DEADLINE)
    store.put("q", "a", {})
    store.put("q", "b", {})
    store.take("q", "one", 1)
    assert not store.remove("q", "a")
    assert store.remove("q", "b")
    assert not store.remove("q", "b")
    store.beat("one", 0)
    assert store.remove("q", "a")
    assert store.queue_state("q") == QueueState(0, 0, 0, 0.0)


def test_a_queue_says_how_it_is(store: RedisStore) -> None:
    assert store.queue_state("q") == QueueState(0, 0, 0, 0.0)
    store.beat("one", DEADLINE)
    store.put("q", "a", {})
    store.put("q", "b", {})
    until(lambda: store.queue_state("q").oldest > 0)
    store.take("q", "one", 1)
    state = store.queue_state("q")
    assert (state.waiting, state.taken, state.orphaned) == (1, 1, 0)
    store.take("q", "one", 1)
    assert store.queue_state("q") == QueueState(0, 2, 0, 0.0)
    store.give_back("q", "one", "a")
    assert store.queue_state("q").oldest >= state.oldest


def test_nothing_is_left_of_a_queue_whose_jobs_are_done(store: RedisStore, shared_redis: RedisServer) -> None:
    store.beat("one", DEADLINE)
    store.put("q", "a", {})
    store.take("q", "one", 1)
    store.finish("q", "one", "a")
    keys = store._keys.queue("q")
    assert not shared_redis.run("EXISTS", keys.jobs, keys.waiting, keys.taken, keys.since, keys.held)
    assert 0 < shared_redis.run("PTTL", keys.bell) <= 86_400_000


@pytest.mark.parametrize(
    "way", ["put", "given back", "its holder ends", "its holder is to end", "its holder is silent"]
)
def test_who_waits_gets_a_job_when_there_is_one(store: RedisStore, shared_redis: RedisServer, way: str) -> None:
    store.beat("one", 0.2 if way == "its holder is silent" else DEADLINE)
    store.beat("two", DEADLINE)
    if way != "put":
        store.put("q", "a", {})
        assert ids(store.take("q", "one", 1)) == ["a"]
    thread, found = started(lambda: store.take("q", "two", 1, wait=DEADLINE))
    until(lambda: found or blocked(shared_redis))
    if way == "put":
        store.put("q", "a", {})
    elif way == "given back":
        store.give_back("q", "one", "a")
    elif way == "its holder ends":
        store.beat("one", 0)
    elif way == "its holder is to end":
        store.beat("one", 0.1)
    thread.join(DEADLINE)
    assert ids(found[0]) == ["a"]


def test_who_waits_is_not_woken_by_another_queue_and_gets_nothing_in_the_end(store: RedisStore) -> None:
    store.put("other", "a", {})
    assert store.take("q", "one", 1, wait=0.05) == []


def test_each_job_is_taken_by_one_of_many(store: RedisStore) -> None:
    taken: list[str] = []
    enough = threading.Event()

    def work(holder: str) -> None:
        store.beat(holder, 60)
        while not enough.is_set():
            for job in store.take("q", holder, 3, wait=0.2):
                assert store.finish("q", holder, job.id)
                taken.append(job.id)

    threads = [started(partial(work, f"worker-{number}")) for number in range(8)]
    for number in range(200):
        store.put("q", f"job-{number}", {"n": number})
    until(lambda: len(taken) >= 200)
    enough.set()
    for thread, _ in threads:
        thread.join(DEADLINE)
    assert sorted(taken) == sorted(f"job-{number}" for number in range(200))
    assert [found for _, found in threads] == [[None]] * 8


def test_what_is_wrong_is_refused(store: RedisStore) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.put("", "a", {}),
        lambda: store.put("q", "", {}),
        lambda: store.put("q", "a", {"x": object()}),
        lambda: store.take("q", "", 1),
        lambda: store.take("", "one", 1),
        lambda: store.take("q", "one", 1, wait=-1),
        lambda: store.take("q", "one", 0),
        lambda: store.finish("", "one", "a"),
        lambda: store.give_back("", "one", "a"),
        lambda: store.finish("q", "one", ""),
        lambda: store.give_back("q", "", "a"),
        lambda: store.remove("", "a"),
        lambda: store.remove("q", ""),
        lambda: store.job("q", ""),
        lambda: store.job("", "a"),
        lambda: store.queue_state(""),
    ]
    for call in calls:
        with pytest.raises(ParameterError):
            call()
