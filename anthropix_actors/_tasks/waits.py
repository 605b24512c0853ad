"""Waits for tasks in a caller's thread: in slices, and never for that thread itself."""

from __future__ import annotations

import contextlib
import inspect
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pykka

from anthropix_actors._cancel.scope import deadline_of, slice_of
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.delivery import Delivery
from anthropix_actors.errors import DeadlockError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from types import FrameType

    from anthropix_actors._tasks.flag import Flag
    from anthropix_actors._tasks.task import Task

W = TypeVar("W", bound=Any)


def wait(event: threading.Event | Flag, deadline: float | None) -> bool:
    """Wait for an event in slices, until a deadline on the monotonic clock; return whether it was set."""
    while not event.wait(left := slice_of(deadline)):
        if not left:
            return False
    return True


def running_actors() -> set[str]:
    """Return the urns of the actors whose handlers this thread is running."""
    urns: set[str] = set()
    frame: FrameType | None = inspect.currentframe()  # pykka does not say which actor a thread runs
    while frame is not None:
        if frame.f_code.co_name.startswith("_actor_loop") and isinstance(
            actor := frame.f_locals.get("self"), pykka.Actor
        ):
            urns.add(actor.actor_urn)
        frame = frame.f_back
    return urns


def task_of(ref: Any) -> Task:
    """Return the task of a ref."""
    task: Task = ref._task  # noqa: SLF001 - within the package
    return task


def refuse_deadlock(task: Task, mine: object = None, held: list[Task] | None = None) -> None:
    """Raise if waiting for a task would be waiting for this thread itself.

    Args:
        task: The task.
        mine: This thread's token: added to `held` of each running task that depends on this thread.
        held: These tasks are appended to it; None adds no token, for a mere check.

    Raises:
        DeadlockError: the wait would never end.
    """
    if task.finished.is_set():
        return
    thread, actors = threading.get_ident(), running_actors()
    if task.thread == thread:
        raise DeadlockError(
            f"this is the {task.what}'s own thread, in a `tell` that it calls: it would wait for itself. Return, and"
            " wait for the terminal message; or wait on another thread."
        )
    if task.terminal is not None:  # a subscriber that got it may ask for the result: the task is about to finish
        return
    if task.audience.include_one_of(actors):
        raise DeadlockError(
            f"this is a handler of an actor that follows the {task.what}: while it waits, it takes no messages, and"
            " when they fill its window, the answer stops. Return, and wait for the terminal message, which has all of"
            " it; or wait on another thread."
        )
    if task.is_held_by(actors):
        raise DeadlockError(
            f"this is a tool that the {task.what} waits for, which would wait for itself. Return; what is to follow may"
            ' be said with when="idle", and waited for on another thread.'
        )
    if task.audience.are_handled_in(thread):
        raise DeadlockError(
            f"this is the thread that handles what a subscriber of the {task.what} is told, such as a GUI's: while it"
            " waits, it handles nothing, and when that fills the window, the answer stops. Return, and go on in the"
            " handler of the terminal message, which has all of it; or wait on another thread."
        )
    _refuse_deadlock_of_turns(task, thread, actors, mine, held)


def _refuse_deadlock_of_turns(task: Task, thread: int, actors: set[str], mine: object, held: list[Task] | None) -> None:
    """Raise if a task waits for its turn behind those that wait here, or depend on this thread."""
    if task.slots is not None:
        with task.slots.lock:  # else of two threads that check at the same time, neither would see that the other waits
            before = task.slots.before(task)
            ours = [each for each in before if _depends_on(each, thread, actors)]
            if ours and all(each in ours or each.held for each in before):
                raise DeadlockError(
                    f"the {task.what} waits for its turn (max_concurrency), and all running chats wait for threads that"
                    " wait here: none would ever finish. Raise max_concurrency, or do not wait in a handler."
                )
            if held is not None:
                held += ours
                for each in ours:
                    each.held.add(mine)


def _depends_on(task: Task, thread: int, actors: set[str]) -> bool:
    """Return whether a task goes on only while a thread, or the handlers of actors that it runs, do."""
    return task.thread == thread or task.audience.are_handled_in(thread) or task.audience.include_one_of(actors)


@contextlib.contextmanager
def waiting_for(*tasks: Task) -> Generator[None]:
    """Keep tasks alive while this thread waits for them.

    Raises:
        DeadlockError: the wait would never end.
    """
    mine = object()
    held: list[Task] = []
    try:  # a token in sets, not a count: wherever an interrupt falls, it is removed again
        for task in tasks:
            refuse_deadlock(task, mine, held)
        for task in tasks:
            task.audience.waiting.add(mine)
        yield
    finally:
        for task in (*tasks, *held):
            task.audience.waiting.discard(mine)
            task.held.discard(mine)
        for task in tasks:
            task.audience.cancel_if_abandoned()


def as_completed(works: Iterable[W], timeout: float | None = None) -> Iterator[W]:
    """Loop over chats, or other tasks, in the order in which they finish. As `concurrent.futures.as_completed`.

    While you loop, chats go on even without subscribers; leaving the loop early releases them.

    Args:
        works: The refs, of any number of clients. A ref that is given twice is yielded once.
        timeout: Seconds for all of them; None for as long as they take.

    Raises:
        TimeoutError: some have not finished; the text says how many.
        DeadlockError: the loop would wait for its own thread.
        ParameterError: an element of `works` is not a ref.

    Example:
        >>> chats = [client.chat(model="claude-sonnet-5", messages=hello, stream=subscriber, tag=tag) for tag in "ab"]
        >>> sorted(chat.tag for chat in as_completed(chats, timeout=60))
        ['a', 'b']
    """
    deadline = deadline_of(timeout)
    left: dict[W, Delivery | None] = dict.fromkeys(works)
    number = len(left)
    what = "expected the ref of a chat, a turn, a batch or a session (that of a stream is stream.chat), got"
    if problems := [
        Problem("works", f"{what} {type(ref).__name__}") for ref in left if not hasattr(ref, "add_done_callback")
    ]:
        raise ParameterError(problems)
    ended: queue.SimpleQueue[W] = queue.SimpleQueue()
    with waiting_for(*map(task_of, left)):
        try:
            for ref in [*left]:
                delivery = left[ref] = Delivery(_Ended(ref, ended), task_of(ref).scope)
                task_of(ref).audience.add_callback(delivery)
            while left:
                seconds = slice_of(deadline)
                with contextlib.suppress(queue.Empty):
                    ref = ended.get(timeout=seconds)
                    del left[ref]
                    yield ref
                    continue
                if not seconds:
                    raise TimeoutError(f"{len(left)} of {number} tasks did not finish within {timeout} s")
        finally:
            for ref, callback in left.items():  # else each of many short loops would leave a callback behind
                task_of(ref).audience.remove_callback(callback)


class _Ended:
    """Puts a ref into a queue when its task has finished."""

    def __init__(self, ref: Any, ended: queue.SimpleQueue[Any]) -> None:
        self._ref = ref
        self._ended = ended

    def tell(self, _: Any, /) -> None:
        self._ended.put(self._ref)


publish("anthropix_actors", (as_completed,))
