"""Serving a session: the calls of its agent are answered, each once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import (
    BadRequestError,
    CancelledError,
    CancelToken,
    Client,
    ParameterError,
    PermissionDeniedError,
    SessionApprovalGiven,
    SessionApprovalNeeded,
    SessionCancelled,
    SessionDone,
    SessionEvent,
    SessionFailed,
    SessionRetrying,
    SessionToolDone,
    SessionToolProgress,
    SessionToolStarted,
    ToolError,
    tool,
)
from anthropix_actors.emulator import Ask, AskToUse, Drop, Emulator, Status, calls, lines, scripted
from anthropix_actors.sessions.open_calls import OpenCalls
from anthropix_actors.subscribers import Listener

from actors import Inbox, no_thread_for, task_of
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors import Call
    from anthropix_actors.emulator import Session
    from anthropix_actors.emulator.scripts.script import Lines

ENDS = (SessionDone, SessionFailed, SessionCancelled)
EVENTS = "/v1/sessions/sesn_1/events"
TERMINATED = {"type": "session.status_terminated"}
HELLO = {"type": "user.message", "content": [{"type": "text", "text": "Hello"}]}
AT_ONCE = {"retry-after-ms": "1"}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def session(emulator: Emulator) -> Session:
    return emulator.session("sesn_1")


@pytest.fixture
def client(emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(emulator.url, max_retries=2)


def send(client: Client, *events: Any) -> None:
    client.request("POST", EVENTS, json={"events": [*events]})


def custom(name: str = "add", event_id: str = "sevt_c", given: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "agent.custom_tool_use", "name": name, "input": given or {}, "id": event_id, **more}


def answer(event_id: str = "sevt_c") -> dict[str, Any]:
    return {"type": "user.custom_tool_result", "custom_tool_use_id": event_id, "content": []}


def results(session: Session) -> list[tuple[str, bool]]:
    """Return the results that the session has got: their texts, and whether they are errors."""
    sent = [event for event in session.events if event["type"] == "user.custom_tool_result"]
    return [
        ("".join(block["text"] for block in event.get("content", ())), event.get("is_error", False)) for event in sent
    ]


def kinds(messages: list[Any]) -> list[str]:
    """Return what was told beside the events."""
    return [type(each).__name__.removeprefix("Session") for each in messages if not isinstance(each, SessionEvent)]


def end(session: Session, inbox: Inbox) -> list[Any]:
    session.add(TERMINATED)
    return inbox.until_end(ENDS)


def until_live(session: Session, inbox: Inbox) -> None:
    """Wait until all requests of the beginning are answered: the next one sends a result."""
    session.wait_for_streams()
    session.add({"type": "session.status_running"})
    inbox.until(SessionEvent)


def add(a: int, b: int = 0) -> str:
    return str(a + b)


class Held:
    """A tool that waits until the test lets it go on, and counts its calls."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.began = threading.Event()
        self.let = threading.Event()
        self.tool = tool(self.hold, name="hold", grace=0.1)

    def hold(self, *, call: Call) -> str:
        self.begun.append(call.id)
        self.began.set()
        wait(self.let)
        call.check()
        return "let go"


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.let.set()


# Calls


