"""`LiveStream`: an event stream that stays open, fed by other threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from anthropix_actors.emulator._script.steps import WaitForMore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator._script.steps import Step


class LiveStream:
    """One open stream. Made in the event loop.

    Args:
        previews: The types of events whose previews the client asked for.

    Attributes:
        previews: The same.
    """

    def __init__(self, previews: frozenset[str]) -> None:
        """Start with nothing to send."""
        self.previews = previews
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()
        self._steps: deque[Step] = deque()

    def put(self, step: Step) -> None:
        """Queue a step. Safe from any thread."""
        self._steps.append(step)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the emulator has stopped
            self._loop.call_soon_threadsafe(self._more.set)

    def steps(self) -> Iterator[Step]:
        """Yield the steps, without end. Runs in the event loop."""
        while True:
            # A step that is put after the last look at the deque sets the event after it was cleared, so the wait ends.
            # One that is put before may set it as well, which costs one more look.
            self._more.clear()
            while self._steps:
                yield self._steps.popleft()
            yield WaitForMore(self._more)
