"""A store that comes back without the last it was told: who waits for that is told, though its writer lives."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Client, Hub, Worker, text_of
from anthropix_actors.emulator import Stall
from anthropix_actors.hub._work import taker
from anthropix_actors.hub._work.in_hand import InHand
from anthropix_actors.hub._write import writing
from anthropix_actors.stores import Lost, MemoryStore, QueueState

from redis_servers import RedisServer
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator import Emulator
    from anthropix_actors.stores import Store

WHOLE = "Red light passes, blue light goes astray."
BEGUN = Stall(WHOLE, after_events=5)
PARAMS: Any = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Why?"}]}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def store(redis: RedisServer) -> Iterator[Store]:
    store = redis.store(patience=DEADLINE)
    yield store
    store.close()


@pytest.fixture
def client(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(anthropix_emulator.url)


@pytest.fixture(autouse=True)
def _what_has_ended_is_looked_at_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (taker, writing):
        monkeypatch.setattr(module, "AGAIN", 0.3)


def is_closed(store: Store, name: str) -> bool:
    state = store.state(name)
    return state is not None and state.closed


def has_looked(ender: taker.Ender) -> bool:
    ender.look_again()
    return not ender._ended


def length(store: Store, name: str) -> int:
    state = store.state(name)
    return 0 if state is None else state.length


def test_the_end_of_an_answer_that_is_lost_is_said_to_be(
    client: Client, store: Store, redis: RedisServer, anthropix_emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    anthropix_emulator.queue(BEGUN)
    with Hub(store, lease=0.6) as hub, Hub(store, lease=0.6) as elsewhere, hub.lives():
        chat = client.chat(**PARAMS, stream=hub.to("a"))
        until(lambda: length(store, "a") == 5)
        redis.run("SAVE")
        anthropix_emulator.release()
        chat.result(DEADLINE)
        until(lambda: not hub.metrics().writing)  # it has been told that the end is there, too
        redis.go_back()
        with pytest.raises(Lost):
            elsewhere.result("a", timeout=DEADLINE)
        assert "the store has lost the end of" in caplog.text
        assert store.state("a").holder is None  # type: ignore[union-attr]


def test_the_end_of_an_answer_that_is_there_is_left_alone(client: Client, store: Store, redis: RedisServer) -> None:
    with Hub(store, lease=0.6) as hub, hub.lives():
        for name in ("a", "b"):
            client.chat(**PARAMS, stream=hub.to(name)).result(DEADLINE)
            until(partial(is_closed, store, name))
        epoch = store.state("a").epoch  # type: ignore[union-attr]
        store.delete("b")
        until(lambda: not hub._beat._afterwards)
        assert store.state("a").epoch == epoch  # type: ignore[union-attr]
        assert store.state("b") is None
    assert redis.process is not None


@pytest.mark.parametrize("again", [False, True])
def test_a_job_that_is_done_and_taken_again_is_ended_by_its_worker(
    client: Client, store: Store, redis: RedisServer, anthropix_emulator: Emulator, *, again: bool
) -> None:
    """It would be this worker's as long as that lives, and wait for nobody."""
    anthropix_emulator.queue(BEGUN)
    with Worker(client, store, lease=0.6), Hub(store) as hub:
        name = hub.submit(PARAMS, retry_lost=again)
        until(lambda: length(store, name) == 5)
        redis.run("SAVE")
        anthropix_emulator.release()
        hub.result(name, DEADLINE)
        until(lambda: store.queue_state("jobs").taken == 0)
        anthropix_emulator.queue(WHOLE)
        redis.go_back()  # to the job that is taken; its worker may end it at any moment from here on
        if again:
            assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
            assert hub.status(name).attempts == 2
        else:
            with pytest.raises(Lost):
                hub.result(name, timeout=DEADLINE)
        until(lambda: store.queue_state("jobs") == QueueState(0, 0, 0, 0.0))


def test_a_job_whose_log_is_whole_is_finished_again(client: Client, store: Store) -> None:
    with Worker(client, store) as worker, Hub(store) as hub:
        name = hub.submit(PARAMS)
        hub.result(name, DEADLINE)
        until(lambda: worker.metrics().done)
        store.put("jobs", "other", {})
        worker._in_hand.runs["other"] = None  # type: ignore[assignment]  # had anew: it is for that to end it
        worker._ender._ended.append((0.0, "other", True))
        until(lambda: not worker._ender._ended)
        assert store.job("jobs", "other") is not None
        del worker._in_hand.runs["other"]


def test_a_job_that_was_given_back_and_is_had_again_goes_back_again() -> None:
    store = MemoryStore()
    with Hub(store) as hub, hub.lives():
        in_hand = InHand(1)
        ender = taker.Ender(hub, in_hand)
        store.put("jobs", "a", {})
        [job] = store.take("jobs", hub.holder, 1)
        run = in_hand.add(job, ender.put)
        assert run is not None
        run.give_back()
        ender.close()
        ender.run()
        assert [job.id for job in store.take("jobs", hub.holder, 1)] == ["a"]  # as if the store had lost that
        until(partial(has_looked, ender))
        assert store.queue_state("jobs").waiting == 1


def test_a_chat_of_which_the_store_has_lost_the_last_is_given_up(
    client: Client, store: Store, redis: RedisServer, anthropix_emulator: Emulator
) -> None:
    """Its log is free, though its hub lives."""
    anthropix_emulator.queue(BEGUN)
    with Hub(store, lease=0.6) as hub, Hub(store, lease=0.6) as elsewhere, hub.lives():
        writer = hub.to("a")
        redis.run("SAVE")
        client.chat(**PARAMS, stream=writer)
        until(lambda: length(store, "a") == 5)
        redis.go_back()
        anthropix_emulator.release()
        assert writer.wait(DEADLINE)
        assert writer.outcome == "gone"
        until(lambda: (state := store.state("a")) is not None and state.holder is None)
        with pytest.raises(Lost):
            elsewhere.result("a", timeout=DEADLINE)
