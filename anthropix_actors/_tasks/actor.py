"""Base class of the actors behind chats, batches and sessions.

The whole task runs in one blocking `on_receive`, so its mailbox is not read meanwhile. Cancellation goes out of band,
through the scope and the task that actor and ref share.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pykka

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._tasks.contained import ContainedActor
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors.errors import AnthropixError, CancelledError

if TYPE_CHECKING:
    from anthropix_actors._tasks.task import Task


R = TypeVar("R", bound="Task")

_RUN = object()
_numbers = itertools.count()


class TaskActor(ContainedActor, Generic[R]):
    """The actor that runs one task. Started by `Registry.start`; all others have its ref."""

    use_daemon_thread = True  # else an endless task would keep the process from exiting
    ref_class: type[TaskRef[Any]] = TaskRef

    def __init__(self, task: R) -> None:
        """Put the start message first in the mailbox, before there is a ref to call: a `stop()` cannot overtake it."""
        super().__init__()
        self._task = task
        self._name = f"{type(self).__name__}-{next(_numbers)}" + (f" {task.tag}" if task.tag else "")
        self._ref = task.ref = self.ref_class(self, task)
        pykka.ActorRef.tell(self._ref, _RUN)  # `tell` of our own refs takes no messages

    @staticmethod
    def _create_actor_inbox() -> Any:
        """Return a mailbox of a few bytes: pykka's has 3 KiB, for waits that are not needed here."""
        return queue.SimpleQueue()

    def run(self) -> None:
        """Run the task, and finish it; an exception finishes it as well. In the actor's thread."""
        raise NotImplementedError

    def on_error(self) -> None:
        """Called before an exception of `run` becomes the terminal message; must not raise. In the actor's thread."""

    def _start_actor_loop(self) -> None:
        """Start the thread, or let the slots do so when its turn comes."""
        self._task.enter(self._ref)
        slots = self._task.slots
        if slots is None:
            self._start_thread()
        else:
            slots.take(self._task, self._start_thread)
            if self._task.scope.cause is not None:  # before it waited
                slots.start_cancelled(self._task)

    def _start_thread(self) -> None:
        """Start the thread, and the clock of the task.

        Raises:
            AnthropixError: the system gives no thread, or the interpreter is ending.
        """
        task = self._task
        task.begin()
        SWEEPER.watch(task)
        thread = threading.Thread(target=self._actor_loop, name=self._name, daemon=self.use_daemon_thread)
        try:
            thread.start()
        except RuntimeError as exc:
            raise AnthropixError(f"no thread for another {task.what}: {exc}") from exc

    def name_thread(self, known_as: str | None) -> None:
        """Name the thread, for profilers and dumps of all threads. In the actor's thread."""
        if known_as:
            threading.current_thread().name = f"{self._name} {known_as}"

    def _actor_loop(self) -> None:
        if not self._task.claim.acquire(blocking=False):
            return
        try:
            super()._actor_loop()
        finally:
            self._task.thread = None  # its ident is going to be another thread's
            if self._task.slots is not None:
                self._task.slots.give_back(self._task)

    @property
    def actor_ref(self) -> Any:
        """The ref of our own class; as the registry has this one, `stop_all()` cancels the task."""
        return self._ref

    def on_receive(self, message: Any) -> Any:
        """Run the task; no other message is expected. Never raises: pykka would stop every actor for a `SystemExit`."""
        if message is not _RUN:
            return super().on_receive(message)
        self._task.thread = threading.get_ident()
        try:
            self.run()
        except BaseException as exc:  # noqa: BLE001
            self.on_error()
            self._task.finish(self._task.terminal_for(exc))
            if exc is self._task.scope.cause:
                exc.__traceback__ = None  # it is kept with the ref, and its frames have the subscribers
        self.stop()
        return None

    def on_stop(self) -> None:
        """Send the terminal message if `stop()` came first."""
        task = self._task
        if task.terminal is None:  # else a second one would be made, with a copy of the whole answer
            task.settle(task.terminal_for(CancelledError("stopped")))
        task.announce()
        SWEEPER.unwatch(task)

    def on_failure(self, exception_type: object, exception_value: object, traceback: object) -> None:  # noqa: ARG002
        """Do the same when a foreign message, such as a proxy call, raised in the actor's thread."""
        self.on_stop()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    # pykka does not do this: a child forked while a thread holds the lock of its registry would wait for it forever.
    _registry = pykka.ActorRegistry._actor_refs_lock  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    os.register_at_fork(before=_registry.acquire, after_in_parent=_registry.release, after_in_child=_registry.release)
