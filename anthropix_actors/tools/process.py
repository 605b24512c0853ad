"""A call in a process of its own, seen from here: started, followed, killed.

The process leads a session of its own. Two pipes lead to it: one brings it the call, and ends when this process does,
so that it ends, too, however this one dies; the other brings back, line by line, how far it is, and what came of it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._foreign.log import log
from anthropix_actors.tools.process_tree import kill_below, kill_tree
from anthropix_actors.tools.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from anthropix_actors.tools.call import Call

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from anthropix_actors.tools.child import main;"
    " main(int(sys.argv[2]), int(sys.argv[3]))"
)


class ToolProcess:
    """The process of one call. `kill` may be called from any thread, the rest in the call's."""

    def __init__(self, call: Call, function: Any) -> None:
        """Start nothing yet."""
        self._call = call
        self._function = function
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._to_child: int | None = None

    def run(self, on_answer: Callable[[Result], object], on_progress: Callable[[Any], object]) -> Result | None:
        """Run the call to the end of the process; return what came of it, None if it has answered."""
        answered = False
        if self._killed:
            return None
        try:
            lines = self._start()
        except OSError as exc:
            return Result(f"not started: no process could be made: {exc}", is_error=True, state="not started")
        with lines:
            for line in lines:
                message = msgspec.json.decode(line)
                if "progress" in message:
                    on_progress(message["progress"])
                    continue
                if message["raised"] is not None:
                    log(logging.ERROR, "the tool %s raised, in its process:\n%s", self._call.name, message["raised"])
                on_answer(Result(*message["answer"]))
                answered = True
        code = self._ended()
        if answered:
            return None
        text = f"its process ended before it answered, with exit code {code}; it may have taken effect"
        return Result(text, is_error=True, state="failed")

    def _start(self) -> BinaryIO:
        """Start the process, and tell it the call; return what it will say."""
        call = self._call
        said = {"function": place_of(self._function), "id": call.id, "name": call.name, "input": call.input}
        path = [each or os.getcwd() for each in sys.path]  # noqa: PTH109 - a text
        from_child, its_output = os.pipe()
        its_input, self._to_child = os.pipe()
        command = [sys.executable, "-c", _START, json.dumps(path), str(its_input), str(its_output)]
        try:
            process = subprocess.Popen(  # noqa: S603 - it is this program
                command, stdin=subprocess.DEVNULL, pass_fds=(its_input, its_output), start_new_session=True
            )
        except BaseException:
            os.close(from_child)
            self._let_go()
            raise
        finally:
            os.close(its_input)
            os.close(its_output)
        with self._lock:
            self._process = process
        if self._killed:  # while it was made
            self.kill()
        with contextlib.suppress(BrokenPipeError), open(self._to_child, "wb", closefd=False) as pipe:
            pipe.write(msgspec.json.encode(said) + b"\n")
        return open(from_child, "rb")  # noqa: PTH123 - `run` closes it

    def _ended(self) -> int:
        """Wait for the end of the process; return its exit code."""
        process = self._process
        assert process is not None
        with contextlib.suppress(ChildProcessError):  # the program has the system wait for its children
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            kill_below(process.pid)  # what it has left behind in its session would live on without anybody
        with self._lock:  # its id is its own until here: `kill` may use it
            code = process.wait()
        self._let_go()
        return code

    def kill(self) -> None:
        """Kill the process, and all that it has started; if there is none yet, as soon as there is."""
        with self._lock:
            self._killed = True
            if self._process is not None and self._process.returncode is None:
                kill_tree(self._process.pid)

    def after_fork(self) -> None:
        """Let go of it in a forked child: it would live as long as that."""
        self._lock = threading.Lock()
        self._let_go()

    def _let_go(self) -> None:
        """Close the pipe, at whose end the process ends."""
        pipe, self._to_child = self._to_child, None
        if pipe is not None:
            os.close(pipe)


def place_of(function: Any) -> dict[str, str | None]:
    """Return where another process finds a function: its name, its module, and the file of the main module.

    Example:
        >>> place_of(place_of)
        {'name': 'place_of', 'module': 'anthropix_actors.tools.process', 'file': None}
    """
    place: dict[str, str | None] = {"name": function.__qualname__, "module": function.__module__, "file": None}
    if function.__module__ == "__main__":
        main = sys.modules["__main__"]
        if main.__spec__ is not None:  # python -m
            place["module"] = main.__spec__.name
        else:
            place["file"] = main.__file__
    return place
