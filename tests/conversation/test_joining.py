"""Those who follow a conversation from its middle, or several turns of it."""

from __future__ import annotations

import threading
from typing import Any

from anthropix_actors import Agent, Client, tool
from anthropix_actors.emulator import Emulator, Reply, ToolCall
from anthropix_actors.messages import AnswerDone, ChatEvent, ToolStarted, TurnDone

from actors import Inbox
from servers import DEADLINE, wait


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
