"""The governor over sockets: who waits for whom, and for how long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    APIStatusError,
    APITimeoutError,
    CancelledError,
    ChatDone,
    ChatFailed,
    ChatRetrying,
    Client,
    Governor,
    ParameterError,
    RateLimit,
    RateLimitError,
)
from anthropix_actors._pace import FIRST_REQUESTS
from anthropix_actors._scope import CancelScope
from anthropix_actors.emulator import Emulator, ErrorEvent, Limits, Status
from anthropix_actors.governor import FIRST_PAUSE, Pass

from actors import ASK, Inbox
from servers import (
    DEADLINE,
    Peer,
    Server,
    acquire,
    after,
    answer,
    chunks,
    error_body,
    head,
    json_answer,
    send_answer,
    until,
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


class Gate:
    """A script that answers nothing until the test lets it, with headers of its choice."""

    def __init__(self, **headers: str) -> None:
        self.headers = headers
        self.asked = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            self.asked.release()
            acquire(self.let_go)
            peer.send(head(headers=self.headers), chunks(answer("hello")), b"0\r\n\r\n")


def test_the_limits_that_the_api_tells_of_can_be_read(connect: Callable[..., Client]) -> None:
    with Emulator() as emulator:
        client = connect(emulator.url)
        assert client.governor is not None
        assert client.governor.limits() == {}
        client.chat(**ASK)
        limits = client.governor.limits()["claude-test"]
    assert set(limits) == {"requests", "tokens", "input-tokens", "output-tokens"}
    assert limits["requests"] == RateLimit(per_minute=4000.0, left=4000.0)
    assert 790_000 < limits["output-tokens"].left < 800_000


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

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(json_answer("429 No", body, {"retry-after": "30", "x-should-retry": "true"}))
        peer.read_request()
        send_answer(peer, "paid")

    with Server(script) as server:
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
    assert all(isinstance(end, ChatDone) for end in ends)
    assert time.monotonic() - begun > 0.8
    assert len(emulator.requests) == 60


def test_without_a_governor_everybody_runs_into_it(connect: Callable[..., Client]) -> None:
    with Emulator(limits=Limits(requests=600, seconds=1)) as emulator:
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
    gate = Gate()
    with Server(gate) as server:
        client = connect(server)
        inboxes = [Inbox() for _ in range(FIRST_REQUESTS + 10)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        for _ in range(FIRST_REQUESTS):
            acquire(gate.asked)
        until(lambda: waits(client) == 10)
        assert not gate.asked.acquire(blocking=False)
        gate.let_go.release()
        for _ in range(2):
            acquire(gate.asked)
        gate.let_go.release(len(inboxes))
        assert all(isinstance(inbox.until_end()[-1], ChatDone) for inbox in inboxes)


def test_a_known_limit_ends_the_caution_of_the_first(connect: Callable[..., Client]) -> None:
    gate = Gate(**{LIMIT: "4000", LEFT: "4000"})
    with Server(gate) as server:
        client = connect(server)
        gate.let_go.release()
        client.chat(**ASK)
        acquire(gate.asked)
        inboxes = [Inbox() for _ in range(FIRST_REQUESTS + 10)]
        for inbox in inboxes:
            client.chat(**ASK, stream=inbox)
        for _ in inboxes:
            acquire(gate.asked)
        gate.let_go.release(len(inboxes))
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
    first, second = (Pass(governor, ASK, CancelScope(), patience=60, usage=lambda: None) for _ in range(2))
    first.enter()
    first.left(RateLimitError("slow", retry_after=0.2, retryable=True))

    def go(way: Pass) -> None:
        way.enter()
        order.append(way)
        way.left(None)

    threads = []
    for count, way in enumerate((second, first), start=1):
        threads.append(threading.Thread(target=go, args=(way,)))
        threads[-1].start()
        until(lambda count=count: len(governor.line("claude-test").waiting) == count)  # type: ignore[misc]
    for thread in threads:
        thread.join(DEADLINE)
    assert order == [first, second]


def test_a_pass_counts_once_whatever_is_said_of_it_afterwards() -> None:
    governor, scope = Governor(), CancelScope()
    way = Pass(governor, ASK, scope, patience=60, usage=lambda: None)
    way.left(None)
    way.answered({})
    way.enter()
    way.answered({LIMIT: "10", LEFT: "4"})
    way.answered({LIMIT: "10", LEFT: "9"})
    way.left(None)
    way.left(None)
    (limit,) = governor.limits()["claude-test"].values()
    assert limit.per_minute == 10.0
    assert limit.left == pytest.approx(4.0, abs=0.1)
    scope.cancel(CancelledError("late"))
    scope.cancel(CancelledError("later"))


def test_in_a_forked_child_nobody_waits() -> None:
    governor = Governor()
    assert governor.line("m") is governor.line("m")
    with governor._lock:
        before = governor.line("m")
        governor.forget()
    assert governor.limits() == {}
    assert governor.line("m") is not before


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
