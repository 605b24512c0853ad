"""Checks of what the callers of sessions pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.log import shown
from anthropix_actors.endpoints.table import find
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence


def betas_of(method: str, path: str) -> Sequence[str]:
    """Return the betas that an endpoint needs."""
    found = find(method, path)
    return found.betas if found else ()


def event_id_of(after: Any, problems: list[Problem]) -> str | None:
    """Return the id of an event, given itself or its id; add what is wrong to `problems`."""
    if after is None:
        return None
    event_id: Any = after.get("id") if isinstance(after, Mapping) else after
    if isinstance(event_id, str):
        return event_id
    problems.append(Problem("after", f"expected an event, or its id, got {type(after).__name__}"))
    return None


def strings(values: Any, place: str, problems: list[Problem]) -> list[str]:
    """Return a caller's strings; add what is wrong to `problems`."""
    if isinstance(values, str):
        problems.append(Problem(place, "expected types of events, got one string: put it into a list"))
    elif not isinstance(values, Iterable):
        problems.append(Problem(place, f"expected types of events, got {type(values).__name__}"))
    else:
        found = [*values]
        if all(isinstance(value, str) for value in found):
            return found
        problems.append(Problem(place, f"expected types of events, which are strings, got {shown(found)}"))
    return []
