"""Calls in processes of their own: the parent's side, the child's, and what is killed with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Tool
from anthropix_actors.tools import child, process_tree
from anthropix_actors.tools.process import ToolProcess, place_of
from anthropix_actors.tools.results import result_of

import tool_functions
from actors import watched
from programs import line
from servers import DEADLINE, until
from tool_functions import Follower, is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from programs import Programs


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "pids"
    yield file
    for pid in numbers(file):
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def numbers(file: Path) -> list[int]:
    return [int(pid) for pid in file.read_text("utf-8").split()] if file.exists() else []


def test_a_function_runs_in_a_process_that_leads_a_session_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    follower = Follower(tool_functions.echo, {"text": "grüße"}).start()
    assert follower.next("progress") == {"text": "grüße"}
    outcome = follower.outcome()
    assert json.loads(str(outcome.content)) == {"text": "grüße", "id": "toolu_1", "leads": True}
    assert (outcome.is_error, outcome.state) == (False, "done")
    follower.ended()
    assert capfd.readouterr().out == "printed grüße\n"
    assert follower.call not in watched()


def test_a_plain_function_is_found_as_well() -> None:
    assert Follower(Tool.of(tool_functions.plain, process=True), {"text": "a"}).start().outcome().content == "A"


def test_an_input_that_does_not_fit_starts_no_process() -> None:
    assert Follower(tool_functions.echo, {}).start().outcome().state == "not started"


@pytest.mark.parametrize(
    ("how", "told", "logged"),
    [
        ("raise", "ValueError: no", "the tool fails raised, in its process:\nTraceback"),
        (
            "raise silently",
            "Silent",
            "the tool fails raised, in its process:\nSilent",
        ),
        ("say", "ask again", None),
        ("exit", "SystemExit: 3", "the tool fails raised, in its process:\nTraceback"),
        ("die", "its process ended before it answered, with exit code 4; it may have taken effect", None),
        ("crash", "its process ended before it answered, with exit code -11; it may have taken effect", None),
        ("fork and die", "its process ended before it answered, with exit code 5; it may have taken effect", None),
        ("odd", "the tool ran, but what it returned cannot be sent: object: Encoding objects of type object", None),
        ("odd progress", "TypeError: Encoding objects of type object", "the tool fails raised, in its process:"),
        ("fail", "said no", None),
    ],
)
def test_however_it_fails_the_model_is_told(
    how: str, told: str, logged: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    follower = Follower(tool_functions.fails, {"how": how}).start()
    outcome = follower.outcome()
    assert (outcome.is_error, outcome.state) == (True, "failed")
    assert str(outcome.content).startswith(told)
    follower.ended()
    assert [record.getMessage()[: len(logged or "")] for record in caplog.records] == ([logged] if logged else [])


def test_a_function_that_is_not_found_is_told() -> None:
    made = Tool.of(tool_functions.plain, process=True)
    vars(made)["function"] = vanished
    outcome = Follower(made, {"text": "a"}).start().outcome()
    assert outcome.is_error
    assert "KeyError: 'not_there'" in outcome.content


def vanished(text: str) -> str:
    return text


vanished.__module__, vanished.__qualname__ = "tool_functions", "not_there"


@pytest.mark.parametrize("ends", ["a timeout", "a cancel", "stop_all"])
def test_its_whole_tree_is_killed(ends: str, pids: Path) -> None:
    made = Tool.of(tool_functions.grows, process=True, timeout=3.0 if ends == "a timeout" else None)
    follower = Follower(made, {"pids": str(pids)}).start()
    assert follower.next("progress") == "grown"
    tree = numbers(pids)
    assert len(tree) == 5
    assert all(map(is_alive, tree))
    if ends == "a cancel":
        follower.call.cancel()
    elif ends == "stop_all":
        assert follower.call.ref is not None
        follower.call.ref.stop()
    assert follower.outcome().state == ("timed out" if ends == "a timeout" else "cancelled")
    assert "its process ended before it answered, with exit code -9" in follower.next("late").content
    follower.ended()
    until(lambda: not any(map(is_alive, tree)))
    assert follower.call not in watched()


def test_a_cancel_reaches_a_process_that_is_just_starting(pids: Path) -> None:
    follower = Follower(tool_functions.grows, {"pids": str(pids)}).start()
    follower.call.cancel()
    assert follower.outcome().state in {"cancelled", "not started"}
    assert follower.call.ref is not None
    assert follower.call.ref.actor_stopped.wait(DEADLINE)
    until(lambda: not any(map(is_alive, numbers(pids))))


def test_a_process_that_has_answered_and_does_not_end_is_killed(pids: Path) -> None:
    follower = Follower(tool_functions.lingers, {"pids": str(pids)}).start()
    assert follower.outcome().content == "answered"
    follower.ended()
    assert not any(map(is_alive, numbers(pids)))


def test_what_a_forked_child_returns_is_heard_by_nobody() -> None:
    follower = Follower(tool_functions.forks).start()
    outcome = follower.outcome()
    assert not outcome.is_error, outcome
    follower.ended()


def test_a_large_input_and_a_large_result_pass() -> None:
    text = "ü" * 500_000
    made = Tool.of(tool_functions.is_large, process=True)
    assert Follower(made, {"size": len(text), "text": text}).start().outcome().content == text


def test_where_no_process_can_be_made_none_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    outcome = Follower(tool_functions.echo, {"text": "a"}).start().outcome()
    assert outcome.state == "not started"
    assert str(outcome.content).startswith("not started: no process could be made: ")


def test_a_process_that_ends_before_it_is_told_the_call_is_no_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    false = tmp_path / "false"
    false.write_text("#!/bin/sh\nexit 9\n", "utf-8")
    false.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(false))
    made = Tool.of(tool_functions.is_large, process=True)
    outcome = Follower(made, {"size": 1, "text": "a" * 1_000_000}).start().outcome()
    assert outcome.content == "its process ended before it answered, with exit code 9; it may have taken effect"


def test_a_program_that_has_the_system_wait_for_its_children_loses_only_the_exit_code() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        follower = Follower(tool_functions.fails, {"how": "die"}).start()
        assert "its process ended before it answered" in follower.outcome().content
        follower.ended()
    finally:
        signal.signal(signal.SIGCHLD, before)


PROGRAM = """
import os, sys, time, queue
import pykka
from anthropix_actors import *
from anthropix_actors.tools import ToolCall

