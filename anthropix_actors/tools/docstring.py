"""What a docstring says of a function and of its parameters: Google's style, its `Args:` section. Pure."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARGUMENTS = frozenset({"Args", "Arguments", "Parameters"})
_LEFT_OUT = frozenset({"Raises", "Example", "Examples", "Yields", "Attributes", "Source", "Todo"})
"""Sections that are for readers of the code. What is returned, and notes, are for the model as well."""

_HEADING = re.compile(r"([A-Z]\w*):\s*\Z")
_ARGUMENT = re.compile(r"\*{0,2}(\w+)\s*(?:\(.*?\))?\s*:(?:\s+|\Z)(.*)")


def read_docstring(text: str | None) -> tuple[str | None, dict[str, str]]:
    r"""Return the description of a function, None if there is none, and those of its parameters by name.

    Example:
        >>> read_docstring("Tell the weather.\n\nArgs:\n    city: Its name,\n        in English.")
        ('Tell the weather.', {'city': 'Its name, in English.'})
    """
    kept: list[str] = []
    arguments: dict[str, str] = {}
    for heading, lines in _sections(inspect.cleandoc(text or "").splitlines()):
        if heading in _ARGUMENTS:
            arguments.update(_arguments(lines))
        elif heading not in _LEFT_OUT:
            kept += [f"{heading}:", *lines] if heading else lines
    return "\n".join(kept).strip() or None, arguments


def _sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield headings and their lines; "" is the heading of what has none. A section ends where the indent does."""
    heading, found = "", list[str]()
    for line in lines:
        indented = not line or line[0].isspace()
        if not indented and (heading or _HEADING.match(line)):
            yield heading, found
            match = _HEADING.match(line)
            heading, found = (match[1], []) if match else ("", [line])
        else:
            found.append(line)
    yield heading, found


def _arguments(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    texts: list[str] = []
    indent: int | None = None
    for line in filter(str.strip, lines):
        words = line.strip()
        here = len(line) - len(line.lstrip())
        indent = here if indent is None else indent
        if here <= indent and (match := _ARGUMENT.match(words)):
            texts = found[match[1]] = [match[2]]
        else:
            texts.append(words)
    return {name: " ".join(filter(None, texts)) for name, texts in found.items() if any(texts)}
