"""What a subscriber for windows does, as scenarios for any toolkit: each is played in the toolkit's thread.

A scenario yields what it waits for; meanwhile the toolkit's loop runs. So whatever it does between two yields happens
while the window is frozen.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from pykka.messages import ProxyGetAttr

from anthropix_actors import (
    APIConnectionError,
    ChatDone,
    ChatEvent,
    ChatFailed,
    Client,
    DeadlockError,
    ParameterError,
    Timeout,
)
from anthropix_actors.subscribers import to_loop

from actors import ASK, TERMINAL, until_blocked
from servers import DEADLINE, LAST_CHUNK, Peer, Server, acquire, answer, answering, chunks, head, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


FLOOD = 20_000
"""Deltas: more than a window and all buffers of the network take."""
WORDS = "word " * 10


class Until(NamedTuple):
    """Wait until something is the case."""

    is_over: Callable[[], bool]


E = TypeVar("E", bound=BaseException)
Scenario: TypeAlias = "Callable[[Any], Iterator[Until]]"


class OopsError(Exception):
    """What a handler of a scenario raises."""


@contextlib.contextmanager
def logged() -> Generator[list[logging.LogRecord]]:
    """Keep what the library logs."""
    records: list[logging.LogRecord] = []
    logger, handler = logging.getLogger("anthropix_actors"), logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign,assignment]
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


class Screen:
    """A handler that keeps what it is told, and in which thread."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.threads: set[int] = set()

    def __call__(self, message: Any) -> None:
        self.messages.append(message)
        self.threads.add(threading.get_ident())

    @property
    def text(self) -> str:
        texts = [each.data["delta"]["text"] for each in self.deltas()]
        return "".join(texts)

    def deltas(self) -> list[Any]:
        return [
            each for each in self.messages if isinstance(each, ChatEvent) and each.data["type"] == "content_block_delta"
        ]

    def ends(self) -> list[Any]:
        return [each for each in self.messages if isinstance(each, TERMINAL)]

    def until_ended(self, count: int = 1) -> Until:
        return Until(lambda: len(self.ends()) >= count)

    def until_text(self) -> Until:
        return Until(lambda: bool(self.text))


@contextlib.contextmanager
def served(script: Callable[[Peer], object]) -> Generator[tuple[Server, Client]]:
    """Get a server and a client for it."""
    with Server(script) as server:
        patience = Timeout(connect=DEADLINE, read=DEADLINE, idle=None, first_byte=DEADLINE)
        with Client("sk-test", base_url=server.url, proxy="", timeout=patience, max_retries=0) as client:
            yield server, client


def unended(peer: Peer) -> None:
    """Begin an answer, and wait for the client to leave."""
    peer.read_request()
    peer.send(head(), chunks(answer("Hello")[:3]))
    peer.wait_for_hang_up()


class Held:
    """A script that begins an answer, and ends it when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()

    def __call__(self, peer: Peer) -> None:
        events = answer("Hello", ", you")
        peer.read_request()
        peer.send(head(), chunks(events[:3]))
        wait(self.let)
        peer.send(chunks(events[3:]), LAST_CHUNK)


class Flood:
    """A script that sends many deltas, and counts how many the network took."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, peer: Peer) -> None:
        events = answer(*[WORDS] * FLOOD)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        peer.read_request()
        peer.send(head())
        for first in range(0, len(events), 100):
            peer.send(chunks(events[first : first + 100]))
            self.sent = first
        peer.send(LAST_CHUNK)


def raised(kind: type[E], function: Callable[[], object]) -> E:
    """Call a function that is to raise; return what it raised."""
    try:
        function()
    except kind as exc:
        return exc
    raise AssertionError(f"{function} did not raise {kind.__name__}")


# The scenarios


