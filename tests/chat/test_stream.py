from __future__ import annotations

import gc
import signal
import sys
import threading
import traceback
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelledError, ChatDone, Client, OverloadedError, Stream, TruncatedError

from actors import ASK, Inbox, running_in, unread, until_blocked
from servers import (
    DEADLINE,
    Flood,
    Gated,
    Halt,
    Server,
    acquire,
    after,
    answer,
    answering,
    chunks,
    error_body,
    head,
    json_answer,
    stalling,
    until,
    wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors import ChatRef


@pytest.fixture
def stalled(connect: Callable[..., Client]) -> Iterator[Callable[[], Stream]]:
    """Make streams that stall after a few events; their requests have been cancelled when the test ends."""
    with Server(Halt(head(), chunks(answer("Hi", " there")[:4]))) as server:
        client = connect(server)
        made: list[ChatRef] = []

        def make() -> Stream:
            stream = client.chat(**ASK, stream=True)
            made.append(stream.chat)
            return stream

        yield make
        for chat in made:
            wait(chat.actor_stopped)
            with pytest.raises(CancelledError):
                chat.result()
            acquire(server.hung_up)


def test_a_stream_iterates_the_events_as_they_were_on_the_wire(connect: Callable[..., Client]) -> None:
    with Server(answering("Hel", "lo")) as server:
        stream = connect(server).chat(**ASK, stream=True)
        assert list(stream) == answer("Hel", "lo")
        assert list(stream) == []
        assert stream.message()["content"] == [{"type": "text", "text": "Hello"}]


def test_text_gives_the_pieces_of_text_and_message_the_rest(connect: Callable[..., Client]) -> None:
    with Server(answering("Hel", "lo")) as server, connect(server).chat(**ASK, stream=True) as stream:
        assert list(stream.text) == ["Hel", "lo"]
        assert stream.message()["stop_reason"] == "end_turn"


def test_message_alone_skips_all_events(connect: Callable[..., Client]) -> None:
    with Server(answering("Hel", "lo")) as server:
        message = connect(server).chat(**ASK, stream=True).message()
    assert message["content"] == [{"type": "text", "text": "Hello"}]


def test_next_takes_one_event_and_stops_at_the_end(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        stream = connect(server).chat(**ASK, stream=True)
        assert next(stream)["type"] == "message_start"
        assert len(list(stream)) == 5
        with pytest.raises(StopIteration):
            next(stream)


def test_the_snapshot_of_a_stream_is_the_message_so_far(stalled: Callable[[], Stream]) -> None:
    with stalled() as stream:
        for text in stream.text:
            if text == " there":
                break
        assert stream.snapshot is not None
        assert stream.snapshot["content"] == [{"type": "text", "text": "Hi there"}]


def test_break_cancels_the_request(stalled: Callable[[], Stream]) -> None:
    stream = stalled()
    for _ in stream:
        break
    wait(stream.chat.actor_stopped)
    with pytest.raises(CancelledError, match="loop over the stream was left"):
        list(stream)


def test_break_out_of_the_loop_over_the_text_cancels_too(stalled: Callable[[], Stream]) -> None:
    for _ in stalled().text:
        break


def test_an_exception_in_the_loop_cancels_the_request(stalled: Callable[[], Stream]) -> None:
    def loop() -> None:
        for _ in stalled():
            raise LookupError("in the loop")

    with pytest.raises(LookupError):
        loop()


def test_leaving_the_with_block_cancels_the_request(stalled: Callable[[], Stream]) -> None:
    with stalled() as stream:
        next(stream)


def test_losing_the_stream_to_the_garbage_collector_cancels_the_request(stalled: Callable[[], Stream]) -> None:
    stream = stalled()
    gone = weakref.ref(stream)
    next(stream)
    del stream
    gc.collect()
    assert gone() is None


def test_ctrl_c_in_a_waiting_loop_cancels_the_request(stalled: Callable[[], Stream]) -> None:
    stream = stalled()
    received = 0
    with pytest.raises(KeyboardInterrupt):
        for _ in stream:
            received += 1
            if received == 4:  # the next one never comes
                threading.Thread(target=interrupt_when_in, args=("_wait_for_item",)).start()


def test_ctrl_c_in_next_cancels_the_request(stalled: Callable[[], Stream]) -> None:
    stream = stalled()
    for _ in range(4):
        next(stream)
    with pytest.raises(KeyboardInterrupt):
        threading.Thread(target=interrupt_when_in, args=("_wait_for_item",)).start()
        next(stream)


def test_ctrl_c_in_a_blocking_chat_cancels_the_request(connect: Callable[..., Client]) -> None:
    with Server(stalling) as server:
        client = connect(server)
        with pytest.raises(KeyboardInterrupt):
            threading.Thread(target=interrupt_in_the_answer, args=(client,)).start()
            client.chat(**ASK)
        acquire(server.hung_up)


def interrupt_when_in(function: str) -> None:
    """Press Ctrl-C when the main thread is in a function, which it does not leave on its own."""
    main = threading.main_thread().ident
    assert main is not None
    until(lambda: sys._current_frames()[main].f_code.co_name == function)
    signal.pthread_kill(main, signal.SIGINT)


def interrupt_in_the_answer(client: Client) -> None:
    until(lambda: any(chat.snapshot() for chat in running_in(client)))
    interrupt_when_in("wait")


def test_close_ends_a_loop_that_waits_in_another_thread(stalled: Callable[[], Stream]) -> None:
    stream = stalled()
    errors: list[BaseException] = []

    def loop() -> None:
        try:
            list(stream)
        except CancelledError as exc:
            errors.append(exc)

    looping = threading.Thread(target=loop)
    looping.start()
    until(lambda: stream.snapshot and not unread(stream))
    stream.close()
    stream.close()
    looping.join(DEADLINE)
    assert [str(error) for error in errors] == ["the stream was closed"]


def test_closing_a_complete_stream_changes_nothing(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        stream = connect(server).chat(**ASK, stream=True)
        list(stream)
        stream.close()
        assert stream.message()["stop_reason"] == "end_turn"


def test_two_threads_share_the_events_of_one_stream(connect: Callable[..., Client]) -> None:
    texts = [str(number) for number in range(2000)]
    with Server(answering(*texts)) as server:
        stream = connect(server).chat(**ASK, stream=True)
        taken: list[list[Any]] = [[], []]
        threads = [threading.Thread(target=mine.extend, args=(stream,)) for mine in taken]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    events = [id(event) for mine in taken for event in mine]
    assert len(events) == len(set(events)) == len(texts) + 5
    pieces = [
        event["delta"]["text"] for mine in taken for event in mine if "delta" in event and "text" in event["delta"]
    ]
    assert sorted(pieces) == sorted(texts)


def test_a_failure_reaches_every_thread_that_iterates(connect: Callable[..., Client]) -> None:
    with Server(after(head(), chunks(answer("x")[:3]))) as server:
        stream = connect(server).chat(**ASK, stream=True)
        errors: list[BaseException] = []

        def loop() -> None:
            try:
                list(stream)
            except TruncatedError as exc:
                errors.append(exc)

        threads = [threading.Thread(target=loop) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert len(errors) == 3
    assert len(set(map(id, errors))) == 1


def test_one_thread_that_leaves_does_not_end_the_loop_of_another(connect: Callable[..., Client]) -> None:
    script = Gated(answer("a", "b", "c"))
    with Server(script) as server:
        stream = connect(server).chat(**ASK, stream=True)
        rest: list[Any] = []
        looping = iter(stream)
        next(looping)
        for _ in stream:
            break
        script.go_on.set()
        rest.extend(looping)
    assert rest[-1]["type"] == "message_stop"


def test_a_failed_request_raises_in_the_loop(connect: Callable[..., Client]) -> None:
    overloaded = json_answer("529 Overloaded", error_body("overloaded_error"))
    with Server(after(overloaded)) as server:
        stream = connect(server).chat(**ASK, stream=True)
        with pytest.raises(OverloadedError):
            next(stream)
        with pytest.raises(OverloadedError):
            stream.message()


def test_a_cancel_from_another_thread_raises_in_the_loop_with_what_had_arrived(stalled: Callable[[], Stream]) -> None:
    stream = stalled()
    for _ in range(4):
        next(stream)
    stream.chat.cancel("from elsewhere")
    with pytest.raises(CancelledError, match="from elsewhere") as caught:
        next(stream)
    assert caught.value.partial is not None


def test_a_closed_stream_whose_chat_somebody_else_follows_does_not_cancel_it(connect: Callable[..., Client]) -> None:
    script = Gated(answer("a", "b"))
    with Server(script) as server:
        stream = connect(server).chat(**ASK, stream=True)
        stream.chat.subscribe(inbox := Inbox())
        stream.close()
        script.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)


def test_a_slow_loop_makes_the_chat_stop_reading(connect: Callable[..., Client]) -> None:
    """The server can send no more than fits the window and the buffers between."""
    flood = Flood()

    with Server(flood) as server:
        stream = connect(server, window=4).chat(**ASK, stream=True)
        next(stream)
        until_blocked(stream)
        assert unread(stream) <= 4
        stream.close()
        wait(stream.chat.actor_stopped)
    assert flood.sent < flood.all


def test_a_full_stream_that_is_closed_no_longer_holds_up_the_others(connect: Callable[..., Client]) -> None:
    with Server(answering(*["x"] * 200)) as server:
        stream = connect(server, window=8).chat(**ASK, stream=True)
        until_blocked(stream)
        stream.chat.subscribe(inbox := Inbox())
        stream.close()
        assert isinstance(inbox.until_end()[-1], ChatDone)
        assert unread(stream) <= 9


def test_a_failed_stream_is_not_kept_by_its_error(connect: Callable[..., Client]) -> None:
    """The error has the loop in its traceback, and the loop has the stream."""
    with Server(after(head(), chunks(answer("x")[:3]))) as server:
        client = connect(server)

        def loop() -> weakref.ref[Stream]:
            stream = client.chat(**ASK, stream=True)
            with pytest.raises(TruncatedError):
                list(stream)
            with pytest.raises(TruncatedError):
                stream.chat.result(DEADLINE)
            wait(stream.chat.actor_stopped)
            return weakref.ref(stream)

        left = loop()
        until(lambda: gc.collect() >= 0 and left() is None)


def test_a_result_that_is_asked_for_again_and_again_fails_the_same_way(connect: Callable[..., Client]) -> None:
    def depth(error: BaseException) -> int:
        return len(list(traceback.walk_tb(error.__traceback__)))

    with Server(after(head(), chunks(answer("x")[:3]))) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        depths = set()
        for _ in range(5):
            with pytest.raises(TruncatedError) as caught:
                chat.result(DEADLINE)
            depths.add(depth(caught.value))
    assert len(depths) == 1
