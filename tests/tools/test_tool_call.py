"""One running call. Tools are foreign code: they may raise anything, block for ever, fork, and call back."""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from odd_errors import ODD

import anthropix_actors
from anthropix_actors import Call, CancelledError, ToolError, run_tools, tool
from anthropix_actors._foreign.threads import in_background
from anthropix_actors.tools import ToolCall
from anthropix_actors.tools.definition import tool_of_actor

from actors import Inbox, Mortal, Reader, no_thread_for, until_at_rest, watched
from interrupts import LINES, SIGNALS, Interrupter, interrupted_at
from servers import DEADLINE, until, wait
from tool_functions import Follower

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from anthropix_actors import Tool

    from programs import Programs


class Gate:
    """A tool that blocks until the test lets it go, whatever it is told; it also ends with the test."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let = threading.Event()
        self.calls: list[Call] = []

    def tool(self, **options: Any) -> Tool[..., Any]:
        @tool(name="gate", **options)
        def gate(*, call: Call) -> str:
            self.calls.append(call)
            self.entered.set()
            assert self.let.wait(2 * DEADLINE)
            return "let go"

        return gate


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.let.set()


@tool
def add(a: int, b: int = 1) -> int:
    return a + b


def test_a_call_is_told_once() -> None:
    follower = Follower(add, {"a": 2})
    assert repr(follower.call) == "<ToolCall add toolu_1, not started>"
    outcome = follower.start().outcome()
    assert (outcome.content, outcome.is_error, outcome.state) == ("3", False, "done")
    assert 0 <= outcome.seconds < DEADLINE
    follower.ended()
    assert repr(follower.call) == "<ToolCall add toolu_1, done>"
    assert follower.call not in watched()
    follower.call.cancel()
    assert follower.told.empty()
    with pytest.raises(RuntimeError, match="was started before: a call runs once"):
        follower.start()


def test_a_call_has_a_daemon_thread_of_its_own() -> None:
    @tool
    def where() -> list[Any]:
        thread = threading.current_thread()
        return [thread.name.rpartition("-")[0], thread.daemon]

    assert Follower(where).start().outcome().content == '["anthropix-tool-where",true]'


def test_nobody_needs_to_follow_a_call() -> None:
    done = threading.Event()

    @tool
    def alone(*, call: Call) -> None:
        call.progress(1)
        done.set()

    running = ToolCall(alone, "toolu_1", {})
    running.start()
    wait(done)
    assert running.ref is not None
    wait(running.ref.actor_stopped)


class UnspeakableError(BaseException):
    def __str__(self) -> str:
        raise OSError


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), UnspeakableError(), CancelledError("own")],
)
def test_whatever_a_tool_raises_is_an_answer_and_logged(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    other = Reader.start(Inbox())

    @tool
    def fails() -> None:
        raise error

    follower = Follower(fails).start()
    outcome = follower.outcome()
    assert (outcome.is_error, outcome.state) == (True, "failed")
    assert str(outcome.content).startswith(type(error).__name__)
    follower.ended()
    (record,) = caplog.records
    assert record.getMessage() == f"the tool fails raised {type(error).__name__}"
    assert record.exc_info is not None
    assert other.is_alive(), "pykka stops all actors for a BaseException"


def test_what_a_tool_raises_for_the_model_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    def says() -> None:
        raise ToolError("ask again")

    assert Follower(says).start().outcome().content == "ask again"
    assert not caplog.records


def test_an_input_that_does_not_fit_is_not_run() -> None:
    outcome = Follower(add, {"a": "one"}).start().outcome()
    assert outcome.state == "not started"
    assert str(outcome.content).endswith("a: Expected `int`, got `str`")


def test_a_call_tells_its_tool_all_about_it_and_hears_how_far_it_is() -> None:
    @tool
    def works(text: str, *, call: Call) -> list[Any]:
        call.progress("begun")
        call.check()
        call.progress({"half": True})
        return [text, call.id, call.name, call.input, repr(call), call.token.reason]

    follower = Follower(works, {"text": "a"}).start()
    assert follower.next("progress") == "begun"
    assert follower.next("progress") == {"half": True}
    assert follower.outcome().content == ('["a","toolu_1","works",{"text":"a"},"<Call works toolu_1>",null]')
    follower.call.call.progress("too late")
    assert follower.told.empty()


def test_only_the_first_answer_counts() -> None:
    counted: list[bool] = []

    @tool
    def answers(*, call: Call) -> None:
        counted.extend((call.done([1]), call.done([2]), call.fail("no")))

    follower = Follower(answers).start()
    assert follower.outcome().content == "[1]"
    assert [follower.next("late").content for _ in range(2)] == ["[2]", "no"]
    follower.ended()
    assert counted == [True, False, False]


def test_a_tool_that_has_answered_may_go_on(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    @tool(grace=0)
    def answers(*, call: Call) -> str:
        call.done()
        wait(gate.let)
        return "after all"

    follower = Follower(answers).start()
    assert follower.outcome().content == ""
    until(lambda: follower.call not in watched())
    gate.let.set()
    assert follower.next("late").content == "after all"
    assert not caplog.records, "it was not cancelled, so nothing is amiss"


def test_a_call_may_be_failed_by_another_thread(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(gate.tool()).start()
    wait(gate.entered)
    assert gate.calls[0].fail(OSError("gone"))
    assert follower.outcome().content == "OSError: gone"
    assert [record.getMessage() for record in caplog.records] == ["the tool gate raised OSError"]


@pytest.mark.parametrize(
    ("safe", "told"), [(False, "cancelled (enough); it may have taken effect"), (True, "cancelled (enough)")]
)
def test_a_cancel_waits_for_no_tool_and_tells_the_truth(gate: Gate, safe: bool, told: str) -> None:  # noqa: FBT001
    follower = Follower(gate.tool(safe=safe)).start()
    wait(gate.entered)
    follower.call.cancel("enough")
    outcome = follower.outcome()
    assert (outcome.content, outcome.is_error, outcome.state) == (told, True, "cancelled")
    (call,) = gate.calls
    until(lambda: call.token.cancelled)
    with pytest.raises(CancelledError, match="enough"):
        call.check()
    assert not call.done("too late")
    assert follower.next("late").content == "too late"
    gate.let.set()
    late = follower.next("late")
    assert (late.content, late.is_error, late.state) == ("let go", False, "done")
    follower.ended()


def test_a_tool_that_hears_the_cancel_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    entered = threading.Event()

    @tool
    def obeys(*, call: Call) -> None:
        entered.set()
        until(lambda: call.token.cancelled)
        call.check()

    follower = Follower(obeys).start()
    wait(entered)
    follower.call.cancel()
    assert follower.outcome().state == "cancelled"
    assert follower.next("late").content == "CancelledError: cancelled"
    follower.ended()
    assert not caplog.records


def test_a_call_that_was_cancelled_before_is_not_run(gate: Gate) -> None:
    follower = Follower(gate.tool())
    follower.call.cancel("too soon")
    outcome = follower.outcome()
    assert (outcome.content, outcome.state, outcome.seconds) == ("not started: too soon", "not started", 0.0)
    follower.start()
    assert follower.call.ref is None
    assert not gate.entered.is_set()


class Slow:
    """A type whose making takes its time: the tool's function was not called yet."""

    begun = threading.Event()
    let = threading.Event()

    def __init__(self) -> None:
        type(self).begun.set()
        wait(self.let)


