"""What is written for chats takes those that run elsewhere: actors, windows, queues, asyncio, the web."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import ChatDone, Client, Hub, OverloadedError
from anthropix_actors import as_completed as in_order
from anthropix_actors.stores import MemoryStore, StoreError
from anthropix_actors.subscribers import Handlers, Listener, aio, sse_lines, to_function, to_loop, to_queue

from actors import ASK, Inbox
from decoding import events as decoded
from servers import BUSY, DEADLINE, Gated, Replies, Server, answer, block_start, start, text_delta, until, wait, whole
from stores_for_tests import Shaky, Written, raising

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXTS = ["Hel", "lo", ", ", "you"]


@pytest.fixture
def hub(connect: Callable[..., Client]) -> Iterator[Hub]:
    """A hub with a whole chat `a`, and one that failed, `b`."""
    with Server(Replies(whole(*TEXTS), BUSY)) as server, Hub(MemoryStore(), lease=0.3) as hub:
        client = connect(server)
        for name in "ab":
            writer = hub.to(name, tag=name)
            client.chat(**ASK, stream=writer)
            assert writer.wait(DEADLINE)
        yield hub


class Says(Handlers):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.over = threading.Event()

    def on_text(self, chat: Any, /, text: str) -> None:
        self.said.append((chat.name, text))

    def on_block(self, chat: Any, /, block: Any) -> None:
        self.said.append((chat.name, block["type"]))

    def on_done(self, chat: Any, message: Any) -> None:
        self._end(chat, message["content"][0]["text"])

    def on_failed(self, chat: Any, error: Any) -> None:
        self._end(chat, type(error))

    def _end(self, chat: Any, what: Any) -> None:
        self.said.append((chat.name, what))
        self.over.set()


# Actors, functions, queues, windows


def test_a_listener_follows_chats_that_run_elsewhere(hub: Hub) -> None:
    class Notes(Says, Listener):
        def __init__(self) -> None:
            Listener.__init__(self)
            Says.__init__(self)

    ref = Notes.start()
    for name in "ab":
        hub.follow(name, to=ref)
    said = ref.proxy().said
    until(lambda: len(said.get(timeout=DEADLINE)) == len(TEXTS) + 3)
    assert [what for name, what in said.get(timeout=DEADLINE) if name == "a"] == [*TEXTS, "text", "Hello, you"]
    assert ("b", OverloadedError) in said.get(timeout=DEADLINE)
    ref.stop()


class Slow(pykka.ThreadingActor):
    """Takes its first message when the test lets it, and notes how many waited then."""

    use_daemon_thread = True

    def __init__(self, began: threading.Event, let: threading.Event) -> None:
        super().__init__()
        self.began = began
        self.let = let
        self.count = 0

    def on_receive(self, message: Any) -> None:  # noqa: ARG002 - whatever it is
        self.began.set()
        wait(self.let)
        self.count += 1


def test_an_actor_that_is_slow_is_never_more_than_its_window_behind(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store, window=64)
    elsewhere.tell(start(), block_start(), *map(text_delta, map(str, range(500))))
    elsewhere.end()
    began, let = threading.Event(), threading.Event()
    actor = Slow.start(began, let)
    hub.follow("a", to=actor, window=8)
    wait(began)
    inbox: Any = actor.actor_inbox
    until(lambda: inbox.qsize() >= 7)
    assert inbox.qsize() <= 9  # and a probe
    let.set()
    until(lambda: actor.proxy().count.get(timeout=DEADLINE) == 503)
    actor.stop()


def test_a_function_and_a_queue_take_them(hub: Hub) -> None:
    inbox: queue.Queue[Any] = queue.Queue(maxsize=2)
    hub.follow("a", to=to_queue(inbox))
    told: list[Any] = []
    while not told or not isinstance(told[-1], ChatDone):
        told.append(inbox.get(timeout=DEADLINE))
    assert [message.data for message in told[:-1]] == answer(*TEXTS)
    said: list[Any] = []
    over = threading.Event()

    def note(message: Any) -> None:
        said.append(message)
        if isinstance(message, ChatDone):
            over.set()

    hub.follow("a", to=to_function(note))
    wait(over)
    assert len(said) == len(told)


def test_a_window_takes_them_and_closing_it_cancels_nothing(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    says, closed = Says(), Says()
    shows = to_loop(loop.call_soon_threadsafe, loop.call_later, says)
    other = to_loop(loop.call_soon_threadsafe, loop.call_later, closed)
    ref = hub.follow("a", to=shows)
    hub.follow("a", to=other)
    elsewhere.tell(*answer("Hel")[:3])
    until(lambda: closed.said)
    other.close()
    until(lambda: hub.metrics().reading == 1)
    elsewhere.end("Hello")
    wait(says.over)
    assert says.said[-1] == ("a", "Hello")
    assert ref.result(timeout=DEADLINE)
    assert "a/inbox" not in store.names()  # nobody has cancelled anything
    loop.call_soon_threadsafe(loop.stop)
    thread.join(DEADLINE)
    loop.close()


def test_they_are_completed_in_the_order_of_their_ends(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    logs = {name: Written(store, name) for name in "abc"}
    hub = hubs(store)
    refs = [hub.ref(name) for name in "abc"]
    done = in_order(refs, timeout=DEADLINE)
    logs["b"].end()
    assert next(done).name == "b"
    logs["a"].end()
    logs["c"].end()
    assert {ref.name for ref in done} == {"a", "c"}


# asyncio


def test_a_coroutine_loops_over_them_and_awaits_them(hub: Hub) -> None:
    async def run() -> tuple[list[Any], list[str], Any, int]:
        events = [event async for event in aio(hub.ref("a"))]
        text = [text async for text in aio(hub.ref("a")).text]
        pieces = [piece async for piece in aio(hub.ref("a")).pieces]
        with pytest.raises(OverloadedError):
            await aio(hub.ref("b"))
        return events, text, await aio(hub.ref("a")), len(pieces)

    events, text, message, count = asyncio.run(run())
    assert events == answer(*TEXTS)
    assert text == TEXTS
    assert message["content"][0]["text"] == "Hello, you"
    assert count == len(TEXTS) + 1


def test_an_aio_of_its_own_takes_them(hub: Hub) -> None:
    async def run() -> list[Any]:
        messages = aio()
        hub.follow("a", to=messages)
        return [event async for event in messages]

    assert asyncio.run(run()) == answer(*TEXTS)


def test_a_coroutine_that_leaves_cancels_nothing(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)
    elsewhere.tell(*answer("Hel")[:3])

    async def run() -> Any:
        async for event in aio(hub.ref("a")):
            return event
        return None

    assert asyncio.run(run())["type"] == "message_start"
    until(lambda: not hub.metrics().reading)
    assert "a/inbox" not in store.names()
    elsewhere.end("Hello")
    assert hub.result("a", timeout=DEADLINE)


def test_an_await_goes_on_until_the_end(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)

    async def run() -> Any:
        task = asyncio.ensure_future(_awaited(hub))
        await asyncio.to_thread(until, lambda: hub.metrics().reading)
        elsewhere.end("Hello")
        return await task

    assert asyncio.run(run())["content"][0]["text"] == "Hello"


async def _awaited(hub: Hub) -> Any:
    return await aio(hub.ref("a"))


# The web


def lines_of(body: bytes) -> list[tuple[str, str]]:
    """Return the ids and names of server-sent events."""
    ids = [line[4:] for line in body.decode().splitlines() if line.startswith("id: ")]
    names = [line[7:] for line in body.decode().splitlines() if line.startswith("event: ")]
    assert len(ids) == len(names)
    return list(zip(ids, names, strict=True))


def test_the_ids_are_cursors_and_a_browser_goes_on_at_each(hub: Hub) -> None:
    body = b"".join(sse_lines(hub.ref("a")))
    lines = lines_of(body)
    cursors = [message.cursor for message in hub.follow("a")]
    assert [place for place, _ in lines] == [*cursors[:-2], cursors[-1]]  # the last event waits for the end
    assert list(decoded([body])) == answer(*TEXTS)
    for number, (place, _) in enumerate(lines[:-1]):
        assert lines_of(b"".join(sse_lines(hub.ref("a", after=place)))) == lines[number + 1 :]


def test_a_browser_that_has_had_the_end_gets_it_again(hub: Hub) -> None:
    lines = lines_of(b"".join(sse_lines(hub.ref("a"))))
    assert lines_of(b"".join(sse_lines(hub.ref("a", after=lines[-1][0])))) == lines[-1:]


def test_a_browser_goes_on_at_another_process_and_misses_nothing(
    connect: Callable[..., Client], hubs: Callable[..., Hub]
) -> None:
    store, gated = MemoryStore(), Gated(answer(*TEXTS))
    worker, first, second = hubs(store), hubs(store), hubs(store)
    with Server(gated) as server:
        connect(server).chat(**ASK, stream=worker.to("a"))
        until(lambda: len(store.read("a")) == 4)
        with closing(iter(sse_lines(first.ref("a")))) as lines:
            body = b""
            while body.count(b"event:") < 3:
                body += next(lines)
        had = lines_of(body)
        gated.go_on.set()
        rest = lines_of(b"".join(sse_lines(second.ref("a", after=had[-1][0]))))
    assert [name for _, name in [*had, *rest]] == [event["type"] for event in answer(*TEXTS)]
    assert worker.status("a").state == "done"


def test_a_web_process_that_ends_tells_its_browsers_nothing_so_that_they_connect_again(
    hubs: Callable[..., Hub],
) -> None:
    store = MemoryStore()
    elsewhere = Written(store)
    with Hub(store) as web:
        lines = iter(sse_lines(web.ref("a")))
        elsewhere.tell(start())
        body = next(lines)
        while b"message_start" not in body:
            body += next(lines)
    rest = b"".join(lines)
    assert b"event" not in rest
    elsewhere.end("Hello")
    assert hubs(store).result("a", timeout=DEADLINE)


def test_a_store_that_is_away_is_no_end_for_a_browser_but_a_lost_chat_is(hubs: Callable[..., Hub]) -> None:
    store = Shaky()
    Written(store, "away")
    elsewhere = Written(store, "lost", "dying")
    elsewhere.tell(start())
    store.beat("dying", 0)
    lost = b"".join(sse_lines(hubs(store, lease=0.05).ref("lost")))
    assert b"event: error" in lost
    assert b"has died" in lost
    store.faults["read_many"] = raising(StoreError("away"))
    assert b"event" not in b"".join(sse_lines(hubs(store, patience=0.05).ref("away")))


def test_a_cancelled_or_failed_chat_is_an_error_event(hub: Hub) -> None:
    body = b"".join(sse_lines(hub.ref("b")))
    *_, event = decoded([body])
    assert event["error"]["type"] == "overloaded_error"
    hub.submit(ASK, id="c")
    hub.cancel("c", "enough")
    assert json.dumps("enough").encode() in b"".join(sse_lines(hub.ref("c")))


def test_one_who_joins_in_the_middle_gets_no_ids_for_what_is_rebuilt(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    elsewhere, hub = Written(store), hubs(store)
    elsewhere.tell(*answer("Hel")[:3])
    inbox = Inbox()
    ref = hub.follow("a", to=inbox)
    inbox.next()
    until(lambda: ref.snapshot() is not None and inbox.queue.qsize() == 2)
    lines = iter(sse_lines(ref))
    body = next(lines)
    while b"content_block_delta" not in body:
        body += next(lines)
    assert b"id: " not in body
    elsewhere.end("Hello")
    assert b"id: " in b"".join(lines)


def test_a_loop_that_is_left_in_the_middle_of_a_cancel_is_no_harm(hubs: Callable[..., Hub]) -> None:
    store = MemoryStore()
    Written(store)
    hub = hubs(store)
    lines = sse_lines(hub.ref("a"))
    loop = iter(lines)
    next(loop)
    lines.close()
    assert b"event" not in b"".join(loop)
