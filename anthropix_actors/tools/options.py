"""How a tool is to be run, and what else the API is told of it. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from anthropix_actors._checks.call_errors import unknown_problems
from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._checks.shapes import shown
from anthropix_actors._tasks.subscriber import subscriber_problems
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anthropix_actors._tasks.subscriber import Subscriber

GRACE = 2.0

_UNKNOWN = ("tell", "ask")

WIRE = ("cache_control", "strict", "defer_loading", "allowed_callers", "eager_input_streaming", "input_examples")
"""What the API takes of a tool, besides name, description and schema."""

DEFAULTS: Mapping[str, Any] = {
    "name": None,
    "description": None,
    "timeout": None,
    "grace": GRACE,
    "safe": False,
    "idempotent": False,
    "unknown": "tell",
    "alone": False,
    "approve": False,
    "process": False,
    "actor": None,
    **dict.fromkeys(WIRE),
    "extra": None,
}
"""All options, and their defaults."""


class ToolOptions(TypedDict, total=False):
    """The options of `tool`."""

    name: str | None
    description: str | None
    timeout: float | None
    grace: float
    safe: bool
    idempotent: bool
    unknown: Literal["tell", "ask"]
    alone: bool
    approve: bool
    process: bool
    actor: Subscriber | None
    cache_control: Mapping[str, Any] | None
    strict: bool | None
    defer_loading: bool | None
    allowed_callers: Sequence[str] | None
    eager_input_streaming: bool | None
    input_examples: Sequence[Mapping[str, Any]] | None
    extra: Mapping[str, Any] | None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a tool, checked; those that the API takes are in `wire`."""

    name: str | None
    description: str | None
    timeout: float | None
    grace: float
    safe: bool
    idempotent: bool
    unknown: Literal["tell", "ask"]
    alone: bool
    approve: bool
    process: bool
    actor: Any
    wire: dict[str, Any]


def checked_options(given: Mapping[str, Any]) -> Options:
    """Return options with their defaults.

    Raises:
        ParameterError: some are wrong; it has all problems.

    Example:
        >>> checked_options({"timeout": 30}).timeout
        30.0
        >>> checked_options({"timout": 30})
        Traceback (most recent call last):
        ...
        anthropix_actors.errors.ParameterError: timout: unknown parameter; did you mean timeout?
    """
    problems = unknown_problems(given, DEFAULTS)
    values = {**DEFAULTS, **given}
    timeout, grace = values["timeout"], values["grace"]
    if timeout is not None and not (_is_number(timeout) and timeout > 0):
        problems.append(Problem("timeout", f"expected seconds above 0, or None, got {shown(timeout)}"))
    if not (_is_number(grace) and grace >= 0):
        problems.append(Problem("grace", f"expected seconds from 0, got {shown(grace)}"))
    if values["unknown"] not in _UNKNOWN:
        problems.append(Problem("unknown", f"expected 'tell' or 'ask', got {shown(values['unknown'])}"))
    problems += [
        Problem(name, f"expected True or False, got {shown(values[name])}")
        for name, default in DEFAULTS.items()
        if default is False and not isinstance(values[name], bool)
    ]
    problems += [
        Problem(name, f"expected a string, got {shown(values[name])}")
        for name in ("name", "description")
        if not isinstance(values[name], str | None)
    ]
    if values["actor"] is not None:
        problems += subscriber_problems(
            values["actor"], "actor", "an actor's ref, or something else with a tell method"
        )
        if values["process"]:
            problems.append(Problem("process", "expected none with an actor, which has a thread of its own"))
    wire = {name: values[name] for name in WIRE if values[name] is not None}
    if isinstance(values["extra"], dict | None):
        wire |= values["extra"] or {}
    else:
        problems.append(Problem("extra", f"expected a dict of other keys for the API, got {shown(values['extra'])}"))
    wire = copy_json(wire, "", problems)
    if problems:
        raise ParameterError(problems)
    own: dict[str, Any] = {name: values[name] for name in Options.__struct_fields__ if name != "wire"}
    own |= {"timeout": None if timeout is None else float(timeout), "grace": float(grace)}
    return Options(**own, wire=wire)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
