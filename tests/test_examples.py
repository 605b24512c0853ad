"""Every example runs against the emulator, as its user would run it: as a program of its own."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import Client
from anthropix_actors.emulator import AskToUse, Pace, Reply, Stall, Status, ToolCall, calls, lines, recording

from driven_chats import CHATS, SCENARIOS
from driven_clerk import SCENARIOS as CLERK_SCENARIOS
from installed import HERE, missing, path_for, python_with
from servers import DEADLINE

if TYPE_CHECKING:
    from anthropix_actors.emulator import Emulator

pytestmark = pytest.mark.untraced

EXAMPLES = Path(__file__).parents[1] / "examples"


def started(emulator: Emulator, name: str, *arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "ANTHROPIC_API_KEY": "sk-ant-test", "ANTHROPIC_BASE_URL": emulator.url}
    program = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(program, env=environment, stdin=stdin, stdout=pipe, stderr=pipe, text=True)


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
    called = [ToolCall("get_weather", {"city": "Bergen"}), ToolCall("get_weather", {"town": "Oslo"})]
    anthropix_emulator.queue(called[0], Reply(called), "Take two.")
    printed = run(anthropix_emulator, "tools.py", "Umbrella?")
    assert printed.count("-- get_weather looks at Bergen") == 2
    assert printed.endswith("Take two.\n")
    last = anthropix_emulator.requests[-1].body["messages"][-1]["content"]
    assert [(block["type"], block.get("is_error", False)) for block in last] == [
        ("tool_result", False),
        ("tool_result", True),
    ]


def test_a_letter_is_approved_in_another_process_and_sent_by_a_third(
    anthropix_emulator: Emulator, tmp_path: Path
) -> None:
    letter = ToolCall("send_letter", {"to": "Ada", "text": "It is paid."})
    anthropix_emulator.queue(letter, "I have told her.")
    asks = partial(run, anthropix_emulator, "approvals.py", str(tmp_path / "talks.db"))
    assert "-- send_letter waits for approval: " in asks("write", "Write to Ada.")
    assert asks("approve") == "-- send_letter is approved by Eva\n"
    assert asks("approve") == ""
    assert asks("write").splitlines()[1:] == ["-- a letter to Ada: It is paid.", "-- sent", "I have told her."]


def test_the_tools_of_a_session_are_served_until_its_end_and_permissions_asked_for(
    anthropix_emulator: Emulator,
) -> None:
    session = anthropix_emulator.session("sesn_1")
    ended = {"type": "session.status_terminated"}
    asking = calls(AskToUse("bash", {"command": "ls"}), AskToUse("write", {}), get_weather={"city": "Bergen"})
    session.play(lines(asking, Reply(["Take an umbrella.", ended])))
    with started(anthropix_emulator, "session_tools.py", "sesn_1", stdin=subprocess.PIPE) as running:
        session.wait_for_streams()
        question = {"type": "user.message", "content": [{"type": "text", "text": "Umbrella?"}]}
        with Client("sk-ant-test", base_url=anthropix_emulator.url) as client:
            client.request("POST", "/v1/sessions/sesn_1/events", json={"events": [question]})
        printed, errors = running.communicate("y\nn\n", timeout=6 * DEADLINE)
    assert (errors, running.returncode) == ("", 0)
    assert "-- get_weather {'city': 'Bergen'}: Bergen: rain, 8 degrees\n" in printed
    assert "Take an umbrella.\n" in printed
    decided = [event["result"] for event in session.wait_for_events("user.tool_confirmation", 2)]
    assert sorted(decided) == ["allow", "deny"]


def test_the_tools_of_a_session_go_by_ctrl_c(anthropix_emulator: Emulator) -> None:
    with started(anthropix_emulator, "session_tools.py", "sesn_1") as running:
        anthropix_emulator.session("sesn_1").wait_for_streams()
        running.send_signal(signal.SIGINT)
        printed, errors = running.communicate(timeout=6 * DEADLINE)
    assert (printed, errors) == ("-- the session goes on without its tools\n", "")


def test_the_researcher_has_two_assistants_and_a_budget(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue(
        ToolCall("read", {"task": "purring and cats"}),
        ToolCall("look_up", {"word": "purr"}),
        "25 to 150 hertz.",
        ToolCall("doubt", {"task": "25 to 150 hertz"}),
        "Says who?",
    )
    printed = run(anthropix_emulator, "researcher.py", "Why?")
    steps = ["> read: purring and cats", "  > look_up: purr", "< read: 25 to 150 hertz.", "< doubt: Says who?"]
    assert [step for step in steps if f"{step}\n" not in printed] == []
    assert printed.endswith(" tokens, done\n")
    for _ in range(6):
        anthropix_emulator.queue(ToolCall("doubt", {"task": "all"}), "No.")
    anthropix_emulator.queue("That is all.")
    printed = run(anthropix_emulator, "researcher.py", "Why?")
    assert printed.count("< doubt: No.") == 6
    assert "-- its requests are spent\nThat is all.\n" in printed
    assert printed.endswith(" tokens, requests\n")


def test_the_researcher_without_a_key_talks_to_an_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    program = [sys.executable, "-W", "error", str(EXAMPLES / "researcher.py")]
    done = subprocess.run(program, capture_output=True, text=True, timeout=6 * DEADLINE, check=False)
    assert done.stderr == ""
    assert "< doubt: A mouse is no cat.\n" in done.stdout
    assert done.stdout.endswith(" tokens, done\n")


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


def test_the_notebook_runs_from_top_to_bottom(anthropix_emulator: Emulator) -> None:
    anthropix_emulator.queue("A median.", "Half are below.", None, Status(400))
    printed = run(anthropix_emulator, "notebook.py").splitlines()
    assert printed[0] == "A median."
    assert printed[2] == "Half are below."
    assert printed[3].startswith("Review(product=")
    assert sum("invalid_request_error" in line for line in printed) == 1
    assert len([line for line in printed if re.match(r"r\d \d ", line)]) == 4
    assert re.search(r"^0\.\d{4} dollars for 7 answers$", printed[-1])
    assert len(anthropix_emulator.requests) == 8


def ask_by_web(running: subprocess.Popen[str]) -> str:
    """Ask a web server until its answer begins, and end it; get what it printed and what it sent."""
    assert running.stdout is not None
    printed: list[str] = []
    while not (url := running.stdout.readline()).startswith("http"):
        assert url, printed
        printed.append(url)
    with requests.Session() as visitor:
        room = visitor.get(url.strip(), timeout=DEADLINE).url
        visitor.post(f"{room}ask", json={"question": "Why?"}, timeout=DEADLINE).raise_for_status()
        with visitor.get(f"{room}events", stream=True, timeout=DEADLINE) as events:
            for line in events.iter_lines(decode_unicode=True):
                printed.append(line)
                if "_delta" in line or '"error"' in line:
                    break
    running.send_signal(signal.SIGTERM)
    return "\n".join(printed)


WINDOWS = {
    "window.py": "tkinter",  # subscribers/test_windows.py drives this one
    "chat_tk.py": "tkinter",
    "clerk_tk.py": "tkinter",
    "chat_qt.py": "PySide6.QtWidgets",
    "chat_textual.py": "textual",
}
"""With the module that each needs."""


@functools.cache
def played(display: str, driver: str, *arguments: str) -> dict[str, str]:
    """Play all scenarios with a window; return the traceback, if any, of each."""
    program = [sys.executable, "-W", "error", "-X", "faulthandler", str(HERE / driver), *arguments]
    done = run_with(display, program)
    scenarios = (*SCENARIOS, *CLERK_SCENARIOS)
    return {**{each.__name__: done.stderr for each in scenarios}, **dict(map(json.loads, done.stdout.splitlines()))}


def run_with(display: str, program: list[str]) -> subprocess.CompletedProcess[str]:
    variables = {"DISPLAY": display, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": path_for(sys.executable)}
    return subprocess.run(
        program, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120, check=False
    )


def require(example: str, display: str | None) -> str:
    """Skip a test, or have it fail, unless there is what a window needs; return the display."""
    if python_with(WINDOWS[example]) != sys.executable:
        missing(WINDOWS[example])
    return display if display is not None else missing("Xvfb")


@pytest.mark.parametrize("scenario", [each.__name__ for each in SCENARIOS])
@pytest.mark.parametrize("toolkit", CHATS)
def test_the_chat_windows_do_what_is_asked(toolkit: str, scenario: str, display: str | None) -> None:
    display = require(f"{CHATS[toolkit].example}.py", display)
    error = played(display, "driven_chats.py", toolkit)[scenario]
    assert not error, error


@pytest.mark.parametrize("scenario", [each.__name__ for each in CLERK_SCENARIOS])
def test_the_clerk_does_what_is_asked(scenario: str, display: str | None) -> None:
    display = require("clerk_tk.py", display)
    error = played(display, "driven_clerk.py")[scenario]
    assert not error, error


@pytest.mark.parametrize("name", ["chat_tk", "chat_qt"])
@given(pieces=st.lists(st.text("`\n a*-1#", min_size=1, max_size=6), max_size=12))
def test_blocks_of_markdown_are_the_same_however_they_arrive(name: str, pieces: list[str]) -> None:
    (pattern,) = re.findall(
        r"^BLOCK = re\.compile\(r\"(.*)\", re\.", (EXAMPLES / f"{name}.py").read_text(), re.MULTILINE
    )
    block = re.compile(pattern, re.DOTALL | re.MULTILINE)
    drawn: list[str] = []
    for piece in pieces:
        rest = drawn.pop() if drawn else ""
        drawn += block.findall(rest + piece)
    assert "".join(drawn) == "".join(pieces)
    assert drawn == block.findall("".join(pieces))


ALONE = {
    "chat_tk": """