def test_the_calls_of_an_agent_are_answered(client: Client, session: Session) -> None:
    ids: list[str] = []

    @tool
    def send_mail(to: str, *, call: Call) -> dict[str, Any]:
        call.progress("connecting")
        ids.append(call.id)
        return {"sent": to}

    @scripted
    def clerk(ask: Ask) -> Lines:
        ask = yield calls("I write.", add={"a": 1, "b": 2}, send_mail={"to": "ada"})
        ask = yield calls(add={"a": "one"})
        yield ask.results[0].text

    session.play(clerk)
    inbox = Inbox()
    work = client.sessions.serve("sesn_1", tools=[add, send_mail], stream=inbox, tag="mine")
    session.wait_for_streams()
    send(client, HELLO)
    session.wait_for_events("agent.message", 2)
    until(lambda: session.events[-1].get("stop_reason") == {"type": "end_turn"})
    messages = end(session, inbox)
    (first, second, third) = results(session)
    assert sorted([first, second]) == [("3", False), ('{"sent":"ada"}', False)]
    assert "the input does not fit, and the tool was not run" in third[0]
    assert third[1]
    told = [each for each in messages if not isinstance(each, (SessionEvent, SessionDone))]
    for name, expected in (
        ("add", [SessionToolStarted, SessionToolDone] * 2),
        ("send_mail", [SessionToolStarted, SessionToolProgress, SessionToolDone]),
    ):
        assert [type(each) for each in told if each.call["name"] == name] == expected
    done = next(each for each in told if isinstance(each, SessionToolDone) and each.call["name"] == "send_mail")
    assert (done.content, done.is_error, done.state) == ('{"sent":"ada"}', False, "done")
    assert (done.sent, done.error) == (True, None)
    assert (done.session, done.call["id"], done.call["input"]) == (work, ids[0], {"to": "ada"})
    progress = next(each for each in told if isinstance(each, SessionToolProgress))
    assert (progress.data, progress.call["id"], progress.session) == ("connecting", ids[0], work)
    events = [each.data for each in messages if isinstance(each, SessionEvent)]
    assert events == session.events
    assert work.result(1) == session.events[-1]


def test_what_a_tool_raises_and_says_in_blocks_is_told(client: Client, session: Session) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.org/map.png"}}

    def fail() -> None:
        raise ToolError("no such city")

    def draw() -> list[Any]:
        return ["a map", image, {"type": "tool_reference", "tool_name": "other"}]

    def nothing() -> None: ...

    session.add(custom("fail", "a"), custom("draw", "b"), custom("nothing", "c"))
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[fail, draw, nothing], stream=inbox)
    session.wait_for_events("user.custom_tool_result", 3)
    end(session, inbox)
    sent = {event["custom_tool_use_id"]: event for event in session.events if event["type"].endswith("_result")}
    assert sent["a"]["content"] == [{"type": "text", "text": "no such city"}]
    assert sent["a"]["is_error"]
    assert sent["b"]["content"] == [{"type": "text", "text": "a map"}, image, {"type": "text", "text": "other"}]
    assert "content" not in sent["c"]


def test_what_is_nobodys_tool_here_is_left_to_others(client: Client, session: Session) -> None:
    mine: Any = {"name": "mine", "input_schema": {"type": "object"}}
    session.add(custom("unknown", "a"), custom("mine", "b"), custom("add", "c", {"a": 1}))
    session.add(custom("add", "d", evaluated_permission="ask"))
    session.add({"type": "agent.tool_use", "name": "bash", "input": {}, "id": "e", "evaluated_permission": "ask"})
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add, mine], stream=inbox)
    session.wait_for_events("user.custom_tool_result")
    end(session, inbox)
    assert session.waiting == ["a", "b", "d", "e"]


def test_calls_run_at_once_but_no_more_than_allowed_and_one_that_is_alone_by_itself(
    client: Client, session: Session
) -> None:
    lock, running, most, order = threading.Lock(), [0], [0], []
    both = threading.Barrier(2, timeout=DEADLINE)

    def meet() -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            order.append("meet")
        both.wait()
        with lock:
            running[0] -= 1
        return "met"

    @tool(alone=True)
    def alone() -> str:
        order.append(f"alone {running[0]}")
        return "alone"

    session.add(*(custom("meet", str(number)) for number in range(4)), custom("alone", "4"), custom("alone", "5"))
    session.add(*(custom("meet", str(number)) for number in range(6, 8)))
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[meet, alone], stream=inbox, tools_at_once=2)
    session.wait_for_events("user.custom_tool_result", 8)
    end(session, inbox)
    assert most == [2]
    assert order == [*["meet"] * 4, "alone 0", "alone 0", "meet", "meet"]


