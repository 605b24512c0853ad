"""The API's paths, as a Starlette application."""

from __future__ import annotations

import datetime as dt
import email.utils
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from anthropix_actors._foreign.log import log
from anthropix_actors.emulator._api.batches import Batches
from anthropix_actors.emulator._api.checks import (
    refused_chat,
    refused_count,
    refused_headers,
    refused_object,
    too_large,
)
from anthropix_actors.emulator._api.files import Files
from anthropix_actors.emulator._api.hosts import refused_host
from anthropix_actors.emulator._api.models import MODELS, page
from anthropix_actors.emulator._api.route import Endpoint, TooLargeError, note
from anthropix_actors.emulator._api.sessions import Sessions
from anthropix_actors.emulator._api.state import CHAT
from anthropix_actors.emulator._model.context import seen
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.ids import Ids
from anthropix_actors.emulator._model.tokens import count_input
from anthropix_actors.emulator._script.responder import Compiler, unstreamed
from anthropix_actors.emulator._script.step_response import Playback
from anthropix_actors.emulator._script.steps import metered
from anthropix_actors.emulator.answers import Status, unwrap

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request as HTTPRequest

    from anthropix_actors.emulator._api.state import Desk
    from anthropix_actors.emulator._script.steps import Step
    from anthropix_actors.emulator.records import Request

_ORGANIZATION = "01234567-89ab-4def-8123-456789abcdef"


def application(desk: Desk, released: asyncio.Semaphore) -> Starlette:
    """Get the application; `released` has a permit for each stalled answer that may go on."""
    api = _Api(desk, released)
    strangers: dict[Any, Any] = {404: api.stranger(_UNKNOWN), 405: api.stranger(_WRONG_METHOD)}
    endpoints = [
        Endpoint("POST", CHAT, api.chat),
        Endpoint("POST", CHAT + "/count_tokens", api.count),
        Endpoint("GET", "/v1/models", _models),
        Endpoint("GET", "/v1/models/{id}", _model),
        *Batches(desk).endpoints(),
        *Files().endpoints(),
        *Sessions(desk).endpoints(),
    ]
    routes = [Route(each.path, api.serve(each), methods=[each.method]) for each in endpoints]
    app = Starlette(routes=routes, exception_handlers=strangers)
    app.router.redirect_slashes = False
    return app


class _Api:
    """What all endpoints have in common. Runs in the event loop."""

    def __init__(self, desk: Desk, released: asyncio.Semaphore) -> None:
        self._desk = desk
        self._released = released
        self._ids = Ids()

    def serve(self, endpoint: Endpoint) -> Callable[[HTTPRequest], Awaitable[Playback]]:
        async def serve(http: HTTPRequest) -> Playback:
            return await self._answer(http, endpoint)

        return serve

    def stranger(self, endpoint: Endpoint) -> Callable[[HTTPRequest, Exception], Awaitable[Playback]]:
        async def serve(http: HTTPRequest, _: Exception) -> Playback:
            return await self._answer(http, endpoint, known=False)

        return serve

    def chat(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        if refusal := refused_object(request):
            return compiler.other(refusal)
        compiler.request = request = self._desk.whole(request)
        refusal = refused_chat(request, self._desk.rules, self._desk.thoughts)
        if refusal:
            return compiler.other(refusal)
        model, meter = request.body["model"], self._desk.meter
        priced = self._desk.price(request)
        refusal = meter.let_in(model, priced.unread)
        compiler.headers.update(meter.headers(model))
        if refusal:
            return compiler.other(refusal)
        charge, hold = partial(self._desk.charge, priced), partial(self._desk.hold, request)
        steps = compiler.chat(self._desk.answer(request), charge, hold)
        return metered(steps, partial(meter.spend, model)) if meter.enforced else steps

    def count(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        refusal = refused_count(request, self._desk.rules, self._desk.thoughts)
        return compiler.other(refusal or {"input_tokens": count_input(seen(request.body))})

    async def _answer(self, http: HTTPRequest, endpoint: Endpoint, *, known: bool = True) -> Playback:
        refusal = body = None
        try:
            body = await endpoint.read(http, endpoint.limit)
        except TooLargeError:
            refusal = too_large(endpoint.limit)
        except ClientDisconnect:  # while it was sending; nobody is there to be told
            return Playback(iter(()), self._released, self._desk.hung_up)
        request = note(http, body)
        self._desk.note(request)
        compiler = Compiler(request, self._headers(request), self._ids)
        refusal = refused_host(request.headers.get("host"), *self._desk.hosts) or refusal
        if known or self._scripted(request):
            refusal = refusal or refused_headers(request, self._desk.api_key)
        try:
            steps = compiler.other(refusal) if refusal else self._steps(request, compiler, endpoint)
        except (Exception, SystemExit, KeyboardInterrupt) as exc:  # noqa: BLE001 - a user's handler may raise anything
            # The client hears of it. Nothing goes past here: asyncio ends the loop for an exit, and so for everybody.
            log(logging.ERROR, "no answer for %s %s", request.method, request.path, exc_info=exc)
            steps = compiler.other(Status(500, f"the emulator found no answer: {exc!r}"))
        return Playback(steps, self._released, self._desk.hung_up, compiler.closing)

    def _scripted(self, request: Request) -> bool:
        return request.path != CHAT and self._desk.scripted(request.path)

    def _steps(self, request: Request, compiler: Compiler, endpoint: Endpoint) -> Iterator[Step]:
        if not self._scripted(request):
            return _made(endpoint, request, compiler)
        (answer,) = self._desk.take(request.path)
        said, faults = unwrap(answer)
        if said is None and not endpoint.streams:
            said, faults = unstreamed(said, faults)
        steps = _made(endpoint, request, compiler) if said is None else compiler.other(said)
        return compiler.faulty(steps, faults)

    def _headers(self, request: Request) -> dict[str, str]:
        now = dt.datetime.now(dt.UTC)
        headers = {
            "date": email.utils.format_datetime(now, usegmt=True),
            "request-id": self._ids.new("req_011C"),
        }
        if refused_headers(request, self._desk.api_key):
            return headers  # whose limits these would be is not known
        headers["anthropic-organization-id"] = _ORGANIZATION
        return {**headers, **self._desk.meter.headers("")}


def _made(endpoint: Endpoint, request: Request, compiler: Compiler) -> Iterator[Step]:
    try:
        return endpoint.make(request, compiler)
    except RefusedError as exc:
        return compiler.other(exc.told)


def _models(request: Request, compiler: Compiler) -> Iterator[Step]:
    return compiler.json(page(request.query))


def _model(request: Request, compiler: Compiler) -> Iterator[Step]:
    model_id = request.path.rpartition("/")[2]
    return compiler.other(MODELS.get(model_id) or Status(404, f"model: {model_id}"))


def _unknown(_: Request, compiler: Compiler) -> Iterator[Step]:
    return compiler.other(Status(404, "Not Found"))


def _wrong_method(_: Request, compiler: Compiler) -> Iterator[Step]:
    return compiler.other(Status(405, "Method Not Allowed"))


_UNKNOWN = Endpoint("", "", _unknown)
_WRONG_METHOD = Endpoint("", "", _wrong_method)
