"""What sets a request's credentials anew for each attempt, where the caller gave something for that."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import requests
from requests.structures import CaseInsensitiveDict

from anthropix_actors._request import merge_headers
from anthropix_actors.errors import AnthropixError, ConfigurationError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable


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
        self._lock = threading.Lock()
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
        except AnthropixError:
            raise
        except Exception as exc:
            raise ConfigurationError(f"auth failed: {type(exc).__name__}") from exc
        headers = given.headers if isinstance(given, requests.PreparedRequest) else given
        if headers is None:
            headers = prepared.headers
        if not isinstance(headers, Mapping):
            raise ConfigurationError(f"auth: expected it to return headers, or the request, got {type(given).__name__}")
        try:
            merged = merge_headers(_as_text(prepared.headers), _as_text(headers), place="auth")
        except ParameterError as exc:
            raise ConfigurationError(f"{exc}") from None
        prepared.headers = CaseInsensitiveDict(merged)
        prepared.url, prepared.body = url, body

    def refresh(self, mark: int) -> bool:
        """Make it forget a token that was refused, by its `refresh()` if it has one; get whether to try again.

        Args:
            mark: What `mark` was before the refused request was sent.

        Raises:
            ConfigurationError: it failed.
        """
        if self._auth is None:
            return False
        with self._lock:
            if mark == self.mark:
                refresh = getattr(self._auth, "refresh", None)
                try:
                    if callable(refresh):
                        refresh()
                except AnthropixError:
                    raise
                except Exception as exc:
                    raise ConfigurationError(f"auth failed to refresh: {type(exc).__name__}") from exc
                self.mark += 1
        return True

    def forget(self) -> None:
        """Start with another lock: in a forked child, nobody may be left to release this one."""
        self._lock = threading.Lock()


def _as_text(headers: Mapping[Any, Any]) -> dict[str, Any]:
    """Get headers as text: auth objects of requests' world set bytes, too."""
    return {
        name.decode("latin-1") if isinstance(name, bytes) else name: (
            value.decode("latin-1") if isinstance(value, bytes) else value
        )
        for name, value in headers.items()
    }
