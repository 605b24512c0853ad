"""The headers by which the API reports its rate limits. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KINDS = ("requests", "input-tokens", "output-tokens", "tokens")
"""The limits, as the headers name them."""

_PREFIX = "anthropic-ratelimit-"
_MOST_PER_MINUTE = 1e12


def reported(headers: Mapping[str, str]) -> Iterator[tuple[str, float, float]]:
    """Yield kind, amount per minute and amount left of each limit that a response reports; odd values are left out.

    Example:
        >>> list(reported({"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49"}))
        [('requests', 50.0, 49.0)]
    """
    for kind in KINDS:
        per_minute = _number(headers.get(f"{_PREFIX}{kind}-limit"))
        left = _number(headers.get(f"{_PREFIX}{kind}-remaining"))
        if per_minute is not None and 1 <= per_minute <= _MOST_PER_MINUTE and left is not None:
            yield kind, per_minute, left


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
