"""The daemon among the examples: whatever ends it, each job is answered once, and none that was is asked again."""

from __future__ import annotations

import collections
import contextlib
import json
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors.emulator import Emulator, Reply, Stall, Status

from programs import ended_by, line
from servers import DEADLINE, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator import Answer, Request

    from programs import Programs

    Run = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.untraced

DAEMON = Path(__file__).parents[1] / "examples" / "job_daemon.py"
AT_ONCE = 4


class Model:
    """Answers each question, but holds back answers until it is told to let them go."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.asked: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        question = request.body["messages"][0]["content"]
        with self.lock:
            self.asked[question] += 1
            return Stall(f"The answer to {question}", after_events=4) if question in self.held else f"It is {question}"


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def emulator(model: Model) -> Iterator[Emulator]:
    with Emulator(handler=model) as emulator:
        yield emulator


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def run(emulator: Emulator, file: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Start the daemon."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", emulator.url)

    def run(*arguments: str) -> subprocess.Popen[str]:
        return programs.run([sys.executable, "-W", "error", str(DAEMON), str(file), *arguments])

    return run


def rows(file: Path) -> list[tuple[Any, ...]]:
    """Return question, state, answer and error of each job."""
    with closing(sqlite3.connect(file, timeout=DEADLINE)) as database:
        return database.execute("SELECT question, state, answer, error FROM jobs ORDER BY id").fetchall()


def states(file: Path) -> dict[str, str]:
    with contextlib.suppress(sqlite3.OperationalError):  # there is no table yet
        return {question: state for question, state, *_ in rows(file)}
    return {}


def until_those(file: Path, state: str, questions: list[str]) -> None:
    """Wait until these jobs, and no others, are in a state."""
    until(lambda: [question for question, its in states(file).items() if its == state] == questions)


def text_of(answer: str) -> str:
    return str(json.loads(answer)["content"][0]["text"])


def test_jobs_are_answered_and_more_may_come_at_any_time(run: Run, file: Path, model: Model) -> None:
    daemon = run("one", "two")
    assert {line(daemon), line(daemon)} == {"job 1: It is one", "job 2: It is two"}
    other = run("three")
    assert other.wait(6 * DEADLINE) == 1
    assert other.stderr is not None
    assert "another daemon works on" in other.stderr.read()
    assert line(daemon) == "job 3: It is three"
    printed, errors = ended_by(daemon, signal.SIGINT)
    assert (printed, daemon.returncode) == ("-- ended\n", 0)
    assert {each.partition(" after")[0] for each in errors.splitlines()} == {
        f"INFO chat 'job {number}' done" for number in (1, 2, 3)
    }
    assert [(question, state, text_of(answer)) for question, state, answer, _ in rows(file)] == [
        (question, "done", f"It is {question}") for question in ("one", "two", "three")
    ]
    assert model.asked == {"one": 1, "two": 1, "three": 1}


def test_sigterm_in_mid_answer_lets_end_what_ends_in_time_and_gives_back_the_rest(
    run: Run, file: Path, emulator: Emulator, model: Model
) -> None:
    model.held = {"slow"}
    daemon = run("slow", "--grace", "60")
    emulator.wait_for_requests(1)
    daemon.send_signal(signal.SIGTERM)
    emulator.release()
    printed, _ = daemon.communicate(timeout=DEADLINE)
    assert (printed, daemon.returncode) == ("job 1: The answer to slow\n-- ended\n", 0)

    questions = ["slow", "a", "b", "c", "d", "e"]
    model.held = {"a", "b", "c", "d", "e"}
    daemon = run(*questions[1:], "--grace", "0.1")
    emulator.wait_for_requests(1 + AT_ONCE)
    printed, _ = ended_by(daemon, signal.SIGTERM)
    assert daemon.returncode == 0
    assert printed.count("is given back: the client was closed\n") == AT_ONCE
    assert states(file) == {**dict.fromkeys(questions, "waiting"), "slow": "done"}
    emulator.wait_for_hangups(AT_ONCE)
    assert model.asked == dict.fromkeys(["slow", "a", "b", "c", "d"], 1), "it takes no job while it ends"

    model.held = set()
    daemon = run()
    until(lambda: states(file) == dict.fromkeys(questions, "done"))
    ended_by(daemon, signal.SIGTERM)
    assert model.asked == {**dict.fromkeys(questions[1:5], 2), "slow": 1, "e": 1}


def test_a_kill_in_mid_answer_loses_no_job_and_no_answer(
    run: Run, file: Path, emulator: Emulator, model: Model
) -> None:
    questions = [f"q{number}" for number in range(10)]
    model.held = set(questions[2:])
    daemon = run(*questions)
    for answered in range(2, 10, 2):  # the others are in mid-answer, or wait
        until_those(file, "done", questions[:answered])
        until_those(file, "running", questions[answered : answered + AT_ONCE])
        daemon.kill()
        daemon.wait(DEADLINE)
        emulator.wait_for_hangups(1)
        asked = model.asked.copy()
        model.held = set(questions[answered + 2 :])
        daemon = run()
        until_those(file, "done", questions[: answered + 2])
        assert [model.asked[each] - asked[each] for each in questions[:answered]] == [0] * answered
    ended_by(daemon, signal.SIGTERM)
    assert [question for question, *_ in rows(file)] == questions
    assert [question in text_of(answer) for question, _, answer, _ in rows(file)] == [True] * 10


def test_what_cannot_be_answered_is_tried_as_often_as_makes_sense(run: Run, file: Path, emulator: Emulator) -> None:
    emulator.queue(Status(400), *[Status(529, headers={"retry-after-ms": "1"})] * 12, "At last.")
    daemon = run("wrong")
    assert line(daemon).startswith("job 1 failed: ")
    ended_by(daemon, signal.SIGTERM)
    with closing(sqlite3.connect(file, timeout=DEADLINE)) as database, database:
        database.execute("INSERT INTO jobs (question) VALUES (x'00')")
    daemon = run("busy")
    assert [line(daemon).partition(":")[0] for _ in range(3)] == ["job 3 failed"] * 3
    until(lambda: [state for _, state, *_ in rows(file)] == ["failed"] * 3)
    ended_by(daemon, signal.SIGTERM)
    wrong, no_text, busy = (error for *_, error in rows(file))
    assert "invalid_request_error" in wrong
    assert "messages[0].content: expected" in no_text
    assert "overloaded_error" in busy
    assert len(emulator.requests) == 1 + 3 * 3


def test_a_wrong_key_ends_the_daemon_and_costs_no_job(run: Run, file: Path, emulator: Emulator) -> None:
    emulator.queue(Status(401), Reply(["Hello."]))
    daemon = run("why")
    _, errors = daemon.communicate(timeout=6 * DEADLINE)
    assert daemon.returncode == 1
    assert "authentication_error" in errors
    daemon = run()
    assert line(daemon) == "job 1: Hello."
    ended_by(daemon, signal.SIGTERM)
    assert states(file) == {"why": "done"}
