"""When the next request of a model may be sent, so that the API's limits are used, but not hit. Pure.

The limits are known from the API's responses. Each says, for each limit, the amount per minute, and the amount that was
left when its request was accepted; limits are refilled continuously. `Limit` estimates the amount left now. Rules:

- a request is sent when every limit has room for it, plus a margin;
- output is reserved for a request from when it is sent until it has ended, as its amount is not known before;
- after a 429, no request is sent before the time that the API asked for, but one is after an hour at the latest;
- with no request in flight, none waits longer than a minute for a limit, whatever the API reported;
- while no limit is known, 32 requests may be unanswered, and one more for each response: many chats that start at once
  would otherwise hit a limit before they know it. After a 429 without limits, the window starts again at one.

Numbers come from outside: invalid ones are ignored.

Source: https://docs.claude.com/en/api/rate-limits, read 2026-11-23.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from anthropix_actors.limits.headers import KINDS, reported
from anthropix_actors.limits.limit_estimate import MINUTE, Limit

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_REQUESTS = 32
"""How many requests may be unanswered before any limit is known."""

FOREVER = math.inf

_SENT = ("requests", "input-tokens", "tokens")
_WRITTEN = ("output-tokens", "tokens")
_FIRST_OUTPUT = 1000.0  # tokens of an answer, before any is known
_LEARNING = 0.2  # the weight of the newest answer in the averages, after the first few
_SPREADS = 2.0  # how many average deviations above its likely input a request must have room for
_WILDEST = 8.0  # the largest factor by which a guess at the input is corrected

_LONGEST_PAUSE = 3600.0  # seconds for which a 429 stops the others at most: then one may try again
_MOST_TOKENS = 1e7  # of one request: more than any model accepts or writes


class Sent:
    """A request in flight.

    Attributes:
        guess: A first guess at its input tokens.
        input: How many input tokens are booked for it.
        output: How many output tokens are reserved for it.
        number: Its place in the order of sending.
        at: When it was sent, in seconds.
        taken: The sum that all requests until then have taken of each limit, including this one.
        written: The output of all requests that had ended by then.
        unsure: The part of `taken` that was unanswered then.
        answered: Whether its response has begun, or never will.
        ended: Whether it has ended.
    """

    __slots__ = ("answered", "at", "ended", "guess", "input", "number", "output", "taken", "unsure", "written")

    def __init__(self, guess: float, input_: float, output: float, number: int, at: float) -> None:
        """Start unanswered."""
        self.guess = guess
        self.input = input_
        self.output = output
        self.number = number
        self.at = at
        self.taken: Mapping[str, float] = {}
        self.written = 0.0
        self.unsure: Mapping[str, float] = {}
        self.answered = self.ended = False

    def cost(self, kind: str) -> float:
        """Return the amount that it takes of a limit when it reaches the API."""
        return {"requests": 1.0, "output-tokens": 0.0}.get(kind, self.input)


class Pacer:
    """The known limits of one model. Not thread-safe: guarded by the lock of the governor.

    Example:
        >>> pacer = Pacer()
        >>> pacer.wait(guess=40, now=0.0)
        0.0
        >>> sent = pacer.send(guess=40, now=0.0)
        >>> limits = {"anthropic-ratelimit-requests-limit": "60", "anthropic-ratelimit-requests-remaining": "0"}
        >>> pacer.answered(sent, limits, now=0.0)
        >>> round(pacer.wait(guess=40, now=0.0), 1)  # one a second
        1.0
    """

    def __init__(self) -> None:
        """Start without any known limit."""
        self._limits: dict[str, Limit] = {}
        self._resume_at = 0.0
        self._window = FIRST_REQUESTS
        self._unanswered = 0
        self._running = 0  # requests that have not ended
        self._number = 0
        self._taken: dict[str, float] = dict.fromkeys(KINDS, 0.0)
        self._unsure: dict[str, float] = dict.fromkeys(KINDS, 0.0)  # the part of `_taken` by unanswered requests
        self._written = 0.0  # output of requests that have ended
        self._held = 0.0  # output reserved for requests that have not ended
        self._input_factor = 1.0
        self._input_spread = 0.0  # its average deviation
        self._output = _FIRST_OUTPUT
        self._seconds = 0.0  # from a request to its end
        self._learned_from = 0

    def wait(self, guess: float, now: float) -> float:
        """Return the seconds until a request may be sent, by the current estimates; 0 if it may be sent at once.

        Args:
            guess: A first guess at its input tokens.
            now: The time, in seconds.
        """
        if now < self._resume_at:
            return self._resume_at - now
        if not self._limits:
            return 0.0 if self._unanswered < self._window else FOREVER
        if not self._running:
            for limit in self._limits.values():
                limit.forgive(now)
        input_ = guess * (self._input_factor + _SPREADS * self._input_spread)
        output = self._output * self._soon()
        costs = {"requests": 1.0, "input-tokens": input_, "output-tokens": output, "tokens": input_ + output}
        return max(limit.wait(costs[kind], self._held_of(kind), now) for kind, limit in self._limits.items())

    def _held_of(self, kind: str) -> float:
        return self._held * self._soon() if kind in _WRITTEN else 0.0

    def _soon(self) -> float:
        """Return the share of an answer that is written within a minute: later output does not count yet."""
        return MINUTE / max(MINUTE, self._seconds)

    def send(self, guess: float, now: float) -> Sent:
        """Note that a request is sent; return its booking."""
        self._number += 1
        sent = Sent(guess, guess * self._input_factor, self._output, self._number, now)
        sent.unsure = self._unsure.copy()
        self._unanswered += 1
        self._running += 1
        self._held += sent.output
        for kind in _SENT:
            self._book(kind, sent.cost(kind), now)
        sent.taken, sent.written = self._taken.copy(), self._written
        return sent

    def _book(self, kind: str, amount: float, now: float) -> None:
        self._unsure[kind] += amount
        self._taken[kind] += amount
        if kind in self._limits:
            self._limits[kind].send(amount, now)

    def answered(self, sent: Sent, headers: Mapping[str, str], now: float) -> None:
        """Note that a response has begun, or never will; its headers report the limits."""
        if sent.answered:
            return
        sent.answered = True
        self._unanswered -= 1
        self._window += 1
        for kind in _SENT:
            self._unsure[kind] -= sent.cost(kind)
            if kind in self._limits:
                self._limits[kind].answered(sent.cost(kind), now)
        for kind, per_minute, left in reported(headers):
            self._told(sent, kind, per_minute, left, now)

    def _told(self, sent: Sent, kind: str, per_minute: float, left: float, now: float) -> None:
        """Note how much of a limit was left when a request was accepted."""
        limit = self._limits.get(kind)
        most = left - (self._taken[kind] - sent.taken[kind])
        least = most - sent.unsure[kind] - (self._written - sent.written if kind in _WRITTEN else 0.0)
        newer = limit is None or sent.number >= limit.newest
        if limit is None or (newer and limit.per_minute != per_minute):
            in_flight = self._unsure[kind]
            limit = self._limits[kind] = Limit(per_minute, least=least, most=most, now=now, in_flight=in_flight)
        elif limit.per_minute != per_minute:
            return  # overtaken by a newer response: the limit has changed since
        limit.seen(left + sent.cost(kind))
        limit.at_least(least, now)
        if newer:
            limit.newest = sent.number
            limit.at_most(most, now)

    def refused(self, sent: Sent, seconds: float, now: float) -> None:
        """Note a 429: no request is sent for `seconds`."""
        for kind in _SENT:
            self._give_back(kind, sent.cost(kind))
        self._resume_at = max(self._resume_at, now + min(max(0.0, seconds), _LONGEST_PAUSE))
        self._window = 1

    def ended(self, sent: Sent, usage: Mapping[str, Any] | None, now: float) -> None:
        """Note that a request has ended; learn from its usage, if its answer was complete."""
        if sent.ended:
            return
        sent.ended = True
        self.answered(sent, {}, now)
        self._running -= 1
        self._held -= sent.output
        if not usage:
            return
        self._learned_from += 1
        share = max(_LEARNING, 1 / self._learned_from)
        self._seconds += share * (max(0.0, now - sent.at) - self._seconds)
        output = _count(usage, "output_tokens")
        if output is not None:
            self._written += output
            for kind in _WRITTEN:
                if kind in self._limits:
                    self._limits[kind].wrote(output, sent.at, now)
            self._output += share * (output - self._output)
        # Input that is read from the cache does not count.
        read, cached = _count(usage, "input_tokens"), _count(usage, "cache_creation_input_tokens")
        if read is not None:
            self._settle(sent, read + (cached or 0.0), share)

    def _settle(self, sent: Sent, read: float, share: float) -> None:
        """Replace the input booked for a request by its actual input, and learn from the difference."""
        for kind in ("input-tokens", "tokens"):
            self._give_back(kind, sent.input - read)
        if sent.guess > 0:
            factor = min(max(read / sent.guess, 1 / _WILDEST), _WILDEST)
            off = factor - self._input_factor
            self._input_factor += share * off
            self._input_spread += share * (abs(off) - self._input_spread)

    def _give_back(self, kind: str, amount: float) -> None:
        if kind in self._limits:
            self._limits[kind].give_back(amount)

    def remaining(self, now: float) -> dict[str, tuple[float, float]]:
        """Return, for each known limit, the amount per minute, and the estimate of the amount left."""
        return {
            kind: (limit.per_minute, max(0.0, limit.remaining(now) - self._held_of(kind)))
            for kind, limit in self._limits.items()
        }


def _count(usage: Mapping[str, Any], name: str) -> float | None:
    value = usage.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST_TOKENS:
        return None
    return float(value)
