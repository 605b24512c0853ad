"""Chats of one process that are followed and cancelled in another one, over a store that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelledError, ChatEvent, ChatFailed, Hub
from anthropix_actors.stores import Lost, open_store

from actors import Inbox
from servers import DEADLINE, Flood, Gated, Halt, Server, answer, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

WRITES = """
from anthropix_actors import Hub
from anthropix_actors.stores import open_store

hub = Hub(open_store(sys.argv[2]), lease=1.0)
chat = client.chat(**ask(), stream=(writer := hub.to("a")))
os.write(1, b"begun\\n")
writer.wait(60)
os.write(1, f"{chat.state} {writer.outcome}\\n".encode())
"""


@pytest.fixture
def hub(store_url: str) -> Iterator[Hub]:
    store = open_store(store_url)
    with Hub(store, lease=1.0) as hub:
        yield hub
    store.close()


def begun(begin: Callable[..., subprocess.Popen[str]], server: Server, store_url: str) -> subprocess.Popen[str]:
    """Start a program that writes a chat; return when it has begun."""
    program = begin(server.url, WRITES, store_url)
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"
    return program


def test_a_chat_of_another_process_is_followed_word_for_word(
    hub: Hub, store_url: str, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    texts = [f"{number} " for number in range(500)]
    gated = Gated(answer(*texts))
    with Server(gated) as server:
        program = begun(begin, server, store_url)
        messages = iter(hub.follow("a"))
        first = [next(messages) for _ in range(3)]
        gated.go_on.set()
        told: list[Any] = [*first, *messages]
        out, _ = program.communicate(timeout=3 * DEADLINE)
    assert out == "done closed\n"
    assert [message.data for message in told[:-1]] == answer(*texts)
    assert hub.result("a", timeout=DEADLINE) == told[-1].message


def test_a_chat_of_another_process_is_cancelled(
    hub: Hub, store_url: str, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    with Server(Halt()) as server:
        program = begun(begin, server, store_url)
        assert hub.cancel("a", "enough")
        with pytest.raises(CancelledError, match="enough"):
            hub.result("a", timeout=3 * DEADLINE)
        out, _ = program.communicate(timeout=DEADLINE)
    assert out == "cancelled closed\n"


def test_a_process_that_is_killed_loses_its_chat_and_says_so(
    hub: Hub, store_url: str, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    inbox = Inbox()
    with Server(Flood()) as server:
        program = begun(begin, server, store_url)
        ref = hub.follow("a", to=inbox)
        for _ in range(50):
            inbox.next()
        program.kill()
        program.wait(DEADLINE)
        end = inbox.until_end()[-1]
    assert isinstance(end, ChatFailed)
    assert isinstance(end.error, Lost)
    events = [message for message in inbox.messages if isinstance(message, ChatEvent)]
    there = [entry for entry in hub.store.read("a") if entry.data["kind"] == "event"]
    assert [message.data for message in events[: len(there)]] == [entry.data["event"] for entry in there]
    assert end.error.partial == ref.snapshot()
    assert hub.status("a").state == "lost"


def test_a_name_is_free_when_its_process_was_killed(
    hub: Hub, store_url: str, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    with Server(Halt()) as server:
        program = begun(begin, server, store_url)
        until(lambda: hub.status("a").attempts)  # it has written that it began
        program.kill()
        program.wait(DEADLINE)
        with pytest.raises(Lost):
            hub.result("a", timeout=3 * DEADLINE)
    assert hub.to("a").attempt == 2
