"""The base class of the refs of chats, batches and session streams."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pykka

from anthropix_actors._cancel.scope import as_reason, deadline_of
from anthropix_actors._tasks.delivery import Delivery, is_to
from anthropix_actors._tasks.untold import UntoldRef
from anthropix_actors._tasks.waits import refuse_deadlock, wait, waiting_for
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from anthropix_actors._tasks.actor import TaskActor
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.task import Task


R = TypeVar("R", bound="Task")

_GRACE = 1.0
"""Seconds that `stop` waits for a thread that is blocked in a subscriber's `tell`, after the task has finished."""


class TaskRef(UntoldRef["TaskActor[Any]"], Generic[R]):
    """The ref of an actor that runs one task with the API. All methods may be called from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) cancels the task first, so it never
    waits for the network. The ref stays useful after the actor has stopped.
    """

    def __init__(self, actor: TaskActor[R], task: R) -> None:
        """Refs are returned by a client's methods; do not make one yourself."""
        super().__init__(actor)
        self._task = task

    def __repr__(self) -> str:
        """Show kind, tag, state, age and request id."""
        notes = [repr(self.tag)] if self.tag is not None else []
        notes += [self._task.state, f"{self.age:.1f} s", *([self.request_id] if self.request_id else [])]
        return f"<{type(self).__name__} {', '.join(notes)}>"

    __str__ = __repr__  # pykka's shows the actor's class, and an urn that appears nowhere else

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the task in any phase: connecting, waiting for the API, for a retry or for a slow subscriber.

        Returns at once; the subscribers are sent the terminal message within 50 ms. If the task's thread is blocked in
        a call that cannot be interrupted (a DNS lookup, or a `tell` that does not return), it takes up to 0.3 s, and
        another thread sends the message. A subscriber handles what was sent to it before that, such as what is in an
        actor's mailbox; by then, `state` is "cancelled".

        Args:
            reason: The reason, for the terminal message and `CancelledError`. What is no string becomes one, such as
                the argument of a button's signal: a cancel never fails.

        Returns:
            Whether this call did it; False if the task had finished or was cancelled before.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> chat.cancel("the user pressed Esc")
            True
        """
        return self._task.cancel(as_reason(reason))

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Cancel the task and stop its actor. As `pykka.ActorRef.stop`, but never waits for the network.

        It does not wait for itself when called in a `tell` on the task's own thread, nor for a `tell` that does not
        return: the task has finished then, and its thread ends when it can.
        """
        task = self._task
        task.cancel("stopped")
        stopped = super().stop(block=False)
        if not block:
            return stopped
        if threading.get_ident() == task.thread:
            return True  # the thread stops when it returns from the `tell` that called this
        deadline = deadline_of(timeout)
        wait(task.finished, deadline)
        grace = _GRACE if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return stopped.get(timeout=grace)
        except pykka.Timeout:
            if deadline is not None:
                raise
            return True

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message of pykka's own to the actor, which answers when its task has ended. As `pykka.ActorRef.ask`.

        Raises:
            TypeError: it is another message, which nobody would read; the text says what to write instead.
            DeadlockError: the task would wait for this thread, as `result` says.
        """
        self._refuse("ask", message)
        if block:
            refuse_deadlock(self._task)
        return super().ask(message, block=block, timeout=timeout)

    def unsubscribe(self, subscriber: Subscriber, reason: str = "unsubscribed") -> None:
        """Detach a subscriber; it gets no terminal message. Detaching the last one cancels the task.

        To hand a chat over, attach the new subscriber first. An object that is not subscribed is ignored. A message
        that another thread is sending at this moment may still arrive, and what was sent before, such as what is in an
        actor's mailbox, is still handled.

        Args:
            subscriber: The subscriber.
            reason: The reason, if the task is cancelled.
        """
        audience = self._task.audience
        for delivery in audience.deliveries:
            if delivery is subscriber or is_to(delivery, subscriber):
                audience.detach(delivery, reason)
        audience.cancel_if_abandoned(reason)  # an interrupt may have come between these two before

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call a function with this ref when the task has finished; at once if it has. As with a Future.

        It is called after the outcome is known, on the task's thread or, if the task has finished, on yours; its
        exceptions are logged. It is not a subscriber: a task with callbacks only is cancelled, unless a thread waits.

        Args:
            callback: Called once, with this ref.

        Raises:
            ParameterError: `callback` cannot be called.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> ended = []
            >>> chat.add_done_callback(ended.append)
        """
        if not callable(callback):
            what = f"expected a function that takes this ref, got {type(callback).__name__}"
            raise ParameterError([Problem("callback", what)])
        self._task.audience.add_callback(Delivery(_Callback(self, callback), self._task.scope))

    @property
    def tag(self) -> str | None:
        """The tag that the caller gave it, to tell tasks apart, or None."""
        return self._task.tag

    @property
    def age(self) -> float:
        """Seconds since it was made; once it has finished, how long it took."""
        return (self._task.ended or time.monotonic()) - self._task.made

    @property
    def request_id(self) -> str | None:
        """The API's id of the latest request, or None before a response. Name it when you ask for support."""
        return self._task.requester.request_id

    @property
    def attempts(self) -> int:
        """How many times the latest request has been sent so far."""
        return self._task.requester.attempts

    @property
    def response_headers(self) -> Mapping[str, str]:
        """The headers of the latest response, names in lower case; empty before the first response."""
        return self._task.requester.headers

    def _wait(self, timeout: float | None) -> Any:
        """Wait for the terminal message, and return it. A task that a thread waits for goes on without subscribers.

        It returns when the subscribers have been told, too, so that one may be stopped after it; but does not wait for
        the `tell` of one that takes long.

        Raises:
            TimeoutError: it has not come within `timeout` seconds.
            DeadlockError: it would never come.
        """
        task = self._task
        deadline = deadline_of(timeout)
        with waiting_for(task):
            done = wait(task.finished, deadline)
            if done and task.thread != threading.get_ident():  # else it is in such a `tell`, or a callback
                told_until = time.monotonic() + task.patience
                wait(task.audience.delivered, told_until if deadline is None else min(deadline, told_until))
        if not done:
            what = "it is cancelled, as no subscriber is left" if task.audience.have_left else "it goes on"
            raise TimeoutError(f"the {task.what} has no result after {timeout} s; {what}")
        return task.terminal


class _Callback:
    """A done callback, as a subscriber that gets only the terminal message."""

    def __init__(self, ref: Any, callback: Callable[[Any], object]) -> None:
        self._ref = ref
        self._callback = callback

    def __repr__(self) -> str:
        return f"the done callback {self._callback!r}"

    def tell(self, message: Any, /) -> None:  # noqa: ARG002 - the ref has all of it
        self._callback(self._ref)
