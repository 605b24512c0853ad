"""Workers in one process: each job is answered once, or says what became of it, whatever happened to others before."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    AnthropixError,
    AuthenticationError,
    CancelledError,
    ChatEvent,
    ChatResumed,
    Client,
    ConfigurationError,
    Hub,
    ParameterError,
    Worker,
    text_of,
)
from anthropix_actors.emulator import Reply, Stall, Status
from anthropix_actors.hub import WorkerMetrics
from anthropix_actors.hub.entries import begin_entry
from anthropix_actors.stores import Lost, MemoryStore, QueueState, StoreError, Unreadable, open_store

from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anthropix_actors.emulator import Emulator
    from anthropix_actors.stores import Store

    from programs import Programs

    Begin = Callable[..., Worker]

WHOLE = "Red light passes, blue light goes astray."
BEGUN = Stall(WHOLE, after_events=5)
START: Any = {
    "type": "message_start",
    "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}},
}
SAID: list[Any] = [
    START,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Red"}},
]


def asks(question: str = "Why?") -> dict[str, Any]:
    return {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": question}]}


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    yield store
    store.close()


@pytest.fixture
def hub(store: MemoryStore) -> Iterator[Hub]:
    with Hub(store) as hub:
        yield hub


@pytest.fixture
def client(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(anthropix_emulator.url)


@pytest.fixture
def begin(client: Client, store: MemoryStore) -> Iterator[Begin]:
    """Start workers; they are stopped at the end."""
    workers: list[Worker] = []

    def begin(its_store: Store | Hub = store, **options: Any) -> Worker:
        workers.append(Worker(options.pop("client", client), its_store, **options))
        return workers[-1].start()

    yield begin
    for worker in workers:
        worker.stop()


def is_empty(store: Store) -> bool:
    return store.queue_state("jobs") == QueueState(0, 0, 0, 0.0)


def kinds(store: Store, name: str) -> list[str]:
    return [entry.data["kind"] for entry in store.read(name)]


def died_with(store: Store, job: str, *said: Any, takes: int = 1) -> None:
    """Have a worker die that has begun a job, and told readers some of the answer."""
    for _ in range(takes):
        assert [each.id for each in store.take("jobs", "ghost", 1)] == [job]
    entries = [begin_entry(1, "ghost"), *({"kind": "event", "event": event} for event in said)]
    store.append(job, store.claim(job, "ghost"), 0, entries)


def test_jobs_are_answered_and_done_with(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue("One.", "Two.")
    first = hub.submit(asks(), id="first", tag="night")
    worker = begin()
    assert text_of(hub.result(first, timeout=DEADLINE)) == "One."
    second = hub.submit(asks())
    assert text_of(hub.result(second, timeout=DEADLINE)) == "Two."
    until(lambda: is_empty(hub.store))
    assert worker.metrics() == WorkerMetrics(taken=2, done=2)
    assert repr(worker) == f"<Worker {worker.hub.holder}, 0 jobs>"
    assert hub.status(first).tag == "night"


def test_no_more_run_at_once_than_there_is_room_for(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(*[BEGUN] * 5)
    names = [hub.submit(asks()) for _ in range(5)]
    worker = begin(concurrency=2)
    anthropix_emulator.wait_for_requests(2)
    assert hub.store.queue_state("jobs").taken == 2
    for asked in (3, 4, 5):
        anthropix_emulator.release()
        anthropix_emulator.wait_for_requests(asked)
        assert worker.metrics().running <= 2
    anthropix_emulator.release(2)
    assert {text_of(hub.result(name, timeout=DEADLINE)) for name in names} == {WHOLE}


def test_several_workers_share_the_jobs(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    names = [hub.submit(asks(f"Number {number}?")) for number in range(60)]
    workers = [begin(concurrency=5) for _ in range(3)]
    assert all(str(n) in text_of(hub.result(name, timeout=6 * DEADLINE)) for n, name in enumerate(names))
    until(lambda: is_empty(hub.store))
    assert sum(worker.metrics().done for worker in workers) == len(anthropix_emulator.requests) == 60


def test_what_nobody_was_told_is_asked_again(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(WHOLE)
    name = hub.submit(asks())
    died_with(hub.store, name)
    worker = begin()
    assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
    assert hub.status(name).attempts == 2
    until(lambda: worker.metrics() == WorkerMetrics(taken=1, done=1))


def test_what_was_told_is_lost_and_says_so(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    name = hub.submit(asks())
    died_with(hub.store, name, *SAID)
    worker = begin()
    with pytest.raises(Lost, match="its worker has died") as caught:
        hub.result(name, timeout=DEADLINE)
    assert caught.value.partial is not None
    assert text_of(caught.value.partial) == "Red"
    assert kinds(hub.store, name)[-1] == "failed"
    until(lambda: is_empty(hub.store))
    assert worker.metrics() == WorkerMetrics(taken=1, lost=1)
    assert anthropix_emulator.requests == []


def test_what_was_told_is_asked_again_if_that_was_wanted(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(WHOLE)
    name = hub.submit(asks(), retry_lost=True)
    died_with(hub.store, name, *SAID)
    begin()
    messages: list[Any] = [*hub.follow(name)]
    (again,) = [number for number, message in enumerate(messages) if isinstance(message, ChatResumed)]
    assert messages[again].kept == 0
    said = [each.data for each in messages[:again] if isinstance(each, ChatEvent)]
    assert said == SAID
    assert text_of(messages[-1].message) == WHOLE
    assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE


def test_a_log_that_cannot_be_understood_fails_its_job_alone(
    hub: Hub, store: MemoryStore, begin: Begin, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue("Two.")
    first, second = hub.submit(asks(), id="first"), hub.submit(asks(), id="second")
    died_with(store, first, ["what?"])
    begin()
    assert hub.result(second, timeout=DEADLINE)["content"] == [{"type": "text", "text": "Two."}]
    with pytest.raises(Unreadable, match="entry 1 of the log 'first'"):
        hub.result(first, timeout=DEADLINE)
    until(lambda: is_empty(store))


def test_a_job_that_kills_its_workers_is_given_up(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    name = hub.submit(asks(), retry_lost=True)
    died_with(hub.store, name, takes=3)
    worker = begin()
    with pytest.raises(Lost, match="too many workers"):
        hub.result(name, timeout=DEADLINE)
    until(lambda: worker.metrics() == WorkerMetrics(taken=1, lost=1))
    assert anthropix_emulator.requests == []


def test_a_job_whose_log_is_closed_is_only_taken_out(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    name = hub.submit(asks())
    died_with(hub.store, name)
    end = {"kind": "cancelled", "reason": "enough", "partial": None}
    state = hub.store.state(name)
    assert state is not None
    hub.store.append(name, state.epoch, 1, [end], close=True)
    worker = begin()
    until(lambda: is_empty(hub.store))
    assert worker.metrics() == WorkerMetrics(taken=1)
    assert kinds(hub.store, name) == ["begin", "cancelled"]
    assert anthropix_emulator.requests == []


def test_a_log_whose_writer_lives_is_left_to_it_until_it_dies(hub: Hub, begin: Begin) -> None:
    name = hub.submit(asks())
    died_with(hub.store, name)
    [job] = hub.store.take("jobs", "ghost", 1)
    hub.store.give_back("jobs", "ghost", job.id)
    hub.store.beat("ghost", 3600)
    epoch = hub.store.state(name).epoch  # type: ignore[union-attr]
    worker = begin()
    until(lambda: worker.metrics().running == 1)
    assert kinds(hub.store, name) == ["begin"]
    hub.store.beat("ghost", 0)
    assert hub.result(name, timeout=DEADLINE)["stop_reason"] == "end_turn"
    assert hub.store.state(name).epoch == epoch + 1  # type: ignore[union-attr]
    assert worker.metrics().faults == 0


def test_whoever_has_lost_the_log_stops_the_answer(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(BEGUN)
    name = hub.submit(asks())
    worker = begin()
    until(lambda: "event" in kinds(hub.store, name) if hub.store.state(name) else False)
    before = kinds(hub.store, name)
    hub.store.claim(name)
    anthropix_emulator.release()
    until(lambda: worker.metrics().fenced == 1)
    until(lambda: is_empty(hub.store))
    assert kinds(hub.store, name) == [*before, "failed"]  # once more its own, and lost, as that had died
    assert worker.metrics().lost == 1


def test_cancels_come_from_anywhere_and_at_any_time(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(BEGUN, BEGUN)
    first, second, third = (hub.submit(asks(), id=name) for name in ("1", "2", "3"))
    assert hub.cancel(first, "not needed")
    worker = begin(concurrency=1)
    with pytest.raises(CancelledError, match="not needed"):
        hub.result(first, timeout=DEADLINE)
    anthropix_emulator.wait_for_requests(1)
    assert hub.cancel(third, "too late")
    assert hub.cancel(second, "enough")
    with pytest.raises(CancelledError, match="enough"):
        hub.result(second, timeout=DEADLINE)
    with pytest.raises(CancelledError, match="too late"):
        hub.result(third, timeout=DEADLINE)
    until(lambda: is_empty(hub.store))
    assert worker.metrics().done == 0
    assert len(anthropix_emulator.requests) == 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "params: expected the parameters of a chat"),
        ({"params": "hello"}, "params: expected the parameters of a chat"),
        ({"params": {"model": "m", "messages": "hello"}}, "messages"),
        ({"params": {**asks(), "cancel": "token"}}, "cancel"),
        ({"params": {**asks(), "self": 1}}, "params: expected the parameters of a chat, TypeError"),
        ({"params": asks(), "tag": 7}, "tag"),
    ],
)
def test_a_job_that_cannot_be_sent_says_why_and_harms_no_other(
    data: dict[str, Any], says: str, hub: Hub, begin: Begin
) -> None:
    hub.store.put("jobs", "odd", data)
    fine = hub.submit(asks())
    worker = begin()
    assert hub.result(fine, timeout=DEADLINE)
    with pytest.raises(ParameterError, match=says):
        hub.result("odd", timeout=DEADLINE)
    until(lambda: worker.metrics() == WorkerMetrics(taken=2, done=1, failed=1))


def test_a_job_of_a_name_that_no_log_can_have_is_given_up(hub: Hub, begin: Begin) -> None:
    hub.store.post("odd", {"kind": "other"}, key="1")
    hub.store.put("jobs", "odd", {"params": asks()})
    worker = begin()
    until(lambda: is_empty(hub.store))
    assert worker.metrics().failed == 1
    assert hub.result(hub.submit(asks()), timeout=DEADLINE)


def test_what_the_api_refuses_is_in_the_log(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Status(400, "That is too much."))
    name = hub.submit(asks())
    worker = begin()
    with pytest.raises(AnthropixError, match="too much"):
        hub.result(name, timeout=DEADLINE)
    until(lambda: worker.metrics() == WorkerMetrics(taken=1, failed=1))


def test_a_wrong_key_costs_no_job(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Status(401), WHOLE)
    name = hub.submit(asks())
    worker = begin(concurrency=1)
    until(lambda: worker.refused)
    assert isinstance(worker.refused, AuthenticationError)
    assert worker.drain(DEADLINE)
    until(lambda: hub.store.queue_state("jobs").waiting == 1)
    assert worker.metrics().given_back == worker.metrics().taken
    begin()
    assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE


def test_a_key_is_refused_once_however_many_chats_find_out(
    hub: Hub, begin: Begin, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(*[Stall(Status(401))] * 2)
    for _ in range(2):
        hub.submit(asks())
    worker = begin()
    anthropix_emulator.wait_for_requests(2)
    anthropix_emulator.release(2)
    assert worker.drain(DEADLINE)
    assert isinstance(worker.refused, AuthenticationError)
    assert worker.metrics().given_back == worker.metrics().taken


def test_a_worker_that_was_frozen_gets_back_what_it_has(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(BEGUN)
    name = hub.submit(asks())
    worker = begin(lease=3600)
    anthropix_emulator.wait_for_requests(1)
    hub.store.beat(worker.hub.holder, 0)
    until(lambda: (job := hub.store.job("jobs", name)) and job.attempt > 1)
    anthropix_emulator.release()
    assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
    until(lambda: is_empty(hub.store))
    assert worker.metrics().done == len(anthropix_emulator.requests) == 1


def test_a_chat_that_cannot_begin_now_begins_later(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    class Busy(Client):
        """A client whose first chat gets no thread."""

        left = 1

        def chat(self, **params: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise AnthropixError("there is no thread left")
            return super().chat(**params)

    name = hub.submit(asks())
    with Busy("k", base_url=anthropix_emulator.url) as busy:
        worker = begin(client=busy)
        assert hub.result(name, timeout=DEADLINE)
        assert worker.metrics().faults == 1
        worker.stop()


def test_a_log_that_could_not_be_written_for_too_long_goes_back(
    store: MemoryStore, hub: Hub, begin: Begin, anthropix_emulator: Emulator
) -> None:
    away: Any = Away(store, StoreError("away"))
    away.fails["append_many"] = 10**6
    anthropix_emulator.queue(WHOLE, WHOLE)
    name = hub.submit(asks())
    with Hub(away, patience=0.1) as impatient:
        worker = begin(impatient)
        until(lambda: worker.metrics().given_back)
        away.fails["append_many"] = 0
        assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
        worker.stop()


def test_a_program_that_ends_says_so_in_its_logs(
    tmp_path: Path, anthropix_emulator: Emulator, programs: Programs
) -> None:
    anthropix_emulator.queue(BEGUN)
    text = """
        from anthropix_actors.stores import open_store
        store = open_store(sys.argv[2])
        Worker(client, store).start()
        while not (store.state("answer") and store.state("answer").length > 3): pass
        """
    url = f"sqlite://{tmp_path}/answers.sqlite"
    with contextlib.closing(open_store(url)) as store, Hub(store) as hub:
        name = hub.submit(asks(), id="answer")
        program = programs.begin(anthropix_emulator.url, text, url)
        with pytest.raises(Lost, match="the interpreter exits") as caught:
            hub.result(name, timeout=2 * DEADLINE)
        assert caught.value.partial is not None
        _, errors = program.communicate(timeout=DEADLINE)
        assert errors == ""


def test_a_worker_without_a_client_gives_its_jobs_back(hub: Hub, begin: Begin, client: Client) -> None:
    client.close()
    hub.submit(asks())
    worker = begin()
    until(lambda: worker.refused)
    assert isinstance(worker.refused, ConfigurationError)
    assert worker.drain(DEADLINE)
    until(lambda: hub.store.queue_state("jobs").waiting == 1)
    assert worker.metrics().given_back == worker.metrics().taken


def test_a_worker_that_is_stopped_gives_back_what_it_can(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(BEGUN, BEGUN, Stall(WHOLE), *[WHOLE] * 2)
    worker = begin()
    told = hub.submit(asks())
    until(lambda: "event" in kinds(hub.store, told))  # before the next one asks: each gets its own answer
    again = hub.submit(asks(), retry_lost=True)
    until(lambda: "event" in kinds(hub.store, again))
    untold = hub.submit(asks())
    anthropix_emulator.wait_for_requests(3)
    worker.stop()
    worker.stop()
    assert worker.metrics() == WorkerMetrics(taken=3, lost=1, given_back=2)
    with pytest.raises(Lost, match="the worker was stopped") as caught:
        hub.result(told, timeout=DEADLINE)
    assert caught.value.partial is not None
    assert hub.store.queue_state("jobs").waiting == 2
    begin()
    assert {text_of(hub.result(name, timeout=DEADLINE)) for name in (again, untold)} == {WHOLE}


def test_a_worker_that_drains_finishes_what_it_has(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(BEGUN)
    name = hub.submit(asks())
    worker = begin()
    anthropix_emulator.wait_for_requests(1)
    assert not worker.drain(0.01)
    waiting = hub.submit(asks())
    anthropix_emulator.release()
    assert worker.drain(DEADLINE)
    assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
    assert hub.status(waiting).state == "queued"


def test_a_worker_on_a_hub_leaves_that_open(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(WHOLE, WHOLE)
    worker = begin(hub)
    assert worker.hub is hub
    assert hub.result(hub.submit(asks()), timeout=DEADLINE)
    worker.stop()
    name = hub.submit(asks())
    begin(hub)
    assert hub.result(name, timeout=DEADLINE)


def test_what_is_wrong_is_refused_and_a_worker_starts_once(begin: Begin, hub: Hub) -> None:
    with pytest.raises(ParameterError) as caught:
        Worker("client", hub, concurrency=0, attempts=True)  # type: ignore[arg-type]
    assert [problem.place for problem in caught.value.problems] == ["client", "concurrency", "attempts"]
    worker = begin()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="make another one"):
            worker.start()
        worker.stop()


class Away:
    """A store that cannot do some things for some time."""

    def __init__(self, store: MemoryStore, error: Exception) -> None:
        self._store = store
        self._error = error
        self._lock = threading.Lock()
        self.fails: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            with self._lock:
                left = self.fails.get(name, 0)
                self.fails[name] = left - 1
            if left > 0:
                raise self._error
            return getattr(self._store, name)(*args, **options)

        return call


@pytest.mark.parametrize("error", [StoreError("away"), OSError("away"), KeyError("away")], ids=repr)
@pytest.mark.parametrize("call", ["take", "state", "claim", "finish", "append_many"])
def test_a_store_that_is_away_for_a_while_costs_no_job(
    call: str, error: Exception, store: MemoryStore, hub: Hub, begin: Begin
) -> None:
    away: Any = Away(store, error)
    away.fails[call] = 2
    worker = begin(away)
    names = [hub.submit(asks()) for _ in range(3)]
    assert all(hub.result(name, timeout=DEADLINE) for name in names)
    until(lambda: is_empty(store))
    assert worker.metrics().done == 3
    assert call == "append_many" or worker.metrics().faults == 2


def test_what_one_worker_gave_back_another_answers_though_the_first_lives(
    store: MemoryStore, hub: Hub, begin: Begin, anthropix_emulator: Emulator
) -> None:
    away: Any = Away(store, StoreError("away"))
    away.fails["append_many"] = 10**6
    anthropix_emulator.queue(*[WHOLE] * 9)
    name = hub.submit(asks())
    with Hub(away, patience=0.1) as impatient:
        worker = begin(impatient)
        until(lambda: worker.metrics().given_back)
        assert worker.drain(DEADLINE)
        begin()
        assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
        worker.stop()


class TakenAtOnce(Away):
    """A store in which what is given back is taken again before the call returns."""

    def give_back(self, queue: str, holder: str, job_id: str) -> bool:
        done = self._store.give_back(queue, holder, job_id)
        self.fails["append_many"] = 0
        until(lambda: (job := self._store.job(queue, job_id)) is None or job.holder)
        return done


def test_what_a_worker_has_given_back_and_taken_again_at_once_is_answered(
    store: MemoryStore, hub: Hub, begin: Begin, anthropix_emulator: Emulator
) -> None:
    fast: Any = TakenAtOnce(store, StoreError("away"))
    fast.fails["append_many"] = 10**6
    anthropix_emulator.queue(WHOLE, WHOLE)
    name = hub.submit(asks())
    with Hub(fast, patience=0.1) as impatient:
        worker = begin(impatient)
        assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
        until(lambda: is_empty(store))
        assert worker.metrics().given_back == worker.metrics().done == 1
        worker.stop()


def test_a_job_that_is_had_once_more_when_its_log_was_lost_is_not_done(
    hub: Hub, begin: Begin, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(BEGUN, WHOLE)
    name = hub.submit(asks(), retry_lost=True)
    worker = begin()
    until(lambda: "event" in kinds(hub.store, name) if hub.store.state(name) else False)
    hub.store.claim(name)  # by one that has died since
    anthropix_emulator.release()
    assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
    until(lambda: is_empty(hub.store))
    assert (worker.metrics().fenced, worker.metrics().done) == (1, 1)


class Watched(Away):
    """A store that notes whether a log was closed when its job was finished."""

    closed: list[bool]

    def finish(self, queue: str, holder: str, job_id: str) -> bool:
        state = self._store.state(job_id)
        self.closed.append(state is not None and state.closed)
        return self._store.finish(queue, holder, job_id)


def test_a_job_is_finished_when_the_end_of_its_answer_is_in_the_store(
    store: MemoryStore, hub: Hub, begin: Begin
) -> None:
    watched: Any = Watched(store, StoreError("away"))
    watched.closed = []
    worker = begin(watched)
    first = hub.submit(asks())
    assert hub.result(first, timeout=DEADLINE)
    until(lambda: is_empty(store))
    watched.fails["append_many"] = 10**6
    hub.submit(asks())
    until(lambda: worker.hub.metrics().behind == len(store.read(first)))  # its end, too, waits for the store
    watched.fails["append_many"] = 0
    until(lambda: is_empty(store))
    assert watched.closed == [True, True]


def test_a_worker_lives_from_its_start_to_its_end(store: MemoryStore, begin: Begin) -> None:
    worker = begin()
    store.claim("of-the-worker", worker.hub.holder)
    assert store.state("of-the-worker").holder == worker.hub.holder  # type: ignore[union-attr]
    worker.stop()
    assert store.state("of-the-worker").holder is None  # type: ignore[union-attr]


def test_what_cannot_be_finished_is_left_to_others(store: MemoryStore, hub: Hub, begin: Begin) -> None:
    away: Any = Away(store, StoreError("away"))
    away.fails["finish"] = 10**6
    name = hub.submit(asks())
    worker = begin(away)
    assert hub.result(name, timeout=DEADLINE)
    until(lambda: worker.metrics().faults)
    worker.stop()
    begin()
    until(lambda: is_empty(store))


def test_jobs_that_wait_to_begin_go_back_at_the_end(hub: Hub, begin: Begin) -> None:
    name = hub.submit(asks())
    died_with(hub.store, name)
    [job] = hub.store.take("jobs", "ghost", 1)
    hub.store.give_back("jobs", "ghost", job.id)
    hub.store.beat("ghost", 3600)
    worker = begin()
    until(lambda: worker.metrics().running == 1)
    assert worker.drain(DEADLINE)
    assert worker.metrics() == WorkerMetrics(taken=1, given_back=1)
    assert hub.store.queue_state("jobs").waiting == 1


def test_answers_of_several_kinds_are_as_they_were(hub: Hub, begin: Begin, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Reply(["One.", "Two."]))
    begin()
    message = hub.result(hub.submit(asks()), timeout=DEADLINE)
    assert [block["text"] for block in message["content"] if block["type"] == "text"] == ["One.", "Two."]
