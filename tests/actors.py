"""Subscribers for the tests; and at the end the private attributes that tests read, each with the reason."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed, Stream
from anthropix_actors._calls.registry import Registry
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._cancel.sweeper import SWEEPER, Sweeper
from anthropix_actors._tasks.actor import TaskActor

from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import CancelToken, Client, Governor, Timeout
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._foreign.threads import Asker
    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.ledger_sums import Books
    from anthropix_actors._tasks.ref import TaskRef
    from anthropix_actors.chat.event_queue import EventQueue

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
ASK: dict[str, Any] = {"model": "claude-test", "messages": HELLO}
TERMINAL = (ChatDone, ChatFailed, ChatCancelled)


class Inbox:
    """A subscriber that is not an actor: keeps all messages, in order."""

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
        """Return all messages up to the terminal one, which must be the last."""
        while not isinstance(self.next(), ends):
            pass
        assert self.queue.empty()
        return self.messages

    def until(self, kind: type[Any]) -> Any:
        while not isinstance(message := self.next(), kind):
            pass
        return message


class Blocking(Inbox):
    """A subscriber whose `tell` returns only when the test sets `let`."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.let = threading.Event()

    def tell(self, message: Any, /) -> None:
        self.began.set()
        assert self.let.wait(2 * DEADLINE), "the test did not let it return"  # later than any wait of the test's
        super().tell(message)


class SlowEnd:
    """A subscriber that takes a moment for the end, and notes whether somebody had the result before it was done."""

    def __init__(self, *ends: type[Any]) -> None:
        self.ends = ends or TERMINAL
        self.returned = threading.Event()
        self.early: list[bool] = []

    def tell(self, message: Any, /) -> None:
        if isinstance(message, self.ends):
            self.early.append(self.returned.wait(0.05))


class Mortal(Inbox):
    """A subscriber that says whether it is alive."""

    alive = True

    def is_alive(self) -> bool:
        return self.alive


