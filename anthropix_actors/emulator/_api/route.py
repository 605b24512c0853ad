"""`Route`: a method and a path, how its bodies are read, and its handler."""

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
"""Executes a request at once, and returns the steps of the response. Runs in the event loop."""

BodyReader: TypeAlias = Callable[[HTTPRequest, int], Awaitable[Any]]
"""Reads a body up to a limit in bytes, in the form in which it is recorded."""


class TooLargeError(Exception):
    """The body has more bytes than its route accepts."""


async def json_body(http: HTTPRequest, limit: int) -> Any:
    """Read a body: JSON, or bytes if it is not JSON, or None if it is empty.

    Raises:
        TooLargeError: the body has more than `limit` bytes.
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
    """Read a body chunk by chunk.

    Raises:
        TooLargeError: the body has more than `limit` bytes.
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
        path: The path, with placeholders such as `{id}`.
        handle: Its handler.
        read: The reader of its bodies.
        limit: The largest body in bytes.
        streams: Whether the response is an event stream.
    """

    method: str
    path: str
    handle: Handler
    read: BodyReader = json_body
    limit: int = MAX_BODY_BYTES
    streams: bool = False


def to_request(http: HTTPRequest, body: Any) -> Request:
    """Return Starlette's request as the record of it."""
    query: dict[str, str] = {}
    for name, value in http.query_params.multi_items():
        query[name] = f"{query[name]},{value}" if name in query else value
    return Request(http.method, http.url.path, query, Headers(http.headers.items()), body)
