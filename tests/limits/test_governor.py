"""The governor over sockets: who waits for whom, and for how long."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    APIStatusError,
    APITimeoutError,
    CancelledError,
    ChatCancelled,
    ChatDone,
    ChatFailed,
    ChatRetrying,
    Client,
    Governor,
    ParameterError,
    RateLimit,
    RateLimitError,
)
from anthropix_actors._cancel import scope as _scope
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._http.retry import LONGEST_WAIT
from anthropix_actors.emulator import Emulator, ErrorEvent, Limits, Status
from anthropix_actors.limits.governor import FIRST_PAUSE, MOST_MODELS, GovernorThrottle
from anthropix_actors.limits.model_limits import FIRST_REQUESTS, Pacer

from actors import ASK, Inbox, lock_of, until_blocked
from servers import (
    DEADLINE,
    Peer,
    Replies,
    Server,
    Turnstile,
    acquire,
    after,
    error_body,
    json_answer,
    send_answer,
    until,
    wait,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = "anthropic-ratelimit-requests-limit"
LEFT = "anthropic-ratelimit-requests-remaining"


def refusal(retry_after: str | None = None, **headers: str) -> bytes:
    asked = {} if retry_after is None else {"retry-after": retry_after}
    return json_answer("429 Slow down", error_body("rate_limit_error", "slow"), asked | headers)


def model(name: str) -> dict[str, Any]:
    return ASK | {"model": name}


def waits(client: Client, name: str = "claude-test") -> int:
    governor = client.governor
    assert governor is not None
    return len(governor.line(name).waiting)


def test_the_limits_that_the_api_tells_of_can_be_read(connect: Callable[..., Client]) -> None:
    with Emulator() as emulator:
        client = connect(emulator.url)
        assert client.governor is not None
        assert client.governor.limits() == {}
        client.chat(**ASK)
        limits = client.governor.limits()["claude-test"]
    assert set(limits) == {"requests", "tokens", "input-tokens", "output-tokens"}
    assert limits["requests"] == RateLimit(per_minute=4000.0, left=4000.0)
    assert 790_000 < limits["output-tokens"].left <= 800_000


def test_when_one_is_refused_the_others_wait_and_are_not_sent(connect: Callable[..., Client]) -> None:
    with Emulator() as emulator:
        client = connect(emulator.url, max_retries=1)
        emulator.queue(Status(429, retry_after=3))
        first = Inbox()
        client.chat(**ASK, stream=first)
        assert isinstance(first.next(), ChatRetrying)
        begun = time.monotonic()
        others = [Inbox() for _ in range(20)]
        for other in others:
            client.chat(**ASK, stream=other)
        until(lambda: waits(client) == 20)
        assert len(emulator.requests) == 1
        assert client.chat(**model("another"))["model"] == "another"  # each model has limits of its own
        assert len(emulator.requests) == 2
        for inbox in (first, *others):
            assert isinstance(inbox.until_end()[-1], ChatDone)
        assert time.monotonic() - begun >= 2.9
        assert not any(isinstance(message, ChatRetrying) for other in others for message in other.messages)
    assert len(emulator.requests) == 23


@pytest.mark.parametrize("answer", [Status(429), ErrorEvent(type="rate_limit_error", after_events=0)])
def test_a_refusal_that_does_not_say_how_long_stops_the_others_for_a_second(
    connect: Callable[..., Client], answer: Any
) -> None:
    with Emulator() as emulator:
        client = connect(emulator.url)
        emulator.queue(answer)
        with pytest.raises(RateLimitError):
            client.chat(**ASK)
        begun = time.monotonic()
        client.chat(**ASK)
        assert time.monotonic() - begun >= FIRST_PAUSE - 0.1


@pytest.mark.parametrize(
    "answer",
    [
        Status(429, retry_after=3600),  # above the cap: a chat that is sent hears of it at once
        Status(429, retry_after=30, headers={"x-should-retry": "false"}),
        Status(529, retry_after=30),
        Status(400, retry_after=30),
    ],
)
def test_what_is_no_refusal_to_wait_for_stops_nobody(connect: Callable[..., Client], answer: Status) -> None:
    with Emulator() as emulator:
        client = connect(emulator.url)
        emulator.queue(answer)
        with pytest.raises(APIStatusError):
            client.chat(**ASK)
        begun = time.monotonic()
        client.chat(**ASK)
        assert time.monotonic() - begun < DEADLINE


@pytest.mark.parametrize("code", ["contract_spend_limit_reached", "enforced_spend_limit_reached"])
def test_a_spending_limit_is_not_waited_for(connect: Callable[..., Client], code: str) -> None:
    body = error_body("rate_limit_error", "no more money")
    body["error"]["details"] = {"error_code": code}

    refused = json_answer("429 No", body, {"retry-after": "30", "x-should-retry": "true"})
    with Server(Replies(refused, whole("paid"))) as server:
        client = connect(server, max_retries=5)
        begun = time.monotonic()
        with pytest.raises(RateLimitError) as caught:
            client.chat(**ASK)
        assert (caught.value.error_code, caught.value.attempts, caught.value.retryable) == (code, 1, False)
        client.chat(**ASK)
        assert time.monotonic() - begun < DEADLINE


def test_nobody_runs_into_a_limit_that_is_known(connect: Callable[..., Client]) -> None:
    with Emulator(limits=Limits(requests=1200, seconds=2)) as emulator:  # 40 at once, then 20 a second
        client = connect(emulator.url, max_retries=0)
        inboxes = [Inbox() for _ in range(60)]
        begun = time.monotonic()
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        ends = [inbox.until_end()[-1] for inbox in inboxes]
    assert [end for end in ends if not isinstance(end, ChatDone)] == []
    assert time.monotonic() - begun > 0.8
    assert len(emulator.requests) == 60


def test_without_a_governor_everybody_runs_into_it(connect: Callable[..., Client]) -> None:
    with Emulator(limits=Limits(requests=10)) as emulator:
        client = connect(emulator.url, governor=False)
        assert client.governor is None
        inboxes = [Inbox() for _ in range(20)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        ends = [inbox.until_end()[-1] for inbox in inboxes]
    assert any(isinstance(end, ChatFailed) for end in ends)


def test_clients_may_share_a_governor(connect: Callable[..., Client]) -> None:
    governor = Governor()
    with Emulator() as emulator:
        one, another = (connect(emulator.url, governor=governor) for _ in range(2))
        assert one.governor is another.governor is governor
        emulator.queue(Status(429, retry_after=0.3))
        with pytest.raises(RateLimitError):
            one.chat(**ASK)
        begun = time.monotonic()
        another.chat(**ASK)
        assert time.monotonic() - begun >= 0.25


def test_a_crowd_that_knows_no_limits_grows_with_each_answer(connect: Callable[..., Client]) -> None:
    gate = Turnstile("hello", first=None)
    with Server(gate) as server:
        client = connect(server)
        inboxes = [Inbox() for _ in range(FIRST_REQUESTS + 10)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        for _ in range(FIRST_REQUESTS):
            acquire(gate.reached)
        until(lambda: waits(client) == 10)
        assert not gate.reached.acquire(blocking=False)
        gate.let.release()
        for _ in range(2):
            acquire(gate.reached)
        gate.let.release(len(inboxes))
        assert all(isinstance(inbox.until_end()[-1], ChatDone) for inbox in inboxes)


def test_a_known_limit_ends_the_caution_of_the_first(connect: Callable[..., Client]) -> None:
    gate = Turnstile("hello", first=None, headers={LIMIT: "4000", LEFT: "4000"})
    with Server(gate) as server:
        client = connect(server)
        gate.let.release()
        client.chat(**ASK)
        acquire(gate.reached)
        inboxes = [Inbox() for _ in range(FIRST_REQUESTS + 10)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        for _ in inboxes:
            acquire(gate.reached)
        gate.let.release(len(inboxes))
        assert all(isinstance(inbox.until_end()[-1], ChatDone) for inbox in inboxes)


@pytest.mark.parametrize("how", ["cancel", "stop", "close"])
def test_a_chat_that_waits_for_a_limit_is_cancelled_at_once_and_the_next_moves_up(
    connect: Callable[..., Client], how: str
) -> None:
    with Server(after(refusal("60"))) as server:
        client = connect(server)
        with pytest.raises(RateLimitError):
            client.chat(**ASK)
        first, second = Inbox(), Inbox()
        chats = [client.chat(**ASK, stream=inbox) for inbox in (first, second)]
        until(lambda: waits(client) == 2)
        if how == "close":
            client.close()
        else:
            getattr(chats[0], how)()
        (cancelled,) = first.until_end()
        assert (cancelled.partial, cancelled.usage.estimate, chats[0].attempts) == (None, False, 0)
        until(lambda: waits(client) == (0 if how == "close" else 1))
    assert server.connections == 1


def test_one_that_was_refused_goes_before_those_that_came_later() -> None:
    governor, order = Governor(), []
    first, second = (GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=lambda: None) for _ in range(2))
    first.acquire()
    first.release(RateLimitError("slow", retry_after=0.2, retryable=True))

    def go(way: GovernorThrottle) -> None:
        way.acquire()
        order.append(way)
        way.release(None)

    threads = []
    for count, way in enumerate((second, first), start=1):
        threads.append(threading.Thread(target=go, args=(way,)))
        threads[-1].start()
        until(lambda count=count: len(governor.line("claude-test").waiting) == count)  # type: ignore[misc]
    for thread in threads:
        thread.join(DEADLINE)
    assert order == [first, second]


def test_those_that_were_refused_together_go_again_in_the_order_in_which_they_came() -> None:
    governor, order = Governor(), list[int]()
    ways = [GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=lambda: None) for _ in range(4)]
    for way in ways[:3]:
        way.acquire()
    for index in (1, 0, 2):  # refusals overtake each other
        ways[index].release(RateLimitError("slow", retry_after=0.3, retryable=True))

    def go(index: int) -> None:
        ways[index].acquire()
        order.append(index)
        ways[index].release(None)

    threads = []
    for count, index in enumerate((3, 2, 0, 1), start=1):
        threads.append(threading.Thread(target=go, args=(index,)))
        threads[-1].start()
        until(lambda count=count: len(governor.line("claude-test").waiting) == count)  # type: ignore[misc]
    for thread in threads:
        thread.join(DEADLINE)
    assert order == [0, 1, 2, 3]


def test_the_others_are_stopped_until_those_that_were_refused_are_back_in_line() -> None:
    governor = Governor()
    way = GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=lambda: None)
    way.acquire()
    begun = time.monotonic()
    way.release(RateLimitError("slow", retry_after=60.0, retryable=True))
    assert governor.line("claude-test").pacer.wait(1, begun) >= 60.05


def test_the_first_of_those_that_were_refused_is_the_first_to_arrive_again(connect: Callable[..., Client]) -> None:
    asked, refuse, order = threading.Semaphore(0), threading.Event(), list[str]()

    def script(peer: Peer) -> None:
        while peer.read_request():
            if refuse.is_set():
                order.append(json.loads(peer.body)["messages"][0]["content"])
                send_answer(peer, "at last")
            else:
                asked.release()
                wait(refuse)
                peer.send(refusal("0.5"))

    with Server(script) as server:
        client, inboxes = connect(server, max_retries=1), [Inbox() for _ in range(5)]
        for number, inbox in enumerate(inboxes):
            client.chat(model="m", messages=[{"role": "user", "content": str(number)}], stream=inbox)
            acquire(asked)
        refuse.set()
        assert all(isinstance(inbox.until_end()[-1], ChatDone) for inbox in inboxes)
    assert sorted(order) == ["0", "1", "2", "3", "4"]
    assert order[0] == "0"  # alone; with its answer, several may go at once


class Broken:
    """A pacer with a bug."""

    def __init__(self, *sound: str) -> None:
        self._sound, self._pacer = sound, Pacer()

    def __getattr__(self, name: str) -> Any:
        if name in self._sound:
            return getattr(self._pacer, name)
        raise ArithmeticError("a bug")


@pytest.mark.parametrize("sound", [(), ("wait",), ("wait", "send"), ("wait", "send", "answered")])
def test_a_governor_that_fails_fails_no_chat_and_says_so_once(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture, sound: tuple[str, ...]
) -> None:
    with Emulator() as emulator:
        client = connect(emulator.url)
        assert client.governor is not None
        for _ in range(3):
            pacer: Any = Broken(*sound)
            client.governor.line("claude-test").pacer = pacer
            chat = client.chat(**ASK, stream=Inbox())
            assert chat.result(DEADLINE)["stop_reason"] == "end_turn"
            assert chat.actor_stopped.wait(DEADLINE)
        client.chat(**ASK)
        assert client.governor.limits()["claude-test"]["requests"].per_minute == 4000  # it learned anew
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.message == "the governor failed; chats go on without it"
    assert record.exc_info
    assert isinstance(record.exc_info[1], ArithmeticError)


class NoLines(Governor):
    def line(self, model: str) -> Any:
        raise ArithmeticError(model)


def test_a_governor_that_fails_at_once_fails_no_chat(
    connect: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    with Emulator() as emulator:
        client = connect(emulator.url, governor=NoLines())
        for _ in range(2):
            assert client.chat(**ASK)["stop_reason"] == "end_turn"
    assert [each.message for each in caplog.records] == ["the governor failed; chats go on without it"]


def test_when_a_governor_fails_those_who_wait_go(caplog: pytest.LogCaptureFixture) -> None:
    governor = Governor()
    line = governor.line("claude-test")
    breaks = False

    def usage() -> Any:
        return 1 / 0 if breaks else None

    ways = [GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=usage) for _ in range(3)]
    ways[0].acquire()
    ways[0].release(RateLimitError("slow", retry_after=60, retryable=True))
    threads = [threading.Thread(target=way.acquire) for way in ways]
    for thread in threads:
        thread.start()
    until(lambda: len(line.waiting) == 3)
    breaks = True
    ways[0].release(None)
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert len(caplog.records) == 1


def test_what_was_sent_before_a_governor_failed_does_not_count_afterwards() -> None:
    governor = Governor()
    way = GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=lambda: {"output_tokens": 10**6})
    way.acquire()
    governor.line("claude-test").start_anew()
    way.on_response({LIMIT: "10", LEFT: "4"})
    way.release(None)
    assert governor.limits() == {"claude-test": {}}


def test_one_that_waits_asks_again_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anthropix_actors.limits.governor._LOOK_AGAIN", 0.05)
    governor = Governor()
    ways = [GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=lambda: None) for _ in range(2)]
    ways[0].acquire()
    ways[0].release(RateLimitError("slow", retry_after=60, retryable=True))
    waiting = threading.Thread(target=ways[1].acquire)
    waiting.start()
    until(lambda: governor.line("claude-test").waiting)
    governor.line("claude-test").pacer = Pacer()  # and nobody is told
    waiting.join(DEADLINE)
    assert not waiting.is_alive()


@pytest.mark.parametrize("asked", ["Fri, 31 Dec 9999 23:59:59 GMT", "10000000000", "1e300"])
def test_a_wait_of_centuries_is_no_error_and_can_be_cancelled(connect: Callable[..., Client], asked: str) -> None:
    with Server(after(refusal(asked))) as server:
        client = connect(server, max_retries=1, max_retry_after=float("inf"))
        inbox, other = Inbox(), Inbox()
        chat = client.chat(**ASK, stream=inbox)
        retrying = inbox.until(ChatRetrying)
        assert retrying.delay == LONGEST_WAIT
        waits_too = client.chat(**ASK, stream=other)
        until(lambda: waits(client) == 1)
        for each, told in ((chat, inbox), (waits_too, other)):
            each.cancel()
            assert isinstance(told.until_end()[-1], ChatCancelled)


@pytest.mark.parametrize("asked", ["Fri, 31 Dec 9999 23:59:59 GMT", "10000000000", "-5", "nan", "inf", "soon"])
def test_no_retry_after_poisons_a_governor(connect: Callable[..., Client], asked: str) -> None:
    refused = threading.Event()

    def script(peer: Peer) -> None:
        while peer.read_request():
            if refused.is_set():
                send_answer(peer, "fine")
            else:
                refused.set()
                peer.send(refusal(asked))

    with Server(script) as server:
        client = connect(server)
        with pytest.raises(RateLimitError):
            client.chat(**ASK)
        begun = time.monotonic()
        assert client.chat(**ASK)["stop_reason"] == "end_turn"
        assert time.monotonic() - begun < DEADLINE


def test_however_many_models_there_are_so_many_are_remembered() -> None:
    governor = Governor()
    in_use, used = (
        GovernorThrottle(governor, model(name), CancelScope(), patience=60, usage=lambda: None) for name in "ab"
    )
    for way in (in_use, used):
        way.acquire()
        way.on_response({LIMIT: "10", LEFT: "4"})
    used.release(None)
    del used, way
    for number in range(1000):
        governor.line(str(number))
    known = governor.limits()
    assert set(known) == {"a", *map(str, range(1000 - MOST_MODELS, 1000))}
    assert known["a"]["requests"].per_minute == 10
    assert governor.line("a") is in_use._line


def test_models_that_are_used_again_are_remembered_longest() -> None:
    governor = Governor()
    first = governor.line("first")
    first.pacer.answered(first.pacer.send(0, 0.0), {LIMIT: "10", LEFT: "4"}, 0.0)
    del first
    for number in range(1000):
        governor.line(str(number))
        governor.line("first")
    assert governor.limits()["first"]


def test_a_pass_counts_once_whatever_is_said_of_it_afterwards() -> None:
    governor, scope = Governor(), CancelScope()
    way = GovernorThrottle(governor, ASK, scope, patience=60, usage=lambda: None)
    way.release(None)
    way.on_response({})
    way.acquire()
    way.on_response({LIMIT: "10", LEFT: "4"})
    way.on_response({LIMIT: "10", LEFT: "9"})
    way.release(None)
    way.release(None)
    (limit,) = governor.limits()["claude-test"].values()
    assert limit.per_minute == 10.0
    assert limit.left == pytest.approx(4.0, abs=0.1)
    scope.cancel(CancelledError("late"))
    scope.cancel(CancelledError("later"))


def test_in_a_forked_child_nobody_waits() -> None:
    governor = Governor()
    assert governor.line("m") is governor.line("m")
    with lock_of(governor):
        before = governor.line("m")
        governor.after_fork()
    assert governor.limits() == {}
    assert governor.line("m") is not before


def test_in_a_forked_child_nobody_waits_for_a_lock_of_the_parents() -> None:
    governor, held, let = Governor(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock_of(governor):
            held.set()
            wait(let)

    holding = threading.Thread(target=hold)  # as another thread of the parent does at the fork
    holding.start()
    wait(held)
    governor.after_fork()
    entering = threading.Thread(
        target=GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=lambda: None).acquire
    )
    entering.start()
    entering.join(DEADLINE / 2)
    entered = not entering.is_alive()
    let.set()
    holding.join(DEADLINE)
    assert entered


def test_one_that_waits_goes_at_once_when_an_answer_tells_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scope, "SLICE", 10 * DEADLINE)  # it does not look by itself
    governor = Governor()
    scopes = [CancelScope() for _ in range(3)]
    first, second, third = (GovernorThrottle(governor, ASK, scope, patience=60, usage=lambda: None) for scope in scopes)
    first.acquire()
    second.acquire()
    limit, left = (f"anthropic-ratelimit-requests-{what}" for what in ("limit", "remaining"))
    first.on_response({limit: "2", left: "0"})
    waiting = threading.Thread(target=third.acquire)
    waiting.start()
    until_blocked(scopes[2])
    second.on_response({limit: "1000", left: "900"})
    waiting.join(DEADLINE)
    assert not waiting.is_alive()


def test_a_request_on_its_way_takes_what_it_is_likely_to_read() -> None:
    governor = Governor()
    first, second = (GovernorThrottle(governor, ASK, CancelScope(), patience=60, usage=lambda: None) for _ in range(2))
    first.acquire()
    first.on_response({f"anthropic-ratelimit-input-tokens-{what}": "100000" for what in ("limit", "remaining")})
    second.acquire()
    assert 99_900 < governor.limits()["claude-test"]["input-tokens"].left < 100_000


def test_one_that_waits_goes_at_once_when_another_is_over() -> None:
    governor = Governor()
    scopes = [CancelScope() for _ in range(FIRST_REQUESTS + 1)]
    ways = [GovernorThrottle(governor, ASK, scope, patience=60, usage=lambda: None) for scope in scopes]
    for way in ways[:-1]:
        way.acquire()
    waiting = threading.Thread(target=ways[-1].acquire)
    waiting.start()
    until_blocked(scopes[-1])
    ways[0].release(None)
    waiting.join(DEADLINE)
    assert not waiting.is_alive()


def test_one_that_is_woken_and_has_to_wait_on_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def delay(_: Pacer, guess: float, now: float) -> float:  # noqa: ARG001
        looks.append(now)
        if len(looks) == 1:
            way.wake()
        return 0.1 if len(looks) < 5 else 0.0

    way = GovernorThrottle(Governor(), ASK, CancelScope(), patience=60, usage=lambda: None)
    monkeypatch.setattr(Pacer, "wait", delay)
    way.acquire()
    assert looks[-1] - looks[1] >= 0.3  # it was woken for the second one alone


@pytest.mark.parametrize("value", [None, 1, 0, "yes"])
def test_what_is_no_governor_is_refused(value: Any) -> None:
    with pytest.raises(ParameterError, match="governor: expected a Governor, True or False, got"):
        Client("k", governor=value)


def test_deadlines_hold_while_a_chat_waits_for_a_limit(connect: Callable[..., Client]) -> None:
    with Server(after(refusal("60"))) as server:
        client = connect(server)
        with pytest.raises(RateLimitError):
            client.chat(**ASK)
        begun = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"not done within 0.2 s"):
            client.chat(**ASK, timeout=0.2)
        assert time.monotonic() - begun < DEADLINE
