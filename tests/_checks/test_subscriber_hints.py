"""What is said to people who pass something else than a subscriber, and that it works as written."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import queue
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import Agent, ChatDone, Client, ParameterError
from anthropix_actors._checks.subscriber_hints import no_function, no_queue, no_subscriber
from anthropix_actors.subscribers import Handlers, Listener, aio, to_function, to_queue, to_tk

from actors import ASK, TERMINAL, Inbox, Reader
from servers import DEADLINE, Server, answering

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

SUBSCRIBERS = "from anthropix_actors.subscribers"
ANY = f"pass the ref of an actor, to_queue(queue) or to_function(function), {SUBSCRIBERS}"


class Printer(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: Any) -> None:
        pass


class Words(Listener):
    pass


class Shown(Handlers):
    pass


class Raising:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Async:
    async def tell(self, message: Any) -> None:
        pass


class AsyncCall:
    async def __call__(self, message: Any) -> None:
        pass


class PutOnly:
    def put(self, message: Any) -> None:
        pass


async def show(message: Any) -> None:
    pass


def generate() -> Generator[None, Any, None]:
    while True:
        yield


HOW: dict[str, tuple[Any, str]] = {
    "function": (print, f"a function; pass to_function(function), {SUBSCRIBERS}"),
    "method": ([].append, f"a function; pass to_function(function), {SUBSCRIBERS}"),
    "async function": (
        show,
        f"an async def, which nobody would await; in asyncio, use aio(client.chat(..., stream=True)), {SUBSCRIBERS}",
    ),
    "part of one": (partial(show), "an async def, which nobody would await; in asyncio"),
    "async call": (AsyncCall(), "an async def, which nobody would await; in asyncio"),
    "async tell": (Async(), "Async, whose tell is an async def, which nobody would await; in asyncio, use aio"),
    "file": (io.StringIO(), "a file, StringIO; pass to_function(lambda message: print(message, file=file))"),
    "list": ([Inbox()], "a list; pass one subscriber, and the others to chat.subscribe"),
    "handler": (Shown(), "Shown, a handler; pass to_tk(widget, handler), or the like"),
    "adapter": (to_tk, "the function to_tk; pass what it returns: to_tk(widget, handler)"),
    "aio": (aio, "the function aio; pass what it returns: aio(client.chat(..., stream=True))"),
    "tell": (Inbox().tell, "a method tell; pass the object that has it"),
    "put": (queue.Queue().put, f"a method put; pass to_queue(queue), {SUBSCRIBERS}"),
    "generator": (generate(), "a generator; begin it with next(generator), and pass to_function(generator.send)"),
    "generators": (generate, "a generator function, and a call would not run it; begin a generator"),
    "queue": (queue.Queue(), f"a queue, Queue; pass to_queue(queue), {SUBSCRIBERS}"),
    "asyncio": (
        asyncio.Queue(),
        f"a queue of asyncio's; in asyncio, use aio(client.chat(..., stream=True)), {SUBSCRIBERS}",
    ),
    "sorted": (queue.PriorityQueue(), "PriorityQueue, but messages have no order to sort them by; use queue.Queue()"),
    "put only": (PutOnly(), "PutOnly, which has no put_nowait; pass to_function(queue.put)"),
    "actor class": (Printer, "the class Printer; pass an actor of it: Printer.start()"),
    "listener class": (Words, "the class Words; pass an actor of it: Words.start()"),
    "actor": (Words(), "Words, an actor itself; pass its ref: self.actor_ref, or what Words.start() returns"),
    "class": (Inbox, "the class Inbox; pass an object of it: Inbox()"),
    "handler class": (Shown, f"the class Shown; pass to_tk(widget, Shown(...)), or the like, {SUBSCRIBERS}"),
    "no class": (dict, f"the class dict; {ANY}"),
    "raising": (Raising(), "Raising, whose attributes raise RuntimeError"),
    "text": ("yes", f"str; {ANY}"),
    "number": (1, f"int; {ANY}"),
    "nothing": (None, f"NoneType; {ANY}"),
}


@pytest.mark.parametrize("name", HOW)
def test_who_cannot_be_told_is_said_how_it_could(name: str, connect: Callable[..., Client]) -> None:
    given, text = HOW[name]
    with Server(answering("Hello")) as server:
        client: Any = connect(server)
        with pytest.raises(ParameterError) as caught:
            client.chat(**ASK, stream=given)
        assert f"stream: expected True, False or something with a tell method, got {text}" in str(caught.value)
        with pytest.raises(ParameterError, match="subscriber: expected something with a tell method, got "):
            client.batches.follow("msgbatch_1", given)
        with pytest.raises(ParameterError, match="stream: expected True or something with a tell method, got "):
            client.sessions.events("sesn_1", stream=given)
        assert server.connections == 0


@pytest.mark.parametrize("name", HOW)
def test_who_cannot_follow_later_is_said_how_to(name: str, connect: Callable[..., Client]) -> None:
    given, text = HOW[name]
    with Server(answering("Hello")) as server:
        chat = connect(server).chat(**ASK, stream=(inbox := Inbox()))
        with pytest.raises(TypeError) as caught:
            chat.subscribe(given)
        inbox.until_end()
    assert f"subscriber: expected something with a tell method, got {text}" in str(caught.value)


def test_a_queue_of_another_process_is_said_what_can_go_there(connect: Callable[..., Client]) -> None:
    inbox: Any = multiprocessing.Queue()
    assert "Queue of multiprocessing, but messages name their chat, and cannot be pickled" in str(no_subscriber(inbox))
    with pytest.raises(ParameterError, match=r"queue: expected a queue, .* got Queue of multiprocessing"):
        to_queue(inbox)
    with Server(answering("Hello")) as server:
        told = to_function(lambda message: inbox.put(getattr(message, "data", None)))
        connect(server).chat(**ASK, stream=told)
        found = list(iter(partial(inbox.get, timeout=DEADLINE), None))
    assert (found[0]["type"], found[-1]["type"]) == ("message_start", "message_stop")
    inbox.close()
    inbox.join_thread()


def test_the_refs_of_chats_and_conversations_are_told_nothing(connect: Callable[..., Client]) -> None:
    with Server(answering("Hello")) as server:
        client = connect(server)
        chat = client.chat(**ASK, stream=(inbox := Inbox()))
        with pytest.raises(ParameterError, match="got ChatRef, which is told nothing; its subscribers are"):
            client.chat(**ASK, stream=chat)
        with pytest.raises(ParameterError, match="got ConversationRef, which is told nothing; its subscribers are"):
            client.chat(**ASK, stream=client.converse(Agent(model="claude-test")))
        inbox.until_end()


def test_a_proxy_is_said_to_have_a_ref(connect: Callable[..., Client]) -> None:
    ref = Printer.start()
    proxy: Any = ref.proxy()
    try:
        with Server(answering("Hello")) as server:
            client: Any = connect(server)
            with pytest.raises(ParameterError, match=r"got ActorProxy; pass the ref behind it: proxy\.actor_ref"):
                client.chat(**ASK, stream=proxy)
            assert client.chat(**ASK, stream=proxy.actor_ref).result(DEADLINE)
    finally:
        ref.stop()


def test_who_can_be_told_is_taken() -> None:
    ref = Reader.start(Inbox())
    assert no_subscriber(ref) is no_subscriber(Inbox()) is None
    ref.stop()


class Lazy:
    """Has its attributes only when they are asked for, as proxies of other libraries do."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inbox, name)


