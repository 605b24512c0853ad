"""Ctrl-C everywhere: an action is run again and again, and interrupted one place further each time.

A tracer raises `KeyboardInterrupt` in the thread that runs the action, at the n-th place of our code that this thread
comes to; n = 1, 2, ... until the action ends before it is interrupted. What has to hold after each is checked by
`faults`. There are two kinds of places:

- `LINES`: before each line. All but those where a `with` block was left in good order and `__exit__` is about to be
  called: no signal handler runs there, and nobody could do anything about it.
- `SIGNALS`: exactly where CPython looks for signals: on entry to a function, after a call into C, and where it jumps
  backwards. So a call that returned, and whose value is not yet in its variable.
"""

from __future__ import annotations

import collections
import contextlib
import dis
import functools
import gc
import itertools
import linecache
import logging
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka

import anthropix_actors
from anthropix_actors import AnthropixError, Client, ConfigurationError, Timeout
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._http import attempt_scope as _attempt_scope
from anthropix_actors._http.attempt_scope import running_attempt

from actors import ASK, TERMINAL, Inbox, only_closes_idle_connections

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import CodeType, FrameType
    from typing import Self

    from anthropix_actors import ChatRef

PACKAGE = str(Path(anthropix_actors.__file__).parent)
LINES, SIGNALS = "lines", "signals"
KINDS = (LINES, SIGNALS)

PATIENCE = 5.0
"""Seconds until everything has to be as before; it takes milliseconds, but on a machine that has much else to do."""

UNCOLLECTED = 0.1
"""Seconds after which the garbage collector is run: only that ends what is held in a cycle."""

PURE = frozenset(
    f"{PACKAGE}/{name}.py"
    for name in (
        *(
            "chat/accumulate",
            "_calls/request_factory",
            "_decode/chunked",
            "_checks/suggest",
            "chat/output",
            "chat/parameters",
            "_http/request",
            "_checks/shapes",
            "_http/urls",
        ),
        *("limits/model_limits", "_http/retry", "content/__init__", "endpoints", "errors", "types", "usage"),
    )
)
"""Modules that decide, and hold nothing: an interrupt there is one in whoever calls them, and it is a third of all."""

OFTEN = 2
"""How often one place is interrupted: in a loop, not at each turn."""

_RAISED = "PUSH_EXC_INFO"
"""Where the handling of an exception begins."""

_NOWHERE = {"NOP", "FOR_ITER", "JUMP_BACKWARD"}
"""Where a line begins, and none is interrupted. A `try:` is no more than an instruction that does nothing: no handler
runs there. And of what a tracer raises where a comprehension goes on, CPython 3.12 tells no `with` around it."""

_CALLS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW"}


@dataclass(frozen=True)
class Place:
    """Where the interrupt fell."""

    file: str
    function: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line} {self.function}: {_text(self.file, self.line)}"


def _text(file: str, line: int | None) -> str:
    """Get a line of code; what is in none, Python has added."""
    return linecache.getline(file, line).strip() if line else ""


