"""Unknown parameter names, with suggestions for typos. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown_problems(names: Iterable[str], known: Iterable[str]) -> list[Problem]:
    """Return a problem with a hint for each unknown name.

    Example:
        >>> str(unknown_problems(["mesages"], ["messages", "model"])[0])
        'mesages: unknown parameter; did you mean messages?'
    """
    known = list(known)
    return [Problem(str(name), "unknown parameter" + _hint(str(name), known)) for name in names if name not in known]


def _hint(name: str, known: list[str]) -> str:
    with late_import():  # it costs more than the rest of the module, and only an error needs it
        import difflib

    begun = [one for one in known if one.startswith(f"{name}_")]  # such as `stop` for `stop_sequences`
    if close := begun or difflib.get_close_matches(name, known, n=1):
        return f"; did you mean {close[0]}?"
    if "extra_body" in known:
        return '; if the API knows it, pass it as extra_body={"...": ...}'
    return f"; expected one of {', '.join(known)}"
