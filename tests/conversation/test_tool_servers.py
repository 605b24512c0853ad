"""MCP servers in chats, conversations, sub-agents and sessions: opened when used, the same within a turn, closed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from tool_servers import over_http, raw

from anthropix_actors import Agent, Client, Mcp, McpError, ParameterError, ToolDone, ToolProgress, TurnDone, tool
from anthropix_actors.emulator import Emulator, Reply, Stall, ToolCall
from anthropix_actors.messages import SessionToolDone
from anthropix_actors.tools import Toolbox

from actors import Inbox, no_thread_for
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODEL = "claude-sonnet-5"


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    client = Client("key", base_url=emulator.url, max_retries=1)
    yield client
    client.close(grace=0)
    pykka.ActorRegistry.stop_all(timeout=DEADLINE)


@pytest.fixture
def start() -> Iterator[Callable[..., Mcp]]:
    """Make raw servers; they are closed at the end."""
    made: list[Mcp] = []

    def make(*how: str, **options: Any) -> Mcp:
        made.append(raw(*how, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def names(emulator: Emulator) -> list[list[str]]:
    """Return the names of the tools of each request."""
    return [[each["name"] for each in request.body.get("tools", [])] for request in emulator.requests]


def call(**given: Any) -> Reply:
    return Reply([ToolCall("do", given)])


def test_a_conversation_uses_a_server_and_its_client_closes_it(
    emulator: Emulator, client: Client, start: Callable[..., Mcp]
) -> None:
    server, inbox = start(), Inbox()
    emulator.queue(call(what="hello"), Reply(["Done."]))
    talk = client.converse(Agent(model=MODEL, tools=[server]), stream=inbox)
    talk.say("Go").result(DEADLINE)
    (done,) = (each for each in inbox.until_end((TurnDone,)) if isinstance(each, ToolDone))
    assert (done.result, done.is_error) == ("hello", False)
    connection = server._connection
    assert connection is not None
    client.close()
    wait(connection.ended)
    assert not server.is_open


def test_a_server_that_was_open_is_not_closed_with_a_client(client: Client, start: Callable[..., Mcp]) -> None:
    with start() as server:
        client.chat(model=MODEL, messages=[{"role": "user", "content": "Hi"}], tools=[server])
        client.close()
        assert server.is_open


def test_a_turn_has_the_same_tools_to_its_end_and_the_next_has_the_new_ones(
    emulator: Emulator, client: Client, start: Callable[..., Mcp]
) -> None:
    changed = threading.Event()
    server = start()

    @tool
    def wait_for_it() -> str:
        wait(changed)
        return "seen"

    talk = client.converse(Agent(model=MODEL, tools=[server, wait_for_it]))
    emulator.queue(call(what="grow"), Reply([ToolCall("wait_for_it", {})]), Reply(["Done."]), Reply(["Yes."]))
    turn = talk.say("Go")
    until(lambda: len(server.offered() or ()) == 3)
    changed.set()
    turn.result(DEADLINE)
    talk.say("And now?").result(DEADLINE)
    before = ["echo", "do", "wait_for_it"]
    assert names(emulator) == [before, before, before, ["echo", "do", "grown", "wait_for_it"]]


def test_tools_that_would_clash_are_logged_and_those_before_are_kept(
    emulator: Emulator, client: Client, start: Callable[..., Mcp], caplog: pytest.LogCaptureFixture
) -> None:
    server = start()

    @tool
    def grown() -> str:
        return "mine"

    talk = client.converse(Agent(model=MODEL, tools=[server, grown]))
    emulator.queue(call(what="grow"), Reply(["Done."]), Reply(["Yes."]))
    talk.say("Go").result(DEADLINE)
    until(lambda: len(server.offered() or ()) == 3)
    talk.say("And now?").result(DEADLINE)
    assert names(emulator) == [["echo", "do", "grown"]] * 3
    assert "the tools of a server have changed, and those before are kept" in caplog.text


def test_progress_is_told_and_a_cancel_ends_the_call_at_the_server(
    emulator: Emulator, client: Client, tmp_path: Path
) -> None:
    with over_http(tmp_path) as (url, _):
        inbox = Inbox()
        with Mcp.http(url) as server:
            emulator.queue(Reply([ToolCall("wait", {"file": str(tmp_path / "cancelled")})]))
            turn = client.converse(Agent(model=MODEL, tools=[server]), stream=inbox).say("Go")
            assert inbox.until(ToolProgress).data == {"progress": 1.0, "total": 2.0, "message": "waiting"}
            turn.cancel()
            until((tmp_path / "cancelled").exists)


def test_a_chat_and_a_count_send_the_tools_of_servers(
    emulator: Emulator, client: Client, start: Callable[..., Mcp]
) -> None:
    hello: Any = [{"role": "user", "content": "Hi"}]
    web: Any = {"type": "web_search_20260318", "name": "web_search"}
    client.chat(model=MODEL, messages=hello, tools=[start(prefix="a_"), web, start(only=[]), start(only=["echo"])])
    client.count_tokens(model=MODEL, messages=hello, tools=[start()])
    client.chat(model=MODEL, messages=hello, tools=Toolbox([start()]))
    assert names(emulator) == [["a_echo", "a_do", "web_search", "echo"], ["echo", "do"], ["echo", "do"]]
    with pytest.raises(ParameterError, match=r"tools\[1\]: only: expected names of its tools, echo, do; got nothing"):
        client.chat(model=MODEL, messages=hello, tools=[start(), start(only=["nothing"])])
    with pytest.raises(McpError, match="cannot be used"):
        client.chat(model=MODEL, messages=hello, tools=[start("dies")])
    with pytest.raises(McpError, match="cannot be used"):
        client.converse(Agent(model=MODEL, tools=[start("dies")]))


def test_a_sub_agent_has_servers_of_its_own(emulator: Emulator, client: Client, start: Callable[..., Mcp]) -> None:
    server = start()
    child = Agent(model=MODEL, tools=[server]).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), call(what="hello"), Reply(["Hello."]), Reply(["Done."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]))
    assert not server.is_open
    talk.say("Go").result(DEADLINE)
    assert talk.history()[2]["content"][0]["content"] == "Hello."
    assert server.is_open


def test_a_sub_agent_whose_server_does_not_start_is_an_error_of_its_call(
    emulator: Emulator, client: Client, start: Callable[..., Mcp]
) -> None:
    child = Agent(model=MODEL, tools=[start("dies")]).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Reply(["Pity."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]))
    talk.say("Go").result(DEADLINE)
    (result,) = talk.history()[2]["content"]
    assert result["is_error"]
    assert "cannot be used" in result["content"]


def test_a_sub_agent_for_which_there_is_no_thread_is_an_error_of_its_call(
    emulator: Emulator, client: Client, start: Callable[..., Mcp], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Agent(model=MODEL, tools=[start()]).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Reply(["Pity."]))
    talk = client.converse(Agent(model=MODEL, tools=[child]))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_for("ConversationActor"))
        talk.say("Go").result(DEADLINE)
    assert talk.history()[2]["content"][0]["content"].startswith("not started: no thread for another conversation")


def test_a_sub_agent_that_is_cancelled_while_its_server_starts_does_nothing(
    emulator: Emulator, client: Client, start: Callable[..., Mcp]
) -> None:
    server = start("slow", start_timeout=1.0)
    child = Agent(model=MODEL, tools=[server]).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]))
    turn = client.converse(Agent(model=MODEL, tools=[child])).say("Go")
    until(lambda: server._connection is not None)
    turn.cancel()
    until(lambda: not any("sub-agent" in thread.name for thread in threading.enumerate()))
    assert len(emulator.requests) == 1


def test_a_sub_agent_that_was_cancelled_before_it_began_is_cancelled_as_it_begins(
    emulator: Emulator, client: Client, start: Callable[..., Mcp], tmp_path: Path
) -> None:
    server = start(str(tmp_path / "begin"), "late")
    child = Agent(model=MODEL, tools=[server]).as_tool("child", "Helps.")
    emulator.queue(Reply([ToolCall("child", {"task": "Go"})]), Stall())
    turn = client.converse(Agent(model=MODEL, tools=[child])).say("Go")
    until(lambda: server._connection is not None)
    turn.cancel()
    (tmp_path / "begin").touch()
    until(server.offered)
    until(lambda: not client._core.registry.running())


def test_a_session_is_served_with_the_tools_of_a_server(
    emulator: Emulator, client: Client, start: Callable[..., Mcp]
) -> None:
    session, inbox = emulator.session("sesn_1"), Inbox()
    serving = client.sessions.serve("sesn_1", tools=[start()], stream=inbox)
    session.add({"type": "agent.custom_tool_use", "name": "do", "input": {"what": "hello"}, "id": "sevt_1"})
    done = inbox.until(SessionToolDone)
    assert (done.content, done.is_error) == ("hello", False)
    serving.cancel()
