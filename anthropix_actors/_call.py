"""One call that blocks, and what cancels it from another thread."""

from __future__ import annotations

import logging
import re
import threading
import time
import weakref
from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Protocol

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._checks.suggest import unknown_problems
from anthropix_actors._foreign.log import LOGGER, log_end, shown
from anthropix_actors._http.exchange import Exchange
from anthropix_actors._record import sweep_scope
from anthropix_actors.errors import CancelledError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._http.request import Timeout
    from anthropix_actors._http.transport import Transport

WORK_OPTIONS = ("beta", "extra_headers", "timeout", "max_retries", "workspace_id")
CALL_OPTIONS = (*WORK_OPTIONS, "cancel")
PROFILE_OPTIONS = (*CALL_OPTIONS, "user_profile_id")
"""Those of calls that may be made on behalf of a customer's customer."""

COUNT_OPTIONS = ("extra_body", *PROFILE_OPTIONS)
CHAT_OPTIONS = (*COUNT_OPTIONS, "tag", "output", "resume")

_HEADERS = {"workspace_id": "anthropic-workspace-id", "user_profile_id": "anthropic-user-profile-id"}
"""Options that the API takes as headers. The caller's own `extra_headers` are over them."""

_ID = re.compile(r"[\w.:/-]{1,256}", re.ASCII)


class Cancellable(Protocol):
    """Anything that runs and can be cancelled."""

    def cancel(self, reason: str) -> bool:
        """Cancel it."""
        ...


class CancelToken:
    """Cancels calls that block, from another thread.

    Give it to a call as `cancel=`; the call then raises `CancelledError` within 50 ms of `cancel()`. One token may be
    given to many calls, at the same time, too; when it is cancelled, calls that get it later fail at once.

    Example:
        >>> token = CancelToken()
        >>> token.cancel("the window was closed")
        True
        >>> client.count_tokens(model="claude-sonnet-5", messages=hello, cancel=token)
        Traceback (most recent call last):
        ...
        anthropix_actors.errors.CancelledError: the window was closed
    """

    def __init__(self) -> None:
        """Start with nothing to cancel."""
        self._lock = threading.RLock()  # a signal handler may cancel what the thread it interrupts is about to add
        self._running: weakref.WeakSet[Any] = weakref.WeakSet()
        self._reason: str | None = None

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._reason is not None

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the calls that were given this token, and those that will be. Returns at once. Any thread.

        Returns:
            Whether this call did it; False when it was cancelled before.
        """
        with self._lock:
            first = self._reason is None
            if first:
                self._reason = reason
            running = list(self._running)
        for each in running:
            each.cancel(self._reason)
        return first

    def add(self, cancellable: Cancellable) -> None:
        """Let `cancel` reach one more thing, at once if it was called before."""
        with self._lock:
            self._running.add(cancellable)
        if self._reason is not None:
            cancellable.cancel(self._reason)


class Call:
    """Work that is done in the caller's thread: what the sweeper and a closing client see of it."""

    parts_first = False

    def __init__(self, transport: Transport, timeout: Timeout) -> None:
        """Start its time."""
        self.exchange = Exchange(transport, CancelScope())
        self._timeout = timeout
        self._began = time.monotonic()
        self._deadline = None if timeout.total is None else self._began + timeout.total
        self.exchange.fields = self.fields

    def fields(self) -> dict[str, Any]:
        """Get what a record on the logger says of it."""
        return {
            "work": "call",
            "tag": None,
            "request_id": self.exchange.request_id,
            "attempts": self.exchange.attempts,
            "seconds": round(time.monotonic() - self._began, 3),
        }

    def log_end(self, error: BaseException | None = None) -> None:
        """Write the record of its end."""
        request = self.exchange.request
        if LOGGER.isEnabledFor(logging.INFO) and request is not None:
            state = "done" if error is None else "cancelled" if isinstance(error, CancelledError) else "failed"
            fields = {**self.fields(), "state": state, "status": getattr(error, "status", self.exchange.status)}
            log_end(f"{request.method} {request.path.partition('?')[0]}", fields, error)

    def cancel(self, reason: str) -> bool:
        return self.exchange.scope.cancel(CancelledError(reason))

    def sweep(self, now: float) -> None:
        sweep_scope(self.exchange.scope, self._timeout, self._deadline, now)

    def part(self, reason: str) -> Callable[[float], object]:
        self.cancel(reason)
        return lambda _: None  # its own thread is ending, or daemonic

    def forget(self) -> None:
        self.exchange.scope.forget(CancelledError("the process was forked; the call goes on in the parent"))


def checked_options(options: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """Get a copy of a call's options; those that are headers are among `extra_headers`.

    Raises:
        ParameterError: some are none, or cannot be right.

    Example:
        >>> checked_options({"workspace_id": "wrkspc_1", "extra_headers": {"x-a": "b"}}, *CALL_OPTIONS)
        {'extra_headers': {'anthropic-workspace-id': 'wrkspc_1', 'x-a': 'b'}}
    """
    problems = unknown_problems(options.keys() - set(known), known)
    if not isinstance(options.get("cancel"), (CancelToken, NoneType)):
        problems.append(Problem("cancel", f"expected a CancelToken, got {type(options['cancel']).__name__}"))
    retries = options.get("max_retries")
    if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int) or retries < 0):
        problems.append(Problem("max_retries", f"expected an integer from 0, got {shown(retries)}"))
    checked = dict(options)
    headers: dict[str, str] = {}
    for name, header in _HEADERS.items():
        value = checked.pop(name, None)
        if isinstance(value, str) and _ID.fullmatch(value):
            headers[header] = value
        elif value is not None:
            problems.append(Problem(name, f"expected an id, letters, digits, _ and -, got {shown(value)}"))
    if problems:
        raise ParameterError(problems)
    more = checked.get("extra_headers") or {}
    if headers and isinstance(more, Mapping):  # what is none is refused where all headers are put together
        checked["extra_headers"] = {**headers, **more}
    return checked
