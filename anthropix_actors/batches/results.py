"""Batches and their results, as responses of the API.

Responses are not trusted. A batch must have its id and its state; any other odd field spoils only itself.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urljoin, urlsplit

from anthropix_actors._calls.client_core import decode_json
from anthropix_actors._calls.request_factory import JSON_LINES
from anthropix_actors._checks.paths import item_path
from anthropix_actors._decode.jsonl import MAX_LINE_BYTES, json_lines
from anthropix_actors._foreign.log import shown
from anthropix_actors._http.urls import origin_of
from anthropix_actors.errors import (
    APIConnectionError,
    APIError,
    CancelledError,
    ConflictError,
    ParameterError,
    ProtocolError,
    TruncatedError,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.request import Request
    from anthropix_actors._http.requester import Requester
    from anthropix_actors._http.transport import Response
    from anthropix_actors._wire.resources import BatchLine, MessageBatch

BATCHES = "/v1/messages/batches"

MAY_EXIST = (
    "the batch may have been created all the same, and be billed: before you create it again, look for it with "
    "client.batches.list()"
)

FINAL = ("succeeded", "errored", "canceled", "expired")
"""The final states of a request; each has a line in the results. The official description has no others."""

_NEEDED = {"succeeded": "message", "errored": "error"}
"""The field that a result of this type has, a mapping."""

_REFUSALS = frozenset(
    {
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "request_too_large",
    }
)
"""The API's error types for requests that it did not begin. Not `api_error`, `timeout_error`: it had begun then."""

_MOST = 10**9
"""A count above this is ignored: a batch has 100,000 requests."""

_UNAUTHORIZED = 401
_BAD_REQUEST, _SERVER_ERROR = 400, 500
_UNCLEAR = frozenset({408, 409, 425, 429, 499})
"""Statuses that gateways and proxies use even after they have passed a request on."""

_RESULTS = re.compile(rf"{BATCHES}/[A-Za-z0-9_-]+/results")
"""The API's own path for the results of a batch."""

_URL = ":/?#[]@!$&'()*+,;=%-._~"
"""Characters that are not escaped in a URL."""


def certainly_not_created(error: APIError) -> bool:
    """Return whether a failed creation certainly made no batch, so that a retry is safe: two batches are billed twice.

    A status alone says little: a gateway answers 500, 502, 503, 504 or 524 while the API goes on with the request. So
    the error must have the API's own form, and a type that means that nothing was begun; or the request was never sent.
    The API has no way to recognise a repeated request.

    Example:
        >>> certainly_not_created(APIError("bad gateway", status=502, body="<html>"))
        False
    """
    if isinstance(error, APIConnectionError):
        return error.unsent
    if error.status == _UNAUTHORIZED:  # from the API or a gateway; renewed credentials are worth a retry
        return True
    body = error.body
    told = body.get("error") if isinstance(body, dict) and body.get("type") == "error" else None
    kind = told.get("type") if isinstance(told, dict) else None
    return isinstance(kind, str) and kind in _REFUSALS


@contextlib.contextmanager
def saying_what_may_exist() -> Generator[None]:
    """Add to the errors of a creation that the batch may exist, if that is not known."""
    try:
        yield
    except APIError as exc:
        status = exc.status or 0
        refused = _BAD_REQUEST <= status < _SERVER_ERROR and status not in _UNCLEAR
        if not refused and not certainly_not_created(exc):
            exc.message = f"{exc.message}; {MAY_EXIST}"
        raise
    except CancelledError as exc:
        if exc.attempts:
            exc.add_note(MAY_EXIST)
        raise


def results_request(core: ClientCore, batch: MessageBatch, options: Mapping[str, Any]) -> Request:
    """Return the request for a batch's results.

    Raises:
        ConflictError: the batch has none: it has not ended, or they are no longer kept.
        ProtocolError: its `results_url` is not a URL, or has another path than the API's on another origin.
    """
    url = batch.get("results_url")
    if url is None:
        state = batch["processing_status"]
        why = "they are no longer kept" if state == "ended" else "wait until it has ended"
        raise ConflictError(f"the batch {batch['id']} has no results: it is {state}; {why}", type="conflict_error")
    base_url, path = core.transport.base_url, item_path(BATCHES, "batch", batch) + "/results"
    try:
        address = address_of(url, base_url, path)
    except ValueError:
        raise ProtocolError(f"results_url: {strange_url(url, base_url, path)}", body=dict(batch)) from None
    return core.request_factory.build("GET", address, accept=JSON_LINES, **options)


