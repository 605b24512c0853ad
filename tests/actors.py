"""Subscribers for the tests; and at the end the private attributes that tests read, each with the reason."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed, Stream
from anthropix_actors._calls.registry import Registry
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._tasks.actor import TaskActor

from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import CancelToken, Client, Governor, Timeout
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._cancel.sweeper import Sweeper
    from anthropix_actors._foreign.threads import Asker
    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.ledger_sums import Books
    from anthropix_actors._tasks.ref import TaskRef
    from anthropix_actors.chat.event_queue import EventQueue

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
ASK: dict[str, Any] = {"model": "claude-test", "messages": HELLO}
TERMINAL = (ChatDone, ChatFailed, ChatCancelled)


class Inbox:
    """A subscriber that is no actor: keeps everything, in order."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.messages: list[Any] = []

    def tell(self, message: Any, /) -> None:
        self.queue.put(message)

    def next(self) -> Any:
        message = self.queue.get(timeout=DEADLINE)
        self.messages.append(message)
        return message

    def until_end(self, ends: tuple[type[Any], ...] = TERMINAL) -> list[Any]:
        """Get all messages up to the terminal one, which is the last there is."""
        while not isinstance(self.next(), ends):
            pass
        assert self.queue.empty()
        return self.messages

    def until(self, kind: type[Any]) -> Any:
        while not isinstance(message := self.next(), kind):
            pass
        return message


class Blocking(Inbox):
    """A subscriber whose `tell` does not return before the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.let = threading.Event()

    def tell(self, message: Any, /) -> None:
        self.began.set()
        assert self.let.wait(2 * DEADLINE), "the test did not let it return"  # later than any wait of the test's
        super().tell(message)


class Mortal(Inbox):
    """A subscriber that says whether it is alive."""

    alive = True

    def is_alive(self) -> bool:
        return self.alive


class Reader(pykka.ThreadingActor):
    """A subscribing actor that does something with each message, or is held up in its handler by a test's gate."""

    use_daemon_thread = True

    def __init__(
        self,
        inbox: Inbox,
        on_message: Callable[[Any], None] | None = None,
        *,
        gate: threading.Event | None = None,
        began: threading.Event | None = None,
    ) -> None:
        """Handle nothing before `gate` is set, if there is one; set `began` with the first message."""
        super().__init__()
        self.inbox = inbox
        self.on_message = on_message
        self.gate = gate
        self.began = began or threading.Event()

    def on_receive(self, message: Any) -> None:
        self.began.set()
        if self.gate is not None:
            wait(self.gate)
        self.inbox.tell(message)
        if self.on_message is not None:
            self.on_message(message)


