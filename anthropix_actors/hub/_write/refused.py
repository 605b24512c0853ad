"""What is written in place of an entry that a store does not take: it is too large, or too deep. Pure.

Whoever asked for the answer again would get the same entry, and pay for it. So the answer ends there, and says why. Of
an end, or a retry, a shorter form says what it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.stores import StoreError
from anthropix_actors.stores.error_form import error_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.errors import ParameterError

_LONGEST = 500
"""How many characters of a text are kept."""


def instead_of(entry: Mapping[str, Any], number: int, refusal: ParameterError) -> dict[str, Any] | None:
    """Return what is to be written in place of an entry; None if there is nothing smaller.

    Args:
        entry: The entry.
        number: Its place in the log.
        refusal: What the store says.

    Example:
        >>> from anthropix_actors.errors import ParameterError, Problem
        >>> refusal = ParameterError([Problem("entries[0]", "expected 9 bytes at most")])
        >>> instead_of({"kind": "event", "event": {"type": "ping"}}, 7, refusal)["error"]["says"]
        'the store did not take entry 7 of the log, the event ping: expected 9 bytes at most'
        >>> instead_of({"kind": "cancelled", "reason": "Stop", "partial": {}}, 7, refusal)
        {'kind': 'cancelled', 'reason': 'Stop', 'partial': None}
    """
    shorter = _shorter(entry)
    if shorter is not None and shorter != entry:
        return shorter
    if entry["kind"] in {"failed", "cancelled"}:
        return None
    why = "; ".join(problem.text for problem in refusal.problems)
    what = f"the event {entry['event'].get('type')}" if entry["kind"] == "event" else entry["kind"]
    error = StoreError(f"the store did not take entry {number} of the log, {what}: {why}")
    return {"kind": "failed", "error": _short(error_form(error)), **_usage(entry)}


def _shorter(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    match entry:
        case {"kind": "retrying" | "failed", "error": error}:
            return {**_short(entry), "error": _short(error), **_usage(entry)}
        case {"kind": "cancelled"}:
            return {**_short(entry), "partial": None, **_usage(entry)}
    return None


def _usage(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"usage": entry["usage"]} if "usage" in entry else {}


def _short(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers and texts of an object, and nothing of what is in others."""
    kept = {name: value for name, value in form.items() if isinstance(value, str | int | float)}
    return {name: _cut(value) if isinstance(value, str) else value for name, value in kept.items()}


def _cut(text: str) -> str:
    return text[:_LONGEST].encode(errors="replace").decode()
