from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import threading
import traceback
from collections.abc import AsyncIterable, Awaitable
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    BatchProgress,
    BatchResult,
    BlockPiece,
    CancelledError,
    ChatDone,
    ChatEvent,
    Client,
    ConfigurationError,
    DeadlockError,
    OverloadedError,
    ParameterError,
    TruncatedError,
)
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors.subscribers import AsyncSubscriber, aio
from anthropix_actors.subscribers.inboxes import LoopInbox, ThreadInbox

from actors import ASK, HELLO, Inbox, deliveries_of, task_of, text_of, until_blocked, until_cancelled, until_told
from servers import (
    BUSY,
    DEADLINE,
    Flood,
    Gated,
    Halt,
    Peer,
    Replies,
    Server,
    acquire,
    after,
    answer,
    answering,
    block_start,
    chunks,
    head,
    until,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from anthropix_actors.emulator import Emulator

    Run = Callable[[Coroutine[Any, Any, Any]], Any]

LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in an event loop of its own, with a deadline."""
    factory: Any = importlib.import_module(request.param).new_event_loop

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        wrong: list[Any] = []
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: wrong.append(context))
            result = runner.run(asyncio.wait_for(coroutine, 3 * DEADLINE))
        assert wrong == []
        return result

    return run


@pytest.fixture
def halting() -> Iterator[Server]:
    """A server whose answers stall after some text; at the end, each has been cancelled."""
    with Server(Halt(head(), chunks(answer("Hi", " there")[:4]))) as server:
        yield server
        for _ in range(server.connections):
            acquire(server.hung_up)


def test_a_loop_gets_the_events_as_they_were_on_the_wire(connect: Callable[..., Client], run: Run) -> None:
    async def loop() -> list[Any]:
        return [event async for event in aio(client.chat(**ASK, stream=True))]

    script = Gated(answer("Hel", "lo"))  # else some may have come before the loop, which gets them in one then
    with Server(script) as server:
        client = connect(server)

        async def joined() -> list[Any]:
            stream = client.chat(**ASK, stream=True)
            events = aiter(aio(stream))
            first = [await anext(events) for _ in range(3)]
            script.go_on.set()
            return [*first, *[event async for event in events]]

        assert run(joined()) == answer("Hel", "lo")
        assert run(loop())[-1] == {"type": "message_stop"}


def test_text_is_the_text(connect: Callable[..., Client], run: Run) -> None:
    async def loop() -> list[str]:
        return [text async for text in aio(client.chat(**ASK, stream=True)).text]

    with Server(answering("Hel", "lo")) as server:
        client = connect(server)
        assert "".join(run(loop())) == "Hello"


@pytest.mark.parametrize("before", [False, True], ids=["of a stream", "of an aio"])
def test_pieces_are_those_of_a_stream(before: Any, connect: Callable[..., Client], run: Run) -> None:
    async def loop() -> list[Any]:
        work: Any = aio() if before else aio(client.chat(**ASK, stream=True))
        if before:
            client.chat(**ASK, stream=work)
        return [piece async for piece in work.pieces]

    with Server(answering("Hello")) as server:
        client = connect(server)
        assert [str(piece) for piece in run(loop())] == [str(each) for each in client.chat(**ASK, stream=True).pieces]


def test_pieces_of_a_resumed_answer_have_no_block_that_is_void(connect: Callable[..., Client], run: Run) -> None:
    async def loop() -> list[Any]:
        messages = aio()
        client.chat(**ask, resume=True, stream=messages)
        return [piece async for piece in messages.pieces if isinstance(piece, BlockPiece)]

    ask: Any = {**ASK, "tools": [{"name": "clock", "input_schema": {"type": "object"}}]}
    call = block_start(1, type="tool_use", id="toolu_1", name="clock", input={})
    begun = [*answer("Let me see.")[:4], call]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*([whole("It is noon.")] if b"Let me see." in peer.body else [head(), chunks(begun)]))

    with Server(script) as server:
        client = connect(server, max_retries=1)
        assert {piece.block["type"] for piece in run(loop())} == {"text"}


def test_a_batch_has_neither_text_nor_pieces(
    connect: Callable[..., Client], anthropix_emulator: Emulator, run: Run
) -> None:
    async def loop() -> list[Any]:
        texts, pieces = aio(), aio()
        for messages in (texts, pieces):
            client.batches.run(batch(1), messages, poll=0.01)
        return [text async for text in texts.text] + [piece async for piece in pieces.pieces]

    client = connect(anthropix_emulator.url)
    assert run(loop()) == []


def test_await_gives_the_message_and_skips_the_events(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> Any:
        return await aio(client.chat(**ASK, stream=True))

    with Server(answering(*["x"] * 2000)) as server:
        client = connect(server, window=8)
        assert run(ask())["content"] == [{"type": "text", "text": "x" * 2000}]


def test_many_coroutines_await_and_loop_over_one_chat_and_others_do_after_its_end(
    connect: Callable[..., Client], run: Run
) -> None:
    async def text(chat: Any) -> str:
        return "".join([text async for text in aio(chat).text])

    async def message(chat: Any) -> Any:
        return await aio(chat)

    async def ask() -> None:
        chat = client.chat(**ASK, stream=Inbox())
        texts = asyncio.gather(*[text(chat) for _ in range(20)])
        messages = asyncio.gather(*[message(chat) for _ in range(20)])
        script.go_on.set()
        assert await texts == ["Hello"] * 20
        assert [each["stop_reason"] for each in await messages] == ["end_turn"] * 20
        assert chat.result(0)["stop_reason"] == "end_turn"
        assert await text(chat) == "Hello"
        assert (await aio(chat))["stop_reason"] == "end_turn"

    script = Gated(answer("Hel", "lo"))
    with Server(script) as server:
        client = connect(server)
        run(ask())


def test_coroutines_of_two_event_loops_follow_one_chat(connect: Callable[..., Client], run: Run) -> None:
    async def text(work: Any) -> None:
        texts.append("".join([text async for text in work.text]))

    texts: list[str] = []
    script = Gated(answer("Hel", "lo"))
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        work = aio(chat)
        threads = [threading.Thread(target=run, args=(text(work),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: len(deliveries_of(chat)) == 3)
        script.go_on.set()
        for thread in threads:
            thread.join(DEADLINE)
    assert texts == ["Hello"] * 2


def test_a_failure_is_raised_in_loops_and_awaits(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        work = aio(client.chat(**ASK, stream=True))
        with pytest.raises(TruncatedError):
            async for _ in work:
                pass
        with pytest.raises(TruncatedError) as caught:
            await work
        assert caught.value.partial is not None

    with Server(after(head(), chunks(answer("x")[:3]))) as server:
        client = connect(server)
        run(ask())


def test_a_cancel_from_elsewhere_is_raised_in_loops_and_awaits(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        work = aio(client.chat(**ASK, stream=True))
        waiting = asyncio.ensure_future(message(work))
        with pytest.raises(CancelledError, match="enough"):
            async for _ in work:
                work.ref.cancel("enough")
        with pytest.raises(CancelledError, match="enough"):
            await waiting

    async def message(work: Any) -> Any:
        return await work

    with Server(Halt(head(), chunks(answer("Hi")[:3]))) as server:
        client = connect(server)
        run(ask())


def test_retries_are_not_seen(connect: Callable[..., Client], run: Run) -> None:
    async def loop() -> list[Any]:
        return [event["type"] async for event in aio(client.chat(**ASK, stream=True))]

    with Server(Replies(BUSY, whole("x"))) as server:
        client = connect(server, max_retries=1)
        assert run(loop()) == [event["type"] for event in answer("x")]


# Leaving


async def leave_by_break(work: Any) -> None:
    async for _ in work:
        break


async def leave_by_an_exception(work: Any) -> None:
    with contextlib.suppress(LookupError):
        async for _ in work:
            raise LookupError


async def leave_by_aclose(work: Any) -> None:
    events = aiter(work)
    await anext(events)
    await events.aclose()


async def leave_by_losing_it(work: Any) -> None:
    events = aiter(work)
    await anext(events)
    del events
    gc.collect()


async def leave_by_breaking_out_of_the_text(work: Any) -> None:
    async for _ in work.text:
        break


async def leave_by_a_cancel(work: Any) -> None:
    begun = asyncio.Event()

    async def loop() -> None:
        async for _ in work:
            begun.set()

    task = asyncio.ensure_future(loop())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def leave_by_a_cancelled_await(work: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await work


WAYS = (
    leave_by_break,
    leave_by_an_exception,
    leave_by_aclose,
    leave_by_losing_it,
    leave_by_breaking_out_of_the_text,
    leave_by_a_cancel,
    leave_by_a_cancelled_await,
)


@pytest.mark.parametrize("leave", WAYS)
def test_leaving_cancels_the_chat_while_the_event_loop_goes_on(
    leave: Callable[[Any], Coroutine[Any, Any, None]],
    halting: Server,
    connect: Callable[..., Client],
    run: Run,
) -> None:
    async def ask() -> None:
        stream = client.chat(**ASK, stream=True)
        await leave(aio(stream))
        await asyncio.to_thread(until_cancelled, stream.chat)

    client = connect(halting)
    run(ask())


@pytest.mark.parametrize("leave", WAYS)
def test_leaving_an_aio_that_was_made_before_its_chat_cancels_the_chat(
    leave: Callable[[Any], Coroutine[Any, Any, None]],
    halting: Server,
    connect: Callable[..., Client],
    run: Run,
) -> None:
    async def ask() -> None:
        messages = aio()
        chat = client.chat(**ASK, stream=messages)
        await leave(messages)
        await asyncio.to_thread(until_cancelled, chat)
        with pytest.raises(CancelledError):
            await messages

    client = connect(halting)
    run(ask())


@pytest.mark.parametrize("leave", WAYS)
def test_leaving_a_chat_that_somebody_else_follows_does_not_cancel_it(
    leave: Callable[[Any], Coroutine[Any, Any, None]], connect: Callable[..., Client], run: Run
) -> None:
    async def ask() -> None:
        chat = client.chat(**ASK, stream=inbox)
        await leave(aio(chat))
        await asyncio.to_thread(until, lambda: len(deliveries_of(chat)) == 1)

    inbox, script = Inbox(), Gated(answer("a", "b"))
    with Server(script) as server:
        client = connect(server)
        run(ask())
        script.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)


def test_a_cancelled_await_of_a_chat_that_goes_on_leaves_nothing_behind(
    connect: Callable[..., Client], run: Run
) -> None:
    async def ask() -> None:
        chat = client.chat(**ASK, stream=inbox)
        await leave_by_a_cancelled_await(aio(chat))
        await asyncio.to_thread(until, lambda: not task_of(chat).audience.callbacks)

    inbox, script = Inbox(), Gated(answer("a"))
    with Server(script) as server:
        client = connect(server)
        run(ask())
        script.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)


@pytest.mark.parametrize("made_before", [False, True])
def test_a_block_that_is_left_leaves_its_loops_and_cancels_the_chat(
    made_before: bool,  # noqa: FBT001
    halting: Server,
    connect: Callable[..., Client],
    run: Run,
) -> None:
    client = connect(halting)

    async def leave() -> Any:
        events: Any = aio() if made_before else aio(client.chat(**ASK, stream=True))
        chat = client.chat(**ASK, stream=events) if made_before else events.ref
        async with events as stream:
            loop = aiter(stream)
            assert (await anext(loop))["type"] == "message_start"
            waiting = asyncio.ensure_future(_rest_of(loop))
            await asyncio.sleep(0)
        with pytest.raises(CancelledError, match="the loop over the answer was left"):
            await waiting
        return chat

    until_cancelled(run(leave()))


async def _rest_of(loop: Any) -> None:
    async for _ in loop:
        pass


def test_a_block_is_left_without_a_loop_or_after_the_end(connect: Callable[..., Client], run: Run) -> None:
    async def leave() -> str:
        async with aio() as unused, aio(client.chat(**ASK, stream=True)) as stream:
            assert await stream
        async with stream:
            assert [event async for event in stream]
        async with aio() as messages:
            client.chat(**ASK, stream=messages)
            texts = [text async for text in messages.text]
        assert not unused.is_alive()
        return "".join(texts)

    with Server(answering("Hello")) as server:
        client = connect(server)
        assert run(leave()) == "Hello"


def test_a_block_in_an_event_loop_leaves_loops_in_one_that_was_closed(
    halting: Server, connect: Callable[..., Client], run: Run
) -> None:
    events = aio(connect(halting).chat(**ASK, stream=True))
    loop = aiter(events)

    async def begin() -> None:
        await anext(loop)

    async def leave() -> None:
        async with events:
            pass

    closed = asyncio.new_event_loop()
    closed.run_until_complete(begin())
    closed.close()
    run(leave())
    until_cancelled(events.ref)


def test_what_is_no_asyncio_says_how_to_have_it(connect: Callable[..., Client], run: Run) -> None:
    async def enter(stream: Any) -> None:
        async with stream:
            pass

    with Server(answering("Hello")) as server:
        client = connect(server)
        with client.chat(**ASK, stream=True) as stream:
            with pytest.raises(TypeError, match=r"^async with Stream: use aio\(\.\.\.\) of it, from anthropix_actors"):
                run(enter(stream))
            with pytest.raises(TypeError, match=r"^async for ChatRef: use aio\(\.\.\.\) of it, from anthropix_actors"):
                run(_rest_of(stream.chat))
            assert not isinstance(stream, AsyncIterable)
            assert not isinstance(stream.chat, Awaitable)
            assert stream.message()


def test_a_loop_over_the_text_is_left_when_it_is_closed(
    halting: Server, connect: Callable[..., Client], run: Run
) -> None:
    async def ask() -> None:
        messages = aio()
        client.chat(**ASK, stream=messages)
        text: Any = messages.text
        await anext(text)
        await text.aclose()
        assert not messages.is_alive()  # at once, not a turn of the event loop later

    client = connect(halting)
    run(ask())


def test_a_batch_that_failed_fails_the_same_way_again_and_again(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        work = aio(client.batches.follow("msgbatch_1", Inbox()))
        depths = set()
        for _ in range(5):
            with pytest.raises(OverloadedError) as caught:
                await work
            depths.add(len(list(traceback.walk_tb(caught.value.__traceback__))))
        assert len(depths) == 1

    with Server(Replies(BUSY)) as server:
        client = connect(server)
        run(ask())


def test_a_stream_that_no_coroutine_begins_to_read_is_cancelled_when_it_is_lost(
    halting: Server, connect: Callable[..., Client]
) -> None:
    chat = aio(connect(halting).chat(**ASK, stream=True)).ref
    gc.collect()
    until_cancelled(chat)


def test_an_event_loop_that_is_closed_in_the_middle_has_left(halting: Server, connect: Callable[..., Client]) -> None:
    chat = connect(halting).chat(**ASK, stream=(inbox := LoopInbox()))
    loop = asyncio.new_event_loop()

    async def read() -> None:
        messages = 0
        while True:
            messages += len(await inbox.burst())
            if messages == 4:  # no more come that would find the event loop closed
                loop.stop()

    reading = loop.create_task(read())
    loop.run_forever()
    loop.close()
    until_cancelled(chat)
    assert not inbox.is_alive()
    inbox.tell("late")
    with contextlib.suppress(RuntimeError):
        reading.get_coro().close()  # nothing else ends it
    reading._log_destroy_pending = False  # type: ignore[attr-defined]


def test_an_await_in_an_event_loop_that_is_closed_keeps_nobody(connect: Callable[..., Client]) -> None:
    async def read() -> None:
        await aio(chat)

    script = Gated(answer("x"))
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        loop = asyncio.new_event_loop()
        reading = loop.create_task(read())
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        script.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)
    reading.get_coro().close()
    reading._log_destroy_pending = False  # type: ignore[attr-defined]
    assert not task_of(chat).audience.waiting


def test_an_await_in_an_event_loop_that_is_closed_has_left(halting: Server, connect: Callable[..., Client]) -> None:
    async def read() -> None:
        await aio(stream)

    stream = connect(halting).chat(**ASK, stream=True)
    loop = asyncio.new_event_loop()
    reading = loop.create_task(read())
    loop.run_until_complete(swept())
    assert task_of(stream.chat).audience.waiting
    loop.close()
    until_cancelled(stream.chat)
    reading.get_coro().close()
    reading._log_destroy_pending = False  # type: ignore[attr-defined]


async def swept() -> None:
    """Wait until the sweeper has looked at all."""
    for _ in range(2):
        looked = threading.Event()
        SWEEPER.post(looked.set)
        assert await asyncio.to_thread(looked.wait, DEADLINE)


def test_an_await_at_the_end_of_the_program_is_cancelled(
    halting: Server, connect: Callable[..., Client], run: Run
) -> None:
    async def ask() -> None:
        waiting = asyncio.ensure_future(read(connect(halting).chat(**ASK, stream=True)))
        await asyncio.sleep(0)
        await asyncio.to_thread(SWEEPER.cancel_all, "the end", patience=DEADLINE)
        with pytest.raises(CancelledError, match="the end"):
            await waiting

    async def read(stream: Any) -> None:
        await aio(stream)

    run(ask())


def test_an_await_that_is_cancelled_as_the_end_arrives_is_cancelled(connect: Callable[..., Client], run: Run) -> None:
    async def read(chat: Any) -> None:
        await aio(chat)

    async def ask() -> None:
        chat = client.chat(**ASK, stream=Inbox())
        reading = asyncio.ensure_future(read(chat))
        await asyncio.sleep(0)
        script.go_on.set()
        until_told(chat)  # and this event loop does not hear of it before the next turn
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    script = Gated(answer("x"))
    with Server(script) as server:
        client = connect(server)
        run(ask())


# Slow loops and fast answers


def test_a_slow_loop_makes_the_chat_stop_reading(connect: Callable[..., Client], run: Run) -> None:
    flood = Flood()

    async def loop() -> None:
        messages = aio()
        chat = client.chat(**ASK, stream=messages)
        events = aiter(messages)
        await anext(events)
        await asyncio.to_thread(until_blocked, chat)
        assert len(messages._arrived) + messages._taken <= 4
        chat.cancel("seen")
        await asyncio.to_thread(until_cancelled, chat)

    with Server(flood) as server:
        client = connect(server, window=4)
        run(loop())
    assert flood.sent < flood.all


def test_what_is_taken_and_not_handled_yet_fills_the_window(run: Run) -> None:
    async def loop() -> None:
        for kind in (LoopInbox, ThreadInbox):
            inbox: Any = kind()
            for number in range(3):
                inbox.tell(number)
            assert not inbox.window.room(3)
            burst = inbox.burst(1) if kind is ThreadInbox else await inbox.burst()
            assert burst == [0, 1, 2]
            assert not inbox.window.room(3)
            assert inbox.window.room(4)

    run(loop())


def test_a_slow_loop_gets_all_of_a_long_answer(connect: Callable[..., Client], run: Run) -> None:
    async def loop() -> list[str]:
        return [text async for text in aio(client.chat(**ASK, stream=True)).text]

    texts = [f"{number} " for number in range(3000)]
    with Server(answering(*texts)) as server:
        client = connect(server, window=4)
        assert "".join(run(loop())) == "".join(texts)


def test_a_fast_answer_leaves_turns_to_others(run: Run) -> None:
    """Else a coroutine whose events are always there already would never let go of the event loop."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def loop() -> None:
        inbox = LoopInbox()
        other = asyncio.ensure_future(others())
        for number in range(100):
            inbox.tell(number)
            assert await inbox.burst() == [number]
        other.cancel()

    run(loop())
    assert turns >= 98


def test_a_message_that_comes_as_a_coroutine_begins_to_wait_is_seen(run: Run) -> None:
    async def loop() -> None:
        inbox = LoopInbox()
        inbox.tell("early")
        await inbox._arrival()  # which is called when nothing is there
        assert await inbox.burst() == ["early"]

    run(loop())


def test_a_burst_wakes_the_event_loop_once(run: Run) -> None:
    async def loop() -> None:
        inbox, woken = LoopInbox(), 0
        wakes = asyncio.get_running_loop().call_soon_threadsafe

        def wake(*args: Any) -> Any:
            nonlocal woken
            woken += 1
            return wakes(*args)

        waiting = asyncio.ensure_future(inbox.burst())
        await asyncio.sleep(0)
        spy: Any = type("Loop", (), {"call_soon_threadsafe": staticmethod(wake)})()
        inbox._loop = spy
        for number in range(100):
            inbox.tell(number)
        assert await waiting == [*range(100)]
        assert woken == 1

    run(loop())


def test_two_coroutines_share_the_messages_of_one_aio(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        messages = aio()
        client.chat(**ASK, stream=messages)
        events = await asyncio.gather(*[collect(messages) for _ in range(2)])
        assert sorted(text for texts in events for text in texts) == sorted(texts)

    async def collect(messages: AsyncSubscriber) -> list[str]:
        return [text async for text in messages.text]

    texts = [str(number) for number in range(1000)]
    with Server(answering(*texts)) as server:
        client = connect(server)
        run(ask())


def test_one_coroutine_that_leaves_does_not_end_the_loop_of_another(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> str:
        messages = aio()
        client.chat(**ASK, stream=messages)
        rest = messages.text
        first = await anext(rest)
        waiting = asyncio.ensure_future(anext(aiter(messages)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        script.go_on.set()
        return first + "".join([text async for text in rest])

    script = Gated(answer("a", "b", "c"))
    with Server(script) as server:
        client = connect(server)
        assert run(ask()) == "abc"


# Batches and sessions


def batch(number: int) -> list[Any]:
    params = {"model": "claude-sonnet-5", "messages": HELLO}
    return [{"custom_id": f"q{each}", "params": params} for each in range(number)]


def test_a_batch_is_looped_over_and_awaited(
    connect: Callable[..., Client], anthropix_emulator: Emulator, run: Run
) -> None:
    async def ask() -> None:
        messages = aio()
        ref = client.batches.run(batch(3), messages, poll=0.01)
        told = [message async for message in messages]
        assert isinstance(told[0], BatchProgress)
        assert sorted(each.custom_id for each in told if isinstance(each, BatchResult)) == ["q0", "q1", "q2"]
        assert (await messages)["succeeded"] == 3
        assert (await aio(ref))["succeeded"] == 3
        assert [message async for message in messages] == []

    client = connect(anthropix_emulator.url)
    run(ask())


def test_results_that_nobody_loops_over_are_skipped_by_an_await(
    connect: Callable[..., Client], anthropix_emulator: Emulator, run: Run
) -> None:
    async def ask() -> Any:
        messages = aio()
        client.batches.run(batch(50), messages, poll=0.01)
        return await messages

    client = connect(anthropix_emulator.url, window=4)
    assert run(ask())["succeeded"] == 50


def test_a_batch_or_a_session_that_fails_or_is_cancelled_raises(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        work = aio(client.batches.follow("msgbatch_1", Inbox()))
        with pytest.raises(OverloadedError):
            await work
        session = aio(client.sessions.events("sesn_1", stream=Inbox()))
        session.ref.cancel("enough")
        with pytest.raises(CancelledError, match="enough"):
            await session

    def script(peer: Peer) -> None:
        peer.read_request()
        if b"/sessions/" in peer.head:
            peer.wait_for_hang_up()
        peer.send(BUSY)

    with Server(script) as server:
        client = connect(server)
        run(ask())


def test_a_batch_that_is_followed_by_others_cannot_be_looped_over_but_awaited(
    connect: Callable[..., Client], anthropix_emulator: Emulator, run: Run
) -> None:
    async def ask() -> None:
        work = aio(client.batches.run(batch(1), Inbox(), poll=0.01))
        with pytest.raises(ParameterError, match=r"got a batch, .* messages = aio\(\)"):
            async for _ in work:
                pass
        assert (await work)["succeeded"] == 1

    client = connect(anthropix_emulator.url)
    run(ask())


def test_a_session_is_looped_over_and_awaited(
    connect: Callable[..., Client], anthropix_emulator: Emulator, run: Run
) -> None:
    async def ask() -> None:
        events = aio()
        ref = client.sessions.events("sesn_1", stream=events, after="")
        session.add({"type": "session.status_running"})
        session.add({"type": "session.status_terminated"})
        kinds = [event["type"] async for event in events]
        assert kinds[0] == "session.status_running"
        assert (await events)["type"] == "session.status_terminated"
        assert (await aio(ref))["type"] == "session.status_terminated"

    session = anthropix_emulator.session("sesn_1")
    client = connect(anthropix_emulator.url)
    run(ask())


# Mistakes


def test_one_aio_for_two_chats_is_refused_in_the_loop(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        messages, passing = aio(), Inbox()
        passing.tell = messages.tell  # type: ignore[method-assign] # who passes messages on is not known for it
        chats = [client.chat(**ASK, stream=stream) for stream in (messages, passing)]
        for chat in chats:
            until(chat.snapshot)
        with pytest.raises(ParameterError, match="messages of two"):
            async for _ in messages:
                pass
        chats[1].cancel()
        for chat in chats:
            await asyncio.to_thread(until_cancelled, chat)

    with Server(Halt(head(), chunks(answer("Hi")[:3]))) as server:
        client = connect(server)
        run(ask())


def test_one_aio_is_refused_for_a_second_chat_before_anything_is_sent(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        messages = aio()
        chat = client.chat(**ASK, stream=messages)
        with pytest.raises(ParameterError, match="follows another already"):
            client.chat(**ASK, stream=messages)
        with pytest.raises(ParameterError, match="follows another already"):
            client.batches.follow("msgbatch_1", messages)
        other = client.chat(**ASK, stream=Inbox())
        with pytest.raises(ParameterError, match="follows another already"):
            other.subscribe(messages)
        chat.subscribe(messages)  # which it follows
        assert text_of([ChatEvent(chat, event) async for event in messages]) == "Hi"
        assert (await messages)["stop_reason"] == "end_turn"

    with Server(answering("Hi")) as server:
        client = connect(server)
        run(ask())
        assert server.connections <= 2


def test_an_aio_whose_chat_could_not_start_may_follow_another(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        messages, closed = aio(), connect(server)
        closed.close()
        with pytest.raises(ConfigurationError):
            closed.chat(**ASK, stream=messages)
        connect(server).chat(**ASK, stream=messages)
        assert (await messages)["stop_reason"] == "end_turn"

    with Server(answering("Hi")) as server:
        run(ask())


def test_an_aio_whose_chat_has_ended_is_refused_for_another(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        messages = aio()
        chat = client.chat(**ASK, stream=messages)
        answer = await messages
        with pytest.raises(ParameterError, match="follows another already"):
            client.chat(**ASK, stream=messages)
        until_told(chat)
        with pytest.raises(ParameterError, match="got one whose loop is over"):
            chat.subscribe(messages)
        assert await messages == answer

    with Server(answering("x")) as server:
        client = connect(server)
        run(ask())
        assert server.connections == 1


def test_an_aio_in_two_event_loops_is_refused_in_the_second_and_goes_on_in_the_first(
    connect: Callable[..., Client], run: Run
) -> None:
    async def ask() -> str:
        messages = aio()
        client.chat(**ASK, stream=messages)
        texts = messages.text
        first = await anext(texts)
        with pytest.raises(ParameterError, match="one event loop"):
            await asyncio.to_thread(asyncio.run, waited(messages))
        script.go_on.set()
        return first + "".join([text async for text in texts])

    async def waited(messages: AsyncSubscriber) -> Any:
        return await messages

    script = Gated(answer("a", "b"))
    with Server(script) as server:
        client = connect(server)
        assert run(ask()) == "ab"


def test_result_in_the_thread_of_a_loop_that_reads_is_refused(connect: Callable[..., Client], run: Run) -> None:
    async def ask() -> None:
        messages = aio()
        chat = client.chat(**ASK, stream=messages)
        chat.subscribe(Inbox())
        async with contextlib.aclosing(aiter(messages)) as events:
            await anext(events)
            with pytest.raises(DeadlockError):
                chat.result(0.1)
        script.go_on.set()
        assert chat.result(DEADLINE)["stop_reason"] == "end_turn"  # nobody here reads any more

    script = Gated(answer("a", "b"))
    with Server(script) as server:
        client = connect(server)
        run(ask())


def test_a_message_of_the_programs_own_is_passed_on(run: Run) -> None:
    async def loop() -> Any:
        messages = aio()
        messages.tell("mine")
        return await anext(aiter(messages))

    assert run(loop()) == "mine"


@pytest.mark.parametrize(
    ("work", "hint"),
    [
        ({"type": "message"}, "a mapping: .* stream=True"),
        (3, "got int"),
        (aio, "got function"),
    ],
)
def test_what_is_no_task_is_refused_with_a_hint(work: Any, hint: str) -> None:
    with pytest.raises(ParameterError, match=hint):
        aio(work)


def test_a_blocking_loop_over_a_session_is_refused_with_a_hint(
    connect: Callable[..., Client], anthropix_emulator: Emulator
) -> None:
    with connect(anthropix_emulator.url).sessions.events("sesn_1") as events:
        with pytest.raises(ParameterError, match=r"blocks its thread: pass stream=aio\(\)"):
            aio(events)  # type: ignore[call-overload]


def test_a_plain_loop_is_no_loop() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        list(aio())  # type: ignore[call-overload]