def test_a_listener_is_told_of_the_tools(client: Client, session: Session) -> None:
    told: list[Any] = []
    ended = threading.Event()

    class Reader(Listener):
        use_daemon_thread = True

        def on_session_tool(self, session: Any, message: Any) -> None:
            told.append((session, type(message)))

        def on_session_done(self, session: Any, event: Any) -> None:  # noqa: ARG002
            ended.set()

    reader = Reader.start()
    session.add(custom("add", "a", {"a": 1}))
    work = client.sessions.serve("sesn_1", tools=[add], stream=reader)
    session.wait_for_streams()
    session.wait_for_events("user.custom_tool_result")
    until(lambda: len(told) == 2)
    session.add(TERMINATED)
    wait(ended)
    reader.stop()
    assert told == [(work, SessionToolStarted), (work, SessionToolDone)]


# Each once


def test_calls_that_wait_are_run_and_those_that_were_answered_are_not(
    client: Client, session: Session, held: Held
) -> None:
    session.add(custom("hold", "old"), answer("old"))
    session.add(custom("hold", "interrupted"), {"type": "user.interrupt"})
    session.add(custom("hold", "over"), {"type": "session.status_idle", "stop_reason": {"type": "end_turn"}})
    session.add(custom("hold", "gone", session_thread_id="sthr_1"))
    session.add({"type": "session.thread_status_terminated", "session_thread_id": "sthr_1"})
    session.add(custom("hold", "open"), custom("hold", "elsewhere", session_thread_id="sthr_2"))
    session.add({"type": "user.interrupt", "session_thread_id": "sthr_3"})
    session.require_action()
    held.let.set()
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[held.tool], stream=inbox)
    session.wait_for_events("user.custom_tool_result", 3)
    messages = end(session, inbox)
    assert sorted(held.begun) == ["elsewhere", "open"]
    assert "agent.custom_tool_use" not in [each.data["type"] for each in messages if isinstance(each, SessionEvent)]


def test_the_subscriber_may_be_told_what_happened_before(client: Client, session: Session) -> None:
    first = session.add(HELLO, custom("add", "a", {"a": 1}))[0]
    for after, told in (("", 2), (first, 1)):
        inbox = Inbox()
        work = client.sessions.serve("sesn_1", tools=[add], stream=inbox, after=after)
        until(lambda: len(session.events) >= 4)
        while not any(isinstance(each, SessionEvent) and each.data["type"].endswith("_use") for each in inbox.messages):
            inbox.next()
        assert len([each for each in inbox.messages if isinstance(each, SessionEvent)]) == told
        work.cancel()
        wait(work.actor_stopped)
    assert results(session) == [("1", False)]


def test_no_connection_that_is_lost_has_a_call_run_twice(client: Client, session: Session, held: Held) -> None:
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[held.tool, add], stream=inbox)
    session.wait_for_streams()
    session.add(custom("hold", "a"))
    wait(held.began)
    for number in range(3):
        session.cut()
        session.add(custom("add", f"b{number}", {"a": number}))
        session.wait_for_streams()
    session.wait_for_events("user.custom_tool_result", 3)
    held.let.set()
    session.wait_for_events("user.custom_tool_result", 4)
    messages = end(session, inbox)
    assert held.begun == ["a"]
    assert results(session) == [("0", False), ("1", False), ("2", False), ("let go", False)]
    assert kinds(messages).count("ToolStarted") == kinds(messages).count("ToolDone") == 4
    assert kinds(messages).count("Retrying") == 3


def test_after_a_restart_only_what_has_no_answer_is_run_again(client: Client, session: Session, held: Held) -> None:
    session.add(custom("add", "a", {"a": 1}), custom("hold", "b"))
    first = Inbox()
    work = client.sessions.serve("sesn_1", tools=[held.tool, add], stream=first)
    session.wait_for_events("user.custom_tool_result")
    wait(held.began)
    work.cancel("restarting")
    assert first.until_end(ENDS)[-1].reason == "restarting"
    held.let.set()
    second = Inbox()
    client.sessions.serve("sesn_1", tools=[held.tool, add], stream=second)
    session.wait_for_events("user.custom_tool_result", 2)
    messages = end(session, second)
    assert held.begun == ["b", "b"]
    assert kinds(messages) == ["ToolStarted", "ToolDone", "Done"]
    assert results(session) == [("1", False), ("let go", False)]


