"""What is said to people who type what works elsewhere."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Agent, Client, ParameterError, text_of
from anthropix_actors._checks.migration_hints import (
    OF_A_CHAT,
    OF_A_CLIENT,
    OF_A_CONVERSATION,
    OF_A_STREAM,
    OF_A_TURN,
)

from actors import ASK, Inbox
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


@pytest.mark.parametrize("name", OF_A_CONVERSATION)
def test_what_a_conversation_does_not_have_is_said_where_it_is(name: str, connect: Callable[..., Client]) -> None:
    talk: Any = connect("http://127.0.0.1:9").converse(Agent(model="m"))
    with pytest.raises(AttributeError, match=r"'ConversationRef' object has no attribute .*(talk|client)\.") as caught:
        getattr(talk, name)
    assert "{}" not in str(caught.value)


def test_what_a_turn_does_not_have_is_said_where_it_is(connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server:
        turn: Any = connect(server).converse(Agent(model="m")).say("Hello")
        for name in OF_A_TURN:
            with pytest.raises(AttributeError, match=r"'TurnRef' object has no attribute .*(turn|talk)") as caught:
                getattr(turn, name)
            assert "{}" not in str(caught.value)
        with pytest.raises(ParameterError, match=r"turn\.result\(\) .* got <TurnRef "):
            text_of(turn)
        assert text_of(turn.result(DEADLINE)) == "Hello"


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
