"""Builds the requests of a client, from its settings and the arguments of one call. Pure: it sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._http.request import Request, as_timeout, beta_names, merge_headers
from anthropix_actors._http.urls import encode_query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anthropix_actors._http.request import Body, Timeout
    from anthropix_actors._http.retry import RetryPolicy

JSON_LINES = "application/binary, application/x-jsonl"
"""The `accept` header for batch results; the first name is the official SDK's."""


class RequestFactory:
    """Builds the requests of one client. Safe to share between threads.

    Headers are merged in this order, later ones replace earlier ones: those of every request, with the credentials;
    those of this request's kind (`accept`, `accept-encoding`, `content-type`); the client's `headers`; the betas; the
    caller's `extra_headers`. A value of None in the client's or the caller's headers removes a header.

    Attributes:
        timeout: The default timeouts of a request.
        retry: The default retry policy of a request.

    Raises:
        ParameterError: `headers` or `beta` cannot be sent.
    """

    def __init__(  # noqa: PLR0913 - a client's settings
        self,
        system: Mapping[str, str],
        *,
        headers: Mapping[str, str | None] | None = None,
        beta: str | Iterable[str] | None = None,
        timeout: Timeout,
        retry: RetryPolicy,
        max_event_bytes: int,
        max_answer_bytes: int,
    ) -> None:
        """Check the settings once, for all requests.

        `system` are the headers of every request, as `merge_headers` returns them; `headers` are the user's, over them.
        """
        self.timeout = timeout
        self.retry = retry
        self._system = system
        self._headers = merge_headers(headers, place="headers")
        self._removed = {name.lower() for name, _ in (headers or {}).items()} - self._headers.keys()
        self._beta = [*beta_names(self._headers.get("anthropic-beta")), *beta_names(beta)]
        self._max_event_bytes = max_event_bytes
        self._max_answer_bytes = max_answer_bytes

    def build(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        body: bytes | Body | None = None,
        accept: str = "application/json",
        beta: str | Iterable[str] | None = None,
        default_betas: Iterable[str] = (),
        extra_headers: Mapping[str, str | None] | None = None,
        timeout: Timeout | float | None = None,
        max_retries: int | None = None,
    ) -> Request:
        """Build a request.

        Args:
            method: The HTTP method.
            path: The path from `/v1` on, or a whole URL.
            params: The query.
            json: A value to send as a JSON body. Pass this or `body`.
            body: The body itself: bytes of JSON, or a `Body` with a content type of its own.
            accept: The `accept` header.
            beta: The caller's betas, after the client's.
            default_betas: Betas that go with the path, after all others.
            extra_headers: Headers that replace any other; an `anthropic-beta` replaces all betas.
            timeout: The caller's timeouts; None for the client's.
            max_retries: The caller's number of retries; None for the client's.

        Raises:
            ParameterError: an argument cannot be sent.
        """
        if json is not None:
            body = msgspec.json.encode(json)
        names = ",".join(self.betas(beta, *default_betas))
        betas = {"anthropic-beta": names} if names else None
        return Request(
            method=method,
            path=path + encode_query(params),
            body=body,
            headers=merge_headers(betas, extra_headers, over=self._own_headers(accept, body), place="extra_headers"),
            timeout=as_timeout(timeout, self.timeout),
            retry=self.retry_of(max_retries),
            max_event_bytes=self._max_event_bytes,
            max_answer_bytes=self._max_answer_bytes,
        )

    def _own_headers(self, accept: str, body: bytes | Body | None) -> dict[str, str]:
        """Return all headers except the betas and the caller's; they were checked when the client was made."""
        own = {**self._system, "accept": accept}
        if accept in {"application/json", JSON_LINES}:
            own["accept-encoding"] = "gzip, deflate"  # the latency of their first bytes does not matter
        if body is not None:
            own["content-type"] = "application/json" if isinstance(body, bytes) else body.content_type
        own.update(self._headers)
        for name in self._removed:
            own.pop(name, None)
        return own

    def betas(self, beta: str | Iterable[str] | None, *more: str) -> list[str]:
        """Return the betas of a request: the client's, the caller's, and those that go with the path.

        Raises:
            ParameterError: one of them is not a string.
        """
        return [*dict.fromkeys([*self._beta, *beta_names(beta), *more])]

    def retry_of(self, max_retries: int | None) -> RetryPolicy:
        """Return the retry policy of a call: the client's, with the caller's `max_retries` if given."""
        return self.retry if max_retries is None else msgspec.structs.replace(self.retry, max_retries=max_retries)
