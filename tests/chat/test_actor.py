"""What a subscriber is promised, and what a `ChatRef` does."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from pykka.messages import ProxyCall

from anthropix_actors import (
    AnthropixError,
    APIError,
    AuthenticationError,
    CancelledError,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatRetrying,
    Client,
    InternalServerError,
    OverloadedError,
    ParameterError,
    ProtocolError,
    RateLimitError,
    TruncatedError,
)
from anthropix_actors.chat.accumulate import Accumulator

from actors import (
    ASK,
    HELLO,
    TERMINAL,
    Inbox,
    Reader,
    deliveries_of,
    is_collected,
    no_thread_for,
    task_of,
    text_of,
    until_blocked,
)
from servers import (
    BUSY,
    DEADLINE,
    PING,
    STOP,
    Gated,
    Peer,
    Replies,
    Server,
    acquire,
    after,
    answer,
    answering,
    block_start,
    block_stop,
    chunk,
    error_body,
    head,
    json_answer,
    message_delta,
    send_answer,
    sse,
    start,
    stream_of,
    text_delta,
    until,
    wait,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable

OVERLOADED: dict[str, Any] = error_body("overloaded_error", "Overloaded")


# Order and tags


def test_messages_come_in_order_and_carry_their_chat(connect: Callable[..., Client]) -> None:
    texts = [str(number) for number in range(500)]
    with Server(answering(*texts)) as server:
        client, inbox = connect(server), Inbox()
        chats = [client.chat(**ASK, stream=inbox) for _ in range(5)]
        ended: list[Any] = []
        while len(ended) < len(chats):
            if isinstance(message := inbox.next(), TERMINAL):
                ended.append(message.chat)
    assert set(ended) == set(chats)
    for chat in chats:
        mine = [message for message in inbox.messages if message.chat is chat]
        assert [message.data for message in mine[:-1]] == answer(*texts)
        assert isinstance(mine[-1], ChatDone)


def test_events_are_what_was_on_the_wire_and_pings_are_not_told(connect: Callable[..., Client]) -> None:
    odd: dict[str, Any] = {"type": "brand_new", "with": ["anything", None, 1.5]}
    events = [start(), PING, block_start(), PING, text_delta("é\u2028"), odd, block_stop(), message_delta(), STOP]
    with Server(Replies(stream_of(*events))) as server:
        inbox = Inbox()
        connect(server).chat(**ASK, stream=inbox)
        messages = inbox.until_end()
    assert [message.data for message in messages[:-1]] == [event for event in events if event is not PING]
    assert messages[-1].message["content"] == [{"type": "text", "text": "é\u2028"}]


# Exactly one terminal message, and it comes last


def test_an_answer_ends_with_done_and_the_whole_message(connect: Callable[..., Client]) -> None:
    with Server(answering("Hel", "lo")) as server:
        inbox = Inbox()
        chat = connect(server).chat(**ASK, stream=inbox)
        done = inbox.until_end()[-1]
    assert isinstance(done, ChatDone)
    assert done.chat is chat
    assert done.message == {
        **start()["message"],
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 9},
    }
    assert chat.result() == done.message


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (None, AnthropixError),
        (json_answer("401 Unauthorized", error_body("authentication_error")), AuthenticationError),
        (json_answer("500 Oops", b"<html>"), InternalServerError),
        (stream_of(start(), block_start(), OVERLOADED), OverloadedError),
        (stream_of(start(), block_start()), TruncatedError),
        (stream_of(STOP), ProtocolError),
        (stream_of(text_delta("x")), ProtocolError),
        (stream_of({"type": "message_start", "message": 5}, block_start()), ProtocolError),
        (head() + chunk(b"data: nonsense\n\n"), ProtocolError),
    ],
)
def test_a_failure_ends_with_exactly_one_failed(
    reply: bytes | None, kind: type[AnthropixError], connect: Callable[..., Client]
) -> None:
    with Server(Replies(reply)) as server:
        inbox = Inbox()
        client = connect(server)
        chat = client.chat(**ASK, stream=inbox)
        failed = inbox.until_end()[-1]
        assert isinstance(failed, ChatFailed)
        assert isinstance(failed.error, kind)
        assert sum(isinstance(message, TERMINAL) for message in inbox.messages) == 1
        with pytest.raises(kind) as caught:
            chat.result()
        client.close()
    assert caught.value is failed.error


def test_a_bug_in_the_chat_is_a_failure_and_not_silence(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    """The answer's object is spoilt from outside, as a bug would."""
    script = Gated(answer("x", "y"), 3)
    with Server(script) as server:
        inbox = Inbox()
        chat = connect(server).chat(**ASK, stream=inbox)
        inbox.until(ChatEvent)
        task_of(chat).answer = None
        task_of(chat).snapshot = lambda: None
        script.go_on.set()
        failed = inbox.until_end()[-1]
    assert isinstance(failed, ChatFailed)
    assert "an error in the chat itself: AttributeError" in str(failed.error)
    assert isinstance(failed.error.__cause__, AttributeError)
    assert "a chat ended by an error of its own" in caplog.text


