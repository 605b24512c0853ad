"""Batches and their results, as answers of the API.

What a server says is foreign. A batch must say its id and its state; whatever else is odd costs no more than itself.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urljoin, urlsplit

from anthropix_actors._calls.core import JSON_LINES, decode_json
from anthropix_actors._checks.named import item_path
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

    from anthropix_actors._calls.core import ClientCore
    from anthropix_actors._http.request import Request
    from anthropix_actors._http.requester import Requester
    from anthropix_actors._http.transport import Response
    from anthropix_actors._wire.resources import BatchLine, MessageBatch

BATCHES = "/v1/messages/batches"

MAY_EXIST = (
    "the batch may have been made all the same, and be paid for: before you make it again, look for it with "
    "client.batches.list()"
)

FINAL = ("succeeded", "errored", "canceled", "expired")
"""What becomes of a request; each has a line in the results. The official description has no other."""

_NEEDED = {"succeeded": "message", "errored": "error"}
"""What a result of this type has, as a mapping."""

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
"""The API's words for what it does not even begin. Not `api_error` and `timeout_error`: these came upon it at work."""

_MOST = 10**9
"""A count above this is none: a batch has 100,000 requests."""

_UNAUTHORIZED = 401
_BAD_REQUEST, _SERVER_ERROR = 400, 500
_UNCLEAR = frozenset({408, 409, 425, 429, 499})
"""Statuses that gateways and proxies also use when they have passed a request on."""

_URL = ":/?#[]@!$&'()*+,;=%-._~"
"""What may stand in a URL as it is."""


def certainly_not_created(error: APIError) -> bool:
    """Whether a failed creation made no batch, so that another attempt cannot make a second one, to be paid, too.

    A status alone says little: a gateway answers 500, 502, 503, 504 or 524 for what the API goes on with. So it has to
    be an error of the API's own form, of a type that means that nothing was begun; or the request was never sent. The
    API has no way to recognise a repetition.

    Example:
        >>> certainly_not_created(APIError("bad gateway", status=502, body="<html>"))
        False
    """
    if isinstance(error, APIConnectionError):
        return error.unsent
    if error.status == _UNAUTHORIZED:  # whoever says it; credentials that are renewed are worth another attempt
        return True
    body = error.body
    told = body.get("error") if isinstance(body, dict) and body.get("type") == "error" else None
    kind = told.get("type") if isinstance(told, dict) else None
    return isinstance(kind, str) and kind in _REFUSALS


@contextlib.contextmanager
def saying_what_may_exist() -> Generator[None]:
    """Let the errors of a creation say that the batch may exist, where that is not known."""
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
    """Get the request for a batch's results.

    Raises:
        ConflictError: there are none: it has not ended, or they are kept no longer.
        ProtocolError: where they are said to be is no URL, or on another origin.
    """
    url = batch.get("results_url")
    if url is None:
        state = batch["processing_status"]
        why = "they are kept no longer" if state == "ended" else "wait until it has ended"
        raise ConflictError(f"the batch {batch['id']} has no results: it is {state}; {why}", type="conflict_error")
    try:
        address = address_of(url, core.base_url)
    except ValueError:
        raise ProtocolError(f"results_url: {strange_url(url, core.base_url)}", body=dict(batch)) from None
    return core.request("GET", address, accept=JSON_LINES, **options)


def address_of(url: object, base_url: str) -> str:
    """Get the whole URL of a batch's results: what is relative is joined with the base URL.

    A path from the root that does not have the base URL's own path in front is meant below that: a gateway puts the
    API somewhere, and what is behind the gateway does not know where.

    Raises:
        ValueError: it is none, or on another origin than the base URL.

    Example:
        >>> address_of("/v1/messages/batches/b/results", "https://gateway.example/anthropic")
        'https://gateway.example/anthropic/v1/messages/batches/b/results'
    """
    if not isinstance(url, str) or not url.strip():
        raise ValueError("no URL")
    parts, folder = urlsplit(url), urlsplit(base_url).path
    if not parts.scheme and not parts.netloc and url.startswith("/") and not url.startswith(f"{folder}/"):
        url = folder + url
    whole = urljoin(f"{base_url}/", url)
    if origin_of(whole) != origin_of(base_url):
        raise ValueError("another origin")
    return quote(whole, safe=_URL)


