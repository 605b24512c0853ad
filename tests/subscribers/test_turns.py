"""Subscribers that follow turns of conversations, over real sockets."""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from anthropix_actors import (
    AnthropixError,
    BadRequestError,
    BlockPiece,
    CancelledError,
    ChatEvent,
    Client,
    DeadlockError,
    ParameterError,
    as_completed,
)
from anthropix_actors.conversation.agent import Agent, Limits
from anthropix_actors.conversation.messages import (
    AnswerDone,
    Approval,
    ApprovalNeeded,
    Compacted,
    ToolDone,
    ToolProgress,
    ToolStarted,
    ToolUse,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnSuspended,
)
from anthropix_actors.emulator import Emulator, Reply, Stall, Status, ToolCall
from anthropix_actors.subscribers import (
    Handlers,
    Listener,
    aio,
    qt,
    sse,
    sse_lines,
    to_function,
    to_loop,
    to_qt,
    to_queue,
)
from anthropix_actors.subscribers.told import ref_of
from anthropix_actors.tools import Call, tool

from actors import ASK, Inbox, deliveries_of, text_of, until_told
from fake_toolkits import FakePySide6
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from anthropix_actors.conversation.ref import ConversationRef
    from anthropix_actors.conversation.turn_ref import TurnRef
    from anthropix_actors.types import Message

MODEL = "claude-sonnet-5"
ENDS = (TurnDone, TurnFailed, TurnCancelled, TurnSuspended)
SUM = Reply(["Let me see.", ToolCall("add", {"a": 1, "b": 2})])
OWN = ["AnswerDone", "ToolStarted", "ToolProgress", "ToolDone", "AnswerDone", "TurnDone"]


@tool
def add(a: int, b: int, *, call: Call) -> int:
    """Add two numbers."""
    call.progress({"so far": a})
    return a + b


@tool(approve=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


class Gate:
    """A tool that returns when the test lets it."""

    def __init__(self) -> None:
        self.began, self.let = threading.Event(), threading.Event()

    def hold(self) -> str:
        """Hold."""
        self.began.set()
        wait(self.let)
        return "held"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(emulator.url)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.let.set()


@pytest.fixture
def talk(client: Client, gate: Gate) -> ConversationRef:
    helper = Agent(model=MODEL, system="Help.", tools=[add])
    return client.converse(Agent(model=MODEL, tools=[add, pay, tool(gate.hold), helper.as_tool("help", "Helps.")]))


def own(messages: list[Any]) -> list[str]:
    """Return the types of a turn's own messages."""
    return [type(message).__name__ for message in messages if not isinstance(message, ChatEvent)]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 3 * DEADLINE))


# Whose a message is


def test_the_events_of_a_turn_s_chats_belong_to_the_turn(
    emulator: Emulator, client: Client, talk: ConversationRef, inbox: Inbox
) -> None:
    emulator.queue(SUM, Reply(["3."]), "Hello!")
    talk.subscribe(inbox)
    turn = talk.say("Go")
    messages = inbox.until_end(ENDS)
    assert {ref_of(message) for message in messages} == {turn}
    assert {message.chat.turn for message in messages if isinstance(message, ChatEvent)} == {turn}
    alone = Inbox()
    chat = client.chat(**ASK, stream=alone)
    assert {ref_of(message) for message in alone.until_end()} == {chat}
    assert chat.turn is None


# Methods


