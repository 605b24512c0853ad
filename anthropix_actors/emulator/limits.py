"""Rate limits: how many requests and tokens the emulator admits per minute, for each model.

As at the API, each limit is a token bucket: it holds a minute's worth and is refilled continuously. Input tokens are
taken when the request comes, output tokens as they are written; so output may take more than there is, and then no
request is admitted until the deficit is refilled.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anthropix_actors.emulator.answers import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each model per minute; requests above them get 429 and a `retry-after`.

    Attributes:
        requests: The number of chats.
        input_tokens: The number of input tokens, except those read from the prompt cache.
        output_tokens: The number of output tokens.
        seconds: How many seconds' worth a bucket holds: the burst that is admitted at once after a rest.

    Raises:
        ValueError: one of them is not positive.

    Example:
        >>> Limits(requests=50)
        Limits(requests=50, input_tokens=4000000, output_tokens=800000, seconds=60.0)

    Source: https://docs.claude.com/en/api/rate-limits, read 2026-11-23.
    """

    requests: int = 4_000
    input_tokens: int = 4_000_000
    output_tokens: int = 800_000
    seconds: float = _MINUTE

    def __post_init__(self) -> None:
        """Refuse limits that would admit nothing."""
        if min(self.requests, self.input_tokens, self.output_tokens, self.seconds) <= 0:
            raise ValueError("requests, input_tokens, output_tokens and seconds must be positive")


class Bucket:
    """One limit of one model. Pure: the time is passed in, in seconds.

    Example:
        >>> bucket = Bucket(per_minute=60, seconds=2.0, now=0.0)
        >>> bucket.take(2, 0.0)
        >>> bucket.level(0.5), bucket.wait(1, 0.5)
        (0.5, 0.5)
    """

    def __init__(self, per_minute: float, seconds: float, now: float) -> None:
        """Start with a full bucket."""
        self.per_minute = per_minute
        self._rate = per_minute / _MINUTE
        self._size = per_minute * seconds / _MINUTE
        self._level = self._size
        self._at = now

    def level(self, now: float) -> float:
        """Return how much it holds; negative if more was taken than it held."""
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
        return self._level

    def take(self, amount: float, now: float) -> None:
        """Take `amount` out, even if it holds less."""
        self._level = self.level(now) - amount

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until it holds `amount`, or is full if that is less."""
        return max(0.0, (min(amount, self._size) - self.level(now)) / self._rate)

    def full_in(self, now: float) -> float:
        """Return the seconds until it is full."""
        return self.wait(self._size, now)


class Meter:
    """The buckets of all models. Not thread-safe: only the event loop uses it.

    Args:
        limits: The limits; None admits every request, and reports the default limits in the headers.

    Attributes:
        enforced: Whether requests above the limits are refused.
    """

    def __init__(self, limits: Limits | None) -> None:
        """Start with full buckets."""
        self.enforced = limits is not None
        self._limits = limits or Limits()
        self._models: dict[str, dict[str, Bucket]] = {}

    def admit(self, model: str, input_tokens: int) -> Status | None:
        """Take a request out of its model's buckets; or take nothing and return the 429 that refuses it."""
        if not self.enforced:
            return None
        buckets, now = self._buckets(model), time.monotonic()
        needs = {"requests": 1.0, "input-tokens": float(input_tokens), "output-tokens": 1.0}
        waits = {kind: buckets[kind].wait(need, now) for kind, need in needs.items()}
        kind = max(waits, key=lambda kind: waits[kind])
        if waits[kind] > 0:
            return _refusal(kind, buckets[kind].per_minute, waits[kind])
        for kind in ("requests", "input-tokens"):
            buckets[kind].take(needs[kind], now)
        return None

    def spend(self, model: str, output_tokens: int) -> None:
        """Take written output tokens out of the model's bucket."""
        self._buckets(model)["output-tokens"].take(output_tokens, time.monotonic())

    def headers(self, model: str) -> Mapping[str, str]:
        """Return the headers that report a model's limits."""
        found = {}
        buckets = self._buckets(model)
        now, wall = time.monotonic(), dt.datetime.now(dt.UTC)
        both = [buckets["input-tokens"], buckets["output-tokens"]]
        for kind, parts in {**{kind: [bucket] for kind, bucket in buckets.items()}, "tokens": both}.items():
            reset = wall + dt.timedelta(seconds=max(part.full_in(now) for part in parts))
            limit = sum(part.per_minute for part in parts)
            remaining = sum(max(0, math.floor(part.level(now))) for part in parts)
            found[f"anthropic-ratelimit-{kind}-limit"] = f"{limit:.0f}"
            found[f"anthropic-ratelimit-{kind}-remaining"] = f"{remaining}"
            found[f"anthropic-ratelimit-{kind}-reset"] = reset.strftime("%Y-%m-%dT%H:%M:%SZ")
        return found

    def _buckets(self, model: str) -> dict[str, Bucket]:
        if model not in self._models:
            now, limits = time.monotonic(), self._limits
            each = {
                "requests": limits.requests,
                "input-tokens": limits.input_tokens,
                "output-tokens": limits.output_tokens,
            }
            self._models[model] = {kind: Bucket(limit, limits.seconds, now) for kind, limit in each.items()}
        return self._models[model]


def _refusal(kind: str, per_minute: float, wait: float) -> Status:
    limit = f"{per_minute:,.0f} {kind.replace('-', ' ')} per minute"
    words = f"This request would exceed your organization's rate limit of {limit}."
    return Status(429, words, retry_after=float(math.ceil(wait)))
