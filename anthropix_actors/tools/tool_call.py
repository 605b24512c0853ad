"""One running call: an actor with its own thread, that runs the tool's function; and its end, which is told once.

Whoever comes first decides the outcome, under the lock: the function's return, `call.done`, the deadline, a cancel.
Then `on_outcome` is called, without the lock. What comes after goes to `on_late`. A function cannot be ended from
outside: one that does not end keeps its thread, a daemon, and nobody waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors._calls.cancel_token import CancelToken
from anthropix_actors._cancel import exit_and_fork
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import log, safely
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._foreign.raised import is_a
from anthropix_actors._foreign.threads import Pulse, in_background
from anthropix_actors.errors import CancelledError
from anthropix_actors.tools.actor import ToolActor
from anthropix_actors.tools.call import Call, Outcome
from anthropix_actors.tools.process import ToolProcess
from anthropix_actors.tools.results import Result, failure_of, log_failure, result_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.tools.actor import ToolRef
    from anthropix_actors.tools.definition import Tool

    OnProgress: TypeAlias = Callable[["ToolCall", Any], object]
    OnOutcome: TypeAlias = Callable[["ToolCall", Outcome], object]
PATIENCE = 0.1
"""Seconds that whoever has decided the outcome gets to tell it, and to stop the tool, before another thread does."""

exit_and_fork.install()


class ToolCall:
    """One call of a tool. All methods may be called from any thread; none waits for the tool.

    The three functions are called without a lock, with this call and what they are told. They should return soon; what
    they raise is logged.

    Args:
        tool: The tool.
        id: The call's id, of the `tool_use`.
        input: Its input.
        on_progress: Called with what the tool says of how far it is, on the tool's thread. What it says while another
            thread ends the call may still arrive after the outcome.
        on_outcome: Called exactly once, when it is known what the model is to be told: on the tool's thread, on that
            which cancels, or on one of its own. Not in a forked child, as the call goes on in the parent.
        on_late: Called with what came of the function after that.

    Attributes:
        outcome: What came of the call; None before.
        call: What the tool sees of it.
        ref: The actor's ref; None before it is started.

    Example:
        >>> import queue
        >>> from anthropix_actors import tool
        >>> told = queue.SimpleQueue()
        >>> look = tool(lambda: "8 degrees", name="look")
        >>> running = ToolCall(look, "toolu_1", {}, on_outcome=lambda call, outcome: told.put(outcome))
        >>> running.start()
        >>> told.get(timeout=60).content
        '8 degrees'
    """

    cancel_first = False

    def __init__(  # noqa: PLR0913, PLR0917 - what belongs to a call, in the order of its life
        self,
        tool: Tool[..., Any],
        id: str,  # noqa: A002 - the API's word for it
        input: Any,  # noqa: A002
        on_progress: OnProgress | None = None,
        on_outcome: OnOutcome | None = None,
        on_late: OnOutcome | None = None,
    ) -> None:
        """Do not run it yet."""
        self.tool = tool
        self.id = id
        self.name = tool.name
        self.input = input
        self.token = CancelToken()
        self.call = Call(id, tool.name, input, token=self.token, on_progress=self._progress, on_answer=self._answer)
        self.outcome: Outcome | None = None
        self._on_progress, self._on_outcome, self._on_late = on_progress, on_outcome or _nothing, on_late
        # Reentrant, as a signal handler may cancel while the thread that it interrupts holds it.
        self._lock = threading.RLock()
        self._untold: dict[str, Outcome] = {}
        self.ref: ToolRef | None = None
        self._began: float | None = None
        self._deadline: float | None = None
        self._decided = 0.0
        self._unstopped: str | None = None  # why the tool is still to be stopped
        self._entered = False  # the function was called, the actor told, or the process started
        self._running = False  # the thread runs
        self._forked = False
        self._process: ToolProcess | None = None
        self._pulse: Pulse | None = None

    def __repr__(self) -> str:
        """Show name, id and state."""
        state = "running" if self._began is not None else "not started"
        return f"<ToolCall {self.name} {self.id}, {state if self.outcome is None else self.outcome.state}>"

    def start(self) -> None:
        """Run the tool, on a thread of its own. Returns at once. A call that was cancelled before is not run.

        Raises:
            RuntimeError: it was started before.
        """
        with self._lock:
            if self._began is not None:
                raise RuntimeError(f"{self!r} was started before: a call runs once")
            self._began = time.monotonic()
            if self.outcome is not None:
                return
            if self.tool.timeout is not None:
                self._deadline = self._began + self.tool.timeout
        try:
            SWEEPER.watch(self)
            ToolActor.start(self)
        except Exception as exc:  # noqa: BLE001 - no more threads, or the interpreter exits
            self._settle(Result(f"not started: {exc}", is_error=True, state="not started"))
            SWEEPER.unwatch(self)
            self._let_go()
        except BaseException:  # Ctrl-C: the thread may run or not; if it does, it finds its call cancelled, or goes on
            self.cancel("interrupted while it started")
            SWEEPER.unwatch(self)
            self._let_go()
            raise

    def is_run_by(self, actors: set[str]) -> bool:
        """Return whether one of these actors, by their urns, runs it."""
        return self.ref is not None and self.ref.actor_urn in actors

    def cancel(self, reason: str = "cancelled") -> None:
        """End the call: the model is told that it was not started, or was cancelled and may have taken effect.

        Returns at once, and after `on_outcome` was called. The token is cancelled, and a process of its own killed.

        Args:
            reason: The reason, for the model and for `call.check()`.
        """
        self._settle(lambda: self._cut(f"cancelled ({reason})", f"not started: {reason}", "cancelled"), stop=reason)

    def _cut(self, done: str, not_done: str, state: Any) -> Result:
        """Return what the model is told of a call that was cut, which is the truth. With the lock."""
        if not self._entered:
            return Result(not_done, is_error=True, state="not started")
        return Result(done if self.tool.safe else f"{done}; it may have taken effect", is_error=True, state=state)

    def _answer(self, result: Result) -> bool:
        """Take what the tool says; return whether it is the outcome."""
        if self._settle(result):
            return True
        if not self._forked:
            late = Outcome(result.content, result.is_error, self._seconds(), result.state)
            safely("on_late", self._on_late, self, late)
        return False

    def _settle(self, result: Result | Callable[[], Result], stop: str | None = None) -> bool:
        """Decide the outcome, and tell it; return False if it was decided before.

        Args:
            result: What the model is told; a function that returns it is called with the lock.
            stop: Why the tool is to be stopped, if it is.
        """
        with self._lock:
            first = self.outcome is None
            if first:
                content, is_error, state = result() if callable(result) else result
                self._decided = time.monotonic()
                self._unstopped = stop
                self._untold["outcome"] = self.outcome = Outcome(content, is_error, self._seconds(), state)
        self._finish()  # also what an interrupt has left over, and before anything is told that comes late
        return first

    def _finish(self) -> None:
        """Tell the outcome, and stop the tool, unless another thread has done so."""
        # All in C: the outcome is taken, and told, with no place between for an interrupt, which would lose it.
        untold = iter(partial(self._untold.pop, "outcome", None), None)
        safely("on_outcome", next, map(self._on_outcome, (self,), untold), None)
        # On a thread of its own: what is cancelled with the token may be a caller's object, and block.
        if self._unstopped is not None and not in_background(self._stop, f"anthropix-stop-{self.name}"):
            self._stop()  # at exit, no thread can be started
        if not self._running:
            SWEEPER.unwatch(self)

    def _progress(self, data: Any) -> None:
        if self.outcome is None:
            safely("on_progress", self._on_progress, self, data)

    def _seconds(self) -> float:
        return 0.0 if self._began is None else round(time.monotonic() - self._began, 3)

    def run(self) -> None:
        """Run the tool. Never raises. In the actor's thread."""
        self._running = True
        try:
            result = self._result()
        except BaseException as exc:  # noqa: BLE001 - a function may raise anything
            if not (self.outcome is not None and is_a(exc, CancelledError)):  # it heard that it was cancelled
                log_failure(self.name, exc)
            result = failure_of(exc)
        if result is not None:
            self._answer(result)
        self._running = False
        if self.outcome is not None:
            SWEEPER.unwatch(self)

    def _result(self) -> Result | None:
        """Run the tool, and return what came of it; None if it is still to come, or came otherwise."""
        tool = self.tool
        arguments = tool.arguments(self.input)
        with self._lock:
            if self.outcome is not None:  # cancelled before: it is never run
                return None
            self._entered = True
            if tool.process:  # here, for a cancel that comes before it has begun
                self._process = ToolProcess(self.call, tool.function)
        if tool.actor is not None:
            return self._told(tool.actor)
        if self._process is not None:
            return self._process.run(self._answer, self._progress)
        if tool.call_parameter is not None:
            arguments[tool.call_parameter] = self.call
        value = tool.function(**arguments)
        outcome: Any = self.outcome
        if value is None and outcome is not None and outcome.state in {"done", "failed"}:
            return None  # the function has answered with `call.done`, and has no more to say
        return result_of(value)

    def _told(self, actor: Subscriber) -> Result | None:
        """Tell the actor, which answers later."""
        try:
            actor.tell(self.call)
        except pykka.ActorDeadError:
            text = f"the actor behind {self.name} has died; it did not get the call"
            return Result(text, is_error=True, state="not started")
        self._pulse = Pulse(actor)
        return None

    def _stop(self) -> None:
        """Kill the process, and cancel the token, unless another thread has done so."""
        with self._lock:
            reason, self._unstopped = self._unstopped, None
        try:
            if reason is not None:
                if self._process is not None:
                    self._process.kill()
                self.token.cancel(reason)
        except BaseException as exc:  # noqa: BLE001 - a caller's object that is cancelled with the token
            log(logging.ERROR, "%s cannot be stopped", self, exc_info=exc)

    def sweep(self, now: float) -> None:
        """End it at its deadline, or when its actor has died; after the grace, leave it alone. In the sweeper's thread.

        Outcomes are told on another thread, as no code that may block runs on this one.
        """
        if self.outcome is None:
            if self._deadline is not None and now >= self._deadline:
                SWEEPER.run_elsewhere(self._time_out, f"anthropix-timeout-{self.name}")
            elif self._pulse is not None and not self._pulse.is_alive():
                SWEEPER.run_elsewhere(self._bury, f"anthropix-end-{self.name}")
        elif self._untold or self._unstopped is not None:
            if now >= self._decided + PATIENCE:  # an interrupt has come between, or `on_outcome` blocks
                SWEEPER.run_elsewhere(self._finish, f"anthropix-end-{self.name}")
        elif now >= self._decided + self.tool.grace:
            SWEEPER.unwatch(self)
            SWEEPER.run_elsewhere(self._leave, f"anthropix-leave-{self.name}")

    def _time_out(self) -> None:
        after = f"after {self.tool.timeout:g} s"
        cut = partial(self._cut, f"timed out {after}", f"not started: its time was over {after}", "timed out")
        self._settle(cut, stop=f"timed out {after}")

    def _bury(self) -> None:
        text = f"the actor behind {self.name} has died, and did not answer"
        self._settle(Result(text, is_error=True, state="failed"))

    def _leave(self) -> None:
        """Leave a function alone that does not end, though its call has."""
        if self._process is not None:
            self._process.kill()
        elif self._running and self.token.cancelled:
            log(logging.WARNING, "%s has not ended within %g s; its thread is left alone", self, self.tool.grace)

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel it, and kill its process; there is nothing to wait for: its thread is a daemon."""
        self.cancel(reason)
        if self._process is not None:
            self._process.kill()
        return lambda _: None

    def after_fork(self) -> None:
        """End it in a forked child, where nobody is told of it: it goes on in the parent."""
        self._lock = threading.RLock()
        self._forked = True
        self._untold = {}
        why = "the process was forked; the call goes on in the parent"
        self.outcome = self.outcome or Outcome(why, is_error=True, seconds=self._seconds(), state="cancelled")
        if self._process is not None:
            self._process.after_fork()
        self._let_go()

    def _let_go(self) -> None:
        """Mark the actor as stopped, as no thread runs its loop."""
        if self.ref is not None:
            pykka.ActorRegistry.unregister(self.ref)
            self.ref.actor_stopped.set()


def _nothing(*_: object) -> None:
    """Tell nobody."""


publish("anthropix_actors.tools", (ToolCall,))
