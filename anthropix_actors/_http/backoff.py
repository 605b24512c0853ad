"""The decision after a failed attempt, of any kind: another one after a delay, or the error.

The caller keeps the loop: it attempts, catches the error, and passes it to `Backoff.wait`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from anthropix_actors._http.requester import Requester
    from anthropix_actors._http.retry import RetryPolicy
    from anthropix_actors.errors import APIError

    Retrying: TypeAlias = Callable[[APIError, int, float], object]
    """Called before the delay of each retry: with the error, the number of the failed attempt, and the delay."""


class Backoff:
    """Counts failed attempts in a row, such as those of one request, or connections to one session.

    Args:
        requester: Sends the requests of an attempt.
        policy: How often to retry, and after which delays.

    Attributes:
        failures: The number of failed attempts in a row.
    """

    def __init__(self, requester: Requester, policy: RetryPolicy) -> None:
        """Start without failures."""
        self.failures = 0
        self._uncounted = 0  # failures that do not count for the policy
        self._requester = requester
        self._policy = policy

    def reset(self) -> None:
        """Count from 0 again, after progress."""
        self.failures = self._uncounted = 0

    def delay(self, error: APIError, *, veto: bool = False, at_once: bool = False) -> float:
        """Count a failure; return the seconds until the next attempt.

        Args:
            error: Why the attempt failed.
            veto: Whether a retry is forbidden.
            at_once: Whether the next attempt follows without a delay, and does not count for the policy.

        Raises:
            APIError: the error itself, if there is no other attempt.
        """
        # Without the traceback: its frames, those of the libraries, hold headers and sockets.
        error = error.with_traceback(None)
        self._requester.annotate(error)
        self.failures += 1
        if veto:
            raise error
        if at_once:
            self._uncounted += 1
            return 0.0
        attempts = self.failures - self._uncounted
        delay = self._policy.delay(error, attempts=attempts, dice=random.random())  # noqa: S311 - not for secrets
        if delay is None:
            raise error
        return delay

    def wait(self, error: APIError, retrying: Retrying | None, *, veto: bool = False, at_once: bool = False) -> None:
        """Announce the next attempt, and wait for it. The arguments are those of `delay`.

        Raises:
            APIError: the error itself, if there is no other attempt.
            CancelledError: the scope was cancelled before or meanwhile.
        """
        delay = self.delay(error, veto=veto, at_once=at_once)
        self._requester.announce_retry(error, self.failures, delay, retrying)
        self._requester.scope.sleep(delay)
