"""`sse` and `sse_lines`: a chat or a turn as server-sent events, for a browser or any other client of a web server.

Names and data of the events are the API's. A chat or turn that failed or was cancelled ends with an `error` event in
the API's own form, so that who reads the API's streams can read these. A turn's own messages become events that the API
does not have.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-11-27.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.waits import refuse_deadlock, task_of
from anthropix_actors.chat.ref import ChatRef
from anthropix_actors.chat.stream import Stream
from anthropix_actors.conversation.messages import TurnCancelled
from anthropix_actors.conversation.turn_ref import TurnRef
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed
from anthropix_actors.stores import StoreError
from anthropix_actors.subscribers.inboxes import LEFT, LoopInbox, ThreadInbox
from anthropix_actors.subscribers.told import OF_A_TURN, TERMINAL, Answers, whole_of
from anthropix_actors.subscribers.wire_events import event_of, written

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable, Mapping

SSE_HEADERS: Mapping[str, str] = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would collect the events, and pass them on at the end
}
"""The headers of a response that is an event stream, for `sse_lines`."""

PING = b": ping\n\n"
"""A comment, which readers skip."""

PING_SECONDS = 15.0
"""Seconds of silence before a ping: proxies close what is silent for a minute, some after 30 seconds."""

_STOP = {"type": "message_stop"}


def sse(message: Any, id: str | int | None = None) -> bytes:  # noqa: A002 - the field's name
    r"""Return an event, or a message, as the bytes of one server-sent event.

    The data are one line of JSON, whatever is in the event. Its name is the event's `type`, and is left out where it
    has characters that a name cannot have. Any thread.

    Args:
        message: An event, as on the wire; or a `ChatEvent` or `SessionEvent`, which carry one. A message of a task that
            failed or was cancelled becomes an `error` event of the API's form. A retry becomes an event `retrying`, a
            `ChatResumed` an event `resumed`, and a message of a turn one with its name, such as `tool_started`, and its
            fields, which the API does not have.
        id: The event's id, which a browser sends in `Last-Event-ID` when it connects again; none by default.

    Raises:
        ParameterError: `message` is none of these or not JSON, or `id` has characters that an id cannot have.

    Example:
        >>> sse({"type": "message_stop"}, id=7)
        b'id: 7\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-11-27.
    """
    event = event_of(message)
    kind = event.get("type")
    lines = [_id_line(id)] if id is not None else []
    if isinstance(kind, str) and kind.isascii() and kind.isprintable():
        lines.append(b"event: %s\n" % kind.encode())
    return b"%sdata: %s\n\n" % (b"".join(lines), written(event))


def sse_lines(chat: Stream | ChatRef | TurnRef, *, ping: float = PING_SECONDS) -> SSELines:
    r"""Return a chat or a turn as the body of a response: server-sent events, as bytes, to loop over.

    With `for` or `async for`, whichever loop a web framework has. It begins with a comment, so that the headers go out
    at once; another one follows whenever there is silence for `ping` seconds, as a WSGI server notices at its next
    write only that a visitor has left. Exactly one event is the last: `message_stop` of a whole answer, or `error`. Of
    a turn it is `turn_done`, `turn_suspended` or `error`, and each of its answers has a `message_stop`.

    Each loop gets the whole answer: what was said before it began comes in events that rebuild it. So a browser that
    connects again begins anew with `message_start`; the ids count the events of one connection. A loop that is slower
    than the answer makes the chat, and so the server, wait. Leaving it early cancels the chat, unless others follow it.

    Of a chat that runs elsewhere, `sse_lines(hub.ref(name, after=last_event_id))`, the ids are cursors: a browser that
    connects again, to any process, goes on after the last event that it had. Leaving it cancels nothing.

    Args:
        chat: A stream, `client.chat(..., stream=True)`, or the ref of a chat or a turn.
        ping: Seconds of silence before a comment is sent.

    Raises:
        ParameterError: `chat` is something else, or `ping` is not a number of seconds above 0.

    Example:
        >>> lines = sse_lines(client.chat(model="claude-sonnet-5", messages=hello, stream=True))
        >>> b"".join(lines).splitlines()[-3:-1]
        [b'event: message_stop', b'data: {"type":"message_stop"}']
    """
    problems = []
    if not isinstance(chat, (Stream, ChatRef, TurnRef)):
        what = f"expected a stream, or the ref of a chat or a turn, got {type(chat).__name__}"
        problems.append(Problem("chat", what))
    if whole_of(chat) is not chat:
        problems.append(Problem("chat", OF_A_TURN))
    if isinstance(ping, bool) or not isinstance(ping, (int, float)) or not 0 < ping <= threading.TIMEOUT_MAX:
        what = f"expected seconds above 0, at most {threading.TIMEOUT_MAX:.0f}"
        problems.append(Problem("ping", f"{what}, got {shown(ping)}"))
    if problems:
        raise ParameterError(problems)
    return SSELines(chat, ping)


class SSELines:
    """The body of a response, from `sse_lines`: a chat or a turn as server-sent events."""

    def __init__(self, chat: Stream | ChatRef | TurnRef, ping: float) -> None:
        """Use `sse_lines`."""
        self._stream = chat if isinstance(chat, Stream) else None
        self._ref = chat.chat if isinstance(chat, Stream) else chat
        self._ping = ping
        self._inboxes: dict[LoopInbox | ThreadInbox, None] = {}

    def __iter__(self) -> Generator[bytes]:
        """Loop in a thread, which waits for events."""
        refuse_deadlock(task_of(self._ref))
        wire, inbox = self._wire(), ThreadInbox()
        self._join(inbox)
        try:
            yield PING
            while not wire.over:
                yield wire.written(inbox.burst(self._ping)) or PING
        finally:
            self._leave(inbox, over=wire.over)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """Loop in a coroutine."""
        wire, inbox = self._wire(), LoopInbox()
        inbox.bind()
        self._join(inbox)
        try:
            yield PING
            while not wire.over:
                yield wire.written(await _burst(inbox, self._ping)) or PING
        finally:
            self._leave(inbox, over=wire.over)

    def close(self) -> None:
        """End all loops, and cancel the chat unless others follow it; as WSGI servers do at the end. Any thread.

        A loop that waits ends at once. The last event of each is an `error`, as of a chat that was cancelled.
        """
        for inbox in [*self._inboxes]:
            self._leave(inbox)
            inbox.tell(self._left())
        if self._stream is not None:
            self._stream.close()

    def _wire(self) -> _Wire:
        return _TurnWire() if isinstance(self._ref, TurnRef) else _Wire(has_cursors=self._ref.has_cursors)

    def _left(self) -> Any:
        ref = self._ref
        return TurnCancelled(ref, LEFT) if isinstance(ref, TurnRef) else ChatCancelled(ref, LEFT, None)

    def _join(self, inbox: LoopInbox | ThreadInbox) -> None:
        self._inboxes[inbox] = None
        self._ref.subscribe(inbox)
        if self._stream is not None:
            self._stream.close()

    def _leave(self, inbox: LoopInbox | ThreadInbox, *, over: bool = False) -> None:
        """Follow no longer. Takes no lock, as a finalizer may call it."""
        self._inboxes.pop(inbox, None)
        if isinstance(inbox, LoopInbox):
            inbox.handled_in = None
        if not over:
            SWEEPER.post(partial(self._ref.unsubscribe, inbox, LEFT))


async def _burst(inbox: LoopInbox, seconds: float) -> list[Any]:
    """Return what has arrived; nothing after some seconds of silence."""
    try:
        async with asyncio.timeout(seconds):
            return await inbox.burst()
    except TimeoutError:
        return []


class _Wire:
    """A chat's messages as bytes, for one connection.

    Attributes:
        over: Whether the last event was written.
    """

    def __init__(self, *, has_cursors: bool = False) -> None:
        self.over = False
        self._has_cursors = has_cursors
        self._count = 0
        self._stop: Any = _STOP

    def written(self, messages: Iterable[Any]) -> bytes:
        return b"".join(map(self._one, messages))

    def _one(self, message: Any) -> bytes:
        """Write a message. The `message_stop` is held back until it is known that no error follows."""
        if self.over:  # closed as the end came
            return b""
        if isinstance(message, ChatEvent) and message.data["type"] == "message_stop":
            self._stop = message.data
            return b""
        if self._has_cursors and _ends_here_alone(message):
            self.over = True
            return b""
        return self._counted(self._stop if isinstance(message, ChatDone) else message, message)

    def _counted(self, written: Any, message: Any) -> bytes:
        self.over = type(message) in TERMINAL
        self._count += 1
        return sse(written, message.cursor if self._has_cursors else self._count)


class _TurnWire(_Wire):
    """A turn's messages as bytes. An answer that was whole before comes in events that rebuild it."""

    def __init__(self) -> None:
        super().__init__()
        self._answers = Answers()

    def _one(self, message: Any) -> bytes:
        if self.over:
            return b""
        events = [self._counted(event, event) for event in self._answers.events_of(message)]
        return b"".join(events if isinstance(message, ChatEvent) else [*events, self._counted(message, message)])


def _ends_here_alone(message: Any) -> bool:
    """Return whether a chat that runs elsewhere is followed no longer, and goes on: a browser then connects again."""
    if message.cursor is not None:
        return False
    return isinstance(message, ChatCancelled) or (
        isinstance(message, ChatFailed) and isinstance(message.error, StoreError)
    )


def _id_line(name: str | int) -> bytes:
    if isinstance(name, (str, int)) and not isinstance(name, bool):
        with contextlib.suppress(ValueError):  # an integer of more digits than Python writes
            if (text := str(name)).isprintable():
                return b"id: %s\n" % text.encode()
    what = "expected a string of printable characters, or an integer of at most some thousand digits"
    raise ParameterError([Problem("id", f"{what}, got {shown(name)}")])


publish("anthropix_actors.subscribers", (sse, sse_lines, SSELines))
