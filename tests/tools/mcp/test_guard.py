"""The process between a program and a server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Generator

GUARD = "import sys; from anthropix_actors.tools.mcp.guard import main; main(int(sys.argv[1]), sys.argv[2:], 5)"

SERVER = """
import os, signal, subprocess, sys
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
if "ends" in sys.argv:
    sys.exit(3)
sys.stdin.read()
if "stays" in sys.argv or "stubborn" in sys.argv:
    child.wait()
    signal.pause()
"""


@contextlib.contextmanager
def guarded(*how: str, parent: int | None = None) -> Generator[tuple[subprocess.Popen[str], int]]:
    """Run a server with its guard; yield the guard, and the id of the server's child."""
    command = [sys.executable, "-c", GUARD, str(parent or os.getpid()), sys.executable, "-c", SERVER, *how]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as guard:
        assert guard.stdout is not None
        try:
            yield guard, int(guard.stdout.readline() or "0")  # 0, if it was ended before it has started one
        finally:
            guard.kill()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("how", ["ends", "polite", "stays", "stubborn"])
def test_all_that_a_server_has_started_is_gone_with_it(how: str) -> None:
    with guarded(how) as (guard, child):
        assert guard.stdin is not None
        guard.stdin.close()
        code = guard.wait(DEADLINE)
        until(lambda: is_gone(child))
        if how != "stubborn":
            assert code == {"ends": 3, "polite": 0, "stays": 256 - signal.SIGTERM}[how]


def test_a_guard_that_is_ended_ends_them_all() -> None:
    with guarded("stays") as (guard, child):
        guard.terminate()
        assert guard.wait(DEADLINE) == 128 + signal.SIGTERM
        until(lambda: is_gone(child))


def test_a_guard_whose_program_is_another_by_now_ends_them_all() -> None:
    with guarded("stays", parent=1) as (guard, child):
        guard.wait(DEADLINE)
        until(lambda: is_gone(child))


def test_a_server_that_cannot_be_started_is_said_on_stderr() -> None:
    command = [sys.executable, "-c", GUARD, str(os.getpid()), "/no/such/server"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 1
    assert "/no/such/server: " in done.stderr