def slowly(run: list[str], **options: Any) -> Tool[..., Any]:
    Slow.begun, Slow.let = threading.Event(), threading.Event()

    @dataclass
    class Made:
        def __post_init__(self) -> None:
            Slow()

    @tool(name="slowly", **options)
    def made(a: Made) -> None:  # noqa: ARG001
        run.append("run")

    return made


def test_a_call_that_is_cancelled_before_its_function_is_called_does_not_call_it() -> None:
    run: list[str] = []
    follower = Follower(slowly(run), {"a": {}}).start()
    wait(Slow.begun)
    follower.call.cancel("too soon")
    assert follower.outcome().content == "not started: too soon"
    Slow.let.set()
    follower.ended()
    assert not run


def test_a_time_that_is_over_before_is_told_so() -> None:
    run: list[str] = []
    follower = Follower(slowly(run, timeout=0.01), {"a": {}}).start()
    outcome = follower.outcome()
    assert (outcome.content, outcome.state) == ("not started: its time was over after 0.01 s", "not started")
    Slow.let.set()
    follower.ended()
    assert not run


@pytest.mark.parametrize(
    ("safe", "told"), [(False, "timed out after 0.01 s; it may have taken effect"), (True, "timed out after 0.01 s")]
)
def test_a_hung_tool_times_out_and_is_left_alone(
    gate: Gate,
    safe: bool,  # noqa: FBT001
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    follower = Follower(gate.tool(timeout=0.01, grace=0.01, safe=safe)).start()
    outcome = follower.outcome()
    assert (outcome.content, outcome.is_error, outcome.state) == (told, True, "timed out")
    until(lambda: gate.calls and gate.calls[0].token.reason == "timed out after 0.01 s")
    until(lambda: caplog.records)
    until(lambda: follower.call not in watched())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert (
        record.getMessage()
        == "<ToolCall gate toolu_1, timed out> has not ended within 0.01 s; its thread is left alone"
    )
    gate.let.set()
    assert follower.next("late").content == "let go"
    follower.ended()


def test_a_tool_that_ends_within_its_grace_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    @tool(timeout=0.01)
    def obeys(*, call: Call) -> str:
        until(lambda: call.token.cancelled)
        return "heard"

    follower = Follower(obeys).start()
    assert follower.outcome().state == "timed out"
    assert follower.next("late").content == "heard"
    follower.ended()
    until(lambda: follower.call not in watched())
    assert not caplog.records


def test_five_calls_and_one_that_hangs_cost_that_one_only(gate: Gate) -> None:
    hung = Follower(gate.tool()).start()
    others = [Follower(add, {"a": number}).start() for number in range(4)]
    assert [follower.outcome().content for follower in others] == ["1", "2", "3", "4"]
    assert hung.told.empty()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit()])
