"""Every example runs against the emulator, as its user would run it: as a program of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from anthropix_actors.emulator import Pace, Reply, Stall, Status, ToolCall, recording

from servers import DEADLINE, until

if TYPE_CHECKING:
    from anthropix_actors.emulator import Emulator

EXAMPLES = Path(__file__).parents[1] / "examples"


def started(emulator: Emulator, name: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "ANTHROPIC_API_KEY": "sk-ant-test", "ANTHROPIC_BASE_URL": emulator.url}
    program = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(emulator: Emulator, name: str, *arguments: str) -> str:
    """Run an example to its end, and get what it printed; it prints no errors."""
    with started(emulator, name, *arguments) as running:
        try:
            printed, errors = running.communicate(timeout=6 * DEADLINE)
        finally:
            running.kill()
    assert errors == ""
    assert running.returncode == 0
    return printed


def test_the_script_prints_the_answer_as_it_arrives(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue("Rayleigh scattering.")
    printed = run(anthropix_emulator, "script.py", "Why", "blue?")
    assert printed.startswith("Rayleigh scattering.\n-- ")
    assert anthropix_emulator.requests[0].body["messages"][0]["content"] == "Why blue?"


def test_the_script_says_what_went_wrong(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Status(401))
    with pytest.raises(AssertionError, match="authentication_error"):
        run(anthropix_emulator, "script.py")


def test_tools_are_called_until_the_answer_calls_none(anthropix_emulator: Emulator) -> None:
    calls = [ToolCall("get_weather", {"city": "Bergen"}), ToolCall("get_weather", {"town": "Oslo"})]
    anthropix_emulator.queue(calls[0], Reply(calls), "Take two.")
    printed = run(anthropix_emulator, "tools.py", "Umbrella?")
    assert printed.count("-- get_weather") == 3
    assert printed.endswith("Take two.\n")
    last = anthropix_emulator.requests[-1].body["messages"][-1]["content"]
    assert [(block["type"], block.get("is_error", False)) for block in last] == [
        ("tool_result", False),
        ("tool_result", True),
    ]


def test_the_pool_of_workers_answers_every_question(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Status(529, headers={"retry-after-ms": "1"}), Status(400))
    printed = run(anthropix_emulator, "worker_pool.py")
    assert printed.count("  ->  ") == 50
    assert printed.count("failed:") == 1
    assert printed.count("once more in 0.0 s") == 1
    assert all(f"worker {number}: " in printed for number in range(1, 5))
    assert len(anthropix_emulator.requests) == 51


def test_the_cancelled_chat_keeps_what_had_arrived(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Pace(recording("actors"), tokens_per_second=20))
    printed = run(anthropix_emulator, "cancel.py")
    assert "An actor owns" in printed
    assert "-- somebody pressed the button: the loop ended" in printed
    anthropix_emulator.wait_for_hangups(1)


def test_the_late_subscriber_has_the_whole_answer(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Pace(recording("actors"), tokens_per_second=400))
    printed = run(anthropix_emulator, "late_join.py")
    windows = dict(line.split(": ") for line in printed.splitlines() if " window: " in line)
    first, second = windows["the first window"], windows["the second window"]
    assert first.partition(" pieces")[2] == second.partition(" pieces")[2], "they end in the same words"
    assert int(second.split()[0]) < int(first.split()[0]), "fewer pieces: the first half came as one"


def test_the_batch_goes_on_where_it_was(anthropix_emulator: Emulator, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    printed = run(anthropix_emulator, "batch.py", str(notes))
    assert "actor: " in printed
    lines = notes.read_text().splitlines()
    assert len(lines) == 6
    notes.write_text("\n".join(lines[:3]) + "\n")  # the batch, and two results
    printed = run(anthropix_emulator, "batch.py", str(notes))
    assert "2 results are known" in printed
    assert sorted(notes.read_text().splitlines()) == sorted(lines)
    assert sum(request.method == "POST" for request in anthropix_emulator.requests) == 1


def test_the_budget_is_kept(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Status(400))
    printed = run(anthropix_emulator, "budget.py")
    assert printed.count(": title, 1 min") == 5
    assert printed.count("invalid_request_error") == 1
    assert "dollars for 5 recipes" in printed
    anthropix_emulator.queue(Reply(['{"title": "t", "minutes": 1, "ingredients": []}'], usage={"output_tokens": 9999}))
    anthropix_emulator.queue(*[Stall("never")] * 5)
    assert run(anthropix_emulator, "budget.py").count("the budget is spent") == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_daemon_ends_cleanly(anthropix_emulator: Emulator, number: signal.Signals) -> None:
    anthropix_emulator.queue("It is odd.", *[Stall("never")] * 5)
    with started(anthropix_emulator, "daemon.py", "0.01", "0.2") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "number 1: It is odd.\n"
        until(lambda: len(anthropix_emulator.requests) == 5)  # all that may run at once
        running.send_signal(number)
        printed, errors = running.communicate(timeout=6 * DEADLINE)
    assert running.returncode == 0
    assert errors.startswith("INFO chat done after ")
    assert re.search(r"^INFO chat cancelled after \d+\.\d s: the client was closed$", errors, re.MULTILINE)
    run, *cancelled, last = printed.splitlines()
    assert run.endswith(" chats run")
    assert last == "-- ended"
    assert {line.partition(": ")[2] for line in cancelled} == {"cancelled: the client was closed"}
    assert {"number 2", "number 5"} <= {line.partition(":")[0] for line in cancelled}
    assert len(anthropix_emulator.requests) == 5


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
@pytest.mark.parametrize("what_fails", ["the key", "the API"])
def test_every_example_ends_whatever_fails(
    name: str, what_fails: str, anthropix_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anthropix_emulator.queue(*[Status(401)] * 100)
    anthropix_emulator.queue(Status(401), path="/v1/messages/batches")
    arguments = {"batch.py": [str(tmp_path / "notes.txt")], "daemon.py": ["0.01"]}.get(name, [])
    program = [sys.executable, str(EXAMPLES / name), *arguments]
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)
    if what_fails == "the API":
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            if what_fails == "the API" and name == "daemon.py":  # it goes on until it is told to end
                until(lambda: len(anthropix_emulator.requests) >= 3)
                running.send_signal(signal.SIGTERM)
            printed, _ = running.communicate(timeout=6 * DEADLINE)
        finally:
            running.kill()
    assert "ANTHROPIC_API_KEY" in printed if what_fails == "the key" else "authentication_error" in printed


def test_no_example_is_without_a_test() -> None:
    tested = Path(__file__).read_text()
    assert [path.name for path in sorted(EXAMPLES.glob("*.py")) if f'"{path.name}"' not in tested] == []
