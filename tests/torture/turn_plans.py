"""Random conversations: what happens in each, and what the model answers. All follows from a seed and a number."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anthropix_actors import APIConnectionError, BadRequestError, InternalServerError, Limits, OverloadedError
from anthropix_actors.emulator import (
    Cut,
    Drop,
    ErrorEvent,
    Pace,
    Raw,
    Reply,
    Reset,
    Stall,
    Status,
    Thinking,
    ToolCall,
)
from anthropix_actors.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.emulator import Answer, Request

TOOLS = ("quick", "waits", "raises", "tells", "hangs", "asks", "looks", "alone", "clerk", "nobody")
"""What the model calls, besides sub-agents; there is no tool `nobody`."""

EARS = ("plain", "actor", "slow", "raises", "dies", "leaves", "blocks", "meddles")
"""Kinds of subscribers."""

SAYS = ("next", "next", "next", "idle", "now")
OTHERS = ("cancel", "cancel a turn", "fork", "history", "usage", "join", "join and leave", "stop")
DEEPEST = 2
"""How many sub-agents may be below each other."""

PLANNED = "this was planned"
LAST = "the last thing"
STALLED = "stalled"

_TAG = re.compile(r"#(n\w+)")


@dataclass(frozen=True)
class Plan:
    """One conversation.

    Attributes:
        number: Its number.
        ears: The kinds of its subscribers; the first is "plain", unless it is lonely.
        lonely: All subscribers may leave, which cancels turns.
        limits: Those of its agent.
        inner: Those of its sub-agents.
        thinks: Whether the model thinks.
        faults: The share of requests that go wrong.
        stalls: Whether some of these stall; then timeouts are short.
        answers: Whether somebody answers approvals.
        patient: Some tools never answer, or nobody approves: turns may have to be cancelled.
        says: What is said after the first, and after how many seconds.
        others: What other threads do, and after how many seconds.
    """

    number: int
    ears: tuple[str, ...]
    lonely: bool
    limits: Limits
    inner: Limits
    thinks: bool
    faults: float
    stalls: bool
    answers: bool
    patient: bool
    says: tuple[tuple[float, str], ...]
    others: tuple[tuple[float, str], ...]

    @property
    def tag(self) -> str:
        """Its tag, which all its texts begin with."""
        return f"n{self.number}"


def plan(seed: int, number: int) -> Plan:
    """Get the plan of one conversation."""
    dice = random.Random(f"{seed}-turns-{number}")
    lonely = dice.random() < 0.15
    patient = dice.random() < 0.2
    answers = not patient or dice.random() < 0.5
    faults = dice.choice((0.0, 0.0, 0.1, 0.3))
    more = dice.choices(EARS, k=dice.choice((0, 0, 1, 1, 2, 3)))
    return Plan(
        number=number,
        ears=tuple(more or ["leaves"]) if lonely else ("plain", *more),
        lonely=lonely,
        limits=_limits(dice, 12),
        inner=_limits(dice, 6),
        thinks=dice.random() < 0.3,
        faults=faults,
        stalls=faults > 0 and dice.random() < 0.5,
        answers=answers and not lonely,
        patient=patient or lonely,
        says=tuple((dice.expovariate(1 / 0.05), dice.choice(SAYS)) for _ in range(dice.choice((0, 1, 2, 4, 7)))),
        others=tuple(_other(dice) for _ in range(dice.choice((0, 0, 1, 2, 4)))),
    )


def _other(dice: random.Random) -> tuple[float, str]:
    return dice.expovariate(1 / 0.08), dice.choices(OTHERS, weights=(3, 3, 2, 3, 2, 2, 2, 2))[0]


def _limits(dice: random.Random, requests: int) -> Limits:
    return Limits(
        requests=dice.choice((1, 2, 3, *[requests] * 5)),
        tokens=dice.choice((None, None, None, 300)),
        seconds=dice.choice((None, None, None, None, 0.05, 0.2)),
        tools_at_once=dice.choice((1, 2, 8)),
        approval=dice.choice((None, 0.05, 0.5)),
    )


def tag_of(messages: list[dict[str, Any]]) -> str:
    """Get the tag of the conversation that sends these messages: that of the last text that somebody said."""
    texts = [
        block["text"]
        for message in messages
        if message["role"] == "user"
        for block in message["content"]
        if block["type"] == "text"
    ]
    found = [match[1] for text in texts if (match := _TAG.search(text))]
    return found[-1]


def root_of(tag: str) -> str:
    """Get the tag of the conversation at the top of a tree, and whose fork it is."""
    return re.split("[hf]", tag)[0]


@dataclass(frozen=True)
class Asked:
    """One request that the model got.

    Attributes:
        tag: The tag of its conversation.
        messages: Its messages.
        closing: Whether the model may call no tool.
        usage: What it costs: tokens read, and written.
        calls: The ids of the calls in the answer.
        fault: What goes wrong, or nothing.
    """

    tag: str
    messages: list[dict[str, Any]]
    closing: bool
    usage: tuple[int, int]
    calls: tuple[str, ...]
    fault: str


class Model:
    """The handler of an emulator: answers by tag, and by how often it was asked. Runs in the emulator's thread."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._asked: defaultdict[str, list[Asked]] = defaultdict(list)
        self.problems: list[str] = []
        self.faults: Counter[str] = Counter()

    def asked(self, root: str) -> list[Asked]:
        """Get all requests of a tree of conversations, forks included."""
        with self._lock:
            return [each for tag, asked in self._asked.items() if root_of(tag) == root for each in asked]

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        messages, tag = request.body["messages"], tag_of(request.body["messages"])
        closing = request.body.get("tool_choice") == {"type": "none"}
        with self._lock:
            before = self._asked[tag]
        script = Script(plan(self._seed, int(root_of(tag)[1:])), tag, len(before), f"{self._seed}-{tag}-{len(before)}")
        answer = script.answer(messages, closing=closing)
        last = _heard(before)
        if last is not None and not _extends(last.messages, messages):
            self.problems.append(f"{tag}: a request does not extend the one before it")
        asked = Asked(tag, messages, closing, script.usage, tuple(script.calls), script.fault)
        with self._lock:
            before.append(asked)
            self.faults[script.fault] += bool(script.fault)
        return answer


