"""Agents: recipes for conversations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from anthropix_actors._checks.call_errors import ExplainedStruct
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._http.request import beta_names
from anthropix_actors.chat.combinations import MOST_BREAKPOINTS
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.tools import tool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from anthropix_actors.tools import Tool


COMPACTION = "compact_20260112"
COMPACTION_BETA = "compact-2026-01-12"

_PLACES = frozenset({"process", "actor", "grace"})

LEAST_TRIGGER = 50_000
"""The fewest tokens at which the API compacts."""


class Limits(ExplainedStruct, frozen=True):
    """What one turn may spend, with all sub-agents below it. None is no limit.

    When one is reached, the model gets one more request, in which it can call no tool, to say what it has.

    Attributes:
        requests: How many requests.
        tokens: How many tokens, read and written. Looked at between two requests.
        seconds: How long; calls that run then are cancelled, an answer that streams goes on.
        tools_at_once: How many calls may run at the same time.
        approval: Seconds until an approval that nobody gives counts as denied.
        store: Seconds to wait for a store that is away; then the turn fails.

    Example:
        >>> Limits(requests=3).tools_at_once
        8
    """

    requests: int | None = 50
    tokens: int | None = None
    seconds: float | None = None
    tools_at_once: int = 8
    approval: float | None = None
    store: float | None = 30.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ParameterError: one of them is not a number above 0.
        """
        problems = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            kinds = int | float if name in {"seconds", "approval", "store"} else int
            fits = isinstance(value, kinds) and not isinstance(value, bool) and value > 0
            if not fits and (value is not None or name == "tools_at_once"):
                what = "seconds above 0" if kinds is not int else "an integer from 1"
                problems.append(Problem(f"limits.{name}", f"expected {what}, got {value!r}"))
        if problems:
            raise ParameterError(problems)


class DelegateOptions(TypedDict, total=False):
    """The options of `Agent.as_tool`, as of `tool`."""

    timeout: float | None
    safe: bool
    idempotent: bool
    alone: bool
    approve: bool
    cache_control: Mapping[str, Any] | None
    strict: bool | None
    defer_loading: bool | None


