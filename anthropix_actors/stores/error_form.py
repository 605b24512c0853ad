"""Errors as JSON, and the same class of error made of it again, on another machine. Pure."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors import errors
from anthropix_actors.errors import AnthropixError, APIError, Problem
from anthropix_actors.stores import log as logs

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLASSES: dict[str, type[AnthropixError]] = {
    name: thing
    for module in (errors, logs)
    for name, thing in vars(module).items()
    if isinstance(thing, type) and issubclass(thing, AnthropixError)
}

_FACTS = (
    *("partial", "request_id", "attempts", "retryable", "reason", "text", "holder"),
    *("message", "status", "type", "body", "in_stream", "retry_after", "method", "url", "unsent"),
)
"""What is kept of an error, where it has it. Headers are not: they may name an organisation."""


def error_form(error: BaseException) -> dict[str, Any]:
    """Return an error as JSON: its class, or the nearest that other machines know, its text, and what is known of it.

    Example:
        >>> error_form(AnthropixError("no"))
        {'class': 'AnthropixError', 'says': 'no'}
    """
    kind = next((each for each in type(error).__mro__ if _CLASSES.get(each.__name__) is each), AnthropixError)
    form: dict[str, Any] = {"class": kind.__name__, "says": _said(error)}
    for name in _FACTS:
        value = getattr(error, name, None)
        if value is not None and value != getattr(kind, name, None) and (plain := as_json(value)) is not None:
            form[name] = plain
    if isinstance(error, errors.ParameterError):
        form["problems"] = [[problem.place, problem.text] for problem in error.problems]
    return form


def error_of(form: Mapping[str, Any]) -> AnthropixError:
    """Return the error that a form tells of; an `AnthropixError` for a class that is not known here.

    Example:
        >>> error_of({"class": "OverloadedError", "says": "Overloaded", "message": "Overloaded", "status": 529}).status
        529
    """
    kind = _CLASSES.get(form.get("class", ""), AnthropixError)
    said = form.get("says", "")
    error = errors.made_again(kind, (said,))
    if isinstance(error, APIError):
        APIError.__init__(error, said)
    if isinstance(error, errors.ParameterError):
        error.problems = tuple(Problem(place, text) for place, text in form.get("problems", ()))
    vars(error).update({name: form[name] for name in _FACTS if name in form})
    return error


def as_json(value: Any) -> Any:
    """Return a value in the types of JSON; None for what has no such form."""
    with contextlib.suppress(Exception):  # it may be any object, with code of its own
        return msgspec.json.decode(msgspec.json.encode(value))
    return None


def _said(error: BaseException) -> str:
    """Return the text that an error was made with: `str` adds details, which are made again of the fields."""
    said = error.args[0] if error.args else ""
    return said if isinstance(said, str) else str(error)