@pytest.mark.parametrize("exception", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_subscriber_that_raises_is_told_nothing_more_and_harms_nobody(
    exception: type[BaseException], connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        told = 0

        def tell(self, _: Any, /) -> None:
            self.told += 1
            raise exception("mine")

    bystander = Reader.start(Inbox())
    script = Gated(answer("x", "y"), 1)
    with Server(script) as server:
        broken, inbox = Broken(), Inbox()
        chat = connect(server).chat(**ASK, stream=broken)
        acquire(script.reached)
        chat.subscribe(inbox)
        script.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)
    assert broken.told == 1
    assert bystander.is_alive()
    assert "told nothing more" in caplog.text


def test_when_the_system_gives_no_thread_the_caller_gets_an_error_and_no_zombie_is_left(
    connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect("http://127.0.0.1:9")
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("ChatActor"))
    with pytest.raises(AnthropixError, match="no thread for another chat: can't start"):
        client.chat(**ASK)
    assert pykka.ActorRegistry.get_all() == []


# Retries are told


def test_a_retry_is_told_before_its_wait(connect: Callable[..., Client]) -> None:
    limited = json_answer("429 Slow down", error_body("rate_limit_error", "slow"), {"retry-after-ms": "2"})
    with Server(Replies(BUSY, limited, whole("fine"))) as server:
        inbox = Inbox()
        chat = connect(server, max_retries=2).chat(**ASK, stream=inbox)
        messages = inbox.until_end()
    first, second = messages[:2]
    assert isinstance(first, ChatRetrying)
    assert isinstance(second, ChatRetrying)
    assert (first.attempt, first.delay, second.attempt, second.delay) == (1, 0.001, 2, 0.002)
    assert isinstance(first.error, OverloadedError)
    assert isinstance(second.error, RateLimitError)
    assert (first.error.attempts, first.error.request_id, first.error.status) == (1, "req_test", 529)
    assert all(message.chat is chat for message in messages)
    assert text_of(messages) == "fine"
    assert isinstance(messages[-1], ChatDone)


# Cut answers, and errors in a stream


def test_a_cut_answer_is_never_taken_for_a_whole_one(connect: Callable[..., Client]) -> None:
    """Cut at every byte: only what holds `message_stop` is done; it may lack the empty line behind it."""
    body = b"".join(map(sse, [start(), block_start(), text_delta("Hi"), block_stop(), message_delta(), STOP]))
    complete_from = len(body) - len(b"\n\n")

    def cut(peer: Peer) -> None:
        while peer.read_request():
            end = int(peer.body.rpartition(b"cut ")[2].partition(b'"')[0])
            peer.send(head(), chunk(body[:end]), b"0\r\n\r\n")

    with Server(cut) as server:
        client = connect(server)
        for end in range(1, len(body) + 1):
            question: Any = [{"role": "user", "content": f"cut {end}"}]
            if end < complete_from:
                with pytest.raises(TruncatedError):
                    client.chat(model="m", messages=question)
            else:
                assert client.chat(model="m", messages=question)["stop_reason"] == "end_turn"


def test_the_partial_answer_of_a_cut_tool_call_keeps_its_text(connect: Callable[..., Client]) -> None:
    delta = {"type": "input_json_delta", "partial_json": '{"city": "Par'}
    events = [
        start(),
        block_start(type="tool_use", id="toolu_1", name="weather", input={}),
        {"type": "content_block_delta", "index": 0, "delta": delta},
    ]
    with Server(Replies(stream_of(*events))) as server:
        with pytest.raises(TruncatedError) as caught:
            connect(server).chat(**ASK)
    assert caught.value.partial is not None
    assert caught.value.partial["content"][0] == {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "weather",
        "input": {},
        "input_json": '{"city": "Par',
    }


@pytest.mark.parametrize("in_stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        ("invalid_request_error", 400, "BadRequestError"),
        ("authentication_error", 401, "AuthenticationError"),
        ("billing_error", 402, "PaymentRequiredError"),
        ("permission_error", 403, "PermissionDeniedError"),
        ("not_found_error", 404, "NotFoundError"),
        ("request_too_large", 413, "RequestTooLargeError"),
        ("rate_limit_error", 429, "RateLimitError"),
        ("api_error", 500, "InternalServerError"),
        ("timeout_error", 504, "GatewayTimeoutError"),
        ("overloaded_error", 529, "OverloadedError"),
    ],
)
def test_an_error_in_a_stream_has_the_class_of_the_same_error_as_a_status(
    kind: str, status: int, name: str, *, in_stream: bool, connect: Callable[..., Client]
) -> None:
    body = error_body(kind, "because")
    reply = stream_of(start(), block_start(), text_delta("Hi"), body) if in_stream else json_answer(f"{status} X", body)
    with Server(Replies(reply)) as server:
        with pytest.raises(APIError) as caught:
            connect(server).chat(**ASK)
    error = caught.value
    assert type(error).__name__ == name
    assert (error.type, error.message, error.body, error.request_id) == (kind, "because", body, "req_test")
    assert error.in_stream is in_stream
    assert error.status == (200 if in_stream else status)
    assert (error.partial is not None) is in_stream


