"""What a rule is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator.rules.chat_request import ChatRequest


class Violation(NamedTuple):
    """Something that a rule is against.

    Attributes:
        place: Where; empty where the API's words name none.
        values: What fills the gaps in the rule's words.
    """

    place: str
    values: tuple[object, ...] = ()


Check: TypeAlias = "Callable[[ChatRequest], Iterator[Violation]]"
"""Finds what a rule is against, in the order of the request. Pure; raises nothing, whatever JSON it gets."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that the API refuses with status 400.

    Attributes:
        name: Its name, for `Emulator(without=...)`.
        against: What it refuses.
        says: The API's words, as closely as they are known, after the place; `{}` is what varies.
        source: Where it is known from.
        seen: Whether somebody has seen the API refuse it, and says so there; else it is only documented.

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
        """Get the API's words for everything that it finds."""
        for found in self.check(request):
            said = self.says.format(*found.values)
            yield f"{found.place}: {said}" if found.place else said


def seen(name: str, check: Check, against: str, says: str, source: str) -> Rule:
    """Make a rule that somebody has seen the API keep."""
    return Rule(name, against, says, source, seen=True, check=check)


def documented(name: str, check: Check, against: str, says: str, source: str) -> Rule:
    """Make a rule that nobody was found to have met."""
    return Rule(name, against, says, source, seen=False, check=check)


def issue(repository: str, number: int) -> str:
    """Get the address of an issue or a pull request that quotes the API, directly or through a gateway.

    Example:
        >>> issue("anthropics/claude-code", 8210)
        'https://github.com/anthropics/claude-code/issues/8210'
    """
    return f"https://github.com/{repository}/issues/{number}"


OPENAPI = "the API's OpenAPI document"

DOCS = "https://platform.claude.com/docs/en/"

AEGIS = "https://github.com/aegis-gateway/aegis-ai-gateway (a probe of claude-haiku-4-5 of 2026-08-28)"

FIBER = "https://github.com/aakshintala/fiber (a probe of claude-sonnet-5-5 of 2026-09-29)"