def test_a_tell_that_is_found_when_it_is_asked_for_will_do(connect: Callable[..., Client]) -> None:
    inbox, late = Inbox(), Inbox()
    lazy: Any = Lazy(inbox)
    with Server(answering("Hello")) as server:
        chat = connect(server).chat(**ASK, stream=lazy)
        chat.subscribe(Lazy(late))
        assert isinstance(inbox.until_end()[-1], ChatDone)
        assert isinstance(late.until_end()[-1], ChatDone)


class Self(Listener):
    """Subscribes itself."""

    def follow(self, client: Any) -> Any:
        return client.chat(**ASK, stream=self.actor_ref)


def test_what_the_hints_recommend_works(connect: Callable[..., Client]) -> None:
    told: queue.Queue[Any] = queue.Queue()
    sent: list[Any] = []

    def generate() -> Generator[None, Any, None]:
        while True:
            sent.append((yield))

    generator = generate()
    next(generator)
    actor, mine = Words.start(), Self.start()
    with Server(answering("Hello")) as server:
        client: Any = connect(server)
        for subscriber in (
            to_queue(told),
            to_function(told.put),
            to_function(generator.send),
            actor,
            actor.proxy().actor_ref,
            Inbox(),
        ):
            chat = client.chat(**ASK, stream=subscriber)
            assert chat.result(DEADLINE)
            chat.subscribe(subscriber)
            chat.unsubscribe(subscriber)
        assert mine.proxy().follow(client).get(timeout=DEADLINE).result(DEADLINE)
    assert [message for message in sent if isinstance(message, TERMINAL)]
    actor.stop()
    mine.stop()


# What is no queue, and no function


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (queue.Queue, "the class Queue; pass an object of it: Queue()"),
        (asyncio.Queue(), "a queue of asyncio's; in asyncio, use aio"),
        (queue.PriorityQueue(), "PriorityQueue, but messages have no order"),
        (PutOnly(), "PutOnly, which has no put_nowait"),
        ([], "list"),
        (Raising(), "Raising, whose attributes raise RuntimeError"),
    ],
    ids=["class", "asyncio", "sorted", "put only", "list", "raising"],
)
def test_what_is_no_queue_is_said_what_to_pass_instead(given: Any, text: str) -> None:
    assert (no_queue(given) or "").startswith(text)
    with pytest.raises(ParameterError) as caught:
        to_queue(given)
    assert f"queue: expected a queue, such as queue.Queue(), got {text}" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Inbox(), "Inbox, which is a subscriber already; pass it as it is"),
        (show, "an async def, which nobody would await; in asyncio, use aio"),
        (generate, "a generator function, and a call would not run it"),
        ("print", "str"),
        (Raising(), "Raising, whose attributes raise RuntimeError"),
    ],
    ids=["subscriber", "async", "generators", "text", "raising"],
)
def test_what_is_no_function_is_said_what_to_pass_instead(given: Any, text: str) -> None:
    assert (no_function(given) or "").startswith(text)
    with pytest.raises(ParameterError) as caught:
        to_function(given)
    assert f"function: expected a function that takes a message, got {text}" in str(caught.value)
