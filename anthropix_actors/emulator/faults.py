"""Faults: what can happen to an answer on its way to the client.

A fault wraps an answer or another fault: `Drop(Stall("Hello.", after_events=2), after_events=4)` stalls
after two events and, once released, is dropped after four. Without an answer, it wraps the default one.

Example:
    >>> Drop("Hello there.", after_events=3)
    Drop(answer='Hello there.', after_events=3, after_bytes=None)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anthropix_actors.emulator.answers import Answer


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed in the middle: no `message_stop`, no end of the body.

    Attributes:
        answer: The answer that it wraps.
        after_events: The number of events to send first, pings included; 0 is after the headers.
        after_bytes: The number of bytes of the body to send first. With neither, there is no response at all. If the
            answer is shorter, the connection is closed at its end, before the last chunk that would end the body.
    """

    answer: Answer = None
    after_events: int | None = None
    after_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse two places at once.

        Raises:
            ValueError: both `after_events` and `after_bytes` are given, or one is negative.
        """
        _check_place(self.after_events, self.after_bytes)


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset in the middle, as a crashing proxy does.

    The bytes before it have been handed to the system; some systems discard those that the client has not read yet.

    Attributes:
        answer: The answer that it wraps.
        after_events: As for `Drop`.
        after_bytes: As for `Drop`.
    """

    answer: Answer = None
    after_events: int | None = None
    after_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse two places at once.

        Raises:
            ValueError: both `after_events` and `after_bytes` are given, or one is negative.
        """
        _check_place(self.after_events, self.after_bytes)


@dataclass(frozen=True, slots=True)
class Stall:
    """The answer stops and the connection stays open, until the client hangs up or `Emulator.release()` resumes it.

    Attributes:
        answer: The answer that it wraps.
        after_events: As for `Drop`. With neither, not even the headers are sent.
        after_bytes: As for `Drop`.
        ping_every: Seconds between pings during the stall; None is silence.

    Example:
        >>> Stall(after_events=3, ping_every=0.05)
        Stall(answer=None, after_events=3, after_bytes=None, ping_every=0.05)
    """

    answer: Answer = None
    after_events: int | None = None
    after_bytes: int | None = None
    ping_every: float | None = None

    def __post_init__(self) -> None:
        """Refuse two places at once, and pings before the headers.

        Raises:
            ValueError: both `after_events` and `after_bytes` are given, or one is negative, or `ping_every` is not
                positive or is given without a place.
        """
        _check_place(self.after_events, self.after_bytes)
        if self.ping_every is None:
            return
        if self.ping_every <= 0:
            raise ValueError(f"ping_every must be positive, not {self.ping_every}")
        if self.after_events is None and self.after_bytes is None:
            raise ValueError("ping_every needs headers before the pings: give at least after_events=0")


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An `error` event in the middle of a stream, which ends it. A request without a stream gets it as a status.

    Attributes:
        answer: The answer that it wraps.
        type: The API's name of the error.
        message: What went wrong; by default the API's usual text.
        after_events: The number of events to send first, pings included.
    """

    answer: Answer = None
    type: str = "overloaded_error"
    message: str | None = None
    after_events: int = 3

    def __post_init__(self) -> None:
        """Refuse a negative place.

        Raises:
            ValueError: `after_events` is negative.
        """
        _check_place(self.after_events, None)


@dataclass(frozen=True, slots=True)
class Cut:
    """The body is sent in chunks of other sizes than one event each. Applied last, wherever it is nested.

    Attributes:
        answer: The answer that it wraps.
        every: The bytes of each chunk; a large number joins events.
        sizes: The sizes of the first chunks; the rest is sent unchanged.
    """

    answer: Answer = None
    every: int | None = None
    sizes: Sequence[int] = ()

    def __post_init__(self) -> None:
        """Refuse empty chunks, and both parameters at once.

        Raises:
            ValueError: not exactly one of `every` and `sizes` is given, or a size is not positive.
        """
        if (self.every is None) == (not self.sizes):
            raise ValueError("give exactly one of every and sizes")
        if min(self.sizes or (self.every or 0,)) < 1:
            raise ValueError("every and sizes must be positive: a chunk has at least one byte")


@dataclass(frozen=True, slots=True)
class Pace:
    """The deltas are sent at a rate, as from a model.

    Attributes:
        answer: The answer that it wraps.
        tokens_per_second: The rate; a word or a punctuation mark counts as a token.
    """

    answer: Answer = None
    tokens_per_second: float = 50.0

    def __post_init__(self) -> None:
        """Refuse a rate that would never end.

        Raises:
            ValueError: `tokens_per_second` is not positive.
        """
        if self.tokens_per_second <= 0:
            raise ValueError(f"tokens_per_second must be positive, not {self.tokens_per_second}")


Fault: TypeAlias = Drop | Reset | Stall | ErrorEvent | Cut | Pace
"""Any fault."""


def _check_place(after_events: int | None, after_bytes: int | None) -> None:
    if after_events is not None and after_bytes is not None:
        raise ValueError("give after_events or after_bytes, not both")
    if (after_events or 0) < 0 or (after_bytes or 0) < 0:
        raise ValueError("after_events and after_bytes must be 0 or more")
