"""The chat actor.

The life of a chat: attempts, at most one of which delivers content → exactly one terminal message → drain → stopped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors._decode.answer_form import Form
from anthropix_actors._decode.event_repair import DONE
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._http.api_errors import error_from_response
from anthropix_actors._http.requester import iter_limited, raise_for_status
from anthropix_actors._tasks.actor import TaskActor
from anthropix_actors.chat.answer_decoder import AnswerDecoder
from anthropix_actors.chat.messages import ChatEvent, ChatRetrying
from anthropix_actors.chat.ref import ChatRef
from anthropix_actors.chat.task import ChatTask
from anthropix_actors.errors import APIError, ProtocolError, TruncatedError
from anthropix_actors.usage import Usage, begun, is_refusal, was_sent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anthropix_actors._http.transport import Response
    from anthropix_actors.chat.resume import EventSplicer, ResumePlan


_CONTENT = frozenset({"content_block_start", "content_block_delta", "content_block_stop", "message_delta"})
"""The types of the events that are content: after one of them, the request is not sent again."""

_MOST_HELD = 64
"""How many other events are held back until content comes."""


class ChatActor(TaskActor[ChatTask]):
    """The actor that runs one request. Started by `Registry.start`; all others have its `ChatRef`."""

    ref_class = ChatRef

    def __init__(self, task: ChatTask) -> None:
        """Start with nothing delivered."""
        self._has_content = False  # content has come: after that, no more attempts
        self._decoded: list[Any] = []  # events not published yet
        self._more: ResumePlan | None = None  # for an answer that was cut off, until the next one has content
        self._splice: EventSplicer | None = None
        super().__init__(task)

    def run(self) -> None:
        """Send the request, as often as needed, and publish the events of its answer."""
        task = self._task
        try:
            task.requester.send(task.request, self._read, again=self._may_try_again, retrying=self._retrying)
        finally:  # so that a ref that is kept does not keep a prompt of megabytes
            task.request = task.requester.request = replace(task.request, body=None)

    def _may_try_again(self, error: APIError) -> bool:
        """Return whether a retry is possible: with the same request, or with one for the rest of the answer."""
        task = self._task
        if not self._has_content:
            return True
        message = task.snapshot()
        if not (task.plan_resume and error.retryable and message):
            return False
        body: Any = task.request.body
        more = task.plan_resume(json.loads(body), message, task.answer.partial_blocks())
        if more is None:
            return False
        task.requester.request = replace(task.request, body=json.dumps(more.body).encode())
        self._more, self._splice, self._has_content = more, None, False
        return True

    def on_error(self) -> None:
        """Add the events that were decoded but not published to the `partial` of a failed chat."""
        with contextlib.suppress(Exception), self._task.lock:  # the error that is about to be delivered matters more
            for event in self._spliced(self._decoded):
                self._task.answer.add(event)

    def _retrying(self, error: APIError, attempt: int, delay: float) -> None:
        task = self._task
        task.annotated(error)
        if not is_refusal(error):
            task.lost += begun(self._decoded) or self._unknown(error)
        self._decoded.clear()
        task.note_retry()
        task.audience.tell(ChatRetrying(task.ref, attempt, delay, error))

    def _unknown(self, error: APIError) -> tuple[dict[str, Any], ...]:
        """Return an answer of which nothing arrived, if there may be one, which is billed as well."""
        body: Any = self._task.request.body
        if self._has_content or not was_sent(error):
            return ()
        return ({"model": json.loads(body)["model"], "content": [], "stop_reason": None},)

    def _read(self, answer: Response) -> None:
        """Read a response to the end of its answer; publish the events of each chunk before the next is read."""
        task = self._task
        if task.tag is None:
            self.name_thread(task.requester.request_id)
        raise_for_status(answer)
        decoder = AnswerDecoder(answer.headers.get("content-type", ""), max_event_bytes=task.request.max_event_bytes)
        try:
            for data in iter_limited(answer):
                if self._ends_in(decoder.feed(data), answer, decoder):
                    return
                self._tell()
            if not self._ends_in(decoder.close(), answer, decoder):
                raise TruncatedError("the answer ended without message_stop", retryable=True)
        except APIError as exc:
            self._tell()  # the events before the failure are good
            if (error := decoder.cut(exc)) is not exc:
                raise error from exc
            raise

    def _ends_in(self, events: Iterable[Any], answer: Response, decoder: AnswerDecoder) -> bool:
        """Take events; return whether one of them ended the answer."""
        for event in events:
            kind = event["type"]
            if kind in _CONTENT:
                self._has_content = True
                self._decoded.append(event)
                continue
            if kind == "error":
                in_stream = decoder.form is Form.STREAM
                raise error_from_response(answer.status, event, answer.headers, now=time.time(), in_stream=in_stream)
            if self._is_last(event, answer):
                if decoder.form is Form.JSON:
                    log(logging.INFO, "a chat was answered with JSON in place of an event stream")
                answer.drain()
                return True
        return False

    def _is_last(self, event: Any, answer: Response) -> bool:
        """Take one event that is not content; return whether it ended the answer."""
        kind = event["type"]
        if event.get("data") == DONE and self._has_stop_reason():
            log(logging.INFO, "an answer ended with [DONE] in place of message_stop")
            event, kind = {"type": "message_stop"}, "message_stop"
        if kind != "message_stop":
            self._decoded.append(event)
            if len(self._decoded) > _MOST_HELD:  # no content in sight, and memory must stay bounded
                self._has_content = True
            return False
        self._has_content = True
        self._tell()
        self._end(event, answer)
        return True

    def _has_stop_reason(self) -> bool:
        """Publish, and return whether the model has given its stop reason: then only `message_stop` is missing."""
        self._tell()
        message = self._task.snapshot()
        return message is not None and message.get("stop_reason") is not None

    def _end(self, stop: Any, answer: Response) -> None:
        """End the chat with its complete answer."""
        task = self._task
        with task.lock:
            task.answer.add(stop)
        message = task.snapshot()
        if message is None:
            raise ProtocolError("message_stop came before message_start")
        terminal = task.done_message(message)
        task.scope.commit()
        answer.give_back()
        task.finish(terminal, ChatEvent(task.ref, stop))

    def _tell(self) -> None:
        """Publish the decoded events.

        A `message_start` is held back until content follows it. So an overload that comes right after it can still be
        retried, and no subscriber sees an answer begin twice.
        """
        if self._has_content and self._decoded:
            timer = self._task.requester.attempt_scope.timer
            timer.idle_since = None
            decoded, self._decoded = self._decoded, []
            if self._more is not None:
                decoded = self._go_on(self._more, decoded)
            elif self._splice is not None:
                decoded = self._spliced(decoded)
            self._task.publish(decoded)
            timer.idle_since = time.monotonic()

    def _go_on(self, more: ResumePlan, decoded: list[Any]) -> list[Any]:
        """Begin to publish the rest of an answer; return its first events as subscribers are to get them."""
        task = self._task
        cut: Any = task.snapshot()
        # The API does not report the output tokens of an answer that was cut off; an estimate is better than nothing.
        used = {**(cut.get("usage") or {}), "output_tokens": Usage.of(cut).output_tokens}
        self._more, self._splice = None, more.splicer(used)
        first = self._spliced(decoded)
        task.resume_from(more, self._splice.usage())
        return first

    def _spliced(self, events: list[Any]) -> list[Any]:
        splice = self._splice
        return events if splice is None else [told for event in events for told in splice.events(event)]


publish("anthropix_actors", (ChatActor,))
