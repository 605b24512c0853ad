"""One batch: its progress is computed when a client asks for it.

A batch in progress has answered its first requests, in their order, as many as its schedule allows. An answered request
keeps its answer. When all are answered, or at the first request after a cancel, the batch has ended and never changes.

Source: https://docs.claude.com/en/api/retrieving-message-batches, read 2026-11-23.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anthropix_actors._foreign.log import log
from anthropix_actors.emulator._api.state import CHAT
from anthropix_actors.emulator._model import json as _json
from anthropix_actors.emulator._model.ids import Ids
from anthropix_actors.emulator._model.json import is_object
from anthropix_actors.emulator._script.responder import Responder, error_event_as_status
from anthropix_actors.emulator._script.steps import Head
from anthropix_actors.emulator.answers import MESSAGE_ANSWERS, Raw, Status, unwrap
from anthropix_actors.emulator.records import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator._api.state import ServerState
    from anthropix_actors.emulator._model.cache import InputCost
    from anthropix_actors.emulator.answers import Answer

_LIFETIME = dt.timedelta(hours=24)

_RESULTS = ("succeeded", "errored", "canceled", "expired")

_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True)
class BatchSchedule:
    """When a batch ends: after `seconds` have passed and it was retrieved `polls` times.

    Attributes:
        seconds: The seconds since its creation.
        polls: The number of retrievals.
    """

    seconds: float = 0.0
    polls: int = 0

    def __post_init__(self) -> None:
        """Refuse negative numbers.

        Raises:
            ValueError: one of them is negative.
        """
        if self.seconds < 0 or self.polls < 0:
            raise ValueError("batch_seconds and batch_polls must be 0 or more")

    def progress(self, seconds: float, polls: int) -> float:
        """Return the part of a batch that is done, from 0 to 1.

        Example:
            >>> BatchSchedule(seconds=10.0).progress(4.0, 0), BatchSchedule(polls=2).progress(9.0, 1)
            (0.4, 0.5)
            >>> BatchSchedule().progress(0.0, 0)
            1.0
        """
        by_time = seconds / self.seconds if self.seconds else 1.0
        by_polls = polls / self.polls if self.polls else 1.0
        return min(1.0, by_time, by_polls)


class EmulatedBatch:
    """A batch. Not thread-safe: only the event loop uses it.

    Args:
        batch_id: Its id.
        request: The request that created it, with a valid body.
        state: Has the schedule, and computes costs.
        answer: Returns the answer to a chat.
    """

    def __init__(
        self, batch_id: str, request: Request, state: ServerState, answer: Callable[[Request], Answer]
    ) -> None:
        """Start it."""
        self.id = batch_id
        self._headers = request.headers
        self._requests: list[dict[str, Any]] = request.body["requests"]
        self._state = state
        self._answer = answer
        self._created = dt.datetime.now(dt.UTC)
        self._started = time.monotonic()
        self._polls = 0
        self._canceled: dt.datetime | None = None
        self._ended: dt.datetime | None = None
        self._answers: list[Answer] = []
        self._costs: dict[int, InputCost] = {}
        self._counts: dict[str, int] = dict.fromkeys(("processing", *_RESULTS), 0)

    @property
    def status(self) -> str:
        """Its processing status when a client last asked for it."""
        if self._ended:
            return "ended"
        return "canceling" if self._canceled else "in_progress"

    def advance(self, *, poll: bool = False) -> None:
        """Answer the requests that are due by now; with `poll`, count one more retrieval."""
        if self._ended:
            return
        self._polls += poll
        count = len(self._requests)
        if self._canceled is None:
            progress = self._state.schedule.progress(time.monotonic() - self._started, self._polls)
            while len(self._answers) < int(count * progress):
                self._process(len(self._answers))
        if self._canceled or len(self._answers) == count:
            self._counts["canceled"] += count - len(self._answers)
            self._ended = dt.datetime.now(dt.UTC)

    def cancel(self) -> None:
        """Cancel the requests that are not answered yet: all of them, if it would end at the first request."""
        if self._state.schedule.seconds:
            self.advance()
        if not self._ended:
            self._canceled = self._canceled or dt.datetime.now(dt.UTC)

    def to_json(self, origin: str) -> dict[str, Any]:
        """Return it as the API does; `origin` is the URL by which the client reached the emulator.

        The API counts results only when the batch has ended: until then, all its requests are in process.
        """
        counts = self._counts if self._ended else dict.fromkeys(self._counts, 0) | {"processing": len(self._requests)}
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status,
            "request_counts": counts,
            "ended_at": _format_time(self._ended),
            "created_at": _format_time(self._created),
            "expires_at": _format_time(self._created + _LIFETIME),
            "archived_at": None,
            "cancel_initiated_at": _format_time(self._canceled),
            "results_url": f"{origin}/v1/messages/batches/{self.id}/results" if self._ended else None,
        }

    def result_lines(self) -> Iterator[bytes]:
        """Yield the results of an ended batch: each is made on demand, and is the same each time."""
        for index, request in enumerate(self._requests):
            done = index < len(self._answers)
            _, result = self._result(index, self._answers[index]) if done else ("", b'{"type":"canceled"}')
            yield b'{"custom_id":%s,"result":%s}\n' % (_json.encode(request["custom_id"]), result)

    def _process(self, index: int) -> None:
        """Determine the answer to a request, its cost, and the kind of its result."""
        try:
            plain = _repeatable(self._answer(self._chat_request(index)))
            # The default always succeeds; making it only on demand keeps large batches fast.
            kind = "succeeded" if plain is None and self._charge(index) else self._result(index, plain)[0]
        except (Exception, SystemExit, KeyboardInterrupt) as exc:  # noqa: BLE001 - as for a chat
            log(logging.ERROR, "no answer for %s in %s", self._requests[index]["custom_id"], self.id, exc_info=exc)
            plain, kind = Status(500, f"the emulator failed to answer: {exc!r}"), "errored"
        self._answers.append(plain)
        self._counts[kind] += 1

    def _result(self, index: int, plain: Answer) -> tuple[str, bytes]:
        if is_object(plain) and plain.get("type") in _RESULTS:
            return plain["type"], _json.encode(plain)
        ids = Ids(f"{self.id} {index} ")
        responder = Responder(self._chat_request(index), {"request-id": ids.new("req_011C")}, ids, tier="batch")
        steps = list(responder.chat(plain, lambda: self._charge(index)))
        status = max(step.status for step in steps if isinstance(step, Head))
        body = b"".join(step for step in steps if isinstance(step, bytes))
        if status >= _FIRST_ERROR:
            return "errored", b'{"type":"errored","error":%s}' % body
        return "succeeded", b'{"type":"succeeded","message":%s}' % body

    def _charge(self, index: int) -> InputCost:
        """Return what a request's input costs: computed once, with the cache as it is then."""
        if index not in self._costs:
            self._costs[index] = self._state.charge(self._state.price(self._chat_request(index)))
        return self._costs[index]

    def _chat_request(self, index: int) -> Request:
        request = self._requests[index]
        return Request("POST", CHAT, {}, self._headers, request["params"], request["custom_id"])


def _repeatable(answer: Answer) -> Answer:
    """Return an answer that can be given repeatedly, without faults: a batch's requests have no connection."""
    plain, _ = error_event_as_status(*unwrap(answer))
    if isinstance(plain, Mapping):
        return dict(cast("Mapping[str, Any]", plain))
    if plain is None or isinstance(plain, (*MESSAGE_ANSWERS, str, Status, Raw, bytes, Path)):
        return plain
    return list(cast("Iterable[Mapping[str, Any]]", plain))


def _format_time(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")
