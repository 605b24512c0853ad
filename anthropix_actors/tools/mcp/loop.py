"""The event loop of all connections to servers: one thread of the process, while there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.from_thread import BlockingPortalProvider

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.threads import in_background

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal


class LoopThread:
    """The thread of the event loop. There is one, `LOOP`. Any thread."""

    def __init__(self) -> None:
        """Start without a thread."""
        self._provider = BlockingPortalProvider()

    def enter(self) -> BlockingPortal:
        """Start the thread, unless it runs; return what runs functions there. `leave` is to be called as often."""
        return self._provider.__enter__()

    def leave(self) -> None:
        """End the thread, if nobody else needs it. Returns at once, also in that thread."""
        provider = self._provider
        # At exit no thread can be started; then the loop's ends with the process.
        in_background(lambda: provider.__exit__(None, None, None), "anthropix-mcp-leave")

    def after_fork(self) -> None:
        """Start afresh in a forked child, which does not have the thread."""
        self._provider = BlockingPortalProvider()


LOOP = LoopThread()
SWEEPER.fork_listeners.add(LOOP)
