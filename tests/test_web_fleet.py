"""The chat for many web processes, among the examples: whichever dies, each visitor has each word once."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from anthropix_actors import Client, Hub, Worker
from anthropix_actors.emulator import Pace, Stall, Status
from anthropix_actors.stores import Lost, MemoryStore

from browser import ENTER, Browser, browser
from programs import ended_by, line
from servers import DEADLINE, until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from anthropix_actors.emulator import Emulator

    from programs import Programs

    Site = tuple[subprocess.Popen[str], str]

pytestmark = pytest.mark.untraced

PROGRAM = Path(__file__).parents[1] / "examples" / "web_fleet.py"
WHOLE = "Red light passes, blue light goes astray."
BEGUN = Stall(WHOLE, after_events=5)
LONG = " ".join(f"word{number}" for number in range(200))


@pytest.fixture(autouse=True)
def worker(
    anthropix_emulator: Emulator, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> subprocess.Popen[str]:
    monkeypatch.setenv("ANTHROPIX_STORE", f"sqlite://{tmp_path}/fleet.sqlite")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)
    worker = programs.run([sys.executable, "-P", "-m", "anthropix_actors.cli", "worker", "--lease", "1"])
    monkeypatch.delenv("ANTHROPIC_API_KEY")  # web processes need none
    assert line(worker).endswith("takes jobs out of 'jobs'")
    return worker


@pytest.fixture
def serve(programs: Programs) -> Callable[[], Site]:
    def serve() -> Site:
        program = programs.run([sys.executable, "-W", "error", str(PROGRAM), "0"])
        return program, line(program)

    return serve


class Visitor:
    """A browser, as far as it reads events: it goes on with the last id that it has seen."""

    def __init__(self) -> None:
        self.last: str | None = None
        self.text = ""
        self.questions: list[str] = []
        self.errors: list[str] = []
        self.begun = 0
        self.ends: set[str] = set()  # whoever connects again after an end is told it once more

    @property
    def ended(self) -> int:
        return len(self.ends)

    def read(self, url: str, until: Callable[[Visitor], bool]) -> None:
        headers = {"Last-Event-ID": self.last} if self.last else {}
        with requests.get(f"{url}events", headers=headers, stream=True, timeout=DEADLINE) as response:
            event: dict[str, str] = {}
            for each in response.iter_lines(decode_unicode=True):
                if each:
                    name, _, value = each.partition(": ")
                    event[name] = value
                    continue
                self._take(event)
                event = {}
                if until(self):
                    return
        raise AssertionError("the events ended before what the test waited for")

    def _take(self, event: dict[str, str]) -> None:
        self.last = event.get("id", self.last)
        match event.get("event"), json.loads(event.get("data", "null")):
            case "conversation", _:
                self.questions, self.text = [], ""
            case "question", {"text": text}:
                self.questions.append(text)
            case "message_start", _:
                self.begun += 1
            case "content_block_delta", {"delta": {"text": text}}:
                self.text += text
            case "error", {"error": {"message": text}} if self.last not in self.ends:
                self.errors.append(text)
                self.ends.add(str(self.last))
            case "message_stop", _:
                self.ends.add(str(self.last))


def room(url: str) -> str:
    return requests.get(url, timeout=DEADLINE).url


def elsewhere(address: str, url: str) -> str:
    """Return the address of the same room at another web process."""
    return url + address.split("/", 3)[3]


def ask(address: str, question: str) -> int:
    return requests.post(f"{address}ask", json={"question": question}, timeout=DEADLINE).status_code


def test_a_web_process_that_is_killed_in_mid_answer_costs_no_word(
    serve: Callable[[], Site], anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(Pace(LONG, tokens_per_second=150))
    sites = [serve() for _ in range(3)]
    address = room(sites[0][1])
    assert ask(address, "Why?") == 204
    visitor = Visitor()
    for number, (program, url) in enumerate(sites[:2], 1):
        visitor.read(elsewhere(address, url), lambda v, n=number: v.text.count(" ") > 40 * n)  # type: ignore[misc]
        program.kill()
    visitor.read(elsewhere(address, sites[2][1]), lambda v: v.ended == 1)
    assert (visitor.text, visitor.questions, visitor.begun) == (LONG, ["Why?"], 1)
    late = Visitor()
    late.read(elsewhere(address, sites[2][1]), lambda v: v.ended == 1)
    assert (late.text, late.questions) == (LONG, ["Why?"])
    assert len(anthropix_emulator.requests) == 1


def test_turns_stop_and_errors_are_the_same_at_each(serve: Callable[[], Site], anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue("Hello.", BEGUN, Status(400, "That is too much."), "Well.")
    (_, first), (_, second) = serve(), serve()
    here = room(first)
    there = elsewhere(here, second)
    visitor = Visitor()
    assert ask(here, "Hi.") == 204
    visitor.read(there, lambda v: v.ended == 1)
    assert ask(there, "Why?") == 204
    visitor.read(here, lambda v: "Red" in v.text)
    assert ask(here, "Me too?") == 409
    assert requests.post(f"{there}stop", timeout=DEADLINE).status_code == 204
    visitor.read(there, lambda v: v.ended == 2)
    assert visitor.errors == ["stopped"]
    assert ask(here, "And?") == 204
    visitor.read(here, lambda v: v.ended == 3)
    assert "too much" in visitor.errors[1]
    assert ask(there, "Then?") == 204
    visitor.read(here, lambda v: v.ended == 4)
    assert visitor.questions == ["Hi.", "Why?", "And?", "Then?"]
    said = [each["content"] for each in anthropix_emulator.requests[-1].body["messages"]]
    assert (said[:3], said[-1], len(said)) == (["Hi.", "Hello.", "Why?"], "Then?", 5)
    assert WHOLE.startswith(said[3])


def test_whoever_leaves_stops_nothing(serve: Callable[[], Site], anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(BEGUN)
    _, url = serve()
    address = room(url)
    assert ask(address, "Why?") == 204
    Visitor().read(address, lambda v: "Red" in v.text)
    anthropix_emulator.release()
    visitor = Visitor()
    visitor.read(address, lambda v: v.ended == 1)
    assert (visitor.text, visitor.errors) == (WHOLE, [])
    assert anthropix_emulator.hangups == 0


def test_a_worker_that_is_killed_in_mid_answer_is_said_to_be(
    serve: Callable[[], Site],
    anthropix_emulator: Emulator,
    worker: subprocess.Popen[str],
    programs: Programs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anthropix_emulator.queue(BEGUN)
    _, url = serve()
    address = room(url)
    assert ask(address, "Why?") == 204
    visitor = Visitor()
    visitor.read(address, lambda v: "Red" in v.text)
    worker.kill()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    programs.run([sys.executable, "-P", "-m", "anthropix_actors.cli", "worker"])
    visitor.read(address, lambda v: v.ended == 1)
    assert WHOLE.startswith(visitor.text)
    assert "its worker has died" in visitor.errors[0]
    assert len(anthropix_emulator.requests) == 1


def test_a_server_that_ends_says_nothing_and_its_visitors_go_on(
    serve: Callable[[], Site], anthropix_emulator: Emulator
) -> None:
    anthropix_emulator.queue(BEGUN)
    (program, first), (_, second) = serve(), serve()
    address = room(first)
    assert ask(address, "Why?") == 204
    visitor = Visitor()
    visitor.read(address, lambda v: "Red" in v.text)
    _, errors = ended_by(program, signal.SIGTERM)
    assert errors == ""
    anthropix_emulator.release()
    visitor.read(elsewhere(address, second), lambda v: v.ended == 1)
    assert visitor.text == WHOLE


def test_other_sites_have_no_say(serve: Callable[[], Site]) -> None:
    _, url = serve()
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=DEADLINE).status_code == 400
    address = room(url)
    plain: Any = {"Content-Type": "text/plain"}  # what a page of another site may send without being asked first
    form = requests.post(f"{address}ask", '{"question": "Why?"}', headers=plain, timeout=DEADLINE)
    assert form.status_code == 422
    assert requests.get(f"{url}room-that-is-none/", timeout=DEADLINE).status_code == 404


@pytest.mark.parametrize("last", ["rubbish", "0:rubbish", "7:", "-1:", "0:abc.1"])
def test_an_id_that_is_none_is_not_gone_on_after(serve: Callable[[], Site], last: str) -> None:
    program, url = serve()
    address = room(url)
    with requests.get(f"{address}events", headers={"Last-Event-ID": last}, stream=True, timeout=DEADLINE) as answer:
        assert answer.status_code == 204
    _, errors = ended_by(program, signal.SIGTERM)
    assert errors == ""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


def test_a_browser_goes_on_where_it_was_when_its_server_is_killed(
    serve: Callable[[], Site], chromium: Browser, anthropix_emulator: Emulator, programs: Programs
) -> None:
    anthropix_emulator.queue("Hello.", BEGUN)
    program, url = serve()
    chromium.open(url)
    chromium.type("#question", f"Hi.{ENTER}")
    chromium.wait_for("Hello.", ".answer")
    until(lambda: chromium.sees("#send"))
    chromium.type("#question", f"Why?{ENTER}")
    chromium.wait_for("Red", ".answer")
    program.kill()
    chromium.wait_for("Connecting again", "#status")
    port = url.rpartition(":")[2].rstrip("/")
    assert line(programs.run([sys.executable, "-W", "error", str(PROGRAM), port])) == url
    until(lambda: not chromium.text("#status"))
    anthropix_emulator.release()
    chromium.wait_for(WHOLE, ".answer")
    assert chromium.text("#log").split("\n\n") == ["Hi.", "Hello.", "Why?", WHOLE]


def test_a_conversation_is_gone_before_its_answers_and_none_is_asked_again(
    anthropix_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    fleet: Any = importlib.import_module(PROGRAM.stem)
    monkeypatch.setattr(fleet, "KEPT", 1.0)
    store = MemoryStore()
    with Client("key", base_url=anthropix_emulator.url) as client, Worker(client, Hub(store)), Hub(store) as hub:
        room = fleet.Room.begin(hub)
        for number, question in enumerate(("one", "two")):
            assert room.ask(question)
            assert hub.result(room.answer(number), DEADLINE)
        until(lambda: store.state(room.name) is None)
        assert store.state(room.answer(1)) is not None
        with pytest.raises(Lost):
            room.questions()
    assert len(anthropix_emulator.requests) == 2