@pytest.mark.parametrize(
    "event", [answer("a"), {"type": "user.interrupt"}, {"type": "session.status_idle", "stop_reason": None}]
)
def test_what_no_longer_waits_for_an_answer_is_cancelled(
    client: Client, session: Session, held: Held, event: dict[str, Any]
) -> None:
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[held.tool], stream=inbox, tools_at_once=1)
    session.wait_for_streams()
    session.add(custom("hold", "a"))
    wait(held.began)
    session.add(custom("hold", "b"), answer("b"), event)
    done = inbox.until(SessionToolDone)
    assert (done.state, done.sent, done.is_error) == ("cancelled", False, True)
    assert "the session no longer waits for this call" in done.content
    held.let.set()
    messages = end(session, inbox)
    assert kinds(messages) == ["ToolStarted", "ToolDone", "Done"]
    assert len(results(session)) == 1 + (event["type"] == "user.custom_tool_result")


# Sending


def test_a_result_is_sent_until_it_arrives(client: Client, emulator: Emulator, session: Session) -> None:
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    until_live(session, inbox)
    failing = [Status(529, headers=AT_ONCE), Status(500, headers=AT_ONCE)] * 3
    emulator.queue(*failing, path=EVENTS)
    session.add(custom("add", "a", {"a": 1}))
    assert inbox.until(SessionToolDone).sent
    assert results(session) == [("1", False)]
    end(session, inbox)


def test_a_result_that_arrived_though_its_response_was_lost_is_sent(
    client: Client, emulator: Emulator, session: Session
) -> None:
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    until_live(session, inbox)
    emulator.queue(Drop(None), path=EVENTS)
    session.add(custom("add", "a", {"a": 1}), custom("unknown", "b"))
    done = inbox.until(SessionToolDone)
    assert results(session) == [("1", False)]
    assert done.sent
    end(session, inbox)


def test_for_a_result_that_the_api_refuses_the_agent_gets_an_error(
    client: Client, emulator: Emulator, session: Session
) -> None:
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    until_live(session, inbox)
    emulator.queue(Status(400, "content: it is too long"), path=EVENTS)
    session.add(custom("add", "a", {"a": 1}))
    done = inbox.until(SessionToolDone)
    assert isinstance(done.error, BadRequestError)
    assert (done.sent, done.content, done.is_error) == (False, "1", False)
    assert results(session) == [("the tool ran, but its result was refused: content: it is too long", True)]
    end(session, inbox)


def test_a_result_that_cannot_be_sent_is_told_and_the_next_ones_are_sent(
    client: Client, emulator: Emulator, session: Session
) -> None:
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    until_live(session, inbox)
    emulator.queue(Status(403), path=EVENTS)
    session.add(custom("add", "a", {"a": 1}))
    done = inbox.until(SessionToolDone)
    assert isinstance(done.error, PermissionDeniedError)
    assert (done.sent, done.error.attempts) == (False, 1)
    session.add(custom("add", "b", {"a": 2}))
    assert inbox.until(SessionToolDone).sent
    assert results(session) == [("2", False)]
    end(session, inbox)


def test_where_there_are_no_more_threads_a_result_is_sent_nevertheless(
    client: Client, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("anthropix-answers", "anthropix-told"))
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    session.wait_for_streams()
    session.add(custom("add", "a", {"a": 1}))
    assert inbox.until(SessionToolDone).sent
    end(session, inbox)


def test_a_subscriber_that_blocks_holds_up_no_tool_and_no_result(client: Client, session: Session) -> None:
    class Stuck(Inbox):
        def __init__(self) -> None:
            super().__init__()
            self.let = threading.Event()

        def tell(self, message: Any, /) -> None:
            if isinstance(message, SessionToolProgress):
                wait(self.let)
            super().tell(message)

    def busy(*, call: Call) -> str:
        for number in range(3):
            call.progress(number)
        return "done"

    inbox = Stuck()
    session.add(*(custom("busy", str(number)) for number in range(3)))
    client.sessions.serve("sesn_1", tools=[busy], stream=inbox, tools_at_once=1)
    session.wait_for_events("user.custom_tool_result", 3)
    inbox.let.set()
    session.wait_for_streams()
    messages = end(session, inbox)
    assert kinds(messages).count("ToolProgress") == 9
    assert kinds(messages)[-1] == "Done"


