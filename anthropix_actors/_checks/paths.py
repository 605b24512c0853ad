"""Fills a path template with values. Pure.

A value becomes exactly one segment: it is percent-encoded, and refused if a server or a proxy could take it for `.` or
`..`. So no value, wherever it comes from, leads to another endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from anthropix_actors._checks.shapes import LARGEST, SMALLEST, shown, within
from anthropix_actors.errors import ParameterError, Problem

_PARAMETER = re.compile(r"\{(\w+)\}")
_LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")  # RFC 3986: pchar
_EXAMPLE = "expected a path such as /v1/models/{model_id}"


def fill_path(path: str, path_params: Mapping[str, Any] | None) -> str:
    """Fill a template's `{name}`s, and add `/v1` if it is missing.

    Args:
        path: The template; each parameter is a whole segment. A path without parameters stays as it is.
        path_params: A string or an integer for each parameter.

    Raises:
        ParameterError: a value is missing, unknown, or not usable as one segment; all problems at once.

    Example:
        >>> fill_path("/sessions/{session_id}/events", {"session_id": "a/b"})
        '/v1/sessions/a%2Fb/events'
    """
    problems = list(_problems(path, path_params))
    if problems:
        raise ParameterError(problems)
    values = path_params or {}
    filled = "/".join(_filled(segment, values) for segment in _segments(path))
    return f"/v1/{filled}"


def _segments(path: str) -> list[str]:
    """Return the segments of a path, without the version."""
    segments = path.removeprefix("/").split("/")
    return segments if segments[0] != "v1" else segments[1:] or [""]


def _filled(segment: str, values: Mapping[str, Any]) -> str:
    parameter = _PARAMETER.fullmatch(segment)
    if parameter is None:
        return segment
    value = values[parameter[1]]
    # The str() of a subclass, such as an enum, may be another text.
    return quote(str.__str__(value) if isinstance(value, str) else int.__repr__(value), safe="")


def _problems(path: Any, path_params: Any) -> Iterator[Problem]:
    """Yield all problems of a template and its values."""
    if not isinstance(path, str):
        yield Problem("path", f"{_EXAMPLE}, got {shown(path)}")
        return
    if path_params is not None and not isinstance(path_params, Mapping):
        yield Problem("path_params", f"expected a mapping, got {shown(path_params)}")
        path_params = None
    elif path_params is None:
        path_params = {}
    if "://" in path:
        yield Problem("path", f"{_EXAMPLE}, got a whole URL")
        return
    names = []
    for segment in _segments(path):
        if parameter := _PARAMETER.fullmatch(segment):
            names.append(parameter[1])
        else:
            yield from _literal_problems(segment)
    if path_params is not None:
        yield from _value_problems(names, path_params)


def _literal_problems(segment: str) -> Iterator[Problem]:
    """Yield the problem of a segment that is not a parameter."""
    if not segment:
        yield Problem("path", f"{_EXAMPLE}, got one with an empty segment")
    elif "?" in segment or "#" in segment:
        yield Problem("path", f"expected a path without a query (pass it as `params`), got {shown(segment)}")
    elif not _LITERAL.fullmatch(segment):
        expected = "expected letters, digits and percent codes between its slashes, or a parameter in braces"
        yield Problem("path", f"{expected}, got {shown(segment)}")
    elif why := _astray(segment):
        yield Problem("path", f"expected {why}, got {shown(segment)}")


def _value_problems(names: list[str], values: Mapping[Any, Any]) -> Iterator[Problem]:
    """Yield the problems of values: missing, wrong, or not in the path."""
    for name in dict.fromkeys(names):
        place = within("path_params", name)
        if name not in values:
            yield Problem(place, "required, and missing: expected a string")
        elif wrong := _wrong(values[name]):
            yield Problem(place, f"expected {wrong}, got {shown(values[name])}")
    for name in values:
        if name not in names:
            place = within("path_params", name) if isinstance(name, str) else "path_params"
            known = ", ".join(map(repr, dict.fromkeys(names))) or "none: the path has no parameters"
            yield Problem(place, f"not in the path; expected {known}")


def _wrong(value: Any) -> str | None:
    """Return a text for the expected value, if a value is invalid; None if it is valid."""
    if isinstance(value, int) and not isinstance(value, bool):
        return None if SMALLEST <= value <= LARGEST else "an integer of at most 64 bits"
    if not isinstance(value, str) or not value:
        return "a string that is not empty"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "text that UTF-8 can encode"
    return _astray(value)


def _astray(segment: str) -> str | None:
    """Return a text for the expected segment, if a server or proxy may take this one for more than a name; or None."""
    decoded = unquote(segment)  # some servers decode before they resolve dots, others after
    if decoded in {".", ".."}:
        return "a name, not a step to this folder or the one above"
    if decoded.startswith(";"):
        return "a name, not one that begins with a semicolon"
    return None


def item_path(folder: str, what: str, item: Any) -> str:
    """Return the path of an item, given its id or its object.

    Args:
        folder: The path of the collection.
        what: The name of the parameter, for errors.
        item: The id, or a mapping with an `id`.

    Raises:
        ParameterError: `item` is neither.

    Example:
        >>> item_path("/v1/models", "model", {"id": "claude-sonnet-5", "type": "model"})
        '/v1/models/claude-sonnet-5'
    """
    item_id = item.get("id") if isinstance(item, Mapping) else item
    if not isinstance(item_id, str):
        raise ParameterError([Problem(what, f"expected its id, or its object, got {type(item).__name__}")])
    try:
        return fill_path(folder + "/{id}", {"id": item_id})
    except ParameterError as exc:
        raise ParameterError([Problem(what, problem.text) for problem in exc.problems]) from None
