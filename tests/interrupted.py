"""What a caller's thread does, to be interrupted everywhere: see `interrupts`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from actors import ASK
from interrupts import LINES, SIGNALS, Report, interrupt_everywhere, nothing
from servers import DEADLINE, answer, chunk, chunks, head, json_answer, send_answer, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from interrupts import Attempt
    from servers import Peer

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


class Plan(NamedTuple):
    """An action, what is done before it, and what somebody does after it who knows that it was interrupted."""

    action: Callable[[Attempt], object]
    prepare: Callable[[Attempt], object] = nothing
    finish: Callable[[Attempt], object] = nothing
    places: int = 50  # there are more of them than that

    def __str__(self) -> str:
        return self.action.__name__

    def interrupted(self, url: str, kind: str, *, every: int = 1) -> Report:
        """Interrupt it at every place of a kind, or at every so-manieth."""
        report = interrupt_everywhere(
            self.action, url, kind=kind, prepare=self.prepare, finish=self.finish, every=every
        )
        assert report.places * every > self.places, f"{self}: {report.places} places"
        return report


PLANS = [
    Plan(blocking_chat),
    Plan(loop),
    Plan(loop_within_with),
    Plan(loop_that_is_left),
    Plan(step_by_step),
    Plan(subscriber_and_result),
    Plan(items),
    Plan(items_within_with),
    Plan(one_call),
    Plan(pages),
    Plan(upload),
    Plan(batch_run),
    Plan(batch_results),
    Plan(batch_results_loop),
    Plan(batch_results_told),
    Plan(cancel, chat_that_runs, cancel, 2),
    Plan(stop, chat_that_runs, cancel, 2),
    Plan(subscribe, chat_that_runs, cancel, 2),
    Plan(snapshot, chat_that_runs, cancel, 2),
    Plan(unsubscribe, chat_that_runs, leave_again, 2),
    Plan(close, chats_that_run_and_wait, close, 5),
]

KINDS = (LINES, SIGNALS)