class Agent(ExplainedStruct, frozen=True, kw_only=True):
    """A recipe for conversations: which model, with which words, tools and limits. It is no actor, and runs nothing.

    Any number of conversations may follow it, at the same time. (The API's managed agents, `/v1/agents`, are another
    thing: they run at the API.)

    Attributes:
        model: The model.
        system: The system prompt.
        tools: Functions, `Tool`s, dicts as on the wire, `{name: ref}` for tools that are actors, or servers (`Mcp`).
        limits: What one turn may spend.
        max_tokens: The most tokens of one answer.
        cache: Whether the API caches the conversation, so that each request pays only for what is new.
        compact_at: The share of the model's `max_input_tokens`, such as 0.8, at which the API puts a summary in the
            place of what came before; None for never. Where that number is not known, at the API's own default.
        params: Other parameters of a chat, such as `thinking`, `temperature` or `beta`.

    Example:
        >>> clerk = Agent(model="claude-sonnet-5", system="You are a clerk.", limits=Limits(requests=5))
        >>> client.converse(clerk).say("Hello").result()["stop_reason"]
        'end_turn'
    """

    model: str
    system: Any = None
    tools: Sequence[Any] = ()
    limits: Limits = Limits()
    max_tokens: int = 4096
    cache: bool = True
    compact_at: float | None = None
    params: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        """Check what would be in two places.

        Raises:
            ParameterError: `params` has what is a field of its own, or what the conversation itself sends; or
                `compact_at` is no share.
        """
        own = {"model", "system", "tools", "max_tokens"}
        sent = {"messages", "stream", "tag", "cancel", "output"}
        problems = [
            Problem(f"params.{name}", f"give it as Agent({name}=...)" if name in own else "the conversation sets this")
            for name in self.params
            if name in own | sent
        ]
        share = self.compact_at
        if share is not None:
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                problems.append(Problem("compact_at", f"expected a share above 0, up to 1, got {share!r}"))
            if any(edit.get("type") == COMPACTION for edit in _edits(self.params)):
                problems.append(Problem("params.context_management", f"leave out {COMPACTION}, as compact_at adds it"))
        if problems:
            raise ParameterError(problems)

    def as_tool(self, name: str, description: str, **options: Unpack[DelegateOptions]) -> Tool[..., Any]:
        """Return a tool that has this agent do a task: a sub-agent, with a conversation of its own for each call.

        It spends of the limits of the turn that calls it, as well as of its own, and is cancelled with it. Its messages
        are told to the turn's subscribers with its name in their `path`; its text is the result.

        Args:
            name: The tool's name.
            description: What the sub-agent is for, for the model that calls it.
            **options: The options of `tool`, such as `timeout`, `approve`, `safe` or `alone`; but not those that say
                where a function runs.

        Raises:
            ParameterError: the API does not take such a name; or an option is unknown, or wrong.

        Example:
            >>> research = Agent(model="claude-sonnet-5", system="You look things up.")
            >>> research.as_tool("research", "Looks something up.").name
            'research'
        """
        wrong = [Problem(each, "expected none: an agent runs in a conversation") for each in _PLACES & {*options}]
        if wrong:
            raise ParameterError(wrong)
        made: Tool[..., Any] = tool(name=name, description=description, **options)(Delegate(self))
        return made

    def most_marks(self, tools: Sequence[Mapping[str, Any]]) -> int:
        """Return how many breakpoints of the cache are left for messages.

        Args:
            tools: The tools as on the wire.
        """
        params = self.request(tools)
        system = params["system"] if isinstance(params["system"], list | tuple) else ()
        own = [each for each in (*tools, *system, params) if each.get("cache_control")]
        return max(0, MOST_BREAKPOINTS - len(own))

    def request(
        self,
        tools: Sequence[Mapping[str, Any]],
        *,
        first: bool = True,
        closing: bool = False,
        window: int | None = None,
    ) -> dict[str, Any]:
        """Return the parameters of a request, without its messages.

        Args:
            tools: The tools as on the wire.
            first: Whether it is the first of its turn: only that one may be made to call a tool.
            closing: Whether the model is to call no tool. The tools stay, as the cache depends on them.
            window: The model's `max_input_tokens`, if it is known.
        """
        params = {"model": self.model, "max_tokens": self.max_tokens, "system": self.system, **self.params}
        if tools:
            params["tools"] = list(tools)
        if self.cache:
            params.setdefault("cache_control", {"type": "ephemeral"})
        choice: Any = params.get("tool_choice")
        if not first and isinstance(choice, Mapping) and choice.get("type") in {"any", "tool"}:
            del params["tool_choice"]
        if closing and tools:
            params["tool_choice"] = {"type": "none"}
        if self.compact_at is not None:
            params |= _compacting(params, self.compact_at, window)
        return params


def _compacting(params: Mapping[str, Any], share: float, window: int | None) -> dict[str, Any]:
    """Return parameters with which the API compacts, and pauses then: so that it is told, and goes on from there.

    Source: https://platform.claude.com/docs/en/build-with-claude/compaction, read 2026-11-27.
    """
    edit: dict[str, Any] = {"type": COMPACTION, "pause_after_compaction": True}
    if window is not None:
        edit["trigger"] = {"type": "input_tokens", "value": max(LEAST_TRIGGER, int(share * window))}
    management = params.get("context_management") or {}
    return {
        "context_management": {**management, "edits": [*_edits(params), edit]},
        "beta": [*beta_names(params.get("beta")), COMPACTION_BETA],
    }


def _edits(params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    management = params.get("context_management")
    edits = management.get("edits") if isinstance(management, Mapping) else None
    return [edit for edit in edits if isinstance(edit, Mapping)] if isinstance(edits, list | tuple) else []


class Delegate:
    """The function of a sub-agent's tool; the conversation that calls it runs the agent in its place."""

    def __init__(self, agent: Agent) -> None:
        """Hold the agent."""
        self.agent = agent

    def __call__(self, task: str) -> str:
        """Do a task.

        Args:
            task: What to do, with all that is needed to do it.
        """
        raise NotImplementedError  # outside of a conversation there is no client to run it with


publish("anthropix_actors", (Agent, Limits))
