"""What sets a request's credentials anew for each attempt, where the caller gave something for that.

It is the caller's code: it may raise anything, block for ever, and use the client that asks it. So no lock is held
while it runs. Its call runs in the thread of the request that it is for, and holds up that one alone. Its `refresh`,
which many requests may need at once, runs in a thread of its own; those that need it wait through their scopes, so each
of them can be cancelled, and runs out of time.
"""

from __future__ import annotations

import contextvars
import copy
import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
from requests.structures import CaseInsensitiveDict

from anthropix_actors._http.request import merge_headers
from anthropix_actors.errors import AnthropixError, APITimeoutError, ConfigurationError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._cancel.scope import CancelScope


class Auth:
    """A caller's `auth`, asked before each attempt.

    Many requests may meet an expired token at once. So each notes a mark before it is sent, and only the first that was
    refused since the last refresh leads to another one; the others find the new token.

    Args:
        auth: Takes a `requests.PreparedRequest`, as requests' own auth objects do, and changes its headers, or returns
            the headers to set. None does nothing.
    """

    def __init__(self, auth: Callable[[Any], Any] | None) -> None:
        """Hold it; it is not asked yet."""
        self._auth = auth
        # By the mark that is refused. Without a lock: a signal handler may use the client, too, and wait.
        self._refreshes: dict[int, _Refresh] = {}
        self.mark = 0

    def apply(self, prepared: requests.PreparedRequest) -> None:
        """Let it set headers. It sees method, URL, headers and body, and only the headers that it sets are used.

        Raises:
            ConfigurationError: it failed, or gave something else than headers.
        """
        if self._auth is None:
            return
        url, body = prepared.url, prepared.body
        try:
            given = self._auth(prepared)
            headers = given.headers if isinstance(given, requests.PreparedRequest) else given
            merged = _merged(prepared.headers, prepared.headers if headers is None else headers)
        except ParameterError as exc:
            raise ConfigurationError(f"{exc}") from None
        except AnthropixError:
            raise
        except (Exception, SystemExit) as exc:
            raise ConfigurationError(f"auth failed: {type(exc).__name__}") from exc
        prepared.headers = CaseInsensitiveDict(merged)
        prepared.url, prepared.body = url, body

    def refreshes_here(self) -> bool:
        """Whether this thread is the one that refreshes: what it asks must not wait for the refresh itself."""
        return self._auth is not None and getattr(_here, "auth", None) is self

    def refresh(self, mark: int, scope: CancelScope, patience: float | None) -> bool:
        """Make it forget a token that was refused, by its `refresh()` if it has one; get whether to try again.

        Args:
            mark: What `mark` was before the refused request was sent.
            scope: Through which to wait for it.
            patience: For how many seconds at most.

        Raises:
            AnthropixError: it failed, or took too long; or the scope was cancelled.
        """
        if self._auth is None:
            return False
        if mark != self.mark:
            return True
        mine = _Refresh(partial(self._refreshed, mark))
        refresh = self._refreshes.setdefault(mark, mine)
        refresh.waiting.append(scope)
        if refresh is mine:
            refresh.start()
        if not scope.wait(lambda: refresh.done, patience):
            self._refreshes.pop(mark, None)  # the next that is refused tries another one
            raise APITimeoutError(f"auth: refresh() did not end within {patience} s (timeout.idle)")
        if refresh.error is not None:
            self._refreshes.pop(mark, None)
            raise _another(refresh.error) from refresh.error
        return True

    def _refreshed(self, mark: int) -> None:
        _here.auth = self
        refresh = getattr(self._auth, "refresh", None)
        if callable(refresh):
            refresh()
        # The one that is done stays, for who has looked at the mark before this line, and not yet for the refresh.
        self.mark = mark + 1
        self._refreshes.pop(mark - 1, None)

    def after_fork(self) -> None:
        """Start afresh in a forked child: a thread that refreshes is the parent's."""
        self._refreshes = {}


class _Refresh:
    """One refresh, in a thread of its own.

    Attributes:
        waiting: The scopes of those who wait for it.
        done: Whether it is over.
        error: What it raised, or None.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self.waiting: list[CancelScope] = []
        self.done = False
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin it; without a thread for it, it is over."""
        run = contextvars.copy_context().run
        try:
            threading.Thread(target=run, args=(self._run,), name="anthropix-auth", daemon=True).start()
        except RuntimeError as exc:
            self._end(ConfigurationError(f"no thread for auth.refresh(): {exc}"))

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as exc:  # noqa: BLE001 - it is told to those who wait
            self._end(exc)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        self.error = error
        self.done = True
        for scope in self.waiting:
            scope.notify()


_here = threading.local()


def _another(error: BaseException) -> AnthropixError:
    """Get an error of one's own for what a refresh raised: several requests fail by it, and note their own numbers."""
    if isinstance(error, AnthropixError):
        try:
            return copy.copy(error)
        except Exception:  # noqa: BLE001 - the caller's class, with a constructor of its own
            return ConfigurationError(f"auth failed to refresh: {error}")
    return ConfigurationError(f"auth failed to refresh: {type(error).__name__}")


def _merged(headers: Any, given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        what = f"expected it to return headers, or the request, got {type(given).__name__}"
        raise ConfigurationError(f"auth: {what}")
    return merge_headers(_as_text(headers), _as_text(given), place="auth")


def _as_text(headers: Mapping[Any, Any]) -> dict[str, Any]:
    """Get headers as text: auth objects of requests' world set bytes, too."""
    return {
        name.decode("latin-1") if isinstance(name, bytes) else name: (
            value.decode("latin-1") if isinstance(value, bytes) else value
        )
        for name, value in headers.items()
    }