@tool(process=True)
def naps(pids: str, *, call: Call) -> str:
    call.progress(os.getpid())
    if pids == "no":
        return __name__
    time.sleep(600)

if __name__ == "__main__":
    told = queue.SimpleQueue()
    follow = lambda _, what: told.put(what)
    call = ToolCall(naps, "toolu_1", {"pids": sys.argv[1]}, follow, lambda _, end: told.put(end.content))
    call.start()
    print(told.get(timeout=20), flush=True)
    if sys.argv[1] == "no":
        print(told.get(timeout=20), flush=True)
    elif sys.argv[1] == "fork":
        if os.fork() == 0:
            call.cancel()
            os._exit(0)
        os.wait()
        print(call.outcome, flush=True)
    elif sys.argv[1] == "wait":
        told.get()
"""


@pytest.mark.parametrize("as_module", [False, True])
def test_a_function_of_the_main_module_is_found_though_its_program_does_not_run_again(
    as_module: bool,  # noqa: FBT001
    programs: Programs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "napping.py").write_text(PROGRAM, "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(tmp_path)]))
    how = ["-m", "napping"] if as_module else [str(tmp_path / "napping.py")]
    running = programs.run([sys.executable, *how, "no"])
    out, err = running.communicate(timeout=2 * DEADLINE)
    assert err == ""
    assert out.splitlines()[1] == ("napping" if as_module else "__mp_main__")


@pytest.mark.parametrize("how", ["exit", "kill", "stop", "fork"])
def test_a_process_ends_with_its_parent_however_that_ends(how: str, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "napping.py").write_text(PROGRAM, "utf-8")
    given = "wait" if how in {"kill", "stop"} else how
    running = programs.run([sys.executable, "-W", "ignore", str(tmp_path / "napping.py"), given])
    pid = int(line(running))
    if given == "wait":
        assert is_alive(pid)
        if how == "stop":  # as a parent does that is about to kill it
            os.kill(pid, signal.SIGSTOP)
        running.kill()
    out, _ = running.communicate(timeout=DEADLINE)
    assert out == ("None\n" if how == "fork" else "")
    until(lambda: not is_alive(pid))


def test_what_a_process_leaves_behind_ends_with_it(pids: Path) -> None:
    follower = Follower(tool_functions.leaves, {"pids": str(pids)}).start()
    assert follower.outcome().content == "left it"
    follower.ended()
    [left, apart] = numbers(pids)
    until(lambda: not is_alive(left))
    assert is_alive(apart)  # in a session of its own


# The child's side, in this process


@pytest.fixture
def pipes() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_only_the_first_answer_is_told(pipes: tuple[int, int]) -> None:
    reading, writing = pipes
    answers = child.Answers(writing)
    answers.progress(1)
    assert answers.answer(result_of("a"))
    assert not answers.answer(result_of("b"))
    told = os.read(reading, 1 << 16).splitlines()
    assert [json.loads(each) for each in told] == [{"progress": 1}, {"answer": ["a", False, "done"], "raised": None}]


def test_a_function_is_found_by_module_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__main__", "__mp_main__"):
        monkeypatch.setitem(sys.modules, name, sys)
    assert child.found("Follower.next", "tool_functions", None) is Follower.next
    (tmp_path / "program.py").write_text("def one(): return __name__", "utf-8")
    assert child.found("one", "__main__", str(tmp_path / "program.py"))() == "__mp_main__"


def test_the_place_of_a_function_is_where_its_program_began(monkeypatch: pytest.MonkeyPatch) -> None:
    import __main__  # noqa: PLC0415

    def here() -> None: ...

    here.__module__, here.__qualname__ = "__main__", "here"
    monkeypatch.setattr(__main__, "__spec__", None)
    monkeypatch.setattr(__main__, "__file__", "/a/program.py", raising=False)
    assert place_of(here) == {"name": "here", "module": "__main__", "file": "/a/program.py"}
    monkeypatch.setattr(__main__, "__spec__", json.__spec__)
    assert place_of(here) == {"name": "here", "module": "json", "file": None}


def test_when_the_parent_has_ended_the_process_ends() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"more")
    os.close(writing)
    ended: list[int] = []
    child.end_with_parent(reading, (ended.append, "no function", ended.append))  # type: ignore[arg-type]
    os.close(reading)
    assert ended == [os.getpid()] * 2


def test_a_process_that_is_killed_before_it_is_there_is_never_made() -> None:
    call = Follower(tool_functions.echo).call.call
    process = ToolProcess(call, tool_functions.echo.function)
    process.kill()
    assert process.run(print, print) is None


def test_a_process_that_is_killed_while_it_is_made_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            process.kill()

    process = ToolProcess(Follower(tool_functions.echo).call.call, tool_functions.echo.function)
    monkeypatch.setattr(subprocess, "Popen", Late)
    ended = process.run(print, print)
    assert ended is not None
    assert f"exit code {-signal.SIGKILL};" in str(ended.content)


def test_a_forked_child_lets_go_of_the_process(pids: Path) -> None:
    """As the hook does it there; here it is the last that holds it, so the process ends."""
    follower = Follower(tool_functions.grows, {"pids": str(pids)}).start()
    assert follower.next("progress") == "grown"
    follower.call.after_fork()
    assert follower.call.outcome is not None
    assert follower.call.outcome.content == "the process was forked; the call goes on in the parent"
    until(lambda: not any(map(is_alive, numbers(pids))))
    until(lambda: follower.call not in watched())
    assert follower.told.empty()


# The tree


def test_a_tree_that_grows_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "_MOST_ROUNDS", 0)
    process_tree.kill_below(os.getpid())


def test_without_a_list_of_processes_there_are_no_descendants(tmp_path: Path) -> None:
    assert process_tree.descendants(os.getpid(), tmp_path) == set()
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").mkdir()
    assert process_tree.descendants(os.getpid(), tmp_path) == set()


def test_descendants_are_those_below_and_those_of_the_session(tmp_path: Path) -> None:
    for pid, state, parent, session in (
        (7, "S", 1, 7),
        (8, "S", 7, 8),
        (9, "R", 8, 9),
        (10, "S", 1, 7),
        (11, "Z", 7, 7),
        (12, "S", 10, 12),
        (13, "S", 1, 1),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) {state} {parent} 0 {session} 0", "utf-8")
    assert process_tree.descendants(7, tmp_path) == {8, 9, 10, 12}


def test_killing_who_has_gone_is_no_error() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    gone.wait(DEADLINE)
    process_tree.kill_tree(gone.pid)
