"""Messages that arrived together, told to an actor of ours as one: most of what a message costs is its mailbox."""

from __future__ import annotations

import queue
import threading
import weakref
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Any

from anthropix_actors._tasks.window import CountedWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Run(tuple[Any, ...]):
    """Messages in their order, as one message of pykka's. Only an actor with a `RunInbox` is told any."""

    __slots__ = ()


_AT_ONCE = 4
"""How many windows an empty mailbox takes: a read may bring hundreds of events, which are one message if told at once.

For each that is told by itself, two threads take turns.
"""


class RunInbox(queue.SimpleQueue[Any]):
    """The mailbox of an actor that takes runs. Its size is that of one that had been told each message by itself.

    Attributes:
        window: Its room, shared by all tasks that the actor follows. No probe is needed: `get` says when there is more.
        is_handling: Whether the actor is handling a message, and does not wait for one.

    Example:
        >>> inbox = RunInbox()
        >>> for message in inbox.packed(["Hel", "lo"]):
        ...     inbox.put(message)
        >>> inbox.qsize()
        2
        >>> [*inbox.unpacked(inbox.get())], inbox.qsize()
        (['Hel', 'lo'], 0)
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.window = CountedWindow(partial(_held_by, weakref.ref(self)), at_once=_AT_ONCE)
        self.is_handling = False
        self._lock = threading.RLock()  # for an addition, as several tasks tell at once; a signal handler may come then
        self._packed = 0  # messages in runs that wait, behind the first ones
        self._begun: Iterator[Any] = iter(())  # the run that is handled

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as the base class
        """Return the next message; wait for it. The one before has been handled. In the actor's thread."""
        self.is_handling = False
        self.window.moved()
        message = super().get(block, timeout)
        self.is_handling = True
        return message

    def packed(self, messages: Iterable[Any]) -> tuple[Any, ...]:
        """Return messages as one run, which is to be told at once; a single one as it is. Any thread."""
        run = Run(messages)
        if len(run) < 2:  # noqa: PLR2004
            return run
        with self._lock:
            self._packed += len(run) - 1
        return (run,)

    def unpacked(self, run: Run) -> Iterator[Any]:
        """Loop over the messages of a run. In the actor's thread."""
        self._begun = iter(run)
        with self._lock:
            self._packed -= len(run) - 1
        return self._begun

    def qsize(self) -> int:
        """Return how many messages wait: those in runs, too, but not the one that is handled. Any thread."""
        return super().qsize() + self._packed + length_hint(self._begun)


def _held_by(inbox: weakref.ref[RunInbox]) -> int:
    """Return how many messages wait or are handled; by a weak reference, as the inbox has the window that asks."""
    held = inbox()
    return 0 if held is None else held.qsize() + held.is_handling
