"""What is known of a chat, shared by its actor, its refs, its stream and the sweeper.

One lock makes the answer so far, the list of followers and the end change together; so a subscriber that joins late
misses nothing and gets nothing twice. `Record.end` is the only place where a terminal message is made known, and it
does so once.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

import pykka

from anthropix_actors._accumulate import Accumulator
from anthropix_actors._delivery import Gone
from anthropix_actors.errors import AnthropixError, APITimeoutError, CancelledError, ProtocolError, StalledError
from anthropix_actors.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors._chat import ChatRef
    from anthropix_actors._delivery import Delivery
    from anthropix_actors._request import Request
    from anthropix_actors._scope import CancelScope
    from anthropix_actors.messages import ChatMessage, Terminal
    from anthropix_actors.types import Event, Message

_NOBODY = "nobody listens any more"

_logger = logging.getLogger("anthropix_actors")


class Record:
    """What is known of a chat: shared by the actor, its refs, its stream and the sweeper.

    One lock makes the answer so far, the list of followers and the end change together; so a subscriber that joins late
    misses nothing and gets nothing twice. It is reentrant: a subscriber may use the chat from within its `tell`.
    """

    def __init__(self, request: Request, scope: CancelScope) -> None:
        self.request = request
        self.scope = scope
        self.lock = threading.RLock()
        self.answer = Accumulator()
        self.followers: tuple[Delivery, ...] = ()
        self.waiting = 0  # callers within result()
        self.terminal: Terminal | None = None
        self.over = threading.Event()  # the outcome is known
        self.told = threading.Event()  # and everyone who follows has been told
        self.ref: ChatRef
        self.attempts = 0
        self.headers: Mapping[str, str] = {}
        total = request.timeout.total
        self.deadline = None if total is None else time.monotonic() + total

    # By the chat's thread

    def events(self, events: list[Event]) -> None:
        """Take events into the answer, and tell them; may wait for a slow follower.

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
        for follower in followers:
            try:
                follower.tell_events(self.ref, events)
            except Gone:
                self.remove(follower)
        if error is not None:
            raise error

    def tell(self, message: ChatMessage, followers: tuple[Delivery, ...]) -> None:
        for follower in followers:
            try:
                follower.tell(message)
            except Gone:
                self.remove(follower)

    def end(self, terminal: Terminal, last_event: Event | None = None) -> None:
        """Make the terminal message known, unless there was one. Waits for nobody's room; never raises."""
        with self.lock:
            if self.terminal is not None:
                return
            self.terminal = terminal
            followers, self.followers = self.followers, ()
        self.over.set()
        for follower in followers:
            with contextlib.suppress(Gone):
                if last_event is not None:
                    follower.tell_last(ChatEvent(self.ref, last_event))
                follower.tell_last(terminal)
        self.told.set()

    def explained(self, error: AnthropixError) -> AnthropixError:
        """Add to an error what is known of the chat."""
        error.attempts = self.attempts
        error.request_id = error.request_id or self.request_id
        with contextlib.suppress(Exception):  # a bug there must not hide the end of the chat
            error.partial = error.partial or self.snapshot()
        return error

    def ended_by(self, exc: BaseException) -> Terminal:
        """Get the terminal message for what ended the chat."""
        if isinstance(exc, CancelledError):
            self.explained(exc)
            return ChatCancelled(self.ref, exc.reason, exc.partial)
        if not isinstance(exc, AnthropixError):
            _logger.error("a chat ended by an error of its own", exc_info=exc)
            bug = AnthropixError(f"an error in the chat itself: {exc!r}")
            bug.__cause__ = exc
            exc = bug
        return ChatFailed(self.ref, self.explained(exc))

    # By any thread

    @property
    def request_id(self) -> str | None:
        return self.headers.get("request-id")

    def snapshot(self) -> Message | None:
        with self.lock:
            return self.answer.snapshot()

    def add(self, follower: Delivery) -> None:
        """Tell a follower what has been said so far, and from now on all that is said."""
        with self.lock:
            for event in self.answer.replay():
                follower.tell_last(ChatEvent(self.ref, event))
            if self.terminal is None:
                self.followers = (*self.followers, follower)
            else:
                follower.tell_last(self.terminal)

    def remove(self, follower: Delivery, reason: str = _NOBODY) -> None:
        with self.lock:
            follower.left = True
            self.followers = tuple(each for each in self.followers if each is not follower)
            abandoned = not self.followers and not self.waiting
        if abandoned:
            self.cancel(reason)
        else:
            self.scope.notify()  # the chat may wait for the one that left

    def cancel(self, reason: str) -> bool:
        return self.scope.cancel(CancelledError(reason))

    # By the sweeper

    def part(self, reason: str) -> Callable[[float], object]:
        """Cancel; get a function that waits until the followers have heard and the actor has stopped, or time is up."""
        followers = self.followers
        self.cancel(reason)

        def heard(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            self.told.wait(timeout)
            for follower in followers:
                follower.settle(max(0.0, deadline - time.monotonic()))
            self.ref.actor_stopped.wait(max(0.0, deadline - time.monotonic()))

        return heard

    def sweep(self, now: float) -> None:
        if self.deadline is not None and now >= self.deadline:
            self.scope.cancel(APITimeoutError(f"not done within {self.request.timeout.total} s (timeout.total)"))
        idle, since = self.request.timeout.idle, self.scope.idle_since
        if idle is not None and since is not None and now - since >= idle:
            self.scope.interrupt(StalledError(f"no event but pings for {idle} s (timeout.idle)", retryable=True))
        for follower in self.followers:
            if not follower.is_alive():
                self.remove(follower)

    def forget(self) -> None:
        """Be over, in a forked child."""
        self.lock, self.over, self.told = threading.RLock(), threading.Event(), threading.Event()
        self.followers = ()
        cause = CancelledError("the process was forked; the chat goes on in the parent")
        self.scope.forget(cause)
        self.terminal = self.terminal or self.ended_by(cause)
        self.over.set()
        pykka.ActorRegistry.unregister(self.ref)
        self.ref.actor_stopped.set()


def outcome(terminal: Terminal) -> Message:
    """Get what a chat ended with.

    Raises:
        AnthropixError: why there is no whole Message.
    """
    if isinstance(terminal, ChatDone):
        return terminal.message
    if isinstance(terminal, ChatFailed):
        raise terminal.error
    cancelled, chat = CancelledError(terminal.reason), terminal.chat
    cancelled.partial, cancelled.request_id, cancelled.attempts = terminal.partial, chat.request_id, chat.attempts
    raise cancelled
