"""Tools that run in processes of their own, where they are found by the name of this module; and who follows a call."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odd_errors import Silent

from anthropix_actors import Call, ToolError, tool
from anthropix_actors.tools import Outcome, ToolCall

from servers import DEADLINE

if TYPE_CHECKING:
    from anthropix_actors import Tool


class Follower:
    """Who is told what comes of a call."""

    def __init__(self, made: Tool[..., Any], input: Any = None, id: str = "toolu_1") -> None:  # noqa: A002
        self.told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        given = {} if input is None else input
        self.call = ToolCall(made, id, given, self._teller("progress"), self._teller("outcome"), self._teller("late"))

    def _teller(self, what: str) -> Any:
        def tell(call: ToolCall, told: Any) -> None:
            assert call is self.call
            self.told.put((what, told))

        return tell

    def start(self) -> Follower:
        self.call.start()
        return self

    def next(self, what: str) -> Any:
        told, value = self.told.get(timeout=DEADLINE)
        assert told == what
        return value

    def outcome(self) -> Outcome:
        outcome: Outcome = self.next("outcome")
        assert self.call.outcome is outcome
        return outcome

    def ended(self) -> None:
        """Wait until the thread has ended; nothing more was told."""
        assert self.call.ref is not None
        assert self.call.ref.actor_stopped.wait(DEADLINE)
        assert self.told.empty()


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@tool(process=True)
def echo(text: str, *, call: Call) -> dict[str, Any]:
    """Say where it runs."""
    call.progress({"text": text})
    call.check()
    print(f"printed {text}", flush=True)  # noqa: T201 - where to is tested
    return {"text": text, "id": call.id, "leads": os.getsid(0) == os.getpid()}


def plain(text: str) -> str:
    return text.upper()


@tool(process=True)
def fails(how: str, *, call: Call) -> Any:  # noqa: C901 - a list
    match how:
        case "raise":
            raise ValueError("no")
        case "raise silently":
            raise Silent
        case "say":
            raise ToolError("ask again")
        case "exit":
            sys.exit(3)
        case "die":
            os._exit(4)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "fork and die":  # its child holds all that it had open
            if os.fork() == 0:
                time.sleep(600)
            os._exit(5)
        case "odd progress":
            call.progress(object())
        case "odd":
            return object()
        case "fail":
            return call.fail("said no")
        case _:
            raise AssertionError(how)
    return None


@tool(process=True)
def grows(pids: str, *, call: Call) -> None:
    """Start processes that a group's kill does not reach, and never end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    nap = [sys.executable, "-c", "import time; time.sleep(600)"]
    found = [os.getpid(), subprocess.Popen(nap).pid, subprocess.Popen(nap, start_new_session=True).pid]
    orphan = f"subprocess.Popen({nap!r}, start_new_session=True, stdout=subprocess.DEVNULL).pid"
    left = [sys.executable, "-c", f"import subprocess; print({orphan})"]  # it ends, and leaves one of its own
    found.append(int(subprocess.run(left, stdout=subprocess.PIPE, check=True).stdout))
    if (forked := os.fork()) == 0:
        os.setsid()
        time.sleep(600)
    Path(pids).write_text(" ".join(map(str, [*found, forked])), "utf-8")
    call.progress("grown")
    time.sleep(600)


@tool(process=True)
def leaves(pids: str) -> str:
    """Start processes that go on, one of them in a session of its own."""
    nap = [sys.executable, "-c", "import time; time.sleep(600)"]
    found = [subprocess.Popen(nap, start_new_session=apart).pid for apart in (False, True)]
    Path(pids).write_text(" ".join(map(str, found)), "utf-8")
    return "left it"


@tool(process=True, grace=0.0)
def lingers(pids: str, *, call: Call) -> None:
    """Answer, and do not end."""
    Path(pids).write_text(str(os.getpid()), "utf-8")
    assert call.done("answered")
    assert not call.done("answered twice")
    threading.Event().wait()


@tool(process=True)
def forks() -> int:
    """Fork a child that answers, too, as if it were the call: nobody hears it."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return os.getpid()
    with contextlib.suppress(BaseException):
        return os.getpid()
    return 0


@tool(process=True)
def is_large(size: int, text: str) -> str:
    assert len(text) == size
    return text
