"""How much is left of one of the API's limits, as far as can be known. Pure.

An answer says how much was left when its request was taken. From that follow two bounds for what is left now:

- at most, what the answer to the latest request said, less what was sent after it;
- at least, what any answer said, less all that may have been taken since: what was sent after its request, what was on
  its way when that was sent, and what was written until its answer came.

The lower one holds as long as nobody else uses the limit; and then the upper one may be wrong, where requests overtake
each other. So the smaller of both is believed.
"""

from __future__ import annotations

import math

MINUTE = 60.0
"""Seconds that a limit is counted in."""

_SPARE = 0.01  # of a limit: for what others take, for clocks, and for requests that overtake each other


class Limit:
    """One limit: so much a minute, of which some is left.

    Args:
        per_minute: How much.
        now: The time, in seconds.

    Attributes:
        per_minute: How much.
        full: How much it holds at most. That may be less than a minute's worth: as much as was seen.

    Example:
        >>> limit = Limit(60, now=0.0)
        >>> limit.seen(10.0)
        >>> limit.at_least(4, now=0.0)
        >>> limit.at_most(5, now=0.0)
        >>> limit.left(now=2.0), limit.left(now=60.0)
        (6.0, 10.0)
    """

    def __init__(self, per_minute: float, now: float) -> None:
        """Start without knowing what is left."""
        self.per_minute = per_minute
        self.full = 0.0
        self._least = self._most = -math.inf
        self._at = now

    def _advance(self, now: float) -> None:
        filled = max(0.0, now - self._at) * self.per_minute / MINUTE
        self._least = min(self.full, self._least + filled)
        self._most = min(self.full, self._most + filled)
        self._at = max(self._at, now)

    def left(self, now: float) -> float:
        """Get what is left now, as far as is known."""
        self._advance(now)
        return min(self._least, self._most)

    def seen(self, amount: float) -> None:
        """Take note that it holds so much, or has to."""
        self.full = max(self.full, min(amount, self.per_minute))

    def at_least(self, amount: float, now: float) -> None:
        """Take note that at least so much is left, if nobody else uses it."""
        self._advance(now)
        self._least = max(self._least, amount)

    def at_most(self, amount: float, now: float) -> None:
        """Take note that at most so much is left."""
        self._advance(now)
        self._most = amount

    def take(self, amount: float, now: float) -> None:
        """Take note that so much is taken."""
        self._advance(now)
        self._least -= amount
        self._most -= amount

    def give_back(self, amount: float) -> None:
        """Take note that less was taken than said."""
        self._least += amount

    def wait(self, amount: float, held: float, now: float) -> float:
        """Get the seconds until there is so much beside what is held back for others, and a little to spare.

        A request that takes more than was ever seen, or than there ever is, waits until there might be as much.
        """
        self.seen(amount * (1 + _SPARE))
        spare = self.full * _SPARE
        missing = min(amount, self.full - spare) + held + spare - self.left(now)
        return max(0.0, missing * MINUTE / self.per_minute)
