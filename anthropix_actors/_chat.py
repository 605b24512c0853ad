"""The chat actor and its ref.

A `ChatActor` does the whole request in one blocking `on_receive`. So nothing reaches it through its mailbox while it
runs; what must reach it goes out of band, through the scope and the `Record` that it shares with its ref.

The life of a chat: attempts, at most one of which tells any content → exactly one terminal message → drain → stopped.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from typing import TYPE_CHECKING, Any, cast

import pykka

from anthropix_actors._delivery import Gone, delivery_to
from anthropix_actors._record import Record, outcome
from anthropix_actors._retry import status_error
from anthropix_actors._sse import events
from anthropix_actors._watch import SWEEPER
from anthropix_actors.errors import (
    AnthropixError,
    APIError,
    CancelledError,
    ProtocolError,
    TruncatedError,
)
from anthropix_actors.messages import (
    ChatDone,
    ChatRetrying,
    Subscriber,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anthropix_actors._delivery import Delivery
    from anthropix_actors._request import Request
    from anthropix_actors._scope import CancelScope
    from anthropix_actors._transport import Answer, Transport
    from anthropix_actors.messages import Terminal
    from anthropix_actors.types import Message

_RUN = object()
_OK = 200


class ChatRef(pykka.ActorRef["ChatActor"]):
    """A chat: the ref of the actor that runs the request. All of it may be used from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) cancels the chat first, so it never
    waits for the network. The ref stays useful after the actor has stopped.
    """

    def __init__(self, actor: ChatActor, record: Record) -> None:
        """Refs come from `Client.chat`; there is no need to make one."""
        super().__init__(actor)
        self._record = record

    def result(self, timeout: float | None = None) -> Message:
        """Wait for the answer and get the whole Message.

        A chat that somebody waits for goes on, also when its subscribers are gone.

        Args:
            timeout: Seconds to wait at most; None for as long as the chat takes. When it runs out, the chat goes on.

        Raises:
            TimeoutError: there is no result yet.
            CancelledError: the chat was cancelled; `partial` is the Message so far.
            AnthropixError: the chat failed; which class says why.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> chat.result(timeout=60)["stop_reason"]
            'end_turn'
        """
        record = self._record
        with record.lock:
            record.waiting += 1
        try:
            if not record.over.wait(timeout):
                raise TimeoutError(f"the chat has no result after {timeout} s; it goes on")
        finally:
            with record.lock:
                record.waiting -= 1
        return outcome(cast("Terminal", record.terminal))

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the chat, whatever it is doing: connecting, waiting for the API, a retry or a slow subscriber.

        Returns at once; the subscribers are told `ChatCancelled` within 50 ms. Only the look-up of a host's name cannot
        be cut short.

        Args:
            reason: Why, for `ChatCancelled` and `CancelledError`.

        Returns:
            Whether this call did it; False when the chat was over or cancelled before.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> chat.cancel("the user pressed Esc")
            True
        """
        return self._record.cancel(reason)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Cancel the chat and stop its actor. As `pykka.ActorRef.stop`, but never waits for the network."""
        self.cancel("stopped")
        return super().stop(block=block, timeout=timeout)

    def snapshot(self) -> Message | None:
        """Get the Message so far: a copy of your own, or None before there is any.

        An unfinished tool call has the text of its input under `input_json`.
        """
        return self._record.snapshot()

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
        if not isinstance(subscriber, Subscriber):
            raise TypeError(f"subscriber: expected something with a tell method, got {type(subscriber).__name__}")
        record = self._record
        size = record.request.window if window is None else window
        delivery = delivery_to(subscriber, record.scope, window=size, coalesce=coalesce)
        try:
            record.add(delivery)
        except Gone:
            record.remove(delivery)

    def unsubscribe(self, subscriber: Subscriber, reason: str = "unsubscribed") -> None:
        """Tell a subscriber nothing more, not even the end. When it was the last one, the chat is cancelled.

        To hand a chat over, subscribe the new one first. One that does not follow the chat is no error.

        Args:
            subscriber: What `subscribe` or `Client.chat` was given.
            reason: Why, should the chat be cancelled.
        """
        for follower in self._record.followers:
            if follower is subscriber or follower.subscriber == subscriber:
                self._record.remove(follower, reason)

    @property
    def request_id(self) -> str | None:
        """What the API calls this request, or None before it has answered. Name it when you ask for support."""
        return self._record.request_id

    @property
    def attempts(self) -> int:
        """How many times the request has been sent so far."""
        return self._record.attempts

    @property
    def response_headers(self) -> Mapping[str, str]:
        """The headers of the latest answer, names in lower case; empty before there is one."""
        return self._record.headers


class ChatActor(pykka.ThreadingActor):
    """The actor that runs one request. Started by `start_chat`; everyone else has its `ChatRef`."""

    use_daemon_thread = True  # or a chat without an end would keep the process from exiting

    def __init__(self, transport: Transport, record: Record) -> None:
        """Put the work first in the mailbox, before anybody has the ref: a `stop()` cannot overtake it."""
        super().__init__()
        self._transport = transport
        self._record = record
        self._has_content = False  # more than a message_start has come: after that, no more attempts
        self._decoded: list[Any] = []  # events not told yet
        self._ref = record.ref = ChatRef(self, record)
        self._ref.tell(_RUN)

    @property
    def actor_ref(self) -> Any:
        """The `ChatRef`; so the registry has it too, and `stop_all()` cancels."""
        return self._ref

    def on_receive(self, message: Any) -> Any:
        """Run the request; nothing else is expected. Never raises: pykka would stop every actor for a `SystemExit`."""
        if message is not _RUN:
            return super().on_receive(message)
        try:
            self._run()
        except BaseException as exc:  # noqa: BLE001
            self._keep()
            self._record.end(self._record.ended_by(exc))
        self.stop()
        return None

    def on_stop(self) -> None:
        """Say the end if it was not said: `stop()` came first."""
        self._record.end(self._record.ended_by(CancelledError("stopped")))
        SWEEPER.unwatch(self._record)

    def on_failure(self, exception_type: object, exception_value: object, traceback: object) -> None:  # noqa: ARG002
        """Do the same when a message of somebody else's raised in the chat's thread: a call through a proxy."""
        self.on_stop()

    def _run(self) -> None:
        record, policy = self._record, self._record.request.retry
        while True:
            record.attempts += 1
            try:
                with record.scope.attempt():
                    self._attempt()
            except APIError as exc:
                error = exc
            else:
                return
            delay = None if self._has_content else policy.delay(error, attempts=record.attempts, dice=random.random())  # noqa: S311
            if delay is None:
                raise error
            record.explained(error)
            self._decoded.clear()
            record.tell(ChatRetrying(record.ref, record.attempts, delay, error), record.followers)
            record.scope.sleep(delay)

    def _attempt(self) -> None:
        self._record.headers = {}
        answer = self._transport.open(self._record.request)
        try:
            self._record.headers = answer.headers
            self._check(answer)
            self._read(answer)
        finally:
            answer.close()

    def _read(self, answer: Answer) -> None:
        try:
            for event in events(self._chunks(answer), max_event_bytes=self._record.request.max_event_bytes):
                if self._is_last(event, answer):
                    answer.drain()
                    return
        except APIError:
            self._tell()  # what came before the failure is good
            raise
        raise TruncatedError("the answer ended without message_stop", retryable=True)

    def _check(self, answer: Answer) -> None:
        """Go on only with an event stream."""
        kind = answer.headers.get("content-type", "").lower()
        if answer.status != _OK:
            raise status_error(answer.status, _json_or_text(answer.text()), answer.headers, now=time.time())
        if kind and not kind.startswith("text/event-stream"):  # some servers leave it out
            text = answer.text()
            raise ProtocolError(f"expected an event stream, got {kind}: {text:.200}", body=text)

    def _chunks(self, answer: Answer) -> Iterator[bytes]:
        """Get the body's bytes; what was decoded from them is told before more are read."""
        for chunk in answer.chunks():
            yield chunk
            self._tell()

    def _is_last(self, event: Any, answer: Answer) -> bool:
        """Deal with one event; get whether it ended the answer."""
        kind = event.get("type")
        if kind == "error":
            raise status_error(answer.status, event, answer.headers, now=time.time(), in_stream=True)
        if kind != "message_start":
            self._has_content = True
        if kind != "message_stop":
            self._decoded.append(event)
            return False
        self._tell()
        message = self._record.snapshot()
        if message is None:
            raise ProtocolError("message_stop came before message_start")
        self._record.scope.finish()
        self._record.end(ChatDone(self._record.ref, message), event)
        return True

    def _tell(self) -> None:
        """Tell what has been decoded.

        A `message_start` is held back until content follows it. So an overload that comes right after it can still be
        retried, without anybody having seen an answer that began twice.
        """
        if self._has_content and self._decoded:
            scope = self._record.scope
            scope.check()  # bytes that arrived before cancel() are still readable after it
            scope.idle_since = None
            decoded, self._decoded = self._decoded, []
            self._record.events(decoded)
            scope.idle_since = time.monotonic()

    def _keep(self) -> None:
        """Let a failed chat's `partial` have what was decoded and not told, too."""
        with contextlib.suppress(Exception):  # the error that is about to be told matters more
            for event in self._decoded:
                self._record.answer.add(event)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def start_chat(
    transport: Transport,
    request: Request,
    followers: Iterable[Delivery],
    scope: CancelScope,
    *,
    waited_for: bool = False,
) -> ChatRef:
    """Start the actor for one request, and get its ref.

    Args:
        transport: Where to send it.
        request: What to send.
        followers: Who follows it from the start.
        scope: What cancels it; the followers wait on it, too.
        waited_for: Whether the caller is going to wait for the result.

    Raises:
        AnthropixError: the system gives no more threads.
    """
    record = Record(request, scope)
    record.followers = tuple(followers)
    record.waiting = int(waited_for)
    SWEEPER.watch(record)
    try:
        ChatActor.start(transport, record)
    except RuntimeError as exc:
        SWEEPER.unwatch(record)
        pykka.ActorRegistry.unregister(record.ref)  # pykka has registered an actor that will never run
        record.ref.actor_stopped.set()
        raise AnthropixError(f"no thread for another chat: {exc}") from exc
    return record.ref
