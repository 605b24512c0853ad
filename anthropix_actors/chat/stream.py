"""The blocking iterator over a chat's events."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._checks.migration_hints import OF_A_STREAM, missing, only_by_aio
from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.waits import refuse_deadlock, task_of
from anthropix_actors.chat.growth import TEXT, grown
from anthropix_actors.chat.messages import ChatCancelled
from anthropix_actors.chat.ref import outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from anthropix_actors._wire.events import Event
    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.event_queue import EventQueue
    from anthropix_actors.chat.pieces import Piece
    from anthropix_actors.chat.ref import ChatRef

_LEFT = "the loop over the stream was left"
_CLOSED = "the stream was closed"
_COLLECTED = "the stream was garbage collected"


class Stream:
    """An answer as an iterable of events, from `Client.chat(..., stream=True)`.

    Leaving the loop before its end, by `break`, `return`, an exception or Ctrl-C, cancels the request; so does losing
    the stream to the garbage collector, unless the chat has another subscriber. Several threads may loop over one
    stream: each event goes to one of them, and the request is cancelled when the last of them leaves early.

    Example:
        >>> with client.chat(model="claude-sonnet-5", messages=hello, stream=True) as stream:
        ...     for text in stream.text:
        ...         print(text, end="")
        ...     message = stream.message()
        Hello!
    """

    def __init__(self, chat: ChatRef, channel: EventQueue) -> None:
        """Streams are returned by `Client.chat`; do not make one yourself."""
        self._chat = chat
        self._channel = channel
        self._loops: dict[object, None] = {}  # a token for each loop; no lock, as the methods of a dict are atomic
        # A finalizer must not wait for a lock: the thread that it interrupts may hold it. And it must refer weakly:
        # the error of a failed chat has the loop in its traceback, which has the stream.
        close = partial(_close_collected, weakref.ref(chat), weakref.ref(channel))
        weakref.finalize(self, SWEEPER.post, close).atexit = False

    def __repr__(self) -> str:
        """Show what its chat shows."""
        return f"<Stream of {self._chat!r}>"

    @property
    def chat(self) -> ChatRef:
        """The ref of the actor that runs the request: to cancel it from another thread, or to subscribe others."""
        return self._chat

    @property
    def snapshot(self) -> Message | None:
        """A copy of the Message so far, or None before `message_start`. It may be ahead of the loop."""
        return self._chat.snapshot()

    def __iter__(self) -> Iterator[Event]:
        """Loop over the events that no other loop takes. Leaving the loop early cancels the request.

        Raises:
            CancelledError: the chat was cancelled.
            AnthropixError: the chat failed.
        """
        over, mine = False, object()
        try:
            self._loops[mine] = None
            refuse_deadlock(task_of(self._chat))
            get = self._channel.get
            while isinstance(item := get(), dict):
                yield item
            over = True
        finally:
            self._loops.pop(mine, None)
            if not over and not self._loops:  # may run in a finalizer, so no lock may be taken here
                SWEEPER.post(partial(_close, self._chat, self._channel, _LEFT))
        outcome(item)

    def __next__(self) -> Event:
        """Return the next event.

        Raises:
            StopIteration: the answer is complete.
            CancelledError: the chat was cancelled.
            AnthropixError: the chat failed.
        """
        try:
            item = self._channel.get()
        except BaseException:  # Ctrl-C
            _close(self._chat, self._channel, _LEFT)
            raise
        if isinstance(item, dict):
            return item
        outcome(item)
        raise StopIteration

    @property
    def text(self) -> Iterator[str]:
        """The answer's text, piece by piece, to loop over. Raises what the loop over the events raises."""
        for event in self:
            found = grown(event)
            if found is not None and found[0] == TEXT:
                yield found[1]

    @property
    def pieces(self) -> Iterator[Piece]:
        """The answer piece by piece, to loop over: text, thinking, the input of tools, and each complete block.

        Text comes as a `TextPiece`, thinking as a `ThinkingPiece`, the input of a tool as a `ToolInputPiece`, and each
        block, whatever its type, as a `BlockPiece` when it is complete. `piece.so_far` is the text with all earlier
        pieces of its block. Pieces are made of the events that this loop takes: let no other loop take any. Raises what
        the loop over the events raises.

        Example:
            >>> from anthropix_actors import BlockPiece, TextPiece
            >>> for piece in client.chat(model="claude-sonnet-5", messages=hello, stream=True).pieces:
            ...     match piece:
            ...         case TextPiece(text=text):
            ...             print(text, end="")
            ...         case BlockPiece(block={"type": "tool_use", "name": name, "input": given}):
            ...             print(name, given)
            Hello!
        """
        with late_import():
            from anthropix_actors.chat.pieces import PieceReader

        reader = PieceReader()
        task: Any = task_of(self._chat)
        for event in self:
            yield from reader.read(event, resumed=task.resumed)

    def message(self) -> Message:
        """Wait until the answer is complete, and return the whole Message. Events that no loop has taken are skipped.

        Raises:
            CancelledError: the chat was cancelled.
            AnthropixError: the chat failed.
        """
        for _ in self:
            pass
        return self._chat.result()

    def output(self) -> Any:
        """Wait until the answer is complete, and return the value decoded from it; see `output` of `Client.chat`.

        Raises:
            OutputError: the answer does not fit the type.
            CancelledError: the chat was cancelled.
            AnthropixError: the chat failed.
        """
        self.message()
        return self._chat.output()

    def close(self) -> None:
        """Stop; cancel the request unless it has finished or has another subscriber. Returns at once. Any thread."""
        _close(self._chat, self._channel, _CLOSED)

    if not TYPE_CHECKING:  # pragma: no branch
        __getattr__ = missing(OF_A_STREAM)
        __aenter__ = __aexit__ = only_by_aio("async with")

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close the stream."""
        self.close()


def _close_collected(chat: weakref.ref[ChatRef], channel: weakref.ref[EventQueue]) -> None:
    running, followed = chat(), channel()
    if running is not None and followed is not None:
        _close(running, followed, _COLLECTED)


def _close(chat: ChatRef, channel: EventQueue, reason: str) -> None:
    channel.close(ChatCancelled(chat, reason, chat.snapshot()))
    chat.unsubscribe(channel, reason)


publish("anthropix_actors", (Stream,))
