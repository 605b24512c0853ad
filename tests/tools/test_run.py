"""All calls of an answer; also over the emulator, as a chat's."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Call, CancelToken, Client, ParameterError, Tool, ToolError, run_tools, text_of, tool
from anthropix_actors.content import image
from anthropix_actors.emulator import Reply, ToolCall
from anthropix_actors.tools import Toolbox

from actors import ASK, HELLO, Inbox, calls_of, watched
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.emulator import Emulator

PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(8)


@tool
def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


def answer(*calls: tuple[str, Any], stop_reason: str | None = "tool_use") -> dict[str, Any]:
    blocks = [
        {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": given}
        for index, (name, given) in enumerate(calls)
    ]
    content = [{"type": "text", "text": "Let me see."}, *blocks]
    return {"type": "message", "role": "assistant", "content": content, "stop_reason": stop_reason}


def results(message: dict[str, Any]) -> list[Any]:
    assert message["role"] == "user"
    assert [block["tool_use_id"] for block in message["content"]] == [
        f"toolu_{n}" for n in range(len(message["content"]))
    ]
    return [block.get("content") for block in message["content"]]


def test_each_call_gets_its_result_in_the_model_s_order() -> None:
    made = run_tools(answer(("add", {"a": 1}), ("add", {"a": "x"}), ("sub", {}), ("add", {"a": 2, "b": 3})), [add])
    told = results(made)
    assert (told[0], told[3]) == ("2", "5")
    assert "a: Expected `int`, got `str`" in told[1]
    assert told[2] == "not started: there is no tool 'sub'; there are: add"
    assert [block.get("is_error", False) for block in made["content"]] == [False, True, True, False]


def test_a_call_that_is_repeated_runs_once() -> None:
    repeated = answer(("add", {"a": 1}), ("add", {"a": 2}))
    repeated["content"][2]["id"] = "toolu_0"
    assert results(run_tools(repeated, [add])) == ["2"]


def test_without_tools_every_call_is_unknown() -> None:
    assert results(run_tools(answer(("add", {})), Toolbox([]))) == [
        "not started: there is no tool 'add'; there are: none"
    ]


def test_calls_run_at_once_but_not_more_than_may() -> None:
    both = threading.Barrier(2)
    running: list[int] = []
    most: list[int] = []

    @tool
    def meets() -> None:
        both.wait(DEADLINE)

    @tool
    def counts() -> None:
        running.append(1)
        most.append(len(running))
        running.pop()

    run_tools(answer(("meets", {}), ("meets", {})), [meets])
    run_tools(answer(*[("counts", {})] * 9), [counts], tools_at_once=1)
    assert most == [1] * 9


def test_who_is_alone_waits_for_those_before_and_those_after_wait() -> None:
    done: list[str] = []

    @tool(alone=True)
    def alone(name: str) -> None:
        done.append(name)

    @tool
    def together(name: str) -> None:
        done.append(name)

    calls = [("together", "a"), ("together", "b"), ("alone", "c"), ("alone", "d"), ("together", "e"), ("together", "f")]
    run_tools(answer(*[(which, {"name": name}) for which, name in calls]), [alone, together])
    assert ["".join(sorted(done[:2])), *done[2:4], "".join(sorted(done[4:]))] == ["ab", "c", "d", "ef"]


def test_progress_is_told_with_its_call() -> None:
    told: list[Any] = []

    @tool
    def works(*, call: Call) -> None:
        call.progress("half")

    run_tools(answer(("works", {})), [works], on_progress=lambda call, data: told.append((call.id, data)))
    assert told == [("toolu_0", "half")]


@pytest.mark.parametrize(
    ("allowed", "expected"), [(True, "sent"), (False, "not started: the user did not allow this call")]
)
def test_what_needs_approval_is_asked_for_first(allowed: bool, expected: str) -> None:  # noqa: FBT001
    asked: list[Any] = []
    added = threading.Event()

    @tool(approve=True)
    def send(to: str) -> str:
        assert to
        return "sent"

    @tool
    def others() -> None:
        added.set()

    def approve(call: Call) -> bool:
        wait(added)  # those that need none do not wait for it
        asked.append((call.name, call.input))
        return allowed

    made = run_tools(answer(("send", {"to": "Ada"}), ("others", {})), [send, others], approve=approve)
    assert results(made) == [expected, None]
    assert asked == [("send", {"to": "Ada"})]


def test_without_approve_nothing_is_run() -> None:
    run: list[str] = []
    first = Tool.of(lambda: run.append("first"), name="first")
    second = Tool.of(lambda: run.append("second"), name="second", approve=True)
    with pytest.raises(ParameterError, match="approve: expected a function: 'second' needs approval"):
        run_tools(answer(("first", {})), [first, second])
    assert not run


def test_what_approve_raises_is_raised_and_ends_what_runs() -> None:
    entered = threading.Event()
    tokens: list[CancelToken] = []

    @tool
    def hangs(*, call: Call) -> None:
        tokens.append(call.token)
        entered.set()
        until(lambda: call.token.cancelled)

    @tool(approve=True)
    def send() -> None: ...

    def approve(_: Call) -> bool:
        wait(entered)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_tools(answer(("hangs", {}), ("send", {})), [hangs, send], approve=approve)
    until(lambda: tokens[0].reason == "interrupted")
    until(lambda: not watched())


def test_a_cancel_ends_them_all_and_tells_each_the_truth() -> None:
    entered = threading.Event()
    let = threading.Event()
    token = CancelToken()

    @tool
    def hangs() -> None:
        entered.set()
        wait(let)

    @tool(approve=True)
    def send() -> None: ...

    canceller = threading.Thread(target=lambda: entered.wait(DEADLINE) and token.cancel("enough"))
    canceller.start()
    calls = answer(("add", {"a": 1}), ("hangs", {}), ("add", {"a": 2}), ("send", {}))
    made = run_tools(calls, [add, hangs, send], tools_at_once=1, cancel=token, approve=lambda _: True)
    canceller.join(DEADLINE)
    let.set()
    assert results(made) == [
        "2",
        "cancelled (enough); it may have taken effect",
        "not started: enough",
        "not started: enough",
    ]
    assert not calls_of(token) or token.cancelled
    again = run_tools(answer(("add", {"a": 1})), [add], cancel=token)
    assert results(again) == ["not started: enough"]


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "model_context_window_exceeded"])
def test_an_answer_that_was_cut_runs_nothing(reason: str) -> None:
    made = run_tools(answer(("add", {"a": 1}), stop_reason=reason), [add])
    assert results(made) == [f"not started: the answer ended with {reason}, so this call may have been cut"]


def test_an_answer_without_a_reason_is_whole() -> None:
    assert results(run_tools(answer(("add", {"a": 1}), stop_reason=None), [add])) == ["2"]


def test_an_input_that_is_no_json_is_not_run() -> None:
    message = answer(("add", {}))
    message["content"][1]["input_json"] = '{"a": '
    assert results(run_tools(message, [add])) == ["not started: the input is not valid JSON"]


@pytest.mark.parametrize(
    ("message", "options", "problem"),
    [
        (None, {}, "message: expected an answer, with its content, got None"),
        ({"content": "text"}, {}, "message: expected an answer, with its content, got dict"),
        (
            answer(stop_reason="end_turn"),
            {},
            "message.content: expected a tool_use, got none: stop_reason is 'end_turn'",
        ),
        (answer(("bash", {})), {}, "message.content[1]: 'bash' was given as a dict: only you can run it"),
        ({"content": [{"type": "tool_use", "name": "add"}]}, {}, "message.content[0]: expected a tool_use with its id"),
        ({"content": ["odd"]}, {}, "message.content: expected a tool_use, got none: stop_reason is None"),
        (answer(("add", {})), {"tools_at_once": 0}, "tools_at_once: expected an integer from 1, got 0"),
        (answer(("add", {})), {"tools_at_once": True}, "tools_at_once: expected an integer from 1, got True"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_place(message: Any, options: Any, problem: str) -> None:
    with pytest.raises(ParameterError) as caught:
        run_tools(message, [add, {"type": "bash_20250124", "name": "bash"}], **options)
    assert str(caught.value).startswith(problem)


# As a chat's


def get_weather(city: str) -> Any:
    """Get the weather.

    Args:
        city: Its name.
    """
    if city == "Atlantis":
        raise ToolError("it has sunk")
    return [f"{city}: rain", image(PNG)]


SEARCH = {"type": "web_search_20260318", "name": "web_search"}
TOOLS: list[Any] = [SEARCH, get_weather, {"ask_user": Inbox(), "ask_boss": Inbox()}, add]


def test_a_chat_takes_functions_and_its_calls_are_run(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    calls = [ToolCall("get_weather", {"city": name}) for name in ("Bergen", "Atlantis")]
    anthropix_emulator.queue(Reply(calls), "Take an umbrella.")
    client = connect(anthropix_emulator.url)
    history: list[Any] = [*HELLO]
    while True:
        message = client.chat(model="m", messages=history, tools=TOOLS)
        history.append({"role": "assistant", "content": message["content"]})
        if message["stop_reason"] != "tool_use":
            break
        history.append(run_tools(message, TOOLS))
    assert text_of(message) == "Take an umbrella."
    sent = [request.body for request in anthropix_emulator.requests]
    assert [each["name"] for each in sent[0]["tools"]] == ["web_search", "get_weather", "ask_user", "ask_boss", "add"]
    assert sent[0]["tools"] == sent[1]["tools"], "each request extends the one before"
    assert sent[0]["tools"][1]["input_schema"]["properties"]["city"]["description"] == "Its name."
    first, second = sent[1]["messages"][-1]["content"]
    assert [block["type"] for block in first["content"]] == ["text", "image"]
    assert (second["content"], second["is_error"]) == ("it has sunk", True)


@pytest.mark.parametrize("tools", [TOOLS, tuple(TOOLS), Toolbox(TOOLS)], ids=["list", "tuple", "Toolbox"])
def test_counts_and_batches_take_functions_too(
    tools: Any, anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client = connect(anthropix_emulator.url)
    client.count_tokens(model="m", messages=HELLO, tools=tools)
    params = {"model": "m", "messages": HELLO, "tools": tools}
    client.batches.create([{"custom_id": "a", "params": params}])
    client.chat(**ASK, tools=tools)
    count, batch, chat = [request.body for request in anthropix_emulator.requests]
    assert count["tools"] == batch["requests"][0]["params"]["tools"] == chat["tools"]
    assert len(chat["tools"]) == 5


def test_what_is_wrong_with_tools_has_its_place_among_the_others(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client = connect(anthropix_emulator.url)
    untyped = eval("lambda a: a")
    wrong: list[Any] = [
        {"ask_user": Inbox(), "ask_boss": Inbox()},
        untyped,
        {"name": "two words"},
        Tool.of(add, name="b"),
    ]
    with pytest.raises(ParameterError) as caught:
        client.chat(**ASK, tools=wrong, top_k=-1)
    places = sorted(problem.place for problem in caught.value.problems)
    assert places == ["tools[1]", "tools[2].input_schema", "tools[2].name", "top_k"]
    assert not anthropix_emulator.requests