class Notes(Listener):
    """Notes what its methods are called with, but for the events."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__()
        self.inbox = inbox


def _noting(name: str) -> Callable[..., None]:
    def note(self: Any, *arguments: Any) -> None:
        self.inbox.tell((name, *arguments))

    return note


for _name in vars(Handlers):
    if _name.startswith("on_") and _name not in {"on_event", "on_batch_results"}:
        setattr(Notes, _name, _noting(_name))


class Noted:
    """A listener of a conversation, and what it notes."""

    def __init__(self, talk: ConversationRef) -> None:
        self.inbox = Inbox()
        talk.subscribe(Notes.start(self.inbox))

    def until(self, *names: str) -> list[Any]:
        """Return all calls up to one of these methods."""
        while self.inbox.next()[0] not in names:
            pass
        return self.inbox.messages

    def until_end(self) -> list[Any]:
        notes = self.until("on_done", "on_failed", "on_cancelled", "on_suspended")
        assert self.inbox.queue.empty()
        return notes


@pytest.fixture
def noted(talk: ConversationRef) -> Noted:
    return Noted(talk)


def test_a_turn_calls_a_method_for_each_thing_that_happens(
    emulator: Emulator, talk: ConversationRef, noted: Noted
) -> None:
    emulator.queue(SUM, Reply(["It is 3."]))
    turn = talk.say("Go")
    notes = noted.until_end()
    assert all(note[1] is turn for note in notes)
    assert "".join(note[2] for note in notes if note[0] == "on_text") == "Let me see.It is 3."
    answers = [note[2] for note in notes if note[0] == "on_answer"]
    blocks = [note[2] for note in notes if note[0] == "on_block"]
    assert blocks == [block for answer in answers for block in answer["content"]]
    pieces = {"on_text", "on_tool_input", "on_block"}
    (_, _, first), started, progress, done, (_, _, last), end = (note for note in notes if note[0] not in pieces)
    call = ToolUse(first["content"][1]["id"], "add", {"a": 1, "b": 2})
    assert started == ("on_tool_started", turn, call)
    assert progress == ("on_tool_progress", turn, call, {"so far": 1})
    assert done == ("on_tool_done", turn, call, "3", False)
    assert end == ("on_done", turn, turn.result())
    assert last == turn.result()


def test_approvals_and_what_was_said_meanwhile_call_methods(
    emulator: Emulator, talk: ConversationRef, noted: Noted
) -> None:
    emulator.queue(Reply([ToolCall("pay", {"amount": 3})]), Reply(["Done."]))
    turn = talk.say("Go")
    name, told, approval = noted.until("on_approval")[-1]
    assert (name, told, approval.name) == ("on_approval", turn, "pay")
    talk.say("Thanks")
    talk.answer(approval, allow=True, by="eva")
    notes = noted.until_end()
    assert ("on_approval_given", turn, approval, True, "eva") in notes
    assert ("on_steered", turn, [{"type": "text", "text": "Thanks"}]) in notes


def test_a_turn_that_failed_or_was_cancelled_or_suspended_is_told_last(
    emulator: Emulator, talk: ConversationRef, noted: Noted
) -> None:
    emulator.queue(Status(400))
    turn = talk.say("Fail")
    name, told, error = noted.until_end()[-1]
    assert (name, told, type(error)) == ("on_failed", turn, BadRequestError)
    emulator.queue(Stall(Reply(["A long story"]), after_events=4))
    turn = talk.say("Stall")
    noted.until("on_text")
    turn.cancel("enough")
    name, told, reason, partial = noted.until_end()[-1]
    assert (name, told, reason) == ("on_cancelled", turn, "enough")
    assert "A long story".startswith(partial["content"][0]["text"])
    emulator.queue(Reply([ToolCall("pay", {"amount": 3})]))
    turn = talk.say("Pay")
    approval = noted.until("on_approval")[-1][2]
    talk.stop()
    assert noted.until_end()[-1] == ("on_suspended", turn, (approval,))


def test_a_limit_calls_a_method(emulator: Emulator, client: Client) -> None:
    emulator.queue(SUM, Reply(["I am out of requests."]))
    talk = client.converse(Agent(model=MODEL, tools=[add], limits=Limits(requests=1)))
    noted = Noted(talk)
    turn = talk.say("Go")
    notes = noted.until_end()
    assert ("on_limit", turn, "requests") in notes
    assert notes[-1][:2] == ("on_done", turn)


def test_an_answer_of_a_sub_agent_is_not_the_turn_s(emulator: Emulator, talk: ConversationRef, noted: Noted) -> None:
    emulator.queue(Reply([ToolCall("help", {"task": "Add"})]), SUM, Reply(["3."]), Reply(["It is 3."]))
    turn = talk.say("Go")
    notes = noted.until_end()
    subs = [note for note in notes if note[0] == "on_sub_answer"]
    assert [(told, path) for _, told, path, _ in subs] == [(turn, ("help",))] * 2
    assert subs[1][3]["content"] == [{"type": "text", "text": "3."}]
    assert [note[2].name for note in notes if note[0] == "on_tool_started"] == ["help", "add"]
    assert len([note for note in notes if note[0] == "on_answer"]) == 2
    assert "".join(note[2] for note in notes if note[0] == "on_text") == "It is 3."


def test_a_test_may_give_anything_as_turn() -> None:
    told: list[Any] = []

    class Told(Handlers):
        def on_cancelled(self, turn: TurnRef, reason: str, partial: Message | None) -> None:
            told.append((turn, reason, partial))

        def on_compacted(self, turn: Any, before: int, after: int) -> None:
            told.append((turn, before, after))

    nobody: Any = None
    Told().handle(TurnCancelled(nobody, "enough"))
    Told().handle(Compacted(nobody, 100, 10))
    assert told == [(None, "enough", None), (None, 100, 10)]


def test_methods_that_are_not_overridden_do_nothing() -> None:
    nobody: Any = None
    approval = Approval("toolu_1", "pay", {}, "digest")
    call = ToolUse("toolu_1", "pay", {})
    for message in (
        *(AnswerDone(nobody, nobody, nobody), AnswerDone(nobody, nobody, nobody, ("help",))),
        *(ToolStarted(nobody, call), ToolProgress(nobody, call, 3), ToolDone(nobody, call, "", False, 0.0)),  # noqa: FBT003
        *(ApprovalNeeded(nobody, approval), Compacted(nobody, 100, 10), TurnSuspended(nobody, (approval,))),
    ):
        assert Handlers().handle(message) is None


# Windows


class Desk:
    """A loop that runs when the test does, in the test's thread."""

    def __init__(self) -> None:
        self.due: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def later(self, _: float, function: Callable[[], object]) -> None:
        self.due.put(function)

    def subscriber(self, handler: Any, **options: Any) -> Any:
        subscriber = to_loop(self.due.put, self.later, handler, **options)
        self.due.get(timeout=DEADLINE)()  # it learns which thread this is
        return subscriber

    def run(self, is_over: Callable[[], object]) -> None:
        while not is_over():
            self.due.get(timeout=DEADLINE)()


