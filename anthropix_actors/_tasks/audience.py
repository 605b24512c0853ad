"""The audience of a task: its subscribers, its done callbacks, and the callers that wait for its result.

A task without subscribers and waiting callers is cancelled: by the thread in which the last of them leaves, or by the
sweeper, which also finds the subscribers that have died.

The task's lock guards both the audience and the terminal message: so each member gets that message exactly once,
whether it joins before the end or after it. No foreign code runs while the lock is held.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors._foreign.locks import is_held
from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.threads import ASKER
from anthropix_actors._tasks.delivery import DEAD, Gone, is_to
from anthropix_actors._tasks.flag import Flag
from anthropix_actors._tasks.of_one import one_of
from anthropix_actors._tasks.subscriber import handled_in

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Container, Iterable, Sequence

    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.task import Task

_ABANDONED = "no subscriber is left"


class Audience:
    """The audience of one task. Methods may be called in any thread, unless they say otherwise.

    Attributes:
        deliveries: The deliveries to the subscribers; empty once the end was delivered to all.
        callbacks: The deliveries to done callbacks, which get only the terminal message; emptied likewise.
        waiting: A token of each caller that waits for the result.
        delivered: Set when the end was delivered to all.
        heard: Whether no more need be said of a failure: a caller waited for the result, or it was logged. See
            `note_unheard`.
    """

    def __init__(self, task: Task) -> None:
        """Start empty."""
        self._task = task
        self.deliveries: tuple[Delivery, ...] = ()
        self.callbacks: tuple[Delivery, ...] = ()
        self.waiting: set[object] = set()
        self.delivered = Flag(self._task.scope.condition)
        self.heard = False

    @property
    def all_deliveries(self) -> tuple[Delivery, ...]:
        """The deliveries to subscribers and callbacks: all that get the end."""
        return (*self.deliveries, *self.callbacks)

    def include_one_of(self, actors: Container[str]) -> bool:
        """Return whether one of these actors, by their urns, is a subscriber."""
        refs = (each.subscriber for each in self.deliveries if isinstance(each.subscriber, pykka.ActorRef))
        return any(ref.actor_urn in actors for ref in refs)

    def are_handled_in(self, thread: int) -> bool:
        """Return whether a subscriber has this thread handle its messages, by the `handled_in` that it may have."""
        return any(handled_in(each.subscriber) == thread for each in self.deliveries)

    def includes(self, subscriber: object) -> bool:
        """Return whether this is a subscriber, or will be told the end: to tell it twice would double each message."""
        return any(is_to(each, subscriber) and not each.detached for each in self.deliveries)

    # Joining and leaving

    def begin(self, deliveries: Sequence[Delivery]) -> None:
        """Begin with these subscribers; without any, somebody is about to wait for the result.

        Raises:
            ParameterError: one of them is of another task alone.
        """
        for delivery in deliveries:
            self._take(delivery)
        self.deliveries = tuple(deliveries)
        self.waiting = set() if deliveries else {self._task}

    def forget(self, deliveries: Iterable[Delivery]) -> None:
        """Have no subscribers, as the task did not start: those may follow another."""
        self.deliveries = ()
        for delivery in deliveries:
            if (subscriber := one_of(delivery.subscriber)) is not None:
                subscriber.give_back(self._task)

    def _take(self, delivery: Delivery) -> None:
        if (subscriber := one_of(delivery.subscriber)) is not None:
            subscriber.take_for(self._task)

    def attach(self, delivery: Delivery) -> None:
        """Add a subscriber; if the task has ended, only queue the end in its delivery. The caller must call `drain`.

        Raises:
            ParameterError: it is of another task alone.
        """
        self._take(delivery)
        with self._task.lock:
            if self._task.terminal is None:
                self.deliveries = (*self.deliveries, delivery)
            else:
                delivery.close(*self._task.last)
        self._task.scope.notify()  # the task may wait for one that is not alone any more

    def detach(self, delivery: Delivery, reason: str = _ABANDONED) -> None:
        """Remove a subscriber, which gets no more messages; cancel the task if it was the last."""
        with self._task.lock:
            delivery.detach()
            self.deliveries = tuple(each for each in self.deliveries if each is not delivery)
        self.cancel_if_abandoned(reason)

    def add_callback(self, callback: Delivery) -> None:
        """Add a callback, which gets only the terminal message; at once if the task has ended."""
        with self._task.lock:
            if self._task.terminal is not None:
                callback.close(self._task.terminal)
            else:
                self.callbacks = (*self.callbacks, callback)
        self.drain(callback)

    def remove_callback(self, callback: Delivery | None) -> None:
        """Remove a callback."""
        with self._task.lock:
            self.callbacks = tuple(each for each in self.callbacks if each is not callback)

    @property
    def have_left(self) -> bool:
        """Whether all have left before the end: there are neither subscribers nor callers that wait."""
        return not self.deliveries and not self.waiting and self._task.terminal is None

    def cancel_if_abandoned(self, reason: str = _ABANDONED) -> None:
        """Cancel the task if all have left."""
        with self._task.lock:
            abandoned = self.have_left
        if abandoned:
            self._task.cancel(reason)

    def sweep(self) -> None:
        """Remove the subscribers that have died; cancel the task if it is abandoned. In the sweeper's thread."""
        for delivery in self.deliveries:
            if delivery.detached:  # another thread than the task's found out that it takes no more
                self.detach(delivery)
            elif not delivery.is_alive():
                ASKER.ask(partial(self._log_death, delivery.subscriber))
                self.detach(delivery)
        self.cancel_if_abandoned()  # again, where an interrupt kept `detach` from doing so

    def _log_death(self, subscriber: object) -> None:
        log(logging.WARNING, DEAD, shown(subscriber), **self._task.fields())

    # Deliveries

    def tell(self, message: Any, deliveries: Sequence[Delivery] | None = None) -> None:
        """Send a message to the subscribers, or those of `deliveries`. In the task's thread. As `tell_all`."""
        self.tell_all((message,), deliveries)

    def tell_all(self, messages: Iterable[Any], deliveries: Sequence[Delivery] | None = None) -> None:
        """Send messages to the subscribers, or those of `deliveries`; wait for a slow one. In the task's thread.

        Where a task can keep messages, several subscribers do not wait for each other, but the task for one of them.

        Raises:
            AnthropixError: the task was cancelled while it waited.
        """
        deliveries = self.deliveries if deliveries is None else deliveries
        for delivery in deliveries:
            try:
                delivery.offer_all(messages, self._keep)
            except Gone:
                self.detach(delivery)
        if len(deliveries) > 1 and self._task.keep is not None:
            self._wait_for_one(deliveries)

    def _keep(self) -> Callable[[], deque[Any]] | None:
        """Return what makes a queue for a subscriber that has no room; None for one that is waited for."""
        return self._task.keep if len(self.deliveries) > 1 else None

    def _wait_for_one(self, deliveries: Sequence[Delivery]) -> None:
        """Wait while all subscribers are behind; what waits for them is bounded by what the fastest has been told."""
        there = [each for each in deliveries if not each.detached]
        if there and all(each.is_behind for each in there):
            self._task.scope.wait(lambda: not all(each.is_behind for each in there))

    def close(self, *last: Any) -> None:
        """Queue the last messages in each delivery; for callbacks, only the terminal one. The caller holds the lock."""
        assert is_held(self._task.lock)
        self.heard = bool(self.waiting)
        for delivery in self.deliveries:
            delivery.close(*last)
        for callback in self.callbacks:
            callback.close(last[-1])

    def drain(self, delivery: Delivery) -> None:
        """Send the messages that wait in a delivery."""
        try:
            delivery.drain()
        except Gone:
            self.detach(delivery)
        if self._task.finished.is_set():
            self.note_told()

    def held_up(self, late: float) -> list[Delivery]:  # noqa: ARG002 - for those that wait a little
        """Return the deliveries with messages that no thread is sending, of a task that is `late` seconds late."""
        return [each for each in self.all_deliveries if each.is_held_up]

    def note_told(self) -> None:
        """Set `delivered` if the end was delivered to all."""
        with self._task.lock:  # else an end that is being settled, and is with no delivery yet, would be lost
            if not self.delivered.is_set() and all(delivery.is_told for delivery in self.all_deliveries):
                self.deliveries = self.callbacks = ()
                self.delivered.set()

    def note_unheard(self) -> bool:
        """Note that a subscriber has nothing to hear of the failure with; return whether to log it.

        It is logged once, and not at all where a caller waited for the result when it came: that raises it there.
        """
        with self._task.lock:
            heard, self.heard = self.heard, True
        return not heard

    def after_fork(self) -> None:
        """Forget the subscribers in a forked child: the parent delivers to them."""
        self.deliveries = self.callbacks = ()
        self.delivered = Flag(self._task.scope.condition)
