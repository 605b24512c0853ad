"""The caller's `auth`, which sets a request's credentials before each attempt.

It is the caller's code: it may raise anything, block forever, and use the client that calls it. So no lock is held
while it runs. `auth(request)` runs in the thread of that request, and delays no other request. `auth.refresh()`, which
many requests may need at once, runs in a thread of its own; the requests wait for it through their scopes, so each of
them can be cancelled, and can time out.
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

from anthropix_actors._foreign.raised import is_a
from anthropix_actors._foreign.threads import start_thread
from anthropix_actors._http.request import merge_headers
from anthropix_actors.errors import AnthropixError, APITimeoutError, ConfigurationError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._cancel.scope import CancelScope


class Auth:
    """A caller's `auth`, called before each attempt.

    Many requests may meet an expired token at once. So each attempt notes the token's generation (`mark`); only a 401
    of the current generation refreshes it, the others use the new token.

    Args:
        auth: Takes a `requests.PreparedRequest`, as requests' own auth objects do, and changes its headers, or returns
            the headers to set. None does nothing.
    """

    def __init__(self, auth: Callable[[Any], Any] | None) -> None:
        """Keep `auth`; it is not called yet.

        Raises:
            ConfigurationError: it cannot be called.
        """
        if auth is not None and not callable(auth):
            what = "expected a function of the request that returns headers, or an auth object of requests"
            raise ConfigurationError(f"auth: {what}, got {type(auth).__name__}")
        self._auth = auth
        # Keyed by the mark that was refused. No lock: a signal handler may use the client in between, and wait.
        self._refreshes: dict[int, _Refresh] = {}
        self.mark = 0

    def apply(self, prepared: requests.PreparedRequest) -> None:
        """Call `auth`. It sees method, URL, headers and body; only the headers that it sets are used.

        Runs in the thread of the request.

        Raises:
            ConfigurationError: it failed, or did not return headers.
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
        """Return whether this thread runs `auth.refresh()`: its own requests must not wait for that refresh."""
        return self._auth is not None and getattr(_here, "auth", None) is self

    def refresh(self, mark: int, scope: CancelScope, patience: float | None) -> bool:
        """Renew a token that was refused, by `auth.refresh()` if there is one; return whether to try again.

        Called in the thread of the refused request, which waits for the refresh.

        Args:
            mark: The value of `mark` before the refused request was sent.
            scope: The scope of that request, which can cancel the wait.
            patience: The longest wait, in seconds; None is forever.

        Raises:
            AnthropixError: the refresh failed, or took too long; or the scope was cancelled.
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
            self._refreshes.pop(mark, None)  # the next refused request starts another refresh
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
        # The finished refresh stays: a thread may have compared the mark before this line, and look for it after.
        self.mark = mark + 1
        self._refreshes.pop(mark - 1, None)

    def after_fork(self) -> None:
        """Forget the refreshes in a forked child: their threads run in the parent only."""
        self._refreshes = {}


class _Refresh:
    """One refresh, in a thread of its own.

    Attributes:
        waiting: The scopes of the requests that wait for it.
        done: Whether it has finished.
        error: The exception that it raised, or None.
    """

    def __init__(self, refresh: Callable[[], None]) -> None:
        self._refresh = refresh
        self.waiting: list[CancelScope] = []
        self.done = False
        self.error: BaseException | None = None

    def start(self) -> None:
        """Start the thread; if it cannot be started, finish with an error."""
        run = contextvars.copy_context().run
        try:
            start_thread(run, "anthropix-auth", self._run)
        except RuntimeError as exc:
            self._end(ConfigurationError(f"no thread for auth.refresh(): {exc}"))

    def _run(self) -> None:
        try:
            self._refresh()
        except BaseException as exc:  # noqa: BLE001 - raised in the requests that wait
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
    """Return a copy of the error of a failed refresh: it ends several requests, each with its own `attempts` and id."""
    if is_a(error, AnthropixError):
        try:
            return copy.copy(error)
        except Exception:  # noqa: BLE001 - the caller's own class, perhaps with another constructor
            return ConfigurationError(f"auth failed to refresh: {error}")
    return ConfigurationError(f"auth failed to refresh: {type(error).__name__}")


def _merged(headers: Any, given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        what = f"expected it to return headers, or the request, got {type(given).__name__}"
        raise ConfigurationError(f"auth: {what}")
    return merge_headers(_as_text(headers), _as_text(given), place="auth")


def _as_text(headers: Mapping[Any, Any]) -> dict[str, Any]:
    """Return headers as text: some auth objects made for requests set bytes."""
    return {
        name.decode("latin-1") if isinstance(name, bytes) else name: (
            value.decode("latin-1") if isinstance(value, bytes) else value
        )
        for name, value in headers.items()
    }
