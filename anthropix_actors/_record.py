"""What is known of a piece of work, shared by its actor, its refs and the sweeper.

One lock makes the list of followers and the end change together; so does what the kinds of work add to it.
`Record.end` is the only place where a terminal message is made known, and it does so once.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pykka

from anthropix_actors._delivery import Gone
from anthropix_actors._exchange import Exchange
from anthropix_actors._request import no_answer
from anthropix_actors.errors import AnthropixError, APITimeoutError, CancelledError, StalledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from anthropix_actors._delivery import Delivery
    from anthropix_actors._request import Timeout
    from anthropix_actors._scope import CancelScope
    from anthropix_actors._slots import Slots
    from anthropix_actors._transport import Transport
    from anthropix_actors.messages import Subscriber

_NOBODY = "nobody listens any more"

_logger = logging.getLogger("anthropix_actors")


class Record:
    """The state of one piece of work that an actor does: a chat, a batch, a session's events.

    Attributes:
        tag: The caller's own word for it, or None.
        scope: What cancels it.
        exchange: What it says to the API.
        followers: The deliveries to those who are told.
        waiting: How many callers wait for the result.
        terminal: The message that ended it, or None.
        over: Set when the outcome is known.
        told: Set when everyone who follows has been told of it.
        ref: The actor's ref.
        deadline: When its time is up, on the monotonic clock; None for never, and before it has begun.
        slots: Where it waits for its turn; None where nothing waits.
    """

    what: ClassVar[str]
    """The kind of work, in a word, for texts."""
    parts_first = False

    def __init__(
        self,
        transport: Transport,
        scope: CancelScope,
        timeout: Timeout,
        *,
        tag: str | None = None,
        ledger: Subscriber | None = None,
    ) -> None:
        """Start with nobody who follows."""
        self.tag = tag
        self._ledger = ledger
        self.scope = scope
        self.exchange = Exchange(transport, scope)
        self.lock = threading.RLock()
        self.followers: tuple[Delivery, ...] = ()
        self.waiting = 0
        self.terminal: Any = None
        self.over = threading.Event()
        self.told = threading.Event()
        self.ref: Any
        self.slots: Slots | None = None
        self._timeout = timeout
        self.deadline: float | None = None

    def begin(self) -> None:
        """Start its time: what it waited for its turn does not count."""
        if self._timeout.total is not None:
            self.deadline = time.monotonic() + self._timeout.total

    # By each kind of work

    def cancelled(self, error: CancelledError) -> Any:
        """Get the terminal message of work that was cancelled."""
        raise NotImplementedError

    def failed(self, error: AnthropixError) -> Any:
        """Get the terminal message of work that failed."""
        raise NotImplementedError

    def explained(self, error: AnthropixError) -> AnthropixError:
        """Add to an error what is known of the work."""
        self.exchange.explain(error)
        return error

    # By the actor's thread

    def tell(self, message: Any, followers: Iterable[Delivery] | None = None) -> None:
        """Tell those who follow; may wait for a slow one.

        Raises:
            AnthropixError: the work was cancelled while it waited.
        """
        for follower in self.followers if followers is None else followers:
            try:
                follower.tell(message)
            except Gone:
                self.remove(follower)

    def tell_all(self, messages: Sequence[Any]) -> None:
        """Tell those who follow several messages. Raises what `tell` raises."""
        for follower in self.followers:
            try:
                follower.tell_all(messages)
            except Gone:
                self.remove(follower)

    def end(self, terminal: Any, *before: Any) -> None:
        """Make the terminal message known, unless there was one. Waits for nobody's room; never raises.

        Args:
            terminal: The message.
            before: Messages to tell before it.
        """
        with self.lock:
            if self.terminal is not None:
                return
            self.terminal = terminal
            followers, self.followers = self.followers, ()
        self.book(terminal)  # before anybody can see that it is over
        self.over.set()
        for follower in followers:
            with contextlib.suppress(Gone):
                for message in before:
                    follower.tell_last(message)
                follower.tell_last(terminal)
        self.told.set()

    def book(self, message: Any) -> None:
        """Tell the client's ledger; it is no follower, so it keeps no work going."""
        if self._ledger is not None:
            try:
                self._ledger.tell(message)
            except Exception:
                _logger.exception("%r failed to take a message", self._ledger)

    def ended_by(self, exc: BaseException) -> Any:
        """Get the terminal message for what ended the work."""
        if isinstance(exc, CancelledError):
            self.explained(exc)
            return self.cancelled(exc)
        if not isinstance(exc, AnthropixError):
            _logger.error("a %s ended by an error of its own", self.what, exc_info=exc)
            bug = AnthropixError(f"an error in the {self.what} itself: {exc!r}")
            bug.__cause__ = exc
            exc = bug
        return self.failed(self.explained(exc))

    # By any thread

    def remove(self, follower: Delivery, reason: str = _NOBODY) -> None:
        with self.lock:
            follower.left = True
            self.followers = tuple(each for each in self.followers if each is not follower)
            abandoned = not self.followers and not self.waiting
        if abandoned:
            self.cancel(reason)
        else:
            self.scope.notify()  # the actor may wait for the one that left

    def cancel(self, reason: str) -> bool:
        cancelled = self.scope.cancel(CancelledError(reason))
        if self.slots is not None:
            self.slots.hurry(self)
        return cancelled

    def break_off(self, error: AnthropixError) -> None:
        """Be over without an actor's help, as it has no thread."""
        self.end(self.ended_by(self.scope.cause or error))

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
        sweep_scope(self.scope, self._timeout, self.deadline, now)
        for follower in self.followers:
            if not follower.is_alive():
                self.remove(follower)

    def forget(self) -> None:
        """Be over, in a forked child."""
        self.lock, self.over, self.told = threading.RLock(), threading.Event(), threading.Event()
        self.followers = ()
        cause = CancelledError(f"the process was forked; the {self.what} goes on in the parent")
        self.scope.forget(cause)
        self.terminal = self.terminal or self.ended_by(cause)
        self.over.set()
        pykka.ActorRegistry.unregister(self.ref)
        self.ref.actor_stopped.set()


def sweep_scope(scope: CancelScope, timeout: Timeout, deadline: float | None, now: float) -> None:
    """Cancel what has run out of time, and interrupt what stalls."""
    if deadline is not None and now >= deadline:
        scope.cancel(APITimeoutError(f"not done within {timeout.total} s (timeout.total)"))
    since = scope.idle_since
    if timeout.idle is not None and since is not None and now - since >= timeout.idle:
        scope.interrupt(StalledError(f"no progress but pings for {timeout.idle} s (timeout.idle)", retryable=True))
    asked = scope.asked_since
    if timeout.first_byte is not None and asked is not None and now - asked >= timeout.first_byte:
        scope.interrupt(no_answer(timeout))