# A retry only before any content


def test_an_overload_right_after_message_start_is_retried_and_nobody_sees_two_beginnings(
    connect: Callable[..., Client],
) -> None:
    with Server(Replies(stream_of(start(), PING, OVERLOADED), whole("fine"))) as server:
        inbox = Inbox()
        connect(server, max_retries=1).chat(**ASK, stream=inbox)
        messages = inbox.until_end()
    assert isinstance(messages[0], ChatRetrying)
    assert [message.data["type"] for message in messages[1:-1]].count("message_start") == 1
    assert isinstance(messages[-1], ChatDone)


@pytest.mark.parametrize("ending", [[OVERLOADED], []], ids=["overloaded", "cut"])
def test_after_content_nothing_is_retried(ending: list[dict[str, Any]], connect: Callable[..., Client]) -> None:
    script = Replies(stream_of(start(), block_start(), *ending), whole("never sent"))
    with Server(script) as server:
        inbox = Inbox()
        client = connect(server, max_retries=5)
        client.chat(**ASK, stream=inbox)
        messages = inbox.until_end()
        client.close()
    assert isinstance(messages[-1], ChatFailed)
    assert messages[-1].error.attempts == 1
    assert len(script.bodies) == 1


def test_a_failure_before_any_content_still_keeps_the_message_that_had_begun(connect: Callable[..., Client]) -> None:
    with Server(Replies(stream_of(start(input_tokens=42), OVERLOADED))) as server:
        with pytest.raises(OverloadedError) as caught:
            connect(server).chat(**ASK)
    assert caught.value.partial is not None
    assert caught.value.partial["usage"]["input_tokens"] == 42


def test_retries_end_and_the_error_says_how_many_attempts_there_were(connect: Callable[..., Client]) -> None:
    script = Replies(BUSY, None, BUSY, whole("never sent"))
    with Server(script) as server:
        with pytest.raises(OverloadedError) as caught:
            connect(server, max_retries=2).chat(**ASK)
    assert caught.value.attempts == 3
    assert len(script.bodies) == 3
    assert len(set(script.bodies)) == 1, "the same request each time"


def test_a_retry_after_above_the_cap_fails_at_once_with_the_value(connect: Callable[..., Client]) -> None:
    limited = json_answer("429 Slow down", error_body("rate_limit_error"), {"retry-after": "3600"})
    with Server(Replies(limited)) as server:
        with pytest.raises(RateLimitError) as caught:
            connect(server, max_retries=5).chat(**ASK)
    assert caught.value.retry_after == 3600
    assert caught.value.attempts == 1


