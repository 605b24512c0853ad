"""The tools of a random conversation: quick ones, and those that wait, raise, tell, hang, or are actors or agents."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors import Agent, Call, Timeout, ToolError, tool

from torture.turn_plans import DEEPEST

if TYPE_CHECKING:
    from torture.turn_plans import Plan

MODEL = "claude-sonnet-5"
HANGS_AFTER = 0.05
SHORT = Timeout(connect=30, read=1.0, idle=30, first_byte=1.0)
LONG = Timeout(connect=30, read=30, idle=30, first_byte=30)
WEB = {"type": "web_search_20260209", "name": "web_search"}


class OddError(BaseException):
    """What nobody catches."""


RAISED: tuple[BaseException, ...] = (ValueError("no"), ToolError("not so"), SystemExit(3), OddError("odd"))
"""What tools raise."""


class Bench:
    """The tools of one conversation, its sub-agents and forks; and which calls they ran.

    Attributes:
        let: Lets the tools end that hang.
        runs: How often each call was run.
    """

    def __init__(self, mine: Plan) -> None:
        self.let = threading.Event()
        self.runs: Counter[str] = Counter()
        self._plan = mine
        self._lock = threading.Lock()
        self._clerk = Clerk.start(self)

    def agent(self, depth: int = 0) -> Agent:
        """Get the agent with the tools for this depth."""
        functions = (self.quick, self.waits, self.raises, self.tells)
        tools: list[Any] = [tool(function) for function in functions]
        tools += [
            tool(timeout=HANGS_AFTER, grace=HANGS_AFTER)(self.hangs),
            tool(approve=True)(self.asks),
            tool(safe=True)(self.looks),
            tool(self.alone, alone=True),
            {"clerk": self._clerk},
            WEB,
        ]
        if depth < DEEPEST:
            tools.append(self.agent(depth + 1).as_tool("help", "Helps."))
        params: dict[str, Any] = {"timeout": SHORT if self._plan.stalls else LONG}
        if self._plan.thinks:
            params["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        limits = self._plan.inner if depth else self._plan.limits
        return Agent(model=MODEL, tools=tools, limits=limits, params=params)

    def ran(self, call: Call) -> random.Random:
        """Note that a call runs; get dice that follow from its id."""
        with self._lock:
            self.runs[call.id] += 1
        return random.Random(call.id)

    def end(self) -> None:
        """Let all tools end."""
        self.let.set()
        self._clerk.stop()

    @property
    def is_patient(self) -> bool:
        """Whether some calls are never answered."""
        return self._plan.patient

    # Tools

    def quick(self, n: int, *, call: Call) -> int:
        """Return at once."""
        self.ran(call)
        return n + 1

    def waits(self, n: int, *, call: Call) -> str:
        """Wait a little."""
        self.ran(call)
        self.let.wait(n / 100)
        call.check()
        return "waited"

    def raises(self, n: int, *, call: Call) -> None:
        """Raise something."""
        self.ran(call)
        raise RAISED[n % len(RAISED)]

    def tells(self, n: int, *, call: Call) -> str:
        """Tell how far it is."""
        dice = self.ran(call)
        for step in range(n):
            call.progress(step)
            self.let.wait(dice.choice((0, 0, 0.005)))
        return "told"

    def hangs(self, n: int, *, call: Call) -> str:
        """Hang, and tell all the while."""
        self.ran(call)
        while not self.let.wait(0.02):
            call.progress(n)
        return "too late"

    def asks(self, n: int, *, call: Call) -> str:
        """Need approval."""
        self.ran(call)
        return f"approved {n}"

    def looks(self, n: int, *, call: Call) -> str:
        """Change nothing."""
        self.ran(call)
        self.let.wait(n / 300)
        return "seen"

    def alone(self, n: int, *, call: Call) -> str:
        """Run alone."""
        self.ran(call)
        self.let.wait(n / 500)
        return "done"


class Clerk(pykka.ThreadingActor):
    """A tool that is an actor: answers at once, later, twice, or not at all."""

    use_daemon_thread = True

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def on_receive(self, message: Any) -> None:
        if not isinstance(message, Call):
            return
        dice = self._bench.ran(message)
        match dice.randrange(5):
            case 0:
                message.fail("no")
            case 1 if self._bench.is_patient:
                pass
            case 2:
                timer = threading.Timer(0.03, message.done, ("later",))
                timer.daemon = True
                timer.start()
            case _:
                message.progress("soon")
                message.done("yes")
                message.done("no")
