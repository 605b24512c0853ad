"""The actor that does a piece of work, and its ref: what chats, batches and session streams have in common.

The actor does all of it in one blocking `on_receive`. So nothing reaches it through its mailbox while it works; what
must reach it goes out of band, through the scope and the record that it shares with its ref.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pykka

from anthropix_actors._watch import SWEEPER
from anthropix_actors.errors import AnthropixError, CancelledError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anthropix_actors._delivery import Delivery
    from anthropix_actors._record import Record
    from anthropix_actors.messages import Subscriber

R = TypeVar("R", bound="Record")

_RUN = object()


class TaskRef(pykka.ActorRef["TaskActor[Any]"], Generic[R]):
    """The ref of an actor that works with the API. All of it may be used from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) cancels the work first, so it never
    waits for the network. The ref stays useful after the actor has stopped.
    """

    def __init__(self, actor: TaskActor[R], record: R) -> None:
        """Refs come from a client's methods; there is no need to make one."""
        super().__init__(actor)
        self._record = record

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the work, whatever it is doing: connecting, waiting for the API, a retry or a slow subscriber.

        Returns at once; the subscribers are told the terminal message within 50 ms. Only the look-up of a host's name
        cannot be cut short.

        Args:
            reason: Why, for the terminal message and `CancelledError`.

        Returns:
            Whether this call did it; False when the work was over or cancelled before.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber)
            >>> chat.cancel("the user pressed Esc")
            True
        """
        return self._record.cancel(reason)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Cancel the work and stop its actor. As `pykka.ActorRef.stop`, but never waits for the network."""
        self._record.cancel("stopped")
        return super().stop(block=block, timeout=timeout)

    def unsubscribe(self, subscriber: Subscriber, reason: str = "unsubscribed") -> None:
        """Tell a subscriber nothing more, not even the end. When it was the last one, the work is cancelled.

        To hand a chat over, subscribe the new one first. One that does not follow is no error.

        Args:
            subscriber: What was subscribed.
            reason: Why, should the work be cancelled.
        """
        for follower in self._record.followers:
            if follower is subscriber or follower.subscriber == subscriber:
                self._record.remove(follower, reason)

    @property
    def tag(self) -> str | None:
        """The word that the caller gave it, to tell work apart, or None."""
        return self._record.tag

    @property
    def request_id(self) -> str | None:
        """What the API calls the latest request, or None before it has answered. Name it when you ask for support."""
        return self._record.exchange.request_id

    @property
    def attempts(self) -> int:
        """How many times the latest request has been sent so far."""
        return self._record.exchange.attempts

    @property
    def response_headers(self) -> Mapping[str, str]:
        """The headers of the latest answer, names in lower case; empty before there is one."""
        return self._record.exchange.headers

    def _wait(self, timeout: float | None) -> Any:
        """Wait for the terminal message. Work that somebody waits for goes on, also without subscribers.

        Raises:
            TimeoutError: there is none yet.
        """
        record = self._record
        with record.lock:
            record.waiting += 1
        try:
            if not record.over.wait(timeout):
                raise TimeoutError(f"the {record.what} has no result after {timeout} s; it goes on")
        finally:
            with record.lock:
                record.waiting -= 1
        return record.terminal


class TaskActor(pykka.ThreadingActor, Generic[R]):
    """The actor that does one piece of work. Started by `start_actor`; everyone else has its ref."""

    use_daemon_thread = True  # or work without an end would keep the process from exiting
    ref_class: type[TaskRef[Any]] = TaskRef

    def __init__(self, record: R) -> None:
        """Put the work first in the mailbox, before anybody has the ref: a `stop()` cannot overtake it."""
        super().__init__()
        self._record = record
        self._claim = threading.Lock()  # of the one thread that runs the loop
        self._ref = record.ref = self.ref_class(self, record)
        self._ref.tell(_RUN)

    def run(self) -> None:
        """Do the work, and end the record. What it raises ends the record, too."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Do what is left to do before an exception of `run` becomes the end; must not raise."""

    def _start_actor_loop(self) -> None:
        """Start the thread; or leave that to the slots, when it is the work's turn."""
        slots = self._record.slots
        if slots is None:
            self._begin()
        else:
            slots.take(self._record, self._begin)
            if self._record.scope.cause is not None:  # before it waited
                slots.hurry(self._record)

    def _begin(self) -> None:
        record = self._record
        try:
            record.begin()
            SWEEPER.watch(record)
            super()._start_actor_loop()
        except RuntimeError as exc:
            SWEEPER.unwatch(record)
            pykka.ActorRegistry.unregister(self._ref)  # pykka has registered an actor that will never run
            self.actor_stopped.set()
            raise AnthropixError(f"no thread for another {record.what}: {exc}") from exc
        except BaseException:  # Ctrl-C: nobody gets the ref, and nobody knows whether there is a thread by now
            # If there is, `_claim` says which of the two runs: the chat has to end, and to tell so, in either case.
            record.cancel("interrupted while it started")
            super()._start_actor_loop()
            raise

    def _actor_loop(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            super()._actor_loop()
        finally:
            if self._record.slots is not None:
                self._record.slots.give_back()

    @property
    def actor_ref(self) -> Any:
        """The ref of our own class; so the registry has it too, and `stop_all()` cancels."""
        return self._ref

    def on_receive(self, message: Any) -> Any:
        """Do the work; nothing else is expected. Never raises: pykka would stop every actor for a `SystemExit`."""
        if message is not _RUN:
            return super().on_receive(message)
        try:
            self.run()
        except BaseException as exc:  # noqa: BLE001
            self.give_up()
            self._record.end(self._record.ended_by(exc))
        self.stop()
        return None

    def on_stop(self) -> None:
        """Say the end if it was not said: `stop()` came first."""
        self._record.end(self._record.ended_by(CancelledError("stopped")))
        SWEEPER.unwatch(self._record)

    def on_failure(self, exception_type: object, exception_value: object, traceback: object) -> None:  # noqa: ARG002
        """Do the same when a message of somebody else's raised in the actor's thread: a call through a proxy."""
        self.on_stop()


def start_actor(
    actor: type[TaskActor[R]], record: R, followers: Iterable[Delivery], *args: Any, waited_for: bool = False
) -> Any:
    """Start the actor for a piece of work, and get its ref.

    Args:
        actor: The actor's class.
        record: What it shares with its ref.
        followers: Who follows it from the start.
        args: What else the class takes.
        waited_for: Whether the caller is going to wait for the result.

    Raises:
        AnthropixError: the system gives no more threads.
    """
    record.followers = tuple(followers)
    record.waiting = int(waited_for)
    actor.start(record, *args)
    return record.ref