# Approvals


def bash(event_id: str = "sevt_b", **more: Any) -> dict[str, Any]:
    asked = {"name": "bash", "input": {"command": "ls"}, "id": event_id, "evaluated_permission": "ask"}
    return {"type": "agent.tool_use", **asked, **more}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (True, {"result": "allow"}),
        (False, {"result": "deny"}),
        (1, {"result": "deny"}),
        ("not today", {"result": "deny", "deny_message": "not today"}),
        ("", {"result": "deny", "deny_message": "not allowed"}),
        (KeyError("oh"), {"result": "deny", "deny_message": "KeyError: 'oh'"}),
    ],
)
def test_whoever_approves_is_asked_about_the_agents_own_tools(
    client: Client, session: Session, said: Any, expected: dict[str, Any]
) -> None:
    asked: list[Call] = []

    def approve(call: Call) -> Any:
        asked.append(call)
        if isinstance(said, Exception):
            raise said
        return said

    session.play(lines(calls(AskToUse("bash", {"command": "ls"}), AskToUse("read", {}, server="my.files")), "Done."))
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[], approve=approve, stream=inbox)
    session.wait_for_streams()
    send(client, HELLO)
    session.wait_for_events("agent.message")
    messages = end(session, inbox)
    confirmed = session.wait_for_events("user.tool_confirmation", 2)
    for event in confirmed:
        assert {key: event[key] for key in ("result", "deny_message") if key in event} == expected
    assert {call.name: call.input for call in asked} == {"bash": {"command": "ls"}, "read": {}}
    assert {call.id for call in asked} == {event["tool_use_id"] for event in confirmed}
    assert sorted(kinds(messages)) == ["ApprovalGiven", "ApprovalGiven", "ApprovalNeeded", "ApprovalNeeded", "Done"]
    given = next(each for each in messages if isinstance(each, SessionApprovalGiven))
    assert (given.allow, given.why) == (said is True, expected.get("deny_message", ""))


class Window(pykka.ThreadingActor):
    """Asks its user, who takes a while to answer."""

    use_daemon_thread = True

    def __init__(self, asked: threading.Event) -> None:
        super().__init__()
        self.asked = asked
        self.call: Any = None

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, str):
            return self.call.fail(message) if message != "yes" else self.call.done(value=True)
        self.call = message
        self.asked.set()
        return None


@pytest.mark.parametrize(("said", "result"), [("yes", "allow"), ("no!", "deny")])
def test_an_actor_may_approve(client: Client, session: Session, said: str, result: str) -> None:
    asked = threading.Event()
    window = Window.start(asked)
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[], approve=window, stream=inbox)
    session.wait_for_streams()
    session.add(bash())
    wait(asked)
    assert inbox.until(SessionApprovalNeeded).call["id"] == "sevt_b"
    window.tell(said)
    (confirmed,) = session.wait_for_events("user.tool_confirmation")
    assert (confirmed["result"], confirmed.get("deny_message", "yes")) == (result, said)
    end(session, inbox)
    window.stop()


def test_an_actor_that_dies_before_it_has_decided_denies(client: Client, session: Session) -> None:
    asked = threading.Event()
    window = Window.start(asked)
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[], approve=window, stream=inbox)
    session.wait_for_streams()
    session.add(bash())
    wait(asked)
    window.stop()
    (confirmed,) = session.wait_for_events("user.tool_confirmation")
    assert confirmed["deny_message"] == "the actor behind bash has died, and did not answer"
    end(session, inbox)


def test_any_object_that_is_told_calls_may_approve(client: Client, session: Session) -> None:
    class Eager:
        def tell(self, call: Call, /) -> None:
            call.done(value=True)

    session.add(bash())
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[], approve=Eager(), stream=inbox)
    assert session.wait_for_events("user.tool_confirmation")[0]["result"] == "allow"
    end(session, inbox)


