"""Workers whose program ends, or closes what they need before them: what can be answered by others is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import AnthropixError, Client, ConfigurationError, Hub, Worker, text_of
from anthropix_actors.emulator import Emulator, Stall
from anthropix_actors.stores import Lost, MemoryStore, SQLiteStore, StoreClosedError

from actors import ASK
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anthropix_actors.stores import Store

    from programs import Programs

WHOLE = "Red light passes, blue light goes astray."
BEGUN = Stall(WHOLE, after_events=5)
NOTHING = Stall(WHOLE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "jobs.db") as store:
        yield store


class Slow(Emulator):
    """An emulator whose answers come to no end, or are silent where it is asked for that, until `is_slow` is False."""

    is_slow = True

    def __init__(self) -> None:
        super().__init__(handler=lambda request: self._answer(str(request.body)))

    def _answer(self, asked: str) -> Any:
        return (NOTHING if "nothing" in asked else BEGUN) if self.is_slow else WHOLE


@pytest.fixture
def slow() -> Iterator[Slow]:
    with Slow() as slow:
        yield slow


def submit(hub: Hub) -> list[str]:
    """Submit jobs of which readers are told nothing; something, which may be replaced; and something."""
    return [
        hub.submit({**ASK, "messages": [{"role": "user", "content": name}]}, id=name, retry_lost=name == "again")
        for name in ("nothing", "again", "lost")
    ]


@pytest.fixture
def client(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(anthropix_emulator.url)


def told(store: Store, name: str) -> bool:
    state = store.state(name)
    return state is not None and state.length > 3


def waiting(store: Store, count: int) -> None:
    """Wait until so many jobs are there for others, as if nobody had taken them."""
    until(lambda: store.queue_state("jobs").waiting == count)


@pytest.mark.parametrize("how", ["sys.exit('an error')", "raise OSError('an error')", "client.close(); sys.exit(3)"])
def test_a_program_that_ends_leaves_to_others_what_they_can_answer(
    how: str, store: SQLiteStore, slow: Slow, programs: Programs, connect: Callable[..., Client]
) -> None:
    text = f"""
        from anthropix_actors.stores import open_store
        worker = Worker(client, open_store(sys.argv[2])).start()
        sys.stdin.readline()
        {how}
        """
    with Hub(store) as hub:
        nothing, again, lost = submit(hub)
        program = programs.begin(slow.url, text, f"sqlite:{store.path}")
        slow.wait_for_requests(3)
        until(lambda: told(store, again) and told(store, lost))
        program.communicate("\n", timeout=DEADLINE)
        assert program.returncode
        assert [store.job("jobs", name).attempt for name in (nothing, again)] == [0, 0]  # type: ignore[union-attr]
        with pytest.raises(Lost, match=r"the interpreter exits|the client was closed") as caught:
            hub.result(lost, timeout=DEADLINE)
        assert caught.value.partial is not None
        slow.is_slow = False
        with Worker(connect(slow.url), store):
            assert [text_of(hub.result(name, timeout=DEADLINE)) for name in (nothing, again)] == [WHOLE] * 2


def test_a_worker_whose_hub_is_closed_takes_nothing_more(
    any_store: Store, client: Client, hubs: Callable[..., Hub]
) -> None:
    hub, other = hubs(any_store), hubs(any_store)
    worker = Worker(client, hub).start()
    hub.close()
    until(lambda: worker.refused)
    name = other.submit(ASK)
    assert worker.drain(DEADLINE)
    assert isinstance(worker.refused, ConfigurationError)
    job = any_store.job("jobs", name)
    assert job is not None
    assert (job.attempt, job.holder) == (0, None)
    with Worker(client, any_store):
        assert other.result(name, timeout=DEADLINE)
    worker.stop()


@pytest.mark.parametrize("closed", ["hub", "client"])
def test_what_a_worker_has_goes_back_when_hub_or_client_are_closed_first(
    closed: str, slow: Slow, connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store = MemoryStore()
    hub, other, client = hubs(store), hubs(store), connect(slow.url)
    nothing, again, lost = submit(other)
    worker = Worker(client, hub).start()
    slow.wait_for_requests(3)
    until(lambda: told(store, again) and told(store, lost))
    (hub if closed == "hub" else client).close()
    until(lambda: worker.refused)
    assert worker.drain(DEADLINE)
    assert worker.metrics().lost == 1
    waiting(store, 2)
    with pytest.raises(Lost, match=f"the {closed} was closed"):
        other.result(lost, timeout=DEADLINE)
    slow.is_slow = False
    with Worker(connect(slow.url), store):
        assert [text_of(other.result(name, timeout=DEADLINE)) for name in (nothing, again)] == [WHOLE] * 2
    worker.stop()


def test_a_job_that_waits_for_its_chat_goes_back_when_the_hub_is_closed(
    client: Client, anthropix_emulator: Emulator, hubs: Callable[..., Hub]
) -> None:
    class Busy(Client):
        """A client that has no thread for a chat."""

        def chat(self, **_: Any) -> Any:
            raise AnthropixError("there is no thread left")

    store = MemoryStore()
    hub, other = hubs(store), hubs(store)
    name = other.submit(ASK)
    with Busy("k", base_url=anthropix_emulator.url) as busy:
        worker = Worker(busy, hub).start()
        until(lambda: worker.metrics().faults)
        hub.close()
        waiting(store, 1)
        until(lambda: worker.refused)
        worker.stop()
    anthropix_emulator.queue(WHOLE)
    with Worker(client, store):
        assert text_of(other.result(name, timeout=DEADLINE)) == WHOLE


def test_a_worker_whose_store_is_closed_takes_nothing_more(any_store: Store, client: Client) -> None:
    worker = Worker(client, any_store).start()
    any_store.close()
    until(lambda: worker.refused)
    assert isinstance(worker.refused, StoreClosedError)
    worker.stop()


def test_what_a_worker_has_is_left_to_others_when_its_store_is_closed(
    store: SQLiteStore, client: Client, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(BEGUN, WHOLE)
    with SQLiteStore(store.path) as its_own, Hub(store) as hub:
        name = hub.submit(ASK, retry_lost=True)
        worker = Worker(client, its_own, lease=1).start()
        until(lambda: told(store, name))
        its_own.close()
        anthropix_emulator.release()
        assert worker.drain(DEADLINE)
        assert isinstance(worker.refused, StoreClosedError)
        worker.stop()
        with Worker(client, store):
            assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE


def test_a_child_has_no_part_of_a_worker(
    store: SQLiteStore, anthropix_emulator: Emulator, programs: Programs, hubs: Callable[..., Hub]
) -> None:
    anthropix_emulator.queue(BEGUN)
    text = """
        from anthropix_actors.stores import open_store
        worker = Worker(client, open_store(sys.argv[2])).start()
        while not worker.metrics().running: pass
        sys.stdin.readline()
        if (pid := os.fork()) == 0:
            worker.stop()
            os._exit(worker.metrics().running)
        print("child", os.waitpid(pid, 0)[1], worker.metrics().running, flush=True)
        """
    hub = hubs(store)
    name = hub.submit(ASK)
    program = programs.begin(anthropix_emulator.url, text, f"sqlite:{store.path}")
    until(lambda: told(store, name))
    out, errors = program.communicate("\n", timeout=DEADLINE)
    assert (out, errors) == ("child 0 1\n", "")
    with pytest.raises(Lost, match="the interpreter exits"):
        hub.result(name, timeout=DEADLINE)
