"""One endpoint: how its requests are read, and what answers them."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.requests import Request as HTTPRequest

from anthropix_actors.emulator._api.checks import MAX_BODY_BYTES
from anthropix_actors.emulator._model import json as _json
from anthropix_actors.emulator._script.responder import Responder
from anthropix_actors.emulator.records import Headers, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from anthropix_actors.emulator._script.steps import Step

Handler: TypeAlias = Callable[[Request, Responder], "Iterator[Step]"]
"""Does what a request asks for, at once, and gets the steps that tell of it."""

BodyReader: TypeAlias = Callable[[HTTPRequest, int], Awaitable[Any]]
"""Reads a body of so many bytes at most, as it is to be noted."""


class TooLargeError(Exception):
    """The body has more bytes than its endpoint takes."""


async def json_body(http: HTTPRequest, limit: int) -> Any:
    """Read JSON; where it is none, bytes; where there are none, None.

    Raises:
        TooLargeError: there are more than `limit` bytes.
        ClientDisconnect: the client has left.
    """
    body = bytearray()
    async for chunk in chunks(http, limit):
        body += chunk
    if not body:
        return None
    with contextlib.suppress(*_json.NotJSON):
        return _json.decode(body)
    return bytes(body)


async def chunks(http: HTTPRequest, limit: int) -> AsyncIterator[bytes]:
    """Read a body as it comes.

    Raises:
        TooLargeError: there are more than `limit` bytes.
        ClientDisconnect: the client has left.
    """
    remaining = limit
    if int(http.headers.get("content-length", 0)) > limit:
        raise TooLargeError
    async for chunk in http.stream():
        remaining -= len(chunk)
        if remaining < 0:
            raise TooLargeError
        yield chunk


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path.

    Attributes:
        method: GET, POST or DELETE.
        path: The path, with `{id}` where something else may stand.
        handle: What answers it.
        read: What reads its body.
        limit: The most bytes of a body.
        streams: Whether it answers with an event stream.
    """

    method: str
    path: str
    handle: Handler
    read: BodyReader = json_body
    limit: int = MAX_BODY_BYTES
    streams: bool = False


def to_request(http: HTTPRequest, body: Any) -> Request:
    """Make a note of a request and its body."""
    query: dict[str, str] = {}
    for name, value in http.query_params.multi_items():
        query[name] = f"{query[name]},{value}" if name in query else value
    return Request(http.method, http.url.path, query, Headers(http.headers.items()), body)