class Tap:
    """Passes messages on to a subscriber with a window, and keeps them in the order in which they were told."""

    def __init__(self, subscriber: Any) -> None:
        self.window = subscriber.window
        self.messages: list[Any] = []
        self._subscriber = subscriber
        self._lock = threading.Lock()

    def tell(self, message: Any, /) -> None:
        with self._lock:
            self.messages.append(message)
            self._subscriber.tell(message)


def smoothed(messages: list[Any]) -> list[Any]:
    """Return messages with neighbouring deltas of a block joined."""
    joined: list[Any] = []
    for message in messages:
        event: Any = message.data if isinstance(message, ChatEvent) else {}
        delta = event.get("delta", {})
        piece = delta.get("text", delta.get("partial_json"))
        if piece is None:
            joined.append(message)
        elif isinstance(joined[-1], list) and joined[-1][:2] == [message.chat, event["index"]]:
            joined[-1][2] += piece
        else:
            joined.append([message.chat, event["index"], piece])
    return joined


def test_a_frozen_window_gets_deltas_and_tools_in_their_order(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    began = threading.Event()

    @tool(safe=True)
    def look() -> str:
        """Look."""
        began.set()
        return "seen"

    words = "One two three four five six seven. "
    emulator.queue(Reply([words, ToolCall("look"), words]), SUM, Reply([words]))
    desk, handled = Desk(), list[Any]()
    tap = Tap(desk.subscriber(handled.append))
    turn = client.converse(Agent(model=MODEL, tools=[look, add]), stream=tap).say("Go")
    turn.result(DEADLINE)
    until_told(turn)
    wait(began)
    assert not handled
    desk.run(lambda: handled and isinstance(handled[-1], ENDS))
    assert smoothed(handled) == smoothed(tap.messages)
    assert len(handled) < len(tap.messages)
    assert own(handled).count("ToolStarted") == 2
    assert text_of(handled) == text_of(tap.messages)


def test_neighbours_of_two_chats_are_not_merged_nor_those_around_a_tool() -> None:
    desk, handled = Desk(), list[Any]()
    subscriber = desk.subscriber(handled.append)
    chats: list[Any] = [object(), object()]
    nobody: Any = None
    started = ToolStarted(nobody, ToolUse("toolu_1", "add", {}))

    def delta(chat: Any, text: str) -> Any:
        event: Any = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        return ChatEvent(chat, event)

    for message in (
        *(delta(chats[0], "a"), delta(chats[0], "b"), started, delta(chats[0], "c")),
        *(delta(chats[1], "d"), delta(chats[1], "e"), started),
    ):
        subscriber.tell(message)
    desk.run(lambda: handled and handled[-1] is started and len(handled) > 3)
    assert handled == [delta(chats[0], "ab"), started, delta(chats[0], "c"), delta(chats[1], "de"), started]


def test_a_window_that_is_closed_cancels_the_turn(emulator: Emulator, talk: ConversationRef) -> None:
    emulator.queue(Stall(Reply(["A long story"]), after_events=4))
    desk, handled = Desk(), list[Any]()
    subscriber = desk.subscriber(handled.append)
    talk.subscribe(subscriber)
    turn = talk.say("Go")
    desk.run(lambda: handled)
    with pytest.raises(DeadlockError, match="such as a GUI's"):
        turn.result()
    subscriber.close()
    with pytest.raises(CancelledError, match="the window was closed"):
        turn.result(DEADLINE)


def test_a_window_that_is_closed_leaves_a_turn_that_others_follow(
    emulator: Emulator, talk: ConversationRef, inbox: Inbox, gate: Gate
) -> None:
    emulator.queue(Reply([ToolCall("hold")]), "Held.")
    desk, handled = Desk(), list[Any]()
    subscriber = desk.subscriber(handled.append)
    turn = talk.say("Go")
    turn.subscribe(inbox)
    turn.subscribe(subscriber)
    desk.run(lambda: handled)
    subscriber.close()
    assert subscriber not in [each.subscriber for each in deliveries_of(turn)]
    gate.let.set()
    assert isinstance(inbox.until_end(ENDS)[-1], TurnDone)


def test_a_turn_whose_handler_raises_is_cancelled_if_that_is_asked_for(
    emulator: Emulator, talk: ConversationRef
) -> None:
    def handle(message: Any) -> None:
        if isinstance(message, ChatEvent):
            raise ZeroDivisionError

    emulator.queue(Stall(Reply(["A long story"]), after_events=4))
    desk = Desk()
    subscriber = desk.subscriber(handle, on_error="cancel")
    talk.subscribe(subscriber)
    turn = talk.say("Go")
    with pytest.raises(ZeroDivisionError):
        desk.run(lambda: False)
    until(lambda: turn.state == "cancelled")
    with pytest.raises(CancelledError, match="its handler raised ZeroDivisionError"):
        turn.result()
    subscriber.close()


def test_the_signals_of_qt_know_turns(
    emulator: Emulator, talk: ConversationRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cache in (qt._poster, qt._kind):
        cache.cache_clear()
    kit = FakePySide6()
    for name, module in kit.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    kit.open()
    subscriber = to_qt(kit.window)
    told: list[tuple[str, Any]] = []

    def tell(name: str, given: Any) -> None:
        told.append((name, given))

    for name in ("text", "tool", "approval", "done", "failed", "cancelled", "suspended"):
        getattr(subscriber, name).connect(partial(tell, name))
    talk.subscribe(subscriber)
    late = threading.Event()
    timer = threading.Timer(DEADLINE, late.set)
    timer.start()

    def until_signal(name: str) -> Any:
        kit.run(lambda: late.is_set() or bool(told and told[-1][0] == name))
        assert told[-1][0] == name
        return told[-1][1]

    emulator.queue(SUM, Reply(["It is 3."]))
    turn = talk.say("Go")
    assert until_signal("done").turn is turn
    assert "".join(given for name, given in told if name == "text") == "Let me see.It is 3."
    tools = [type(given) for name, given in told if name == "tool"]
    assert tools == [ToolStarted, ToolProgress, ToolDone]
    emulator.queue(Status(400))
    turn = talk.say("Fail")
    assert until_signal("failed").error.status == 400
    emulator.queue(Stall())
    turn = talk.say("Stall")
    emulator.wait_for_requests(4, timeout=DEADLINE)
    turn.cancel("enough")
    assert until_signal("cancelled").reason == "enough"
    emulator.queue(Reply([ToolCall("pay", {"amount": 3})]))
    talk.say("Pay")
    assert until_signal("approval").approval.name == "pay"
    talk.stop()
    assert until_signal("suspended").approvals[0].name == "pay"
    timer.cancel()
    timer.join()
    del subscriber
    kit.destroy()
    for cache in (qt._poster, qt._kind):
        cache.cache_clear()


# asyncio


def test_a_loop_in_asyncio_gets_what_a_loop_in_a_thread_gets(emulator: Emulator, talk: ConversationRef) -> None:
    async def loop() -> tuple[list[Any], Any]:
        turn = aio(talk.say("Go"))
        return [message async for message in turn], await turn

    emulator.queue(SUM, Reply(["It is 3."]), SUM, Reply(["It is 3."]))
    messages, answer = run(loop())
    assert own(messages) == own([*talk.say("Go")]) == OWN
    assert messages[-1].message == answer


def test_text_and_pieces_are_those_of_all_answers(emulator: Emulator, talk: ConversationRef) -> None:
    async def texts() -> list[str]:
        return [text async for text in aio(talk.say("Go")).text]

    async def pieces() -> list[Any]:
        return [piece async for piece in aio(talk.say("Go")).pieces]

    for loop in (texts, pieces):
        emulator.queue(SUM, Reply(["It is 3."]))
        got = run(loop())
        if loop is texts:
            assert "".join(got) == "Let me see.It is 3."
        else:
            blocks = [piece.block for piece in got if isinstance(piece, BlockPiece)]
            assert [block["type"] for block in blocks] == ["text", "tool_use", "text"]


@pytest.mark.parametrize("when", ["while a tool runs", "after the end"])
def test_who_joins_late_gets_each_answer_once(when: str, emulator: Emulator, talk: ConversationRef, gate: Gate) -> None:
    emulator.queue(Reply(["I hold.", ToolCall("hold")]), Reply(["It was held."]))
    turn = talk.say("Go")
    wait(gate.began)
    if when == "after the end":
        gate.let.set()
        turn.result(DEADLINE)

    async def loop() -> tuple[str, list[Any]]:
        texts = []
        async for text in aio(turn).text:
            texts.append(text)
            gate.let.set()
        return "".join(texts), [piece async for piece in aio(turn).pieces]

    text, pieces = run(loop())
    assert text == "I hold.It was held."
    blocks = [piece.block["type"] for piece in pieces if isinstance(piece, BlockPiece)]
    assert blocks == ["text", "tool_use", "text"]


@pytest.mark.parametrize("way", ["await", "text", "pieces"])
def test_a_failure_is_raised_but_to_the_loop_over_the_messages(
    way: str, emulator: Emulator, talk: ConversationRef
) -> None:
    emulator.queue(Status(400))

    async def loop() -> None:
        turn = aio(talk.say("Go"))
        assert own([message async for message in turn]) == ["TurnFailed"]
        with pytest.raises(BadRequestError):
            if way == "await":
                await turn
            else:
                [piece async for piece in getattr(turn, way)]

    run(loop())


def test_a_cancel_is_raised_by_await(emulator: Emulator, talk: ConversationRef) -> None:
    emulator.queue(Stall())

    async def wait_for_it() -> None:
        turn = talk.say("Go")
        await asyncio.to_thread(emulator.wait_for_requests, 1, timeout=DEADLINE)
        turn.cancel("enough")
        with pytest.raises(CancelledError, match="enough"):
            await aio(turn)

    run(wait_for_it())


def test_a_loop_that_is_left_cancels_the_turn_and_a_cancelled_await_does_not(
    emulator: Emulator, talk: ConversationRef, gate: Gate
) -> None:
    emulator.queue(Reply([ToolCall("hold")]), "Held.", Stall(Reply(["A long story"]), after_events=4))

    async def wait_briefly(turn: TurnRef) -> None:
        waiting = asyncio.ensure_future(aio(turn)._outcome())
        await asyncio.to_thread(wait, gate.began)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def leave(turn: TurnRef) -> None:
        async with aclosing(aiter(aio(turn))) as messages:
            async for message in messages:
                assert isinstance(message, ChatEvent)
                break

    first = talk.say("Go")
    run(wait_briefly(first))
    gate.let.set()
    assert first.result(DEADLINE)["stop_reason"] == "end_turn"
    second = talk.say("Go on")
    run(leave(second))
    until(lambda: second.state == "cancelled")  # who waits for the result meanwhile keeps it
    with pytest.raises(CancelledError, match="the loop over the answer was left"):
        second.result(DEADLINE)


@pytest.mark.parametrize("way", ["loop", "await", "text"])
def test_a_subscriber_of_asyncio_may_follow_a_turn(way: str, emulator: Emulator, client: Client) -> None:
    emulator.queue(SUM, Reply(["It is 3."]))

    async def follow() -> Any:
        messages = aio()
        client.converse(Agent(model=MODEL, tools=[add])).say("Go").subscribe(messages)
        if way == "loop":
            return own([message async for message in messages])
        if way == "text":
            return "".join([text async for text in messages.text])
        return (await messages)["stop_reason"]

    assert run(follow()) == {"loop": OWN, "await": "end_turn", "text": "Let me see.It is 3."}[way]


def test_what_is_no_turn_is_refused_with_what_to_do(emulator: Emulator, talk: ConversationRef) -> None:
    emulator.queue("Hello!")
    [answer] = [message for message in talk.say("Go") if isinstance(message, AnswerDone)]
    with pytest.raises(ParameterError, match=r"a ConversationRef: pass a turn of it, which say\(...\) returns"):
        aio(talk)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]

    async def loop() -> Any:
        with pytest.raises(ParameterError, match=r"pass its turn, chat\.turn"):
            _ = [event async for event in aio(answer.chat)]
        return await aio(answer.chat)

    assert run(loop()) == answer.message
    with pytest.raises(ParameterError, match=r"chat: .*pass its turn, chat\.turn"):
        sse_lines(answer.chat)
    with pytest.raises(ParameterError, match="chat: expected a stream, or the ref of a chat or a turn"):
        sse_lines(talk)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# The web


def events_in(body: bytes) -> list[Any]:
    lines = body.splitlines()
    return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]


