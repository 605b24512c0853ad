"""The routes of batches.

Source: https://docs.claude.com/en/api/creating-message-batches, read 2026-11-23.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._api.batch import EmulatedBatch
from anthropix_actors.emulator._api.checks import check_chat, check_keys, check_object
from anthropix_actors.emulator._api.pages import page_by_id
from anthropix_actors.emulator._api.route import Route
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.ids import Ids
from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator.answers import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator._api.state import ServerState
    from anthropix_actors.emulator._script.responder import Responder
    from anthropix_actors.emulator._script.steps import Step
    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.records import Request

PATH = "/v1/messages/batches"

MAX_REQUESTS = 100_000
MAX_BYTES = 256 << 20

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class BatchRoutes:
    """All batches of an emulator. Runs in its event loop.

    Args:
        state: Has the answers and the schedule.
    """

    def __init__(self, state: ServerState) -> None:
        """Start without batches."""
        self._state = state
        self._ids = Ids()
        self._batches: dict[str, EmulatedBatch] = {}

    def routes(self) -> list[Route]:
        """Return its routes."""
        return [
            Route("POST", PATH, self._create, limit=MAX_BYTES),
            Route("GET", PATH, self._list),
            Route("GET", PATH + "/{id}", self._retrieve),
            Route("DELETE", PATH + "/{id}", self._delete),
            Route("POST", PATH + "/{id}/cancel", self._cancel),
            Route("GET", PATH + "/{id}/results", self._results),
        ]

    def _create(self, request: Request, responder: Responder) -> Iterator[Step]:
        if refusal := _check_creation(request):
            return responder.answer(refusal)
        batch = EmulatedBatch(self._ids.new("msgbatch_01"), request, self._state, self._answer)
        self._batches[batch.id] = batch
        return self._show(batch, request, responder)

    def _answer(self, request: Request) -> Answer:
        """Return the answer to one request; a refusal becomes its result, when it is processed."""
        return check_chat(request, self._state.rules, self._state.thoughts) or self._state.answer(request)

    def _list(self, request: Request, responder: Responder) -> Iterator[Step]:
        def show(batch_id: str) -> dict[str, Any]:
            self._batches[batch_id].advance()
            return self._batches[batch_id].to_json(self._origin(request))

        newest_first = list(reversed(self._batches))
        return responder.json(page_by_id(request.query, newest_first, show, "message batch"))

    def _retrieve(self, request: Request, responder: Responder) -> Iterator[Step]:
        batch = self._find(request)
        batch.advance(poll=True)
        return self._show(batch, request, responder)

    def _cancel(self, request: Request, responder: Responder) -> Iterator[Step]:
        batch = self._find(request)
        batch.cancel()
        if batch.status == "ended":
            raise RefusedError(400, f"message batch {batch.id} has ended and cannot be canceled")
        return self._show(batch, request, responder)

    def _results(self, request: Request, responder: Responder) -> Iterator[Step]:
        batch = self._find(request)
        batch.advance()
        if batch.status != "ended":
            raise RefusedError(404, f"message batch {batch.id} is {batch.status} and has no results yet")
        return responder.response({"content-type": "application/x-jsonl"}, batch.result_lines())

    def _delete(self, request: Request, responder: Responder) -> Iterator[Step]:
        batch = self._find(request)
        batch.advance()
        if batch.status != "ended":
            raise RefusedError(
                400, f"message batch {batch.id} is {batch.status} and cannot be deleted: cancel it first"
            )
        del self._batches[batch.id]
        return responder.json({"id": batch.id, "type": "message_batch_deleted"})

    def _find(self, request: Request) -> EmulatedBatch:
        batch_id = request.path.split("/")[4]
        if batch_id not in self._batches:
            raise RefusedError(404, f"message_batch: {batch_id}")
        return self._batches[batch_id]

    def _show(self, batch: EmulatedBatch, request: Request, responder: Responder) -> Iterator[Step]:
        return responder.json(batch.to_json(self._origin(request)))

    def _origin(self, request: Request) -> str:
        """Return the URL by which the client reached the emulator: `results_url` passes the same proxies."""
        # Of several proxies, the first is the client's.
        told = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        scheme = told if told in {"http", "https"} else self._state.scheme
        return f"{scheme}://{request.headers.get('host', 'localhost')}"


def _check_creation(request: Request) -> Status | None:
    """Return what is wrong with the body that creates a batch."""
    if refusal := check_object(request) or check_keys(request.body, {"requests"}):
        return refusal
    if "requests" not in request.body:
        return Status(400, "requests: Field required")
    requests: Any = request.body["requests"]
    if not is_array(requests):
        return Status(400, "requests: Input should be a valid list")
    if not 1 <= len(requests) <= MAX_REQUESTS:
        return Status(400, f"requests: List should have 1 to {MAX_REQUESTS} items, not {len(requests)}")
    seen: set[str] = set()
    refusals = (_check_request(each, f"requests.{place}", seen) for place, each in enumerate(requests))
    return next((refusal for refusal in refusals if refusal), None)


def _check_request(request: Any, place: str, seen: set[str]) -> Status | None:
    if not is_object(request):
        return Status(400, f"{place}: Input should be an object")
    for key in ("custom_id", "params"):
        if key not in request:
            return Status(400, f"{place}.{key}: Field required")
    custom_id = request["custom_id"]
    if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
        return Status(400, f"{place}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    if custom_id in seen:
        return Status(400, f"{place}.custom_id: {custom_id} is used twice; each custom_id must be unique")
    seen.add(custom_id)
    if not is_object(request["params"]):
        return Status(400, f"{place}.params: Input should be an object")
    return check_keys(request, {"custom_id", "params"}, f"{place}.")