def _heard(before: list[Asked]) -> Asked | None:
    """Get the latest request that must still be in the history.

    What a request brought that was refused is taken out of it, with all that came after the last answer.
    """
    refused = next((place for place, each in enumerate(reversed(before)) if each.fault != "refused"), 0) > 0
    return next((each for each in reversed(before) if not (each.fault if refused else each.fault == "refused")), None)


def _extends(before: list[Any], after: list[Any]) -> bool:
    """Whether messages begin with others. A paused answer at the end of those may not be kept.

    A request that was cancelled may arrive after the one that follows it.
    """
    sent, longer = sorted((before, after), key=len)
    while sent[-1]["role"] == "assistant":
        sent = sent[:-1]
    return longer[: len(sent)] == sent


class Script:
    """The answer to one request.

    Attributes:
        usage: The tokens that it says it has read and written.
        calls: The ids of its calls.
        fault: What goes wrong.
    """

    def __init__(self, mine: Plan, tag: str, number: int, seed: str) -> None:
        self._plan = mine
        self._tag = tag
        self._number = number
        self._dice = random.Random(seed)
        self.usage = self._dice.randint(1, 90), self._dice.randint(2, 40)
        self.calls: list[str] = []
        self.fault = ""

    def answer(self, messages: list[dict[str, Any]], *, closing: bool) -> Answer:
        """Get the answer to these messages."""
        dice = self._dice
        before = self._result_of_paused(messages)
        if LAST in str(messages[-5:]):
            return self._reply(before, ["Yes."])
        if not closing and dice.random() < max(0.4, 0.95 - 0.03 * self._number):
            whole: Answer = self._with_calls(before)
        else:
            whole = self._ending(before, closing=closing)
        if dice.random() < 0.3:
            whole = Pace(whole, tokens_per_second=dice.choice((100, 400)))
        elif dice.random() < 0.2:
            whole = Cut(whole, every=dice.choice((9, 50, 1000)))
        if dice.random() < self._plan.faults:
            self.fault = dice.choice([name for name in FAULTS if name != STALLED or self._plan.stalls])
            return FAULTS[self.fault][0](whole, dice)
        return whole

    def _ending(self, before: list[Any], *, closing: bool) -> Answer:
        words = "word " * self._dice.choice((1, 3, 20))
        what = self._dice.random()
        if what < 0.08 and not closing:
            search = {"type": "server_tool_use", "id": f"srvtoolu_{self._tag}_{self._number}", "name": "web_search"}
            return self._reply(before, ["Let me look.", {**search, "input": {"query": "x"}}], stop_reason="pause_turn")
        if what < 0.12:
            return self._reply(before, [words], stop_reason="refusal")
        if what < 0.16:
            return self._reply(before, [words], stop_reason="max_tokens")
        return self._reply(before, [words])

    def _with_calls(self, before: list[Any]) -> Answer:
        dice = self._dice
        parts: list[Any] = []
        for place in range(dice.choice((1, 1, 2, 3, 6))):
            call = f"toolu_{self._tag}_{self._number}_{place}"
            self.calls.append(call)
            parts.append(self._call(call, place))
        if dice.random() < 0.3:
            parts.append("That is what I need. " * dice.choice((1, 10)))
        elif dice.random() < 0.05:
            call = self.calls[-1] + "cut"
            parts.append(ToolCall("quick", {"n": 12345}, call, cut=dice.randint(0, 8)))
        return self._reply(before, parts)

    def _call(self, call: str, place: int) -> ToolCall:
        dice, depth = self._dice, self._tag.count("h")
        if depth < DEEPEST and dice.random() < 0.25:
            task = dice.choice(["", *[f"#{self._tag}h{self._number}i{place} do it"] * 9])
            return ToolCall("help", {"task": task}, call)
        given: Any = {"n": dice.choice((0, 1, 2, 3, "x")) if dice.random() < 0.1 else dice.randint(0, 9)}
        return ToolCall(dice.choice(TOOLS), given, call)

    def _reply(self, before: list[Any], parts: list[Any], **more: Any) -> Reply:
        read, written = self.usage
        nothing = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation": None}
        usage = {"input_tokens": read, "output_tokens": written, **nothing}
        return Reply([*before, *self._marked(parts)], usage=usage, **more)

    def _marked(self, parts: list[Any]) -> list[Any]:
        thoughts = [Thinking("So.")] if self._plan.thinks else []
        return [*thoughts, f"[{self._tag}.{self._number}] ", *parts]

    def _result_of_paused(self, messages: list[dict[str, Any]]) -> list[Any]:
        """Get what the API begins the rest of a paused answer with."""
        if messages[-1]["role"] != "assistant":
            return []
        call = messages[-1]["content"][-1]
        page = {"type": "web_search_result", "url": "https://example.org", "title": "x", "encrypted_content": "x"}
        return [{"type": "web_search_tool_result", "tool_use_id": call["id"], "content": [page]}]


