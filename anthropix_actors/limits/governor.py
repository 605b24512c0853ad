"""The governor: sends the requests of one key as fast as the API's rate limits allow, and not faster.

Each response says how many requests and tokens are left of the current minute's. A governor reads that, and lets each
chat send its request when the limits have room for it: in order of arrival, for each model separately. If a request is
refused nevertheless, with a 429, the others wait as well, instead of hitting the same limit one after the other.

A governor only estimates. So an error inside it never fails a chat: it is logged, once, and the chat goes on without
the governor, which forgets what it has learned about the chat's model, and starts to learn anew.

Every client has its own governor. Clients that share a key may share one:

    >>> from anthropix_actors import Client
    >>> governor = Governor()
    >>> one, another = Client("sk-ant-1", governor=governor), Client("sk-ant-1", governor=governor)
"""

from __future__ import annotations

import bisect
import itertools
import logging
import math
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.locks import is_held
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import RateLimitError
from anthropix_actors.limits.guess import input_guess
from anthropix_actors.limits.model_limits import Pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors.errors import APIError
    from anthropix_actors.limits.model_limits import Sent

FIRST_PAUSE = 1.0
"""Seconds for which a 429 without `retry-after` stops the other requests."""


_BACK_IN_LINE = 0.05
"""Seconds added to such a stop: by then the refused requests are back in the line, and go first."""

MOST_MODELS = 64
"""How many models' limits are kept when no chat uses them any more: the latest used."""

_LOOK_AGAIN = 60.0
"""Seconds after which a waiting chat re-checks in any case."""


class RateLimit(msgspec.Struct, frozen=True):
    """One limit of the API.

    Attributes:
        per_minute: The limit per minute.
        left: The estimate of what is left now, less what is reserved for requests in flight.
    """

    per_minute: float
    left: float


class Governor:
    """Lets requests go as the API's limits allow. Safe from any thread.

    Example:
        >>> client.chat(model="claude-sonnet-5", messages=hello)["stop_reason"]
        'end_turn'
        >>> client.governor.limits()["claude-sonnet-5"]["requests"].per_minute
        4000.0

    Source: https://docs.claude.com/en/api/rate-limits, read 2026-11-23.
    """

    def __init__(self) -> None:
        """Start without any known limit."""
        # Reentrant: a signal handler may cancel a chat while the thread that it interrupts is releasing that chat.
        self._lock = threading.RLock()
        self._lines: weakref.WeakValueDictionary[str, _Line] = weakref.WeakValueDictionary()  # while chats use them
        self._last: dict[str, _Line] = {}  # the oldest first
        self._faulty = False
        SWEEPER.fork_listeners.add(self)

    def __repr__(self) -> str:
        """Show which models it knows, and how many requests wait."""
        with self._lock:
            lines = [f"{model}: {len(line.waiting)} waiting" for model, line in list(self._lines.items())]
        return f"<Governor {', '.join(lines) or 'no requests yet'}>"

    def limits(self) -> dict[str, dict[str, RateLimit]]:
        """Return the limits that the API has reported: by model, then by kind.

        The kinds are `requests`, `input-tokens`, `output-tokens`, and `tokens` (input and output together).
        """
        now = time.monotonic()
        with self._lock:
            return {
                model: {kind: RateLimit(*known) for kind, known in line.pacer.remaining(now).items()}
                for model, line in list(self._lines.items())
            }

    def line(self, model: str) -> _Line:
        """Return the waiting line of a model's requests."""
        with self._lock:
            line = self._lines.get(model)
            if line is None:
                line = self._lines[model] = _Line(self._lock)
            self._last.pop(model, None)
            self._last[model] = line
            if len(self._last) > MOST_MODELS:
                del self._last[next(iter(self._last))]
            return line

    def let_through(
        self,
        body: Mapping[str, Any],
        scope: CancelScope,
        *,
        patience: float,
        usage: Callable[[], Mapping[str, Any] | None],
    ) -> GovernorThrottle | None:
        """Return a chat's throttle; None if making it fails: then the chat goes without. Args: see there."""
        try:
            return GovernorThrottle(self, body, scope, patience=patience, usage=usage)
        except Exception as exc:  # noqa: BLE001 - a governor never fails a chat
            self.failed(exc)
            return None

    def failed(self, error: Exception) -> None:
        """Log an error inside the governor, the first time only."""
        first, self._faulty = not self._faulty, True
        if first:
            log(logging.ERROR, "the governor failed; chats go on without it", exc_info=error)

    def after_fork(self) -> None:
        """Forget the waiting lines in a forked child: the waiting threads run in the parent only."""
        self._lock = threading.RLock()
        self._lines, self._last = weakref.WeakValueDictionary(), {}


class _Line:
    """The chats that wait to send a request to one model."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.pacer = Pacer()
        self.waiting: list[GovernorThrottle] = []  # in order of arrival, including refused ones
        self.numbers = itertools.count(1)

    def wake_first(self) -> None:
        """Make the first in the line re-check whether it may go. The caller holds the lock."""
        assert is_held(self.lock)
        if self.waiting:
            self.waiting[0].wake()

    def start_anew(self) -> None:
        """Forget all that is known about the limits."""
        with self.lock:
            self.pacer = Pacer()
            self.wake_first()


class GovernorThrottle:
    """One chat's access to a governor: one turn for each attempt. Only in the chat's own thread, except `wake`.

    Args:
        governor: The governor.
        body: The request's body.
        scope: The scope of the chat.
        patience: The longest wait in seconds that the API may ask for; a longer one does not stop other requests.
        usage: Returns the answer's usage, or None if the answer is incomplete.
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
        self._sound = _Sound(self._line, governor)
        self._guess = input_guess(body)
        self._scope = scope
        self._patience = patience
        self._usage = usage
        self._sent: tuple[Pacer, Sent] | None = None  # while a request is in flight
        self.number = 0  # its place in order of arrival, from 1
        self._awake = False

    def acquire(self) -> None:
        """Wait until the request may be sent, and book it. In the chat's thread.

        Raises:
            CancelledError: the chat was cancelled while it waited.
        """
        line = self._line
        with line.lock:
            # A refused chat keeps its place: before all chats not sent yet, after those refused that arrived earlier.
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
        """Book the request and return 0, or return the seconds to wait: infinity means until `wake`."""
        line = self._line
        with self._sound, line.lock:
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
        """Make `acquire` re-check. From any thread."""
        self._awake = True
        self._scope.notify()

    def on_response(self, headers: Mapping[str, str]) -> None:
        """Note the limits that a response reports. In the chat's thread."""
        with self._sound, self._line.lock:
            if self._sent is not None:
                pacer, sent = self._sent
                pacer.answered(sent, headers, time.monotonic())
                self._line.wake_first()

    def release(self, error: APIError | None) -> None:
        """Note that the attempt has finished, and with which error. In the chat's thread."""
        usage = None
        with self._sound:
            usage = self._usage()
        with self._sound, self._line.lock:
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


class _Sound:
    """Keeps errors from a chat: one ends only the block. The state may be wrong after it, so it is forgotten."""

    def __init__(self, line: _Line, governor: Governor) -> None:
        self._line = line
        self._governor = governor

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> bool:
        if not isinstance(exc, Exception):
            return False
        self._line.start_anew()
        self._governor.failed(exc)
        return True


publish(
    "anthropix_actors",
    (
        Governor,
        RateLimit,
    ),
)
