"""How long the server has been silent, and which timeout that exceeds. Pure: the caller reads the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors._http.request import no_answer
from anthropix_actors.errors import StalledError

if TYPE_CHECKING:
    from anthropix_actors._http.request import Timeout
    from anthropix_actors.errors import APIError


class StallTimer:
    """The two clocks that run while the client waits for the server; docs/timeouts.md explains what they measure.

    They are plain attributes, as one is written before and after each piece of a response: in the thread of the
    request. The sweeper reads them. The current time restarts a clock, None stops it.

    Attributes:
        idle_since: When the latest progress was made (an event, or bytes of a body), on the monotonic clock; None while
            nothing is expected.
        asked_since: When the wait for the head of a response began; None outside of such a wait.
    """

    __slots__ = ("asked_since", "idle_since")

    def __init__(self) -> None:
        """Start with both clocks stopped."""
        self.idle_since: float | None = None
        self.asked_since: float | None = None

    def stop(self) -> None:
        """Stop both clocks."""
        self.idle_since = self.asked_since = None

    def run_out(self, now: float, timeout: Timeout) -> APIError | None:
        """Return the error of the timeout that has run out at `now`, or None. Any thread."""
        if _is_over(self.idle_since, timeout.idle, now):
            return StalledError(f"no progress but pings for {timeout.idle} s (timeout.idle)", retryable=True)
        if _is_over(self.asked_since, timeout.first_byte, now):
            return no_answer(timeout)
        return None


def _is_over(since: float | None, longest: float | None, now: float) -> bool:
    return since is not None and longest is not None and now - since >= longest
