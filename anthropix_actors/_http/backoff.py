"""What follows a failed attempt: another one after a wait, or the end. The same whatever was attempted.

The loop stays with the caller: it attempts, catches the error, and has it handled here.
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
    """Called before the wait for each retry: with the error, the number of the attempt that failed, and the delay."""


class Backoff:
    """The attempts of one thing, such as a request or the connections to a session, that failed in a row.

    Args:
        requester: Sends the requests of an attempt.
        policy: How often to try again, and how long after.

    Attributes:
        failures: How many attempts failed in a row.
    """

    def __init__(self, requester: Requester, policy: RetryPolicy) -> None:
        """Start without failures."""
        self.failures = 0
        self._uncounted = 0  # failures that the policy does not know of
        self._requester = requester
        self._policy = policy

    def reset(self) -> None:
        """Count from 0 again, as there was progress."""
        self.failures = self._uncounted = 0

    def delay(self, error: APIError, *, veto: bool = False, at_once: bool = False) -> float:
        """Count a failure, and return the seconds until the next attempt.

        Args:
            error: Why the attempt failed.
            veto: Whether there must be no other attempt.
            at_once: Whether the next attempt follows without a wait, and beyond the policy's number.

        Raises:
            APIError: the error itself, if there is no other attempt.
        """
        # Without the way through the libraries: it explains nothing, and its frames hold headers and sockets.
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
        """Announce the next attempt, and wait until then. The arguments are those of `delay`.

        Raises:
            APIError: the error itself, if there is no other attempt.
            CancelledError: the scope was cancelled before or meanwhile.
        """
        delay = self.delay(error, veto=veto, at_once=at_once)
        self._requester.announce_retry(error, self.failures, delay, retrying)
        self._requester.scope.sleep(delay)
