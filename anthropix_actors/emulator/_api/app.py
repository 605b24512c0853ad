"""The Starlette application: routes, and what happens to every request."""

from __future__ import annotations

import datetime as dt
import email.utils
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Route as StarletteRoute

from anthropix_actors._foreign.log import log
from anthropix_actors.emulator._api.batches import BatchRoutes
from anthropix_actors.emulator._api.checks import check_chat, check_count, check_headers, check_object, too_large
from anthropix_actors.emulator._api.files import FileRoutes
from anthropix_actors.emulator._api.host_header import check_host
from anthropix_actors.emulator._api.models import MODELS, models_page
from anthropix_actors.emulator._api.route import Route, TooLargeError, to_request
from anthropix_actors.emulator._api.sessions import SessionRoutes
from anthropix_actors.emulator._api.state import CHAT
from anthropix_actors.emulator._model.compaction import after_compaction
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.ids import Ids
from anthropix_actors.emulator._model.tokens import count_input
from anthropix_actors.emulator._script.responder import Responder, error_event_as_status
from anthropix_actors.emulator._script.step_response import StepResponse
from anthropix_actors.emulator._script.steps import metered
from anthropix_actors.emulator.answers import Status, unwrap

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request as HTTPRequest

    from anthropix_actors.emulator._api.state import ServerState
    from anthropix_actors.emulator._script.steps import Step
    from anthropix_actors.emulator.records import Request

_ORGANIZATION = "01234567-89ab-4def-8123-456789abcdef"


def application(state: ServerState, released: asyncio.Semaphore) -> Starlette:
    """Return the application; `released` has a permit for each stalled answer to resume."""
    api = _Api(state, released)
    handlers: dict[Any, Any] = {404: api.exception_handler(_UNKNOWN), 405: api.exception_handler(_WRONG_METHOD)}
    routes = [
        Route("POST", CHAT, api.chat),
        Route("POST", CHAT + "/count_tokens", api.count),
        Route("GET", "/v1/models", _list_models),
        Route("GET", "/v1/models/{id}", _retrieve_model),
        *BatchRoutes(state).routes(),
        *FileRoutes().routes(),
        *SessionRoutes(state).routes(),
    ]
    starlette_routes = [StarletteRoute(each.path, api.serve(each), methods=[each.method]) for each in routes]
    app = Starlette(routes=starlette_routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


class _Api:
    """What all routes have in common. Runs in the event loop."""

    def __init__(self, state: ServerState, released: asyncio.Semaphore) -> None:
        self._state = state
        self._released = released
        self._ids = Ids()

    def serve(self, route: Route) -> Callable[[HTTPRequest], Awaitable[StepResponse]]:
        async def serve(http: HTTPRequest) -> StepResponse:
            return await self._answer(http, route)

        return serve

    def exception_handler(self, route: Route) -> Callable[[HTTPRequest, Exception], Awaitable[StepResponse]]:
        async def serve(http: HTTPRequest, _: Exception) -> StepResponse:
            return await self._answer(http, route, routed=False)

        return serve

    def chat(self, request: Request, responder: Responder) -> Iterator[Step]:
        if refusal := check_object(request):
            return responder.answer(refusal)
        responder.request = request = self._state.expand_thread(request)
        refusal = check_chat(request, self._state.rules, self._state.thoughts)
        if refusal:
            return responder.answer(refusal)
        model, meter = request.body["model"], self._state.meter
        cost = self._state.price(request)
        refusal = meter.admit(model, cost.uncached)
        responder.headers.update(meter.headers(model))
        if refusal:
            return responder.answer(refusal)
        charge, store = partial(self._state.charge, cost), partial(self._state.store_thread, request)
        steps = responder.chat(self._state.answer(request), charge, store)
        return metered(steps, partial(meter.spend, model)) if meter.enforced else steps

    def count(self, request: Request, responder: Responder) -> Iterator[Step]:
        refusal = check_count(request, self._state.rules, self._state.thoughts)
        return responder.answer(refusal or {"input_tokens": count_input(after_compaction(request.body))})

    async def _answer(self, http: HTTPRequest, route: Route, *, routed: bool = True) -> StepResponse:
        refusal = body = None
        try:
            body = await route.read(http, route.limit)
        except TooLargeError:
            refusal = too_large(route.limit)
        except ClientDisconnect:  # while it was sending; no client is left to answer
            return StepResponse(iter(()), self._released, self._state.record_hangup)
        request = to_request(http, body)
        self._state.record(request)
        responder = Responder(request, self._headers(request), self._ids)
        refusal = check_host(request.headers.get("host"), *self._state.hosts) or refusal
        if routed or self._takes_queued(request):
            refusal = refusal or check_headers(request, self._state.api_key)
        try:
            steps = responder.answer(refusal) if refusal else self._steps(request, responder, route)
        except (Exception, SystemExit, KeyboardInterrupt) as exc:  # noqa: BLE001 - a user's handler may raise any
            # The client gets a 500. No exception may pass: for SystemExit, asyncio would end the loop of all clients.
            log(logging.ERROR, "no answer for %s %s", request.method, request.path, exc_info=exc)
            steps = responder.answer(Status(500, f"the emulator failed to answer: {exc!r}"))
        return StepResponse(steps, self._released, self._state.record_hangup, responder.on_close)

    def _takes_queued(self, request: Request) -> bool:
        return request.path != CHAT and self._state.has_queued(request.path)

    def _steps(self, request: Request, responder: Responder, route: Route) -> Iterator[Step]:
        if not self._takes_queued(request):
            return _handle(route, request, responder)
        (answer,) = self._state.pop(request.path)
        plain, faults = unwrap(answer)
        if plain is None and not route.streams:
            plain, faults = error_event_as_status(plain, faults)
        steps = _handle(route, request, responder) if plain is None else responder.answer(plain)
        return responder.with_faults(steps, faults)

    def _headers(self, request: Request) -> dict[str, str]:
        now = dt.datetime.now(dt.UTC)
        headers = {
            "date": email.utils.format_datetime(now, usegmt=True),
            "request-id": self._ids.new("req_011C"),
        }
        if check_headers(request, self._state.api_key):
            return headers  # without a valid key, it is unknown whose limits to report
        headers["anthropic-organization-id"] = _ORGANIZATION
        return {**headers, **self._state.meter.headers("")}


def _handle(route: Route, request: Request, responder: Responder) -> Iterator[Step]:
    try:
        return route.handle(request, responder)
    except RefusedError as exc:
        return responder.answer(exc.status)


def _list_models(request: Request, responder: Responder) -> Iterator[Step]:
    return responder.json(models_page(request.query))


def _retrieve_model(request: Request, responder: Responder) -> Iterator[Step]:
    model_id = request.path.rpartition("/")[2]
    return responder.answer(MODELS.get(model_id) or Status(404, f"model: {model_id}"))


def _unknown(_: Request, responder: Responder) -> Iterator[Step]:
    return responder.answer(Status(404, "Not Found"))


def _wrong_method(_: Request, responder: Responder) -> Iterator[Step]:
    return responder.answer(Status(405, "Method Not Allowed"))


_UNKNOWN = Route("", "", _unknown)
_WRONG_METHOD = Route("", "", _wrong_method)
