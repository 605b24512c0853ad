"""`anthropix worker`, `submit` and `cancel`, as a user types them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from anthropix_actors import Hub, text_of
from anthropix_actors.cli import _worker
from anthropix_actors.emulator import Stall, Status
from anthropix_actors.hub.entries import begin_entry
from anthropix_actors.stores import open_store

from programs import ended_by, line
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anthropix_actors.emulator import Emulator

    from programs import Programs

    Start = Callable[..., subprocess.Popen[str]]

WHOLE = "Red light passes, blue light goes astray."
BEGUN = Stall(WHOLE, after_events=5)
COMMAND = [sys.executable, "-P", "-W", "error", "-m", "anthropix_actors.cli"]


@pytest.fixture(autouse=True)
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anthropix_emulator: Emulator) -> str:
    url = f"sqlite://{tmp_path}/answers.sqlite"
    monkeypatch.setenv("ANTHROPIX_STORE", url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)
    return url


@pytest.fixture
def hub(url: str) -> Iterator[Hub]:
    with contextlib.closing(open_store(url)) as store, Hub(store) as hub:
        yield hub


@pytest.fixture
def start(programs: Programs) -> Start:
    """Start a worker, and wait until it takes jobs."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        running = programs.run([*COMMAND, "worker", *arguments])
        assert line(running).endswith("takes jobs out of 'jobs'")
        return running

    return start


def anthropix(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=dict(os.environ),
        input=given,
        capture_output=True,
        text=True,
        timeout=6 * DEADLINE,
        check=False,
    )


def submit(hub: Hub, name: str, *, retry_lost: bool = False) -> str:
    messages = [{"role": "user", "content": "Why?"}]
    return hub.submit({"model": "claude-haiku-4-5", "messages": messages}, id=name, retry_lost=retry_lost)


def has_begun(hub: Hub, name: str) -> bool:
    state = hub.store.state(name)
    return state is not None and state.length > 3


def test_a_worker_answers_what_is_submitted(hub: Hub, url: str, start: Start, anthropix_emulator: Emulator) -> None:
    worker = start()
    done = anthropix("submit", "Why?", "--id", "first", "--follow", "--tag", "night", "--system", "Be short.")
    assert (done.returncode, done.stderr) == (0, "first\n")
    assert "Why?" in done.stdout
    assert anthropix_emulator.requests[0].body["system"] == "Be short."
    again = anthropix("submit", "Why not?", "--id", "first")
    assert (again.returncode, again.stdout) == (0, "first\n")
    assert hub.status("first").tag == "night"
    assert anthropix("store", "follow", url, "first").stdout == done.stdout
    printed, errors = ended_by(worker, signal.SIGTERM)
    assert worker.returncode == 0
    assert printed.splitlines() == ["takes no more jobs", "ended: 1 done, 0 failed, 0 cancelled, 0 lost"]
    assert "INFO first: done after" in errors
    assert "chat done" not in errors
    assert len(anthropix_emulator.requests) == 1


