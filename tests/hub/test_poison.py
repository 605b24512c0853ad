"""Jobs that cannot be read, or are none of ours: they cost nobody else anything, and say what became of them."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Client, Hub, ParameterError, Worker, text_of
from anthropix_actors.hub import WorkerMetrics
from anthropix_actors.stores import Job, MemoryStore, SQLiteStore, StoreError

from actors import ASK
from servers import DEADLINE, until
from stores_for_tests import Shaky

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator import Emulator
    from anthropix_actors.stores import Store
    from anthropix_actors.stores.redis import RedisStore

    from redis_servers import RedisServer


@pytest.fixture
def client(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(anthropix_emulator.url)


_numbers = itertools.count()


@pytest.fixture
def redis_store(redis_of_hubs: RedisServer) -> Iterator[RedisStore]:
    with redis_of_hubs.store(prefix=f"poison-{next(_numbers)}") as store:
        yield store


def redis_of(store: Any) -> Any:
    """Return redis-py's client of a store."""
    return store._connections._here().redis


def spoil(store: Any, job: str, data: bytes) -> None:
    """Put other bytes in the place of a job's data."""
    if isinstance(store, SQLiteStore):
        with closing(sqlite3.connect(store.path)) as db, db:
            db.execute("UPDATE jobs SET data = ? WHERE id = ?", (data, job))
    elif isinstance(store, MemoryStore):
        place: Any = store._tables._queues["jobs"][job]
        place.job = type(place.job)(job, data, 0, None)
    else:
        redis_of(store).hset(store._keys.queue("jobs").jobs, f"data:{job}", data)


@pytest.mark.parametrize("data", [b"{half", b"[1, 2]", b"null", b"", b"\xff\xfe", b"[" * 2000])
def test_a_job_that_is_no_json_object_costs_nobody_else_anything(
    data: bytes, any_store: Store, client: Client, hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    hub = hubs(any_store)
    names = [hub.submit(ASK, id=f"job-{number}") for number in range(6)]
    spoil(any_store, names[2], data)
    assert hub.status(names[2]).state == "queued"
    with Worker(client, any_store) as worker:
        with pytest.raises(ParameterError, match="expected a JSON object, got b"):
            hub.result(names.pop(2), timeout=DEADLINE)
        assert all(text_of(hub.result(name, timeout=DEADLINE)) for name in names)
        until(lambda: worker.metrics() == WorkerMetrics(taken=6, done=5, failed=1))
    assert "the job 'job-2' cannot be asked: params: expected" in caplog.text
    assert not any_store.queue_state("jobs").taken


def test_a_job_of_a_newer_version_says_so(any_store: Store, client: Client, hubs: Callable[..., Hub]) -> None:
    any_store.put("jobs", "a", {"format": 2, "params": ASK})
    with Worker(client, any_store), pytest.raises(ParameterError, match="put by a newer version"):
        until(lambda: any_store.state("a"))
        hubs(any_store).result("a", timeout=DEADLINE)


def test_what_is_damaged_of_a_job_in_redis_is_made_good(
    redis_store: RedisStore, client: Client, hubs: Callable[..., Hub]
) -> None:
    hub = hubs(redis_store)
    names = [hub.submit(ASK, id=name) for name in ("attempt", "data", "fine")]
    jobs, redis = redis_store._keys.queue("jobs").jobs, redis_of(redis_store)
    redis.hset(jobs, "attempt:attempt", "many")
    redis.hdel(jobs, "data:data")
    job = redis_store.job("jobs", "data")
    assert job is not None
    assert job.fault is not None
    with Worker(client, redis_store):
        assert hub.result(names[0], timeout=DEADLINE)
        assert hub.result(names[2], timeout=DEADLINE)
        with pytest.raises(ParameterError, match="expected a JSON object, got None"):
            hub.result(names[1], timeout=DEADLINE)
        until(lambda: not redis_store.queue_state("jobs").taken)


@pytest.mark.parametrize("key", ["jobs", "waiting", "taken", "since", "held", "bell"])
def test_a_queue_of_which_another_program_has_written_a_key_loses_no_job(
    key: str, redis_store: RedisStore, client: Client, hubs: Callable[..., Hub]
) -> None:
    hub, redis = hubs(redis_store), redis_of(redis_store)
    name = hub.submit(ASK)
    ours = getattr(redis_store._keys.queue("jobs"), key)
    kept = redis.exists(ours) and redis.dump(ours)
    redis.set(ours, "of another program")
    with Worker(client, redis_store) as worker:
        until(lambda: worker.metrics().faults > 1)
        redis.delete(ours)
        if kept:
            redis.restore(ours, 0, kept)
        assert hub.result(name, timeout=DEADLINE)
        assert worker.metrics().taken == 1


def test_a_job_whose_log_cannot_be_claimed_holds_up_no_other(
    redis_store: RedisStore, client: Client, hubs: Callable[..., Hub]
) -> None:
    hub, redis = hubs(redis_store), redis_of(redis_store)
    spoilt = hub.submit(ASK, id="spoilt")
    meta = redis_store._keys.log(spoilt).meta
    kept = redis.dump(meta)
    redis.set(meta, "of another program")
    fine = hub.submit(ASK)
    with Worker(client, redis_store) as worker:
        assert hub.result(fine, timeout=DEADLINE)
        until(lambda: worker.metrics().faults)
        redis.delete(meta)
        redis.restore(meta, 0, kept)
        assert hub.result(spoilt, timeout=DEADLINE)


def test_a_job_whose_id_no_store_takes_harms_no_other(
    client: Client, hubs: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    hub = hubs(store)
    store._tables.put("jobs", "two\nlines", b"{}")
    fine = hub.submit(ASK)
    with Worker(client, store) as worker:
        assert hub.result(fine, timeout=DEADLINE)
        until(lambda: worker.metrics().failed == worker.metrics().done == 1)
        until(lambda: "cannot be taken out of the queue" in caplog.text)
        assert hub.result(hub.submit(ASK), timeout=DEADLINE)


class Odd(Shaky):
    """A store of somebody else's: its jobs may be anything, and one of them cannot be finished."""

    def take(self, *args: Any, **more: Any) -> list[Job]:
        odd: Any = [1]
        return [
            Job(each.id, odd if each.id == "odd" else each.data, 1, each.holder) for each in super().take(*args, **more)
        ]

    def finish(self, queue: str, holder: str, job_id: str) -> bool:
        if job_id == "odd" and "finish" not in self.calls:
            raise StoreError("not this one")
        return super().finish(queue, holder, job_id)


def test_a_job_that_cannot_be_finished_holds_up_no_other(client: Client, hubs: Callable[..., Hub]) -> None:
    store = Odd()
    hub = hubs(store)
    odd = hub.submit(ASK, id="odd")
    with Worker(client, store) as worker:
        with pytest.raises(ParameterError):
            hub.result(odd, timeout=DEADLINE)
        fine = hub.submit(ASK)
        until(lambda: store.job("jobs", fine) is None)
        assert store.job("jobs", odd) is not None
        store.calls["finish"] = 1
        until(lambda: worker.metrics().failed == worker.metrics().done == 1)
