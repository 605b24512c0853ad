"""`scripted`: a model for tests, as a generator function that says what it answers; and scripts that are ready."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias, cast, overload

from anthropix_actors.emulator._model.json import is_object
from anthropix_actors.emulator._model.schema_example import example_for
from anthropix_actors.emulator.answers import Answer, Reply
from anthropix_actors.emulator.reply_parts import AskToUse, Compaction, Thinking, ToolCall
from anthropix_actors.emulator.scripts.asks import Ask

Lines: TypeAlias = Generator[Answer, Ask, None]
"""What a script yields, and gets: its answers, and the requests that they led to."""

ScriptFunction: TypeAlias = Callable[[Ask], Lines]
"""A function that plays one conversation."""


class Script:
    """A script: how a model answers, from the first request of a conversation on. Made by `scripted`.

    It keeps nothing: any number of conversations and emulators may play it at once.

    Args:
        function: Plays one conversation.
        when: Whether it takes a conversation that begins with this request.
        model: It answers this model only.
        system: It answers requests whose system prompt contains this only.
        tool: It answers requests that have a tool of this name only.
        unknown_tools: Whether it may call tools that a request does not have.

    Attributes:
        name: The function's name.
        unknown_tools: As given.
    """

    def __init__(  # noqa: PLR0913 - all have defaults, and names
        self,
        function: ScriptFunction,
        *,
        when: Callable[[Ask], bool] | None = None,
        model: str | None = None,
        system: str | None = None,
        tool: str | None = None,
        unknown_tools: bool = False,
    ) -> None:
        """Hold the function; nothing is played yet.

        Raises:
            TypeError: `function` has no `yield`.
        """
        self.name: str = getattr(function, "__name__", repr(function))
        if not inspect.isgeneratorfunction(function):
            raise TypeError(f"a script yields its answers, and {self.name} has no yield")
        self.unknown_tools = unknown_tools
        self._function = function
        self._when = when
        self._model = model
        self._system = system
        self._tool = tool

    def __repr__(self) -> str:
        """Show its name."""
        return f"<Script {self.name}>"

    def may_answer(self, ask: Ask) -> bool:
        """Return whether it answers requests with this model, this system prompt and these tools."""
        return (
            self._model in (None, ask.model)
            and (self._system is None or self._system in ask.system)
            and (self._tool is None or self._tool in ask.tools)
        )

    def takes(self, ask: Ask) -> bool:
        """Return whether it takes a conversation that begins with this request."""
        return self.may_answer(ask) and (self._when is None or self._when(ask))

    def play(self, ask: Ask) -> Lines:
        """Begin a conversation; nothing of it has run."""
        return self._function(ask)


@overload
def scripted(function: ScriptFunction, /) -> Script: ...
@overload
def scripted(
    *,
    when: Callable[[Ask], bool] | None = None,
    model: str | None = None,
    system: str | None = None,
    tool: str | None = None,
    unknown_tools: bool = False,
) -> Callable[[ScriptFunction], Script]: ...
def scripted(
    function: ScriptFunction | None = None, /, **conditions: Any
) -> Script | Callable[[ScriptFunction], Script]:
    """Make a script of a generator function: it yields a model's answers, and gets what the next request brought.

    Each conversation plays it anew, from its first request. It may yield any answer and any fault that can be queued.
    Give it to `Emulator.answer_with`; `docs/testing-agents.md` says how conversations are told apart.

    Args:
        function: The function, if there are no conditions.
        **conditions: Which requests it answers: `model`, a part of the `system` prompt, a `tool` that they have; and
            `when`, a function of the first request of a conversation. `unknown_tools=True` lets it call tools that a
            request does not have.

    Raises:
        TypeError: the function has no `yield`.

    Example:
        >>> @scripted
        ... def clerk(ask):
        ...     ask = yield calls("I write to her.", send_mail={"to": "ada"})
        ...     yield "It failed." if ask.results[0].is_error else "Sent."
        >>> clerk
        <Script clerk>
        >>> @scripted(system="You research")
        ... def researcher(ask):
        ...     yield f"I found nothing on {ask.text}."
    """
    if function is not None:
        return Script(function, **conditions)
    return lambda decorated: Script(decorated, **conditions)


def calls(
    *parts: str | Thinking | ToolCall | AskToUse | Compaction | Mapping[str, Any] | tuple[str, Mapping[str, Any]],
    **tools: Mapping[str, Any],
) -> Reply:
    """Return an answer that calls tools, all at once.

    Args:
        *parts: Texts, thoughts and blocks as on the wire, which go first; and calls, as `ToolCall`, or as a pair of a
            name and an input: for several calls of one tool, and for names that are no names in Python.
        **tools: The input of one call for each tool.

    Raises:
        TypeError: a part is none.
        ValueError: there is no call.

    Example:
        >>> [part.name for part in calls(add={"a": 1, "b": 2}, get_time={}).content]
        ['add', 'get_time']
        >>> calls("Both:", ("get_weather", {"city": "Bergen"}), ("get_weather", {"city": "Oslo"})).content[0]
        'Both:'
    """
    content = [*map(_part, parts), *(ToolCall(name, given) for name, given in tools.items())]
    if not any(isinstance(part, (ToolCall, AskToUse)) for part in content):
        raise ValueError("no call: name tools, as in calls(add={'a': 1})")
    return Reply(content)


def lines(*answers: Answer) -> Script:
    """Return a script that gives these answers to each conversation, in their order, whatever it says.

    Example:
        >>> lines(calls(add={"a": 1, "b": 2}), "The sum is 3.")
        <Script lines>
    """

    def played(_: Ask) -> Lines:
        for answer in answers:
            _ = yield answer  # a tuple, as in `yield from`, would take no ask

    played.__name__ = "lines"
    return Script(played)


def every_tool() -> Script:
    """Return a script that calls each tool of a request once, and then answers as the emulator does.

    The inputs are examples that fit the schemas; tools that the API defines have no schema, and are not called. All are
    called at once, unless the request has `disable_parallel_tool_use`. With a `tool_choice` of `none`, none is.

    Example:
        >>> every_tool()
        <Script every_tool>
    """
    return Script(_every_tool)


def _every_tool(ask: Ask) -> Lines:
    called: set[str] = set()
    while True:
        wanted = [each for each in _example_calls(ask.body) if each.name not in called]
        if (ask.body.get("tool_choice") or {}).get("disable_parallel_tool_use"):
            wanted = wanted[:1]
        called |= {each.name for each in wanted}
        ask = yield Reply(wanted) if wanted else None


_every_tool.__name__ = "every_tool"


def _example_calls(body: Mapping[str, Any]) -> list[ToolCall]:
    choice: Mapping[str, Any] = body.get("tool_choice") or {"type": "auto"}
    tools = [tool for tool in body.get("tools") or () if is_object(tool.get("input_schema"))]
    if choice["type"] == "tool":
        tools = [tool for tool in tools if tool["name"] == choice.get("name")]
    found = [ToolCall(tool["name"], example_for(tool["input_schema"])) for tool in tools]
    return [] if choice["type"] == "none" else found


def _part(part: Any) -> Any:
    match part:
        case str() | Thinking() | ToolCall() | AskToUse() | Compaction():
            return part
        case (str() as name, Mapping() as given):
            return ToolCall(name, cast("Mapping[str, Any]", given))
        case _ if is_object(part) and isinstance(part.get("type"), str):
            return part
        case _:
            raise TypeError(f"expected a text, thoughts, a ToolCall, or a pair of name and input, got {part!r}")
