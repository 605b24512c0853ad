"""The governor: chats of one key go as fast as the API's limits let them, and not faster.

The API tells with each answer how many requests and tokens are left of a minute's. A governor reads that, and lets each
chat send its request when there is room for it, in the order in which they came, model by model. When one is refused
all the same, with a 429, the others wait, too, instead of running into the same wall one after the other.

Every client has one of its own. Clients that share a key may share one:

    >>> from anthropix_actors import Client
    >>> governor = Governor()
    >>> one, another = Client("sk-ant-1", governor=governor), Client("sk-ant-1", governor=governor)
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._pace import FOREVER, Pacer, input_guess
from anthropix_actors._watch import SWEEPER
from anthropix_actors.errors import RateLimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors._pace import Sent
    from anthropix_actors._scope import CancelScope
    from anthropix_actors.errors import APIError

FIRST_PAUSE = 1.0
"""Seconds that a 429 stops the others for when it does not say how long."""


class RateLimit(msgspec.Struct, frozen=True):
    """One limit of the API.

    Attributes:
        per_minute: How much there is in a minute.
        left: How much is left by now, as far as is known: less what is held back for requests on their way.
    """

    per_minute: float
    left: float


class Governor:
    """Lets requests go as the API's limits allow. All of it may be used from any thread.

    Example:
        >>> client.chat(model="claude-sonnet-5", messages=hello)["stop_reason"]
        'end_turn'
        >>> client.governor.limits()["claude-sonnet-5"]["requests"].per_minute
        4000.0

    Source: https://docs.claude.com/en/api/rate-limits, read 2026-11-23.
    """

    def __init__(self) -> None:
        """Start without knowing any limit."""
        self._lines: dict[str, _Line] = {}
        self._lock = threading.RLock()  # a signal handler may cancel a chat that the thread it interrupts lets go
        SWEEPER.forgetful.add(self)

    def limits(self) -> dict[str, dict[str, RateLimit]]:
        """Get the limits that the API has told of: by model, then by kind.

        The kinds are `requests`, `input-tokens`, `output-tokens`, and `tokens`, for both.
        """
        now = time.monotonic()
        with self._lock:
            return {
                model: {kind: RateLimit(*known) for kind, known in line.pacer.left(now).items()}
                for model, line in self._lines.items()
            }

    def line(self, model: str) -> _Line:
        """Get the line for a model's requests."""
        with self._lock:
            if model not in self._lines:
                self._lines[model] = _Line(self._lock)
            return self._lines[model]

    def forget(self) -> None:
        """Start afresh in a forked child: those who wait are the parent's."""
        self._lock = threading.RLock()
        self._lines = {}


class _Line:
    """Those who wait to send a request to one model."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.pacer = Pacer()
        self.waiting: deque[Pass] = deque()

    def wake_first(self) -> None:
        """Make the first in the line look again whether it may go."""
        if self.waiting:
            self.waiting[0].wake()


class Pass:
    """One chat's way through a governor: a turn for each attempt. For the chat's own thread, but for `wake`.

    Args:
        governor: Who is asked.
        body: The request's body.
        scope: What cancels the chat.
        patience: The longest wait in seconds that the API may ask for; for more, nobody else waits.
        usage: Gets what the answer cost; None when it did not come to its end.
    """

    def __init__(
        self,
        governor: Governor,
        body: Mapping[str, Any],
        scope: CancelScope,
        *,
        patience: float,
        usage: Callable[[], Mapping[str, Any] | None],
    ) -> None:
        """Find the line; do not join it yet."""
        self._line = governor.line(str(body["model"]))
        self._guess = input_guess(body)
        self._scope = scope
        self._patience = patience
        self._usage = usage
        self._sent: Sent | None = None  # while a request is on its way
        self._came_before = False
        self._awake = False

    def enter(self) -> None:
        """Wait until the request may go.

        Raises:
            CancelledError: the chat was cancelled while it waited.
        """
        line = self._line
        with line.lock:
            # One that was refused came before all who have not been sent.
            (line.waiting.appendleft if self._came_before else line.waiting.append)(self)
            self._came_before = True
        try:
            while delay := self._delay():
                self._scope.wait(lambda: self._awake, None if delay == FOREVER else delay)
        finally:
            with line.lock:
                line.waiting.remove(self)
                line.wake_first()

    def _delay(self) -> float:
        """Go, and get 0; or get the seconds after which to ask again, or FOREVER for when somebody wakes it."""
        line = self._line
        with line.lock:
            self._awake = False
            if line.waiting[0] is not self:
                return FOREVER
            now = time.monotonic()
            delay = line.pacer.wait(self._guess, now)
            if not delay:
                self._sent = line.pacer.send(self._guess, now)
            return delay

    def wake(self) -> None:
        """Look again whether it may go."""
        self._awake = True
        self._scope.notify()

    def answered(self, headers: Mapping[str, str]) -> None:
        """Note what the answer says of the limits."""
        with self._line.lock:
            if self._sent is not None:
                self._line.pacer.answered(self._sent, headers, time.monotonic())
                self._line.wake_first()

    def left(self, error: APIError | None) -> None:
        """Note that the attempt is over, and why."""
        self.answered({})
        line, now = self._line, time.monotonic()
        with line.lock:
            if self._sent is None:
                return
            line.pacer.ended(self._sent, self._usage(), now)
            if isinstance(error, RateLimitError) and error.retryable:
                pause = FIRST_PAUSE if error.retry_after is None else error.retry_after
                if pause <= self._patience:
                    line.pacer.refused(self._sent, pause, now)
            self._sent = None
            line.wake_first()
