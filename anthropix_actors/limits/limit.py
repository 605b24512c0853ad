"""How much is left of one of the API's limits, as far as can be known. Pure.

An answer says how much was left when its request was taken. From that follow two bounds for what is left now:

- at most, what the answer to the latest request said, less what was sent after it;
- at least, what any answer said, less all that may have been taken since: what was sent after its request, what was on
  its way when that was sent, and what was written until its answer came.

The lower one holds as long as nobody else uses the limit; and then the upper one may be wrong, where requests overtake
each other. So the smaller of both is believed.

What an answer writes is known at its end, and was taken all the while. So it is taken from what ran over meanwhile, as
nobody had told that there was room for it; and of the rest, only as much as the last minute may have written: all that
was taken before is filled again. A debt is never larger than a minute's worth, whatever a usage says.
"""

from __future__ import annotations

MINUTE = 60.0
"""Seconds that a limit is counted in."""

_SPARE = 0.01  # of a limit: for what others take, for clocks, and for requests that overtake each other


class _Level:
    """One bound for what is left: filled without a break, until it is full.

    Attributes:
        amount: What is left by this bound; less than nothing where more was taken than there was.
        full_since: Since when what comes runs over, what was taken from that left out; None while it is not full.
    """

    __slots__ = ("amount", "full_since")

    def __init__(self, amount: float) -> None:
        """Start with so much."""
        self.amount = amount
        self.full_since: float | None = None

    def fill(self, full: float, rate: float, since: float, now: float) -> None:
        """Let come in what came in."""
        before, self.amount = self.amount, min(full, self.amount + (now - since) * rate)
        if self.amount < full:
            self.full_since = None
        elif before < full or self.full_since is None:
            self.full_since = since + max(0.0, full - before) / rate

    def to(self, amount: float) -> None:
        """Have so much."""
        if amount < self.amount:
            self.full_since = None
        self.amount = amount

    def overflow(self, amount: float, rate: float, since: float, now: float) -> float:
        """Take from what ran over since some time; get how much that was."""
        if self.full_since is None:
            return 0.0
        begun = max(since, self.full_since)
        taken = min(amount, (now - begun) * rate)
        self.full_since = begun + taken / rate
        return taken


class Limit:
    """One limit: so much a minute, of which some is left.

    Args:
        per_minute: How much; positive.
        least: How much is left at least.
        most: How much is left at most.
        now: The time, in seconds.

    Attributes:
        per_minute: How much.
        full: How much it holds at most. That may be less than a minute's worth: as much as was seen.
        newest: The number of the latest request whose answer told of it.

    Example:
        >>> limit = Limit(60, least=4, most=5, now=0.0)
        >>> limit.seen(10.0)
        >>> limit.remaining(now=2.0), limit.remaining(now=60.0)
        (6.0, 10.0)
    """

    def __init__(self, per_minute: float, *, least: float, most: float, now: float) -> None:
        """Start with what is told: nobody waits for a limit of which nothing is known."""
        self.per_minute = per_minute
        self.full = 0.0
        self.newest = 0
        self._rate = per_minute / MINUTE
        self._least, self._most = _Level(max(least, -per_minute)), _Level(max(most, -per_minute))
        self._at = now

    def _advance(self, now: float) -> None:
        now = max(self._at, now)
        for level in (self._least, self._most):
            level.fill(self.full, self._rate, self._at, now)
        self._at = now

    def remaining(self, now: float) -> float:
        """Get what is left now, as far as is known. Changes nothing."""
        filled = max(0.0, now - self._at) * self._rate
        return min(self.full, min(self._least.amount, self._most.amount) + filled)

    def seen(self, amount: float) -> None:
        """Take note that it holds so much, or has to."""
        self.full = max(self.full, min(amount, self.per_minute))

    def at_least(self, amount: float, now: float) -> None:
        """Take note that at least so much is left, if nobody else uses it."""
        self._advance(now)
        self._least.to(max(self._least.amount, amount))

    def at_most(self, amount: float, now: float) -> None:
        """Take note that at most so much is left."""
        self._advance(now)
        self._most.to(max(amount, -self.per_minute))

    def take(self, amount: float, now: float) -> None:
        """Take note that so much is taken."""
        self._advance(now)
        for level in (self._least, self._most):
            level.to(max(level.amount - amount, -self.per_minute))

    def wrote(self, amount: float, since: float, now: float) -> None:
        """Take note that so much was taken, bit by bit, from some time until now."""
        self._advance(now)
        latest = amount * MINUTE / max(MINUTE, now - since)
        for level in (self._least, self._most):
            rest = min(amount - level.overflow(amount, self._rate, since, self._at), latest)
            level.to(max(level.amount - rest, -self.per_minute))

    def give_back(self, amount: float) -> None:
        """Take note that less was taken than said; a negative amount says that it was more."""
        self._least.to(max(self._least.amount + amount, -self.per_minute))

    def forgive(self, now: float) -> None:
        """Forget debts: nobody takes anything, so there can be none for which to wait longer than a minute."""
        self._advance(now)
        for level in (self._least, self._most):
            level.to(max(level.amount, 0.0))

    def wait(self, amount: float, held: float, now: float) -> float:
        """Get the seconds until there is so much beside what is held back for others, and a little to spare.

        A request that takes more than was ever seen, or than there ever is, waits until there might be as much.
        """
        self.seen(amount * (1 + _SPARE))
        spare = self.full * _SPARE
        missing = min(amount, self.full - spare) + held + spare - self.remaining(now)
        return max(0.0, missing / self._rate)
