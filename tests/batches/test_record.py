"""A run with a store: killed at each step, the same call goes on; nothing is created twice, nothing is lost."""

from __future__ import annotations

import collections
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import (
    BatchCancelled,
    BatchDone,
    BatchFailed,
    BatchResult,
    Client,
    NotFoundError,
    ParameterError,
)
from anthropix_actors.batches import lookup
from anthropix_actors.batches.record import BatchRecord
from anthropix_actors.emulator import Emulator, Status
from anthropix_actors.stores import Fenced, MemoryStore, SQLiteStore

from actors import HELLO, Inbox
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDS = (BatchDone, BatchFailed, BatchCancelled)
QUESTION: Any = {"model": "m", "messages": HELLO}
BATCHES = "/v1/messages/batches"
CREATE = "POST", BATCHES

PROGRAM = """
import os, signal, sys
from anthropix_actors import BatchDone, BatchResult, Client
from anthropix_actors.batches import body, lookup
from anthropix_actors.stores import SQLiteStore

url, file, kind, when = sys.argv[1:]
body.MAX_REQUESTS = 20
lookup.SETTLED = lookup._PAUSE = 0.3

class Killing(SQLiteStore):
    def append(self, name, epoch, first, entries, *, close=False):
        for moment in ("before", "after"):
            if (entries[0]["kind"], moment) == (kind, when):
                os.kill(os.getpid(), signal.SIGKILL)
            if moment == "before":
                super().append(name, epoch, first, entries, close=close)

class Teller:
    def tell(self, message):
        if isinstance(message, BatchResult):
            os.write(1, message.custom_id.encode() + b"\\n")

question = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
requests = [{"custom_id": f"n{n}", "params": question} for n in range(40)]
with Client("key", base_url=url) as client:
    store = Killing(file)
    print("done", client.batches.run(requests, Teller(), poll=0.01, store=store, id="night").result(30), flush=True)
"""


