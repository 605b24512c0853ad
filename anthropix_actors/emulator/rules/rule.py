"""`Rule`, and how rules are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator.rules.chat_request import ChatRequest


class Violation(NamedTuple):
    """A place in a request that breaks a rule.

    Attributes:
        place: The place; empty if the API's words name none.
        values: The values of the `{}` in the rule's words.
    """

    place: str
    values: tuple[object, ...] = ()


Check: TypeAlias = "Callable[[ChatRequest], Iterator[Violation]]"
"""Yields the violations of a rule, in the order of the request. Pure; raises nothing, whatever the JSON."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by which the API refuses a request with status 400.

    Attributes:
        name: Its name, for `Emulator(without=...)`.
        against: What it refuses.
        says: The API's words after the place, as closely as they are known; each `{}` stands for a value.
        source: Where it is known from.
        seen: Whether the source shows that the API refused it; else it is only documented.

    Example:
        >>> from anthropix_actors.emulator import RULES
        >>> print(RULES["prefill-whitespace"].says)
        final assistant content cannot end with trailing whitespace
    """

    name: str
    against: str
    says: str
    source: str
    seen: bool
    check: Check = field(repr=False)

    def refusals(self, request: ChatRequest) -> Iterator[str]:
        """Yield the API's words for each violation."""
        for violation in self.check(request):
            text = self.says.format(*violation.values)
            yield f"{violation.place}: {text}" if violation.place else text


def seen(name: str, check: Check, against: str, says: str, source: str) -> Rule:
    """Make a rule whose source shows the API's refusal."""
    return Rule(name, against, says, source, seen=True, check=check)


def documented(name: str, check: Check, against: str, says: str, source: str) -> Rule:
    """Make a rule that is documented; no refusal by it was found."""
    return Rule(name, against, says, source, seen=False, check=check)


def issue(repository: str, number: int) -> str:
    """Return the address of an issue or a pull request that quotes the API, directly or through a gateway.

    Example:
        >>> issue("anthropics/claude-code", 8210)
        'https://github.com/anthropics/claude-code/issues/8210'
    """
    return f"https://github.com/{repository}/issues/{number}"


OPENAPI = "the API's OpenAPI document"

DOCS = "https://platform.claude.com/docs/en/"

AEGIS = "https://github.com/aegis-gateway/aegis-ai-gateway (a probe of claude-haiku-4-5 of 2026-08-28)"

FIBER = "https://github.com/aakshintala/fiber (a probe of claude-sonnet-5-5 of 2026-09-29)"