def test_parameters_may_be_json(hub: Hub, anthropix_emulator: Emulator) -> None:
    params = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Why?"}], "temperature": 0.5}
    name = anthropix("submit", "--params", "-", "--max-tokens", "7", given=json.dumps(params)).stdout.strip()
    job = hub.store.job("jobs", name)
    assert job is not None
    assert job.data["params"] == {**params, "max_tokens": 7}
    assert anthropix_emulator.requests == []


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (["submit"], "expected a prompt or --params", 2),
        (["submit", "Why?", "--params", "-"], "expected a prompt or --params", 2),
        (["submit", "--params", "-"], "expected JSON, an object", 2),
        (["submit", ""], "the prompt is empty", 2),
        (["submit", " ", "--id", "blank"], "the prompt is empty", 2),
        (["store", "show"], "Missing argument 'NAME'", 2),
        (["submit", "Why?", "--model", ""], "model: expected", 1),
        (["cancel", "nothing"], "'nothing' is unknown", 1),
        (["store", "follow", os.devnull, "nothing"], "expected", 1),
    ],
)
def test_what_is_wrong_is_said_in_one_line(hub: Hub, arguments: list[str], says: str, status: int) -> None:
    assert hub.names() == []
    done = anthropix(*arguments)
    assert done.returncode == status
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_answers_are_followed_shown_and_cancelled_from_anywhere(
    hub: Hub, url: str, start: Start, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(BEGUN)
    start()
    name = submit(hub, "first")
    until(lambda: has_begun(hub, name))
    shown = anthropix("store", "show", name)
    assert shown.stderr.startswith("running, ")
    assert f"entries, begun once, written by {hub.status(name).holder}" in shown.stderr
    assert shown.stdout.startswith("Red")
    lines = anthropix("store", "show", url, name, "--json").stdout.splitlines()
    assert json.loads(lines[0])["data"]["kind"] == "begin"
    assert anthropix("cancel", name, "--reason", "enough").returncode == 0
    assert anthropix("cancel", name).stderr == "Error: there is nothing to cancel: 'first' is cancelled\n"
    followed = anthropix("store", "follow", url, name)
    assert followed.returncode == 1
    assert WHOLE.startswith(followed.stdout.strip())
    assert followed.stderr == "Error: enough\n"
    cursor = json.loads(lines[2])["cursor"]
    rest = anthropix("store", "follow", url, name, "--json", "--after", cursor)
    assert rest.returncode == 0
    found = [json.loads(each) for each in rest.stdout.splitlines()]
    assert [entry["number"] for entry in found] == [*range(3, 3 + len(found))]
    assert found[-1]["data"]["kind"] == "cancelled"


def test_a_log_that_is_not_there_cannot_be_followed(hub: Hub, url: str) -> None:
    assert hub.names() == []
    for options in ([], ["--json"]):
        done = anthropix("store", "follow", url, "nothing", *options)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: there is no log 'nothing'\n")
    assert anthropix("store", "show", url, "nothing").returncode == 1


def test_a_log_is_followed_while_it_grows(hub: Hub, url: str, programs: Programs) -> None:
    epoch = hub.store.claim("talk")
    reader = programs.run([*COMMAND, "store", "follow", url, "talk", "--json"])
    for number in range(3):
        hub.store.append("talk", epoch, number, [{"n": number}], close=number == 2)
        assert json.loads(line(reader))["data"] == {"n": number}
    assert reader.wait(DEADLINE) == 0


def test_an_answer_that_was_lost_before_its_first_word_has_no_empty_line(hub: Hub) -> None:
    hub.store.append("lost", hub.store.claim("lost"), 0, [begin_entry(1, "dead")])
    done = anthropix("store", "follow", "lost")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: who wrote the log 'lost' has died")


def test_an_answer_that_is_asked_again_begins_on_a_line_of_its_own(
    hub: Hub, start: Start, anthropix_emulator: Emulator
) -> None:
    name = submit(hub, "first", retry_lost=True)
    hub.store.take("jobs", "dead", 1)
    start_of_block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Old"}}
    events = [{"type": "message_start", "message": {"role": "assistant", "content": []}}, start_of_block]
    entries = [begin_entry(1, "dead"), *({"kind": "event", "event": event} for event in events)]
    hub.store.append(name, hub.store.claim(name, "dead"), 0, entries)
    anthropix_emulator.queue(Status(529), WHOLE)
    start()
    followed = anthropix("submit", "Why?", "--id", name, "--retry-lost", "--follow")
    assert followed.stdout == f"Old\n{WHOLE}\n"
    assert followed.stderr == "first\n-- asked again\n"
    assert followed.returncode == 0
    assert anthropix("store", "show", name).stderr.endswith("begun 2 times\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_come_to_their_end(
    number: signal.Signals, hub: Hub, start: Start, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(BEGUN)
    worker = start("--grace", "60")
    name = submit(hub, "first")
    until(lambda: has_begun(hub, name))
    worker.send_signal(number)
    assert line(worker) == "takes no more jobs"
    waits = submit(hub, "second")
    anthropix_emulator.release()
    assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE
    assert worker.wait(2 * DEADLINE) == 0
    assert hub.status(waits).state == "queued"


def test_a_second_signal_ends_them_and_what_nobody_was_told_goes_back(
    hub: Hub, start: Start, anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(BEGUN, Stall(WHOLE), WHOLE)
    worker = start("--grace", "60")
    told = submit(hub, "told")
    until(lambda: has_begun(hub, told))
    untold = submit(hub, "untold")
    anthropix_emulator.wait_for_requests(2)
    worker.send_signal(signal.SIGTERM)
    assert line(worker) == "takes no more jobs"
    worker.send_signal(signal.SIGTERM)
    printed, _ = worker.communicate(timeout=2 * DEADLINE)
    assert (printed, worker.returncode) == ("ended: 0 done, 0 failed, 0 cancelled, 1 lost\n", 3)
    assert hub.status(told).state == "failed"
    start()
    assert text_of(hub.result(untold, timeout=DEADLINE)) == WHOLE


@pytest.mark.parametrize("where", ["wait", "echo", "drain"])
def test_a_second_signal_may_come_at_any_moment_after_the_first(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first only sets the event: between that and the wait for the answers there is a moment, too."""

    class Running:
        refused = None

        def drain(self, _: float) -> bool:
            raise KeyboardInterrupt

    class Ending(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if where == "wait":
                raise KeyboardInterrupt
            return super().wait(timeout)

    def echo(_: str) -> None:
        if where == "echo":
            raise KeyboardInterrupt

    ending, running = Ending(), Running()
    ending.set()
    monkeypatch.setattr("click.echo", echo)
    assert _worker._works_until(ending, running, 60.0) is False  # type: ignore[arg-type]


def test_the_end_of_the_grace_is_as_a_second_signal(hub: Hub, start: Start, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(BEGUN)
    worker = start("--grace", "0.1")
    name = submit(hub, "told")
    until(lambda: has_begun(hub, name))
    ended_by(worker, signal.SIGTERM)
    assert worker.returncode == 3
    assert hub.status(name).state == "failed"


def test_a_wrong_key_ends_the_worker_and_costs_no_job(hub: Hub, start: Start, anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(Status(401), WHOLE)
    name = submit(hub, "first")
    worker = start()
    _, errors = worker.communicate(timeout=2 * DEADLINE)
    assert worker.returncode == 1
    assert errors.splitlines()[-1].startswith("Error: authentication_error")
    start()
    assert text_of(hub.result(name, timeout=DEADLINE)) == WHOLE


def test_a_worker_without_a_key_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    done = anthropix("worker")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: there is no API key")
    monkeypatch.delenv("ANTHROPIX_STORE")
    assert "Missing option '--store'" in anthropix("worker").stderr
