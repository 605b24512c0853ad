"""Suggestions for unknown names. Pure. Imported for the first that is unknown: `difflib` takes time."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from anthropix_actors._checks.instead import INSTEAD

if TYPE_CHECKING:
    from collections.abc import Collection


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