def test_the_api_may_forbid_a_retry(connect: Callable[..., Client]) -> None:
    final = json_answer("529 Overloaded", OVERLOADED, {"x-should-retry": "false"})
    with Server(Replies(final)) as server:
        with pytest.raises(OverloadedError) as caught:
            connect(server, max_retries=5).chat(**ASK)
    assert caught.value.attempts == 1


def test_an_error_knows_only_its_own_attempts_request_id(connect: Callable[..., Client]) -> None:
    with Server(Replies(BUSY, None)) as server:
        with pytest.raises(AnthropixError) as caught:
            connect(server, max_retries=1).chat(**ASK)
    assert caught.value.attempts == 2
    assert caught.value.request_id is None


# No subscriber is left


def test_when_the_only_subscriber_dies_the_request_is_cancelled(connect: Callable[..., Client]) -> None:
    script = Gated(answer("x"), 3)
    with Server(script) as server:
        reader = Reader.start(inbox := Inbox())
        chat = connect(server).chat(**ASK, stream=reader)
        inbox.until(ChatEvent)
        reader.stop()
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()
        script.go_on.set()


def test_when_a_subscriber_dies_with_its_mailbox_full_the_request_is_cancelled(connect: Callable[..., Client]) -> None:
    with Server(answering(*["x"] * 200)) as server:

        def die(_: Any) -> None:
            raise RuntimeError("the subscriber's own fault")

        gate = threading.Event()
        reader = Reader.start(Inbox(), die, gate=gate)
        client = connect(server, window=8)
        chat = client.chat(**ASK, stream=reader)
        until_blocked(chat)
        gate.set()
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()
        client.close()


def test_a_chat_that_somebody_waits_for_goes_on_when_its_subscriber_is_dead(connect: Callable[..., Client]) -> None:
    script = Gated(answer("x"), 3)
    with Server(script) as server:
        reader = Reader.start(inbox := Inbox())
        chat = connect(server).chat(**ASK, stream=reader)
        inbox.until(ChatEvent)
        results: list[Any] = []
        waiter = threading.Thread(target=lambda: results.append(chat.result(DEADLINE)))
        waiter.start()
        until(lambda: task_of(chat).audience.waiting)
        reader.stop()
        until(lambda: not deliveries_of(chat))
        script.go_on.set()
        waiter.join(DEADLINE)
    assert results[0]["stop_reason"] == "end_turn"


def test_one_dead_subscriber_of_two_does_not_end_the_chat(connect: Callable[..., Client]) -> None:
    script = Gated(answer("x", "y"), 3)
    with Server(script) as server:
        reader = Reader.start(Inbox())
        chat = connect(server).chat(**ASK, stream=reader)
        chat.subscribe(inbox := Inbox())
        reader.stop()
        script.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)


def test_a_stopped_actor_as_subscriber_is_refused_before_anything_is_sent(connect: Callable[..., Client]) -> None:
    reader = Reader.start(Inbox())
    reader.stop()
    with Server(answering("x")) as server:
        with pytest.raises(ValueError, match="stream: expected an actor that is alive"):
            connect(server).chat(**ASK, stream=reader)
        assert server.connections == 0


# The ref