def test_what_was_approved_elsewhere_is_no_longer_asked(client: Client, session: Session) -> None:
    asked = threading.Event()
    window = Window.start(asked)
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[], approve=window, stream=inbox)
    session.wait_for_streams()
    session.add(bash())
    wait(asked)
    send(client, {"type": "user.tool_confirmation", "tool_use_id": "sevt_b", "result": "allow"})
    messages = end(session, inbox)
    window.tell("yes")
    window.stop()
    assert kinds(messages) == ["ApprovalNeeded", "Done"]
    assert len(session.wait_for_events("user.tool_confirmation")) == 1


def test_an_approver_who_is_gone_decides_nothing(
    client: Client, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    window = Window.start(threading.Event())
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[], approve=window, stream=inbox)
    session.wait_for_streams()
    window.stop()
    session.add(bash())
    until(lambda: any("nobody could be asked about the call sevt_b" in record.message for record in caplog.records))
    end(session, inbox)
    assert session.waiting == ["sevt_b"]


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (True, ("1", False)),
        (False, ("not started: the user did not allow this call", True)),
        ("no mails", ("not started: the user did not allow this call: no mails", True)),
        (
            ToolError([{"type": "text", "text": "never"}]),
            ("not started: the user did not allow this call: never", True),
        ),
    ],
)
def test_a_tool_that_needs_an_approval_runs_after_it(
    client: Client, session: Session, said: Any, result: tuple[str, bool]
) -> None:
    def approve(_: Call) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    inbox = Inbox()
    session.add(custom("add", "a", {"a": 1}))
    client.sessions.serve("sesn_1", tools=[tool(add, approve=True)], approve=approve, stream=inbox)
    session.wait_for_events("user.custom_tool_result")
    messages = end(session, inbox)
    assert results(session) == [result]
    started = ["ToolStarted"] if said is True else []
    assert kinds(messages) == ["ApprovalNeeded", "ApprovalGiven", *started, "ToolDone", "Done"]


# The end


@pytest.mark.parametrize("how", ["cancel", "stop", "close", "unsubscribe"])
def test_a_cancel_ends_the_tools_and_sends_nothing_more(client: Client, session: Session, held: Held, how: str) -> None:
    inbox = Inbox()
    work = client.sessions.serve("sesn_1", tools=[held.tool], stream=inbox, approve=lambda _: held.hold.__doc__)
    session.wait_for_streams()
    session.add(custom("hold", "a"))
    wait(held.began)
    if how == "cancel":
        assert work.cancel("enough")
    elif how == "stop":
        work.stop()
    elif how == "close":
        client.close()
    else:
        work.unsubscribe(inbox)
        wait(work.actor_stopped)
    if how != "unsubscribe":
        messages = inbox.until_end(ENDS)
        assert kinds(messages) == ["ToolStarted", "ToolDone", "Cancelled"]
        done = messages[-2]
        assert (done.state, done.sent) == ("cancelled", False)
        assert done.content.endswith("; it may have taken effect")
    held.let.set()
    assert results(session) == []
    with pytest.raises(CancelledError):
        work.result(1)
    assert not work.cancel()


def test_a_cancel_ends_what_is_being_sent_and_what_is_to_be(
    client: Client, emulator: Emulator, session: Session
) -> None:
    inbox = Inbox()
    work = client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    until_live(session, inbox)
    emulator.queue(*[Status(529, headers={"retry-after": "50"})] * 3, path=EVENTS)
    session.add(custom("add", "a", {"a": 1}))
    until(lambda: emulator.requests[-1].method == "POST")
    session.add(custom("add", "b", {"a": 2}))
    until(lambda: len(task_of(work).server._answers._unsent) == 1)
    work.cancel()
    messages = inbox.until_end(ENDS)
    assert kinds(messages) == ["ToolStarted", "ToolStarted", "ToolDone", "ToolDone", "Cancelled"]
    assert [(each.state, each.sent) for each in messages if isinstance(each, SessionToolDone)] == [("done", False)] * 2
    assert results(session) == []