def test_what_a_follower_raises_is_logged_and_harms_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(*_: object) -> None:
        raise error

    @tool
    def works(*, call: Call) -> str:
        call.progress(1)
        call.done()
        return "late"

    running = ToolCall(works, "toolu_1", {}, raises, raises, raises)
    running.start()
    assert running.ref is not None
    wait(running.ref.actor_stopped)
    assert [record.getMessage() for record in caplog.records] == [
        "on_progress raised",
        "on_outcome raised",
        "on_late raised",
    ]
    assert running not in watched()


def test_ctrl_c_in_a_follower_is_raised_to_who_cancels(gate: Gate) -> None:
    def raises(*_: object) -> None:
        raise KeyboardInterrupt

    running = ToolCall(gate.tool(), "toolu_1", {}, on_outcome=raises)
    running.start()
    wait(gate.entered)
    with pytest.raises(KeyboardInterrupt):
        running.cancel()
    assert running.outcome is not None


def test_a_follower_that_blocks_holds_up_nobody_else(gate: Gate) -> None:
    began, let = threading.Event(), threading.Event()

    def blocks(*_: object) -> None:
        began.set()
        wait(let)

    running = ToolCall(gate.tool(), "toolu_1", {}, on_outcome=blocks)
    running.start()
    wait(gate.entered)
    canceller = threading.Thread(target=running.cancel)
    canceller.start()
    wait(began)
    until(lambda: gate.calls[0].token.cancelled)
    running.cancel("again")
    assert running.outcome is not None
    assert Follower(add, {"a": 1}).start().outcome().content == "2"
    let.set()
    canceller.join(DEADLINE)


