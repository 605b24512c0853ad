"""The API's paths, as a Starlette application."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from anthropix_actors.emulator import _json
from anthropix_actors.emulator._checks import (
    MAX_BODY_BYTES,
    TOO_LARGE,
    refused_chat,
    refused_count,
    refused_headers,
)
from anthropix_actors.emulator._compile import Compiler
from anthropix_actors.emulator._desk import CHAT
from anthropix_actors.emulator._ids import Ids
from anthropix_actors.emulator._models import MODELS, page
from anthropix_actors.emulator._play import Playback
from anthropix_actors.emulator._tokens import count_input
from anthropix_actors.emulator.answers import Status
from anthropix_actors.emulator.records import Headers, Request

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from starlette.requests import Request as HTTPRequest

    from anthropix_actors.emulator._desk import Desk
    from anthropix_actors.emulator._steps import Step

_ORGANIZATION = "01234567-89ab-4def-8123-456789abcdef"

_LIMITS = {"requests": 4_000, "tokens": 4_800_000, "input-tokens": 4_000_000, "output-tokens": 800_000}

_log = logging.getLogger("anthropix_actors.emulator")


Maker: TypeAlias = Callable[[Request, Compiler], "Iterator[Step]"]


def application(desk: Desk, released: asyncio.Semaphore) -> Starlette:
    """Get the application; `released` has a permit for each stalled answer that may go on."""
    api = _Api(desk, released)
    strangers: dict[Any, Any] = {404: api.unknown, 405: api.wrong_method}
    app = Starlette(
        routes=[
            Route(CHAT, api.chat, methods=["POST"]),
            Route(CHAT + "/count_tokens", api.count_tokens, methods=["POST"]),
            Route("/v1/models", api.models, methods=["GET"]),
            Route("/v1/models/{model_id}", api.model, methods=["GET"]),
        ],
        exception_handlers=strangers,
    )
    app.router.redirect_slashes = False
    return app


class _Api:
    """The endpoints. All run in the event loop."""

    def __init__(self, desk: Desk, released: asyncio.Semaphore) -> None:
        self._desk = desk
        self._released = released
        self._ids = Ids()

    async def chat(self, http: HTTPRequest) -> Playback:
        return await self._answer(http, self._chat)

    async def count_tokens(self, http: HTTPRequest) -> Playback:
        return await self._answer(http, _count)

    async def models(self, http: HTTPRequest) -> Playback:
        return await self._answer(http, _models)

    async def model(self, http: HTTPRequest) -> Playback:
        return await self._answer(http, _model)

    async def unknown(self, http: HTTPRequest, _: Exception) -> Playback:
        return await self._answer(http, _unknown, known=False)

    async def wrong_method(self, http: HTTPRequest, _: Exception) -> Playback:
        return await self._answer(http, _wrong_method, known=False)

    async def _answer(self, http: HTTPRequest, make: Maker, *, known: bool = True) -> Playback:
        try:
            body = await _body(http)
        except ClientDisconnect:  # while it was sending; nobody is there to be told
            return Playback(iter(()), self._released, self._desk.hung_up)
        request = _record(http, body)
        self._desk.note(request)
        compiler = Compiler(request, self._headers(request), self._ids)
        try:
            steps = self._steps(request, compiler, make, known=known, whole=body is not None)
        except Exception as exc:  # noqa: BLE001 - a user's handler may raise anything; the client hears of it
            _log.exception("no answer for %s %s", request.method, request.path)
            steps = compiler.other(Status(500, f"the emulator found no answer: {exc!r}"))
        return Playback(steps, self._released, self._desk.hung_up)

    def _steps(self, request: Request, compiler: Compiler, make: Maker, *, known: bool, whole: bool) -> Iterator[Step]:
        scripted = [] if request.path == CHAT else self._desk.take(request.path)
        refusal = None if whole else TOO_LARGE
        if known or scripted:
            refusal = refusal or refused_headers(request, self._desk.api_key)
        if refusal is not None:
            return compiler.other(refusal)
        return compiler.other(scripted[0]) if scripted else make(request, compiler)

    def _chat(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        refusal = refused_chat(request)
        return compiler.other(refusal) if refusal else compiler.chat(self._desk.answer(request))

    def _headers(self, request: Request) -> dict[str, str]:
        now = dt.datetime.now(dt.UTC)
        headers = {
            "date": email.utils.format_datetime(now, usegmt=True),
            "request-id": self._ids.new("req_011C"),
        }
        if refused_headers(request, self._desk.api_key):
            return headers  # whose limits these would be is not known
        headers["anthropic-organization-id"] = _ORGANIZATION
        for kind, limit in _LIMITS.items():
            prefix = f"anthropic-ratelimit-{kind}-"
            headers[prefix + "limit"] = str(limit)
            headers[prefix + "remaining"] = str(limit - 1 if kind == "requests" else limit)
            headers[prefix + "reset"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return headers


async def _body(http: HTTPRequest) -> bytes | None:
    """Read the body; None when it is larger than the API takes."""
    body = bytearray()
    if int(http.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        return None
    async for chunk in http.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _record(http: HTTPRequest, body: bytes | None) -> Request:
    content: Any = body or None
    with contextlib.suppress(*_json.NotJSON):
        content = _json.decode(body) if body else None
    path, query = http.url.path, dict(http.query_params)
    return Request(http.method, path, query, Headers(http.headers.items()), content)


def _count(request: Request, compiler: Compiler) -> Iterator[Step]:
    refusal = refused_count(request)
    return compiler.other(refusal or {"input_tokens": count_input(request.body)})


def _models(request: Request, compiler: Compiler) -> Iterator[Step]:
    try:
        return compiler.json(page(request.query))
    except ValueError as exc:
        return compiler.other(Status(400, str(exc)))


def _model(request: Request, compiler: Compiler) -> Iterator[Step]:
    model_id = request.path.rpartition("/")[2]
    return compiler.other(MODELS.get(model_id) or Status(404, f"model: {model_id}"))


def _unknown(_: Request, compiler: Compiler) -> Iterator[Step]:
    return compiler.other(Status(404, "Not Found"))


def _wrong_method(_: Request, compiler: Compiler) -> Iterator[Step]:
    return compiler.other(Status(405, "Method Not Allowed"))
