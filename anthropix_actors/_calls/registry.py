"""The running tasks and blocking calls of one client."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from anthropix_actors._cancel.scope import slice_of
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors.errors import AnthropixError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anthropix_actors._calls.blocking import BlockingCall
    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._tasks.actor import TaskActor
    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.ref import TaskRef
    from anthropix_actors._tasks.task import Task

R = TypeVar("R", bound="Task")

Running: TypeAlias = "TaskRef[Any] | BlockingCall"


class Registry:
    """The running tasks and calls of one client. All methods may be called from any thread."""

    def __init__(self) -> None:
        """Start empty."""
        # Reentrant, as a signal handler may close the client while the thread it interrupts starts a chat.
        self._lock = threading.RLock()
        self._ended = threading.Condition(self._lock)
        self._running: dict[Running, None] = {}  # in the order in which they were started
        self._refusal: str | None = None  # why new ones are refused
        SWEEPER.fork_listeners.add(self)

    def start(
        self,
        actor: type[TaskActor[R]],
        task: R,
        subscribers: Sequence[Delivery] | None = (),
        *,
        cancel: CancelToken | None = None,
    ) -> Any:
        """Start the actor of a task, and return its ref.

        The ref is tracked before the thread starts, and after pykka has logged: no lock is held while it logs, and a
        client that is closed meanwhile refuses the task.

        Args:
            actor: The actor's class.
            task: The state that it shares with its ref.
            subscribers: The deliveries to its first subscribers; without any, the caller is about to wait for the
                result. None leaves its audience as it is.
            cancel: The caller's token.

        Raises:
            ConfigurationError: the client is closed, or draining.
            ParameterError: a subscriber is of another task alone.
            AnthropixError: the thread could not be started.
        """
        if cancel is not None:  # first: if the token was cancelled before, nothing is sent
            cancel.add(task)
        try:
            if subscribers is not None:
                task.audience.begin(subscribers)
            task.enter, task.leave = self.track, self.untrack
            actor.start(task)
            return task.ref  # noqa: TRY300 - an interrupt here is one of those below
        except AnthropixError as exc:  # the caller gets it; the ledger need not
            task.audience.forget(subscribers or ())
            task.ledger = None
            task.abort(exc)
            raise
        except BaseException:  # Ctrl-C: the ref is lost, and the thread may run or not
            task.cancel("interrupted while it started")
            task.abort(AnthropixError("interrupted while it started"))
            raise

    def begin(self, call: BlockingCall, cancel: CancelToken | None = None) -> None:
        """Track a call, and let the sweeper watch it, until `end`.

        Raises:
            ConfigurationError: the client is closed, or draining.
            AnthropixError: the sweeper's thread could not be started.
        """
        self.track(call)
        SWEEPER.watch(call)
        if cancel is not None:
            cancel.add(call)

    def end(self, call: BlockingCall) -> None:
        """Stop tracking a call. Calling it again does nothing."""
        SWEEPER.unwatch(call)
        call.requester.let_go()
        self.untrack(call)

    def track(self, started: Running) -> None:
        """Track a call, or the ref of a task, that begins.

        Raises:
            ConfigurationError: the client is closed, or draining.
        """
        with self._lock:
            self._running[started] = None
        try:
            self.check_open()  # last: a later `close` finds this call among the running ones
        except ConfigurationError:
            self.untrack(started)
            raise

    def check_open(self) -> None:
        """Refuse what is new once the client is closed, or draining.

        Raises:
            ConfigurationError: it is.
        """
        if self._refusal is not None:
            raise ConfigurationError(self._refusal)

    def untrack(self, started: Running) -> None:
        """Stop tracking a call, or the ref of a task, that has ended."""
        with self._lock:
            self._running.pop(started, None)
            self._ended.notify_all()

    def running(self) -> list[Running]:
        """Return the running calls, and the refs of the running tasks, in the order in which they were started."""
        with self._lock:
            return list(self._running)

    def drain(self, deadline: float | None) -> bool:
        """Refuse new calls, and wait for the running ones until the deadline; return whether all have ended."""
        with self._lock:
            self._refusal = self._refusal or "the client is being drained and takes no new calls; make another one"
            while self._running:
                if not (left := slice_of(deadline)):
                    return False
                self._ended.wait(left)
        return True

    def close(self) -> None:
        """Refuse new calls from now on. Those that run are not ended."""
        with self._lock:
            self._refusal = "the client is closed; make another one"

    def cancel_all(self, reason: str) -> None:
        """Cancel all running calls and tasks, without waiting for them."""
        for each in self.running():
            each.cancel(reason)

    def after_fork(self) -> None:
        """Replace the lock in a forked child: a thread of the parent may have held it."""
        self._lock = threading.RLock()
        self._ended = threading.Condition(self._lock)
        self._running = {}
