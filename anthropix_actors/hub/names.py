"""What a hub checks before it does anything. Pure."""

from __future__ import annotations

import math
from typing import Any

from anthropix_actors._foreign.log import shown
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.hub._read.wake_log import WAKE
from anthropix_actors.stores.names import INBOX, LONGEST_NAME, checked_name, store_problems

_LONGEST_HOLDER = 200


def chat_name(name: object) -> str:
    """Return the name of a chat: that of its log, which leaves room for that of its inbox.

    Raises:
        ParameterError: it is none.

    Example:
        >>> chat_name("answer-17")
        'answer-17'
    """
    known = checked_name(name)
    longest = LONGEST_NAME - len(INBOX)
    if len(known) > longest or not is_chat(known):
        what = f"expected 1 to {longest} characters, and none that end with {INBOX} or {WAKE}, got {shown(name)}"
        raise ParameterError([Problem("name", what)])
    return known


def holder_name(name: object) -> str:
    """Return the name of a hub's holder: there is room for those of its own logs.

    Raises:
        ParameterError: it is none.

    Example:
        >>> holder_name("web-3")
        'web-3'
    """
    if len(known := checked_name(name, "holder")) > _LONGEST_HOLDER:
        raise ParameterError([Problem("holder", f"expected 1 to {_LONGEST_HOLDER} characters, got {len(known)}")])
    return known


def is_chat(name: str) -> bool:
    """Return whether a log of this name is that of a chat: others are a hub's own."""
    return not name.endswith((INBOX, WAKE))


def check_options(*, lease: Any, ttl: Any, patience: Any, window: Any) -> None:
    """Refuse options of a hub that cannot be right.

    Raises:
        ParameterError: it has all problems.
    """
    problems = [
        Problem(name, f"expected seconds above 0, got {shown(value)}")
        for name, value in (("lease", lease), ("ttl", ttl), ("patience", patience))
        if not _is_number(value) or not 0 < value < math.inf
    ]
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        problems.append(Problem("window", f"expected an integer from 1, got {shown(window)}"))
    if problems:
        raise ParameterError(problems)


def check_store(store: Any) -> None:
    """Refuse a store that is none.

    Raises:
        ParameterError: it lacks methods.
    """
    if problems := store_problems(store, "claim", "append", "post", "read_many", "put", "take"):
        raise ParameterError(problems)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