def address_of(url: object, base_url: str, path: str | None = None) -> str:
    """Return the absolute URL of a batch's results, on the origin of the base URL: a relative one is joined with that.

    The API's own path for them is taken as below the base URL, whatever origin is named, with or without the base URL's
    own path in front: behind a gateway, the API names itself, and does not know the path that the gateway puts before.

    Args:
        url: The URL, or what was given in its place.
        base_url: The client's.
        path: The API's own path for the batch's results; None takes that of any batch.

    Raises:
        ValueError: it is not a URL, or has another path on another origin than the base URL's.

    Example:
        >>> address_of("https://api.anthropic.com/v1/messages/batches/b/results", "https://gateway.example/anthropic")
        'https://gateway.example/anthropic/v1/messages/batches/b/results'
    """
    if not isinstance(url, str) or not url.strip():
        raise ValueError("no URL")
    parts, folder = urlsplit(url), urlsplit(base_url).path
    below = parts.path.removeprefix(folder)
    if below == path or (path is None and _RESULTS.fullmatch(below)):
        whole = base_url + below + (parts.query and f"?{parts.query}")
    elif not parts.scheme and not parts.netloc and url.startswith("/") and not url.startswith(f"{folder}/"):
        whole = urljoin(base_url, folder + url)
    else:
        whole = urljoin(f"{base_url}/", url)
    if origin_of(whole) != origin_of(base_url):
        raise ValueError("another origin")
    return quote(whole, safe=_URL)


def strange_url(url: object, base_url: str, path: str = f"{BATCHES}/{{id}}/results") -> str:
    """Return the error text for a URL that `address_of` rejects."""
    return (
        f"expected {path}, on any origin, or a URL on the client's own origin, {base_url}, got {shown(url)}: the key "
        f'is not sent elsewhere. client.request("GET", "{path}", stream=True) asks base_url for the results; what is '
        "only elsewhere is to be fetched without the client"
    )


def result_lines(requester: Requester, answer: Response, *, max_bytes: int | None = None) -> Iterator[list[BatchLine]]:
    """Yield the results of an open response, in lists of those that have arrived.

    A line that is JSON, but not a result, is skipped: the lines after it are yielded, and then the error is raised.

    Args:
        requester: Reads the response.
        answer: The open response.
        max_bytes: The limit for the whole response, if all results are kept in memory.

    Raises:
        AnthropixError: a line is not a result, or the file is cut; the text says at which line.
    """
    longest = min(MAX_LINE_BYTES, answer.max_bytes)
    first_wrong: tuple[int, Any] | None = None
    wrong = 0
    for run in json_lines(_bounded(requester.chunks(answer), max_bytes), max_line_bytes=longest):
        if _are_results(run.objects):
            yield cast("list[BatchLine]", run.objects)
            continue
        yield cast("list[BatchLine]", [line for line in run.objects if _are_results([line])])
        others = [(number, line) for number, line in run if not _are_results([line])]
        first_wrong = first_wrong or others[0]
        wrong += len(others)
    if first_wrong is not None:
        number, line = first_wrong
        more = f"; nor are {wrong - 1} other lines" if wrong > 1 else ""
        raise ProtocolError(f"line {number} is not a result: {shown(line)}{more}", body=line)


def _are_results(lines: list[dict[str, Any]]) -> bool:
    try:  # one loop, and without calls, as the time is spent here
        for line in lines:
            result = line["result"]
            kind = result["type"]
            if type(kind) is not str or type(line["custom_id"]) is not str:
                return False
            if kind in _NEEDED and type(result[_NEEDED[kind]]) is not dict:
                return False
    except (KeyError, TypeError):
        return False
    return True


def _bounded(chunks: Iterator[bytes], most: int | None) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if most is not None and size > most:
            what = f"the results are larger than {most} bytes (max_answer_bytes); stream=True reads them one by one"
            raise ProtocolError(what)
        yield chunk


def counts_of(batch: Mapping[str, Any] | None) -> dict[str, int]:
    """Return the counts of a batch that are valid.

    Example:
        >>> counts_of({"request_counts": {"succeeded": 2, "errored": None}})
        {'succeeded': 2}
    """
    counts = batch.get("request_counts") if batch else None
    pairs = counts.items() if isinstance(counts, dict) else ()
    return {str(name): count for name, count in pairs if type(count) is int and 0 <= count <= _MOST}


def check_complete(batch: Mapping[str, Any], found: int) -> None:
    """Compare the number of a batch's results with its counts: a file that is cut at a line's end looks complete.

    Raises:
        TruncatedError: there are fewer results than the counts say.
    """
    counts = counts_of(batch)
    expected = sum(counts.get(name, 0) for name in FINAL)
    if found < expected:
        what = f"the results end after {found} of {expected}, the number in the batch's request_counts"
        raise TruncatedError(what, retryable=True)


def decode_batch(answer: Response) -> MessageBatch:
    """Return the batch in a response: a mapping with a state, and an id that fits into a path.

    Raises:
        APIError: the response is an error, or not a batch.
    """
    batch = decode_json(answer)
    if isinstance(batch, dict) and isinstance(batch.get("processing_status"), str):
        with contextlib.suppress(ParameterError):
            item_path(BATCHES, "batch", batch)
            return cast("MessageBatch", batch)
    raise ProtocolError(f"expected a batch, got {shown(batch)}", body=batch)
