"""Kills a process and all that it has started, in Linux.

The process is made the reaper of its orphans (`adopt_orphans`): so whatever its children start, and leave, stays below
it, even in a session of its own. It is stopped first, so that it starts nothing more; killed last, as its children
would go to another reaper.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)

_MOST_ROUNDS = 100
"""A tree that grows for so long while it is killed has won."""

PROC = Path("/proc")


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parents have ended. In Linux; else do nothing."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def outlast_stop() -> None:
    """Have this process go on when its parent ends: that may have stopped it, and ended before it killed it.

    In Linux; else do nothing.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def kill_tree(pid: int) -> None:
    """Kill a process that leads a session of its own, and all its descendants. It must not have been waited for.

    Example:
        >>> import subprocess
        >>> shell = subprocess.Popen("sleep 600 & sleep 600", shell=True, start_new_session=True)
        >>> kill_tree(shell.pid)
        >>> shell.wait()
        -9
    """
    _send(pid, signal.SIGSTOP)
    kill_below(pid)
    kill_leader(pid)


def kill_leader(pid: int) -> None:
    """Kill a process that leads a session, and its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _send(pid, signal.SIGKILL)


def kill_below(pid: int) -> None:
    """Kill the descendants of a process."""
    for _ in range(_MOST_ROUNDS):
        if not (found := descendants(pid)):
            return
        for each in found:
            _send(each, signal.SIGKILL)


def descendants(pid: int, proc: Path = PROC) -> set[int]:
    """Return the living processes below one, and those of its session. None where there is no `/proc`.

    Args:
        pid: The process's id, which is its session's, too.
        proc: Where processes are listed.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, parent, _, session = stat.read_text("latin-1").rpartition(")")[2].split()[:4]
            if state not in "ZX":
                parents[int(stat.parent.name)] = int(parent)
                if int(session) == pid:
                    found.add(int(stat.parent.name))
    new = {pid, *found}
    while new:
        new = {each for each, parent in parents.items() if parent in new} - found
        found |= new
    return found - {pid}


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