class Driven(chat_tk.Chat):
    def __init__(self, *args):
        super().__init__(*args)
        self.entry.insert(0, "Hello")
        self.after(0, self.button.invoke)

    def end(self, *args):
        super().end(*args)
        print(self.page.get("1.0", "end"), self.status["text"])
        self.winfo_toplevel().destroy()
""",
    "chat_qt": """
class Driven(chat_qt.Chat):
    def __init__(self, *args):
        super().__init__(*args)
        self.entry.setText("Hello")
        self.button.click()

    def end(self, *args):
        super().end(*args)
        print(self.answer, self.status.text())
        self.close()
""",
    "chat_textual": """
class Driven(chat_textual.Chat):
    def on_mount(self):
        super().on_mount()
        self.entry.value = "Hello"
        self.button.press()

    async def end(self, *args):
        await super().end(*args)
        print(self.answer, self.status.content, file=sys.__stdout__)
        self.exit()

    def run(self):
        super().run(headless=True)
""",
}
"""Programs that talk to an emulator of the example's own, and close their window when it has answered."""


CLERK_ALONE = """
class Driven(clerk_tk.Desk):
    def __init__(self, *args):
        super().__init__(*args)
        self.entry.insert(0, "Write to Ada.")
        self.after(0, self.say)

    def card(self, call_id, *args):
        super().card(call_id, *args)
        label, first, *others = self.cards[call_id].winfo_children()
        self.after(0, first.invoke)

    def end(self, *args):
        super().end(*args)
        print(self.page.get("1.0", "end"), self.status["text"])
        self.winfo_toplevel().destroy()

clerk_tk.Desk = Driven
"""


