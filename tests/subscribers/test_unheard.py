"""Failures that no subscriber's method hears of: they are logged, once, where a program without logging shows them."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from anthropix_actors import Agent, APIConnectionError, BatchFailed, ChatFailed, Client, SessionFailed
from anthropix_actors.emulator import Emulator, Status
from anthropix_actors.subscribers import Handlers, Listener, qt, to_loop, to_qt

from actors import ASK, task_of, until_told
from fake_toolkits import FakePyQt6, FakePySide6, Loop
from servers import DEADLINE, Server, stalling, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Words(Listener):
    """Has no method for what fails."""

    def on_message(self, message: Any) -> Any:
        return message


class Nosy(Words):
    """Has one."""

    def on_failed(self, chat: Any, error: Any) -> None:
        """Show it."""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def words() -> Iterator[Any]:
    ref = Words.start()
    yield ref
    ref.stop(timeout=DEADLINE)


def unheard(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "anthropix_actors" and record.levelname == "WARNING"]


def ended(chat: Any, *subscribers: Any) -> None:
    """Wait until the end was told to all, and handled by these."""
    until_told(chat)
    for each in subscribers:
        assert each.ask("after that", timeout=DEADLINE) == "after that"


def test_a_failed_chat_is_logged_where_a_listener_has_no_method_for_it(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture, emulator: Emulator, words: Any
) -> None:
    emulator.queue(Status(404, "no such model"))
    chat = connect(emulator.url).chat(**ASK, stream=words, tag="night-7")
    ended(chat, words)
    (record,) = unheard(caplog)
    assert record.getMessage().startswith("chat 'night-7' failed, and Words has no on_failed: NotFoundError: ")
    assert "no such model" in record.getMessage()
    assert (record.name, record.work, record.tag, record.state, record.status, record.request_id) == (
        "anthropix_actors",
        "chat",
        "night-7",
        "failed",
        404,
        chat.request_id,
    )


def test_it_is_logged_once_whatever_the_number_of_those_that_do_not_hear_of_it(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture, emulator: Emulator, words: Any
) -> None:
    other = Words.start()
    emulator.queue(Status(404))
    chat = connect(emulator.url).chat(**ASK, stream=words)
    chat.subscribe(other)
    ended(chat, words, other)
    assert len(unheard(caplog)) == 1
    other.stop()


def test_it_is_not_logged_where_it_is_heard_of(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture, emulator: Emulator
) -> None:
    nosy = Nosy.start()
    emulator.queue(Status(404))
    ended(connect(emulator.url).chat(**ASK, stream=nosy), nosy)
    assert unheard(caplog) == []
    nosy.stop()


def test_it_is_not_logged_where_a_caller_waits_for_it(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture, words: Any
) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=words)
        raised: list[BaseException] = []

        def wait_for_it() -> None:
            try:
                chat.result(DEADLINE)
            except APIConnectionError as exc:
                raised.append(exc)

        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        until(lambda: task_of(chat).audience.waiting)
    waiting.join(DEADLINE)
    ended(chat, words)
    assert raised
    assert unheard(caplog) == []


def test_a_cancel_is_not_logged(connect: Callable[..., Client], caplog: pytest.LogCaptureFixture, words: Any) -> None:
    with Server(stalling) as server:
        chat = connect(server).chat(**ASK, stream=words)
        chat.cancel("enough")
        ended(chat, words)
    assert unheard(caplog) == []


def test_turns_batches_and_sessions_are_logged_as_chats_are(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture, emulator: Emulator, words: Any
) -> None:
    client = connect(emulator.url)
    emulator.queue(Status(400))
    turn = client.converse(Agent(model="m"), stream=words, tag="clerk").say("Hello")
    ended(turn, words)
    ended(client.batches.follow("msgbatch_nowhere", words, tag="poems"), words)
    emulator.queue(Status(404), path="/v1/sessions/sesn_1/events/stream")
    ended(client.sessions.events("sesn_1", stream=words), words)
    texts = [record.getMessage() for record in unheard(caplog)]
    assert [text.partition(": ")[0] for text in texts] == [
        "turn 'clerk' failed, and Words has no on_failed",
        "batch 'poems' failed, and Words has no on_batch_failed",
        "session failed, and Words has no on_session_failed",
    ]
    assert [record.work for record in unheard(caplog)] == ["turn", "batch", "session"]


def test_what_a_test_gives_in_place_of_a_chat_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    chat: Any = None
    Handlers().handle(ChatFailed(chat, APIConnectionError("no route")))
    assert caplog.messages == ["it failed, and Handlers has no on_failed: APIConnectionError: no route"]


SILENT = """
import sys
from anthropix_actors import Client
from anthropix_actors.subscribers import Listener

class Words(Listener):
    def on_text(self, chat, text):
        print(text)

words = Words.start()
client = Client("k", base_url=sys.argv[1], max_retries=0)
client.chat(model="m", messages=[{"role": "user", "content": "x"}], stream=words, tag="night-7")
client.drain(timeout=60)
words.stop()
"""


def test_it_is_seen_though_no_logging_is_set_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    command = [sys.executable, "-W", "error", "-c", SILENT, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.startswith("chat 'night-7' failed, and Words has no on_failed: APIConnectionError: ")
    assert done.stderr.count("\n") == 1


# Windows


class Shown(Handlers):
    """Has no method for what fails."""


def played(subscriber: Any, *messages: Any) -> None:
    """Have a window handle messages."""
    for message in messages:
        subscriber.tell(message)
    subscriber._flush()


def test_a_window_without_a_method_for_it_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    chat: Any = None
    loop = Loop([])
    played(to_loop(loop.call_soon, loop.call_later, Shown()), ChatFailed(chat, APIConnectionError("no route")))
    assert caplog.messages == ["it failed, and Shown has no on_failed: APIConnectionError: no route"]


@pytest.mark.parametrize("kind", [FakePySide6, FakePyQt6])
def test_a_signal_that_nothing_is_connected_to_logs_it(
    kind: type[FakePySide6], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for cache in (qt._poster, qt._kind):
        cache.cache_clear()
    kit, error, ref, told = kind(), APIConnectionError("no route"), cast("Any", None), list[Any]()
    for name, module in kit.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    kit.open()
    subscriber = to_qt(kit.window)
    subscriber.done.connect(told.append)
    played(subscriber, ChatFailed(ref, error), BatchFailed(ref, error, {}), SessionFailed(ref, error))
    assert caplog.messages == [
        "it failed, and nothing is connected to `failed`: APIConnectionError: no route",
        *["it failed, and QtSubscriber has no signal for that: APIConnectionError: no route"] * 2,
    ]
    assert not told
    del subscriber
    kit.destroy()
