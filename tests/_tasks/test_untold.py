"""Refs of chats and conversations refuse what nobody would read, and let through what pykka says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import Agent, Client

from actors import ASK, Inbox, Reader
from servers import DEADLINE, Gated, Server, answer, answering

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT = Agent(model="claude-test")


@pytest.mark.parametrize("method", ["tell", "ask"])
def test_what_is_told_to_a_conversation_is_to_be_said(method: str, connect: Callable[..., Client]) -> None:
    talk = connect("http://127.0.0.1:9").converse(AGENT)
    with pytest.raises(TypeError) as caught:
        getattr(talk, method)("Hi")
    assert str(caught.value) == f"ConversationRef.{method}() does not reach the model: use talk.say('Hi')"
    with pytest.raises(TypeError, match=r'use talk\.say\("\.\.\."\)$'):
        getattr(talk, method)({"role": "user"})


@pytest.mark.parametrize("method", ["tell", "ask"])
def test_what_is_told_to_a_chat_or_a_turn_is_to_be_said(method: str, connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server:
        client = connect(server)
        chat = client.chat(**ASK, stream=Inbox())
        turn = client.converse(AGENT).say("Hello")
        with pytest.raises(TypeError, match=rf"^ChatRef\.{method}\(\) .* client\.converse\(.*talk\.say\('Why\?'\)$"):
            getattr(chat, method)("Why?")
        with pytest.raises(TypeError, match=rf"^TurnRef\.{method}\(\) .*: use talk\.say\('Why\?'\) of its"):
            getattr(turn, method)("Why?")
        assert chat.result(DEADLINE)
        assert turn.result(DEADLINE)


def test_a_batch_and_a_session_take_no_messages_either(connect: Callable[..., Client]) -> None:
    with Server(lambda _: None) as server:
        client = connect(server)
        refs: list[Any] = [client.batches.follow("msgbatch_1", Inbox()), client.sessions.events("s_1", stream=Inbox())]
        with pytest.raises(TypeError, match=r"^BatchRef\.tell\(\) .*: its methods do all that can be done with it$"):
            refs[0].tell("Hurry up")
        with pytest.raises(TypeError, match=r'^SessionRef\.ask\(\) .*: use client\.request\("POST", "/sessions/'):
            refs[1].ask("Hurry up")
        for ref in refs:
            ref.cancel()


def test_what_pykka_says_goes_through(connect: Callable[..., Client]) -> None:
    script = Gated(answer("Hello"), 3)
    reader = Reader.start(inbox := Inbox())
    with Server(script) as server:
        client = connect(server)
        chat, talk = client.chat(**ASK, stream=Inbox()), client.converse(AGENT)
        pykka.ActorRegistry.broadcast("to all")
        assert inbox.next() == "to all"
        assert talk.proxy().actor_urn.get(timeout=DEADLINE) == talk.actor_urn
        script.go_on.set()
        assert chat.result(DEADLINE)
        assert talk.say("Hello").result(DEADLINE)
        reader.stop()
        assert all(pykka.ActorRegistry.stop_all(timeout=DEADLINE))
    assert not chat.is_alive()
    assert not talk.is_alive()
