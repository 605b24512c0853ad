"""The ref of a chat, and how its terminal message becomes a result or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors._checks.migration_hints import OF_A_CHAT, missing, only_by_aio
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors._tasks.subscriber import no_subscriber
from anthropix_actors._tasks.untold import SAID
from anthropix_actors.chat.messages import ChatDone, ChatFailed
from anthropix_actors.chat.task import ChatTask
from anthropix_actors.errors import CancelledError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.task import State
    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.messages import Terminal


class ChatRef(TaskRef[ChatTask]):
    """A chat: the ref of the actor that runs the request. All methods may be called from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) cancels the chat first, so it never
    waits for the network. The ref stays useful after the actor has stopped.
    """

    say_instead = f"use talk = client.converse(Agent(...)), and talk.say({SAID})"
    has_cursors = False  # whether its messages have the cursors of a log

    def result(self, timeout: float | None = None) -> Message:
        """Wait for the answer and return the whole Message.

        A chat that a thread waits for goes on, even when its subscribers are gone.

        Args:
            timeout: Seconds to wait at most; None for as long as the chat takes. When they run out, the chat goes on if
                it has a subscriber or another thread waits, and is cancelled otherwise.

        Raises:
            TimeoutError: there is no result yet; the text says whether the chat goes on.
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
        """Wait for the answer, and return the value decoded from it, of the type given as the chat's `output`.

        None for a chat without `output`. Raises what `result` raises.
        """
        terminal = self._wait(timeout)
        outcome(terminal)
        return terminal.output

    @property
    def state(self) -> State:
        """The state of the chat.

        "queued" while it waits for its turn; then "sent", "answering", "retrying" before another attempt; and in the
        end "done", "failed" or "cancelled".
        """
        return self._task.state

    @property
    def turn(self) -> Any:
        """The turn of a conversation that this is a request of, a `TurnRef`; None for a chat of its own."""
        turn = getattr(self._task, "turn", None)
        return None if turn is None else turn.ref

    @property
    def lost(self) -> tuple[Mapping[str, Any], ...]:
        """The beginnings of answers that failed before any content, so that a retry followed.

        They are not delivered, but they cost tokens: `ChatDone.usage` and a `Ledger` count them, as an estimate.
        """
        return self._task.lost

    def snapshot(self) -> Message | None:
        """Return a copy of the Message so far, or None before `message_start`.

        An unfinished tool call has the text of its input under `input_json`.
        """
        return self._task.snapshot()

    if not TYPE_CHECKING:  # pragma: no branch
        __getattr__ = missing(OF_A_CHAT)
        __aiter__ = only_by_aio("async for")

    def subscribe(self, subscriber: Subscriber, *, window: int | None = None, coalesce: bool = False) -> None:
        """Let one more subscriber follow this chat, from its beginning.

        The subscriber first gets events that rebuild the answer so far, then follows live; it misses none and gets none
        twice. Returns at once. Safe from any thread, even from the subscriber's own handler. One that follows it
        already, the same object or the same actor, goes on as it is; after `unsubscribe`, it begins again.

        Args:
            subscriber: Anything with `tell(message)`, such as an `ActorRef`. Gets events, then exactly one of
                `ChatDone`, `ChatFailed`, `ChatCancelled` - at once if the chat has finished.
            window: How many messages an actor may be behind before the chat waits for it; None for the client's.
            coalesce: Merge neighbouring deltas while the actor is busy; for actors that repaint.

        Raises:
            TypeError: `subscriber` has no `tell`.
            ParameterError: `window` is not an integer from 1, or `coalesce` is True and the subscriber is not an actor;
                or it is an `aio()` that follows something else.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> chat.subscribe(another)
        """
        if (what := no_subscriber(subscriber)) is not None:
            raise TypeError(f"subscriber: expected something with a tell method, got {what}")
        problems = []
        if coalesce and not isinstance(subscriber, pykka.ActorRef):
            what = f"expected an ActorRef as subscriber, got {type(subscriber).__name__}: only a mailbox can be behind"
            problems.append(Problem("coalesce", what))
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
            problems.append(Problem("window", f"expected an integer from 1, got {window!r}"))
        if problems:
            raise ParameterError(problems)
        self._task.attach(self._task.delivery_to(subscriber, window=window, coalesce=coalesce))


def outcome(terminal: Terminal) -> Message:
    """Return the whole Message of a terminal message.

    Raises:
        AnthropixError: the chat failed, or was cancelled.
    """
    if isinstance(terminal, ChatDone):
        return terminal.message
    if isinstance(terminal, ChatFailed):
        raise terminal.error.with_traceback(None)  # or the traceback would grow with each call
    cancelled, chat = CancelledError(terminal.reason), terminal.chat
    cancelled.partial, cancelled.request_id, cancelled.attempts = terminal.partial, chat.request_id, chat.attempts
    raise cancelled


publish("anthropix_actors", (ChatRef,))