class Blocks:
    """What a tool has cancelled with its token; it blocks."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.done = threading.Event()

    def cancel(self, reason: str) -> bool:
        self.action()
        self.done.set()
        return bool(reason)


def test_what_is_cancelled_with_the_token_may_block(gate: Gate) -> None:
    blocks = Blocks(lambda: wait(gate.let))
    follower = Follower(gate.tool()).start()
    wait(gate.entered)
    gate.calls[0].token.add(blocks)
    follower.call.cancel()
    assert follower.outcome().state == "cancelled"
    assert not blocks.done.is_set()
    gate.let.set()
    wait(blocks.done)


def test_what_is_cancelled_with_the_token_may_raise(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    def raises() -> None:
        raise SystemExit

    blocks = Blocks(raises)
    follower = Follower(gate.tool()).start()
    wait(gate.entered)
    gate.calls[0].token.add(blocks)
    follower.call.cancel()
    until(lambda: caplog.records)
    assert caplog.records[0].getMessage() == "<ToolCall gate toolu_1, cancelled> cannot be stopped"


def test_a_tool_may_call_back() -> None:
    followers: list[Follower] = []

    @tool
    def cancels_itself(*, call: Call) -> str:
        followers[0].call.cancel("by itself")
        until(lambda: call.token.cancelled)
        return "still here"

    @tool
    def runs_others(*, call: Call) -> Any:
        block = {"type": "tool_use", "id": call.id, "name": "add", "input": {"a": 1}}
        return run_tools({"content": [block]}, [add], cancel=call.token)["content"]

    followers.append(Follower(cancels_itself))
    followers[0].start()
    assert followers[0].outcome().content == "cancelled (by itself); it may have taken effect"
    assert followers[0].next("late").content == "still here"
    inner = Follower(runs_others).start().outcome().content
    assert inner == '[{"type":"tool_result","tool_use_id":"toolu_1","content":"2"}]'


def test_a_tool_may_stop_all_actors_itself_among_them() -> None:
    @tool
    def stops_all() -> str:
        pykka.ActorRegistry.stop_all()
        return "stopped"

    follower = Follower(stops_all).start()
    assert follower.outcome().content == "cancelled (stopped); it may have taken effect"
    assert follower.next("late").content == "stopped"


def test_stopping_the_actor_cancels_the_call_and_waits_for_no_tool(gate: Gate) -> None:
    follower = Follower(gate.tool()).start()
    wait(gate.entered)
    ref = follower.call.ref
    assert ref is not None
    assert ref in pykka.ActorRegistry.get_all()
    assert ref.stop() is True
    assert follower.outcome().state == "cancelled"
    stopped = ref.stop(block=False)
    gate.let.set()
    assert stopped.get(timeout=DEADLINE) is True
    assert ref not in pykka.ActorRegistry.get_all()


def test_other_messages_are_pykka_s_to_warn_of(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(gate.tool()).start()
    assert follower.call.ref is not None
    follower.call.ref.tell("hello")
    gate.let.set()
    assert follower.outcome().content == "let go"
    follower.ended()
    del caplog


@pytest.mark.parametrize("name", ["anthropix-tool", "anthropix-sweeper"])
def test_a_call_without_a_thread_is_not_started(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    until_at_rest()
    monkeypatch.setattr(threading.Thread, "start", no_thread_for(name))
    follower = Follower(add, {"a": 1}).start()
    outcome = follower.outcome()
    assert (outcome.is_error, outcome.state) == (True, "not started")
    assert str(outcome.content).startswith("not started: ")
    assert "can't start new thread" in outcome.content
    assert follower.call not in watched()
    assert not [each for each in pykka.ActorRegistry.get_all() if each.actor_class.__name__ == "ToolActor"]


def test_without_a_thread_the_token_is_cancelled_by_who_cancels(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(gate.tool()).start()
    wait(gate.entered)
    monkeypatch.setattr(threading.Thread, "start", no_thread_for("anthropix-stop"))
    follower.call.cancel()
    assert gate.calls[0].token.cancelled
    assert follower.outcome().state == "cancelled"


class Interrupting(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Starting ToolActor"):
            raise KeyboardInterrupt


def test_an_interrupt_while_it_starts_leaves_nothing_behind() -> None:
    """The logger of pykka is told of each actor before its thread starts."""
    logger, handler = logging.getLogger("pykka"), Interrupting()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    follower = Follower(add, {"a": 1})
    try:
        with pytest.raises(KeyboardInterrupt):
            follower.start()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert follower.outcome().content == "not started: interrupted while it started"
    assert follower.call not in watched()
    assert follower.call.ref not in pykka.ActorRegistry.get_all()


@pytest.mark.parametrize("place", [ToolCall._finish, in_background])
def test_what_an_interrupt_leaves_over_is_done_by_the_sweeper(gate: Gate, place: Callable[..., object]) -> None:
    follower = Follower(gate.tool(grace=0)).start()
    wait(gate.entered)
    with pytest.raises(KeyboardInterrupt), interrupted_at(place):
        follower.call.cancel()
    assert follower.outcome().state == "cancelled"
    until(lambda: gate.calls[0].token.cancelled)
    until(lambda: follower.call not in watched())


@pytest.mark.parametrize("kind", [LINES, SIGNALS])
@pytest.mark.parametrize("when", ["start", "cancel"])
def test_wherever_an_interrupt_falls_the_end_is_told_once(when: str, kind: str) -> None:
    for number in itertools.count(1):
        gate = Gate()
        follower = Follower(gate.tool(grace=0))
        if when == "cancel":
            follower.start()
            wait(gate.entered)
        interrupter = Interrupter(number, kind, (str(Path(anthropix_actors.__file__).parent / "tools"),))
        with contextlib.suppress(KeyboardInterrupt), interrupter.within():
            getattr(follower.call, when)()
        gate.let.set()
        follower.call.cancel("anyway")
        assert follower.outcome() is not None, interrupter.place
        until(lambda: follower.call not in watched())  # noqa: B023
        ref = follower.call.ref
        until(lambda: ref not in pykka.ActorRegistry.get_all())  # noqa: B023
        while not follower.told.empty():
            assert follower.next("late").content == "let go"
        if interrupter.place is None:
            assert number > 5
            break


# Tools that are actors


class Window(pykka.ThreadingActor):
    """An actor that asks its user, or what else it is made for."""

    use_daemon_thread = True

    def __init__(self, handle: Callable[[Call], object]) -> None:
        super().__init__()
        self.handle = handle

    def on_receive(self, message: Any) -> None:
        self.handle(message)


def test_an_actor_answers_later_from_any_thread() -> None:
    told: queue.SimpleQueue[Call] = queue.SimpleQueue()
    ref = Window.start(told.put)
    follower = Follower(tool_of_actor("ask_user", ref), {"question": "Why?"}).start()
    call = told.get(timeout=DEADLINE)
    assert (call.id, call.name, call.input) == ("toolu_1", "ask_user", {"question": "Why?"})
    follower.ended()
    call.progress("shown")
    assert follower.next("progress") == "shown"
    assert follower.call in watched()
    assert call.done({"answer": 42})
    assert follower.outcome().content == '{"answer":42}'
    assert follower.call not in watched()
    assert not call.fail("changed my mind")
    assert follower.next("late").content == "changed my mind"


def test_an_actor_that_answers_at_once_does_so_before_it_is_left() -> None:
    class Eager:
        def tell(self, call: Call, /) -> None:
            call.done("at once")

    follower = Follower(tool_of_actor("ask", Eager())).start()
    assert follower.outcome().content == "at once"
    follower.ended()
    assert follower.call not in watched()


def test_an_actor_that_dies_fails_its_calls(caplog: pytest.LogCaptureFixture) -> None:
    def dies(_: Call) -> None:
        raise ValueError("a bug")

    follower = Follower(tool_of_actor("ask", Window.start(dies))).start()
    outcome = follower.outcome()
    assert (outcome.content, outcome.state) == ("the actor behind ask has died, and did not answer", "failed")
    until(lambda: follower.call not in watched())
    del caplog


def test_an_actor_that_is_dead_fails_its_calls() -> None:
    ref = Window.start(print)
    made = tool_of_actor("ask", ref)
    ref.stop()
    outcome = Follower(made).start().outcome()
    assert outcome.content == "the actor behind ask has died; it did not get the call"
    assert outcome.state == "not started"


def test_whatever_says_whether_it_is_alive_is_asked() -> None:
    mortal = Mortal()
    follower = Follower(tool_of_actor("ask", mortal)).start()
    mortal.next()
    mortal.alive = False
    assert follower.outcome().content == "the actor behind ask has died, and did not answer"


def test_an_actor_that_never_answers_times_out() -> None:
    inbox = Inbox()

    @tool(actor=inbox, timeout=0.05, grace=0)
    def ask(question: str) -> str:  # type: ignore[empty-body]
        """Ask."""

    follower = Follower(ask, {"question": "Why?"}).start()
    assert follower.outcome().state == "timed out"
    call = inbox.next()
    until(lambda: call.token.cancelled)
    assert Follower(ask, {}).start().outcome().state == "not started", "the input is checked"


def test_a_tell_may_raise_and_block(gate: Gate) -> None:
    class Raises:
        def tell(self, _: Any, /) -> None:
            raise SystemExit("no")

    class Hangs:
        def tell(self, _: Any, /) -> None:
            gate.entered.set()
            wait(gate.let)

    assert Follower(tool_of_actor("ask", Raises())).start().outcome().content == "SystemExit: no"
    follower = Follower(tool_of_actor("ask", Hangs())).start()
    wait(gate.entered)
    follower.call.cancel()
    assert follower.outcome().state == "cancelled"


# Fork and exit

FORKS = """
import os, queue, sys, threading, time, warnings
warnings.simplefilter("ignore")  # Python warns of any fork while threads run
from anthropix_actors import *
from anthropix_actors.tools import ToolCall
import pykka

