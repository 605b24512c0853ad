"""What a turn may spend: one budget for it and all sub-agents below it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors.conversation.record import Spent
from anthropix_actors.usage import Usage

if TYPE_CHECKING:
    from anthropix_actors.conversation.agent import Limits


class Budget:
    """What is spent of an agent's limits in one turn. What a sub-agent spends, its parent spends. Any thread.

    Attributes:
        limits: The limits.
        parent: The budget of the turn that this one works for, or None.
        usage: The tokens so far.
        requests: The requests so far.
        deadline: When its time is spent, on the monotonic clock; None for never.
        lock: The lock of the whole tree: hold it for several steps that belong together.

    Example:
        >>> from anthropix_actors.conversation.agent import Limits
        >>> turn = Budget(Limits(requests=2))
        >>> child = Budget(Limits(requests=5), turn)
        >>> child.take_request(), child.take_request(), turn.spent()
        (None, None, 'requests')
        >>> child.take_request()
        'requests'
    """

    def __init__(self, limits: Limits, parent: Budget | None = None) -> None:
        """Start with nothing spent."""
        self.limits = limits
        self.parent = parent
        self.usage = Usage()
        self.requests = 0
        self.deadline: float | None = None
        self._seconds = 0.0  # that were spent before it began here
        self._began: float | None = None
        self.lock: threading.RLock = threading.RLock() if parent is None else parent.lock  # one for the whole tree

    def begin(self) -> None:
        """Start the clock; a turn that waits for its turn has not begun."""
        self._began = time.monotonic()
        if self.limits.seconds is not None:
            self.deadline = self._began + self.limits.seconds - self._seconds

    def restore(self, spent: Spent, *, estimate: bool = False) -> None:
        """Go on with what was spent elsewhere, as far as that is known. Before it begins."""
        self.requests, self._seconds = spent.requests, spent.seconds
        self.usage = spent.usage + Usage(estimate=estimate)

    def spent_so_far(self) -> Spent:
        """Return what is spent, in whole seconds."""
        with self.lock:
            here = 0.0 if self._began is None else time.monotonic() - self._began
            return Spent(self.requests, float(int(self._seconds + here)), self.usage)

    def spent(self) -> str | None:
        """Return the limit that is reached, here or above; None for none."""
        limits = self.limits
        with self.lock:
            if self.deadline is not None and time.monotonic() >= self.deadline:
                return "seconds"
            if limits.requests is not None and self.requests >= limits.requests:
                return "requests"
            if limits.tokens is not None and self.usage.total_tokens >= limits.tokens:
                return "tokens"
            return None if self.parent is None else self.parent.spent()

    def take_request(self) -> str | None:
        """Count one more request, unless a limit is reached: then return which."""
        with self.lock:
            limit = self.spent()
            if limit is None:
                self._count_request(1)
            return limit

    def give_back_request(self) -> None:
        """Count one request less: it is not sent after all."""
        with self.lock:
            self._count_request(-1)

    def _count_request(self, number: int) -> None:
        self.requests += number
        if self.parent is not None:
            self.parent._count_request(number)  # noqa: SLF001 - of one tree

    def add(self, usage: Usage) -> None:
        """Count the tokens of a request that has ended."""
        with self.lock:
            self.usage = self.usage + usage
            if self.parent is not None:
                self.parent.add(usage)