def test_a_ref_is_an_actor_ref(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        assert isinstance(chat, pykka.ActorRef)
        inbox.until_end()
        wait(chat.actor_stopped)
        assert not chat.is_alive()
    assert chat.request_id == "req_test"
    assert chat.response_headers["content-type"].startswith("text/event-stream")


def test_other_messages_to_a_chat_are_logged_as_pykka_does(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    script = Gated(answer("x"), 3)
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        pykka.ActorRegistry.broadcast("what is this?")
        script.go_on.set()
        inbox.until_end()
        wait(chat.actor_stopped)
    assert "Unexpected message" in caplog.text


def test_a_call_through_a_proxy_that_raises_ends_the_actor_cleanly(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    script = Gated(answer("x"), 3)
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        chat.tell(ProxyCall(attr_path=("on_receive",), args=(1, 2, 3), kwargs={}))
        script.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)
        wait(chat.actor_stopped)
    assert "Unhandled exception in ChatActor" in caplog.text


def test_result_raises_a_timeout_and_the_chat_goes_on(connect: Callable[..., Client]) -> None:
    script = Gated(answer("x"), 3)
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        with pytest.raises(TimeoutError, match="goes on"):
            chat.result(timeout=0)
        script.go_on.set()
        assert chat.result(timeout=DEADLINE)["stop_reason"] == "end_turn"
        inbox.until_end()


def test_the_result_of_a_cancelled_chat_raises_with_what_had_arrived(connect: Callable[..., Client]) -> None:
    script = Gated(answer("Hi"), 3)
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        until(lambda: (chat.snapshot() or {}).get("content", [{}])[0].get("text"))  # type: ignore[call-overload]
        chat.cancel("changed my mind")
        cancelled = inbox.until_end()[-1]
        script.go_on.set()
        with pytest.raises(CancelledError, match="changed my mind") as caught:
            chat.result()
    assert isinstance(cancelled, ChatCancelled)
    assert caught.value.partial == cancelled.partial
    assert caught.value.partial["content"] == [{"type": "text", "text": "Hi"}]  # type: ignore[index]
    assert (caught.value.attempts, caught.value.request_id) == (1, "req_test")


def test_a_snapshot_is_a_copy_of_your_own(connect: Callable[..., Client]) -> None:
    script = Gated(answer("Hi", " there"), 3)
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        assert chat.snapshot() is None or chat.snapshot()
        until(lambda: len((chat.snapshot() or {"content": []})["content"]) == 1)
        mine: Any = chat.snapshot()
        mine["content"][0]["text"] = "spoilt"
        script.go_on.set()
        done = inbox.until_end()[-1]
    assert done.message["content"][0]["text"] == "Hi there"


@pytest.mark.parametrize("joins_at", range(1, 9))
def test_whoever_joins_late_gets_the_state_so_far_and_then_every_event(
    joins_at: int, connect: Callable[..., Client]
) -> None:
    events = answer("one ", "two ", "three ", "four")
    script = Gated(events, joins_at)
    with Server(script) as server:
        early = Inbox()
        chat = connect(server).chat(**ASK, stream=early)
        told = 0 if joins_at == 1 else joins_at  # a message_start on its own is held back
        while len(early.messages) < told:
            early.next()
        chat.subscribe(late := Inbox())
        script.go_on.set()
        done = early.until_end()[-1]
        assert late.until_end()[-1] == done
    rebuilt = Accumulator()
    for message in late.messages[:-1]:
        rebuilt.add(message.data)
    assert rebuilt.snapshot() == done.message
    assert text_of(late.messages) == "one two three four"


def test_joining_at_any_moment_misses_nothing_and_repeats_nothing(connect: Callable[..., Client]) -> None:
    """Many join while the chat runs at full speed."""
    texts = [f"{number} " for number in range(1000)]
    with Server(answering(*texts)) as server:
        first = Inbox()
        chat = connect(server).chat(**ASK, stream=first)
        others = []
        while chat.state != "done":
            chat.subscribe(inbox := Inbox())
            others.append(inbox)
            first.queue.get(timeout=DEADLINE)
        chat.subscribe(inbox := Inbox())
        others.append(inbox)
        for inbox in others:
            inbox.until_end()
    for inbox in others:
        assert text_of(inbox.messages) == "".join(texts)


def test_whoever_joins_after_the_end_gets_the_answer_and_the_end_at_once(connect: Callable[..., Client]) -> None:
    with Server(answering("Hel", "lo")) as server:
        chat = connect(server).chat(**ASK, stream=Inbox())
        message = chat.result(DEADLINE)
        chat.subscribe(late := Inbox())
        messages = late.until_end()
    assert text_of(messages) == "Hello"
    assert messages[-1] == ChatDone(chat, message)


def test_a_dead_actor_that_subscribes_is_simply_not_told(connect: Callable[..., Client]) -> None:
    script = Gated(answer("x"), 3)
    with Server(script) as server:
        reader = Reader.start(Inbox())
        reader.stop()
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        inbox.until(ChatEvent)
        chat.subscribe(reader)
        script.go_on.set()
        assert isinstance(inbox.until_end()[-1], ChatDone)


@pytest.mark.parametrize("is_actor", [False, True])
def test_one_that_follows_already_is_told_nothing_twice(connect: Callable[..., Client], is_actor: bool) -> None:  # noqa: FBT001
    inbox = Inbox()
    reader = Reader.start(inbox)
    subscriber: Any = reader if is_actor else inbox
    script = Gated(answer("a", "b"))
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=subscriber)
        inbox.until(ChatEvent)
        chat.subscribe(reader.proxy().actor_ref if is_actor else inbox)
        chat.subscribe(subscriber)
        assert len(deliveries_of(chat)) == 1
        script.go_on.set()
        assert text_of(inbox.until_end()) == "ab"
    reader.stop(timeout=DEADLINE)
    assert inbox.queue.empty()


def test_something_without_tell_cannot_subscribe(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        with pytest.raises(TypeError, match="subscriber: expected something with a tell method, got a list"):
            chat.subscribe([])  # type: ignore[arg-type]
        inbox.until_end()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"window": 0}, "window: expected an integer from 1, got 0"),
        ({"window": True}, "window: expected an integer from 1, got True"),
        ({"coalesce": True}, "coalesce: expected an ActorRef as subscriber, got Inbox"),
    ],
)
def test_options_of_a_subscription_that_do_not_fit_are_refused(
    options: dict[str, Any], problem: str, connect: Callable[..., Client]
) -> None:
    with Server(answering("x")) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        with pytest.raises(ParameterError, match=problem):
            chat.subscribe(Inbox(), **options)
        inbox.until_end()