def say(text):
    os.write(1, f"{text}\\n".encode())

inside, let = threading.Event(), threading.Event()
told = queue.SimpleQueue()

@tool
def gate() -> str:
    inside.set()
    let.wait(20)
    return "let go"

call = ToolCall(gate, "toolu_1", {}, on_outcome=lambda _, end: (say(end.content), told.put(end)))
call.start()
inside.wait(20)
"""


def lines_of(running: subprocess.Popen[str]) -> list[str]:
    out, err = running.communicate(timeout=2 * DEADLINE)
    assert err == ""
    return out.splitlines()


def test_a_forked_child_has_nothing_of_its_parent_s_calls(programs: Programs) -> None:
    running = programs.run(
        [
            sys.executable,
            "-P",
            "-c",
            FORKS
            + """
if (pid := os.fork()) == 0:
    say(f"{call.outcome.state}: {call.outcome.content}")
    call.cancel()
    say(pykka.ActorRegistry.get_all() == [])
    block = {"type": "tool_use", "id": "toolu_2", "name": "one", "input": {}}
    say(run_tools({"content": [block]}, [tool(lambda: 1, name="one")])["content"][0]["content"])
    sys.exit(7)
say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
let.set()
told.get(timeout=20)
""",
        ]
    )
    assert lines_of(running) == [
        "cancelled: the process was forked; the call goes on in the parent",
        "True",
        "1",
        "7",
        "let go",
    ]


def test_a_tool_that_forks_is_told_of_in_the_parent_alone(programs: Programs) -> None:
    program = """