def test_without_a_subscriber_it_returns_when_the_session_has_ended(client: Client, session: Session) -> None:
    session.play(lines(calls(add={"a": 1}), {"type": "session.status_terminated"}))

    def say_hello() -> None:
        session.wait_for_streams()
        send(client, HELLO)

    threading.Thread(target=say_hello).start()
    last = client.sessions.serve("sesn_1", tools=[add])
    assert last["type"] == "session.status_terminated"
    assert results(session) == [("1", False)]


def test_without_a_subscriber_a_token_cancels_it(client: Client, session: Session, held: Held) -> None:
    token = CancelToken()
    session.add(custom("hold", "a"))

    def cancel() -> None:
        wait(held.began)
        token.cancel("enough")

    threading.Thread(target=cancel).start()
    with pytest.raises(CancelledError, match="enough"):
        client.sessions.serve("sesn_1", tools=[held.tool], cancel=token)


def test_a_history_that_cannot_be_listed_at_once_is_listed_again(
    client: Client, emulator: Emulator, session: Session
) -> None:
    session.add(custom("add", "a", {"a": 1}))
    emulator.queue(*[Status(529, headers=AT_ONCE)] * 4, path=EVENTS)
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    assert isinstance(inbox.next(), SessionRetrying)
    session.wait_for_events("user.custom_tool_result")
    end(session, inbox)


def test_a_session_that_there_is_not_cannot_be_served(client: Client, emulator: Emulator) -> None:
    emulator.queue(Status(404), path=EVENTS)
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    assert kinds(inbox.until_end(ENDS)) == ["Failed"]


def test_a_history_that_was_listed_in_part_is_listed_again_and_taken_once(
    client: Client, emulator: Emulator, session: Session
) -> None:
    session.add({"type": "session.status_idle", "stop_reason": {"type": "end_turn"}}, custom("add", "a", {"a": 1}))
    session.add(*({"type": "agent.message", "content": []} for _ in range(2000)))
    emulator.queue(None, *[Status(529, headers=AT_ONCE)] * 3, path=EVENTS)
    inbox = Inbox()
    client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    assert isinstance(inbox.next(), SessionRetrying)
    session.wait_for_events("user.custom_tool_result")
    end(session, inbox)


def test_a_forked_child_serves_nothing(client: Client, session: Session, held: Held) -> None:
    session.add(custom("hold", "a"))
    inbox = Inbox()
    work = client.sessions.serve("sesn_1", tools=[held.tool], stream=inbox)
    wait(held.began)
    session.wait_for_streams()
    task_of(work).after_fork()  # what it does in the child; here, the threads go on
    held.let.set()
    session.cut()
    wait(work.actor_stopped)
    assert results(session) == []
    assert work.cancel() is False


def test_a_call_that_comes_while_it_is_ended_is_not_run(client: Client, session: Session, held: Held) -> None:
    inbox = Inbox()
    work = client.sessions.serve("sesn_1", tools=[held.tool], stream=inbox)
    session.wait_for_streams()
    task_of(work).server.end("enough")
    task_of(work).server.end("more than enough")
    session.add(custom("hold", "a"))
    done = inbox.until(SessionToolDone)
    assert (done.state, done.content, done.sent) == ("not started", "not started: enough", False)
    end(session, inbox)
    late: Callable[[Any], Any] = lambda ref: SessionToolStarted(ref, {})  # noqa: E731 - its type
    task_of(work).tell_beside(late)
    assert held.begun == []
    assert inbox.queue.empty()


