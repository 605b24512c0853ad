"""When the next request of a model may be sent, so that the API's limits are used and not run into. Pure.

What is known comes from the API's answers. Each says, for each limit, how much there is by the minute, and how much was
left when its request was taken; that is filled again without a break. A `Limit` knows what that means for now. Rules:

- a request goes when every limit has room for it, with a little to spare;
- its output is held back from when it is sent until it has ended: nobody knows before how much it is going to be;
- after a 429, none goes before the time that the API asked for;
- as long as no limit is known, 32 requests may wait for an answer, and one more for each answer that came: a crowd that
  starts at once would else run into a wall that nobody has told it of. After a 429 without limits it begins with one.

Source: https://docs.claude.com/en/api/rate-limits, read 2026-11-23.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from anthropix_actors._limit import MINUTE, Limit

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_REQUESTS = 32
"""How many requests may wait for their answer before anything is known of limits."""

FOREVER = math.inf

_KINDS = ("requests", "input-tokens", "output-tokens", "tokens")
_SENT = ("requests", "input-tokens", "tokens")
_WRITTEN = ("output-tokens", "tokens")
_PREFIX = "anthropic-ratelimit-"
_BYTES_PER_TOKEN = 4.0
_TOKENS_PER_MEDIUM = 1500.0
"""What an image or a document is taken for, whatever its size: its bytes say nothing."""

_FIRST_OUTPUT = 1000.0  # tokens of an answer, before any came
_LEARNING = 0.2  # the share of the newest answer in what is learned, after the first few
_SPREADS = 2.0  # a request is let go when there is room for so much more than it is likely to take
_WILDEST = 8.0  # how far off a guess at the input may be taken to be


class Sent:
    """A request on its way.

    Attributes:
        guess: A first guess at its input tokens.
        input: How many input tokens are booked for it.
        output: How many output tokens are held back for it.
        number: Its place among all that were sent.
        at: When it was sent, in seconds.
        taken: What all requests until then have taken of each limit, itself included.
        written: The output of all that had ended.
        unsure: What of `taken` may not have reached the API before it.
        answered: Whether its answer has begun, or none will.
    """

    __slots__ = ("answered", "at", "guess", "input", "number", "output", "taken", "unsure", "written")

    def __init__(self, guess: float, input_: float, output: float, number: int, at: float) -> None:
        """Start without an answer."""
        self.guess = guess
        self.input = input_
        self.output = output
        self.number = number
        self.at = at
        self.taken: Mapping[str, float] = {}
        self.written = 0.0
        self.unsure: Mapping[str, float] = {}
        self.answered = False

    def cost(self, kind: str) -> float:
        """Get what it takes of a limit when it reaches the API."""
        return {"requests": 1.0, "output-tokens": 0.0}.get(kind, self.input)


class Pacer:
    """The limits of one model, as far as they are known. Not thread-safe.

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
        """Start without knowing anything."""
        self._limits: dict[str, Limit] = {}
        self._resume_at = 0.0
        self._window = FIRST_REQUESTS
        self._unanswered = 0
        self._number = 0
        self._newest = 0  # of those with an answer
        self._taken: dict[str, float] = dict.fromkeys(_KINDS, 0.0)
        self._unsure: dict[str, float] = dict.fromkeys(_KINDS, 0.0)  # of what was taken, by requests without an answer
        self._written = 0.0  # output of requests that have ended
        self._held = 0.0  # output of requests that have not ended
        self._input_factor = 1.0
        self._input_spread = 0.0  # how far off that was, on average
        self._output = _FIRST_OUTPUT
        self._seconds = 0.0  # from a request to its end
        self._learned_from = 0

    def wait(self, guess: float, now: float) -> float:
        """Get the seconds until a request may be sent, as far as is known now; 0 when it may now.

        Args:
            guess: A first guess at its input tokens.
            now: The time, in seconds.
        """
        if now < self._resume_at:
            return self._resume_at - now
        if not self._limits:
            return 0.0 if self._unanswered < self._window else FOREVER
        input_, output = guess * (self._input_factor + _SPREADS * self._input_spread), self._output
        costs = {"requests": 1.0, "input-tokens": input_, "output-tokens": output, "tokens": input_ + output}
        return max(limit.wait(costs[kind], self._held_of(kind), now) for kind, limit in self._limits.items())

    def _held_of(self, kind: str) -> float:
        if kind not in _WRITTEN:
            return 0.0
        # What is written in the minutes to come is no matter yet.
        return self._held * min(1.0, MINUTE / self._seconds) if self._seconds else self._held

    def send(self, guess: float, now: float) -> Sent:
        """Note that a request goes."""
        self._number += 1
        sent = Sent(guess, guess * self._input_factor, self._output, self._number, now)
        sent.unsure = self._unsure.copy()
        self._unanswered += 1
        self._held += sent.output
        for kind in _SENT:
            self._unsure[kind] += sent.cost(kind)
            self._taken[kind] += sent.cost(kind)
            self._take(kind, sent.cost(kind), now)
        sent.taken, sent.written = self._taken.copy(), self._written
        return sent

    def _take(self, kind: str, amount: float, now: float) -> None:
        if kind in self._limits:
            self._limits[kind].take(amount, now)

    def answered(self, sent: Sent, headers: Mapping[str, str], now: float) -> None:
        """Note that an answer has begun, or that none will; its headers say what was left."""
        if sent.answered:
            return
        sent.answered = True
        self._unanswered -= 1
        self._window += 1
        for kind in _SENT:
            self._unsure[kind] -= sent.cost(kind)
        for kind in _KINDS:
            per_minute = _number(headers.get(f"{_PREFIX}{kind}-limit"))
            left = _number(headers.get(f"{_PREFIX}{kind}-remaining"))
            if per_minute and left is not None:
                self._told(sent, kind, per_minute, left, now)

    def _told(self, sent: Sent, kind: str, per_minute: float, left: float, now: float) -> None:
        """Note how much of a limit was left when a request was taken."""
        limit = self._limits.get(kind)
        if limit is None or limit.per_minute != per_minute:
            limit = self._limits[kind] = Limit(per_minute, now)
        limit.seen(left + sent.cost(kind))
        most = left - (self._taken[kind] - sent.taken[kind])
        written = self._written - sent.written if kind in _WRITTEN else 0.0
        limit.at_least(most - sent.unsure[kind] - written, now)
        if sent.number >= self._newest:
            self._newest = sent.number
            limit.at_most(most, now)

    def refused(self, sent: Sent, seconds: float, now: float) -> None:
        """Note a 429: no request goes for so many seconds."""
        for kind in _SENT:
            self._give_back(kind, sent.cost(kind))
        self._resume_at = max(self._resume_at, now + seconds)
        self._window = 1

    def ended(self, sent: Sent, usage: Mapping[str, Any] | None, now: float) -> None:
        """Note that a request has ended; learn from what it took, if it was answered to its end."""
        self._held -= sent.output
        if not usage:
            return
        output = _count(usage, "output_tokens")
        self._written += output
        for kind in _WRITTEN:
            self._take(kind, output, now)
        # What was read from the cache does not count.
        read = _count(usage, "input_tokens") + _count(usage, "cache_creation_input_tokens")
        for kind in ("input-tokens", "tokens"):
            self._give_back(kind, sent.input - read)
        self._learned_from += 1
        share = max(_LEARNING, 1 / self._learned_from)
        self._output += share * (output - self._output)
        self._seconds += share * (now - sent.at - self._seconds)
        if sent.guess > 0:
            factor = min(max(read / sent.guess, 1 / _WILDEST), _WILDEST)
            off = factor - self._input_factor
            self._input_factor += share * off
            self._input_spread += share * (abs(off) - self._input_spread)

    def _give_back(self, kind: str, amount: float) -> None:
        if kind in self._limits:
            self._limits[kind].give_back(amount)

    def left(self, now: float) -> dict[str, tuple[float, float]]:
        """Get, for each limit that is known, how much there is by the minute, and how much is left."""
        return {
            kind: (limit.per_minute, max(0.0, limit.left(now) - self._held_of(kind)))
            for kind, limit in self._limits.items()
        }


def input_guess(body: Mapping[str, Any]) -> float:
    """Guess the input tokens of a request's body, before anything is learned.

    Example:
        >>> input_guess({"messages": [{"role": "user", "content": "Four letters a token."}], "max_tokens": 9})
        6.25
    """
    tokens, todo = 0.0, [body.get(part) for part in ("system", "messages", "tools")]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            tokens += len(value) / _BYTES_PER_TOKEN
        elif isinstance(value, dict):
            if value.get("type") in {"base64", "url", "file"}:  # the source of an image or a document
                tokens += _TOKENS_PER_MEDIUM
            else:
                todo.extend(value.values())
        elif isinstance(value, (list, tuple)):
            todo.extend(value)
    return tokens


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < FOREVER else None


def _count(usage: Mapping[str, Any], name: str) -> float:
    value = usage.get(name)
    return float(value) if isinstance(value, (int, float)) and value > 0 else 0.0
