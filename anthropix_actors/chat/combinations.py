"""The API's rules for a request as a whole: each value is valid, but the combination is not. Pure.

Refusing a request that some server would take is worse than sending one that the API refuses with a clear error. So
a rule is here only when the API is known to answer 400, and a request that has anything that may lift a rule passes.
`extra_body` is not checked: that is the way around each of these rules.

1. A call (`tool_use`) is answered in the next user turn, by one result; neighbouring messages of one role are one
   turn, and system messages between them are not a turn. The last turn may be the assistant's, with open calls: the
   model goes on with it. Calls of the API's own tools are not checked. Messages before a compaction are dropped by
   the API, and calls before a fallback stay unanswered; with a `thread`, the earlier messages are at the API.
2. A result answers a call of the turn before it, and comes before text and media.
3. The calls of one turn have unique ids. (The API wants that across all turns; other servers restart in each.)
4. Tools have unique names.
5. The budget for thinking is below `max_tokens`, unless thinking is interleaved, which takes tools or a beta.
6. There are at most four cache breakpoints, over tools, system and messages. The top-level one is a fifth, unless it
   falls on one of them. One-hour breakpoints come before five-minute ones.

Source: https://docs.claude.com/en/docs/agents-and-tools/tool-use/implement-tool-use,
/build-with-claude/extended-thinking and /build-with-claude/prompt-caching, read 2026-11-26.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.shapes import within
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

MOST_BREAKPOINTS = 4
WAY_AROUND = "(extra_body is not checked)"

_AFTER_RESULTS = frozenset({"text", "image", "document", "search_result"})
_PASSED = frozenset({"compaction", "fallback"})
"""Types of blocks that lift the need for results of the calls before them."""


def whole_problems(
    body: Mapping[str, Any], *, extra: Collection[str] = (), betas: Iterable[str] | None = None
) -> list[Problem]:
    """Return the problems of a combination of chat parameters, each of which is right on its own.

    Args:
        body: The parameters.
        extra: The names of the keys that are sent besides or in place of them, unchecked.
        betas: The betas of the request; None if they are not known.

    Example:
        >>> result = {"type": "tool_result", "tool_use_id": "toolu_1"}
        >>> [str(problem) for problem in whole_problems({"messages": [{"role": "user", "content": [result]}]})]
        ["messages[0].content[0].tool_use_id: no call of the turn before has the id 'toolu_1' ... is not checked)"]
    """
    seen = {name: value for name, value in body.items() if name not in extra}
    problems: list[Problem] = []
    if "thread" not in body and "thread" not in extra:
        problems += _pairing(seen.get("messages", ()))
    problems += _tool_names(seen.get("tools", ()))
    problems += _budget(seen, extra, betas)
    problems += _breakpoints(seen)
    return [Problem(problem.place, f"{problem.text} {WAY_AROUND}") for problem in problems]


def _pairing(messages: Sequence[dict[str, Any]]) -> list[Problem]:
    problems: list[Problem] = []
    core = _Calls()
    said = ((index, message) for index, message in enumerate(messages) if message["role"] != "system")
    for role, turn in groupby(said, key=lambda pair: pair[1]["role"]):
        if role == "assistant":
            core = _Calls()
            for index, message in turn:
                if type(message["content"]) is list:
                    core.note(message["content"], f"messages[{index}].content", problems)
        else:
            core.match(turn, problems)
    return problems


class _Calls:
    """The calls of one assistant turn."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}
        """The ids of calls that need a result, each with its place."""
        self._others: set[str] = set()
        """The ids of other blocks, which may have a result."""

    def note(self, blocks: list[dict[str, Any]], place: str, problems: list[Problem]) -> None:
        """Add the calls of one message."""
        for index, block in enumerate(blocks):
            kind = block["type"]
            if kind == "tool_use":
                self._call(block["id"], f"{place}[{index}]", problems)
            elif kind in _PASSED:
                self._pass(kind, problems)
            elif isinstance(block.get("id"), str):
                self._others.add(block["id"])

    def _call(self, name: str, place: str, problems: list[Problem]) -> None:
        if name in self._open:
            what = f"expected a unique id, got {name!r}, the id of {self._open[name]}"
            problems.append(Problem(f"{place}.id", what))
        else:
            self._open[name] = place

    def _pass(self, kind: str, problems: list[Problem]) -> None:
        """Lift the need for results of the earlier calls; forget the problems of messages that the API drops."""
        self._others |= self._open.keys()
        self._open.clear()
        if kind == "compaction":
            problems.clear()

    def match(self, turn: Iterable[tuple[int, dict[str, Any]]], problems: list[Problem]) -> None:
        """Match the results of the user turn with the calls."""
        answered: set[str] = set()
        early: str | None = None
        for index, message in turn:
            place = f"messages[{index}].content"
            content = message["content"]
            if type(content) is not list:
                early = early or place
                continue
            for number, block in enumerate(content):
                kind = block["type"]
                if kind == "tool_result":
                    here = f"{place}[{number}]"
                    if early:
                        problems.append(Problem(early, f"expected after all tool_results, such as {here}"))
                        early = None
                    self._answer(block["tool_use_id"], here, answered, problems)
                elif kind in _AFTER_RESULTS:
                    early = early or f"{place}[{number}]"
                elif kind in _PASSED:
                    self._pass(kind, problems)
        for name, place in self._open.items():
            if name not in answered:
                problems.append(Problem(place, f"expected a tool_result for {name!r} in the user's next message"))

    def _answer(self, name: str, place: str, answered: set[str], problems: list[Problem]) -> None:
        if name in answered:
            problems.append(Problem(f"{place}.tool_use_id", f"expected one result per call, got another for {name!r}"))
        elif name not in self._open and name not in self._others:
            problems.append(Problem(f"{place}.tool_use_id", f"no call of the turn before has the id {name!r}"))
        answered.add(name)


