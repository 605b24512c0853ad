"""Refs of chats and conversations say what to write in place of what nobody would read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import Agent, Client

from actors import ASK, Inbox, Reader
from servers import DEADLINE, Gated, Halt, Server, answer

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT = Agent(model="claude-test")


def answered(ref: pykka.ActorRef[Any], message: object, caplog: pytest.LogCaptureFixture) -> tuple[str, str]:
    """Tell and ask something; return the warning and the error."""
    caplog.clear()
    ref.tell(message)
    with pytest.raises(TypeError) as caught:
        ref.ask(message)
    warning = next(record for record in caplog.records if record.name == "anthropix_actors")
    assert warning.levelname == "WARNING"
    return warning.getMessage(), str(caught.value)


def test_what_is_told_to_a_conversation_is_to_be_said(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    talk = connect("http://127.0.0.1:9").converse(AGENT)
    text = "ConversationRef.{}() does not reach the model: use talk.say({})"
    assert answered(talk, "Hi", caplog) == (text.format("tell", "'Hi'"), text.format("ask", "'Hi'"))
    assert answered(talk, {"role": "user"}, caplog) == (text.format("tell", '"..."'), text.format("ask", '"..."'))


def test_what_is_told_to_a_chat_or_a_turn_is_to_be_said(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    script = Gated(answer("Hello"), 3)
    with Server(script) as server:
        client = connect(server)
        chat = client.chat(**ASK, stream=Inbox())
        turn = client.converse(AGENT).say("Hello")
        for text in answered(chat, "Why?", caplog):
            assert text.endswith("use talk = client.converse(Agent(...)), and talk.say('Why?')")
        for text in answered(turn, "Why?", caplog):
            assert "use talk.say('Why?') of its conversation" in text
        script.go_on.set()
        assert chat.result(DEADLINE)
        assert turn.result(DEADLINE)


def test_a_batch_and_a_session_take_no_messages_either(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    with Server(Halt()) as server:
        client = connect(server)
        refs: list[Any] = [client.batches.follow("msgbatch_1", Inbox()), client.sessions.events("s_1", stream=Inbox())]
        assert all(
            text.endswith("its methods do all that can be done with it") for text in answered(refs[0], 1, caplog)
        )
        assert all('use client.request("POST", "/sessions/' in text for text in answered(refs[1], 1, caplog))
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
