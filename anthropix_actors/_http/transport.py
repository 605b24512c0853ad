"""Sends requests. `_http` is the only package that knows requests and urllib3.

A request runs entirely in the thread of its chat or call, within an attempt of its scope. `requests.Session` is not
used: it reads the environment at every request, keeps cookies and follows redirects.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3._version import __version__ as urllib3_version

from anthropix_actors._http.attempt_scope import this_attempt
from anthropix_actors._http.auth import Auth
from anthropix_actors._http.body import opened
from anthropix_actors._http.connections import ScopedAdapter
from anthropix_actors._http.library_errors import LIBRARY_ERRORS, Way, fault
from anthropix_actors._http.proxy import proxy_for
from anthropix_actors._http.response import Response
from anthropix_actors._http.secrets import hide, secrets_in
from anthropix_actors._http.urls import origin_of
from anthropix_actors.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors._http.request import Request
    from anthropix_actors._http.trust import Trust
    from anthropix_actors.errors import APIError

__all__ = ["Response", "Transport"]


class Transport:
    """The connections of one client. Safe to share between threads.

    The proxy is read from the environment here, once, and checked here.

    Args:
        base_url: The base URL of every request; requests are never sent to another origin.
        trust: The certificates to trust.
        proxy: The proxy's URL; None takes the environment's, "" means none.
        auth: Sets credentials before each attempt, or None.

    Attributes:
        auth: The same, as `Auth`.
        proxy: The proxy, or None.

    Raises:
        ConfigurationError: the proxy or the certificates cannot be used, or a library below is too old.
    """

    def __init__(
        self,
        base_url: str,
        trust: Trust,
        *,
        proxy: str | None = None,
        auth: Callable[[Any], Any] | None = None,
    ) -> None:
        """Read and check the settings; open no connection yet."""
        _check_libraries()
        self.base_url = base_url
        self.auth = Auth(auth)
        self.proxy = proxy_for(base_url, proxy)
        self._proxies = {base_url.partition(":")[0]: self.proxy.url} if self.proxy else {}
        encrypted = base_url.startswith("https:") or (self.proxy is not None and self.proxy.encrypted)
        self._trust = trust if encrypted else None
        self._tls = trust.context() if encrypted else None
        self._adapter = ScopedAdapter(self._tls)
        self.closed = False
        try:
            self._adapter.get_connection_with_tls_context(_prepared("GET", base_url, {}), None, self._proxies)
        except (*LIBRARY_ERRORS, ValueError) as exc:  # such as a proxy's user that cannot be sent in a header
            what = f"base_url or {self.proxy}" if self.proxy else "base_url"
            raise ConfigurationError(f"{what}: it cannot be used ({type(exc).__name__})") from None

    def open(self, request: Request) -> Response:
        """Send a request and wait for the response's status and headers. Only within an attempt of a scope.

        Raises:
            APIConnectionError: there is no response.
            ProtocolError: the response is not HTTP.
        """
        prepared = _prepared(request.method, self._url(request.path), request.headers)
        if isinstance(request.body, bytes):
            prepared.body = request.body  # an `auth` that signs requests needs it
        self.auth.apply(prepared)
        prepared.headers.pop("Content-Length", None)
        prepared.body = None
        if request.body is not None:
            prepared.body, length = opened(request.body, this_attempt().timer)  # type: ignore[assignment] # as a Session would
            if length is not None:
                prepared.headers["Content-Length"] = str(length)
        response = self._sent(prepared, request)
        # The head has arrived; from here on, the timeout is for the wait between two bytes.
        raw: Any = response.raw
        raw._fp.peer.settimeout(request.timeout.read)  # noqa: SLF001 - our own response's
        raw._fp.msg = raw._fp.headers = None  # noqa: SLF001 - of three copies of the headers, each 3 KiB of the API's
        return Response(response, request, self, dict(prepared.headers))  # a third of the memory

    def _sent(self, prepared: requests.PreparedRequest, request: Request) -> requests.Response:
        timeout: Any = (request.timeout.connect, request.timeout.first_byte)
        try:
            return self._adapter.send(prepared, stream=True, timeout=timeout, proxies=self._proxies)
        except LIBRARY_ERRORS as exc:
            error = fault(exc, Way(request.timeout, self.proxy, self._trust))
        finally:
            if prepared.body is not None:
                prepared.body.close()  # type: ignore[union-attr]
        raise error

    def close(self) -> None:
        """Close the idle connections. Those in use are closed when their responses end."""
        self.closed = True
        self._adapter.close()

    def _url(self, path: str) -> str:
        """Return a request's URL. A whole URL, as the API sends for a batch's results, must be on the same origin.

        Whoever made the request has checked that; here is the last place to do so before the key is sent.
        """
        if path.startswith("/"):
            return self.base_url + path
        with contextlib.suppress(ValueError):
            if origin_of(path) == origin_of(self.base_url):
                return path
        raise ConfigurationError(f"requests are not sent to another origin than that of {self.base_url}: {path:.200}")

    def annotate(self, error: APIError, request: Request, sent: Mapping[str, str]) -> None:
        """Set an error's method and URL, without the query, and remove credentials from it.

        Args:
            error: The error.
            request: The request that failed.
            sent: The headers as they were sent, after `auth`.
        """
        path = request.path
        url = self.base_url + path if path.startswith("/") else path
        error.method, error.url = request.method, url.partition("?")[0].partition("#")[0]
        secrets = secrets_in(request.headers) | secrets_in(sent)
        if self.proxy is not None:
            secrets |= secrets_in(self._adapter.proxy_headers(self.proxy.url)) | self.proxy.secrets
        hide(error, secrets)

    def after_fork(self) -> None:
        """Leave all connections to the parent: used in a forked child, they would mix both processes' requests."""
        self._adapter = ScopedAdapter(self._tls)
        self.auth.after_fork()


def _prepared(method: str, url: str, headers: Mapping[str, str]) -> requests.PreparedRequest:
    return requests.Request(method, url, headers=dict(headers)).prepare()


def _check_libraries() -> None:
    """Raise if requests or urllib3 lack methods that are overridden here: they would ignore a client's settings.

    An older requests never calls the hook that passes the TLS context: it would trust its own certificates instead.

    Raises:
        ConfigurationError: a library is too old.
    """
    hooks = hasattr(HTTPAdapter, "build_connection_pool_key_attributes")
    if not hooks or not hasattr(HTTPAdapter, "get_connection_with_tls_context"):
        raise ConfigurationError(f"requests {requests.__version__} is too old: install requests >= 2.32.3")
    if not hasattr(urllib3.HTTPResponse, "read1"):
        raise ConfigurationError(f"urllib3 {urllib3_version} is too old: install urllib3 >= 2.2")
