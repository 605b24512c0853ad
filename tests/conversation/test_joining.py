"""Those who follow a conversation from its middle, or several turns of it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from anthropix_actors import Agent, Client, ParameterError, tool
from anthropix_actors.emulator import Emulator, Pace, Reply, ToolCall
from anthropix_actors.messages import AnswerDone, ChatEvent, ToolStarted, TurnDone
from anthropix_actors.subscribers import aio

from actors import Inbox, text_of
from servers import DEADLINE, wait


def test_one_that_follows_already_is_told_nothing_twice() -> None:
    inbox = Inbox()
    with Emulator() as emulator, Client("key", base_url=emulator.url, proxy="") as client:
        emulator.queue(Pace("One two three four", tokens_per_second=20), "Two")
        talk = client.converse(Agent(model="claude-sonnet-5"), stream=inbox)
        turn = talk.say("Go")
        inbox.until(ChatEvent)
        turn.subscribe(inbox)
        talk.subscribe(inbox)
        assert turn.result(DEADLINE)
        first = inbox.until_end((TurnDone,))
        assert talk.say("Again").result(DEADLINE)
        inbox.messages = []
        second = inbox.until_end((TurnDone,))
    assert (text_of(first), text_of(second)) == ("One two three four", "Two")


def test_one_who_was_left_out_of_a_turn_may_join_it_again() -> None:
    inbox, other = Inbox(), Inbox()
    with Emulator() as emulator, Client("key", base_url=emulator.url, proxy="") as client:
        emulator.queue(Pace("One two three four", tokens_per_second=20))
        turn = client.converse(Agent(model="claude-sonnet-5"), stream=other).say("Go")
        for _ in range(2):
            turn.subscribe(inbox)
            inbox.until(ChatEvent)
            turn.unsubscribe(inbox)
        turn.subscribe(inbox)
        assert turn.result(DEADLINE)
        while not isinstance(inbox.next(), TurnDone):
            pass


def test_one_aio_is_refused_for_another_turn() -> None:
    messages = aio()
    with Emulator() as emulator, Client("key", base_url=emulator.url, proxy="") as client:
        emulator.queue("One", "Two")
        talk = client.converse(Agent(model="claude-sonnet-5"), stream=Inbox())
        turn = talk.say("Go")
        turn.subscribe(messages)
        with pytest.raises(ParameterError, match="follows another already"):
            talk.say("Again", when="idle").subscribe(messages)

        async def heard() -> Any:
            return await messages

        assert asyncio.run(heard()) == turn.result(DEADLINE)


def test_one_who_joins_while_tools_run_is_told_no_events_of_the_answer_before() -> None:
    let, first, late = threading.Event(), Inbox(), Inbox()

    @tool
    def works() -> str:
        """Work."""
        wait(let)
        return "worked"

    with Emulator() as emulator, Client("key", base_url=emulator.url, proxy="") as client:
        emulator.queue(Reply(["Let me see.", ToolCall("works")]), Reply(["So."]))
        turn = client.converse(Agent(model="claude-sonnet-5", tools=[works]), stream=first).say("Go")
        first.until(ToolStarted)
        turn.subscribe(late)
        late.until(ToolStarted)
        let.set()
        turn.result(DEADLINE)
        told: list[Any] = late.until_end((TurnDone,))
    [before, after] = [message.chat for message in told if isinstance(message, AnswerDone)]
    assert {message.chat for message in told if isinstance(message, ChatEvent)} == {after}
    assert told[0].chat == before