def in_thread(lines: Any) -> list[Any]:
    return events_in(b"".join(lines))


def in_coroutine(lines: Any) -> list[Any]:
    async def loop() -> bytes:
        return b"".join([line async for line in lines])

    return events_in(run(loop()))


BOTH = pytest.mark.parametrize("loop", [in_thread, in_coroutine])
LAST = {"turn_done", "turn_suspended", "error"}


def kinds(events: list[Any]) -> list[str]:
    """Return the types of what is not the API's; exactly one is a last one, and it is the last."""
    found = [event["type"] for event in events]
    assert [kind for kind in found if kind in LAST] == found[-1:]
    return [kind for kind in found if not kind.startswith(("message_", "content_"))]


def said(events: list[Any]) -> str:
    texts = [event.get("delta", {}).get("text", "") for event in events]
    return "".join(texts)


@BOTH
def test_a_turn_is_a_response_with_one_last_event(
    loop: Callable[[Any], list[Any]], emulator: Emulator, talk: ConversationRef
) -> None:
    emulator.queue(SUM, Reply(["It is 3."]))
    turn = talk.say("Go")
    events = loop(sse_lines(turn))
    assert kinds(events) == [
        *("answer_done", "tool_started", "tool_progress", "tool_done"),
        *("answer_done", "turn_done"),
    ]
    assert said(events) == "Let me see.It is 3."
    answer, started, progress, done, _, end = (event for event in events if event["type"] in kinds(events))
    call = {"id": answer["message"]["content"][1]["id"], "name": "add", "input": {"a": 1, "b": 2}}
    assert started == {"type": "tool_started", "call": call, "path": []}
    assert progress == {"type": "tool_progress", "call": call, "data": {"so far": 1}, "path": []}
    assert done == {
        "type": "tool_done",
        "call": call,
        "result": "3",
        "is_error": False,
        "seconds": done["seconds"],
        "path": [],
    }
    assert end["message"] == turn.result()
    assert (end["stopped"], end["output"], end["undelivered"]) == (None, None, [])
    assert end["usage"]["output_tokens"] == turn.usage.output_tokens


