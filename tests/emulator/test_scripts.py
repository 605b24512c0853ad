"""Scripts: a model for tests, that says what it answers, and what that depends on."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from anthropix_actors import APIError, Client, InternalServerError, Timeout, TruncatedError, text_of
from anthropix_actors.emulator import (
    Ask,
    AskToUse,
    Compaction,
    Drop,
    Emulator,
    ErrorEvent,
    Pace,
    PauseTurn,
    Raw,
    Refusal,
    Reply,
    Result,
    Script,
    ScriptError,
    Stall,
    Status,
    Thinking,
    ToolCall,
    calls,
    every_tool,
    failures,
    lines,
    recording,
    scripted,
)

from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator import Answer
    from anthropix_actors.emulator.scripts.script import Lines

HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01", "anthropic-beta": "compact-2026-01-12"}
SEND_MAIL: dict[str, Any] = {
    "name": "send_mail",
    "input_schema": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
}
ADD: dict[str, Any] = {"name": "add", "input_schema": {"type": "object", "properties": {}}}
SEARCH: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
TOOLS = [SEND_MAIL, ADD]
ANY_TEXT = {"type": "text", "text": "."}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def broken() -> Iterator[Emulator]:
    """An emulator whose script may fail: its end raises nothing."""
    running = Emulator().start()
    yield running
    running.stop()


@pytest.fixture
def client(emulator: Emulator, connect: Callable[..., Client]) -> Client:
    return connect(emulator.url, max_retries=2)


class Talk:
    """A program that talks to a model, without a client of ours: it sends what it is told to."""

    def __init__(self, emulator: Emulator, **asked: Any) -> None:
        self.emulator = emulator
        self.asked: dict[str, Any] = {"model": "m", "max_tokens": 500, "tools": TOOLS, **asked}
        self.messages: list[Any] = []

    def fork(self) -> Talk:
        other = Talk(self.emulator, **self.asked)
        other.messages = list(self.messages)
        return other

    def send(self, **more: Any) -> requests.Response:
        body = {**self.asked, **more, "messages": self.messages}
        return requests.post(f"{self.emulator.url}/v1/messages", json=body, headers=HEADERS, timeout=DEADLINE)

    def ask(self, **more: Any) -> list[Any]:
        """Send, and take the answer into the conversation; return its content."""
        response = self.send(**more)
        assert response.status_code == 200, response.text
        content: list[Any] = response.json()["content"]
        self.messages.append({"role": "assistant", "content": content})
        return content

    def say(self, text: str, **more: Any) -> list[Any]:
        self.messages.append({"role": "user", "content": text})
        return self.ask(**more)

    def answer(self, *results: Any, text: str = "", **more: Any) -> list[Any]:
        """Answer the calls of the last answer, in order; then ask again. A `ValueError` is an error."""
        last = [block for block in self.messages[-1]["content"] if block["type"] == "tool_use"]
        assert len(last) == len(results)
        blocks: list[Any] = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": str(result)}
            | ({"is_error": True} if isinstance(result, ValueError) else {})
            for call, result in zip(last, results, strict=True)
        ]
        self.messages.append(
            {"role": "user", "content": [*blocks, *([{"type": "text", "text": text}] if text else [])]}
        )
        return self.ask(**more)


def texts(content: list[Any]) -> list[str]:
    return [block["text"] for block in content if block["type"] == "text"]


def called(content: list[Any]) -> list[Any]:
    return [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"]


@scripted
def clerk(ask: Ask) -> Lines:
    ask = yield calls("I write.", send_mail={"to": ask.text})
    while ask.results and ask.results[0].is_error:
        ask = yield calls(send_mail={"to": f"{ask.results[0].text}, again"})
    ask = yield "Sent."
    while True:
        ask = yield f"{ask.number}: {ask.text}"


# What a script says and gets


def test_what_a_script_answers_depends_on_what_the_tools_did(emulator: Emulator) -> None:
    performance = emulator.answer_with(clerk)
    talk = Talk(emulator)
    first = talk.say("ada")
    assert (texts(first), called(first)) == (["I write."], [("send_mail", {"to": "ada"})])
    assert called(talk.answer(ValueError("no"))) == [("send_mail", {"to": "no, again"})]
    assert texts(talk.answer("done")) == ["Sent."]
    assert texts(talk.say("And now?")) == ["4: And now?"]
    (conversation,) = performance.conversations
    assert conversation.script == "clerk"
    assert [ask.number for ask in conversation.asks] == [1, 2, 3, 4]
    assert len(conversation.answers) == 4
    assert conversation.asks[1].results[0] == Result(first[1]["id"], "send_mail", "no", is_error=True)


def test_an_ask_says_what_the_request_brought(emulator: Emulator) -> None:
    asks: list[Ask] = []

    @scripted
    def script(ask: Ask) -> Lines:
        asks.append(ask)
        asks.append((yield calls(("add", {"a": 1}), ("add", {"a": 2}), send_mail={"to": "ada"})))
        yield "Good."

    emulator.answer_with(script)
    talk = Talk(emulator, system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}])
    talk.say("Add, and write.")
    ids = [block["id"] for block in talk.messages[-1]["content"]]
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": ids[2]},
        {"type": "tool_result", "tool_use_id": ids[0], "content": [{"type": "text", "text": "one"}]},
        {"type": "tool_result", "tool_use_id": ids[1], "content": "two"},
        {"type": "text", "text": "In French, please."},
    ]
    talk.messages.append({"role": "user", "content": results})
    talk.ask()
    first, second = asks
    assert (first.number, first.text, first.results, first.repeated) == (1, "Add, and write.", (), False)
    assert (first.model, first.system, first.tools) == ("m", "Be brief.\nBe kind.", ("send_mail", "add"))
    assert [(each.name, each.text) for each in second.results] == [("add", "one"), ("add", "two"), ("send_mail", "")]
    assert (second.number, second.text) == (2, "In French, please.")
    assert second.result("send_mail") is second.results[2]
    assert second.result("add").text == "one"
    assert len(second.messages) == 3
    with pytest.raises(KeyError, match=r"no result of 'get_weather' in this request; there are \['add', 'add', "):
        second.result("get_weather")


def test_calls_are_written_as_they_read() -> None:
    reply = calls("Well.", Thinking("Hm."), ("a-b", {"c": 1}), ANY_TEXT, ToolCall("d", cut=3))
    assert reply.content == ["Well.", Thinking("Hm."), ToolCall("a-b", {"c": 1}), ANY_TEXT, ToolCall("d", cut=3)]
    with pytest.raises(ValueError, match="no call"):
        calls("A text alone.")
    wrong: tuple[Any, ...] = (1, ("a", 1), {"no": "type"}, ("a", {}, 1))
    for part in wrong:
        with pytest.raises(TypeError, match="expected a text, thoughts, a ToolCall, or a pair"):
            calls(part)


def test_a_conversation_whose_answers_are_known_needs_no_function(emulator: Emulator) -> None:
    emulator.answer_with(lines(calls(add={}), "Three."))
    for question in ("1 + 2?", "2 + 1?"):
        talk = Talk(emulator)
        assert called(talk.say(question)) == [("add", {})]
        assert texts(talk.answer(3)) == ["Three."]


def test_each_tool_is_called_once_with_an_example_that_fits(emulator: Emulator) -> None:
    emulator.answer_with(every_tool())
    talk = Talk(emulator, tools=[*TOOLS, SEARCH])
    assert called(talk.say("Try.")) == [("send_mail", {"to": "to"}), ("add", {})]
    assert texts(talk.answer("done", "3"))[0].startswith('The tool said: "3".')
    assert texts(talk.say("Go on."))[0].startswith('You said: "Go on.".')


def test_each_tool_is_called_as_the_tool_choice_says(emulator: Emulator) -> None:
    emulator.answer_with(every_tool())
    one_by_one = Talk(emulator, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert called(one_by_one.say("One by one.")) == [("send_mail", {"to": "to"})]
    assert called(one_by_one.answer("done")) == [("add", {})]
    assert called(one_by_one.answer("3")) == []
    assert called(Talk(emulator, tool_choice={"type": "tool", "name": "add"}).say("Add.")) == [("add", {})]
    assert called(Talk(emulator, tool_choice={"type": "none"}).say("None.")) == []
    assert called(Talk(emulator, tools=[]).say("No tools.")) == []


def test_queued_answers_come_before_the_script(emulator: Emulator) -> None:
    emulator.answer_with(clerk)
    emulator.queue("From the queue.")
    talk = Talk(emulator)
    assert texts(talk.say("ada")) == ["From the queue."]
    assert called(talk.say("bob")) == [("send_mail", {"to": "bob"})]


def test_a_batch_is_answered_by_scripts_too(emulator: Emulator, client: Client) -> None:
    emulator.answer_with(lines("From the script."))
    question: list[Any] = [{"role": "user", "content": "Hi"}]
    batch = client.batches.create([{"custom_id": "a", "params": {"model": "m", "messages": question}}])
    client.batches.retrieve(batch)
    result: Any = next(iter(client.batches.results(batch)))
    assert result["result"]["message"]["content"][0]["text"] == "From the script."


def test_our_client_is_told_what_a_script_says_as_it_streams(emulator: Emulator, client: Client) -> None:
    emulator.answer_with(lines(Pace(calls(Thinking("To whom?"), "I write.", send_mail={"to": "ada"}), 5000)))
    asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Write."}], "tools": TOOLS}
    answer = client.chat(**asked, thinking={"type": "adaptive"})
    assert [block["type"] for block in answer["content"]] == ["thinking", "text", "tool_use"]
    assert answer["stop_reason"] == "tool_use"


# Which conversation a request belongs to


def test_conversations_go_on_side_by_side(emulator: Emulator) -> None:
    performance = emulator.answer_with(clerk)
    talks = [Talk(emulator) for _ in range(5)]
    for number, talk in enumerate(talks):
        assert called(talk.say(str(number))) == [("send_mail", {"to": str(number)})]
    for number, talk in enumerate(talks):
        assert called(talk.answer(ValueError(number))) == [("send_mail", {"to": f"{number}, again"})]
    for talk in reversed(talks):
        assert texts(talk.answer("done")) == ["Sent."]
    assert len(performance.conversations) == 5


def test_conversations_that_begin_alike_go_apart(emulator: Emulator) -> None:
    emulator.answer_with(clerk)
    one, other = Talk(emulator), Talk(emulator)
    first, second = one.say("ada"), other.say("ada")
    assert called(first) == called(second)
    assert called(one.answer(ValueError("one"))) == [("send_mail", {"to": "one, again"})]
    assert texts(other.answer("done")) == ["Sent."]
    assert texts(one.answer("done")) == ["Sent."]
    assert texts(other.say("more")) == ["3: more"]


def test_from_many_threads_each_conversation_is_played_by_itself(emulator: Emulator) -> None:
    emulator.answer_with(clerk)
    ended: list[list[str]] = []

    def go(number: int) -> None:
        talk = Talk(emulator)
        talk.say(str(number % 3))
        for _ in range(number):
            talk.answer(ValueError("no"))
        ended.append(texts(talk.answer("done")))

    threads = [threading.Thread(target=go, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert ended == [["Sent."]] * 6


def test_a_fork_is_played_from_the_beginning(emulator: Emulator) -> None:
    performance = emulator.answer_with(clerk)
    talk = Talk(emulator)
    talk.say("ada")
    fork = talk.fork()
    assert texts(talk.answer("done")) == ["Sent."]
    assert texts(talk.say("more")) == ["3: more"]
    assert called(fork.answer(ValueError("forked"))) == [("send_mail", {"to": "forked, again"})]
    assert texts(talk.say("still more")) == ["4: still more"]
    assert texts(fork.answer("done")) == ["Sent."]
    assert [len(each.asks) for each in performance.conversations] == [4, 3]


def test_the_same_request_again_gets_the_same_answer(emulator: Emulator) -> None:
    performance = emulator.answer_with(clerk)
    talk = Talk(emulator)
    talk.say("ada")
    again = talk.fork()
    again.messages.pop()
    assert called(again.ask()) == [("send_mail", {"to": "ada"})]
    again.messages.pop()
    streamed = again.send(stream=True)
    assert b'"send_mail"' in streamed.content
    assert len(performance.conversations[0].asks) == 1
    assert texts(talk.answer("done")) == ["Sent."]


def test_another_request_with_the_same_messages_is_a_conversation_of_its_own(emulator: Emulator) -> None:
    performance = emulator.answer_with(clerk)
    one, other = Talk(emulator, system="One."), Talk(emulator, system="Another.")
    one.say("ada")
    other.say("ada")
    assert texts(other.answer("done")) == ["Sent."]
    assert called(one.answer(ValueError("no"))) == [("send_mail", {"to": "no, again"})]
    assert [len(each.asks) for each in performance.conversations] == [2, 2]
    assert [each.asks[0].system for each in performance.conversations] == ["Another.", "One."]


def test_texts_and_blocks_of_text_and_breakpoints_of_the_cache_are_the_same_conversation(emulator: Emulator) -> None:
    performance = emulator.answer_with(clerk)
    talk = Talk(emulator)
    talk.say("ada")
    marked = {"type": "text", "text": "ada", "cache_control": {"type": "ephemeral"}}
    talk.messages[0] = {"role": "user", "content": [marked]}
    assert texts(talk.answer("done")) == ["Sent."]
    assert len(performance.conversations) == 1


def test_a_text_that_comes_with_the_repetition_belongs_to_the_same_conversation(emulator: Emulator) -> None:
    @scripted
    def script(ask: Ask) -> Lines:
        ask = yield Status(529)
        yield f"{ask.number} {ask.text} {ask.repeated}"

    performance = emulator.answer_with(script)
    talk = Talk(emulator)
    talk.messages = [{"role": "user", "content": "Hi"}]
    assert talk.send().status_code == 529
    assert texts(talk.say("there")) == ["2 Hi\nthere False"]
    assert len(performance.conversations) == 1


@settings(max_examples=60)
@given(moves=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["say", "fork", "again"]), st.integers(0, 2))))
def test_whatever_conversations_do_each_is_told_what_it_did_itself(moves: list[tuple[int, str, int]]) -> None:
    @scripted
    def memory(ask: Ask) -> Lines:
        heard: list[str] = []
        while True:
            heard.append(ask.text)
            ask = yield ",".join(heard)

    performance = Emulator().answer_with(memory)
    talks: list[list[Any]] = [[] for _ in range(4)]

    def ask(messages: list[Any]) -> str:
        request: Any = type("Request", (), {"body": {"model": "m", "max_tokens": 9999, "messages": messages}})
        return str(cast("Any", performance.answer(request)).content[0])

    for number, move, word in moves:
        talk = talks[number]
        if move == "fork":
            talks[(number + 1) % 4] = list(talk[: 2 * word])
            continue
        if move == "again" and talk:
            talk.pop()
        else:
            talk.append({"role": "user", "content": f"w{word}"})
        said = ask(talk)
        talk.append({"role": "assistant", "content": said})
        assert said == ",".join(message["content"] for message in talk if message["role"] == "user")
    performance.check()


# Several scripts


def test_sub_agents_have_scripts_of_their_own(emulator: Emulator) -> None:
    @scripted(system="You research")
    def researcher(ask: Ask) -> Lines:
        ask = yield calls(add={})
        yield f"Found {ask.results[0].text}."

    @scripted(tool="send_mail")
    def secretary(_: Ask) -> Lines:
        yield calls(send_mail={"to": "ada"})

    @scripted(model="small")
    def small(_: Ask) -> Lines:
        yield "I am small."

    @scripted(when=lambda ask: "joke" in ask.text)
    def comedian(ask: Ask) -> Lines:
        ask = yield "Knock, knock."
        yield f"{ask.text}? Never mind."

    performance = emulator.answer_with(researcher, secretary, small, comedian, lines("Anything else."))
    sub = Talk(emulator, tools=[ADD], system="You research bees.")
    sub.say("Bees")
    comic = Talk(emulator, tools=[])
    assert texts(comic.say("A joke")) == ["Knock, knock."]
    assert called(Talk(emulator).say("Bees")) == [("send_mail", {"to": "ada"})]
    assert texts(Talk(emulator, model="small", tools=[]).say("Bees")) == ["I am small."]
    assert texts(Talk(emulator, tools=[]).say("Bees")) == ["Anything else."]
    assert texts(comic.say("Who is there")) == ["Who is there? Never mind."]
    assert texts(sub.answer("honey")) == ["Found honey."]
    assert repr(performance) == "<Performance of researcher, secretary, small, comedian, lines>"
    assert repr(comedian) == "<Script comedian>"


def test_a_request_that_no_script_takes_is_an_error_of_the_test(broken: Emulator) -> None:
    performance = broken.answer_with(Script(clerk._function, model="large"))
    talk = Talk(broken)
    talk.messages = [{"role": "user", "content": "Hi"}]
    assert "no script takes a request with the text 'Hi', of m" in talk.send().text
    with pytest.raises(ScriptError, match="no script takes"):
        performance.check()


def test_a_condition_that_raises_is_an_error_of_the_test(broken: Emulator) -> None:
    performance = broken.answer_with(Script(clerk._function, when=lambda ask: bool(ask.results[0])))
    talk = Talk(broken)
    talk.messages = [{"role": "user", "content": "Hi"}]
    assert talk.send().status_code == 500
    with pytest.raises(ScriptError, match=r"the script clerk: its `when` raised IndexError") as caught:
        performance.check()
    assert isinstance(caught.value.__cause__, IndexError)


def test_the_latest_scripts_answer(emulator: Emulator) -> None:
    emulator.answer_with(lines("One."))
    emulator.answer_with(lines("Two."))
    assert texts(Talk(emulator).say("Hi")) == ["Two."]


@pytest.mark.parametrize("scripts", [(), (1,), (clerk._function,)])
def test_only_scripts_answer(scripts: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        Emulator().answer_with(*scripts)


def test_a_function_without_a_yield_is_no_script() -> None:
    with pytest.raises(TypeError, match="a script yields its answers, and speak has no yield"):

        @scripted
        def speak(_: Ask) -> Any:
            return "Hello."


# Failures in the middle


def test_after_a_failure_the_script_goes_on_with_the_request_that_is_repeated(
    emulator: Emulator, client: Client
) -> None:
    asks: list[Ask] = []

    @scripted
    def unlucky(ask: Ask) -> Lines:
        for failing in (Status(529, headers={"retry-after-ms": "1"}), Drop("Hello."), "Hello there."):
            ask = yield failing
            asks.append(ask)

    emulator.answer_with(unlucky)
    hello: Any = [{"role": "user", "content": "Hi"}]
    assert text_of(client.chat(model="m", messages=hello)) == "Hello there."
    assert [(ask.number, ask.repeated, ask.text) for ask in asks] == [(2, True, "Hi"), (3, True, "Hi")]


def test_after_a_failure_another_model_may_be_asked(emulator: Emulator) -> None:
    emulator.answer_with(lines(Status(529), "From the other one."))
    talk = Talk(emulator)
    talk.messages = [{"role": "user", "content": "Hi"}]
    assert talk.send().status_code == 529
    assert texts(talk.ask(model="other")) == ["From the other one."]


WHOLE = ("max_tokens", "refusal")


@pytest.mark.parametrize("name", failures())
@pytest.mark.parametrize("answer", ["A text of some words that fails.", calls("I write.", send_mail={"to": "ada"})])
def test_an_answer_fails_in_every_way(
    emulator: Emulator, connect: Callable[..., Client], name: str, answer: Answer
) -> None:
    emulator.answer_with(lines(calls(add={}), failures(cast("Any", answer))[name], "At last."))
    client = connect(emulator.url, max_retries=0, timeout=Timeout(idle=0.3, total=1.0))
    talk: list[Any] = [{"role": "user", "content": "Hi"}]
    asked: dict[str, Any] = {"model": "m", "tools": TOOLS}
    first = client.chat(messages=talk, **asked)
    result = {"type": "tool_result", "tool_use_id": first["content"][0]["id"], "content": "3"}
    talk += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": [result]}]
    if name in WHOLE:
        answered = client.chat(messages=talk, **asked)
        assert answered["stop_reason"] == name
        assert client.chat(messages=talk, **asked)["stop_reason"] == name
    else:
        with pytest.raises(APIError) as caught:
            client.chat(messages=talk, **asked)
        assert isinstance(caught.value, TruncatedError) == (name.startswith("cut"))
        assert text_of(client.chat(messages=talk, **asked)) == "At last."


def test_what_is_cut_by_max_tokens_ends_in_the_middle() -> None:
    for answer, last in (
        ("One two three", "One tw"),
        ("I", "I"),
        (ToolCall("add", {"a": 1}), ToolCall("add", {"a": 1}, cut=3)),
        (Reply([ANY_TEXT]), ANY_TEXT),
    ):
        cut: Any = failures(cast("Any", answer))["max_tokens"]
        assert (cut.content, cut.stop_reason) == ([last], "max_tokens")


@pytest.mark.parametrize("answer", [Raw(b"<html>", status=502), ErrorEvent("Hi."), Stall("Hi."), Pace(Drop("Hi."), 99)])
def test_what_does_not_arrive_is_no_answer(emulator: Emulator, answer: Answer) -> None:
    performance = emulator.answer_with(lines(answer, "Hello."))
    request: Any = type("Request", (), {"body": {"model": "m", "max_tokens": 9, "messages": [{"role": "user"}]}})
    assert [performance.answer(request) for _ in range(3)][1:] == [Reply(["Hello."])] * 2


def test_a_page_of_html_with_status_200_is_an_answer(emulator: Emulator) -> None:
    emulator.answer_with(lines(Raw(b"<html>")))
    talk = Talk(emulator)
    talk.messages = [{"role": "user", "content": "Hi"}]
    assert talk.send().text == talk.send().text == "<html>"


def test_a_released_stall_goes_on(emulator: Emulator) -> None:
    emulator.answer_with(lines(Stall(calls(add={}), after_events=2), "Three."))
    emulator.release()
    talk = Talk(emulator)
    assert called(talk.say("Hi", stream=False)) == [("add", {})]
    assert texts(talk.answer(3)) == ["Three."]


# What the API would send


def test_a_paused_turn_goes_on_with_the_results_of_its_server_tools(emulator: Emulator) -> None:
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    emulator.answer_with(lines(PauseTurn(id="srvtoolu_1"), PauseTurn(id="srvtoolu_2"), "Nothing.", "More."))
    talk = Talk(emulator, tools=[SEARCH])
    talk.say("Search.")
    assert talk.ask()[0] == found
    assert [block["type"] for block in talk.ask()] == ["web_search_tool_result", "text"]
    assert texts(talk.say("And?")) == ["More."]
    emulator.answer_with(lines(PauseTurn(id="srvtoolu_1"), Reply([found, "By the script."])))
    talk = Talk(emulator, tools=[SEARCH])
    talk.say("Search.")
    assert [block["type"] for block in talk.ask()] == ["web_search_tool_result", "text"]


def test_a_paused_turn_may_end_in_a_refusal(emulator: Emulator) -> None:
    emulator.answer_with(lines(PauseTurn(), Refusal(content=["Well, "])))
    talk = Talk(emulator, tools=[SEARCH])
    talk.say("Search.")
    assert [block["type"] for block in talk.ask()] == ["web_search_tool_result", "text"]


def test_after_a_compaction_its_summary_stands_for_the_conversation(emulator: Emulator) -> None:
    performance = emulator.answer_with(lines("One.", Reply([Compaction("They said one.")]), "Two.", "Three."))
    asked: dict[str, Any] = {"context_management": {"edits": [{"type": "compact_20260112"}]}, "tools": []}
    talk = Talk(emulator, **asked)
    talk.say("One?")
    assert talk.say("Two?")[0]["type"] == "compaction"
    assert texts(talk.ask()) == ["Two."]
    short = talk.fork()
    short.messages = [message for message in talk.messages if message["role"] == "assistant"][1:]
    short.messages = [{"role": "assistant", "content": [*short.messages[0]["content"], *short.messages[1]["content"]]}]
    assert texts(short.say("Three?")) == ["Two."]
    assert len(performance.conversations) == 2


def test_max_tokens_cuts_an_answer_as_it_cuts_a_models(emulator: Emulator) -> None:
    emulator.answer_with(lines("One two three four five.", calls(send_mail={"to": "somebody whose name is long"})))
    talk = Talk(emulator)
    assert texts(talk.say("Count.", max_tokens=3)) == ["One two three"]
    talk.messages.append({"role": "user", "content": "Write."})
    cut = talk.send(max_tokens=4).json()
    assert (cut["stop_reason"], cut["content"][0]["input"]) == ("max_tokens", {})


def test_thoughts_are_signed_and_taken_back(emulator: Emulator) -> None:
    emulator.answer_with(lines(calls(Thinking("Hm."), add={}), Reply([Thinking("So.", "signed"), "Three."]), "Good."))
    talk = Talk(emulator, thinking={"type": "adaptive"})
    talk.say("Add.")
    talk.answer(3)
    assert texts(talk.say("Thanks.")) == ["Good."]
    talk.messages.pop()
    talk.messages[3]["content"][0]["thinking"] = "Changed."
    assert talk.send().status_code == 400


def test_recorded_answers_and_messages_are_taken_as_they_are(emulator: Emulator) -> None:
    emulator.answer_with(lines(recording("actors"), None))
    talk = Talk(emulator)
    assert len(texts(talk.say("Hi"))[0]) > 100
    assert texts(talk.say("Hi"))[0].startswith('You said: "Hi"')


def call_of(name: str = "add", **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}, **more}


@pytest.mark.parametrize(
    ("answer", "asked", "text"),
    [
        ("", {}, "a text is empty: ''"),
        (Reply(["One.", " "]), {}, "a text is empty: ' '"),
        (Reply([]), {}, "it is empty"),
        (Thinking("Hm."), {}, r"it yielded what is no answer: Thinking\(thinking='Hm.'"),
        (Reply([Thinking("Hm."), "One."]), {}, "its thinking is off"),
        (Compaction("All."), {}, "it asks for no compaction"),
        (ToolCall("write"), {}, r"it has no tool 'write', but \['add', 'send_mail'\]"),
        (Drop(ToolCall("write")), {}, "it has no tool 'write'"),
        (Reply([call_of("write")]), {}, "it has no tool 'write'"),
        (PauseTurn(), {}, "it has no tool 'web_search'"),
        (Reply([ToolCall("add", id="a b")]), {}, "a call's id is 'a b'"),
        (Reply([call_of(), call_of("send_mail")]), {}, "two calls have one id"),
        (calls(add={}), {"tool_choice": {"type": "none"}}, "tool_choice is none"),
        ("No.", {"tool_choice": {"type": "any"}}, "tool_choice demands a call"),
        (calls(add={}), {"tool_choice": {"type": "tool", "name": "send_mail"}}, "calls of 'send_mail' alone"),
        (
            calls(add={}, send_mail={"to": "ada"}),
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            "one call at a time",
        ),
        (calls(AskToUse("add")), {}, "only a session's agent asks for permission"),
        (5, {}, "it yielded what is no answer: 5"),
        (calls, {}, "it yielded what is no answer: <function calls"),
    ],
)
def test_what_the_api_would_not_answer_is_an_error_of_the_test(
    broken: Emulator, answer: Any, asked: dict[str, Any], text: str
) -> None:
    performance = broken.answer_with(lines(answer))
    talk = Talk(broken, **asked)
    talk.messages = [{"role": "user", "content": "Hi"}]
    assert talk.send().status_code == 500
    with pytest.raises(ScriptError, match=f"^the script lines, at request 1 of a conversation: .*{text}"):
        performance.check()


def test_a_model_may_call_what_there_is_not_if_the_script_says_so(emulator: Emulator) -> None:
    @scripted(unknown_tools=True)
    def confused(_: Ask) -> Lines:
        yield ToolCall("wirte")

    emulator.answer_with(confused)
    assert called(Talk(emulator).say("Hi")) == [("wirte", {})]


def test_a_forced_call_may_be_cut_or_refused(emulator: Emulator) -> None:
    forced = {"tool_choice": {"type": "any"}}
    for answer in (Reply(["Well"], stop_reason="max_tokens"), Refusal(), ToolCall("add", cut=1), calls(add={})):
        emulator.answer_with(lines(answer))
        assert isinstance(Talk(emulator, **forced).say("Hi"), list)


# Scripts that fail


@scripted
def ends(_: Ask) -> Lines:
    yield "Hello."


@scripted
def returns(_: Ask) -> Any:
    yield "Hello."
    return "Good-bye."


@scripted
def raises(ask: Ask) -> Lines:
    ask = yield "Hello."
    assert ask.results, "no results came"
    yield "Never."


@scripted
def stops_pytest(_: Ask) -> Lines:
    yield "Hello."
    pytest.fail("it came to the end")


@scripted
def exits(_: Ask) -> Lines:
    yield "Hello."
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            ends,
            r"the script ends, at request 2 of a conversation: it has ended, and is asked once more \(the text 'Hm'",
        ),
        (lines("Hello."), "the script lines, at request 2 of a conversation: it has ended"),
        (returns, "it returned 'Good-bye.', and has to yield it"),
        (raises, "it raised AssertionError.*no results came"),
        (stops_pytest, "it raised .*it came to the end"),
        (exits, r"it raised SystemExit\(3\)"),
    ],
)
def test_a_script_that_fails_is_an_error_of_the_test_and_of_the_client(
    connect: Callable[..., Client], script: Script, text: str
) -> None:
    def whole() -> None:
        with Emulator() as emulator:
            emulator.answer_with(script)
            client = connect(emulator.url, max_retries=5)
            talk: list[Any] = [{"role": "user", "content": "Hi"}]
            talk.append({"role": "assistant", "content": client.chat(model="m", messages=talk)["content"]})
            talk.append({"role": "user", "content": "Hm"})
            for _ in range(2):
                with pytest.raises(InternalServerError, match=text) as caught:
                    client.chat(model="m", messages=talk)
                assert caught.value.attempts == 1
            talk[2:] += [{"role": "assistant", "content": "What?"}, {"role": "user", "content": "So?"}]
            with pytest.raises(InternalServerError, match=text):
                client.chat(model="m", messages=talk)
            assert len(emulator.requests) == 4

    with pytest.raises(ScriptError, match=text):
        whole()


def test_an_error_of_the_test_itself_comes_before_the_scripts(caplog: pytest.LogCaptureFixture) -> None:
    def whole() -> None:
        with Emulator() as emulator:
            emulator.answer_with(lines(""))
            talk = Talk(emulator)
            talk.messages = [{"role": "user", "content": "Hi"}]
            talk.send()
            talk.send()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        whole()
    (logged,) = (record.message for record in caplog.records if record.levelname == "ERROR")
    assert logged.startswith("a script failed: the script lines, at request 1 of a conversation: the API would not")


def test_a_script_keeps_nothing_between_emulators() -> None:
    for _ in range(2):
        with Emulator() as emulator:
            emulator.answer_with(ends)
            assert texts(Talk(emulator).say("Hi")) == ["Hello."]


def test_answers_can_be_compared_after_the_test(emulator: Emulator) -> None:
    performance = emulator.answer_with(clerk)
    Talk(emulator).say("ada")
    (conversation,) = performance.conversations
    assert conversation == replace(conversation)
    assert conversation.answers == (Reply(["I write.", ToolCall("send_mail", {"to": "ada"})]),)
