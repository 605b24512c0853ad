"""Suggestions for unknown names. Pure. Imported for the first that is unknown: `difflib` takes time."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from anthropix_actors._checks.instead import INSTEAD

if TYPE_CHECKING:
    from collections.abc import Collection


_SURE = 0.9
"""How alike names are of which one is taken for a slip: `on_txt` and `on_text` are, `on_next` and `on_text` are not."""


def slip(name: str, known: Collection[str]) -> str | None:
    """Return the known name that another is surely a slip of; None for one that may well be meant.

    Example:
        >>> slip("on_txt", ["on_text"]), slip("on_tetx", ["on_text"]), slip("on_next", ["on_text"])
        ('on_text', 'on_text', None)
    """
    shuffled = [one for one in sorted(known) if sorted(one) == sorted(name)]
    close = shuffled or difflib.get_close_matches(name, sorted(known), n=1, cutoff=_SURE)
    return close[0] if close else None


def hint(name: str, known: Collection[str], of: str = "") -> str:
    """Return what to write in place of an unknown name, as the end of a sentence.

    Args:
        name: The name.
        known: Those that there are.
        of: What they are the parameters of, a key of `INSTEAD`.

    Example:
        >>> hint("mesages", ["messages", "model"])
        '; did you mean messages?'
        >>> hint("system_prompt", ["model", "system"], "Agent")
        '; write system=...'
    """
    instead = INSTEAD.get(of, {})
    begun = [one for one in known if one.startswith(f"{name}_")]  # such as `stop` for `stop_sequences`
    close = [name] if name in instead else begun or difflib.get_close_matches(name, [*known, *instead], n=1)
    if close and close[0] in instead:
        return "; write " + instead[close[0]].replace("{}", name)
    if close:
        return f"; did you mean {close[0]}?"
    if "extra_body" in known:
        return '; if the API knows it, pass it as extra_body={"...": ...}'
    return f"; expected one of {', '.join(known)}"
