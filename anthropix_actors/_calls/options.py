"""The options of a call: their types, and their checks."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors._checks.call_errors import parameters_of, unknown_problems
from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.log import shown
from anthropix_actors._http.request import as_task_timeout, beta_names
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from anthropix_actors._calls.client_core import ClientCore

TASK_OPTIONS = ("beta", "extra_headers", "timeout", "max_retries", "workspace_id")
CALL_OPTIONS = (*TASK_OPTIONS, "cancel")
PROFILE_OPTIONS = (*CALL_OPTIONS, "user_profile_id")
"""The options of calls that may be made on behalf of a customer's customer."""

COUNT_OPTIONS = ("extra_body", *PROFILE_OPTIONS)
CHAT_OPTIONS = (*COUNT_OPTIONS, "tag", "output", "resume")
REQUEST_PARTS = ("path_params", "params", "json", "files")
SENDING_OPTIONS = ("beta", "headers", "timeout", "max_retries", "cancel")
REQUEST_OPTIONS = (*REQUEST_PARTS, *SENDING_OPTIONS)
"""The options of `Client.request`: the parts of a request, and how it is sent."""

_HEADERS = {"workspace_id": "anthropic-workspace-id", "user_profile_id": "anthropic-user-profile-id"}
"""Options that the API takes as headers. The caller's own `extra_headers` replace them."""

_ID = r"(?a)[\w.:/-]{1,256}"


def checked_options(options: Mapping[str, Any], *known: str, of: Callable[..., object]) -> dict[str, Any]:
    """Return a copy of a call's options with checked names and values, as `checked_values` does.

    Args:
        options: The caller's options.
        known: The names of all options.
        of: The method whose options they are: an unknown name may be a slip of one of its other parameters.

    Raises:
        ParameterError: an option is unknown, or its value cannot be right.
    """
    unknown = [name for name in options if name not in known]
    names = dict.fromkeys([*parameters_of(of), *known]) if unknown else ()
    return checked_values(options, unknown_problems(unknown, names, of.__qualname__))


def checked_values(options: Mapping[str, Any], problems: Iterable[Problem] = ()) -> dict[str, Any]:
    """Return a checked copy of a call's options; those that the API takes as headers are moved to `extra_headers`.

    Args:
        options: The options; their names are known.
        problems: Those that were found before.

    Raises:
        ParameterError: there are problems, or a value cannot be right.

    Example:
        >>> checked_values({"workspace_id": "wrkspc_1", "extra_headers": {"x-a": "b"}})
        {'extra_headers': {'anthropic-workspace-id': 'wrkspc_1', 'x-a': 'b'}}
    """
    problems = [*problems]
    if options.get("cancel") is not None:
        problems += _cancel_problems(options["cancel"])
    retries = options.get("max_retries")
    if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int) or retries < 0):
        problems.append(Problem("max_retries", f"expected an integer from 0, got {shown(retries)}"))
    checked = dict(options)
    headers: dict[str, str] = {}
    for name, header in _HEADERS.items():
        value = checked.pop(name, None)
        if isinstance(value, str) and re.fullmatch(_ID, value):
            headers[header] = value
        elif value is not None:
            problems.append(Problem(name, f"expected an id of letters, digits and . : / _ -, got {shown(value)}"))
    if problems:
        raise ParameterError(problems)
    if checked.get("beta") is not None:
        checked["beta"] = beta_names(checked["beta"])  # an iterator would be empty when it is read again
    more = checked.get("extra_headers") or {}
    if headers and isinstance(more, Mapping):  # anything else is refused where all headers are merged
        checked["extra_headers"] = {**headers, **more}
    return checked


def tag_problems(tag: object) -> list[Problem]:
    """Return the problem of a tag that is no string."""
    return [] if isinstance(tag, str | None) else [Problem("tag", f"expected a string, got {type(tag).__name__}")]


def resume_problems(resume: object) -> list[Problem]:
    """Return the problem of a chat's `resume` that is neither True nor False."""
    if isinstance(resume, bool | None):
        return []
    return [Problem("resume", f"expected True or False, got {resume!r}")]


def _cancel_problems(given: object) -> list[Problem]:
    with late_import():
        from anthropix_actors._calls.cancel_token import CancelToken
    if isinstance(given, CancelToken):
        return []
    return [Problem("cancel", f"expected a CancelToken, got {type(given).__name__}")]


def task_options(
    core: "ClientCore",
    options: Mapping[str, Any],
    *known: str,
    of: Callable[..., object],
    **patience: float | None,
) -> dict[str, Any]:
    """Return a checked copy of a task's options, for each of its requests, in any thread.

    The client's total timeout is meant for one answer; a task takes as long as it takes, unless it is given its own.

    Args:
        core: The core of the client.
        options: The caller's options.
        known: The names of all options.
        of: The method whose options they are.
        patience: Fields of the client's timeout to replace for this task.

    Raises:
        ParameterError: an option is unknown, or its value cannot be right.
    """
    given = checked_options(options, *known, of=of)
    given["timeout"] = as_task_timeout(given.get("timeout"), replace(core.request_factory.timeout, **patience))
    if isinstance(given.get("extra_headers"), Mapping):
        given["extra_headers"] = dict(given["extra_headers"])
    sent = {name: value for name, value in given.items() if name != "cancel"}
    core.request_factory.build("GET", "/", **sent)  # raises now what every request would raise
    return given
