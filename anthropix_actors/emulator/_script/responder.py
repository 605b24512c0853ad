"""`Responder`: an answer to a request → steps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anthropix_actors._foreign.log import log
from anthropix_actors.emulator._model import events as _events
from anthropix_actors.emulator._model import json as _json
from anthropix_actors.emulator._model.default_reply import default_reply
from anthropix_actors.emulator._model.errors import as_status, error_body, status_body, status_headers
from anthropix_actors.emulator._model.messages import MessageAnswer, to_message
from anthropix_actors.emulator._script.steps import Finish, Head, Step, insert, with_fault
from anthropix_actors.emulator.answers import MESSAGE_ANSWERS, Raw, Status, unwrap
from anthropix_actors.emulator.faults import Cut, ErrorEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.emulator._model.cache import InputCost
    from anthropix_actors.emulator._model.ids import Ids
    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.faults import Fault
    from anthropix_actors.emulator.records import Request

_BODILESS = frozenset({204, 205, 304})


class Responder:
    """Makes the steps of one answer to one request.

    Args:
        request: The request that is answered; a chat's body has been checked.
        headers: The headers of every response; a copy is kept.
        ids: Makes new ids.
        tier: The service tier in its usage.

    Attributes:
        request: The request that is answered; one of a thread is replaced by the expanded one.
        headers: The headers of every response.
        on_close: Callbacks to run when the response has ended, in whatever way.
    """

    def __init__(self, request: Request, headers: Mapping[str, str], ids: Ids, *, tier: str = "standard") -> None:
        """Hold the request and the headers."""
        self.request = request
        self.headers = dict(headers)
        self._ids = ids
        self._tier = tier
        self.on_close = ExitStack()

    def chat(
        self, answer: Answer, charge: Callable[[], InputCost], store: Callable[[Any], object] | None = None
    ) -> Iterator[Step]:
        """Return the steps for `POST /v1/messages`.

        Args:
            answer: The answer.
            charge: Called once if the usage is needed: returns what the input costs.
            store: Called with the Message, if the answer is one.

        Raises:
            ProtocolError: the request has no stream, and a recording or events are not a Message.
            OSError: a recording cannot be read.
        """
        plain, faults = unwrap(answer)
        if not self.request.stream:
            plain, faults = error_event_as_status(plain, faults)
        if plain is None or isinstance(plain, (str, *MESSAGE_ANSWERS)):
            plain = self._to_message(plain, charge())
        if store is not None and isinstance(plain, Mapping):
            store(plain)
        return self.with_faults(self._plain_answer(plain), faults)

    def answer(self, answer: Answer) -> Iterator[Step]:
        """Return the steps for any other path: a mapping is a JSON body, and bytes are a body as by `Raw`."""
        plain, faults = unwrap(answer)
        match plain:
            case Mapping():
                steps = self.json(cast("Mapping[str, Any]", plain))
            case bytes():
                steps = self._raw(Raw(plain))
            case _:  # Raw or Status: `Emulator.queue` takes nothing else
                steps = self._plain_answer(plain)
        return self.with_faults(steps, faults)

    def json(self, body: Mapping[str, Any]) -> Iterator[Step]:
        """Return the steps for a JSON response."""
        return self.response({"content-type": "application/json"}, [_json.encode(body)])

    def event_stream(self, pieces: Iterable[Step]) -> Iterator[Step]:
        """Return the steps for an event stream."""
        return self.response({"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}, pieces)

    def response(self, headers: Mapping[str, str], pieces: Iterable[Step], status: int = 200) -> Iterator[Step]:
        """Yield the steps for any response."""
        yield Head(status, {**self.headers, **headers})
        yield from pieces

    def with_faults(self, steps: Iterator[Step], faults: list[Fault]) -> Iterator[Step]:
        """Wrap steps in faults."""
        # Places are counted in events of the answer, so `Cut` is applied last.
        for fault in sorted(faults, key=lambda fault: isinstance(fault, Cut)):
            steps = self._with_error_event(fault, steps) if isinstance(fault, ErrorEvent) else with_fault(fault, steps)
        return steps

    def _with_error_event(self, fault: ErrorEvent, steps: Iterator[Step]) -> Iterator[Step]:
        event = _events.encode(error_body(fault.type, fault.message, self.headers["request-id"]))
        return insert(steps, event, Finish(), events=fault.after_events)

    def _plain_answer(self, plain: Answer) -> Iterator[Step]:
        match plain:
            case Raw():
                steps = self._raw(plain)
            case Status():
                steps = self._error_status(plain)
            case Mapping():
                steps = self._message(cast("Mapping[str, Any]", plain))
            case bytes() | Path():
                steps = self._recording(plain if isinstance(plain, bytes) else plain.read_bytes())
            case _:
                steps = self._events(cast("Iterable[Mapping[str, Any]]", plain))
        return steps

    def _error_status(self, plain: Status) -> Iterator[Step]:
        body = status_body(plain, self.headers["request-id"])
        words = body["error"]["message"]
        log(
            logging.INFO,
            "the emulator answers %s %s: %d, %s",
            self.request.method,
            self.request.path,
            plain.status,
            words,
        )
        return self._raw(Raw(_json.encode(body), plain.status, None, status_headers(plain)))

    def _to_message(self, plain: MessageAnswer | None, cost: InputCost) -> dict[str, Any]:
        body = self.request.body
        usage = {**cost.usage(), "service_tier": self._tier, "inference_geo": "global"}
        return to_message(default_reply(body) if plain is None else plain, body, self._ids, usage)

    def _message(self, message: Mapping[str, Any]) -> Iterator[Step]:
        if not self.request.stream:
            return self.json(message)
        return self.event_stream(map(_events.encode, _events.message_events(message)))

    def _recording(self, recorded: bytes) -> Iterator[Step]:
        if not self.request.stream:
            return self._events(_events.decode(recorded))
        return self.event_stream(_events.split(recorded))

    def _events(self, events: Iterable[Mapping[str, Any]]) -> Iterator[Step]:
        if self.request.stream:
            return self.event_stream(map(_events.encode, _without_exits(events)))
        body = _events.accumulate(events)
        if body.get("type") == "error":
            return self._plain_answer(as_status(body["error"]["type"], body["error"].get("message")))
        return self.json(body)

    def _raw(self, raw: Raw) -> Iterator[Step]:
        kind = {} if raw.content_type is None else {"content-type": raw.content_type}
        body = [] if raw.status in _BODILESS else [raw.body]
        return self.response({**kind, **raw.headers}, body, raw.status)


def _without_exits(events: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Keep a user's iterable from ending the event loop, as asyncio does for these two exceptions."""
    try:
        yield from events
    except (SystemExit, KeyboardInterrupt) as exc:
        raise RuntimeError(f"an iterable of events raised {exc!r}") from exc


def error_event_as_status(plain: Answer, faults: list[Fault]) -> tuple[Answer, list[Fault]]:
    """Replace an `ErrorEvent` by the status that a request without a stream gets."""
    failing = [fault for fault in faults if isinstance(fault, ErrorEvent)]
    others: list[Fault] = [fault for fault in faults if not isinstance(fault, ErrorEvent)]
    if failing:
        plain = as_status(failing[0].type, failing[0].message)
    return plain, others
