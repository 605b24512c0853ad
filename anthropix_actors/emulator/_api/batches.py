"""The endpoints of batches.

Source: https://docs.claude.com/en/api/creating-message-batches, read 2026-11-23.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._api.batch import Batch
from anthropix_actors.emulator._api.checks import refused_chat, refused_keys, refused_object
from anthropix_actors.emulator._api.pages import by_id
from anthropix_actors.emulator._api.route import Endpoint
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.ids import Ids
from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator.answers import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator._api.state import Desk
    from anthropix_actors.emulator._script.responder import Compiler
    from anthropix_actors.emulator._script.steps import Step
    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.records import Request

PATH = "/v1/messages/batches"

MAX_REQUESTS = 100_000
MAX_BYTES = 256 << 20

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Batches:
    """All batches of an emulator. Runs in its event loop.

    Args:
        desk: Gives the answers, and the speed.
    """

    def __init__(self, desk: Desk) -> None:
        """Start without any."""
        self._desk = desk
        self._ids = Ids()
        self._batches: dict[str, Batch] = {}

    def endpoints(self) -> list[Endpoint]:
        """Get what it serves."""
        return [
            Endpoint("POST", PATH, self._create, limit=MAX_BYTES),
            Endpoint("GET", PATH, self._list),
            Endpoint("GET", PATH + "/{id}", self._retrieve),
            Endpoint("DELETE", PATH + "/{id}", self._delete),
            Endpoint("POST", PATH + "/{id}/cancel", self._cancel),
            Endpoint("GET", PATH + "/{id}/results", self._results),
        ]

    def _create(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        if refusal := _refused(request):
            return compiler.other(refusal)
        batch = Batch(self._ids.new("msgbatch_01"), request, self._desk, self._answer)
        self._batches[batch.id] = batch
        return _shown(batch, request, compiler)

    def _answer(self, request: Request) -> Answer:
        """Get the answer of one request; what is wrong with it is told by its result, when it is done."""
        return refused_chat(request, self._desk.rules, self._desk.thoughts) or self._desk.answer(request)

    def _list(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        def show(batch_id: str) -> dict[str, Any]:
            self._batches[batch_id].look()
            return self._batches[batch_id].show(_origin(request))

        newest_first = list(reversed(self._batches))
        return compiler.json(by_id(request.query, newest_first, show, "message batch"))

    def _retrieve(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        batch = self._named(request)
        batch.look(poll=True)
        return _shown(batch, request, compiler)

    def _cancel(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        batch = self._named(request)
        batch.cancel()
        if batch.status == "ended":
            raise RefusedError(400, f"message batch {batch.id} has ended and cannot be canceled")
        return _shown(batch, request, compiler)

    def _results(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        batch = self._named(request)
        batch.look()
        if batch.status != "ended":
            raise RefusedError(404, f"message batch {batch.id} is {batch.status} and has no results yet")
        return compiler.pieces({"content-type": "application/x-jsonl"}, batch.lines())

    def _delete(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        batch = self._named(request)
        batch.look()
        if batch.status != "ended":
            raise RefusedError(
                400, f"message batch {batch.id} is {batch.status} and cannot be deleted: cancel it first"
            )
        del self._batches[batch.id]
        return compiler.json({"id": batch.id, "type": "message_batch_deleted"})

    def _named(self, request: Request) -> Batch:
        batch_id = request.path.split("/")[4]
        if batch_id not in self._batches:
            raise RefusedError(404, f"message_batch: {batch_id}")
        return self._batches[batch_id]


def _shown(batch: Batch, request: Request, compiler: Compiler) -> Iterator[Step]:
    return compiler.json(batch.show(_origin(request)))


def _origin(request: Request) -> str:
    """Get where the client has found the emulator: results are there too, whatever stands between."""
    return f"http://{request.headers.get('host', 'localhost')}"


def _refused(request: Request) -> Status | None:
    """Check the body of a batch's creation."""
    if refusal := refused_object(request) or refused_keys(request.body, {"requests"}):
        return refusal
    if "requests" not in request.body:
        return Status(400, "requests: Field required")
    requests: Any = request.body["requests"]
    if not is_array(requests):
        return Status(400, "requests: Input should be a valid list")
    if not 1 <= len(requests) <= MAX_REQUESTS:
        return Status(400, f"requests: List should have 1 to {MAX_REQUESTS} items, not {len(requests)}")
    seen: set[str] = set()
    refusals = (_refused_request(each, f"requests.{place}", seen) for place, each in enumerate(requests))
    return next((refusal for refusal in refusals if refusal), None)


def _refused_request(request: Any, place: str, seen: set[str]) -> Status | None:
    if not is_object(request):
        return Status(400, f"{place}: Input should be an object")
    for key in ("custom_id", "params"):
        if key not in request:
            return Status(400, f"{place}.{key}: Field required")
    custom_id = request["custom_id"]
    if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
        return Status(400, f"{place}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    if custom_id in seen:
        return Status(400, f"{place}.custom_id: {custom_id} is there twice; each custom_id must be unique")
    seen.add(custom_id)
    if not is_object(request["params"]):
        return Status(400, f"{place}.params: Input should be an object")
    return refused_keys(request, {"custom_id", "params"}, f"{place}.")
