"""Sessions whose agent calls custom tools and asks for permissions: what they wait for, and refuse meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from anthropix_actors.emulator import (
    Ask,
    AskToUse,
    Emulator,
    Reply,
    Result,
    ScriptError,
    Session,
    Thinking,
    ToolCall,
    calls,
    lines,
    scripted,
)

from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator.scripts.script import Lines

HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01", "anthropic-beta": "managed-agents-2026-04-01"}
PATH = "/v1/sessions/sesn_1/events"
HELLO: dict[str, Any] = {"type": "user.message", "content": [{"type": "text", "text": "Hello"}]}
INTERRUPT = {"type": "user.interrupt"}
CUSTOM: dict[str, Any] = {"type": "agent.custom_tool_use", "name": "add", "input": {"a": 1}, "id": "sevt_c"}
BASH: dict[str, Any] = {
    "type": "agent.tool_use",
    "name": "bash",
    "input": {"command": "ls"},
    "id": "sevt_b",
    "evaluated_permission": "ask",
}
MCP: dict[str, Any] = {**BASH, "type": "agent.mcp_tool_use", "mcp_server_name": "files", "id": "sevt_m"}
FREE: dict[str, Any] = {**BASH, "evaluated_permission": "allow", "id": "sevt_f"}
WAITS = (
    "waiting on responses to events [{}]; only user.tool_confirmation, user.custom_tool_result, user.tool_result, or "
    "user.interrupt may be sent"
)


def result(call_id: str = "sevt_c", text: str = "3", **more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call_id, "content": content, **more}


def confirmation(call_id: str = "sevt_b", answer: str = "allow", **more: Any) -> dict[str, Any]:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": answer, **more}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def session(emulator: Emulator) -> Session:
    return emulator.session("sesn_1")


def post(emulator: Emulator, *events: Any) -> requests.Response:
    return requests.post(emulator.url + PATH, headers=HEADERS, json={"events": events}, timeout=DEADLINE)


def send(emulator: Emulator, *events: Any) -> list[Any]:
    response = post(emulator, *events)
    assert response.status_code == 200, response.text
    sent: list[Any] = response.json()["data"]
    return sent


def refused(emulator: Emulator, *events: Any) -> str:
    response = post(emulator, *events)
    assert response.status_code == 400
    return str(response.json()["error"]["message"])


def kinds(session: Session) -> list[str]:
    return [event["type"] for event in session.events]


# What a session waits for


def test_a_session_waits_for_its_calls_until_all_are_answered(emulator: Emulator, session: Session) -> None:
    session.add(CUSTOM, BASH, MCP, FREE)
    idle = session.require_action()
    assert idle["stop_reason"] == {"type": "requires_action", "event_ids": ["sevt_c", "sevt_b", "sevt_m"]}
    send(emulator, confirmation("sevt_m", "deny", deny_message="Not those."))
    assert session.events[-1]["stop_reason"]["event_ids"] == ["sevt_c", "sevt_b"]
    assert session.waiting == ["sevt_c", "sevt_b"]
    send(emulator, result(is_error=True), confirmation())
    assert kinds(session)[-3:] == ["user.custom_tool_result", "user.tool_confirmation", "session.status_running"]
    assert session.waiting == []
    send(emulator, HELLO)
    assert kinds(session)[-1] == "user.message"


def test_an_interrupt_ends_the_waiting(emulator: Emulator, session: Session) -> None:
    session.add(CUSTOM)
    send(emulator, INTERRUPT)
    assert session.waiting == []
    assert session.events[-1]["stop_reason"] == {"type": "end_turn"}
    assert "no response to sevt_c is awaited" in refused(emulator, result())
    session.add({**CUSTOM, "id": "sevt_d"})
    send(emulator, INTERRUPT, HELLO)
    assert kinds(session)[-2:] == ["user.interrupt", "user.message"]


def test_what_comes_while_the_session_waits_is_refused_as_a_whole(emulator: Emulator, session: Session) -> None:
    session.add(CUSTOM, BASH)
    waits = WAITS.format("sevt_c, sevt_b")
    assert refused(emulator, HELLO) == f"Invalid user.message event at events[0]: {waits}"
    waits = WAITS.format("sevt_b")
    assert refused(emulator, result(), HELLO) == f"Invalid user.message event at events[1]: {waits}"
    assert kinds(session) == ["agent.custom_tool_use", "agent.tool_use"]
    send(emulator, result(), confirmation(), HELLO)
    assert session.waiting == []


def test_an_answer_counts_once(emulator: Emulator, session: Session) -> None:
    session.add(CUSTOM, BASH)
    send(emulator, result())
    twice = refused(emulator, result())
    assert twice == f"Invalid user.custom_tool_result event at events[0]: {WAITS.format('sevt_b')}"
    assert "at events[1]: no response to sevt_b is awaited" in refused(emulator, confirmation(), confirmation())
    assert "no response to sevt_c is awaited" in refused(emulator, confirmation(), result())
    assert session.waiting == ["sevt_b"]


def test_a_self_hosted_tool_is_answered_once_and_needs_no_permission(emulator: Emulator, session: Session) -> None:
    session.add(FREE)
    own: dict[str, Any] = {"type": "user.tool_result", "tool_use_id": "sevt_f", "content": []}
    send(emulator, own)
    assert kinds(session) == ["agent.tool_use", "user.tool_result"]
    assert "no response to sevt_f is awaited" in refused(emulator, own)
    assert "no response to sevt_f is awaited" in refused(emulator, confirmation("sevt_f"))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (result("sevt_x"), '`custom_tool_use_id` "sevt_x" does not match any `agent.custom_tool_use` event in this'),
        (result("sevt_b"), '`custom_tool_use_id` "sevt_b" does not match any `agent.custom_tool_use` event in this'),
        (
            confirmation("sevt_c"),
            '`tool_use_id` "sevt_c" does not match any `agent.tool_use` or `agent.mcp_tool_use` event in this session',
        ),
        ({"type": "user.tool_result", "tool_use_id": "sevt_m"}, '`tool_use_id` "sevt_m" does not match any'),
        ({"type": "user.custom_tool_result"}, "events.0.custom_tool_use_id: Field required"),
        (result(custom_tool_use_id=1), "events.0.custom_tool_use_id: Input should be a valid string"),
        (result(is_error="yes"), "events.0.is_error: Input should be a valid boolean"),
        (result(content="3"), "events.0.content: Input should be a valid list"),
        (result(content=["3"]), "events.0.content.0.type: Input should be one of text, image, document, search_result"),
        (result(content=[{"type": "thinking"}]), "events.0.content.0.type: Input should be one of text"),
        ({"type": "user.tool_confirmation", "tool_use_id": "sevt_b"}, "events.0.result: Field required"),
        (confirmation(answer="yes"), "events.0.result: Input should be 'allow' or 'deny'"),
        (confirmation(deny_message="No."), "events.0.deny_message: only allowed when result is 'deny'"),
    ],
)
def test_an_answer_that_is_none_is_refused(
    emulator: Emulator, session: Session, event: dict[str, Any], text: str
) -> None:
    session.add(CUSTOM, BASH, MCP)
    assert refused(emulator, event).startswith(text)
    assert session.waiting == ["sevt_c", "sevt_b", "sevt_m"]


# Scripts


def test_a_script_is_the_agent_of_a_session(emulator: Emulator, session: Session) -> None:
    asks: list[Ask] = []

    @scripted
    def clerk(ask: Ask) -> Lines:
        asks.append(ask)
        ask = yield calls(
            Thinking("Hm."),
            "I look.",
            AskToUse("bash", {"command": "ls"}, id="sevt_b"),
            AskToUse("read", {"path": "a"}, server="files"),
            ToolCall("add", {"a": 1}, id="sevt_c"),
            send_mail={"to": "ada"},
        )
        asks.append(ask)
        ask = yield Reply([{"type": "agent.tool_result", "tool_use_id": "sevt_b", "content": []}, "Done."])
        asks.append(ask)
        yield None

    session.play(clerk)
    send(emulator, HELLO)
    assert kinds(session) == [
        *("user.message", "session.status_running", "agent.thinking", "agent.message", "agent.tool_use"),
        *("agent.mcp_tool_use", "agent.custom_tool_use", "agent.custom_tool_use", "session.status_idle"),
    ]
    bash, read, add, mail = session.events[4:8]
    assert (bash["id"], bash["evaluated_permission"], bash["evaluation"]) == ("sevt_b", "ask", {"type": "always_ask"})
    assert (read["mcp_server_name"], add["input"], mail["input"]) == ("files", {"a": 1}, {"to": "ada"})
    waiting = [each["id"] for each in (bash, read, add, mail)]
    assert session.events[-1]["stop_reason"] == {"type": "requires_action", "event_ids": waiting}
    send(emulator, confirmation(), result(mail["id"], "sent"))
    send(emulator, confirmation(read["id"], "deny", deny_message="Private."), result("sevt_c", "no", is_error=True))
    assert kinds(session)[-4:] == [
        *("session.status_running", "agent.tool_result", "agent.message", "session.status_idle"),
    ]
    send(emulator, HELLO, HELLO)
    assert session.events[-1]["stop_reason"] == {"type": "end_turn"}
    first, second, third = asks
    assert (first.text, first.results, first.number, first.model, first.tools) == ("Hello", (), 1, "", ())
    assert second.results == (
        Result("sevt_b", "bash", "", allowed=True),
        Result(read["id"], "read", "Private.", is_error=True, allowed=False),
        Result("sevt_c", "add", [{"type": "text", "text": "no"}], is_error=True),
        Result(mail["id"], "send_mail", [{"type": "text", "text": "sent"}]),
    )
    assert (second.number, second.result("send_mail").text) == (2, "sent")
    assert (third.number, third.text, len(third.body["events"])) == (3, "Hello\nHello", 2)


def test_after_an_interrupt_the_script_goes_on_with_the_next_message(emulator: Emulator, session: Session) -> None:
    @scripted
    def clerk(ask: Ask) -> Lines:
        ask = yield calls(add={}, send_mail={})
        yield f"{ask.text}, {[each.name for each in ask.results]}"

    session.play(clerk)
    send(emulator, HELLO)
    send(emulator, result(session.waiting[1]))
    send(emulator, INTERRUPT)
    assert kinds(session)[-1] == "session.status_idle"
    send(emulator, HELLO)
    assert session.events[-2]["content"] == [{"type": "text", "text": "Hello, ['send_mail']"}]


def test_a_script_shows_previews_to_those_who_asked(emulator: Emulator, session: Session) -> None:
    session.play(lines(Reply([Thinking("Hm."), "Well said."])))
    query = {"event_deltas": "agent.message,agent.thinking"}
    url = emulator.url + PATH + "/stream"
    with requests.get(url, headers=HEADERS, params=query, timeout=DEADLINE, stream=True) as stream:
        session.wait_for_streams()
        send(emulator, HELLO)
        told: list[str] = []
        for line in stream.iter_lines():
            if line.startswith(b"event: "):
                told.append(line.removeprefix(b"event: ").decode())
            if line.startswith(b"event: session.status_idle"):
                break
    assert told == [
        *("user.message", "session.status_running", "event_start", "agent.thinking"),
        *("event_start", "event_delta", "event_delta", "event_delta", "agent.message", "session.status_idle"),
    ]
    assert "event_start" not in kinds(session)


def test_an_event_can_be_waited_for(emulator: Emulator, session: Session) -> None:
    session.add(CUSTOM)
    with pytest.raises(TimeoutError, match=r"0 of 1 events of type user.custom_tool_result after 0.01 s"):
        session.wait_for_events("user.custom_tool_result", timeout=0.01)
    (sent,) = send(emulator, result())
    assert session.wait_for_events("user.custom_tool_result") == [sent]


@scripted
def raising(_: Ask) -> Lines:
    raise ValueError("no")
    yield ""


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (raising, r"the script raising, at turn 1 of a session: it raised ValueError\('no'\)"),
        (lines(), "it has ended, and is asked once more"),
        (lines(" "), "no session's agent does this: ' '"),
        (lines(ToolCall("add", cut=1)), "no session's agent does this: ToolCall"),
        (lines({"no": "type"}), "no session's agent does this: {'no': 'type'}"),
    ],
)
def test_a_script_that_fails_ends_the_session_and_is_an_error_of_the_test(script: Any, text: str) -> None:
    def whole() -> None:
        with Emulator() as emulator:
            session = emulator.session("sesn_1")
            session.check()
            session.play(script)
            session.check()
            send(emulator, HELLO)
            assert kinds(session)[-2:] == ["session.error", "session.status_terminated"]
            assert session.events[-2]["error"]["retry_status"] == {"type": "terminal"}
            send(emulator, HELLO)

    with pytest.raises(ScriptError, match=text):
        whole()


def test_only_the_agent_of_a_session_asks_for_permission(emulator: Emulator) -> None:
    emulator.queue(Reply([AskToUse("bash")]))
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    response = requests.post(emulator.url + "/v1/messages", headers=HEADERS, json=body, timeout=DEADLINE)
    assert response.status_code == 500
    assert "only a session's agent asks for permission" in response.text


def test_the_official_sdk_takes_the_events_as_they_are(emulator: Emulator, session: Session) -> None:
    anthropic: Any = pytest.importorskip("anthropic")
    session.play(lines(calls("Hi.", AskToUse("bash", {}), AskToUse("read", {}, server="files"), add={"a": 1}), "Done."))
    with anthropic.Anthropic(base_url=emulator.url, api_key="any", timeout=DEADLINE) as client:
        events = client.beta.sessions.events
        events.send("sesn_1", events=[HELLO])
        listed = list(events.list("sesn_1"))
        assert listed[-1].stop_reason.event_ids == [each.id for each in listed[3:6]]
        assert [type(each).__name__.removeprefix("BetaManagedAgents") for each in listed[2:]] == [
            *("AgentMessageEvent", "AgentToolUseEvent", "AgentMCPToolUseEvent", "AgentCustomToolUseEvent"),
            "SessionStatusIdleEvent",
        ]
        bash, read, add = (each.id for each in listed[3:6])
        events.send("sesn_1", events=[confirmation(bash), confirmation(read, "deny"), result(add)])
        assert next(iter(events.list("sesn_1", order="desc"))).stop_reason.type == "end_turn"