def strange_url(url: object, base_url: str) -> str:
    """Say what is wrong with a URL that `address_of` does not take."""
    return (
        f"expected a URL on the client's own origin, {base_url}, got {shown(url)}: the key is not sent elsewhere. "
        'Where base_url is a gateway, client.request("GET", "/messages/batches/{id}/results", stream=True) asks that'
    )


def result_lines(requester: Requester, answer: Response, *, max_bytes: int | None = None) -> Iterator[list[BatchLine]]:
    """Get the results of an open answer, in lists of those that have arrived.

    A line that is JSON and no result costs itself: what comes after it is given, and then the error raised.

    Args:
        requester: Reads the answer.
        answer: The open answer.
        max_bytes: How much there may be in all, where all of it is kept.

    Raises:
        AnthropixError: a line is no result, or the file is cut; the text says at which line.
    """
    longest = min(MAX_LINE_BYTES, answer.max_bytes)
    wrong: list[tuple[int, Any]] = []
    others = 0
    for run in json_lines(_bounded(requester.chunks(answer), max_bytes), max_line_bytes=longest):
        lines: list[Any] = []
        for number, line in run:
            if _is_result(line):
                lines.append(line)
            elif wrong:
                others += 1
            else:
                wrong.append((number, line))
        yield lines
    for number, line in wrong:
        more = f"; nor are {others} other lines" if others else ""
        raise ProtocolError(f"line {number} is no result: {shown(line)}{more}", body=line)


def _is_result(line: dict[str, Any]) -> bool:
    result = line.get("result")
    if type(result) is not dict or type(line.get("custom_id")) is not str:
        return False
    kind = result.get("type")
    need = _NEEDED.get(kind) if type(kind) is str else ""
    return need is None or type(result.get(need)) is dict


def _bounded(chunks: Iterator[bytes], most: int | None) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if most is not None and size > most:
            what = f"the results are larger than {most} bytes (max_answer_bytes); stream=True reads them one by one"
            raise ProtocolError(what)
        yield chunk


def counts_of(batch: Mapping[str, Any] | None) -> dict[str, int]:
    """Get a batch's counts, as far as they are counts.

    Example:
        >>> counts_of({"request_counts": {"succeeded": 2, "errored": None}})
        {'succeeded': 2}
    """
    counts = batch.get("request_counts") if batch else None
    pairs = counts.items() if isinstance(counts, dict) else ()
    return {str(name): count for name, count in pairs if type(count) is int and 0 <= count <= _MOST}


def check_complete(batch: Mapping[str, Any], found: int) -> None:
    """Compare the number of a batch's results with its counts: a file that ends at a line's end looks whole.

    Raises:
        TruncatedError: there are fewer than there must be.
    """
    counts = counts_of(batch)
    expected = sum(counts.get(name, 0) for name in FINAL)
    if found < expected:
        what = f"the results end after {found} of {expected}, the number in the batch's request_counts"
        raise TruncatedError(what, retryable=True)


def decode_batch(answer: Response) -> MessageBatch:
    """Get the batch that an answer is: what has an id that a path can name, and a state.

    Raises:
        APIError: it is an error, or no batch.
    """
    batch = decode_json(answer)
    if isinstance(batch, dict) and isinstance(batch.get("processing_status"), str):
        with contextlib.suppress(ParameterError):
            item_path(BATCHES, "batch", batch)
            return cast("MessageBatch", batch)
    raise ProtocolError(f"expected a batch, got {shown(batch)}", body=batch)