@tool
def forks() -> str:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return "parent" if pid else "child"

end = lambda _, end: (say(end.content), told.put(end))
call = ToolCall(forks, "toolu_1", {}, on_outcome=end, on_late=end)
call.start()
told.get(timeout=20)
let.set()
told.get(timeout=20)
"""
    assert sorted(lines_of(programs.run([sys.executable, "-P", "-c", FORKS + program]))) == ["let go", "parent"]


def test_run_tools_does_not_wait_in_a_forked_child(programs: Programs) -> None:
    program = """
def allow(call):
    if os.fork() == 0:
        return True
    os.wait()
    say("waited")
    let.set()
    return True

@tool(approve=True)
def one() -> int:
    return 1

blocks = [{"type": "tool_use", "id": f"toolu_{n}", "name": n, "input": {}} for n in ("gate", "one")]
try:
    say(len(run_tools({"content": blocks}, [gate, one], approve=allow)["content"]))
    told.get(timeout=20)
except CancelledError as error:
    say(error)
"""
    lines = lines_of(programs.run([sys.executable, "-P", "-c", FORKS + program]))
    assert lines[0] == "the process was forked; the calls go on in the parent"
    assert sorted(lines[1:]) == ["2", "let go", "waited"]


def test_a_hung_tool_does_not_keep_the_interpreter(programs: Programs) -> None:
    assert lines_of(programs.run([sys.executable, "-P", "-c", FORKS])) == [
        "cancelled (the interpreter exits); it may have taken effect"
    ]


def test_a_call_that_starts_while_the_interpreter_exits_is_told_so(programs: Programs) -> None:
    program = """
let.set()
told.get(timeout=20)

class Late:
    def __del__(self, ToolCall=ToolCall, gate=gate, say=say):
        ToolCall(gate, "toolu_2", {}, on_outcome=lambda _, end: say(end.state)).start()

late = Late()
"""
    assert lines_of(programs.run([sys.executable, "-P", "-c", FORKS + program])) == ["let go", "not started"]


@pytest.mark.parametrize("name", ODD)
def test_whatever_is_raised_the_call_ends(name: str) -> None:
    @tool
    def raises() -> str:
        raise ODD[name]("odd")

    follower = Follower(raises)
    follower.call.start()
    outcome = follower.next("outcome")
    assert (outcome.state, outcome.is_error) == ("failed", True)


def test_an_error_without_words_says_that_the_call_failed() -> None:
    @tool
    def raises() -> str:
        raise ToolError

    follower = Follower(raises).start()
    assert follower.next("outcome").content == "the tool failed, and did not say why"
