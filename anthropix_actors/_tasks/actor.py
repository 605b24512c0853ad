"""Base class of the actors behind chats, batches and sessions.

The whole task runs in one blocking `on_receive`, so its mailbox is not read meanwhile. Cancellation goes out of band,
through the scope and the task that actor and ref share.
"""

from __future__ import annotations

import itertools
import os
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pykka

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors.errors import AnthropixError, CancelledError

if TYPE_CHECKING:
    from anthropix_actors._tasks.task import Task


R = TypeVar("R", bound="Task")

_RUN = object()
_numbers = itertools.count()


class TaskActor(pykka.ThreadingActor, Generic[R]):
    """The actor that runs one task. Started by `Registry.start`; all others have its ref."""

    use_daemon_thread = True  # or work without an end would keep the process from exiting
    ref_class: type[TaskRef[Any]] = TaskRef

    def __init__(self, task: R) -> None:
        """Put the work first in the mailbox, before there is a ref to call: a `stop()` cannot overtake it."""
        super().__init__()
        self._task = task
        self._name = f"{type(self).__name__}-{next(_numbers)}" + (f" {task.tag}" if task.tag else "")
        self._ref = task.ref = self.ref_class(self, task)
        self._ref.tell(_RUN)

    def run(self) -> None:
        """Do the work, and finish the task; an exception finishes it as well. In the actor's thread."""
        raise NotImplementedError

    def on_error(self) -> None:
        """Do last work before an exception of `run` becomes the end; must not raise. In the actor's thread."""

    def _start_actor_loop(self) -> None:
        """Start the thread, or let the slots do so when it is the turn of the task."""
        self._task.enter(self._ref)
        slots = self._task.slots
        if slots is None:
            self._start_thread()
        else:
            slots.take(self._task, self._start_thread)
            if self._task.scope.cause is not None:  # before it waited
                slots.start_cancelled(self._task)

    def _start_thread(self) -> None:
        """Start the thread, and the time of the task.

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
        """The ref of our own class; so the registry has it too, and `stop_all()` cancels."""
        return self._ref

    def on_receive(self, message: Any) -> Any:
        """Do the work; no other message is expected. Never raises: pykka would stop every actor for a `SystemExit`."""
        if message is not _RUN:
            return super().on_receive(message)
        self._task.thread = threading.get_ident()
        try:
            self.run()
        except BaseException as exc:  # noqa: BLE001
            self.on_error()
            self._task.finish(self._task.terminal_for(exc))
        self.stop()
        return None

    def on_stop(self) -> None:
        """Send the terminal message if `stop()` came first."""
        task = self._task
        if task.terminal is None:  # else it would be made once more, with a copy of the whole answer
            task.settle(task.terminal_for(CancelledError("stopped")))
        task.announce()
        SWEEPER.unwatch(task)

    def on_failure(self, exception_type: object, exception_value: object, traceback: object) -> None:  # noqa: ARG002
        """Do the same when a foreign message, such as a proxy call, raised in the actor's thread."""
        self.on_stop()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    # pykka does not see to it: a child that was forked in the middle of its registry would wait for the lock for ever.
    _registry = pykka.ActorRegistry._actor_refs_lock  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    os.register_at_fork(before=_registry.acquire, after_in_parent=_registry.release, after_in_child=_registry.release)
