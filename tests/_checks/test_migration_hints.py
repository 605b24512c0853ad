"""What is said to people who type what works elsewhere."""

from __future__ import annotations

import asyncio
import importlib.util
import queue
import types
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import ChatDone, Client, ParameterError, text_of
from anthropix_actors._checks.migration_hints import OF_A_CHAT, OF_A_CLIENT, OF_A_STREAM, no_subscriber

from actors import ASK, Inbox, Reader
from servers import DEADLINE, Server, answering

if TYPE_CHECKING:
    from collections.abc import Callable

# What people from the official SDK type


@pytest.mark.parametrize("name", OF_A_CLIENT)
def test_what_a_client_has_elsewhere_is_said_how_to_write_here(name: str) -> None:
    client: Any = Client("k")
    with pytest.raises(AttributeError) as caught:
        getattr(client, name)
    assert str(caught.value) == f"'Client' object has no attribute '{name}': {OF_A_CLIENT[name]}"
    assert caught.value.name == name


def test_what_nobody_has_is_an_error_like_any_other() -> None:
    client: Any = Client("k")
    with pytest.raises(AttributeError, match=r"^'Client' object has no attribute 'nothing'$"):
        _ = client.nothing
    assert not hasattr(client, "tell")


@pytest.mark.parametrize("name", OF_A_STREAM)
def test_what_a_stream_has_elsewhere_is_said_how_to_write_here(name: str, connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server, connect(server).chat(**ASK, stream=True) as stream:
        with pytest.raises(AttributeError, match=r"'Stream' object has no attribute .*stream\."):
            getattr(stream, name)
        assert text_of(stream.message()) == "Hello"


@pytest.mark.parametrize("name", OF_A_CHAT)
def test_what_a_future_has_is_said_how_to_ask_a_chat_for(name: str, connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server:
        chat: Any = connect(server).chat(**ASK, stream=Inbox())
        with pytest.raises(AttributeError, match=r"'ChatRef' object has no attribute .*chat\."):
            getattr(chat, name)
        assert text_of(chat.result(DEADLINE)) == "Hello"


@pytest.mark.parametrize(
    ("given", "what"),
    [(print, r"a function; .*tell=function"), (queue.SimpleQueue(), "a queue"), (Reader, r"Reader\.start")],
)
def test_who_cannot_follow_later_is_said_how_to(given: Any, what: str, connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        with pytest.raises(TypeError, match=f"subscriber: expected something with a tell method, got .*{what}"):
            chat.subscribe(given)
        lazy: Any = Lazy(late := Inbox())
        chat.subscribe(lazy)
        assert isinstance(late.until_end()[-1], ChatDone)
        inbox.until_end()


def test_the_hints_are_for_what_the_official_sdk_has() -> None:
    if importlib.util.find_spec("anthropic") is None:
        pytest.skip("the official SDK is not installed")
    import anthropic  # noqa: PLC0415
    from anthropic.lib.streaming import MessageStream  # noqa: PLC0415

    theirs = {name for name in dir(anthropic.Anthropic) if not name.startswith("_")}
    assert {"messages", "beta", "with_options", "copy"} <= theirs & OF_A_CLIENT.keys()
    theirs = {*dir(MessageStream), *MessageStream.__annotations__}
    assert {"get_final_message", "get_final_text", "until_done", "text_stream"} <= theirs & OF_A_STREAM.keys()


def test_every_hint_names_what_there_is() -> None:
    client: Any = Client("k")
    for name in ("chat", "files", "sessions", "batches", "count_tokens", "request", "paginate", "endpoints"):
        assert hasattr(client, name)
        assert any(f"client.{name}" in hint for hint in OF_A_CLIENT.values())


@pytest.mark.parametrize("call", ["chat", "count_tokens"])
def test_what_is_given_by_position_is_shown_by_name(call: str) -> None:
    client: Any = Client("k")
    with pytest.raises(TypeError, match=rf"{call}\(\) takes its parameters by name: client\.{call}\(model=.*'hello'"):
        getattr(client, call)("hello")
    with pytest.raises(TypeError, match=r'by name: .*"content": "\.\.\."'):
        getattr(client, call)([{"role": "user", "content": "hello"}])
    with pytest.raises(TypeError, match=r'by name: .*"content": "\.\.\."'):
        getattr(client, call)("claude-sonnet-5", [{"role": "user", "content": "hello"}])


# Who is no subscriber


class Printer(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> None:
        pass


class Raising:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


HOW = {
    "function": (print, "a function; pass types.SimpleNamespace(tell=function)"),
    "method": ([].append, "a function; pass types.SimpleNamespace(tell=function)"),
    "queue": (queue.Queue(), "a queue, Queue; pass types.SimpleNamespace(tell=queue.put)"),
    "asyncio": (asyncio.Queue(), "a queue of asyncio's; pass types.SimpleNamespace(tell=lambda message: loop."),
    "actor class": (Printer, "the class Printer; pass an actor of it: Printer.start()"),
    "class": (Inbox, "the class Inbox; pass an object of it: Inbox()"),
    "no class": (dict, "the class dict"),
    "raising": (Raising(), "Raising, whose attributes raise RuntimeError"),
    "text": ("yes", "str"),
    "nothing": (None, "NoneType"),
}


@pytest.mark.parametrize("name", HOW)
def test_who_cannot_be_told_is_said_how_it_could(name: str, connect: Callable[..., Client]) -> None:
    given, text = HOW[name]
    with Server(answering("Hello")) as server:
        client: Any = connect(server)
        with pytest.raises(ParameterError) as caught:
            client.chat(**ASK, stream=given)
        assert server.connections == 0
    assert f"stream: expected True, False or something with a tell method, got {text}" in str(caught.value)


def test_a_proxy_is_said_to_have_a_ref(connect: Callable[..., Client]) -> None:
    ref = Printer.start()
    proxy: Any = ref.proxy()
    try:
        with Server(answering("Hello")) as server:
            client: Any = connect(server)
            with pytest.raises(ParameterError, match=r"got ActorProxy; pass its ref: \.actor_ref"):
                client.chat(**ASK, stream=proxy)
            assert client.chat(**ASK, stream=proxy.actor_ref).result(DEADLINE)
    finally:
        ref.stop()


def test_who_can_be_told_is_taken() -> None:
    ref = Reader.start(Inbox())
    assert no_subscriber(ref) is no_subscriber(Inbox()) is None
    ref.stop()


class Lazy:
    """Has its attributes only when they are asked for, as proxies of other libraries do."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inbox, name)


def test_a_tell_that_is_found_when_it_is_asked_for_will_do(connect: Callable[..., Client]) -> None:
    inbox = Inbox()
    lazy: Any = Lazy(inbox)
    with Server(answering("Hello")) as server:
        connect(server).chat(**ASK, stream=lazy)
        assert isinstance(inbox.until_end()[-1], ChatDone)


def test_what_the_errors_recommend_works(connect: Callable[..., Client]) -> None:
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    told: Any = types.SimpleNamespace(tell=inbox.put)
    with Server(answering("Hello")) as server:
        chat = connect(server).chat(**ASK, stream=told)
        while not isinstance(message := inbox.get(timeout=DEADLINE), ChatDone):
            pass
        assert message.chat is chat
        chat.subscribe(told)
        chat.unsubscribe(told)
