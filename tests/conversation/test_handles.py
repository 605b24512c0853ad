"""Who may begin a conversation, and when one ends that nobody has any more."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import Agent, Client, ParameterError
from anthropix_actors._calls.registry import Registry
from anthropix_actors.emulator import Emulator, Reply, Stall, ToolCall
from anthropix_actors.errors import ConfigurationError
from anthropix_actors.messages import ApprovalNeeded, ToolDone, TurnDone
from anthropix_actors.stores import MemoryStore
from anthropix_actors.subscribers import aio

from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from actors import Inbox

MODEL = "claude-sonnet-5"


def test_a_conversation_that_nobody_has_any_more_ends(client: Client) -> None:
    talk = client.converse(Agent(model=MODEL))
    talk.say("Hello").result(DEADLINE)
    kept = talk.actor_stopped
    assert not kept.is_set()
    del talk
    gc.collect()
    wait(kept)


def test_its_turns_end_before(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    emulator.queue(Stall(), Reply(["Hello."]))
    talk = client.converse(Agent(model=MODEL), stream=inbox)
    kept = talk.actor_stopped
    turn = talk.say("Hello")
    last = talk.say("Bye", when="idle")
    del talk
    gc.collect()
    emulator.wait_for_requests(1, timeout=DEADLINE)
    assert not kept.is_set()
    turn.cancel()
    assert last.result(DEADLINE)["stop_reason"] == "end_turn"
    wait(kept)


def test_a_closed_client_begins_no_conversation(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("key", base_url=emulator.url)
    client.close()
    store = MemoryStore()
    before = threading.active_count()
    with pytest.raises(ConfigurationError, match="the client is closed"):
        client.converse(Agent(model=MODEL), store=store, id="a")
    assert threading.active_count() <= before
    assert [*store.names()] == []  # nobody has lost a log for it
    monkeypatch.setattr(Registry, "check_open", closes_late(Registry.check_open))
    with pytest.raises(ConfigurationError, match="the client is closed"):
        client.converse(Agent(model=MODEL))
    until(lambda: not [ref for ref in pykka.ActorRegistry.get_all() if ref.actor_class.__name__ == "ConversationActor"])


def closes_late(check: Any) -> Any:
    """Return a check that sees nothing the first time: the client is closed right after it."""
    asked: list[object] = []

    def late(registry: Registry) -> None:
        asked.append(registry)
        if len(asked) > 1:
            check(registry)

    return late


def test_aio_which_follows_one_turn_is_refused_by_a_conversation(client: Client) -> None:
    with pytest.raises(ParameterError, match="stream: expected a subscriber of all turns, got aio"):
        client.converse(Agent(model=MODEL), stream=aio())
    talk = client.converse(Agent(model=MODEL))
    with pytest.raises(ParameterError, match="subscriber: expected a subscriber of all turns, got aio"):
        talk.subscribe(aio())


def test_a_sub_agent_has_the_options_of_a_tool(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    child = Agent(model=MODEL).as_tool("child", "Helps.", approve=True, alone=True, cache_control={"type": "ephemeral"})
    assert child.wire["cache_control"] == {"type": "ephemeral"}
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]), stream=inbox)
    talk.say("Go")
    talk.answer(inbox.until(ApprovalNeeded).approval, allow=False)
    inbox.until_end((TurnDone,))
    wrong: Any = {"process": True, "grace": 1}
    with pytest.raises(ParameterError, match=r"(?s)process: expected none|grace: expected none"):
        Agent(model=MODEL).as_tool("child", "Helps.", **wrong)


@pytest.mark.parametrize("safe", [False, True])
def test_a_sub_agent_has_a_timeout(emulator: Emulator, client: Client, inbox: Inbox, safe: bool) -> None:  # noqa: FBT001
    let = threading.Event()

    def naps() -> None:
        """Nap."""
        wait(let)

    child = Agent(model=MODEL, tools=[naps]).as_tool("child", "Helps.", timeout=0.2, safe=safe)
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Reply([ToolCall("naps", {})]), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]), stream=inbox)
    talk.say("Go")
    inbox.until_end((TurnDone,))
    let.set()
    done = [message for message in inbox.messages if isinstance(message, ToolDone) and not message.path]
    text = "timed out after 0.2 s" if safe else "timed out after 0.2 s; it may have taken effect"
    assert [(message.result, message.is_error) for message in done] == [(text, True)]


def test_a_sub_agent_in_time_has_its_answer(emulator: Emulator, client: Client) -> None:
    child = Agent(model=MODEL).as_tool("child", "Helps.", timeout=2 * DEADLINE)
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Reply(["Here."]), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]))
    talk.say("Go").result(DEADLINE)
    assert talk.history()[2]["content"][0]["content"] == "Here."