def an_answer_is_told_in_order_in_the_toolkits_thread(kit: Any) -> Iterator[Until]:
    texts = [f"{number} " for number in range(500)]
    with served(answering(*texts)) as (_, client):
        screen = Screen()
        chat = client.chat(**ASK, stream=kit.subscriber(screen))
        yield screen.until_ended()
        assert screen.text == "".join(texts)
        assert screen.threads == {threading.get_ident()}
        assert screen.messages[0].data["type"] == "message_start"
        assert [type(each) for each in screen.ends()] == [ChatDone]
        assert screen.messages[-1].message == chat.result(DEADLINE)


def deltas_that_come_while_the_window_is_busy_are_merged(kit: Any) -> Iterator[Until]:
    with served(answering(*["word "] * 400)) as (_, client):
        screen = Screen()
        chat = client.chat(**ASK, stream=kit.subscriber(screen))
        wait(chat.actor_stopped)
        yield screen.until_ended()
        assert screen.text == "word " * 400
        assert len(screen.deltas()) <= 4


def a_frozen_window_makes_the_server_wait_and_loses_nothing(kit: Any) -> Iterator[Until]:
    flood = Flood()
    with served(flood) as (_, client):
        screen = Screen()
        chat = client.chat(**ASK, stream=kit.subscriber(screen, interval=0.001))
        until_blocked(chat)
        assert flood.sent < FLOOD
        yield screen.until_ended()
        assert screen.text == WORDS * FLOOD


def a_chat_of_a_frozen_window_can_be_cancelled(kit: Any) -> Iterator[Until]:
    with served(Flood()) as (_, client):
        screen = Screen()
        chat = client.chat(**ASK, stream=kit.subscriber(screen))
        until_blocked(chat)
        assert chat.cancel("the user pressed Stop")
        wait(chat.actor_stopped)
        yield screen.until_ended()
        assert screen.messages[-1].reason == "the user pressed Stop"
        assert len(screen.ends()) == 1


def a_chat_may_be_started_in_any_thread(kit: Any) -> Iterator[Until]:
    with served(answering("Hello")) as (_, client):
        screen = Screen()
        subscriber = kit.subscriber(screen)
        starts = threading.Thread(target=client.chat, kwargs={**ASK, "stream": subscriber})
        starts.start()
        starts.join(DEADLINE)
        yield screen.until_ended()
        assert screen.text == "Hello"
        assert screen.threads == {threading.get_ident()}


def one_subscriber_follows_many_chats(kit: Any) -> Iterator[Until]:
    with served(answering("Hello", ", ", "you")) as (_, client):
        screen = Screen()
        subscriber = kit.subscriber(screen)
        chats = [client.chat(**ASK, stream=subscriber) for _ in range(5)]
        yield screen.until_ended(len(chats))
        for chat in chats:
            its = Screen()
            its.messages = [each for each in screen.messages if each.chat is chat]
            assert its.text == "Hello, you"
            assert its.ends() == its.messages[-1:]


def a_window_is_drawn_however_many_subscribers_are_busy(kit: Any) -> Iterator[Until]:
    handled: list[int] = []
    drawn: list[int] = [0]

    def handler(message: int) -> None:
        handled.append(message)
        end = time.monotonic() + 0.01  # all that a subscriber may take
        while time.monotonic() < end:
            pass

    if kit.on_drawn(lambda: drawn.append(len(handled))):
        yield Until(lambda: len(drawn) > 1)
        subscribers = [kit.subscriber(handler) for _ in range(6)]  # they take twice an interval
        for number, subscriber in itertools.product(range(10), subscribers):
            subscriber.tell(number)
        yield Until(lambda: len(handled) == 10 * len(subscribers))
        between = [after - before for before, after in itertools.pairwise([*drawn, len(handled)])]
        assert max(between) <= kit.most_between_draws, between
        assert handled == sorted(handled), "each gets its turn"