def test_what_was_answered_elsewhere_while_it_was_to_be_sent_is_not_sent(
    client: Client, emulator: Emulator, session: Session
) -> None:
    inbox = Inbox()
    work = client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    until_live(session, inbox)
    emulator.queue(Status(529, headers={"retry-after": "0.5"}), path=EVENTS)
    session.add(custom("add", "a", {"a": 1}))
    until(lambda: emulator.requests[-1].method == "POST")
    session.add(custom("add", "b", {"a": 2}))
    until(lambda: len(task_of(work).server._answers._unsent) == 1)
    session.add(answer("b"))
    first, second = inbox.until(SessionToolDone), inbox.until(SessionToolDone)
    assert (first.call["id"], first.sent, second.call["id"], second.sent, second.error) == ("a", True, "b", False, None)
    assert results(session) == [("", False), ("1", False)]
    end(session, inbox)


def test_a_cancel_while_a_result_is_about_to_be_sent_ends_that(
    client: Client, emulator: Emulator, session: Session
) -> None:
    inbox = Inbox()
    work = client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    until_live(session, inbox)
    answers = task_of(work).server._answers
    make = answers._request

    def cancelling(event: Any) -> Any:
        work.cancel()
        return make(event)

    answers._request = cancelling  # the moment before there is a request to cancel
    session.add(custom("add", "a", {"a": 1}))
    assert kinds(inbox.until_end(ENDS)) == ["ToolStarted", "ToolDone", "Cancelled"]
    assert results(session) == []
    until(lambda: not answers._sends)
    assert len(emulator.requests) == 3


def test_a_bug_while_a_result_is_sent_costs_that_result_only(
    client: Client, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox()
    work = client.sessions.serve("sesn_1", tools=[add], stream=inbox)
    session.wait_for_streams()
    answers = task_of(work).server._answers
    make = answers._request

    def failing(_: Any) -> Any:
        answers._request = make
        raise RuntimeError("a bug")

    answers._request = failing
    session.add(custom("add", "a", {"a": 1}), custom("add", "b", {"a": 2}))
    assert {inbox.until(SessionToolDone).sent, inbox.until(SessionToolDone).sent} == {True, False}
    assert "was not sent" in caplog.text
    end(session, inbox)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"tools": "add"}, "tools"),
        ({"tools": [5]}, r"tools\[0\]"),
        ({"tools": [tool(add, approve=True)]}, "approve: expected a function or an actor: 'add' needs it"),
        ({"approve": 5}, "approve"),
        ({"approve": Window}, "approve"),
        ({"tools_at_once": 0}, "tools_at_once"),
        ({"tools_at_once": True}, "tools_at_once"),
        ({"stream": print}, "stream"),
        ({"after": 5}, "after"),
        ({"event_deltas": "agent.message"}, "event_deltas"),
        ({"session": ""}, "session"),
        ({"timeout": "soon"}, "timeout"),
        ({"cancel": CancelToken()}, "cancel"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_is_sent(
    client: Client, emulator: Emulator, given: dict[str, Any], place: str
) -> None:
    arguments: dict[str, Any] = {"session": "sesn_1", "tools": [add], "stream": Inbox(), **given}
    with pytest.raises(ParameterError, match=place):
        client.sessions.serve(**arguments)
    assert emulator.requests == []


# Which calls wait


def test_a_call_waits_until_it_is_answered_or_nobody_waits_any_more() -> None:
    noted = OpenCalls()

    def waiting_after(*events: dict[str, Any]) -> list[str]:
        for event in events:
            noted.note(event)
        return list(noted.waiting)

    assert waiting_after(custom("a", "1"), custom("a", "2"), answer("1"), bash("3")) == ["2", "3"]
    assert waiting_after(bash("4", session_thread_id="x"), bash("5", evaluated_permission="deny")) == ["2", "3", "4"]
    assert waiting_after({"type": "user.interrupt", "session_thread_id": "x"}) == ["2", "3"]
    idle = {"type": "session.status_idle", "stop_reason": {"type": "requires_action", "event_ids": ["3"]}}
    assert waiting_after(idle, {"type": "user.tool_confirmation", "tool_use_id": "3"}) == ["2"]
    assert waiting_after({"type": 5}, {**custom(), "name": 1}, {**custom(), "id": None}) == ["2"]
    assert waiting_after({"type": "session.status_idle"}, custom("a", "6")) == ["6"]
    assert waiting_after({"type": "session.deleted"}) == []
