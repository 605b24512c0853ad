"""What the API refuses does not stay in a history: nothing is said in vain, and the next `say` works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors import Agent, Client, ParameterError
from anthropix_actors.conversation.record import fold
from anthropix_actors.emulator import Emulator, Reply, Status, Thinking, ToolCall
from anthropix_actors.errors import BadRequestError, InternalServerError
from anthropix_actors.messages import ToolDone, TurnDone, TurnFailed
from anthropix_actors.stores import MemoryStore
from anthropix_actors.tools import tool

from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors import ConversationRef

    from actors import Inbox

MODEL = "claude-sonnet-5"
PNG = "iVBORw0KGgoAAAAA"
FOREVER: Any = {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral", "ttl": "2h"}}
"""A block that only the API knows to be wrong."""


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    with Client("key", base_url=emulator.url, max_retries=0) as client:
        yield client
    pykka.ActorRegistry.stop_all(timeout=DEADLINE)


def encoded(data: str, media_type: str = "image/png", kind: str = "image") -> dict[str, Any]:
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}


def marked(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words, "cache_control": {"type": "ephemeral"}}


def hears(emulator: Emulator, talk: ConversationRef) -> None:
    """Assert that the next thing that is said is accepted."""
    emulator.queue(Reply(["Yes."]))
    assert talk.say("Do you hear me?").result(DEADLINE)["stop_reason"] == "end_turn"


PICTURES = [
    (encoded("*no*"), "source.data: expected base64, got what cannot be decoded"),
    (encoded("h\u00e4"), "source.data: expected base64"),
    (encoded(""), "source.data: expected the base64 of image data, got none"),
    (encoded(PNG, "image/jpg"), "source.media_type: expected image/jpeg or .*, got 'image/jpg'"),
    (encoded(PNG, "image/gif"), "source.media_type: expected image/png, which the data are, got 'image/gif'"),
    (encoded(PNG, "image/png", "document"), "source.media_type: expected application/pdf, got 'image/png'"),
]
NEW = {"type": "brand_new", "content": ["any", encoded("*no*")]}
INNER = {"type": "document", "source": {"type": "content", "content": [encoded("*no*")]}}


@pytest.mark.parametrize(
    ("block", "why"),
    [*PICTURES, (NEW, r"content\[1\].source.data"), (INNER, r"source.content\[0\].source.data: expected base64")],
)
def test_a_picture_that_the_api_refuses_is_not_said(emulator: Emulator, client: Client, block: Any, why: str) -> None:
    talk = client.converse(Agent(model=MODEL))
    with pytest.raises(ParameterError, match=rf"content\[1\].{why}"):
        talk.say([{"type": "text", "text": "Look"}, block])
    assert talk.history() == []
    hears(emulator, talk)
    talk.say([encoded(PNG)]).result(DEADLINE)


UNSENT: list[tuple[Any, str]] = [
    (encoded("*no*"), "expected base64, got what cannot be decoded"),
    ([{"type": "text", "text": "8", "score": 0.5}], "result[0].score: the API takes no such key here"),
    ({"type": "image", "source": {"type": "url", "url": "https://a.b/c.png", "alt": "c"}}, "source.alt: the API takes"),
    (
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a", "b": 1}]}},
        "result[0].source.content[0].b: the API takes no such key here",
    ),
]


@pytest.mark.parametrize(("value", "why"), UNSENT)
def test_a_result_that_the_api_refuses_is_an_error_that_says_why(
    emulator: Emulator, client: Client, inbox: Inbox, value: Any, why: str
) -> None:
    def look() -> Any:
        """Look."""
        return value

    emulator.queue(Reply([ToolCall("look", {})]), Reply(["I see."]))
    talk = client.converse(Agent(model=MODEL, tools=[look]), stream=inbox)
    talk.say("Look")
    inbox.until_end((TurnDone,))
    [done] = [message for message in inbox.messages if isinstance(message, ToolDone)]
    assert done.is_error
    assert why in str(done.result)
    hears(emulator, talk)


def test_a_history_that_the_api_refuses_is_not_begun_with(client: Client) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    ends_in_thinking = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [thought, FOREVER, thought]},
    ]
    for history, why in [
        (ends_in_thinking, r"history\[1\].content: expected an answer that does not end with thinking"),
        ([{"role": "user", "content": " "}], r"history\[0\].content\[0\].text: expected a text that is not blank"),
        ([{"role": "user", "content": [encoded("?")]}], r"history\[0\].content\[0\].source.data: expected base64"),
        ("[" * 100_000, "history: expected JSON as of"),
    ]:
        with pytest.raises(ParameterError, match=why):
            client.converse(Agent(model=MODEL), history=history)  # type: ignore[arg-type]


def test_an_answer_of_thoughts_and_blank_texts_is_not_sent_back(emulator: Emulator, client: Client) -> None:
    talk = client.converse(Agent(model=MODEL, params={"thinking": {"type": "adaptive"}}))
    for parts in ([Thinking("Hm.")], [Thinking("Hm."), "\n"], ["\n"], [Thinking("Hm."), "So.", Thinking("Hm.")]):
        emulator.queue(Reply(parts, stop_reason="end_turn"))  # type: ignore[arg-type]
        talk.say("Well?").result(DEADLINE)
    assert [len(message["content"]) for message in talk.history() if message["role"] == "assistant"] == [2]
    hears(emulator, talk)


def test_breakpoints_of_the_cache_that_are_too_many_are_not_said(emulator: Emulator, client: Client) -> None:
    def look() -> Any:
        """Look."""
        return [marked("rain"), {"type": "document", "source": {"type": "content", "content": [marked("more")]}}]

    cached = tool(look, cache_control={"type": "ephemeral"})
    agent = Agent(model=MODEL, system=[marked("Be brief.")], tools=[cached])
    talk = client.converse(agent)  # of four, it has three of its own
    emulator.queue(Reply([ToolCall("look", {})]), Reply(["I see."]), Reply(["Yes."]))
    talk.say("Look").result(DEADLINE)
    assert "cache_control" not in talk.history_json()  # two of a tool's would have been too many
    talk.say([marked("Look")]).result(DEADLINE)
    with pytest.raises(ParameterError, match="content: expected at most 0 more cache_control"):
        talk.say([marked("Look")])
    emulator.queue(Reply([ToolCall("look", {})]), Reply(["I see."]))
    talk.say("Look").result(DEADLINE)
    assert talk.history_json().count("cache_control") == 1
    hears(emulator, talk)
    plain = client.converse(Agent(model=MODEL, tools=[look], cache=False))
    emulator.queue(Reply([ToolCall("look", {})]), Reply(["I see."]))
    plain.say("Look").result(DEADLINE)
    assert plain.history_json().count("cache_control") == 2


def test_what_the_api_refuses_is_handed_back(emulator: Emulator, client: Client, inbox: Inbox) -> None:
    store = MemoryStore()
    talk = client.converse(Agent(model=MODEL), stream=inbox, store=store, id="a")
    hears(emulator, talk)
    inbox.until_end((TurnDone,))
    before = talk.history()
    refused = talk.say([FOREVER])
    failed = inbox.until(TurnFailed)
    assert isinstance(failed.error, BadRequestError)
    assert failed.undelivered == ([FOREVER],)
    assert talk.history() == before
    until(lambda: "ends" in store.read("a")[-1].data)
    assert [*fold([entry.data for entry in store.read("a")]).history] == before
    fork = talk.fork(at=refused)
    assert fork.history() == before
    fork.stop()
    hears(emulator, talk)


def test_results_that_the_api_refuses_are_replaced_and_what_was_said_with_them_handed_back(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    def look() -> Any:
        """Look."""
        talk.say("In French, please.")
        return [FOREVER]

    store = MemoryStore()
    talk = client.converse(Agent(model=MODEL, tools=[look]), stream=inbox, store=store, id="a")
    emulator.queue(Reply(["Let me see.", ToolCall("look", {})]))
    talk.say("Look")
    failed = inbox.until(TurnFailed)
    assert failed.undelivered == ([{"type": "text", "text": "In French, please."}],)
    said, answer, result = talk.history()
    assert (said["content"][0]["text"], answer["content"][0]["text"]) == ("Look", "Let me see.")
    [block] = result["content"]
    assert "the API refused the request with its result: " in block["content"]
    assert "5m" in block["content"]
    assert block["is_error"]
    until(lambda: "ends" in store.read("a")[-1].data)
    assert [*fold([entry.data for entry in store.read("a")]).history] == talk.history()
    hears(emulator, talk)


def test_what_no_request_brought_to_the_api_stays_until_it_is_refused(
    emulator: Emulator, client: Client, inbox: Inbox
) -> None:
    talk = client.converse(Agent(model=MODEL), stream=inbox)
    emulator.queue(Status(500))
    with pytest.raises(InternalServerError):
        talk.say("First").result(DEADLINE)
    assert inbox.until(TurnFailed).undelivered == ()
    assert "First" in talk.history_json()
    hears(emulator, talk)
    assert json.dumps(emulator.requests[-1].body["messages"]).count("First") == 1
    emulator.queue(Status(500))
    talk.say("Third")
    inbox.until(TurnFailed)
    talk.say([FOREVER])
    failed = inbox.until(TurnFailed)
    assert failed.undelivered == ([{"type": "text", "text": "Third"}], [FOREVER])  # at which it is, nobody knows
    hears(emulator, talk)
