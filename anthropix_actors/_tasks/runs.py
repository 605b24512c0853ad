"""Messages that arrived together, told to an actor of ours as one: most of what a message costs is its mailbox."""

from __future__ import annotations

import queue
import threading
from operator import length_hint
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Run(tuple[Any, ...]):
    """Messages in their order, as one message of pykka's. Only an actor with a `RunInbox` is told any."""

    __slots__ = ()


class RunInbox(queue.SimpleQueue[Any]):
    """The mailbox of an actor that takes runs. Its size is that of one that had been told each message by itself.

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
        self._lock = threading.RLock()  # for an addition, as several tasks tell at once; a signal handler may come then
        self._packed = 0  # messages in runs that wait, behind the first ones
        self._begun: Iterator[Any] = iter(())  # the run that is handled

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
