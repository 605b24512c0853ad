"""The ref of a turn."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.migration_hints import OF_A_TURN, missing
from anthropix_actors._checks.subscriber_hints import no_subscriber
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors._tasks.untold import SAID
from anthropix_actors._tasks.waits import refuse_deadlock
from anthropix_actors.chat.growth import TEXT, grown
from anthropix_actors.chat.messages import ChatEvent, ChatResumed
from anthropix_actors.chat.pieces import BlockPiece, PieceReader
from anthropix_actors.content import text_of
from anthropix_actors.conversation.follower import MessageQueue
from anthropix_actors.conversation.messages import AnswerDone, TurnCancelled, TurnDone, TurnFailed
from anthropix_actors.conversation.turn import TurnTask
from anthropix_actors.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.task import State
    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.pieces import Piece
    from anthropix_actors.conversation.messages import Approval
    from anthropix_actors.usage import Usage


class TurnRef(TaskRef[TurnTask]):
    """A turn: what follows one `say`, until the model has answered. All methods may be called from any thread.

    It stays useful after the turn has ended.

    Example:
        >>> turn = client.converse(clerk).say("Hello")
        >>> print("".join(turn.text))
        Hello!
        >>> turn.result()["stop_reason"]
        'end_turn'
    """

    say_instead = f"use talk.say({SAID}) of its conversation, which may reach it in its middle"

    def __init__(self, conversation: Any, task: TurnTask) -> None:
        """Refs are returned by `ConversationRef.say`; do not make one yourself."""
        self.__dict__.update(vars(conversation))  # its actor is the conversation's
        self._task = task

    def result(self, timeout: float | None = None) -> Message:
        """Wait until the turn has ended, and return its last answer, the whole Message.

        Args:
            timeout: Seconds to wait at most; None for as long as the turn takes. The turn goes on in any case.

        Raises:
            TimeoutError: it has not ended.
            DeadlockError: it would wait for this thread: in a handler of an actor that follows it.
            CancelledError: it was cancelled, or suspended, as its conversation was stopped.
            AnthropixError: a request of it failed; which class says why (`OutputError`: `output` does not fit).

        Example:
            >>> client.converse(clerk).say("Hello").result(timeout=60)["role"]
            'assistant'
        """
        message: Message = outcome(self._wait(timeout))
        return message

    def output(self, timeout: float | None = None) -> Any:
        """Wait until the turn has ended, and return the value of the type that was given as `output` to `say`."""
        terminal = self._wait(timeout)
        outcome(terminal)
        return terminal.output

    if not TYPE_CHECKING:  # pragma: no branch
        __getattr__ = missing(OF_A_TURN)

    @property
    def usage(self) -> Usage:
        """The tokens that it has used so far, those of sub-agents included."""
        return self._task.budget.usage

    @property
    def state(self) -> State:
        """The state of the turn: "running", and in the end "done", "failed", "cancelled" or "suspended"."""
        return self._task.state

    @property
    def request_id(self) -> str | None:
        """The API's id of the turn's latest request, or None before a response."""
        chat = self._task.chat
        return None if chat is None else chat.requester.request_id

    def snapshot(self) -> Message | None:
        """Return a copy of the answer so far of its latest request; None before there is any."""
        chat = self._task.chat
        return None if chat is None else chat.snapshot()

    def subscribe(self, subscriber: Subscriber, *, window: int | None = None, coalesce: bool = False) -> None:
        """Let one more subscriber follow this turn.

        It first gets the turn's own messages so far, and events that rebuild the answer that is streaming; then it
        follows live. Returns at once. One that follows it already goes on as it is.

        Args:
            subscriber: Anything with `tell(message)`, such as an `ActorRef`.
            window: How many messages it may be behind before the chat waits for it; None for the client's.
            coalesce: Merge neighbouring deltas while it is busy. For actors.

        Raises:
            TypeError: `subscriber` has no `tell`.
            ParameterError: it is an `aio()` that follows something else.
        """
        if (what := no_subscriber(subscriber)) is not None:
            raise TypeError(f"subscriber: expected something with a tell method, got {what}")
        self._task.follow(subscriber, window=window or self._task.talk.core.window, coalesce=coalesce)

    def unsubscribe(self, subscriber: Subscriber, reason: str = "unsubscribed") -> None:
        """Detach a subscriber; it gets no terminal message. Detaching the last one cancels the turn."""
        self._task.unfollow(subscriber, reason)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Cancel the turn; its conversation goes on. As `pykka.ActorRef.stop`."""
        self.cancel("stopped")
        return self._task.finished.wait(timeout) if block else True

    def __iter__(self) -> Iterator[Any]:
        """Loop over its messages, the terminal one included. Leaving the loop early cancels the turn.

        Raises:
            DeadlockError: the loop would wait for its own thread.
        """
        refuse_deadlock(self._task)
        messages, over = MessageQueue(self._task.talk.core.window), False
        self._task.follow(messages, window=self._task.talk.core.window)
        try:
            while not over:
                message = messages.get()
                over = message is self._task.terminal
                yield message
        finally:
            if not over:
                messages.close()
                self.unsubscribe(messages, "the loop over the turn was left")

    @property
    def text(self) -> Iterator[str]:
        """The text of its answers, piece by piece, to loop over. Leaving the loop early cancels the turn.

        A loop that begins late gets each answer that is whole in one piece. Raises what `result` raises.
        """
        seen: set[Any] = set()
        for message in self:
            if isinstance(message, ChatEvent):
                seen.add(message.chat)
                found = grown(message.data)
                if found is not None and found[0] == TEXT:
                    yield found[1]
            elif _is_unseen(message, seen) and (text := text_of(message.message)):
                yield text
        outcome(self._task.terminal)

    @property
    def pieces(self) -> Iterator[Piece]:
        """Its answers piece by piece, to loop over, as `Stream.pieces`; leaving the loop early cancels the turn.

        A loop that begins late gets the blocks of each answer that is whole.
        """
        readers: dict[Any, PieceReader] = {}
        resumed: set[Any] = set()
        for message in self:
            if isinstance(message, ChatResumed):
                resumed.add(message.chat)
            elif isinstance(message, ChatEvent):
                reader = readers.setdefault(message.chat, PieceReader())
                yield from reader.read(message.data, resumed=message.chat in resumed)
            elif _is_unseen(message, readers):
                yield from map(BlockPiece, message.message["content"], itertools.count())
        outcome(self._task.terminal)


def _is_unseen(message: Any, seen: Container[Any]) -> bool:
    """Return whether a message is a whole answer of the turn's own, of which no event was told."""
    return isinstance(message, AnswerDone) and not message.path and message.chat not in seen


def outcome(terminal: Any) -> Any:
    """Return the last answer of a turn.

    Raises:
        AnthropixError: the turn failed, or was cancelled.
    """
    if isinstance(terminal, TurnDone):
        return terminal.message
    if isinstance(terminal, TurnFailed):
        raise terminal.error.with_traceback(None)
    raise CancelledError(terminal.reason if isinstance(terminal, TurnCancelled) else _suspended(terminal.approvals))


def _suspended(approvals: Sequence[Approval]) -> str:
    names = ", ".join(dict.fromkeys(each.name for each in approvals))
    return f"suspended, as its conversation was stopped while it waited for the approval of {names}"


publish("anthropix_actors", (TurnRef,))
