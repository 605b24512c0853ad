"""The governor: chats of one key go as fast as the API's limits let them, and not faster.

The API tells with each answer how many requests and tokens are left of a minute's. A governor reads that, and lets each
chat send its request when there is room for it, in the order in which they came, model by model. When one is refused
all the same, with a 429, the others wait, too, instead of running into the same wall one after the other.

A governor only estimates. So nothing that goes wrong in it fails a chat: that is logged, once, and the chat goes on
without it; for others of its model, the governor starts to learn anew.

Every client has one of its own. Clients that share a key may share one:

    >>> from anthropix_actors import Client
    >>> governor = Governor()
    >>> one, another = Client("sk-ant-1", governor=governor), Client("sk-ant-1", governor=governor)
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import logging
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import log
from anthropix_actors.errors import RateLimitError
from anthropix_actors.limits.guess import input_guess
from anthropix_actors.limits.pacer import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors.errors import APIError
    from anthropix_actors.limits.pacer import Sent

FIRST_PAUSE = 1.0
"""Seconds that a 429 stops the others for when it does not say how long."""


_BACK_IN_LINE = 0.05
"""Seconds more that others are stopped for: those that were refused are back in the line by then, and go first."""

MOST_MODELS = 64
"""How many models' limits are remembered when no chat uses them any more: those that were used last."""

_LOOK_AGAIN = 60.0
"""Seconds after which one that waits asks again in any case."""


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
        # Reentrant, as a signal handler may cancel a chat that the thread it interrupts lets go.
        self._lock = threading.RLock()
        self._lines: weakref.WeakValueDictionary[str, _Line] = weakref.WeakValueDictionary()  # of chats that are known
        self._last: dict[str, _Line] = {}  # the oldest first
        self._faulty = False
        SWEEPER.fork_listeners.add(self)

    def __repr__(self) -> str:
        """Show which models it knows, and how many requests wait."""
        with self._lock:
            lines = [f"{model}: {len(line.waiting)} waiting" for model, line in list(self._lines.items())]
        return f"<Governor {', '.join(lines) or 'no requests yet'}>"

    def limits(self) -> dict[str, dict[str, RateLimit]]:
        """Get the limits that the API has told of: by model, then by kind.

        The kinds are `requests`, `input-tokens`, `output-tokens`, and `tokens`, for both.
        """
        now = time.monotonic()
        with self._lock:
            return {
                model: {kind: RateLimit(*known) for kind, known in line.pacer.remaining(now).items()}
                for model, line in list(self._lines.items())
            }

    def line(self, model: str) -> _Line:
        """Get the line for a model's requests."""
        with self._lock:
            line = self._lines.get(model)
            if line is None:
                line = self._lines[model] = _Line(self._lock)
            self._last.pop(model, None)
            self._last[model] = line
            if len(self._last) > MOST_MODELS:
                del self._last[next(iter(self._last))]
            return line

    def failed(self, error: Exception) -> None:
        """Say, the first time, that something went wrong in here."""
        first, self._faulty = not self._faulty, True
        if first:
            log(logging.ERROR, "the governor failed; chats go on without it", exc_info=error)

    def after_fork(self) -> None:
        """Start afresh in a forked child: those who wait are the parent's."""
        self._lock = threading.RLock()
        self._lines, self._last = weakref.WeakValueDictionary(), {}


class _Line:
    """Those who wait to send a request to one model."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.pacer = Pacer()
        self.waiting: list[GovernorThrottle] = []  # in the order in which they came, refused ones, too
        self.numbers = itertools.count(1)

    def wake_first(self) -> None:
        """Make the first in the line look again whether it may go."""
        if self.waiting:
            self.waiting[0].wake()

    def start_anew(self) -> None:
        """Forget what is known of limits."""
        with self.lock:
            self.pacer = Pacer()
            self.wake_first()


def let_through(
    governor: Governor,
    body: Mapping[str, Any],
    scope: CancelScope,
    *,
    patience: float,
    usage: Callable[[], Mapping[str, Any] | None],
) -> GovernorThrottle | None:
    """Return the throttle of a chat; None when that fails, so the chat goes without. Args: see `GovernorThrottle`."""
    try:
        return GovernorThrottle(governor, body, scope, patience=patience, usage=usage)
    except Exception as exc:  # noqa: BLE001 - a governor never fails a chat
        governor.failed(exc)
        return None


class GovernorThrottle:
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
        self._governor = governor
        self._line = governor.line(str(body["model"]))
        self._guess = input_guess(body)
        self._scope = scope
        self._patience = patience
        self._usage = usage
        self._sent: tuple[Pacer, Sent] | None = None  # while a request is on its way
        self.number = 0  # its place among all that came to this line, from 1
        self._awake = False

    def acquire(self) -> None:
        """Wait until the request may go.

        Raises:
            CancelledError: the chat was cancelled while it waited.
        """
        line = self._line
        with line.lock:
            # One that was refused came before all who have not been sent, and after those who were refused before it.
            self.number = self.number or next(line.numbers)
            bisect.insort(line.waiting, self, key=lambda way: way.number)
        try:
            while (delay := self._delay()) > 0:
                self._scope.wait(lambda: self._awake, min(delay, _LOOK_AGAIN))
        finally:
            with line.lock:
                line.waiting.remove(self)
                line.wake_first()

    def _delay(self) -> float:
        """Go, and get 0; or get the seconds after which to ask again, or infinity for when somebody wakes it."""
        line = self._line
        with self._sound(), line.lock:
            self._awake = False
            if line.waiting[0] is not self:
                return math.inf
            now, pacer = time.monotonic(), line.pacer
            delay = pacer.wait(self._guess, now)
            if delay > 0:
                return delay
            self._sent = pacer, pacer.send(self._guess, now)
        return 0.0

    def wake(self) -> None:
        """Look again whether it may go."""
        self._awake = True
        self._scope.notify()

    def on_response(self, headers: Mapping[str, str]) -> None:
        """Note what the answer says of the limits."""
        with self._sound(), self._line.lock:
            if self._sent is not None:
                pacer, sent = self._sent
                pacer.answered(sent, headers, time.monotonic())
                self._line.wake_first()

    def release(self, error: APIError | None) -> None:
        """Note that the attempt is over, and why."""
        usage = None
        with self._sound():
            usage = self._usage()
        with self._sound(), self._line.lock:
            on_its_way, self._sent = self._sent, None
            if on_its_way is None:
                return
            (pacer, sent), now = on_its_way, time.monotonic()
            pacer.ended(sent, usage, now)
            if isinstance(error, RateLimitError) and error.retryable:
                pause = FIRST_PAUSE if error.retry_after is None else error.retry_after
                if pause <= self._patience:
                    pacer.refused(sent, pause + _BACK_IN_LINE, now)
            self._line.wake_first()

    @contextlib.contextmanager
    def _sound(self) -> Generator[None]:
        """Let nothing that goes wrong reach the chat; what is known may be wrong then, and is forgotten."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001 - a governor never fails a chat
            self._line.start_anew()
            self._governor.failed(exc)
