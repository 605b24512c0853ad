"""A queue as a subscriber. One that is full makes the chat wait, and `tell` never waits itself."""

from __future__ import annotations

import collections
import inspect
import logging
import threading
import weakref
from queue import Full
from typing import TYPE_CHECKING, Any, Protocol

from anthropix_actors._cancel.scope import SLICE
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._checks.subscriber_hints import no_queue
from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._foreign.threads import IDLE, in_background
from anthropix_actors._tasks.delivery import FAILED
from anthropix_actors._tasks.subscriber import OwnSubscriber
from anthropix_actors._tasks.window import Window
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.messages import Subscriber


class Queue(Protocol):
    """A queue of the standard library, or one that is like it."""

    def put(self, item: Any, block: bool = ..., timeout: float | None = ..., /) -> object:  # noqa: FBT001 - as it is
        """Put a message; wait for room, and raise `queue.Full` when `timeout` seconds have passed."""

    def put_nowait(self, item: Any, /) -> object:
        """Put a message, or raise `queue.Full`."""


def to_queue(queue: Queue) -> Subscriber:
    """Return a subscriber that puts each message into a queue, in order, for any thread to take.

    A full queue makes the chat wait, and so the server: nothing is dropped, and a cancel is not held up. At most one
    message of each chat waits beside the queue, and its last message, which needs no room. A queue without a bound
    makes no chat wait, and may grow as long as the answer does.

    The reader has left when the queue is shut down (`Queue.shutdown` of Python 3.13), or raises anything else: the
    subscriber is told nothing more, which is logged, and chats that no other follows are cancelled. A reader that just
    stops reading is waited for; cancel the chat, or set its `timeout.total`.

    Args:
        queue: A `queue.Queue`, `LifoQueue` or `SimpleQueue`, or one with the same `put` and `put_nowait`. Several chats
            may use one, and several readers. A queue of multiprocessing cannot be used, as messages name their chat,
            which lives in this process only.

    Raises:
        ParameterError: `queue` is none, or cannot take messages; the error says what to do instead.

    Example:
        >>> import queue
        >>> inbox = queue.Queue(maxsize=256)
        >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=to_queue(inbox))
        >>> inbox.get(timeout=60).data["type"]
        'message_start'
    """
    if (what := no_queue(queue)) is not None:
        raise ParameterError([Problem("queue", f"expected a queue, such as queue.Queue(), got {what}")])
    return _QueueSubscriber(queue)


class _QueueSubscriber(OwnSubscriber):
    """Puts messages into a queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._overflow = _Overflow(queue)
        self.window = self._overflow.window

    def __repr__(self) -> str:
        return f"to_queue({shown(self._queue)})"

    def tell(self, message: Any, /) -> None:
        overflow = self._overflow
        if overflow.messages:
            overflow.add(message)  # behind those of its chat
            return
        if overflow.failed:  # looked at after its messages, which are dropped then
            return  # it is about to be removed
        try:
            self._queue.put_nowait(message)
        except Full:
            overflow.add(message)
        except BaseException:
            overflow.failed = True
            raise

    def is_alive(self) -> bool:
        return not (self._overflow.failed or getattr(self._queue, "is_shutdown", False))

    def hears_no_more(self) -> bool:
        return self._overflow.failed or inspect.getattr_static(self._queue, "is_shutdown", None) is True


class _Overflow:
    """What did not fit into a queue, and the thread that puts it there.

    The queue is held weakly: once the chat is over and nobody else has the queue, nobody can read it, and the thread
    ends. A message is taken off when it is in the queue, not before: the next of its chat must not overtake it.

    Attributes:
        messages: What did not fit, in order.
        window: Full while there are any.
        failed: Whether the queue raised something: there will be no more messages.
    """

    def __init__(self, queue: Queue) -> None:
        self.messages = messages = collections.deque[Any]()
        self.window = Window(lambda _: bool(messages))
        self.failed = False
        self._queue = _weakly(queue)
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._running = False
        SWEEPER.fork_listeners.add(self)

    def add(self, message: Any) -> None:
        """Add a message; it is put by the thread, which is started if there is none."""
        self.messages.append(message)
        self._arrived.set()
        with self._lock:
            running, self._running = self._running, True
        if not running and not in_background(self._run, "anthropix-queue"):
            self._run()

    def after_fork(self) -> None:
        """Start afresh in a forked child: the thread, and what it had to put, are the parent's."""
        self.messages.clear()
        self._lock, self._arrived = threading.Lock(), threading.Event()
        self._running = False

    def _run(self) -> None:
        while self._is_needed():
            while self.messages:
                self._put_first()

    def _is_needed(self) -> bool:
        """Wait for a message for a while: the next one is mostly near, and a thread takes time to start."""
        self._arrived.wait(IDLE)
        with self._lock:
            self._running = bool(self.messages)
        return self._running

    def _put_first(self) -> None:
        """Put the first message, and take it off; or wait for a while."""
        self._arrived.clear()
        queue = self._queue()
        if queue is None or self.failed:
            self.messages.clear()
            return
        try:
            queue.put(self.messages[0], True, SLICE)  # noqa: FBT003 - by position, as some have other names
        except Full:
            return
        except BaseException as exc:  # noqa: BLE001 - the queue may be any object
            self.failed = True
            self.messages.clear()
            log(logging.ERROR, FAILED, f"to_queue({shown(queue)})", exc_info=exc)
        else:
            self.messages.popleft()
        self.window.moved()


def _weakly(queue: Queue) -> Callable[[], Queue | None]:
    try:
        return weakref.ref(queue)
    except TypeError:
        return lambda: queue


publish("anthropix_actors.subscribers", (to_queue,))
