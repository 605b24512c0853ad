"""Results that arrive together, delivered in one message."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    BatchCancelled,
    BatchDone,
    BatchFailed,
    BatchResult,
    BatchResults,
    ParameterError,
)
from anthropix_actors.batches.batches import LISTS

from actors import HELLO, Blocking, Inbox, Reader, until_blocked
from servers import DEADLINE, LAST_CHUNK, Server, batch_of, chunk, head, json_answer, line_of, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors import Client
    from anthropix_actors.emulator import Emulator

    from servers import Peer

ENDS = (BatchDone, BatchFailed, BatchCancelled)
QUESTION: dict[str, Any] = {"model": "claude-test", "messages": HELLO}
RUNS = 20


class Slowly:
    """Sends results in runs of three, the next run when `more` is released."""

    def __init__(self) -> None:
        self.more = threading.Semaphore(RUNS)
        self.sent = 0

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            if b"/results" not in peer.head.split(b"\r\n")[0]:
                peer.send(json_answer("200 OK", batch_of("msgbatch_1", 3 * RUNS)))
                continue
            peer.send(head())
            for run in range(RUNS):
                assert self.more.acquire(timeout=DEADLINE)
                peer.send(chunk(b"".join(line_of(f"{run}-{n}") for n in range(3))))
                self.sent += 1
            peer.send(LAST_CHUNK)


@pytest.fixture
def slowly() -> Slowly:
    return Slowly()


@pytest.fixture
def server(slowly: Slowly) -> Iterator[Server]:
    with Server(slowly) as running:
        yield running


def ids_of(messages: list[Any]) -> list[str]:
    assert not any(isinstance(message, BatchResult) for message in messages)
    lists = [message.results for message in messages if isinstance(message, BatchResults)]
    assert all(lists), "no list is empty"
    return [result.custom_id for results in lists for result in results]


ALL = [f"{run}-{n}" for run in range(RUNS) for n in range(3)]


@pytest.mark.parametrize("actor", [False, True])
def test_results_come_in_lists_and_each_is_counted(
    server: Server, connect: Callable[..., Client], *, actor: bool
) -> None:
    inbox, ledger = Inbox(), Inbox()
    reader = Reader.start(inbox)
    client = connect(server, ledger=ledger)
    work = client.batches.results("msgbatch_1", stream=reader if actor else inbox, as_lists=True)
    messages = inbox.until_end(ENDS)
    assert ids_of(messages) == ALL
    assert 1 < len(messages) <= RUNS + 1
    assert all(result.batch is message.batch is work for message in messages[:-1] for result in message.results)
    assert (messages[-1].counts["expired"], work.state().told) == (3 * RUNS, 3 * RUNS)
    booked = ledger.until_end(ENDS)
    assert [each.custom_id for each in booked[:-1]] == ALL, "a ledger is told each result"
    reader.stop()


class Consuming(Inbox):
    """Takes the results out of the messages, and what is in them."""

    def tell(self, message: Any, /) -> None:
        results: list[Any] = message.results if isinstance(message, BatchResults) else [message]
        if isinstance(message, BatchResult | BatchResults):
            for result in results:
                result.result.clear()
            results.clear()
        super().tell(message)


@pytest.mark.parametrize("as_lists", [True, False])
def test_a_subscriber_may_change_what_it_gets(
    server: Server, connect: Callable[..., Client], *, as_lists: bool
) -> None:
    ledger, inbox = Inbox(), Consuming()
    work = connect(server, ledger=ledger).batches.results("msgbatch_1", stream=inbox, as_lists=as_lists)
    assert inbox.until_end(ENDS)[-1].counts["expired"] == work.state().told == 3 * RUNS
    assert [each.custom_id for each in ledger.until_end(ENDS)[:-1]] == ALL


def test_an_actor_is_a_few_lists_behind_at_most(server: Server, slowly: Slowly, connect: Callable[..., Client]) -> None:
    slowly.more = threading.Semaphore(0)
    gate = threading.Event()
    reader = Reader.start(inbox := Inbox(), gate=gate)
    work = connect(server).batches.results("msgbatch_1", stream=reader, as_lists=True)
    for run in range(1, LISTS + 1):  # one run by one, so that they are not joined
        slowly.more.release()
        until(lambda run=run: work.state().told >= 3 * run)  # type: ignore[misc]
    slowly.more.release(RUNS)
    until_blocked(work)  # for the reader
    assert work.state().told <= 3 * (LISTS + 1)
    gate.set()
    assert ids_of(inbox.until_end(ENDS)) == ALL
    reader.stop()


def test_a_list_whose_delivery_does_not_return_is_counted_and_booked(
    server: Server, connect: Callable[..., Client]
) -> None:
    ledger, subscriber = Inbox(), Blocking()
    work = connect(server, ledger=ledger).batches.results("msgbatch_1", stream=subscriber, as_lists=True)
    wait(subscriber.began)
    told = work.state().told
    assert told >= 1
    work.cancel("enough")
    booked = ledger.until_end(ENDS)
    assert [each.custom_id for each in booked[:-1]] == ALL[:told]
    subscriber.let.set()
    messages = subscriber.until_end(ENDS)
    assert isinstance(messages[-1], BatchCancelled)
    assert (len(ids_of(messages)), work.state().told) == (told, told)
    assert ledger.queue.empty()


def test_run_and_follow_deliver_lists_as_well(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> None:
    client = connect(anthropix_emulator.url)
    requests = [{"custom_id": f"n{n}", "params": QUESTION} for n in range(3)]
    work = client.batches.run(requests, inbox := Inbox(), poll=0.01, as_lists=True)
    assert sorted(ids_of(inbox.until_end(ENDS))) == ["n0", "n1", "n2"]
    client.batches.follow(work.ids, inbox := Inbox(), poll=0.01, seen={"n1"}, as_lists=True)
    assert sorted(ids_of(inbox.until_end(ENDS))) == ["n0", "n2"]
    client.batches.follow(work.ids, inbox := Inbox(), poll=0.01, seen={"n0", "n1", "n2"}, as_lists=True)
    assert ids_of(inbox.until_end(ENDS)) == []


def test_lists_are_for_subscribers(connect: Callable[..., Client], slowly: Slowly, server: Server) -> None:
    client: Any = connect(server)
    requests = [{"custom_id": "a", "params": QUESTION}]
    calls: list[Callable[[], object]] = [
        lambda: client.batches.results("msgbatch_1", as_lists=True),
        lambda: client.batches.results("msgbatch_1", stream=True, as_lists=True),
        lambda: client.batches.results("msgbatch_1", stream=Inbox(), as_lists=1),
        lambda: client.batches.run(requests, Inbox(), as_lists="yes"),
        lambda: client.batches.follow("msgbatch_1", Inbox(), as_lists=None),
    ]
    for call in calls:
        with pytest.raises(ParameterError, match="as_lists"):
            call()
    assert server.connections == slowly.sent == 0