def a_chat_is_followed_from_two_loops_at_once(kit: Any) -> Iterator[Until]:
    with served(answering("Hello", ", ", "you")) as (_, client):
        loop = asyncio.new_event_loop()
        runs = threading.Thread(target=loop.run_forever)
        runs.start()
        screen, other = Screen(), Screen()
        chat = client.chat(**ASK, stream=kit.subscriber(screen))
        chat.subscribe(to_loop(loop.call_soon_threadsafe, loop.call_later, other))
        yield Until(lambda: bool(screen.ends() and other.ends()))
        assert screen.text == other.text == "Hello, you"
        assert other.threads == {runs.ident} != screen.threads
        loop.call_soon_threadsafe(loop.stop)
        runs.join(DEADLINE)
        loop.close()


def a_chat_is_cancelled_when_its_window_is_destroyed(kit: Any) -> Iterator[Until]:
    with served(unended) as (server, client):
        screen = Screen()
        chat = client.chat(**ASK, stream=kit.subscriber(screen))
        yield screen.until_text()
        kit.destroy()
        yield Until(chat.actor_stopped.is_set)
        acquire(server.hung_up)
        assert chat.state == "cancelled"
        assert screen.ends() == []


def a_chat_goes_on_without_its_window_if_that_is_asked_for(kit: Any) -> Iterator[Until]:
    held = Held()
    with served(held) as (_, client):
        screen = Screen()
        subscriber = kit.subscriber(screen, on_close="continue")
        chat = client.chat(**ASK, stream=subscriber)
        yield screen.until_text()
        kit.destroy()
        yield Until(lambda: subscriber.handled_in is None)
        held.let.set()
        assert chat.result(DEADLINE)["content"] == [{"type": "text", "text": "Hello, you"}]
        assert screen.text == "Hello"


def a_window_may_be_destroyed_by_its_own_handler(kit: Any) -> Iterator[Until]:
    with served(unended) as (server, client):
        screen = Screen()

        def handler(message: Any) -> None:
            screen(message)
            kit.destroy()

        chat = client.chat(**ASK, stream=kit.subscriber(handler))
        yield Until(chat.actor_stopped.is_set)
        acquire(server.hung_up)
        assert screen.ends() == []


def what_a_handler_raises_is_shown_and_the_rest_is_told(kit: Any) -> Iterator[Until]:
    with served(answering("Hello", ", ", "you")) as (_, client):
        screen = Screen()

        def handler(message: Any) -> None:
            screen(message)
            if isinstance(message, ChatDone) or not kit.ends_with_an_error:
                kit.errors += [OopsError()] if kit.ends_with_an_error else []
                raise OopsError

        client.chat(**ASK, stream=kit.subscriber(handler))
        yield Until(lambda: bool(screen.ends()) and bool(kit.errors))
        yield Until(lambda: kit.ends_with_an_error or len(kit.errors) == len(screen.messages))
        assert screen.text == "Hello, you"
        assert {type(each) for each in kit.errors} == {OopsError}


def a_chat_whose_handler_raises_is_cancelled_if_that_is_asked_for(kit: Any) -> Iterator[Until]:
    with served(unended) as (_, client):
        screen = Screen()

        def handler(message: Any) -> None:
            screen(message)
            if isinstance(message, ChatEvent):
                kit.errors += [OopsError()] if kit.ends_with_an_error else []
                raise OopsError

        chat = client.chat(**ASK, stream=kit.subscriber(handler, on_error="cancel"))
        yield Until(chat.actor_stopped.is_set)
        if not kit.ends_with_an_error:
            yield screen.until_ended()
            assert screen.messages[-1].reason == "its handler raised OopsError"


def a_wait_in_the_toolkits_thread_is_refused(kit: Any) -> Iterator[Until]:
    held = Held()
    with served(held) as (_, client):
        screen = Screen()
        chat = client.chat(**ASK, stream=kit.subscriber(screen))
        yield screen.until_text()
        for wait_for_it in (chat.result, partial(chat.ask, ProxyGetAttr(attr_path=("actor_urn",)))):
            assert "such as a GUI's" in str(raised(DeadlockError, wait_for_it))
        held.let.set()
        yield screen.until_ended()
        assert chat.result()["content"] == [{"type": "text", "text": "Hello, you"}]