def program(url: str, file: Path, kind: str = "", when: str = "") -> tuple[list[str], int]:
    """Run the program; return what it told, and how it ended."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(PROGRAM), url, str(file), kind, when]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    return done.stdout.splitlines(), done.returncode


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["run", "intent", "created", "told", "end"])
def test_a_run_that_is_killed_at_any_step_goes_on(tmp_path: Path, kind: str, when: str) -> None:
    file = tmp_path / "store.sqlite"
    with Emulator(batch_polls=2) as emulator:
        first, code = program(emulator.url, file, kind, when)
        assert code == -signal.SIGKILL
        store = SQLiteStore(file)
        entries = store.read("night") if store.state("night") else []
        store.close()
        recorded = {name for each in entries if each.data["kind"] == "told" for name in each.data["results"]}
        second, code = program(emulator.url, file)
        assert code == 0
        *told, last = second
        assert sum((request.method, request.path) == CREATE for request in emulator.requests) == 2
    assert {*first, *told} == {f"n{n}" for n in range(40)}
    assert not recorded & {*told}
    assert max(collections.Counter(told).values(), default=1) == 1
    assert "'succeeded': 40" in last


# In one process


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(lookup, "SETTLED", 0.1)
    monkeypatch.setattr(lookup, "_PAUSE", 0.01)
    return connect(emulator.url)


def ask(*names: str) -> list[Any]:
    return [{"custom_id": name, "params": QUESTION} for name in names]


def created(emulator: Emulator) -> int:
    return sum((request.method, request.path) == CREATE for request in emulator.requests)


def run(client: Client, store: Any, *names: str, **options: Any) -> list[Any]:
    """Run requests; return all that was told."""
    inbox = Inbox()
    client.batches.run(ask(*names), inbox, poll=0.01, store=store, id="night", **options)
    return inbox.until_end(ENDS)


def results(messages: list[Any]) -> list[str]:
    return sorted(message.custom_id for message in messages if isinstance(message, BatchResult))


def test_a_run_that_was_done_is_not_done_again(emulator: Emulator, client: Client) -> None:
    store = MemoryStore()
    first = run(client, store, "a", "b")
    assert results(first) == ["a", "b"]
    count = len(emulator.requests)
    again = run(client, store, "a", "b")
    assert results(again) == []
    assert again[-1].counts == first[-1].counts
    assert again[-1].counts["succeeded"] == 2
    assert again[-1].batch.ids == first[-1].batch.ids
    assert len(emulator.requests) == count


def test_other_requests_are_refused(client: Client) -> None:
    store = MemoryStore()
    run(client, store, "a", "b")
    for names in (("b", "a"), ("a",), ("a", "c")):
        with pytest.raises(
            ParameterError, match="id: the log 'night' is none of a run of these requests: take another name"
        ):
            run(client, store, *names)
    epoch = store.claim("night")
    with pytest.raises(ParameterError, match="'night' is none of a run of these requests"):
        run(client, store, "a")
    store.append("night", epoch, 0, [])  # whoever writes it is not fenced by a mistake of others
    with pytest.raises(ParameterError, match="expected a name in the store"):
        client.batches.run(ask("a"), Inbox(), store=store)
    with pytest.raises(ParameterError, match="expected a name in the store"):
        client.batches.run(ask("a"), Inbox(), id="night")


def test_a_creation_that_was_refused_is_tried_again(emulator: Emulator, client: Client) -> None:
    store = MemoryStore()
    emulator.queue(Status(400, "invalid_request_error"), path=BATCHES)
    assert isinstance(run(client, store, "a")[-1], BatchFailed)
    assert [entry.data["kind"] for entry in store.read("night")] == ["run", "intent", "refused"]
    assert results(run(client, store, "a")) == ["a"]
    assert created(emulator) == 2


@pytest.mark.parametrize("others", [(), ("x",), ("x", "y")], ids=["alone", "beside a smaller one", "beside another"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_creation_whose_answer_was_lost_is_looked_up(
    emulator: Emulator,
    client: Client,
    others: tuple[str, ...],
    exists: bool,  # noqa: FBT001 - a parameter
) -> None:
    store = MemoryStore()
    emulator.queue(Status(502), path=BATCHES)
    assert isinstance(run(client, store, "a", "b")[-1], BatchFailed)
    if exists:  # it was created all the same
        client.batches.create(ask("a", "b"))
    if others:
        client.batches.create(ask(*others))
    before = created(emulator)
    assert results(run(client, store, "a", "b")) == ["a", "b"]
    assert created(emulator) - before == (not exists)


def test_what_cannot_be_looked_up_is_not_created_again(emulator: Emulator, client: Client) -> None:
    store = MemoryStore()
    emulator.queue(Status(502), path=BATCHES)
    run(client, store, "a")
    emulator.queue(Status(404), path=BATCHES)
    failed = run(client, store, "a")[-1]
    assert isinstance(failed, BatchFailed)
    assert isinstance(failed.error, NotFoundError)
    assert created(emulator) == 1


def test_a_list_of_many_pages_is_read_until_before_the_creation(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_LIMIT", 1)
    store = MemoryStore()
    for name in "xyz":
        client.batches.create(ask(name))
    emulator.queue(Status(502), path=BATCHES)
    run(client, store, "a")
    assert results(run(client, store, "a")) == ["a"]
    monkeypatch.setattr(lookup, "SKEW", -3600.0)
    other = MemoryStore()
    emulator.queue(Status(502), path=BATCHES)
    run(client, other, "b")
    count = len(emulator.requests)
    assert results(run(client, other, "b")) == ["b"]
    assert sum(request.method == "GET" and "after_id" in request.query for request in emulator.requests[count:]) == 0


def test_a_time_that_is_none_is_no_reason_to_rule_a_batch_out() -> None:
    assert lookup._time_of("2026-11-27T10:00:00Z") == 1795773600.0
    assert lookup._time_of(None) is lookup._time_of("soon") is None


class Handling(pykka.ThreadingActor):
    """Handles results when it may."""

    use_daemon_thread = True
    handled: list[str]

    def __init__(self, may: Any, handled: list[str], dies_at: str = "") -> None:
        super().__init__()
        self.may, self.handled, self.dies_at = may, handled, dies_at

    def on_receive(self, message: Any) -> None:
        if isinstance(message, BatchResult):
            wait(self.may)
            if message.custom_id == self.dies_at:
                raise OSError("a bug")
            self.handled.append(message.custom_id)


def told(store: MemoryStore) -> set[str]:
    return {name for entry in store.read("night") for name in entry.data.get("results", ())}


def test_what_an_actor_has_not_handled_is_told_again(client: Client) -> None:
    store, may, handled = MemoryStore(), threading.Event(), list[str]()
    actor = Handling.start(may, handled)
    work = client.batches.run(ask("a", "b"), actor, poll=0.01, store=store, id="night")
    until(lambda: work.state().told)
    work.cancel()
    wait(work.actor_stopped)
    may.set()
    assert told(store) == set()
    actor.stop()
    assert results(run(client, store, "a", "b")) == ["a", "b"]


def test_what_an_actor_has_handled_is_not(client: Client) -> None:
    store, may, handled = MemoryStore(), threading.Event(), list[str]()
    may.set()
    actor = Handling.start(may, handled)
    client.batches.run(ask("a", "b"), actor, poll=0.01, store=store, id="night").result(DEADLINE)
    assert told(store) == {*handled} == {"a", "b"}
    actor.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_an_actor_dies_of_is_told_to_the_next(client: Client) -> None:
    store, may, handled = MemoryStore(), threading.Event(), list[str]()
    actor = Handling.start(may, handled, "a")
    work = client.batches.run(ask("a", "b"), actor, poll=0.01, store=store, id="night")
    until(lambda: work.state().told)
    may.set()
    wait(work.actor_stopped)
    assert told(store) == set()
    assert results(run(client, store, "a", "b")) == ["a", "b"]


class Broken(MemoryStore):
    """Fails at entries of one kind."""

    def __init__(self, kind: str, error: BaseException) -> None:
        super().__init__()
        self.kind, self.error = kind, error

    def append(self, name: str, epoch: int, first: int, entries: Any, *, close: bool = False) -> None:
        if entries[0]["kind"] == self.kind:
            raise self.error
        super().append(name, epoch, first, entries, close=close)


@pytest.mark.parametrize("kind", ["intent", "created", "told", "end"])
@pytest.mark.parametrize("error", [Fenced("another has it"), SystemExit(3)])
def test_a_store_that_fails_ends_the_run(client: Client, emulator: Emulator, kind: str, error: BaseException) -> None:
    failed = run(client, Broken(kind, error), "a")[-1]
    assert isinstance(failed, BatchFailed)
    assert str(failed.error) in {"another has it", "the log failed: SystemExit(3)"}
    assert created(emulator) == (kind != "intent")


def test_a_log_of_more_entries_than_one_read_returns() -> None:
    store = MemoryStore()
    BatchRecord(store, "night", [])
    more: list[Any] = [{"kind": "told", "results": {f"n{n}": "odd"}} for n in range(2500)]
    store.append("night", store.claim("night"), 1, more)
    assert BatchRecord(store, "night", []).counts()["odd"] == 2500
