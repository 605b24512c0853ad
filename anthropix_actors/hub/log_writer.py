"""The subscriber that writes a chat into a log."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.log import safely
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.window_delivery import WindowDelivery
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.hub.entries import entry_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.window import Window
    from anthropix_actors.hub._read.crew import Crew
    from anthropix_actors.hub._write.open_log import OpenLog, Outcome


class LogDelivery(WindowDelivery):
    """Delivery to a log: a cancel that was posted reaches the chat by its scope, before it has told anything."""

    subscriber: LogWriter

    def __init__(self, subscriber: Subscriber, scope: CancelScope, size: int, window: Window) -> None:
        """Let the log know its chat."""
        super().__init__(subscriber, scope, size, window)
        self.subscriber.join(scope)

    @property
    def has_ended(self) -> bool:
        """Whether it will never make room again."""
        return not self.is_alive()

    def flush(self, timeout: float) -> None:
        """Wait until the end of the chat is in the store."""
        self.subscriber.wait(timeout)

    def is_alive(self) -> bool:
        """Return whether the log is still written."""
        return self.subscriber.outcome in {None, "closed"}


class LogWriter:
    """Writes one chat into a log: pass it as `stream`, or to `subscribe`. `Hub.to` returns it.

    It is told as any subscriber; what it is told is in the store a moment later. If the store is slow, the chat waits.

    Attributes:
        window: How much may wait for the store.
        attempt: Which attempt this is at the chat of this name; the first is 1.
    """

    delivery_class = LogDelivery

    def __init__(self, opened: OpenLog, crew: Crew, attempt: int) -> None:
        """Use `Hub.to`."""
        self._opened = opened
        self._crew = crew
        self._chat: Any = None
        self.attempt = attempt
        self.window = opened.window

    def __repr__(self) -> str:
        """Show the log."""
        return f"<{type(self).__name__} of {self._opened!r}>"

    def __del__(self) -> None:
        """Give the log up, if no chat was ever told to write it."""
        with contextlib.suppress(Exception):
            self.release()

    @property
    def name(self) -> str:
        """The name of the log."""
        return self._opened.name

    @property
    def outcome(self) -> Outcome | None:
        """How the writing has ended; None while it goes on.

        "closed" says that the end of the chat is in the store. "refused": the store did not take an entry, as too large
        a one, and the log ends with a `ChatFailed` that says so. "fenced": another writer has claimed the log, or
        it was deleted; "gone": the store was away for too long, was closed, or has lost entries; "released": it was
        given up unwritten.
        """
        return self._opened.outcome

    def tell(self, message: Any, /) -> None:
        """Take one message of the chat. Returns at once.

        Raises:
            ParameterError: it is of another chat than those before, or of no chat.
        """
        chat = message.chat if hasattr(message, "chat") else None
        if self._chat is None:
            self._chat = chat
        elif chat is not None and chat is not self._chat:
            raise ParameterError([Problem("stream", "expected one chat for each hub.to(...), got a second one")])
        self._opened.add(entry_of(message))

    def join(self, scope: CancelScope) -> None:
        """Write the chat that has this scope."""
        self._opened.join(scope)

    def release(self) -> None:
        """Give the log up, if no chat was told to write it: others may claim it. Any thread."""
        # As the interpreter ends, its lease does that: no thread starts then, and to wait for one would be for ever.
        if not (self._opened.is_joined or self._opened.outcome is not None or sys.is_finalizing()):
            self._opened.leave()

    def give_away(self) -> None:
        """Give the log up without an end, though its chat has begun: another writer goes on with it. Any thread."""
        self._opened.give_away()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the writing has ended, for at most `timeout` seconds; return whether it has. See `outcome`."""
        return self._opened.wait(timeout)

    def add_done_callback(self, callback: Callable[[Outcome], object]) -> None:
        """Call a function with the `outcome`, soon after it is known, on another thread. What it raises is logged."""

        def call(outcome: Outcome) -> None:
            self._crew.run(partial(safely, "the callback of a log", callback, outcome))

        self._opened.on_end(call)


publish("anthropix_actors.hub", (LogWriter,))
