"""A call in a process of its own, seen from there. `process.py` starts it."""

from __future__ import annotations

import contextlib
import importlib
import os
import runpy
import sys
import threading
from traceback import format_exception
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._calls.cancel_token import CancelToken
from anthropix_actors._foreign.raised import for_log, is_a, kind_of
from anthropix_actors.tools.call import Call
from anthropix_actors.tools.definition import Tool
from anthropix_actors.tools.errors import InputError, ToolError
from anthropix_actors.tools.process_tree import adopt_orphans, kill_below, kill_leader, outlast_stop
from anthropix_actors.tools.results import Result, failure_of, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAIN = "__mp_main__"
"""The name of the main module here, as of multiprocessing's: what is under `if __name__ == "__main__"` does not run."""


def main(from_parent: int, to_parent: int) -> None:
    """Run the call that the parent tells, and answer it."""
    for pipe in (from_parent, to_parent):
        os.set_inheritable(pipe, False)  # noqa: FBT003 - it takes it by position only
    # The parent hears of the end by its end of the pipe: nobody else is to hold this one.
    os.register_at_fork(after_in_child=lambda: os.close(to_parent))
    outlast_stop()
    adopt_orphans()
    with open(from_parent, "rb", buffering=0, closefd=False) as lines:
        told = msgspec.json.decode(lines.readline())
    threading.Thread(target=end_with_parent, args=(from_parent,), name="anthropix-parent", daemon=True).start()
    answers = Answers(to_parent)
    try:
        tool = Tool.of(found(**told["function"]))
        arguments = tool.arguments(told["input"])
        if tool.call_parameter is not None:
            arguments[tool.call_parameter] = Call(
                told["id"],
                told["name"],
                told["input"],
                token=CancelToken(),
                on_progress=answers.progress,
                on_answer=answers.answer,
            )
        result, raised = result_of(tool.function(**arguments)), None
    except BaseException as exc:  # noqa: BLE001 - a function may raise anything
        said = is_a(exc, ToolError, InputError)
        result, raised = failure_of(exc), None if said else _traceback_of(exc)
    answers.answer(result, raised)


def _traceback_of(error: BaseException) -> str:
    """Return the traceback of what a function has raised; only its type, where it cannot be looked at."""
    seen = for_log(error)
    return f"{kind_of(error)}, of which there is no traceback" if seen is None else "".join(format_exception(*seen))


class Answers:
    """What is told to the parent: how far the call is, and once what came of it. Any thread."""

    def __init__(self, pipe: int) -> None:
        """Tell nothing yet."""
        self._pipe = pipe
        self._lock = threading.Lock()
        self._answered = False

    def progress(self, data: Any) -> None:
        """Tell how far it is."""
        self._write(msgspec.json.encode({"progress": data}) + b"\n")

    def answer(self, result: Result, raised: str | None = None) -> bool:
        """Tell what came of it, unless that was told."""
        with self._lock:
            first, self._answered = not self._answered, True
        if first:
            self._write(msgspec.json.encode({"answer": result, "raised": raised}) + b"\n")
        return first

    def _write(self, line: bytes) -> None:
        with self._lock, open(self._pipe, "wb", closefd=False) as pipe:
            pipe.write(line)


def found(name: str, module: str, file: str | None) -> Any:
    """Return the function of a name in a module, or in the program's main file.

    Example:
        >>> found("found", "anthropix_actors.tools.child", None) is found
        True
    """
    thing: Any = _main_of(file) if file is not None else importlib.import_module(module)
    for part in name.split("."):
        thing = vars(thing)[part] if isinstance(thing, ModuleType) else getattr(thing, part)
    return thing


def _main_of(file: str) -> ModuleType:
    main = ModuleType(_MAIN)
    vars(main).update(runpy.run_path(file, run_name=_MAIN))
    sys.modules["__main__"] = sys.modules[_MAIN] = main
    return main


def end_with_parent(pipe: int, steps: Sequence[Callable[[int], object]] = (kill_below, kill_leader)) -> None:
    """When the parent has ended, however it did, end all that was started here, and this process."""
    while os.read(pipe, 1):
        pass
    for step in steps:
        with contextlib.suppress(Exception):  # the next one, whatever this one found
            step(os.getpid())
