"""The chat actor and its ref.

The life of a chat: attempts, at most one of which tells any content → exactly one terminal message → drain → stopped.

One lock makes the answer so far, the list of followers and the end change together; so a subscriber that joins late
misses nothing and gets nothing twice.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors._accumulate import Accumulator, events_of
from anthropix_actors._actor import TaskActor, TaskRef, start_actor
from anthropix_actors._channel import Channel
from anthropix_actors._chat_messages import (
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    ChatResumed,
    ChatRetrying,
)
from anthropix_actors._checks.hints import OF_A_CHAT, missing, no_subscriber
from anthropix_actors._coalescing import chat_delivery_to
from anthropix_actors._decode.repair import DONE
from anthropix_actors._decode.sniff import Form, beginning, message_in, no_answer
from anthropix_actors._decode.sse import events
from anthropix_actors._delivery import Gone
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import in_background
from anthropix_actors._http.exchange import bounded, check
from anthropix_actors._http.retry import status_error
from anthropix_actors._output import decode_output
from anthropix_actors._record import Record
from anthropix_actors._resume import Splice, continuation
from anthropix_actors.errors import APIError, CancelledError, OutputError, ProtocolError, TruncatedError
from anthropix_actors.limits.governor import let_through
from anthropix_actors.usage import Usage, begun, is_refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anthropix_actors._caller import Calls
    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._chat_messages import Terminal
    from anthropix_actors._delivery import Delivery
    from anthropix_actors._http.request import Request
    from anthropix_actors._http.transport import Answer
    from anthropix_actors._record import State
    from anthropix_actors._resume import Continuation
    from anthropix_actors._subscriber import Subscriber
    from anthropix_actors._wire.events import Event
    from anthropix_actors._wire.message import Message
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.limits.governor import Governor


_CONTENT = frozenset({"content_block_start", "content_block_delta", "content_block_stop", "message_delta"})
"""The types of the events after which nothing is sent again: they say something."""

_MOST_HELD = 64
"""How many events of other kinds are held back before that."""


class ChatRecord(Record):
    """The state of one chat.

    Attributes:
        request: What is sent.
        output: The type that the answer is to be decoded into, or None.
        resume: Whether a cut answer is gone on with.
        resumed: Whether one was.
        answer: The Message so far.
        lost: The beginnings of answers that were cut before their content, in attempts that another followed.
    """

    what = "chat"

    def __init__(
        self, calls: Calls, request: Request, scope: CancelScope, *, tag: str | None = None, output: Any = None
    ) -> None:
        """Start without an answer."""
        super().__init__(calls.transport, scope, request.timeout, tag=tag, ledger=calls.ledger)
        self.slots = calls.slots
        self.request = request
        self.output = output
        self.resume = self.resumed = False
        self.answer = Accumulator()
        self.lost: tuple[Mapping[str, Any], ...] = ()

    def govern(self, governor: Governor, body: Mapping[str, Any]) -> None:
        """Let a governor say when each attempt may go."""
        patience = self.request.retry.max_retry_after
        way = let_through(governor, body, self.scope, patience=patience, usage=self.answer.usage)
        self.exchange.gate = way or self.exchange.gate

    def cancelled(self, error: CancelledError) -> Terminal:
        return ChatCancelled(self.ref, error.reason, error.partial)

    def failed(self, error: AnthropixError) -> Terminal:
        return ChatFailed(self.ref, error)

    def done(self, message: Message) -> Terminal:
        """Get the terminal message of a whole answer."""
        try:
            output = None if self.output is None else decode_output(self.output, message)
        except OutputError as exc:
            return ChatFailed(self.ref, self.explained(exc))
        return ChatDone(self.ref, message, output, self.resumed)

    def explained(self, error: AnthropixError) -> AnthropixError:
        super().explained(error)
        with contextlib.suppress(Exception):  # a bug there must not hide the end of the chat
            error.partial = error.partial or self.snapshot()
        return error

    def events(self, events: list[Event]) -> None:
        """Take events into the answer, and tell them; may wait for a slow follower. Only the chat's thread.

        Raises:
            ProtocolError: one of them does not fit; those before it have been told.
        """
        error: ProtocolError | None = None
        with self.lock:
            followers = self.followers
            for index, event in enumerate(events):
                try:
                    self.answer.add(event)
                except ProtocolError as exc:
                    error, events = exc, events[:index]
                    break
        messages: list[ChatEvent] = []
        for follower in followers:
            try:
                if isinstance(follower, Channel):
                    follower.tell_events(events)
                else:
                    messages = messages or [
                        ChatEvent(self.ref, event) for event in events
                    ]  # made once, for all of them
                    follower.tell_all(messages)
            except Gone:
                self.remove(follower)
        if error is not None:
            raise error

    def go_on(self, more: Continuation, usage: Mapping[str, Any]) -> None:
        """Let another answer's events follow, and say so. Only the chat's thread."""
        with self.lock:
            self.answer.go_on(more.kept, usage)
            self.resumed = True
            followers = self.followers
        self.tell(ChatResumed(self.ref, self.exchange.attempts, more.kept), followers)

    def snapshot(self) -> Message | None:
        with self.lock:
            return self.answer.snapshot()

    def add(self, follower: Delivery) -> None:
        """Tell a follower what has been said so far, and from now on all that is said.

        What was said is put before it under the lock, so that nothing comes between, and is told without it: by the
        chat's thread if that has something more to tell, else by one made for it. Not by the caller's: a `tell` that
        blocks would block it, and an interrupt would leave its story without an end.
        """
        with self.lock:
            follower.put(*[ChatEvent(self.ref, event) for event in self.answer.replay()])
            if self.terminal is None:
                self.followers = (*self.followers, follower)
            else:
                follower.close(*self.last)
        if not in_background(partial(self.drain, follower), "anthropix-told"):
            self.drain(follower)

    def _doing(self) -> State:
        return "answering" if self.exchange.headers else "sent"


class ChatRef(TaskRef[ChatRecord]):
    """A chat: the ref of the actor that runs the request. All of it may be used from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) cancels the chat first, so it never
    waits for the network. The ref stays useful after the actor has stopped.
    """

    def result(self, timeout: float | None = None) -> Message:
        """Wait for the answer and get the whole Message.

        A chat that somebody waits for goes on, also when its subscribers are gone.

        Args:
            timeout: Seconds to wait at most; None for as long as the chat takes. When they run out, the chat goes on if
                anybody else listens, and is cancelled if nobody does.

        Raises:
            TimeoutError: there is no result yet; the text says what becomes of the chat.
            DeadlockError: the chat, or its turn, would wait for this thread: in a handler of an actor that follows it.
            CancelledError: the chat was cancelled; `partial` is the Message so far.
            AnthropixError: the chat failed; which class says why (`OutputError`: `output` does not fit).

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> chat.result(timeout=60)["stop_reason"]
            'end_turn'
        """
        return outcome(self._wait(timeout))

    def output(self, timeout: float | None = None) -> Any:
        """Wait for the answer, and get the value that it says, of the type that the chat's `output` named.

        Raises what `result` raises; and None is what a chat without `output` gets.
        """
        terminal = self._wait(timeout)
        outcome(terminal)
        return terminal.output

    @property
    def state(self) -> State:
        """What it is doing.

        "queued" as long as it waits for its turn; then "sent", "answering", "retrying" before another attempt; and in
        the end "done", "failed" or "cancelled".
        """
        return self._record.state

    @property
    def lost(self) -> tuple[Mapping[str, Any], ...]:
        """The beginnings of answers that attempts got, and lost before any content, so that another one followed.

        Nobody was told of them, but they cost something: `ChatDone.usage` and a `Ledger` count them, as an estimate.
        """
        return self._record.lost

    def snapshot(self) -> Message | None:
        """Get the Message so far: a copy of your own, or None before there is any.

        An unfinished tool call has the text of its input under `input_json`.
        """
        return self._record.snapshot()

    if not TYPE_CHECKING:  # pragma: no branch
        __getattr__ = missing(OF_A_CHAT)

    def subscribe(self, subscriber: Subscriber, *, window: int | None = None, coalesce: bool = False) -> None:
        """Let one more subscriber follow this chat, from its beginning.

        The subscriber is first told events that rebuild the answer so far, then follows live; it misses none and gets
        none twice. Returns at once. Safe from any thread, also from the subscriber's own handler.

        Args:
            subscriber: Anything with `tell(message)`, such as an `ActorRef`. Gets events, then exactly one of
                `ChatDone`, `ChatFailed`, `ChatCancelled` - at once if the chat is over.
            window: How many messages an actor may be behind before the chat waits for it; None for the client's.
            coalesce: Merge neighbouring deltas while the actor is busy; for those who repaint.

        Raises:
            TypeError: `subscriber` has no `tell`.
            ParameterError: `window` is no integer from 1, or `coalesce` is asked for something that is no actor.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> chat.subscribe(another)
        """
        if (what := no_subscriber(subscriber)) is not None:
            raise TypeError(f"subscriber: expected something with a tell method, got {what}")
        record = self._record
        size = record.request.window if window is None else window
        delivery = chat_delivery_to(subscriber, record.scope, window=size, coalesce=coalesce)
        record.add(delivery)


class ChatActor(TaskActor[ChatRecord]):
    """The actor that runs one request. Started by `start_chat`; everyone else has its `ChatRef`."""

    ref_class = ChatRef

    def __init__(self, record: ChatRecord) -> None:
        """Start with nothing told."""
        self._has_content = False  # more than a message_start has come: after that, no more attempts
        self._decoded: list[Any] = []  # events not told yet
        self._more: Continuation | None = None  # of a cut answer, until the next one has content
        self._splice: Splice | None = None
        super().__init__(record)

    def run(self) -> None:
        """Send the request, as often as need be, and tell its answer."""
        record = self._record
        try:
            record.exchange.send(record.request, self._read, again=self._may_try_again, retrying=self._retrying)
        finally:  # whoever keeps the ref does not keep a prompt of megabytes
            record.request = record.exchange.request = replace(record.request, body=None)

    def _may_try_again(self, error: APIError) -> bool:
        """Get whether another attempt can follow: with the same request, or with one for the rest of the answer."""
        record = self._record
        if not self._has_content:
            return True
        message = record.snapshot()
        if not (record.resume and error.retryable and message):
            return False
        body: Any = record.request.body
        more = continuation(json.loads(body), message, record.answer.parts())
        if more is None:
            return False
        record.exchange.request = replace(record.request, body=json.dumps(more.body).encode())
        self._more, self._splice, self._has_content = more, None, False
        return True

    def give_up(self) -> None:
        """Let a failed chat's `partial` have what was decoded and not told, too."""
        with contextlib.suppress(Exception), self._record.lock:  # the error that is about to be told matters more
            for event in self._spliced(self._decoded):
                self._record.answer.add(event)

    def _retrying(self, error: APIError, delay: float) -> None:
        record = self._record
        if not is_refusal(error):
            record.lost += begun(self._decoded)
        self._decoded.clear()
        record.retry_comes()
        record.tell(ChatRetrying(record.ref, record.exchange.attempts, delay, record.explained(error)))

    def _read(self, answer: Answer) -> None:
        if self._record.tag is None:
            self.name_thread(self._record.exchange.request_id)
        check(answer)
        chunks = self._chunks(answer)
        try:
            head, form = beginning(chunks, answer.headers.get("content-type", ""))
            if form is Form.STREAM:
                self._read_events(itertools.chain((head,), chunks), answer)
            elif form is Form.JSON:
                self._read_message(b"".join((head, *chunks)), answer)
            else:
                raise no_answer(head, chunks, answer.headers.get("content-type", ""))
        except APIError:
            self._tell()  # what came before the failure is good
            raise

    def _read_events(self, chunks: Iterator[bytes], answer: Answer) -> None:
        request = self._record.request
        for event in events(chunks, max_event_bytes=request.max_event_bytes, lenient=True):
            if self._is_last(event, answer):
                answer.drain()
                return
        raise TruncatedError("the answer ended without message_stop", retryable=True)

    def _read_message(self, body: bytes, answer: Answer) -> None:
        """Take a whole Message, or an error, from a server that does not stream."""
        told = message_in(body, answer.headers.get("content-type", ""))
        if told.get("type") != "message":
            raise status_error(answer.status, told, answer.headers, now=time.time())
        log(logging.INFO, "a chat was answered with JSON in place of an event stream")
        for event in events_of(told):
            self._is_last(event, answer)
        answer.drain()

    def _chunks(self, answer: Answer) -> Iterator[bytes]:
        """Get the body's bytes; what was decoded from them is told before more are read."""
        for chunk in bounded(answer):
            yield chunk
            self._tell()

    def _is_last(self, event: Any, answer: Answer) -> bool:
        """Deal with one event; get whether it ended the answer."""
        kind = event["type"]
        if kind in _CONTENT:
            self._has_content = True
            self._decoded.append(event)
            return False
        if kind == "error":
            raise status_error(answer.status, event, answer.headers, now=time.time(), in_stream=True)
        if event.get("data") == DONE and self._has_stop_reason():
            log(logging.INFO, "an answer ended with [DONE] in place of message_stop")
            event, kind = {"type": "message_stop"}, "message_stop"
        if kind != "message_stop":
            self._decoded.append(event)
            if len(self._decoded) > _MOST_HELD:  # there is no answer in sight, and memory is to stay bounded
                self._has_content = True
            return False
        self._has_content = True
        self._tell()
        self._end(event)
        return True

    def _has_stop_reason(self) -> bool:
        """Whether the model has said why it stopped: then nothing is missing but the end."""
        self._tell()
        message = self._record.snapshot()
        return message is not None and message.get("stop_reason") is not None

    def _end(self, stop: Any) -> None:
        """End the chat with its whole answer."""
        record = self._record
        with record.lock:
            record.answer.add(stop)
        message = record.snapshot()
        if message is None:
            raise ProtocolError("message_stop came before message_start")
        terminal = record.done(message)
        record.scope.finish()
        record.end(terminal, ChatEvent(record.ref, stop))

    def _tell(self) -> None:
        """Tell what has been decoded.

        A `message_start` is held back until content follows it. So an overload that comes right after it can still be
        retried, without anybody having seen an answer that began twice.
        """
        if self._has_content and self._decoded:
            scope = self._record.scope
            scope.idle_since = None
            decoded, self._decoded = self._decoded, []
            self._record.events(self._spliced(decoded) if self._more is None else self._go_on(self._more, decoded))
            scope.idle_since = time.monotonic()

    def _go_on(self, more: Continuation, decoded: list[Any]) -> list[Any]:
        """Begin to tell the rest of an answer; get its first events as they are to be told."""
        record = self._record
        cut: Any = record.snapshot()
        # What the cut answer wrote is not reported; an estimate of it is nearer to the truth than nothing.
        used = {**(cut.get("usage") or {}), "output_tokens": Usage.of(cut).output_tokens}
        self._more, self._splice = None, Splice(more, used)
        first = self._spliced(decoded)
        record.go_on(more, self._splice.usage())
        return first

    def _spliced(self, events: list[Any]) -> list[Any]:
        splice = self._splice
        return events if splice is None else [told for event in events for told in splice.events(event)]


def start_chat(record: ChatRecord, followers: Iterable[Delivery], *, waited_for: bool = False) -> ChatRef:
    """Start the actor for one request, and get its ref.

    Args:
        record: What is to be done.
        followers: Who follows it from the start.
        waited_for: Whether the caller is going to wait for the result.

    Raises:
        AnthropixError: the system gives no more threads.
    """
    ref: ChatRef = start_actor(ChatActor, record, followers, waited_for=waited_for)
    return ref


def outcome(terminal: Terminal) -> Message:
    """Get what a chat ended with.

    Raises:
        AnthropixError: why there is no whole Message.
    """
    if isinstance(terminal, ChatDone):
        return terminal.message
    if isinstance(terminal, ChatFailed):
        raise terminal.error.with_traceback(None)  # or it would grow each time that somebody asks
    cancelled, chat = CancelledError(terminal.reason), terminal.chat
    cancelled.partial, cancelled.request_id, cancelled.attempts = terminal.partial, chat.request_id, chat.attempts
    raise cancelled
