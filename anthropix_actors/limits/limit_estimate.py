"""Estimates how much is left of one of the API's limits. Pure.

A limit is refilled continuously, like a token bucket. A response says how much was left when its request was accepted.
From that follow two bounds for the amount left now:

- at most: the amount in the response to the latest request, less what was sent after that request;
- at least: the amount in any response, less all that may have been taken since: what was sent after its request, what
  was in flight when that was sent, and the output until its response arrived.

The lower bound holds as long as no other client uses the limit; the upper bound may be wrong if requests overtake each
other. So the estimate is the smaller of both.

A limit that is full is not refilled. A request in flight may not have arrived yet, and then the limit may have been
full all the time since it was sent. So the lower bound is refilled only up to what the requests in flight leave of it.

The output of an answer is known only at its end, but was taken all along. So it is first taken from the overflow: the
refill that was not counted meanwhile because the limit seemed full, though it was not. Of the rest, only as much is
taken as the last minute may have written: all taken before is refilled by now. A debt is never larger than a minute's
worth, whatever the usage says.
"""

from __future__ import annotations

MINUTE = 60.0
"""Seconds in which a limit is refilled completely."""

_SPARE = 0.01  # of a limit: a margin for other clients, for clocks, and for requests that overtake each other


class _Level:
    """One bound for the amount left: refilled continuously, until it is full.

    Attributes:
        amount: The amount left by this bound; negative if more was taken than was left.
        full_since: The start of the overflow that was not yet taken; None while it is not full.
    """

    __slots__ = ("amount", "full_since")

    def __init__(self, amount: float) -> None:
        """Start with `amount`."""
        self.amount = amount
        self.full_since: float | None = None

    def fill(self, full: float, rate: float, since: float, now: float) -> None:
        """Refill for the time from `since` to `now`."""
        before, self.amount = self.amount, min(full, self.amount + (now - since) * rate)
        if self.amount < full:
            self.full_since = None
        elif before < full or self.full_since is None:
            self.full_since = since + max(0.0, full - before) / rate

    def to(self, amount: float) -> None:
        """Set the amount."""
        if amount < self.amount:
            self.full_since = None
        self.amount = amount

    def overflow(self, amount: float, rate: float, since: float, now: float) -> float:
        """Take at most `amount` from the overflow since `since`; return how much was taken."""
        if self.full_since is None:
            return 0.0
        begun = max(since, self.full_since)
        taken = min(amount, (now - begun) * rate)
        self.full_since = begun + taken / rate
        return taken


class Limit:
    """The estimate of one limit.

    Args:
        per_minute: The limit per minute; positive.
        least: The amount that is left at least.
        most: The amount that is left at most.
        now: The time, in seconds.
        in_flight: The amount that unanswered requests take of it.

    Attributes:
        per_minute: The limit per minute.
        full: The capacity, at most `per_minute`: the largest amount that was seen left, or needed.
        newest: The number of the latest request whose response reported the limit.
        in_flight: The amount that unanswered requests take of it.

    Example:
        >>> limit = Limit(60, least=4, most=5, now=0.0)
        >>> limit.seen(10.0)
        >>> limit.remaining(now=2.0), limit.remaining(now=60.0)
        (6.0, 10.0)
    """

    def __init__(self, per_minute: float, *, least: float, most: float, now: float, in_flight: float = 0.0) -> None:
        """Start with the first amounts that a response reported."""
        self.per_minute = per_minute
        self.full = 0.0
        self.newest = 0
        self.in_flight = in_flight
        self._rate = per_minute / MINUTE
        self._least, self._most = _Level(max(least, -per_minute)), _Level(max(most, -per_minute))
        self._at = now

    def _advance(self, now: float) -> None:
        now = max(self._at, now)
        self._least.fill(self.full - self.in_flight, self._rate, self._at, now)
        self._most.fill(self.full, self._rate, self._at, now)
        self._at = now

    def remaining(self, now: float) -> float:
        """Return the estimate of the amount left now. Changes nothing."""
        filled = max(0.0, now - self._at) * self._rate
        return min(self.full, self._most.amount + filled, self.full - self.in_flight, self._least.amount + filled)

    def seen(self, amount: float) -> None:
        """Note that the capacity is at least `amount`, or `per_minute` if that is less."""
        self.full = max(self.full, min(amount, self.per_minute))

    def at_least(self, amount: float, now: float) -> None:
        """Note that at least `amount` is left, if no other client uses the limit."""
        self._advance(now)
        self._least.to(max(self._least.amount, amount))

    def at_most(self, amount: float, now: float) -> None:
        """Note that at most `amount` is left."""
        self._advance(now)
        self._most.to(max(amount, -self.per_minute))

    def send(self, amount: float, now: float) -> None:
        """Note that a request is sent that takes `amount`."""
        self.take(amount, now)
        self.in_flight += amount

    def answered(self, amount: float, now: float) -> None:
        """Note that a request which was sent is answered: its `amount` has been taken by now."""
        self._advance(now)
        self.in_flight = max(0.0, self.in_flight - amount)

    def take(self, amount: float, now: float) -> None:
        """Note that `amount` is taken now."""
        self._advance(now)
        for level in (self._least, self._most):
            level.to(max(level.amount - amount, -self.per_minute))

    def wrote(self, amount: float, since: float, now: float) -> None:
        """Note that `amount` was taken bit by bit, from `since` until now."""
        self._advance(now)
        latest = amount * MINUTE / max(MINUTE, now - since)
        for level in (self._least, self._most):
            rest = min(amount - level.overflow(amount, self._rate, since, self._at), latest)
            level.to(max(level.amount - rest, -self.per_minute))

    def give_back(self, amount: float) -> None:
        """Note that `amount` less was taken than noted before, or more if it is negative."""
        self._least.to(max(self._least.amount + amount, -self.per_minute))

    def forgive(self, now: float) -> None:
        """Forget debts: nothing is in flight, so no request should wait longer than a minute."""
        self._advance(now)
        for level in (self._least, self._most):
            level.to(max(level.amount, 0.0))

    def wait(self, amount: float, held: float, now: float) -> float:
        """Return the seconds until `amount` is left on top of `held`, plus a small margin.

        A request larger than anything seen, or than the limit itself, waits until the limit could be full.
        """
        self.seen(amount * (1 + _SPARE))
        spare = self.full * _SPARE
        missing = min(amount, self.full - spare) + held + spare - self.remaining(now)
        return max(0.0, missing / self._rate)
