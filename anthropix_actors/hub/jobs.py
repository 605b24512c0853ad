"""Chats that are to be run by whoever takes them: what a job holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._calls.options import CHAT_OPTIONS, checked_values
from anthropix_actors._checks.call_errors import unknown_problems
from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._foreign.log import shown
from anthropix_actors.chat.parameters import MAX_TOKENS, PARAMETERS, chat_body
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS = ("beta", "max_retries", "resume", "timeout", "user_profile_id", "workspace_id")
"""The options of a chat that a job may have: JSON, without anything that holds a key."""

FORMAT = 1
"""The version of jobs: one without a `format` has it."""

_OLDEST_VERSION = "2023-06-01"
"""The version of the API that takes most: which one the worker's client speaks is not known."""


def job_data(params: Mapping[str, Any], *, retry_lost: bool = False, tag: str | None = None) -> dict[str, Any]:
    """Return the job of a chat, as JSON; files that are in its parameters are read.

    Raises:
        ParameterError: the parameters are wrong; it has all problems.

    Example:
        >>> hello = [{"role": "user", "content": "Hello"}]
        >>> job_data({"model": "claude-sonnet-5", "messages": hello, "max_tokens": 9})["params"]["max_tokens"]
        9
    """
    given = dict(params)
    extra = given.pop("extra_body", None)
    options = {name: given.pop(name) for name in CHAT_OPTIONS if name in given}
    problems = [*unknown_problems(given, (*PARAMETERS, *CHAT_OPTIONS), "chat"), *_problems(options, retry_lost, tag)]
    if problems:
        raise ParameterError(problems)
    checked_values(options)
    given.setdefault("max_tokens", MAX_TOKENS)
    body = chat_body(given, api_version=_OLDEST_VERSION, extra_body=extra)
    job: dict[str, Any] = {name: body.pop(name) for name in PARAMETERS if name in body}
    if body:
        job["extra_body"] = body
    plain = copy_json({name: value for name, value in options.items() if value is not None}, "", problems)
    if problems:
        raise ParameterError(problems)
    return {"params": {**job, **plain}, "retry_lost": retry_lost, "tag": tag}


def job_problem(fault: str | None, data: Mapping[str, Any]) -> Problem | None:
    """Return why a job cannot be asked: it is none of ours, or of a newer version; None for others.

    Args:
        fault: Why the store could not read it, or None.
        data: What was put.

    Example:
        >>> job_problem(None, {"format": 2}).text
        'expected a job of format 1, got 2: it was put by a newer version'
    """
    if fault is not None:
        return params_problem(fault)
    if (version := data.get("format", FORMAT)) != FORMAT:
        what = f"expected a job of format {FORMAT}, got {shown(version)}: it was put by a newer version"
        return Problem("format", what)
    params = data.get("params")
    return None if isinstance(params, dict) else params_problem(f"got {shown(params)}")


def params_problem(what: str) -> Problem:
    """Return what is wrong with parameters that are none."""
    return Problem("params", f"expected the parameters of a chat, {what}")


def _problems(options: Mapping[str, Any], retry_lost: object, tag: object) -> list[Problem]:
    what = "expected none: a job is JSON, and has neither headers nor objects of this program"
    problems = [Problem(name, what) for name in options if name not in _OPTIONS]
    if not isinstance(retry_lost, bool):
        problems.append(Problem("retry_lost", f"expected True or False, got {shown(retry_lost)}"))
    if not isinstance(tag, str | None):
        problems.append(Problem("tag", f"expected a string, got {shown(tag)}"))
    return problems