@BOTH
def test_who_connects_again_gets_each_answer_once(
    loop: Callable[[Any], list[Any]], emulator: Emulator, talk: ConversationRef, gate: Gate, inbox: Inbox
) -> None:
    emulator.queue(Reply(["I hold.", ToolCall("hold")]), Reply(["It was held."]))
    turn = talk.say("Go")
    turn.subscribe(inbox)
    wait(gate.began)
    inbox.until(ToolStarted)

    def let(lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            if b"tool_started" in line:
                gate.let.set()
            yield line

    events = in_thread(let(iter(sse_lines(turn))))
    assert said(events) == "I hold.It was held."
    for again in (events, loop(sse_lines(turn))):
        assert kinds(again) == ["answer_done", "tool_started", "tool_done", "answer_done", "turn_done"]
        assert said(again) == "I hold.It was held."


@BOTH
def test_a_failure_a_cancel_and_a_suspension_are_last(
    loop: Callable[[Any], list[Any]], emulator: Emulator, talk: ConversationRef
) -> None:
    emulator.queue(Status(400))
    [error] = loop(sse_lines(talk.say("Go")))
    assert error["error"]["type"] == "invalid_request_error"
    emulator.queue(Stall())
    turn = talk.say("Go")
    emulator.wait_for_requests(2, timeout=DEADLINE)
    turn.cancel("enough")
    [error] = loop(sse_lines(turn))
    assert error["error"] == {"type": "cancelled_error", "message": "enough"}
    emulator.queue(Reply([ToolCall("pay", {"amount": 3})]))
    turn, follower = talk.say("Pay"), Inbox()
    turn.subscribe(follower)
    approval = follower.until(ApprovalNeeded).approval
    talk.stop()
    events = loop(sse_lines(turn))
    assert kinds(events) == ["answer_done", "approval_needed", "turn_suspended"]
    assert events[-1]["approvals"] == [msgspec.to_builtins(approval)]


def test_close_ends_a_loop_that_waits_and_cancels_the_turn(emulator: Emulator, talk: ConversationRef) -> None:
    emulator.queue(Stall(Reply(["A long story"]), after_events=4))
    turn = talk.say("Go")
    lines = sse_lines(turn)
    body = [next(loop := iter(lines))]
    until(turn.snapshot)

    def close() -> None:
        until(lambda: len(body) > 1)
        lines.close()

    closing = threading.Thread(target=close)
    closing.start()
    for line in loop:
        body.append(line)  # noqa: PERF402 - another thread looks at it
    closing.join(DEADLINE)
    events = events_in(b"".join(body))
    assert events[-1]["error"] == {"type": "cancelled_error", "message": "the loop over the answer was left"}
    assert kinds(events) == ["error"]
    until(lambda: turn.state == "cancelled")


def test_close_after_the_end_adds_no_second_last_event(emulator: Emulator, talk: ConversationRef) -> None:
    turn = talk.say("Go")
    turn.result(DEADLINE)
    until_told(turn)
    lines = sse_lines(turn)
    loop = iter(lines)
    body = [next(loop)]
    lines.close()
    events = events_in(b"".join([*body, *loop]))
    assert kinds(events) == ["answer_done", "turn_done"]


class Odd:
    """What is no JSON, and cannot even be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({1: [float("nan"), "\ud800"]}, {"1": [None, "\ud800"]}),
        (ToolUse("toolu_1", "add", {}), {"id": "toolu_1", "name": "add", "input": {}}),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (Odd(), "<Odd, whose repr raises>"),
    ],
)
def test_whatever_a_tool_tells_is_written(data: Any, shown: Any) -> None:
    nobody: Any = None
    [event] = events_in(sse(ToolProgress(nobody, ToolUse("toolu_1", "add", {}), data)))
    assert event["data"] == shown


# Queues, functions, waits


def test_a_queue_takes_turns(emulator: Emulator, talk: ConversationRef) -> None:
    messages: queue.Queue[Any] = queue.Queue(maxsize=1)
    talk.subscribe(to_queue(messages))
    emulator.queue(SUM, Reply(["It is 3."]))
    turn = talk.say("Go")
    got = [messages.get(timeout=DEADLINE)]
    while not isinstance(got[-1], ENDS):
        got.append(messages.get(timeout=DEADLINE))
    assert own(got) == OWN
    assert text_of(got) == "Let me see.It is 3."
    assert got[-1].turn is turn
    assert messages.empty()


@pytest.mark.parametrize("threads", [0, 3])
def test_a_function_takes_turns(threads: int, emulator: Emulator, talk: ConversationRef, inbox: Inbox) -> None:
    emulator.queue(SUM, Reply(["It is 3."]))
    with ThreadPoolExecutor(threads or 1) as pool:
        talk.subscribe(to_function(inbox.tell, pool if threads else None))
        talk.say("Go")
        messages = inbox.until_end(ENDS)
    assert own(messages) == OWN
    assert text_of(messages) == "Let me see.It is 3."


def test_turns_and_chats_are_waited_for_together(emulator: Emulator, client: Client, gate: Gate, inbox: Inbox) -> None:
    emulator.queue(Reply([ToolCall("hold")]))
    first = client.converse(Agent(model=MODEL, tools=[tool(gate.hold)])).say("Go")
    wait(gate.began)
    emulator.queue("Hello!", "Hello!", "Held.")
    second = client.converse(Agent(model=MODEL)).say("Hello")
    second.result(DEADLINE)
    chat = client.chat(**ASK, stream=inbox)
    inbox.until_end()
    ended = as_completed([first, second, chat], timeout=DEADLINE)
    assert {next(ended), next(ended)} == {second, chat}
    gate.let.set()
    assert [*ended] == [first]
    with pytest.raises(ParameterError, match="expected the ref of a chat, a turn, a batch or a session"):
        list(as_completed(["a turn"]))


def test_waiting_for_turns_in_vain_leaves_them_going_on(emulator: Emulator, talk: ConversationRef, gate: Gate) -> None:
    emulator.queue(Reply([ToolCall("hold")]), "Held.")
    turn = talk.say("Go")
    wait(gate.began)
    with pytest.raises(TimeoutError, match="1 of 1 tasks"):
        list(as_completed([turn], timeout=0.01))
    gate.let.set()
    assert turn.result(DEADLINE)["stop_reason"] == "end_turn"


def test_a_done_callback_of_a_turn_is_called_once(emulator: Emulator, talk: ConversationRef, gate: Gate) -> None:
    emulator.queue(Reply([ToolCall("hold")]), "Held.")
    turn = talk.say("Go")
    wait(gate.began)
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    turn.add_done_callback(ended.put)
    assert ended.empty()
    gate.let.set()
    assert ended.get(timeout=DEADLINE) is turn
    until_told(turn)
    assert ended.empty()
    assert not isinstance(turn._task.terminal, AnthropixError)
