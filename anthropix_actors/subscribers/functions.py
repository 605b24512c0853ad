"""A function as a subscriber: called on the chat's thread, or through an executor, one message at a time."""

from __future__ import annotations

import collections
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._checks.subscriber_hints import no_function
from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.delivery import FAILED
from anthropix_actors._tasks.subscriber import OwnSubscriber
from anthropix_actors._tasks.window import CountedWindow
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from anthropix_actors.messages import Subscriber


def to_function(function: Callable[[Any], object], executor: Executor | None = None) -> Subscriber:
    """Return a subscriber that calls a function with each message.

    Without an executor, it is called on the chat's own thread, which reads nothing meanwhile: so let it return soon. If
    several chats use one subscriber, their threads may call it at the same time. With an executor, it is called there
    one message at a time, in order, whatever the number of its threads; when it is a window behind (256 messages,
    `Client(window=...)`), its chats wait. `result()` of one of them, which would wait for itself there, raises a
    `DeadlockError` at once.

    A function that raises anything is told nothing more, which is logged; nor is one whose executor was shut down.
    Chats that no other follows are then cancelled.

    Args:
        function: Takes one message; what it returns is ignored.
        executor: Such as a `ThreadPoolExecutor`. It stays yours: shut it down after the chats.

    Raises:
        ParameterError: `function` cannot be called, or is an `async def`, or `executor` is no executor of threads; the
            error says what to do instead.

    Example:
        >>> told = []
        >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=to_function(told.append))
        >>> chat.result(timeout=60)["stop_reason"]
        'end_turn'
        >>> told[0].data["type"]
        'message_start'
    """
    problems = []
    if (what := no_function(function)) is not None:
        problems.append(Problem("function", f"expected a function that takes a message, got {what}"))
    if executor is not None and (what := _no_executor(executor)) is not None:
        problems.append(
            Problem("executor", f"expected an executor of threads, such as ThreadPoolExecutor(), got {what}")
        )
    if problems:
        raise ParameterError(problems)
    return _FunctionSubscriber(function) if executor is None else _ExecutorSubscriber(function, executor)


def _no_executor(given: Any) -> str | None:
    if isinstance(given, type):
        return f"the class {given.__name__}; pass an object of it: {given.__name__}()"
    if any(kind.__name__ == "ProcessPoolExecutor" for kind in type(given).__mro__):
        return f"{type(given).__name__}: messages name their chat, and cannot go to another process"
    return None if callable(getattr(given, "submit", None)) else type(given).__name__


class _FunctionSubscriber(OwnSubscriber):
    """Calls a function on the thread that tells."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function = function
        self._failed = False

    def __repr__(self) -> str:
        return f"to_function({shown(self._function)})"

    def tell(self, message: Any, /) -> None:
        if self._failed:
            return  # in another chat, from which it is about to be removed
        try:
            self._function(message)
        except BaseException:
            self._failed = True
            raise

    def is_alive(self) -> bool:
        return not self._failed

    def hears_no_more(self) -> bool:
        return self._failed


class _ExecutorSubscriber(_FunctionSubscriber):
    """Calls a function in an executor. What it was told stays in `_messages` until it has been handled.

    At most one call of `_run` is with the executor: whoever sets `_submitted` submits it. The next one is submitted
    when it has ended, so that others of the executor get their turn, too.

    Attributes:
        window: How far it may be behind.
        handled_in: The ident of the executor's thread, while the function runs. `result()` is refused there.
    """

    def __init__(self, function: Callable[[Any], object], executor: Executor) -> None:
        super().__init__(function)
        self._executor = executor
        self._messages = messages = collections.deque[Any]()
        self.window = CountedWindow(partial(len, messages))
        self._lock = threading.Lock()
        self._submitted = False
        self.handled_in: int | None = None
        SWEEPER.fork_listeners.add(self)

    def after_fork(self) -> None:
        """Start afresh in a forked child: what the executor had to handle is the parent's."""
        self._messages.clear()
        self._lock, self._submitted = threading.Lock(), False
        self.handled_in = None

    def tell(self, message: Any, /) -> None:
        if self._failed:
            return
        self._messages.append(message)
        try:
            self._go_on()
        except BaseException:
            self._give_up()
            raise

    def _go_on(self) -> None:
        """Have the messages handled, unless one is with the executor: then that goes on."""
        with self._lock:
            submitted, self._submitted = self._submitted, True
        if not submitted:
            self._executor.submit(self._run).add_done_callback(self._ended)

    def _run(self) -> None:
        self.handled_in = threading.get_ident()
        try:
            for _ in range(len(self._messages)):  # not those that come meanwhile
                super().tell(self._messages[0])
                self._messages.popleft()
                self.window.moved()
        finally:
            self.handled_in = None

    def _ended(self, run: Future[None]) -> None:
        """Go on if messages are left. On a thread of the executor, or on the one that cancels what waits for it."""
        try:
            run.result()
            self._go_on_or_finish()
        except BaseException as exc:  # noqa: BLE001 - the function's, or the run was cancelled
            self._give_up()
            log(logging.ERROR, FAILED, self, exc_info=exc)

    def _go_on_or_finish(self) -> None:
        self._submitted = False
        if self._messages:
            try:
                self._go_on()
            except RuntimeError:  # the executor was shut down: what was told before that is handled all the same
                while self._messages:
                    self._run()
                self._give_up()

    def _give_up(self) -> None:
        self._failed = True
        self._messages.clear()
        self.window.moved()


publish("anthropix_actors.subscribers", (to_function,))