def _place(dice: random.Random) -> int | None:
    return None if dice.random() < 0.1 else dice.randint(0, 12)


def _error(answer: Any, dice: random.Random, kind: str) -> Answer:
    return ErrorEvent(answer, kind, after_events=dice.randint(0, 12))


FAULTS: dict[str, tuple[Callable[[Any, random.Random], Answer], type[Exception]]] = {
    "refused": (lambda _, __: Status(400, PLANNED), BadRequestError),
    "overloaded": (lambda _, __: Status(529, headers={"retry-after-ms": "5"}), OverloadedError),
    "broken": (lambda _, __: Status(500, headers={"retry-after-ms": "5"}), InternalServerError),
    "overloaded, in the stream": (lambda a, d: _error(a, d, "overloaded_error"), OverloadedError),
    "broken, in the stream": (lambda a, d: _error(a, d, "api_error"), InternalServerError),
    "reset": (lambda a, d: Reset(a, after_events=_place(d)), APIConnectionError),
    "cut off": (lambda a, d: Drop(a, after_events=_place(d)), APIConnectionError),
    STALLED: (lambda a, d: Stall(a, after_events=_place(d)), APIConnectionError),
    "garbage": (lambda _, __: Raw(b"<html>Welcome", content_type="text/html"), ProtocolError),
    "garbage in a stream": (lambda _, __: Raw(b"data: {no\n\n", content_type="text/event-stream"), ProtocolError),
}
"""What makes an answer go wrong, and the error that a turn ends with if it does so each time."""
