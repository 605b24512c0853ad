"""Ends chats when the interpreter exits, and in a forked child.

At exit, all are cancelled, and their subscribers get the terminal messages. A forked child has none of its parent's
threads: there, all tasks of the parent are marked as finished, and the connections are left to the parent.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import weakref

from anthropix_actors._cancel.sweeper import SWEEPER, Sweeper
from anthropix_actors._foreign.late_imports import hold_forks_up

EXITS = "the interpreter exits"
"""Why chats are cancelled at exit."""

EXIT_TIMEOUT = 1.0
"""Seconds that the interpreter's exit waits for chats to end."""


def end(sweeper: Sweeper) -> None:
    """Cancel all chats. In the main thread, at exit; Ctrl-C or `sys.exit()` cuts the wait short."""
    sweeper.ending = True
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        sweeper.cancel_all(EXITS, patience=EXIT_TIMEOUT)


@functools.cache
def install() -> None:
    """Install the hooks for exit and fork, once. Called when what may run is imported: chats, and tools."""
    # atexit is LIFO: make a finalizer first, so that urllib3's (they close idle connections) run after `end`.
    weakref.finalize(SWEEPER, _nothing)
    atexit.register(end, SWEEPER)
    if hasattr(os, "register_at_fork"):  # pragma: no branch
        os.register_at_fork(after_in_child=SWEEPER.after_fork)
    hold_forks_up()


def _nothing() -> None:
    """Do nothing, as a finalizer."""
