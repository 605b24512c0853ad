"""Subscribers for windows, on a plain loop and on modules of the toolkits' shapes."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    BatchProgress,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    DeadlockError,
    ParameterError,
    subscribers,
)
from anthropix_actors.subscribers import (
    Handlers,
    QtSubscriber,
    gui,
    qt,
    tk,
    to_function,
    to_gtk,
    to_loop,
    to_qt,
    to_textual,
    to_tk,
    to_wx,
)

from actors import ASK, until_blocked
from fake_toolkits import FAKES, Fake, FakePyQt6, FakePySide6, FakeTextual, FakeTk, FakeTkWidget
from scenarios import SCENARIOS, Flood, Held, OopsError, Screen, served
from servers import DEADLINE, acquire, answering, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from anthropix_actors import ChatRef

    from scenarios import Scenario


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[Fake]], Any]]:
    """Make a toolkit, with a window, whose modules are imported in place of real ones."""
    caches = (qt._poster, qt._kind)

    def make(kind: type[Fake]) -> Fake:
        kit = kind()
        for name, module in kit.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(sys, "excepthook", kit.show)
        kit.open()
        return kit

    for cache in caches:
        cache.cache_clear()
    yield make
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def kit(of: Callable[[type[Fake]], Fake]) -> Fake:
    return of(Fake)


def run(kit: Fake, is_over: Callable[[], bool]) -> None:
    """Run a loop until something is the case."""
    late = threading.Event()
    timer = threading.Timer(DEADLINE, late.set)
    timer.start()
    try:
        kit.run(lambda: is_over() or late.is_set())
    finally:
        timer.cancel()
        timer.join()
    assert is_over(), "what the test waited for did not happen"


def until_handled(kit: Fake, screen: Screen, count: int = 1) -> None:
    run(kit, screen.until_ended(count).is_over)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("kind", FAKES)
def test_with_each_toolkit(kind: type[Fake], scenario: Scenario, of: Callable[[type[Fake]], Fake]) -> None:
    of(kind).play(scenario)


# The core


def test_an_idle_window_has_no_timer_and_the_first_message_needs_none(kit: Fake) -> None:
    with served(answering("Hello")) as (_, client):
        subscriber = kit.subscriber(screen := Screen(), interval=1000)
        assert not kit.loop.timers
        subscriber.tell("anything")
        run(kit, lambda: bool(screen.messages))  # long before an interval
        assert len(kit.loop.timers) == 1
        kit.loop.timers.clear()
        subscriber = kit.subscriber(screen, interval=0)
        client.chat(**ASK, stream=subscriber)
        until_handled(kit, screen)
        run(kit, lambda: not kit.loop.timers)
        calls = kit.loop.calls
        kit.loop.run(partial(next, iter((False, False, True))))
        assert kit.loop.calls == calls


def test_many_messages_cost_one_wake_up(kit: Fake) -> None:
    subscriber = kit.subscriber(screen := Screen())
    for number in range(200):
        subscriber.tell(number)
    assert kit.loop.soon.qsize() == 1
    run(kit, lambda: len(screen.messages) == 200)
    assert screen.messages == [*range(200)]


def test_a_chat_waits_for_the_window_after_many_deltas_even_if_they_say_little(kit: Fake) -> None:
    with served(answering(*["x"] * 5000)) as (_, client):
        subscriber = kit.subscriber(screen := Screen())
        chat = client.chat(**ASK, stream=subscriber)
        until_blocked(chat)
        run(kit, lambda: bool(screen.messages))
        first = len(screen.text)
        until_handled(kit, screen)
        assert 0 < first <= 4 * 256  # the first flush: the chat went on after it
        assert screen.text == "x" * 5000


def test_a_heavy_handler_lets_the_window_draw_between_two_messages(kit: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gui, "_BUDGET", 0)
    turns: list[int] = []
    subscriber = kit.subscriber(lambda _: turns.append(kit.loop.calls), interval=0)
    for number in range(5):
        subscriber.tell(number)
    run(kit, lambda: len(turns) == 5)
    assert turns == [1, 2, 3, 4, 5]


def test_a_handler_that_leaves_the_program_costs_no_message(kit: Fake) -> None:
    told: list[Any] = []

    def handler(message: Any) -> None:
        told.append(message)
        if message == 1:
            sys.exit(3)

    subscriber = kit.subscriber(handler, interval=0)
    for number in range(3):
        subscriber.tell(number)
    with pytest.raises(SystemExit):
        run(kit, lambda: False)
    assert told == [0, 1]
    run(kit, lambda: told == [0, 1, 2])


def test_it_keeps_its_place_while_a_handler_runs_the_loop_itself(kit: Fake) -> None:
    told: list[Any] = []

    def handler(message: Any) -> None:
        if message == 0:
            ended: list[object] = []
            kit.loop.call_later(0, lambda: ended.append(1))
            kit.run(lambda: bool(ended))
            assert not told
        told.append(message)

    subscriber = kit.subscriber(handler, interval=0)
    subscriber.tell(0)
    subscriber.tell(1)
    run(kit, lambda: told == [0, 1])


def test_an_error_that_cannot_be_shown_is_logged_and_the_rest_is_told(
    kit: Fake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> None:
        raise OopsError

    told: list[Any] = []

    def handler(message: Any) -> None:
        told.append(message)
        raise ValueError

    subscriber = kit.subscriber(handler)
    monkeypatch.setattr(subscriber._loop, "show", fails)
    subscriber.tell(0)
    subscriber.tell(1)
    run(kit, lambda: told == [0, 1])
    assert caplog.text.count("could not be shown") == 2


# Windows that close


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_loop_that_takes_no_calls_any_more_is_a_window_that_was_closed(
    caplog: pytest.LogCaptureFixture, *, goes_on: bool
) -> None:
    soon: list[Callable[[], object]] = []

    def call_soon(function: Callable[[], object]) -> None:
        if soon:
            raise RuntimeError("Event loop is closed")
        soon.append(function)

    with served(answering("Hello")) as (_, client):
        on_close: Any = "continue" if goes_on else "cancel"
        subscriber = to_loop(call_soon, print, print, on_close=on_close)
        soon[0]()
        chat = client.chat(**ASK, stream=subscriber)
        wait(chat.actor_stopped)
        assert chat.state == ("done" if goes_on else "cancelled")
    assert "cannot reach its loop" in caplog.text
    assert ", closed, 0 waiting>" in repr(subscriber)


def test_a_loop_that_was_closed_before_is_a_window_that_was_closed(caplog: pytest.LogCaptureFixture) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("Event loop is closed")

    assert not to_loop(closed, closed, print).is_alive()
    assert "cannot reach its loop" in caplog.text


def test_a_loop_that_gives_no_timer_any_more_is_a_window_that_was_closed(kit: Fake) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("Event loop is closed")

    subscriber = to_loop(kit.loop.call_soon, closed, (screen := Screen()))
    subscriber.tell("anything")
    run(kit, lambda: not subscriber.is_alive())
    assert screen.messages == ["anything"]


def test_closing_it_in_any_thread_leaves_all_its_chats_and_those_of_others_go_on(kit: Fake) -> None:
    held = Held()
    with served(held) as (_, client):
        mine, other = Screen(), Screen()
        subscriber, others = kit.subscriber(mine), kit.subscriber(other)
        shared, alone = client.chat(**ASK, stream=subscriber), client.chat(**ASK, stream=subscriber)
        shared.subscribe(others)
        run(kit, lambda: bool(mine.text.count("Hello") == 2 and other.text))
        closes = threading.Thread(target=subscriber.close)
        closes.start()
        closes.join(DEADLINE)
        subscriber.close()
        wait(alone.actor_stopped)
        assert alone.state == "cancelled"
        held.let.set()
        until_handled(kit, other)
        assert isinstance(other.ends()[0], ChatDone)
        assert mine.ends() == []
        kit.loop.run(kit.loop.soon.empty)
        subscriber.tell("anything")
        assert kit.loop.soon.empty()


def test_a_chat_that_it_was_unsubscribed_from_is_not_kept(kit: Fake) -> None:
    held, told = Held(), list[str]()
    with served(held) as (_, client):
        subscriber = kit.subscriber(lambda message: told.append(type(message).__name__))
        chat = client.chat(**ASK, stream=to_function(lambda _: None))
        chat.subscribe(subscriber)
        run(kit, lambda: bool(told))
        chat.unsubscribe(subscriber)
        held.let.set()
        chat.result(DEADLINE)
        wait(chat.actor_stopped)
        kit.loop.run(kit.loop.soon.empty)
        kept = weakref.ref(chat)
        del chat
        run(kit, lambda: gc.collect() >= 0 and kept() is None)
    assert "ChatDone" not in told


def test_closing_it_ends_a_chat_that_nobody_else_keeps(kit: Fake) -> None:
    held = Held()
    with served(held) as (_, client):
        subscriber = kit.subscriber(screen := Screen())
        stopped = client.chat(**ASK, stream=subscriber).actor_stopped
        run(kit, lambda: bool(screen.text))
        screen.messages.clear()
        gc.collect()
        subscriber.close()
        wait(stopped)
        held.let.set()


def test_what_waits_when_it_closes_is_not_handled(kit: Fake) -> None:
    subscriber = kit.subscriber(screen := Screen())
    subscriber.tell("anything")
    subscriber.close()
    kit.loop.run(kit.loop.soon.empty)
    assert screen.messages == []
    assert subscriber.handled_in is None
    assert not kit.loop.timers


def test_closing_it_before_anything_came_cancels_the_chat(kit: Fake) -> None:
    def silent(peer: Any) -> None:
        peer.read_request()
        peer.wait_for_hang_up()

    with served(silent) as (server, client):
        subscriber = kit.subscriber(screen := Screen())
        chat = client.chat(**ASK, stream=subscriber)
        acquire(server.accepted)
        subscriber.close()
        wait(chat.actor_stopped)
        assert chat.state == "cancelled"
        assert screen.messages == []


def test_a_window_that_closes_while_its_chat_waits_for_it_ends_the_wait(kit: Fake) -> None:
    with served(Flood()) as (_, client):
        subscriber = kit.subscriber(Screen(), on_close="continue")
        chat = client.chat(**ASK, stream=subscriber)
        until_blocked(chat)
        subscriber.close()
        assert chat.result(DEADLINE)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("closes", [False, True])
def test_what_only_the_handler_keeps_alive_ends_in_the_thread_of_the_loop(kit: Fake, *, closes: bool) -> None:
    ended: list[int] = []

    class Window:
        def show(self, _: object) -> None:
            """Show nothing."""

        def __del__(self) -> None:
            ended.append(threading.get_ident())

    kept = [kit.subscriber(Window().show)]
    kit.made.clear()
    drops = threading.Thread(target=kept[0].close if closes else kept.clear)
    drops.start()
    drops.join(DEADLINE)
    del drops
    assert ended == []
    run(kit, lambda: bool(ended))
    assert ended == [threading.get_ident()]


def test_a_window_of_tk_that_was_destroyed_is_not_kept_by_what_was_to_be_called(
    of: Callable[[type[Fake]], Any],
) -> None:
    kit = of(FakeTk)
    call_soon = kit.subscriber(print)._loop.call_soon
    kept = [weakref.ref(screen := Screen()), weakref.ref(other := Screen())]
    call_soon(partial(screen, "before"))
    kit.destroy()
    call_soon(partial(other, "after"))
    del screen, other
    gc.collect()
    assert [each() for each in kept] == [None, None]


def test_a_window_is_told_once_of_its_end_however_many_subscribers_it_had(
    of: Callable[[type[Fake]], Any],
) -> None:
    kit = of(FakeTk)
    subscribers = [weakref.ref(kit.subscriber(print)) for _ in range(9)]
    assert [each() for each in subscribers] == [None] * 9
    assert len(kit.window.bound) == 2  # one for all of them, one for the pipe
    kit.destroy()


# Threads that must not wait


def test_a_loop_of_asyncio_must_not_wait_for_a_chat_that_it_has_not_heard_of_yet() -> None:
    async def ask(client: Any) -> None:
        loop = asyncio.get_running_loop()
        subscriber = to_loop(loop.call_soon_threadsafe, loop.call_later, print)
        chat = client.chat(**ASK, stream=subscriber)
        with pytest.raises(DeadlockError):
            chat.result(DEADLINE)
        subscriber.close()
        wait(chat.actor_stopped)

    held = Held()
    with served(held) as (_, client):
        asyncio.run(ask(client))
        held.let.set()


@pytest.mark.parametrize("has_asyncio", [False, True])
def test_any_loop_says_in_which_thread_it_runs_before_a_message_comes(
    kit: Fake, monkeypatch: pytest.MonkeyPatch, *, has_asyncio: bool
) -> None:
    if not has_asyncio:
        monkeypatch.delitem(sys.modules, "asyncio")
    made: list[Any] = []
    makes = threading.Thread(target=lambda: made.append(kit.subscriber(print)))
    makes.start()
    makes.join(DEADLINE)
    assert made[0].handled_in is None
    kit.loop.run(kit.loop.soon.empty)
    assert made[0].handled_in == threading.get_ident()
    assert not kit.loop.timers


def test_another_loop_than_that_of_asyncio_is_not_taken_for_it(kit: Fake) -> None:
    async def make() -> None:
        assert kit.subscriber(print).handled_in is None

    asyncio.run(make())


# What it is told


def test_messages_of_strangers_are_handled_as_they_are(kit: Fake) -> None:
    subscriber = kit.subscriber(screen := Screen(), on_error="cancel")
    batch: Any = "no ref"
    progress = BatchProgress(batch, {"processing": 1})  # type: ignore[typeddict-item]
    for message in (None, progress, "anything"):
        subscriber.tell(message)
    run(kit, lambda: screen.messages == [None, progress, "anything"])


def test_what_a_handler_raises_for_a_stranger_s_message_cancels_nothing(kit: Fake) -> None:
    def handler(_: object) -> None:
        raise OopsError

    subscriber = kit.subscriber(handler, on_error="cancel")
    subscriber.tell("anything")
    run(kit, lambda: len(kit.errors) == 1)
    assert subscriber.is_alive()


# Each toolkit's own


@pytest.mark.parametrize("kind", [FakePySide6, FakePyQt6])
def test_a_subscriber_for_qt_has_signals(kind: type[FakePySide6], of: Callable[[type[Fake]], Any]) -> None:
    kit = of(kind)
    told: list[Any] = []
    with served(answering("Hello", ", you")) as (_, client):
        subscriber = to_qt(kit.window)
        assert isinstance(subscriber, QtSubscriber)

        def tell(name: str, given: Any) -> None:
            told.append((name, given))

        for name in ("text", "event", "done", "failed", "cancelled"):
            getattr(subscriber, name).connect(partial(tell, name))
        chat = client.chat(**ASK, stream=subscriber)
        run(kit, lambda: bool(told and told[-1][0] == "done"))
        assert "".join(text for name, text in told if name == "text") == "Hello, you"
        assert next(given.data["type"] for name, given in told if name == "event") == "message_start"
        for end in (ChatFailed(chat, OopsError()), ChatCancelled(chat, "", None), "anything"):  # type: ignore[arg-type]
            subscriber.tell(end)
        run(kit, lambda: [name for name, _ in told[-2:]] == ["failed", "cancelled"])
        del subscriber
    kit.destroy()


def test_the_signal_of_qt_has_all_the_text_that_a_stream_has(of: Callable[[type[Fake]], Any]) -> None:
    kit = of(FakePySide6)
    chat: Any = None
    subscriber = to_qt(kit.window)
    told: list[str] = []
    subscriber.text.connect(told.append)
    delta = "content_block_delta"
    events: list[Any] = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Begun, "}},
        {"type": delta, "index": 0, "delta": {"type": "text_delta", "text": "grown"}},
        {"type": delta, "index": 0, "delta": {"text": " untyped"}},
        {"type": delta, "index": 0, "delta": {"type": "text_delta", "text": ""}},
        {"type": delta, "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
        {"type": "content_block_stop", "index": 0},
    ]
    for event in events:
        subscriber.tell(ChatEvent(chat, event))
        subscriber._flush()  # each on its own: neighbours would be merged
    assert told == ["Begun, ", "grown", " untyped"]
    del subscriber
    kit.destroy()


def test_the_signals_of_a_subscriber_end_with_it(of: Callable[[type[Fake]], Any]) -> None:
    kit = of(FakePySide6)
    for before in (True, False):
        kit.open()
        subscriber = to_qt(kit.window)
        signals = weakref.finalize(subscriber, list)
        if not before:
            kit.destroy()
        del subscriber
        kit.loop.run(kit.loop.soon.empty)
        assert not signals.alive


def refused(function: Callable[[], object], place: str, text: str) -> None:
    with pytest.raises(ParameterError, match=text) as caught:
        function()
    assert [problem.place for problem in caught.value.problems] == [place]


def test_what_is_no_widget_is_refused(of: Callable[[type[Fake]], Any]) -> None:
    kit = of(FakePySide6)
    refused(lambda: to_qt("window", print), "parent", "a QObject of PySide6 or PyQt6")
    refused(lambda: to_tk("window", print), "widget", "a widget of Tk")
    refused(lambda: to_gtk(None, print), "widget", "a widget of GTK")
    refused(lambda: to_wx(FakeTkWidget, print), "window", "a window of wxPython")
    refused(lambda: to_textual("app", print), "app", "an app or a widget of Textual")
    page: Any = Page
    refused(lambda: to_loop(kit.loop.call_soon, kit.loop.call_later, page), "handler", "the class Page; make one of it")
    refused(lambda: to_loop(None, kit.loop.call_later, print), "call_soon", "a function")  # type: ignore[arg-type]
    refused(lambda: to_loop(kit.loop.call_soon, 3, print), "call_later", "a function")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FAKES)
def test_an_option_that_there_is_not_is_refused_with_those_that_there_are(
    kind: type[Fake], of: Callable[[type[Fake]], Any]
) -> None:
    kit = of(kind)
    refused(lambda: kit.subscriber(print, on_eror="cancel"), "on_eror", "unknown parameter; did you mean on_error?")
    refused(lambda: kit.subscriber(print, wait=3), "wait", "expected one of interval, on_error, on_close")
    refused(lambda: kit.subscriber(print, on_close="stop"), "on_close", 'expected "continue" or "cancel"')
    kit.destroy()


async def waits(_: object) -> None:
    """Would have to be awaited."""


def yields(_: object) -> Generator[None, object, None]:
    """Would have to be looped over."""
    yield  # pragma: no cover


class Waits(Handlers):
    __call__ = waits


class Yields:
    __call__ = yields


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (waits, "an async def, which nobody would await; in asyncio, use aio"),
        (partial(waits), "an async def"),
        (type("Waits", (), {"__call__": waits})(), "an async def"),
        (yields, "a generator function, and a call would not run it; begin a generator, and pass its send"),
        (Yields(), "a generator function"),
        (Yields, "the class Yields; make one of it"),
        ([print], "got list"),
    ],
)
def test_a_handler_whose_call_would_handle_nothing_is_refused(kit: Fake, handler: Any, text: str) -> None:
    refused(lambda: kit.subscriber(handler), "handler", text)


def test_the_methods_of_a_handler_count_and_not_whether_it_can_be_called(kit: Fake) -> None:
    handler: Any = Waits()
    assert kit.subscriber(handler).is_alive()
    generator = yields(None)
    assert kit.subscriber(generator.send).is_alive()


def test_an_app_of_textual_must_be_running(of: Callable[[type[Fake]], Any]) -> None:
    kit = of(FakeTextual)
    kit.app.is_running = False
    refused(lambda: kit.subscriber(print), "app", "in on_mount or later")


def test_qt_must_have_an_application_in_this_thread(of: Callable[[type[Fake]], Any]) -> None:
    kit = of(FakePySide6)
    kit.window.thread = lambda: "another"
    refused(lambda: kit.subscriber(print), "parent", "make that first")
    kit.app = None
    refused(lambda: kit.subscriber(print), "parent", "make that first")


def test_tk_must_be_of_this_thread(of: Callable[[type[Fake]], Any]) -> None:
    kit = of(FakeTk)
    kit.window.thread = None
    refused(lambda: kit.subscriber(print), "widget", "in Tk's")


@pytest.mark.parametrize("work", [0, 0.01])
def test_a_window_of_tk_that_was_destroyed_leaves_no_timer_and_takes_no_calls(
    work: float, of: Callable[[type[Fake]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tk, "_WORK", work)
    kit = of(FakeTk)
    kit.subscriber(print, interval=1000).tell("one that waits for an interval")
    run(kit, lambda: len(kit.loop.timers) == 1)
    subscriber = kit.subscriber(screen := Screen(), interval=1000)
    subscriber.tell("one that waits for Tk to be idle")
    run(kit, lambda: bool(screen.messages))
    loop = subscriber._loop
    assert kit.loop.idle
    kit.destroy()
    assert not kit.loop.timers
    assert not kit.loop.idle
    assert not kit.loop.files
    loop.call_soon(print)
    kit.window = None
    gc.collect()
    loop.call_later(1, print)
    loop.show(OopsError())
    assert not kit.loop.timers
    assert not kit.errors


# Methods in place of a function


class Page(Handlers):
    """Notes what it was called with."""

    def __init__(self) -> None:
        self.text = ""
        self.blocks: list[Any] = []
        self.ended: Any = None

    def on_text(self, chat: ChatRef, text: str) -> None:
        self.text += text

    def on_block(self, chat: ChatRef, block: Any) -> None:
        self.blocks.append(block)

    def on_done(self, chat: ChatRef, message: Any) -> None:
        self.ended = message


_BLOCK: list[Any] = [
    {"type": "message_start", "message": {"role": "assistant", "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 0},
]


def test_a_handler_may_be_an_object_with_a_method_for_each_thing_that_happens(
    kit: Fake,
) -> None:
    page = Page()
    with served(answering(*(f"{number} " for number in range(100)))) as (_, client):
        client.chat(**ASK, stream=to_loop(kit.loop.call_soon, kit.loop.call_later, page))
        run(kit, lambda: page.ended is not None)
    assert page.text == "".join(f"{number} " for number in range(100))
    assert page.blocks == page.ended["content"] == [{"type": "text", "text": page.text}]


@pytest.mark.parametrize("chat", [None, "a chat", Held()])
def test_the_methods_can_be_called_for_what_stands_for_a_chat(chat: Any) -> None:
    page = Page()
    for event in _BLOCK:
        page.handle(ChatEvent(chat, event))
    assert page.blocks == [{"type": "text", "text": "Hello"}]
    page.handle(ChatDone(chat, "the message"))  # type: ignore[arg-type]
    assert page.ended == "the message"


@pytest.mark.parametrize(("end", "rest"), [(ChatDone, [None]), (ChatFailed, [None]), (ChatCancelled, ["", None])])
def test_an_answer_is_not_kept_when_it_has_ended_though_its_chat_is(end: Any, rest: list[Any]) -> None:
    page, chat, other = Page(), Held(), Held()
    for each in (chat, other):
        for event in _BLOCK[:2]:
            page.handle(ChatEvent(each, event))  # type: ignore[arg-type]
    page.handle(end(chat, *rest))
    assert [*page._anthropix_readers] == [other]
    for each in (chat, other):
        for event in _BLOCK[2:]:
            page.handle(ChatEvent(each, event))  # type: ignore[arg-type]
    assert page.blocks == [{"type": "text", "text": "Hello"}]


# The room


def test_its_names_are_imported_when_they_are_used() -> None:
    assert {*subscribers.__all__} <= {*dir(subscribers)}
    things = [getattr(subscribers, name) for name in subscribers.__all__ if not name.isupper()]
    assert {thing.__module__ for thing in things} == {"anthropix_actors.subscribers"}
    with pytest.raises(AttributeError, match="no attribute 'to_curses'"):
        _ = subscribers.to_curses
    program = "import sys; from anthropix_actors.subscribers import *; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"tkinter", "PySide6", "PyQt6", "textual", "gi", "wx"}
