"""Hubs, workers and conversations over Redis of several servers, and one of these is killed in mid-answer."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import (
    Agent,
    CancelledError,
    ChatDone,
    ChatEvent,
    ChatFailed,
    Client,
    Conversations,
    Hub,
    Worker,
    text_of,
)
from anthropix_actors.emulator import Emulator, Pace, Reply, ToolCall
from anthropix_actors.messages import TurnDone
from anthropix_actors.stores import Lost, QueueState
from anthropix_actors.stores.redis import RedisStore
from anthropix_actors.tools import tool

from actors import Inbox
from redis_topologies import FORMING, cluster, watched
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator import Request

    from redis_topologies import Cluster, Replicated, Watched

WHOLE = "Red light passes, blue light goes astray."
WORDS = 30
_numbers = itertools.count()


@pytest.fixture(scope="module")
def pair() -> Iterator[Watched]:
    with watched() as found:
        yield found


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    with cluster() as found:
        yield found


@pytest.fixture(params=["pair", "nodes"])
def servers(request: pytest.FixtureRequest) -> Replicated:
    found: Replicated = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def stores() -> Iterator[Callable[[Replicated], RedisStore]]:
    """Make stores that share what is in them."""
    made: list[RedisStore] = []
    prefix = f"test-{next(_numbers)}"

    def make(servers: Replicated) -> RedisStore:
        made.append(RedisStore.from_url(servers.url, prefix=prefix, patience=FORMING))
        return made[-1]

    yield make
    for store in made:
        store.close()


def asks(question: str) -> dict[str, Any]:
    return {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": question}]}


@tool
def weather(city: str) -> str:
    """Say how the weather is."""
    return f"rain in {city}"


def test_all_of_it_works(
    servers: Replicated,
    stores: Callable[[Replicated], RedisStore],
    connect: Callable[..., Client],
    anthropix_emulator: Emulator,
) -> None:
    client = connect(anthropix_emulator.url)
    anthropix_emulator.queue(WHOLE)
    with Hub(stores(servers)) as hub:
        name = hub.submit(asks("Why?"))
        stopped = hub.submit(asks("Why not?"))
        assert hub.cancel(stopped, "enough")
        with Worker(client, stores(servers)):
            assert "".join(hub.follow(name).text) == WHOLE
            assert text_of(hub.result(name, DEADLINE)) == WHOLE
            with pytest.raises(CancelledError, match="enough"):
                hub.result(stopped, DEADLINE)
            until(lambda: hub.store.queue_state("jobs") == QueueState(0, 0, 0, 0.0))
        assert {name, stopped} <= {*hub.store.names("chat-")}
    anthropix_emulator.queue(Reply([ToolCall("weather", {"city": "Rome"})]), "It rains.")
    inbox = Inbox()
    talk = client.converse(Agent(model="m", tools=[weather]), store=stores(servers), id="talk", stream=inbox)
    assert Conversations(stores(servers)).say("talk", "How is the weather?", key="1")
    inbox.until(TurnDone)
    talk.stop(timeout=DEADLINE)
    assert "rain in Rome" in str(Conversations(stores(servers)).history("talk"))
    again = client.converse(Agent(model="m", tools=[weather]), store=stores(servers), id="talk")
    assert "It rains." in str(again.history())
    again.stop(timeout=DEADLINE)


def words(job: str) -> str:
    return " ".join(f"{job}w{number}" for number in range(WORDS))


def answer(request: Request) -> Pace:
    return Pace(words(request.body["messages"][0]["content"]), tokens_per_second=WORDS / 2)


def test_a_server_that_is_killed_in_mid_answer_costs_nobody_a_word(
    pair: Watched, stores: Callable[[Replicated], RedisStore], connect: Callable[..., Client]
) -> None:
    """But what the replica did not have yet, of which all are told."""
    with Emulator(handler=answer) as emulator, Hub(stores(pair)) as hub:
        jobs = [f"job-{number}" for number in range(6)]
        for job in jobs:
            hub.submit(asks(job), id=job)
        with Worker(connect(emulator.url), stores(pair), lease=1.0) as worker:
            told: dict[str, list[Any]] = {job: [] for job in jobs}
            for job in jobs:
                hub.follow(job, to=_Told(told[job]))
            until(lambda: all(len(each) > 3 for each in told.values()))
            pair.fail_over(pair.primary)
            until(lambda: all(isinstance(each[-1], ChatDone | ChatFailed) for each in told.values()))
            for job in jobs:
                *messages, end = told[job]
                read = "".join(map(text_in, messages))
                if isinstance(end, ChatDone):
                    assert read == text_of(end.message) == words(job)
                else:
                    assert isinstance(end.error, Lost)
                    assert words(job).startswith(read)
            assert sum(isinstance(each[-1], ChatDone) for each in told.values()) > len(jobs) / 2
            until(lambda: not worker.metrics().running)
        until(lambda: hub.store.queue_state("jobs") == QueueState(0, 0, 0, 0.0))


def text_in(message: Any) -> str:
    data: Any = message.data if isinstance(message, ChatEvent) else {}
    return str(data.get("delta", {}).get("text", ""))


class _Told:
    def __init__(self, messages: list[Any]) -> None:
        self._messages = messages

    def tell(self, message: Any, /) -> None:
        self._messages.append(message)