def test_whoever_unsubscribes_is_told_nothing_more_not_even_the_end(connect: Callable[..., Client]) -> None:
    script = Gated(answer("x", "y"), 3)
    with Server(script) as server:
        leaving, staying = Inbox(), Inbox()
        chat = connect(server).chat(**ASK, stream=leaving)
        for _ in range(3):
            leaving.next()
        chat.subscribe(staying)
        chat.unsubscribe(leaving)
        chat.unsubscribe(leaving)
        script.go_on.set()
        assert isinstance(staying.until_end()[-1], ChatDone)
        wait(chat.actor_stopped)
    assert leaving.queue.empty()


def test_whoever_unsubscribes_in_its_handler_is_told_nothing_more_at_once(connect: Callable[..., Client]) -> None:
    class Leaving(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            message.chat.subscribe(staying)
            message.chat.unsubscribe(self)

    staying = Inbox()
    with Server(answering("a", "b", "c")) as server:
        leaving = Leaving()
        chat = connect(server).chat(**ASK, stream=leaving)
        assert text_of(staying.until_end()) == "abc"
        wait(chat.actor_stopped)
    assert leaving.queue.qsize() == 1


def test_a_subscriber_that_fails_at_a_retry_is_told_nothing_more(connect: Callable[..., Client]) -> None:
    class Broken(Inbox):
        def tell(self, message: Any, /) -> None:
            super().tell(message)
            raise ValueError("mine")

    with Server(Replies(BUSY, whole("x"))) as server:
        broken = Broken()
        chat = connect(server, max_retries=1).chat(**ASK, stream=broken)
        wait(chat.actor_stopped)
        with pytest.raises(CancelledError, match="no subscriber is left"):
            chat.result()
    assert isinstance(broken.next(), ChatRetrying)
    assert broken.queue.empty()


def test_when_the_last_one_unsubscribes_the_chat_is_cancelled(connect: Callable[..., Client]) -> None:
    script = Gated(answer("x"), 3)
    with Server(script) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        chat.unsubscribe(inbox)
        with pytest.raises(CancelledError, match="unsubscribed"):
            chat.result(DEADLINE)
        script.go_on.set()


def test_a_subscriber_may_use_its_chat_from_within_its_handler(connect: Callable[..., Client]) -> None:
    """Called by the chat's own thread, so that anything that waits for the chat would wait for ever."""
    results: list[Any] = []

    class Curious(Inbox):
        def tell(self, message: Any, /) -> None:
            chat = message.chat
            results.append(chat.snapshot())
            if isinstance(message, ChatDone):
                results.append(chat.result(timeout=DEADLINE))
                chat.cancel()
            elif len(results) == 2:
                chat.subscribe(other)
            super().tell(message)

    other = Inbox()
    with Server(answering("x", "y")) as server:
        inbox = Curious()
        connect(server).chat(**ASK, stream=inbox)
        done = inbox.until_end()[-1]
        assert text_of(other.until_end()) == "xy"
    assert results[-1] == done.message


def test_an_actor_may_stop_its_chat_from_its_handler_while_the_chat_waits_for_it(
    connect: Callable[..., Client],
) -> None:
    stopped: list[Any] = []

    def stop(message: Any) -> None:
        if isinstance(message, ChatEvent) and not stopped:
            stopped.append(message.chat.stop(timeout=DEADLINE))

    with Server(answering(*["x"] * 200)) as server:
        gate = threading.Event()
        reader = Reader.start(inbox := Inbox(), stop, gate=gate)
        client = connect(server, window=8)
        chat = client.chat(**ASK, stream=reader)
        until_blocked(chat)
        gate.set()
        inbox.until_end()
        reader.stop()
        client.close()
    assert stopped == [True]


def test_a_finished_chat_holds_on_to_nobody(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        inbox = Inbox()
        chat = connect(server).chat(**ASK, stream=inbox)
        inbox.until_end()
        wait(chat.actor_stopped)
        until(lambda: gc.collect() >= 0 and is_collected(chat))
        assert deliveries_of(chat) == ()


def test_every_request_is_its_own_actor(connect: Callable[..., Client]) -> None:
    with Server(answering("x")) as server:
        client = connect(server)
        urns = {client.chat(model="m", messages=HELLO, stream=Inbox()).actor_urn for _ in range(3)}
        acquire(server.accepted)
        assert len(urns) == 3


def json_delta(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}}


def test_a_text_of_a_new_type_that_begins_as_something_else_ends_the_chat_with_an_error(
    connect: Callable[..., Client],
) -> None:
    found = [start(), block_start(type="new", text=5), text_delta("x"), block_stop(), message_delta(), STOP]
    with Server(after(stream_of(*found))) as server:
        inbox = Inbox()
        chat = connect(server).chat(**ASK, stream=inbox)
        with pytest.raises(ProtocolError):
            chat.result(5)
        assert isinstance(inbox.until_end()[-1], ChatFailed)


def test_a_tools_input_that_is_nested_deeply_ends_with_its_message(connect: Callable[..., Client]) -> None:
    tool = block_start(type="tool_use", id="toolu_1", name="t", input={})
    found = [start(), tool, json_delta("[" * 600 + "]" * 600), block_stop(), message_delta("tool_use"), STOP]
    with Server(after(stream_of(*found))) as server:
        inbox = Inbox()
        chat = connect(server).chat(**ASK, stream=inbox)
        chat.result(5)
        assert isinstance(inbox.until_end()[-1], ChatDone)


def test_a_slow_actor_that_is_unsubscribed_no_longer_holds_up_the_others(connect: Callable[..., Client]) -> None:
    with Server(answering(*["x"] * 200)) as server:
        gate = threading.Event()
        reader = Reader.start(Inbox(), gate=gate)
        chat = connect(server, window=8).chat(**ASK, stream=reader)
        until_blocked(chat)
        chat.subscribe(inbox := Inbox())
        chat.unsubscribe(reader)
        assert isinstance(inbox.until_end()[-1], ChatDone)
        gate.set()
        reader.stop()
    assert text_of(inbox.messages) == "x" * 200


def test_a_ref_that_is_kept_keeps_no_prompt(connect: Callable[..., Client]) -> None:
    size = 5_000_000

    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.body = b""  # it would count
            send_answer(peer, "x")

    with Server(script) as server:
        client = connect(server)
        tracemalloc.start()
        try:
            chats = [
                client.chat(model="m", messages=[{"role": "user", "content": "x" * size}], stream=Inbox())
                for _ in range(5)
            ]
            for chat in chats:
                assert chat.result(DEADLINE)["stop_reason"] == "end_turn"
                wait(chat.actor_stopped)
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < size


def test_whoever_joins_after_the_end_is_told_every_kind_of_event_too(connect: Callable[..., Client]) -> None:
    """Who hands the events on needs the last of them."""
    with Server(answering("one", " two")) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        done = inbox.until_end()[-1]
        chat.subscribe(late := Inbox())
        assert late.until_end()[-1] == done
    kinds = [message.data["type"] for message in late.messages[:-1]]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_stop") == 1