def _tool_names(tools: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for index, tool in enumerate(tools):
        name = tool.get("name")
        place = f"tools[{index}]"
        if isinstance(name, str) and first.setdefault(name, place) is not place:
            yield Problem(f"{place}.name", f"expected a unique name, got {name!r}, the name of {first[name]}")


def _budget(seen: Mapping[str, Any], extra: Collection[str], betas: Iterable[str] | None) -> Iterator[Problem]:
    thinking, most = seen.get("thinking"), seen.get("max_tokens")
    if betas is None or any("thinking" in beta for beta in betas):
        return
    if any(name in seen or name in extra for name in ("tools", "mcp_servers")):
        return
    if thinking and most and thinking["type"] == "enabled" and thinking["budget_tokens"] >= most:
        what = f"expected less than max_tokens, which is {most:,}, got {thinking['budget_tokens']:,}"
        yield Problem("thinking.budget_tokens", what)


def _breakpoints(seen: Mapping[str, Any]) -> Iterator[Problem]:
    marks = [*_marks(seen)]
    if len(marks) > MOST_BREAKPOINTS:
        what = f"expected at most {MOST_BREAKPOINTS} in tools, system and messages, got {len(marks)}"
        yield Problem(within(marks[MOST_BREAKPOINTS][0], "cache_control"), what)
    elif len(marks) == MOST_BREAKPOINTS and seen.get("cache_control") and _is_fifth(seen.get("messages", ())):
        yield Problem("cache_control", f"expected at most {MOST_BREAKPOINTS}, got one more besides those in the blocks")
    short: str | None = None
    for place, ttl in marks:
        if ttl == "1h" and short:
            what = f"expected one-hour breakpoints before those of five minutes: {short}"
            yield Problem(within(place, "cache_control"), what)
            return
        if ttl in {None, "5m"}:
            short = short or place


def _is_fifth(messages: Sequence[dict[str, Any]]) -> bool:
    """Return whether the top-level breakpoint adds one: it goes to the last block that can be cached."""
    content = messages[-1]["content"] if messages else []
    return isinstance(content, str) or bool(content and not any(block.get("cache_control") for block in content))


def _marks(seen: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the place and the `ttl` of each breakpoint, in the order in which the API reads them."""
    for name in ("tools", "system"):
        if isinstance(seen.get(name), list):
            yield from _marked(seen[name], name)
    for index, message in enumerate(seen.get("messages", ())):
        content = message["content"]
        if type(content) is list:
            yield from _marked(content, f"messages[{index}].content")


def _marked(blocks: list[dict[str, Any]], place: str) -> Iterator[tuple[str, Any]]:
    for index, block in enumerate(blocks):
        if mark := block.get("cache_control"):
            yield f"{place}[{index}]", mark.get("ttl")