class Interrupter:
    """Raises `KeyboardInterrupt` at one place of the code in some folders or files, in the thread of `within`."""

    def __init__(self, number: int, kind: str = LINES, where: tuple[str, ...] = (PACKAGE,)) -> None:
        self.number = number
        self.kind = kind
        self.where = where
        self.passed = 0
        self.place: Place | None = None
        self._seen: collections.Counter[tuple[CodeType, int]] = collections.Counter()
        self._children: dict[int, CodeType] = {}  # by the id of the calling frame: to hold frames would change lives

    def within(self) -> Self:
        return self

    # Not by way of contextlib: that may be interrupted, too, and what was traced before would be forgotten.

    def __enter__(self) -> None:
        self._before = sys.gettrace()  # a coverage run's
        sys._getframe().f_trace_opcodes = True  # Python 3.12 tells of none unless one frame wants it beforehand
        # A collection may fall into the tracer's own call; if then a finalizer raises, CPython 3.11 frees the tracer.
        gc.disable()
        sys.settrace(self._called)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)
        gc.enable()

    def _called(self, frame: FrameType, event: str, _: object) -> Any:
        if event != "call":
            return None
        if frame.f_back is not None:
            self._children[id(frame.f_back)] = frame.f_code
        name = frame.f_code.co_filename
        if name in PURE or not name.startswith(self.where):
            return None
        if self.kind == LINES:
            return self._at_line
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        self._children.pop(id(frame), None)
        if sys.version_info >= (3, 13):  # which tells of no instruction before the function's first call
            self._pass(frame)
            return functools.partial(self._at_instruction, [0])
        return functools.partial(self._at_instruction, [-1])

    def _at_line(self, frame: FrameType, event: str, _: object) -> Any:
        nowhere = operations(frame.f_code).get(frame.f_lasti) in _NOWHERE
        if event == "line" and not nowhere and frame.f_lasti not in exits(frame.f_code):
            self._pass(frame)
        return self._at_line

    def _at_instruction(self, before: list[int], frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            previous, before[0] = before[0], frame.f_lasti
            child = self._children.pop(id(frame), None)
            there = previous < 0 or frame.f_lasti < previous or _returned_from_c(frame.f_code, previous, child)
            # Where something was raised, Python looks for no signal before the handler has begun.
            there = there and operations(frame.f_code).get(frame.f_lasti) != _RAISED
            # A handler that runs at the end of a block's last call raises within the block; here it would be behind it.
            if there and frame.f_lasti not in exits(frame.f_code):
                self._pass(frame)
        return functools.partial(self._at_instruction, before)

    def _pass(self, frame: FrameType) -> None:
        self._seen[frame.f_code, frame.f_lasti] += 1
        if self._seen[frame.f_code, frame.f_lasti] > OFTEN:
            return
        self.passed += 1
        if self.passed == self.number:
            self.place = Place(frame.f_code.co_filename, frame.f_code.co_qualname, frame.f_lineno)
            raise KeyboardInterrupt


@contextlib.contextmanager
def interrupted_at(function: Callable[..., object]) -> Generator[list[Place]]:
    """Raise `KeyboardInterrupt` once, where this thread next enters a function of Python's; get where that was.

    By a profile function: it leaves a coverage run its tracer, so what comes after the interrupt is seen by it.
    """
    places: list[Place] = []
    code = function.__code__

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is code and not places:
            places.append(Place(code.co_filename, code.co_qualname, frame.f_lineno))
            raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield places
    finally:
        sys.setprofile(before)


def _returned_from_c(code: CodeType, previous: int, child: CodeType | None) -> bool:
    """Whether a call into C was done just before: a class that is called is one, a function of Python's is none."""
    if operations(code).get(previous) not in _CALLS:
        return False
    return child is None or child.co_name == "__init__" or bool(child.co_flags & 0x20)  # a generator, by next()


@functools.cache
def operations(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


@functools.cache
def exits(code: CodeType) -> frozenset[int]:
    """Get where a `with` block was left in good order: three times None is loaded, and `__exit__` called."""
    steps = [each for each in dis.get_instructions(code) if each.opname not in {"CACHE", "PRECALL"}]
    found: set[int] = set()
    for index in range(len(steps) - 3):
        *loads, call = steps[index : index + 4]
        nothing = all(each.opname == "LOAD_CONST" and each.argval is None for each in loads)
        if nothing and call.opname == "CALL" and call.arg == 2:
            found.add(loads[0].offset)
            if index and steps[index - 1].opname in {"SWAP", "NOP"}:  # below what is returned
                found.add(steps[index - 1].offset)
    return frozenset(found)


@dataclass
class Fault:
    """What was wrong after an interrupt."""

    number: int
    place: Place | None
    what: list[str]

    def __str__(self) -> str:
        return f"{self.number}. {self.place or 'not interrupted'}\n     " + "; ".join(self.what)


@dataclass
class Attempt:
    """What an action works with; a fresh one each time.

    Attributes:
        client: The client; one chat at a time.
        inboxes: Those who are told, if the action has somebody told.
        chat: A chat that runs, if the action is about one.
    """

    client: Client
    inboxes: list[Inbox] = field(default_factory=list)
    chat: ChatRef | None = None

    def inbox(self) -> Inbox:
        self.inboxes.append(Inbox())
        return self.inboxes[-1]


def nothing(attempt: Attempt) -> None:
    """Neither prepare nor finish anything."""


@dataclass
class Report:
    """What came of it.

    Attributes:
        places: How often the action was interrupted.
        faults: What was wrong.
        unheard: Where the interrupt could not come out, as Python itself drops it: in finalizers.
    """

    places: int = 0
    faults: list[Fault] = field(default_factory=list)
    unheard: list[Place] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{len(self.faults)} of {self.places} places", *map(str, self.faults)])


def interrupt_everywhere(
    action: Callable[[Attempt], object],
    url: str,
    *,
    kind: str = LINES,
    where: tuple[str, ...] = (PACKAGE,),
    prepare: Callable[[Attempt], object] = nothing,
    finish: Callable[[Attempt], object] = nothing,
    first: int = 1,
    every: int = 1,
) -> Report:
    """Run an action until no place is left where it was not interrupted, and check what has to hold after each.

    Args:
        action: What is done; what it raises apart from the interrupt is a fault.
        url: The server. It answers at once.
        kind: Which places.
        where: Whose code: folders or files.
        prepare: What is done before it, without an interrupt.
        finish: What is done after it: what somebody does who knows that it was interrupted.
        first: With which place to begin; to look into one.
        every: How many places to go on; with 7, six of seven are left out.
    """
    report = Report()
    open_before = _descriptors()
    for number in itertools.count(first, every):
        client = Client(
            "sk-test-secret",
            base_url=url,
            timeout=Timeout(connect=5, read=5, idle=5),
            max_retries=0,
            max_concurrency=1,
            governor=True,
        )
        attempt = Attempt(client)
        interrupter = Interrupter(number, kind, where)
        what = _attempted((prepare, action, finish), attempt, interrupter, report)
        if what:
            report.faults.append(Fault(number, interrupter.place, what))
        if interrupter.place is None:
            break
        report.places += 1
    _attempt_scope._running.attempt = None
    if not _soon(lambda: _descriptors() <= open_before):
        report.faults.append(Fault(0, None, [f"{_descriptors() - open_before} descriptors are left open"]))
    return report


def _attempted(
    steps: tuple[Callable[[Attempt], object], ...], attempt: Attempt, interrupter: Interrupter, report: Report
) -> list[str]:
    prepare, action, finish = steps
    threads = set(threading.enumerate())
    _attempt_scope._running.attempt = None  # where a line is interrupted that puts it back, another scope may be left
    what = []
    try:
        prepare(attempt)
        with _unraisable() as dropped, _logged() as logged:
            problem = _run(action, attempt, interrupter, dropped)
            if problem == "dropped":
                report.unheard.append(interrupter.place)  # type: ignore[arg-type]
            elif problem:
                what.append(problem)
            if interrupter.kind == SIGNALS and running_attempt() is not None:
                what.append("a scope is left")
            finish(attempt)
            what += _left(threads)
        what += logged
        for inbox in attempt.inboxes:
            what += _heard(inbox)
        if not what:  # what is left may well stand in the way
            what += _works(attempt.client) or _left(threads)
    finally:
        if what:
            _clear_up(attempt.client)
        attempt.client.close()
    return what


def _run(
    action: Callable[[Attempt], object], attempt: Attempt, interrupter: Interrupter, dropped: list[BaseException]
) -> str | None:
    try:
        with interrupter.within():
            action(attempt)
    except KeyboardInterrupt:
        return None if interrupter.place else "interrupted by nobody"
    except BaseException as exc:  # noqa: BLE001
        return f"raised {exc!r} in place of the interrupt:\n{''.join(traceback.format_exception(exc))}"
    if interrupter.place is None:
        return None
    return "dropped" if any(isinstance(each, KeyboardInterrupt) for each in dropped) else "the interrupt was lost"


@contextlib.contextmanager
def _unraisable() -> Generator[list[BaseException]]:
    """Get what is raised where nobody can catch it."""
    dropped: list[BaseException] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda args: dropped.append(args.exc_value)  # type: ignore[arg-type]
    try:
        yield dropped
    finally:
        sys.unraisablehook = before


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        self.texts.append(f"logged: {record.getMessage()}" + ("" if exc is None else f", {exc!r}"))


@contextlib.contextmanager
def _logged() -> Generator[list[str]]:
    """Get what the package logs as an error, in any thread: an interrupt is none."""
    errors = _Errors()
    logger = logging.getLogger("anthropix_actors")
    logger.addHandler(errors)
    try:
        yield errors.texts
    finally:
        logger.removeHandler(errors)


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _soon(condition: Callable[[], bool]) -> bool:
    """Wait for something that takes milliseconds, or a collection; get whether it came."""
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    return condition()


def _left(before: set[threading.Thread]) -> list[str]:
    """Wait until nothing runs any more that did not run before; get what still does."""

    def running() -> list[str]:
        actors = [f"{type(ref).__name__} is left" for ref in pykka.ActorRegistry.get_all()]
        known = "test-", *(["anthropix-sweeper"] if only_closes_idle_connections() else [])
        threads = [each.name for each in set(threading.enumerate()) - before if not each.name.startswith(known)]
        return actors + [f"thread {name} is left" for name in threads]

    end = time.monotonic() + PATIENCE
    collected = time.monotonic() + UNCOLLECTED
    while left := running():
        now = time.monotonic()
        if now > end:
            return sorted(left)
        if now > collected:
            gc.collect()
            collected = 2 * end
        time.sleep(0.0005)
    return []


def _heard(inbox: Inbox) -> list[str]:
    """Who was told anything was told one end, and it was the last."""
    messages = []
    while not inbox.queue.empty():
        messages.append(inbox.queue.get())
    ends = [message for message in messages if type(message).__name__.endswith(("Done", "Failed", "Cancelled"))]
    if messages and (len(ends) != 1 or messages[-1] is not ends[0]):
        return [f"told {[type(message).__name__ for message in messages]}"]
    return []


def _works(client: Client) -> list[str]:
    inbox = Inbox()
    try:
        chat = client.chat(**ASK, stream=inbox)
    except ConfigurationError:
        return []  # it is closed
    except AnthropixError as exc:
        return [f"the client cannot begin another chat: {exc!r}"]
    try:
        chat.result(timeout=2 * PATIENCE)
    except (AnthropixError, TimeoutError) as exc:
        chat.cancel()
        return [f"the client's next chat failed: {exc!r}"]
    return [] if isinstance(inbox.until_end()[-1], TERMINAL) else ["no end"]


def _clear_up(client: Client) -> None:
    """End what a fault has left, so that the next attempt is judged by what it does itself."""
    client.close()
    pykka.ActorRegistry.stop_all(block=False)
    end = time.monotonic() + 0.2
    while pykka.ActorRegistry.get_all() and time.monotonic() < end:
        time.sleep(0.001)
    for ref in pykka.ActorRegistry.get_all():
        pykka.ActorRegistry.unregister(ref)
    SWEEPER.after_fork()
