"""Ctrl-C at every place of the caller's thread: nothing runs on, and the client works as before."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from actors import ASK
from interrupts import LINES, SIGNALS, Attempt, Interrupter, exits, interrupt_everywhere
from servers import DEADLINE, Peer, Server, answer, chunk, chunks, head, json_answer, send_answer, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Where an interrupt falls between a socket or a file and its name, its collection closes it: at once, and with a word.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{what}.*:pytest.PytestUnraisableExceptionWarning")
    for what in ("unclosed", "SpooledTemporaryFile")
]

QUESTIONS: list[Any] = [{"custom_id": "n0", "params": ASK}]
HELD: dict[str, Any] = {**ASK, "model": "claude-held"}
METADATA = {"id": "file_1", "type": "file", "filename": "a.txt", "mime_type": "text/plain", "size_bytes": 4}


def everything(peer: Peer) -> None:
    """Answer whatever is asked, at once."""
    while peer.read_request():
        path = peer.head.split(b" ")[1].decode()
        if b"claude-held" in peer.body:
            peer.send(head(), chunks(answer("Hel")[:3]))
            peer.wait_for_hang_up()
        elif path == "/v1/messages":
            send_answer(peer, "Hel", "lo", ".")
        elif path.endswith("/results"):
            line = {"custom_id": "n0", "result": {"type": "expired"}}
            peer.send(head(content_type="application/x-jsonl"), chunk(json.dumps(line).encode() + b"\n"), chunk(b""))
        elif path.startswith("/v1/messages/batches"):
            counts = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 1}
            batch = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended"}
            own = f"http://{peer.header('host')}/v1/messages/batches/msgbatch_1/results"
            peer.send(json_answer("200 OK", {**batch, "request_counts": counts, "results_url": own}))
        elif path == "/v1/files":
            peer.send(json_answer("200 OK", METADATA))
        else:
            peer.send(json_answer("200 OK", {"data": [], "has_more": False}))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Server(everything) as server:
        yield server.url


def blocking_chat(attempt: Attempt) -> None:
    assert attempt.client.chat(**ASK)["stop_reason"] == "end_turn"


def loop(attempt: Attempt) -> None:
    for _ in attempt.client.chat(**ASK, stream=True):
        pass


def loop_within_with(attempt: Attempt) -> None:
    with attempt.client.chat(**ASK, stream=True) as stream:
        assert "".join(stream.text) == "Hello."


def loop_that_is_left(attempt: Attempt) -> None:
    for event in attempt.client.chat(**ASK, stream=True):
        if event["type"] == "content_block_start":
            break


def step_by_step(attempt: Attempt) -> None:
    stream = attempt.client.chat(**ASK, stream=True)
    assert next(stream)["type"] == "message_start"
    stream.close()


def subscriber_and_result(attempt: Attempt) -> None:
    chat = attempt.client.chat(**ASK, stream=attempt.inbox())
    try:
        chat.result(timeout=DEADLINE)
    except BaseException:  # what a caller has to do who has the ref
        chat.cancel()
        raise


def items(attempt: Attempt) -> None:
    assert b"".join(attempt.client.request("GET", "/models", stream=True)).startswith(b"{")


def items_within_with(attempt: Attempt) -> None:
    with attempt.client.request("GET", "/models", stream=True) as pieces:
        for _ in pieces:
            break


def one_call(attempt: Attempt) -> None:
    assert attempt.client.count_tokens(**ASK) is not None


def pages(attempt: Attempt) -> None:
    assert list(attempt.client.models.list()) == []


def upload(attempt: Attempt) -> None:
    assert attempt.client.files.upload(b"Text", filename="a.txt")["id"] == "file_1"


def batch_run(attempt: Attempt) -> None:
    work = attempt.client.batches.run(QUESTIONS, attempt.inbox(), poll=0.001)
    try:
        work.result(timeout=DEADLINE)
    except BaseException:
        work.cancel()
        raise


def batch_results(attempt: Attempt) -> None:
    assert len(attempt.client.batches.results("msgbatch_1")) == 1


def batch_results_loop(attempt: Attempt) -> None:
    assert [line["custom_id"] for line in attempt.client.batches.results("msgbatch_1", stream=True)] == ["n0"]


def batch_results_told(attempt: Attempt) -> None:
    work = attempt.client.batches.results("msgbatch_1", stream=attempt.inbox())
    try:
        work.result(timeout=DEADLINE)
    except BaseException:
        work.cancel()
        raise


def chat_that_runs(attempt: Attempt) -> None:
    inbox = attempt.inbox()
    attempt.chat = attempt.client.chat(**HELD, stream=inbox)
    until(lambda: not inbox.queue.empty())


def chats_that_run_and_wait(attempt: Attempt) -> None:
    chat_that_runs(attempt)
    attempt.client.chat(**ASK, stream=attempt.inbox())


def close(attempt: Attempt) -> None:
    attempt.client.close()


def cancel(attempt: Attempt) -> None:
    assert attempt.chat is not None
    attempt.chat.cancel()


def stop(attempt: Attempt) -> None:
    assert attempt.chat is not None
    attempt.chat.stop()


def subscribe(attempt: Attempt) -> None:
    assert attempt.chat is not None
    attempt.chat.subscribe(attempt.inbox())


def unsubscribe(attempt: Attempt) -> None:
    assert attempt.chat is not None
    attempt.chat.unsubscribe(attempt.inboxes[0])


def leave_again(attempt: Attempt) -> None:
    unsubscribe(attempt)
    attempt.inboxes.clear()  # no end is promised to who has left


def snapshot(attempt: Attempt) -> None:
    assert attempt.chat is not None
    assert attempt.chat.snapshot() is not None


ACTIONS: list[Callable[[Attempt], object]] = [
    blocking_chat,
    loop,
    loop_within_with,
    loop_that_is_left,
    step_by_step,
    subscriber_and_result,
    items,
    items_within_with,
    one_call,
    pages,
    upload,
    batch_run,
    batch_results,
    batch_results_loop,
    batch_results_told,
]


SHORT = [blocking_chat, loop_that_is_left, items, batch_run]
"""Those that are interrupted at each line, too; it is the larger part of the places, and few of them differ."""


@pytest.mark.parametrize(
    ("action", "kind"), [*((action, SIGNALS) for action in ACTIONS), *((action, LINES) for action in SHORT)]
)
def test_wherever_an_interrupt_falls_nothing_runs_on(action: Callable[[Attempt], object], kind: str, url: str) -> None:
    report = interrupt_everywhere(action, url, kind=kind)
    assert not report.faults, str(report)
    assert report.places > 50


@pytest.mark.parametrize("kind", [LINES, SIGNALS])
@pytest.mark.parametrize("action", [cancel, stop, subscribe, snapshot])
def test_a_chat_can_still_be_cancelled_wherever_an_interrupt_falls(
    action: Callable[[Attempt], object], kind: str, url: str
) -> None:
    report = interrupt_everywhere(action, url, kind=kind, prepare=chat_that_runs, finish=cancel)
    assert not report.faults, str(report)
    assert report.places >= 3


@pytest.mark.parametrize("kind", [LINES, SIGNALS])
def test_a_subscriber_can_still_leave_wherever_an_interrupt_falls(kind: str, url: str) -> None:
    report = interrupt_everywhere(unsubscribe, url, kind=kind, prepare=chat_that_runs, finish=leave_again)
    assert not report.faults, str(report)
    assert report.places >= 3


@pytest.mark.parametrize("kind", [LINES, SIGNALS])
def test_a_client_can_still_be_closed_wherever_an_interrupt_falls(kind: str, url: str) -> None:
    report = interrupt_everywhere(close, url, kind=kind, prepare=chats_that_run_and_wait, finish=close)
    assert not report.faults, str(report)
    assert report.places > 5


# The tracer itself


class Lock:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def leaving() -> int:
    with Lock():
        return len("x")


def leaving_later() -> int:
    with Lock():
        number = len("x")
    return -number


@pytest.mark.parametrize(("function", "lines"), [(leaving, 2), (leaving_later, 3)])
def test_a_block_left_in_good_order_is_no_place_of_its_own(function: Callable[[], int], lines: int) -> None:
    assert exits(function.__code__)
    places = []
    for number in range(1, 10):
        interrupter = Interrupter(number, LINES, (__file__,))
        with contextlib.suppress(KeyboardInterrupt), interrupter.within():
            function()
        if interrupter.place is not None and interrupter.place.function == function.__qualname__:
            places.append(interrupter.place.line)
    assert len(places) == len(set(places)) == lines


def collecting(into: list[list[int]]) -> None:
    numbers = [1]
    sum(numbers)
    made = list(numbers)
    into.append(made)


def test_a_signal_falls_between_a_call_and_what_is_done_with_its_value() -> None:
    places = []
    for number in range(1, 10):
        into: list[list[int]] = []
        interrupter = Interrupter(number, SIGNALS, (__file__,))
        try:
            with interrupter.within():
                collecting(into)
        except KeyboardInterrupt:
            places.append((interrupter.place.line - collecting.__code__.co_firstlineno, len(into)))  # type: ignore[union-attr]
    assert places == [(1, 0), (2, 0), (3, 0), (4, 1)]
