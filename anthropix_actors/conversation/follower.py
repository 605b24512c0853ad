"""Those who follow a turn: each gets the events of its chats, and the turn's own messages, one message at a time."""

from __future__ import annotations

import collections
import inspect
import queue
import threading
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors._cancel.scope import SLICE
from anthropix_actors._tasks.delivery import Delivery
from anthropix_actors._tasks.mailbox import Mailbox, delivery_to
from anthropix_actors._tasks.window import CountedWindow, Window
from anthropix_actors.chat.coalescing import CoalescingMailbox
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.subscriber import Subscriber


class Follower:
    """A subscriber of a turn, and how it is told.

    The turn and each of its chats have a delivery of their own to it, in threads of their own. An actor's mailbox takes
    messages from several threads, and so does a subscriber with a window. Any other object gets one at a time.

    Attributes:
        subscriber: The subscriber.
        own: The turn's delivery.
    """

    def __init__(self, subscriber: Subscriber, scope: CancelScope, *, window: int, coalesce: bool = False) -> None:
        """Follow in the scope of the turn."""
        self.subscriber = subscriber
        self._window = window
        self._coalesce = coalesce
        is_actor = isinstance(subscriber, pykka.ActorRef)
        has_window = isinstance(inspect.getattr_static(subscriber, "window", None), Window)
        self._told: Any = subscriber if is_actor or has_window else OneAtATime(subscriber)
        self.own = self.delivery(scope)

    def delivery(self, scope: CancelScope) -> Delivery:
        """Return another delivery to it, in the scope of a chat."""
        to_actor = CoalescingMailbox if self._coalesce else Mailbox
        return delivery_to(self._told, scope, window=self._window, to_actor=to_actor)

    def is_of(self, subscriber: object) -> bool:
        """Return whether it is this subscriber."""
        return is_same(self.subscriber, subscriber)

    @property
    def may_block(self) -> bool:
        """Whether telling it may take any time."""
        return type(self.own) is Delivery


def is_same(known: object, subscriber: object) -> bool:
    """Return whether two subscribers are one: the same object, or the same actor."""
    if isinstance(known, pykka.ActorRef) and isinstance(subscriber, pykka.ActorRef):
        return known.actor_urn == subscriber.actor_urn
    return known is subscriber


def of_one_problems(subscriber: object, place: str) -> list[Problem]:
    """Return the problem of a subscriber that ends with the first turn: it would hear nothing of the next."""
    if inspect.getattr_static(subscriber, "of_one", None) is True:
        what = "expected a subscriber of all turns, got aio(), which follows one: loop over aio(talk.say(...))"
        return [Problem(place, what)]
    return []


class OneAtATime:
    """Passes messages on to an object whose `tell` may not be called by two threads at once."""

    def __init__(self, subscriber: Subscriber) -> None:
        """Hold the object."""
        self._subscriber = subscriber
        # Reentrant: a `tell` may have us tell something else. It is held while the subscriber's code runs, and only by
        # threads that do nothing but tell this one.
        self._lock = threading.RLock()
        self.handled_in = inspect.getattr_static(subscriber, "handled_in", None)

    def __repr__(self) -> str:
        """Show the object."""
        return repr(self._subscriber)

    def tell(self, message: Any, /) -> None:
        """Pass a message on, after the one before it."""
        with self._lock:
            self._subscriber.tell(message)

    def is_alive(self) -> bool:
        """Return whether the object says that it is alive, if it says anything."""
        is_alive: Any = getattr(self._subscriber, "is_alive", None)
        return is_alive is None or bool(is_alive())


class MessageQueue:
    """A subscriber that a loop takes messages from. While it is full, the chat waits.

    Attributes:
        window: How far the loop may be behind.

    Example:
        >>> messages = MessageQueue(256)
        >>> messages.tell("hello")
        >>> messages.get()
        'hello'
    """

    def __init__(self, size: int) -> None:
        """Hold at most `size` messages."""
        self._messages: collections.deque[Any] = collections.deque()
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._size = size
        self._closed = False
        self.window = CountedWindow(self._held)

    def tell(self, message: Any, /) -> None:
        """Take one message. Any thread; never waits."""
        self._messages.append(message)
        self._news.put(None)

    def get(self) -> Any:
        """Return the next message; wait for it. In the loop's thread."""
        while True:
            try:
                self._news.get(timeout=SLICE)
            except queue.Empty:
                continue
            message = self._messages.popleft()
            self.window.moved()
            return message

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        self.window.moved()

    def is_alive(self) -> bool:
        """Return whether the loop goes on."""
        return not self._closed

    def _held(self) -> int:
        return 0 if self._closed else len(self._messages)