def text_of(messages: list[Any]) -> str:
    """Get the text that a subscriber was told, piece by piece."""
    pieces = []
    for message in messages:
        match message:
            case ChatEvent(data={"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}):
                pieces.append(text)
    return "".join(pieces)


def going_on(content: Any) -> dict[str, Any]:
    """Get the user's turn after an answer: a result for each of its calls, and something to say."""
    calls = [block.get("id") for block in content if isinstance(block, dict) and block.get("type") == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call, "content": "done"} for call in calls]
    return {"role": "user", "content": [*results, {"type": "text", "text": "Hello"}]}


def no_thread_for(*names: str, while_set: threading.Event | None = None) -> Callable[[threading.Thread], None]:
    """Return a `Thread.start` that fails, as where a system has no more threads.

    Args:
        names: How the names of the threads begin that cannot be had; all, without any.
        while_set: Fail only while this is set.
    """
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith(names or "") and (while_set is None or while_set.is_set()):
            raise RuntimeError("can't start new thread")
        begin(thread)

    return start


# Private attributes: what each shows that nothing public does


def task_of(ref: TaskRef[Any]) -> Any:
    """Return the task behind a ref, to do to it what the sweeper, a fork or a bug does."""
    return ref._task


def core_of(client: Client) -> ClientCore:
    """Return the core of a client, to send a request that no method sends, and to see the calls that run."""
    return client._core


def running_in(client: Client) -> list[Any]:
    """Return the tasks and calls of a client that have not ended: one that was left would hold up its `drain`."""
    return core_of(client).registry.running()


def until_blocked(waits: TaskRef[Any] | Stream | CancelScope) -> None:
    """Wait until a task waits for room at a subscriber, for a time or for a limit: no server sees that."""
    work = waits.chat if isinstance(waits, Stream) else waits
    scope: CancelScope = work if isinstance(work, CancelScope) else task_of(work).scope
    until(lambda: scope.condition._waiters)  # type: ignore[attr-defined] # a `Condition` has nothing public that tells


def until_queued(client: Client) -> None:
    """Wait until a chat waits in the line for its turn: its state is "queued" a moment before."""
    slots = core_of(client).slots
    assert slots is not None
    until(lambda: slots._waiting)


def until_all_turns_are_back(client: Client) -> None:
    """Wait until no chat has a turn or waits for one: a chat gives its turn back after its end was told."""
    slots = core_of(client).slots
    assert slots is not None
    until(lambda: not slots._running)
    assert not slots._waiting


def deliveries_of(ref: TaskRef[Any]) -> tuple[Delivery, ...]:
    """Return the deliveries of a task: one that was left would keep its subscriber alive, or the task running."""
    deliveries: tuple[Delivery, ...] = task_of(ref).audience.deliveries
    return deliveries


def until_told(ref: TaskRef[Any]) -> None:
    """Wait until all subscribers were told the end: that is after the result is known, and before the thread ends."""
    wait(task_of(ref).audience.delivered)


def timeout_of(ref: TaskRef[Any]) -> Timeout:
    """Return the timeout of a task, where it would take minutes to see it."""
    timeout: Timeout = task_of(ref)._timeout
    return timeout


def calls_of(token: CancelToken) -> list[Any]:
    """Return what a token would cancel: a call that was left would never be collected."""
    return list(token._running)


def watched(sweeper: Sweeper = SWEEPER) -> set[Any]:
    """Return what a sweeper looks after: a task that was left would keep its thread running."""
    return sweeper._those_watched()


def thread_of(looker: Sweeper | Asker) -> threading.Thread | None:
    """Return the thread of a sweeper or an asker; None while there is nothing to do."""
    return looker._thread


def until_at_rest(looker: Sweeper | Asker = SWEEPER) -> None:
    """Wait until a sweeper or an asker has no thread: so nothing was left to do."""
    until(lambda: thread_of(looker) is None)


def busy_since(asker: Asker) -> float | None:
    """Return when an asker began what it does now, or None: whether it is stuck is decided by that."""
    return asker._since


def make_it_miss(asker: Asker, actions: queue.SimpleQueue[Any]) -> None:
    """Give an asker a queue that misses an item by a hair: no test could hit that moment."""
    asker._actions = actions


def lock_of(thing: Sweeper | Governor | Books | Registry) -> Any:
    """Return a lock, to hold it as another thread may at the moment of a fork."""
    return thing._lock


def socket_of(waits: TaskRef[Any] | CancelScope) -> object:
    """Return the socket that a cancel would shut down, or None: a socket that was left would be a leak."""
    scope: CancelScope = waits if isinstance(waits, CancelScope) else task_of(waits).scope
    return scope.socket._duplicate


def waiting_in(delivery: Delivery) -> int:
    """Return the number of messages that wait in a delivery, not yet in a mailbox: it is what is bounded."""
    return len(delivery._waiting)


def unread(events: Stream | EventQueue) -> int:
    """Return the number of events that a loop has not taken yet: its bound makes the chat stop reading."""
    return (events._channel if isinstance(events, Stream) else events)._queue.qsize()


def is_being_asked(delivery: Delivery) -> bool:
    """Return whether a subscriber's `is_alive` runs just now: that it returned True has no effect to wait for."""
    return delivery._pulse._asked


def is_collected(ref: pykka.ActorRef[Any]) -> bool:
    """Return whether an actor was collected, and not just stopped: only its ref has a weak reference to it."""
    return ref._actor_weakref() is None


STARTS_A_THREAD = TaskActor._start_thread
"""Starts the thread of a task that has its turn: a place to interrupt."""

ENTERS_THE_CLIENT = Registry.track
"""Has a client take note of a task: a place to interrupt."""