def run_alone(name: str, driven: str, display: str) -> str:
    """Run a window with an emulator of its own, until it closes itself; return what it printed."""
    program = [
        f"import sys, threading\nsys.path.insert(0, {str(EXAMPLES)!r})\nimport {name}\nfrom servers import until",
        driven,
        f"{name}.main()\nuntil(lambda: threading.active_count() == 1)",
    ]
    done = run_with(display, [sys.executable, "-W", "error", "-c", "".join(program)])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_clerk_without_a_key_talks_to_an_emulator(display: str | None) -> None:
    printed = run_alone("clerk_tk", CLERK_ALONE, require("clerk_tk.py", display))
    assert "-> warmly" in printed
    assert "-> sent to ada@example.com" in printed
    assert printed.endswith(" written\n")


@pytest.mark.parametrize("name", ALONE)
def test_a_chat_window_without_a_key_talks_to_an_emulator(name: str, display: str | None) -> None:
    printed = run_alone(name, f"{ALONE[name]}\n{name}.Chat = Driven\n", require(f"{name}.py", display))
    assert "This is the emulator" in printed
    assert printed.endswith(" written\n")


ENDS_AT_ONCE = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
import chat_textual
from anthropix_actors.messages import ChatCancelled

class Driven(chat_textual.Chat):
    def on_mount(self):
        super().on_mount()
        self.entry.value = "Hello"
        self.call_later(self.ask_and_end)

    async def ask_and_end(self):
        await self.ask()
        self.chat.cancel()
        await self.end(ChatCancelled(self.chat, "it was short", None), "", "it was short")
        print(self.status.content, file=sys.__stdout__)
        self.exit()

    def run(self):
        super().run(headless=True)

chat_textual.Chat = Driven
chat_textual.main()
"""


def test_an_answer_that_ends_before_anything_is_drawn_ends_no_app() -> None:
    require("chat_textual.py", "")
    done = run_with("", [sys.executable, "-W", "error", "-c", ENDS_AT_ONCE])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" written\n")


OF_WEB_PROCESSES = "web_fleet.py"
"""It asks the API for nothing; test_web_fleet.py runs it."""


@pytest.mark.parametrize("name", sorted({path.name for path in EXAMPLES.glob("*.py")} - {*WINDOWS, OF_WEB_PROCESSES}))
@pytest.mark.parametrize("what_fails", ["the key", "the API"])
def test_every_example_ends_whatever_fails(
    name: str, what_fails: str, anthropix_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anthropix_emulator.queue(*[Status(401)] * 100)
    anthropix_emulator.queue(Status(401), path="/v1/messages/batches")
    anthropix_emulator.queue(Status(401), path="/v1/sessions/sesn_1/events")
    arguments = {
        "approvals.py": [str(tmp_path / "talks.db"), "write", "Why?"],
        "batch.py": [str(tmp_path / "notes.txt")],
        "job_daemon.py": [str(tmp_path / "jobs.sqlite"), "Why?"],
        "session_tools.py": ["sesn_1"],
        "web_chat.py": ["0"],
    }.get(name, [])
    program = [sys.executable, str(EXAMPLES / name), *arguments]
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)
    if what_fails == "the API":
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            printed = ask_by_web(running) if name == "web_chat.py" else ""
            printed += running.communicate(timeout=6 * DEADLINE)[0]
        finally:
            running.kill()
    assert "ANTHROPIC_API_KEY" in printed if what_fails == "the key" else "authentication_error" in printed


def test_no_example_is_without_a_test() -> None:
    tested = Path(__file__).read_text()
    assert [path.name for path in sorted(EXAMPLES.glob("*.py")) if f'"{path.name}"' not in tested] == []
