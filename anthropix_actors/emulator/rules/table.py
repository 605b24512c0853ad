"""The rules by which the API refuses a chat's parameters, each with its source.

The emulator applies all of them, in chats, token counts and batches alike, except those in `Emulator(without=...)`.
The presence and the types of parameters are always checked.

Rules that depend on what a model can do are left to the API, except `prefill-model`.

Example:
    >>> from anthropix_actors.emulator import RULES
    >>> RULES["tool-name-twice"].against
    'two tools with the same name'
"""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import shown
from anthropix_actors.emulator.rules import content as _rules_content
from anthropix_actors.emulator.rules import conversation as _rules_conversation
from anthropix_actors.emulator.rules import params as _rules_params
from anthropix_actors.emulator.rules import thinking as _rules_thinking
from anthropix_actors.emulator.rules import tool_calls as _rules_tool_calls
from anthropix_actors.emulator.rules import tools as _rules_tools
from anthropix_actors.emulator.rules.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anthropix_actors.emulator.rules.chat_request import ChatRequest

__all__ = ["RULES", "Rule", "active", "first_refusal", "table"]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for rules in (
            _rules_params.RULES,
            _rules_content.RULES,
            _rules_tools.RULES,
            _rules_conversation.RULES,
            _rules_tool_calls.RULES,
            _rules_thinking.RULES,
        )
        for rule in rules
    }
)
"""All rules by name, in the order in which they are checked."""


def active(without: Iterable[str] = ()) -> tuple[Rule, ...]:
    """Return the rules, except some.

    Args:
        without: The names of the excepted ones.

    Raises:
        TypeError: `without` is a single string.
        ValueError: a name is not a rule's.

    Example:
        >>> active({"tool-names-twice"})
        Traceback (most recent call last):
        ...
        ValueError: no rule is called 'tool-names-twice'; did you mean 'tool-name-twice'?
    """
    if isinstance(without, str):
        raise TypeError(f"without must be a collection of names: give [{without!r}]")
    names = list(without)
    for name in names:
        if not isinstance(name, str) or name not in RULES:
            near = difflib.get_close_matches(name, RULES, n=1) if isinstance(name, str) else []
            hint = f"did you mean {near[0]!r}?" if near else "see anthropix_actors.emulator.RULES"
            raise ValueError(f"no rule is called {shown(name)}; {hint}")
    return tuple(rule for rule in RULES.values() if rule.name not in names)


def first_refusal(request: ChatRequest, rules: Iterable[Rule]) -> str | None:
    """Return the API's words for the first violation of the rules; None if there is none."""
    return next((words for rule in rules for words in rule.refusals(request)), None)


def table() -> str:
    """Return the rules as a table in Markdown.

    Example:
        >>> print(table().splitlines()[0])
        | name | refuses | in the words | known from |
    """
    rows = ["| name | refuses | in the words | known from |", "|---|---|---|---|"]
    rows += [f"| `{rule.name}` | {rule.against} | {rule.says} | {_source(rule)} |" for rule in RULES.values()]
    return "\n".join(rows) + "\n"


def _source(rule: Rule) -> str:
    address = rule.source if rule.source.startswith("https://") else None
    link = f"<{address}>" if address and " " not in address else rule.source
    return f"{'seen' if rule.seen else 'documented'}: {link}"
