"""Options of work that goes on for hours, fixed when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors._call import checked_options
from anthropix_actors._http.request import as_work_timeout, beta_names

if TYPE_CHECKING:
    from anthropix_actors._caller import Calls


def work_options(calls: Calls, options: Mapping[str, Any], *known: str, **patience: float | None) -> dict[str, Any]:
    """Get a copy of the options of work, which each of its requests can be given, in whatever thread.

    The client's total timeout is one for an answer; work takes as long as it takes, unless it is given its own.

    Args:
        calls: The client's calls.
        options: What the caller gave.
        known: The names that there are.
        patience: Fields of the client's timeout that are others for this work.

    Raises:
        ParameterError: some are none, or cannot be right.
    """
    given = checked_options(options, *known)
    given["timeout"] = as_work_timeout(given.get("timeout"), replace(calls.timeout, **patience))
    given["beta"] = beta_names(given.get("beta"))  # an iterator would be empty from the second request on
    if isinstance(given.get("extra_headers"), Mapping):
        given["extra_headers"] = dict(given["extra_headers"])
    sent = {name: value for name, value in given.items() if name != "cancel"}
    calls.request("GET", "/", **sent)  # raises now what every request would raise
    return given
