"""The ref of an actor that does a piece of work: what refs of chats, batches and session streams have in common."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pykka

from anthropix_actors._cancel.scope import deadline_of
from anthropix_actors._tasks.delivery import Delivery, is_to
from anthropix_actors._tasks.waits import wait, waiting_for
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from anthropix_actors._tasks.actor import TaskActor
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.task import Task


R = TypeVar("R", bound="Task")

_GRACE = 1.0
"""Seconds that `stop` waits for a thread that a subscriber's `tell` holds up, when all else is over."""


class TaskRef(pykka.ActorRef["TaskActor[Any]"], Generic[R]):
    """The ref of an actor that works with the API. All of it may be used from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) cancels the work first, so it never
    waits for the network. The ref stays useful after the actor has stopped.
    """

    def __init__(self, actor: TaskActor[R], task: R) -> None:
        """Refs come from a client's methods; there is no need to make one."""
        super().__init__(actor)
        self._task = task

    def __repr__(self) -> str:
        """Say what it is: kind, tag, state, age, request."""
        notes = [repr(self.tag)] if self.tag is not None else []
        notes += [self._task.state, f"{self.age:.1f} s", *([self.request_id] if self.request_id else [])]
        return f"<{type(self).__name__} {', '.join(notes)}>"

    __str__ = __repr__  # pykka's names the class of the actor, and an urn that nothing else shows

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the work, whatever it is doing: connecting, waiting for the API, a retry or a slow subscriber.

        Returns at once; the subscribers are told the terminal message within 50 ms. Only where the work's thread is
        held up outside of our reach, by the look-up of a host's name or by a `tell` that does not return, it takes up
        to 0.3 s, and is told by another thread.

        Args:
            reason: Why, for the terminal message and `CancelledError`.

        Returns:
            Whether this call did it; False when the work was over or cancelled before.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> chat.cancel("the user pressed Esc")
            True
        """
        return self._task.cancel(reason)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Cancel the work and stop its actor. As `pykka.ActorRef.stop`, but never waits for the network.

        Nor does it wait for itself, in a `tell` on the work's own thread, nor for a `tell` that does not return: then
        the work is over, and its thread ends when it can.
        """
        task = self._task
        task.cancel("stopped")
        stopped = super().stop(block=False)
        if not block:
            return stopped
        if threading.get_ident() == task.thread:
            return True  # it stops when it comes back from the `tell` that called this
        deadline = deadline_of(timeout)
        wait(task.finished, deadline)
        grace = _GRACE if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return stopped.get(timeout=grace)
        except pykka.Timeout:
            if deadline is not None:
                raise
            return True

    def unsubscribe(self, subscriber: Subscriber, reason: str = "unsubscribed") -> None:
        """Tell a subscriber nothing more, not even the end. When it was the last one, the work is cancelled.

        To hand a chat over, subscribe the new one first. One that does not follow is no error. What another thread is
        telling it at this very moment may still arrive.

        Args:
            subscriber: What was subscribed.
            reason: Why, should the work be cancelled.
        """
        for follower in self._task.followers:
            if follower is subscriber or is_to(follower, subscriber):
                self._task.detach(follower, reason)
        self._task.cancel_if_abandoned(reason)  # an interrupt may have come between these two before

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Have a function called with this ref when the work is over, at once if it is. As with a Future.

        It is called after the outcome is known, on the work's thread or, if it is over, on yours; what it raises is
        logged. It listens to nothing: work with callbacks alone, and nobody who follows or waits, is cancelled.

        Args:
            callback: Called once, with this ref.

        Raises:
            ParameterError: it cannot be called.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> ended = []
            >>> chat.add_done_callback(ended.append)
        """
        if not callable(callback):
            what = f"expected a function that takes this ref, got {type(callback).__name__}"
            raise ParameterError([Problem("callback", what)])
        self._task.tell_end_to(Delivery(_Callback(self, callback), self._task.scope))

    @property
    def tag(self) -> str | None:
        """The word that the caller gave it, to tell work apart, or None."""
        return self._task.tag

    @property
    def age(self) -> float:
        """Seconds since it was made; once it is over, how long it took."""
        return (self._task.ended or time.monotonic()) - self._task.made

    @property
    def request_id(self) -> str | None:
        """What the API calls the latest request, or None before it has answered. Name it when you ask for support."""
        return self._task.requester.request_id

    @property
    def attempts(self) -> int:
        """How many times the latest request has been sent so far."""
        return self._task.requester.attempts

    @property
    def response_headers(self) -> Mapping[str, str]:
        """The headers of the latest answer, names in lower case; empty before there is one."""
        return self._task.requester.headers

    def _wait(self, timeout: float | None) -> Any:
        """Wait for the terminal message. Work that somebody waits for goes on, also without subscribers.

        Raises:
            TimeoutError: there is none yet.
            DeadlockError: there never would be.
        """
        task = self._task
        deadline = deadline_of(timeout)
        with waiting_for(task):
            done = wait(task.finished, deadline)
        if not done:
            what = "it goes on" if task.is_wanted else "it is cancelled, as nobody listens any more"
            raise TimeoutError(f"the {task.what} has no result after {timeout} s; {what}")
        return task.terminal


class _Callback:
    """A done callback, as a subscriber that is told the end alone."""

    def __init__(self, ref: Any, callback: Callable[[Any], object]) -> None:
        self._ref = ref
        self._callback = callback

    def __repr__(self) -> str:
        return f"the done callback {self._callback!r}"

    def tell(self, message: Any, /) -> None:  # noqa: ARG002 - the ref says it all
        self._callback(self._ref)
