"""Runs a server, in a process between it and the program: so its whole process tree ends, however the program does.

The server has the guard's stdin, stdout and stderr. When the program closes its end of stdin, or dies, the server gets
`GRACE` seconds to end, then a SIGTERM and `GRACE` seconds more; then all that it has started is killed. That is also
done when it ends by itself, so that the program hears of it: what it has left behind may hold its stdout.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from anthropix_actors.tools.process_tree import adopt_orphans, descendants, kill_below

if TYPE_CHECKING:
    from typing import NoReturn

GRACE = 0.8
"""Twice this is less than what the library waits before it ends the guard."""

TICK_MS = 1000
"""How often the guard looks whether the program lives."""


def main(parent: int, command: list[str], tick_ms: int = TICK_MS) -> NoReturn:
    """Run a server until it ends, or has to; `parent` is the id of the program's process."""
    adopt_orphans()
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        server = subprocess.Popen(command)  # noqa: S603 - the caller's command
    except OSError as exc:
        sys.exit(f"{command[0]}: {exc}")
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(nothing.fileno(), 1)  # the server alone has the other
    threading.Thread(target=_end_with_program, args=(server, parent, tick_ms), daemon=True).start()
    try:
        code = server.wait()
    finally:
        kill_below(os.getpid())
    sys.exit(code % 256)


def _on_sigterm(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def _end_with_program(server: subprocess.Popen[bytes], parent: int, tick_ms: int) -> None:
    """Wait until the program has hung up or died, and end the server, which ends the guard."""
    poll = select.poll()
    poll.register(0, select.POLLRDHUP)
    # A forked child of the program may hold its end of stdin, too: so its life is looked at.
    while not poll.poll(tick_ms) and os.getppid() == parent:
        pass
    with suppress(subprocess.TimeoutExpired):
        server.wait(GRACE)
    for each in descendants(os.getpid()):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.wait(GRACE)
    kill_below(os.getpid())