def without_a_handler_qt_has_signals(kit: Any) -> Iterator[Until]:
    if not kit.has_signals:
        return
    with served(answering("Hello", ", ", "you")) as (_, client):
        subscriber = kit.subscriber(None)
        texts: list[str] = []
        ends: list[Any] = []
        subscriber.text.connect(texts.append)
        subscriber.done.connect(ends.append)
        client.chat(**ASK, stream=subscriber)
        yield Until(lambda: bool(ends))
        assert "".join(texts) == "Hello, you"


def a_failure_that_no_slot_takes_is_logged(kit: Any) -> Iterator[Until]:
    if not kit.has_signals:
        return
    failure: Any = ChatFailed(None, APIConnectionError("no route"))  # type: ignore[arg-type]
    told: list[Any] = []
    with logged() as records:
        subscriber = kit.subscriber(None)
        subscriber.done.connect(told.append)
        subscriber.tell(failure)
        yield Until(lambda: bool(records))
        subscriber.failed.connect(told.append)
        subscriber.tell(failure)
        yield Until(lambda: bool(told))
    (record,) = records
    assert record.getMessage().startswith("it failed, and nothing is connected to `failed`")


def wrong_parameters_are_named(kit: Any) -> Iterator[Until]:
    for place, given in (
        ("interval", {"interval": -1}),
        ("interval", {"interval": True}),
        ("on_error", {"on_error": "stop"}),
        ("on_close", {"on_close": None}),
        ("handler", {"handler": "show"}),
    ):
        exc = raised(ParameterError, partial(kit.subscriber, **{"handler": print, **given}))
        assert [problem.place for problem in exc.problems] == [place]
    yield from ()


def a_subscriber_is_made_in_the_toolkits_thread_each_time(kit: Any) -> Iterator[Until]:
    if kit.has_one_thread:
        errors: list[ParameterError] = []
        works = threading.Thread(target=lambda: errors.append(raised(ParameterError, partial(kit.subscriber, print))))

        def handler(_: object) -> None:
            works.start()

        made = kit.subscriber(handler)
        made.tell("the loop runs")
        yield Until(lambda: works.ident is not None and not works.is_alive())
        assert "thread" in str(errors[0])
        assert made.is_alive()


def a_window_that_is_destroyed_is_refused(kit: Any) -> Iterator[Until]:
    make = kit.maker()
    if make is not None:
        subscriber = kit.subscriber(print)
        kit.destroy()
        yield Until(lambda: not subscriber.is_alive())
        assert raised(ParameterError, make).problems[0].place in {"parent", "widget", "window", "app"}


SCENARIOS: list[Scenario] = [
    an_answer_is_told_in_order_in_the_toolkits_thread,
    deltas_that_come_while_the_window_is_busy_are_merged,
    a_frozen_window_makes_the_server_wait_and_loses_nothing,
    a_chat_of_a_frozen_window_can_be_cancelled,
    a_chat_may_be_started_in_any_thread,
    one_subscriber_follows_many_chats,
    a_window_is_drawn_however_many_subscribers_are_busy,
    a_chat_is_followed_from_two_loops_at_once,
    a_chat_is_cancelled_when_its_window_is_destroyed,
    a_chat_goes_on_without_its_window_if_that_is_asked_for,
    a_window_may_be_destroyed_by_its_own_handler,
    what_a_handler_raises_is_shown_and_the_rest_is_told,
    a_chat_whose_handler_raises_is_cancelled_if_that_is_asked_for,
    a_wait_in_the_toolkits_thread_is_refused,
    without_a_handler_qt_has_signals,
    a_failure_that_no_slot_takes_is_logged,
    wrong_parameters_are_named,
    a_subscriber_is_made_in_the_toolkits_thread_each_time,
    a_window_that_is_destroyed_is_refused,
]