class Reader(pykka.ThreadingActor):
    """A subscribing actor that calls a function with each message, and can be blocked in its handler by a gate."""

    use_daemon_thread = True

    def __init__(
        self,
        inbox: Inbox,
        on_message: Callable[[Any], None] | None = None,
        *,
        gate: threading.Event | None = None,
        began: threading.Event | None = None,
    ) -> None:
        """Wait for `gate`, if given, before each message is handled; set `began` with the first message."""
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
    """Return the text that was delivered to a subscriber, joined."""
    pieces = []
    for message in messages:
        match message:
            case ChatEvent(data={"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}):
                pieces.append(text)
    return "".join(pieces)


def going_on(content: Any) -> dict[str, Any]:
    """Return the user's turn after an answer: a result for each of its calls, and a text."""
    calls = [block.get("id") for block in content if isinstance(block, dict) and block.get("type") == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": call, "content": "done"} for call in calls]
    return {"role": "user", "content": [*results, {"type": "text", "text": "Hello"}]}


def no_thread_for(*names: str, while_set: threading.Event | None = None) -> Callable[[threading.Thread], None]:
    """Return a `Thread.start` that fails, as on a system that has no more threads.

    Args:
        names: The beginnings of the names of the threads that fail; without any, all fail.
        while_set: Fail only while this is set.
    """
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith(names or "") and (while_set is None or while_set.is_set()):
            raise RuntimeError("can't start new thread")
        begin(thread)

    return start


# Private attributes, each with the reason why nothing public suffices


def task_of(ref: TaskRef[Any]) -> Any:
    """Return the task behind a ref, to act on it as the sweeper, a fork or a bug does."""
    return ref._task


def core_of(client: Client) -> ClientCore:
    """Return the core of a client, to send a request that no method sends, and to see the calls that run."""
    return client._core


def running_in(client: Client) -> list[Any]:
    """Return the tasks and calls of a client that have not ended: one left over would block its `drain`."""
    return core_of(client).registry.running()


def until_blocked(waits: TaskRef[Any] | Stream | CancelScope) -> None:
    """Wait until a task waits for a subscriber's capacity, a delay or a limit: a server cannot see that."""
    waiting = waits.chat if isinstance(waits, Stream) else waits
    scope: CancelScope = waiting if isinstance(waiting, CancelScope) else task_of(waiting).scope
    until(lambda: scope.condition._waiters)  # type: ignore[attr-defined] # a `Condition` has nothing public for it


def until_queued(client: Client) -> None:
    """Wait until a chat is in the queue: its state is "queued" a moment earlier."""
    slots = core_of(client).slots
    assert slots is not None
    until(lambda: slots._waiting)


def until_all_turns_are_back(client: Client) -> None:
    """Wait until no chat has a slot or waits for one: a chat releases its slot after its end was delivered."""
    slots = core_of(client).slots
    assert slots is not None
    until(lambda: not slots._running)
    assert not slots._waiting


def deliveries_of(ref: TaskRef[Any]) -> tuple[Delivery, ...]:
    """Return the deliveries of a task: one left over would keep its subscriber alive, or the task running."""
    deliveries: tuple[Delivery, ...] = task_of(ref).audience.deliveries
    return deliveries


def until_told(ref: TaskRef[Any]) -> None:
    """Wait until the end was delivered to all: after the result is known, and before the thread ends."""
    wait(task_of(ref).audience.delivered)


def until_cancelled(ref: TaskRef[Any]) -> None:
    """Wait until a task has ended, which must be by a cancel: in time, a timeout would end it, too."""
    wait(ref.actor_stopped)
    assert task_of(ref).state == "cancelled"


def timeout_of(ref: TaskRef[Any]) -> Timeout:
    """Return the timeout of a task, as it would take minutes to see its effect."""
    timeout: Timeout = task_of(ref)._timeout
    return timeout


def calls_of(token: CancelToken) -> list[Any]:
    """Return the calls that a token would cancel: one left over would never be collected."""
    return list(token._running)


def watched(sweeper: Sweeper = SWEEPER) -> set[Any]:
    """Return the objects that a sweeper watches: one left over would keep its thread running."""
    return sweeper._those_watched()


def thread_of(looker: Sweeper | Asker) -> threading.Thread | None:
    """Return the thread of a sweeper or an asker; None while it has nothing to do."""
    return looker._thread


def until_at_rest(looker: Sweeper | Asker = SWEEPER) -> None:
    """Wait until a sweeper or an asker has nothing to do: no thread, or one that only closes idle connections."""
    until(lambda: thread_of(looker) is None or only_closes_idle_connections(looker))
    if isinstance(looker, Sweeper):
        looked = threading.Event()
        looker.post(looked.set)  # what it has begun to look at, it has finished by then
        until(lambda: thread_of(looker) is None or looked.is_set())


def only_closes_idle_connections(looker: Sweeper | Asker = SWEEPER) -> bool:
    """Return whether that is all that a sweeper has to do."""
    return isinstance(looker, Sweeper) and bool(looker.idle) and not watched(looker)


def busy_since(asker: Asker) -> float | None:
    """Return when an asker began its current action, or None: this decides whether it is stuck."""
    return asker._since


def make_it_miss(asker: Asker, actions: queue.SimpleQueue[Any]) -> None:
    """Give an asker a queue that just misses an item: no test could hit that moment."""
    asker._actions = actions


def lock_of(thing: Sweeper | Governor | Books | Registry) -> Any:
    """Return a lock, to hold it as another thread may hold it during a fork."""
    return thing._lock


def socket_of(waits: TaskRef[Any] | CancelScope) -> object:
    """Return the socket that a cancel would shut down, or None: one left over would be a leak."""
    scope: CancelScope = waits if isinstance(waits, CancelScope) else task_of(waits).scope
    return scope.socket._duplicate


def waiting_in(delivery: Delivery) -> int:
    """Return the number of messages that wait in a delivery, not yet in a mailbox: this number is bounded."""
    return len(delivery._waiting)


def unread(events: Stream | EventQueue) -> int:
    """Return the number of events that a loop has not taken yet: its bound makes the chat stop reading."""
    return len((events._channel if isinstance(events, Stream) else events)._items)


def is_being_asked(delivery: Delivery) -> bool:
    """Return whether a subscriber's `is_alive` is running: that it returned True has no other effect."""
    return delivery._pulse._asked


def is_collected(ref: pykka.ActorRef[Any]) -> bool:
    """Return whether an actor was collected, not just stopped: only its ref has a weak reference to it."""
    return ref._actor_weakref() is None


STARTS_A_THREAD = TaskActor._start_thread
"""Starts the thread of a task whose turn has come: a place to interrupt."""

ENTERS_THE_CLIENT = Registry.track
"""Registers a task with its client: a place to interrupt."""
