"""Batches and their results, as answers of the API."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from anthropix_actors._caller import JSON_LINES, decoded
from anthropix_actors._jsonl import json_lines
from anthropix_actors._urls import origin_of
from anthropix_actors.errors import APIConnectionError, ConflictError, ParameterError, Problem, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anthropix_actors._caller import Calls
    from anthropix_actors._exchange import Exchange
    from anthropix_actors._request import Request
    from anthropix_actors._transport import Answer
    from anthropix_actors.errors import APIError
    from anthropix_actors.types import BatchLine, MessageBatch


def results_request(calls: Calls, batch: MessageBatch, options: Mapping[str, Any]) -> Request:
    """Get the request for a batch's results.

    Raises:
        ConflictError: there are none: it has not ended, or they are kept no longer.
        ParameterError: they are on another origin.
    """
    url = batch["results_url"]
    if url is None:
        state = batch["processing_status"]
        why = "they are kept no longer" if state == "ended" else "wait until it has ended"
        raise ConflictError(f"the batch {batch['id']} has no results: it is {state}; {why}", type="conflict_error")
    with contextlib.suppress(ValueError):
        if origin_of(url) == origin_of(calls.base_url):
            return calls.request("GET", url, accept=JSON_LINES, **options)
    what = (
        f"expected a URL on the client's own origin, {calls.base_url}, got {url:.200}: the key is not sent elsewhere. "
        'Where base_url is a gateway, client.request("GET", "/messages/batches/{id}/results", stream=True) asks that'
    )
    raise ParameterError([Problem("results_url", what)])


def result_lines(exchange: Exchange, answer: Answer) -> Iterator[list[BatchLine]]:
    """Get the results of an open answer, in lists of those that have arrived.

    Raises:
        AnthropixError: a line is no result, or the file is cut; the text says at which line.
    """
    for run in json_lines(exchange.chunks(answer)):
        lines: list[Any] = []
        for number, line in run:
            if type(line.get("custom_id")) is not str or type(line.get("result")) is not dict:
                yield lines
                raise ProtocolError(f"line {number} is no result: {line!r:.200}", body=line)
            lines.append(line)
        yield lines


def decoded_batch(answer: Answer) -> MessageBatch:
    """Get the batch that an answer is.

    Raises:
        APIError: it is an error, or no batch.
    """
    batch = decoded(answer)
    if not isinstance(batch, dict) or not {"id", "processing_status", "request_counts", "results_url"} <= batch.keys():
        raise ProtocolError(f"expected a batch, got {batch!r:.200}", body=batch)
    return cast("MessageBatch", batch)


def surely_not_made(error: APIError) -> bool:
    """Whether a failed creation made no batch, so that another attempt cannot make a second one.

    When the answer is lost, nobody knows; a batch may be large, and the API has no way to recognise a repetition.
    """
    return not isinstance(error, APIConnectionError) or error.unsent
