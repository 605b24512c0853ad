"""The generic `Client.request` and `Client.paginate`: build a request, decode its response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._calls.client_core import decode_json
from anthropix_actors._calls.item_stream import ItemStream, stream_items
from anthropix_actors._calls.options import REQUEST_PARTS, SENDING_OPTIONS, checked_options
from anthropix_actors._calls.pages import KINDS, pages_of
from anthropix_actors._calls.request_factory import JSON_LINES
from anthropix_actors._checks.paths import fill_path
from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._decode.jsonl import json_lines
from anthropix_actors._http.requester import raise_for_status, read_body
from anthropix_actors.batches.results import BATCHES, certainly_not_created, saying_what_may_exist
from anthropix_actors.endpoints.table import endpoints, find
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.files.multipart import Multipart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors._calls.blocking import BlockingCall
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._calls.pages import Pages
    from anthropix_actors._http.request import Body, Request
    from anthropix_actors._http.transport import Response
    from anthropix_actors.endpoints.table import Endpoint

METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH")

_ACCEPTED = {
    "json": "application/json",
    "sse": "text/event-stream",
    "jsonl": JSON_LINES,
    "binary": "application/binary",
}


class Endpoints:
    """All endpoints, for a client's `request`, `paginate` and `endpoints`. Any thread may use it."""

    def __init__(self, core: ClientCore) -> None:
        """Hold the core of the client."""
        self._core = core

    def known(self) -> tuple[Endpoint, ...]:
        """Return all known endpoints."""
        return endpoints()

    def request(
        self, method: Any, path: Any, given: Mapping[str, Any], *, stream: object, of: Callable[..., object]
    ) -> Any:
        """Send any request; return its JSON, its bytes, or a stream of its items.

        Raises:
            ParameterError: an argument is invalid; the error names every place, and nothing was sent.
            AnthropixError: the call failed, or was cancelled.
        """
        request, cancel = self._request(method, path, given, stream=stream, of=of)
        if not stream and request.method == "POST" and request.path.partition("?")[0] == BATCHES:
            with saying_what_may_exist():  # a second batch would be billed
                return self._core.wait_for(request, _json_or_bytes, cancel=cancel, again=certainly_not_created)
        if not stream:
            return self._core.wait_for(request, _json_or_bytes, cancel=cancel)

        def items(call: BlockingCall) -> Iterator[Any]:
            answer = call.requester.open(request)
            try:
                yield None  # it is open
                yield from _items(call, request, answer)
            finally:
                call.requester.close(answer)

        streamed: ItemStream[Any] = stream_items(self._core, request.timeout, items, cancel=cancel)
        return streamed

    def paginate(self, path: Any, given: Mapping[str, Any], kind: Any, *, of: Callable[..., object]) -> Pages[Any]:
        """Return the pages of a list, from any path.

        Raises:
            ParameterError: an argument is invalid; the error names every place.
        """
        rest = {name: value for name, value in given.items() if name != "params"}
        params = given.get("params") or {}
        if not isinstance(params, Mapping):
            raise ParameterError([Problem("params", f"expected a mapping, got {type(params).__name__}")])
        request, cancel = self._request("GET", path, rest, stream=False, of=of)
        endpoint = find("GET", path)
        if kind is not None and kind not in KINDS:
            raise ParameterError([Problem("kind", f"expected one of {', '.join(KINDS)}, got {kind!r}")])
        known = kind or (endpoint.page if endpoint else None)
        return pages_of(self._core, request, _json_or_bytes, params, known, cancel=cancel)

    def _request(
        self, method: Any, path: Any, given: Mapping[str, Any], *, stream: object, of: Callable[..., object]
    ) -> tuple[Request, Any]:
        problems: list[Problem] = []
        if not isinstance(method, str) or method.upper() not in METHODS:
            problems.append(Problem("method", f"expected one of {', '.join(METHODS)}, got {method!r}"))
        if not isinstance(stream, bool):
            problems.append(Problem("stream", f"expected True or False, got {type(stream).__name__}"))
        rest = dict(given)
        said = {name: rest.pop(name, None) for name in REQUEST_PARTS}
        filled = ""
        body: bytes | Body | None = None
        try:
            filled = fill_path(path, said["path_params"])
        except ParameterError as exc:
            problems += exc.problems
        try:
            body = _body(said["json"], said["files"])
        except ParameterError as exc:
            problems += exc.problems
        if problems:
            raise ParameterError(problems)
        options = checked_options(rest, *SENDING_OPTIONS, of=of)
        options["extra_headers"] = options.pop("headers", None)
        cancel = options.pop("cancel", None)
        endpoint = find(method, path)
        accept = _ACCEPTED[endpoint.answer] if endpoint else "*/*" if stream else "application/json"
        betas = endpoint.betas if endpoint else ()
        request = self._core.request_factory.build(
            method.upper(), filled, params=said["params"], body=body, accept=accept, default_betas=betas, **options
        )
        return request, cancel


def _body(json: Any, files: Any) -> bytes | Body | None:
    """Return JSON as bytes; with files, a form whose fields are the keys of the JSON."""
    if files is not None:
        problems = [
            Problem(name, f"expected a mapping, got {type(value).__name__}")
            for name, value in (("files", files), ("json", {} if json is None else json))
            if not isinstance(value, Mapping)
        ]
        if problems:
            raise ParameterError(problems)
        return Multipart(json or {}, files)
    if json is None:
        return None
    found: list[Problem] = []
    copy = copy_json(json, "json", found)
    if found:
        raise ParameterError(found)
    return msgspec.json.encode(copy)


def _json_or_bytes(answer: Response) -> Any:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not answer.ok or kind == "application/json" or kind.endswith("+json"):
        return decode_json(answer)
    raise_for_status(answer)
    return read_body(answer) or None


def _items(call: BlockingCall, request: Request, answer: Response) -> Iterator[Any]:
    """Iterate over the events of an event stream, the objects of JSON lines, or else bytes as they arrive."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return call.requester.events(answer, max_event_bytes=request.max_event_bytes)
    if kind in {"application/x-jsonl", "application/jsonl", "application/x-ndjson"}:
        return (item for run in json_lines(call.requester.chunks(answer)) for item in run.objects)
    return call.requester.chunks(answer)
