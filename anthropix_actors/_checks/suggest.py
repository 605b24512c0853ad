"""Suggestions for unknown names. Pure. Imported for the first that is unknown: `difflib` takes time."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def hint(name: str, known: Collection[str]) -> str:
    """Return what to write in place of an unknown name, as the end of a sentence.

    Example:
        >>> hint("mesages", ["messages", "model"])
        '; did you mean messages?'
    """
    begun = [one for one in known if one.startswith(f"{name}_")]  # such as `stop` for `stop_sequences`
    if close := begun or difflib.get_close_matches(name, known, n=1):
        return f"; did you mean {close[0]}?"
    if "extra_body" in known:
        return '; if the API knows it, pass it as extra_body={"...": ...}'
    return f"; expected one of {', '.join(known)}"
