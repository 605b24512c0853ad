"""The README and the pages in docs/: every program in them runs, every link leads somewhere, every name exists."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

import anthropix_actors
from anthropix_actors import BatchRef, ChatRef, Client, SessionRef, emulator, stores
from anthropix_actors.emulator import RULES, Status, ToolCall
from anthropix_actors.endpoints import endpoints

from redis_servers import RedisServer
from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator import Emulator

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
DOCS = {page.stem: page.read_text("utf-8") for page in sorted((ROOT / "docs").glob("*.md"))}
EVERY_PAGE = {
    "README.md": README,
    **{f"docs/{name}.md": text for name, text in DOCS.items()},
    **{
        name: (ROOT / name).read_text("utf-8")
        for name in (
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "examples/README.md",
            "benchmarks/README.md",
            "tests/fuzz/README.md",
        )
    },
}
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LONGEST_README = 200
LONGEST_PROGRAM = 30


def snippets_of(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


SNIPPETS = snippets_of(README)
WINDOWS = ("Window(Client()).mainloop()\n", "app.exec()\n", "EarlyWindow().mainloop()\n")
"""Each ends a program with a window, which subscribers/test_windows.py runs."""
PROGRAMS = {"README": SNIPPETS, **{name: found for name, text in DOCS.items() if (found := snippets_of(text))}}
"""By page, what runs in its order as one program; it takes nothing from other pages."""


@pytest.fixture
def _sigterm() -> Iterator[None]:
    """What a program has SIGTERM do is undone after it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    """A program that sets up logging does so for itself."""
    root, ours = logging.getLogger(), logging.getLogger("anthropix_actors")
    handlers, levels = [*root.handlers], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def _redis(page: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server that one of the pages needs."""
    with RedisServer() if page == "redis" else contextlib.nullcontext() as server:
        if server is not None:
            monkeypatch.setenv("REDIS_URL", server.url)
        yield


@pytest.mark.parametrize("page", PROGRAMS)
@pytest.mark.usefixtures("_sigterm", "_logs_as_before", "_redis")
def test_the_snippets_of_a_page_run(
    page: str,
    anthropix_emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in PROGRAMS[page]:
        if snippet.endswith(WINDOWS):
            continue
        exec(compile(snippet, f"{page}.md", "exec"), names)
        for name, value in list(names.items()):
            if name.startswith("test_"):
                names.pop(name)(anthropix_emulator)
            if isinstance(value, (ChatRef, BatchRef, SessionRef)):
                value.actor_stopped.wait(DEADLINE)
    for value in names.values():
        if isinstance(value, Client):
            value.close()
    printed = capsys.readouterr().out
    assert [line for line in PRINTED.get(page, ()) if line not in printed] == []


PRINTED = {
    "README": ["\n-- {'input_tokens'", "\n-- to ", " tokens\n"],
    "errors": [
        "messages[0].content[0].text -> required, and missing",
        "top_k -> expected an integer from 0, got -1",
        "messages[1].content[0]: expected a tool_result for 'toolu_1' in ",
    ],
    "batches": ["poem-0 ", "poem-19 succeeded\n", "20 poems\n20 poems\n"],
    "conversations": ["done\n", "denied by Eva\n", "read AnswerDone\n", "Address(name=", 'The tool said: "it rains"'],
    "cancelling": ["the window was closed\n"],
    "daemons": ["<ChatRef 'job-1', done, "],
    "limits": ["RateLimit(per_minute="],
    "redis": ["1-1 {'text': ' world'}\n"],
    "tools": ["'minimum': 1, 'maximum': 7", "count_words 1\n", "you asked Why?\n", "notes_count_notes ['about']\n3\n"],
}
"""Of what the programs print, what their pages say that they do."""


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < LONGEST_README


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    console = re.search(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert console is not None
    targets = re.findall(r"^\$ make (\w+)", console[1], re.MULTILINE)
    assert targets == ["demo", "test"]


def test_whatever_a_page_says_to_make_is_a_target_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    told = {
        target for text in EVERY_PAGE.values() for target in re.findall(r"(?:^\$ |`)make (\w+)", text, re.MULTILINE)
    }
    assert {"demo", "test", "torture"} <= told
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert [target for target in targets.split() if f"| `make {target}` |" not in EVERY_PAGE["CONTRIBUTING.md"]] == []
    assert [target for target in sorted(told) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_the_changelog_begins_with_the_packages_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == anthropix_actors.__version__


def test_every_error_and_message_that_a_page_names_exists() -> None:
    text = "\n".join((README, *DOCS.values()))
    named = set(re.findall(r"`(\w+Error|Chat[A-Z]\w+|Batch[A-Z]\w+|Session[A-Z]\w+|Stream|Timeout|Client)`", text))
    assert len(named) > 20
    of_others = {"HTTPError", "RuntimeError", "TimeoutError", "ValueError"}
    ours = {name for name in named if any(hasattr(room, name) for room in (anthropix_actors, emulator, stores))}
    assert named - ours == of_others


def program(*numbers: int) -> str:
    """Get the first snippets as a program of its own."""
    return "\n".join(SNIPPETS[number] for number in numbers)


def test_the_actor_s_program_ends_when_the_chat_fails(
    anthropix_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)
    anthropix_emulator.queue("Hello.", Status(400))
    assert "class Printer" in SNIPPETS[2]
    (tmp_path / "actor.py").write_text(program(0, 2))
    command = [sys.executable, str(tmp_path / "actor.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=6 * DEADLINE)
    assert done.returncode == 1
    assert "BadRequestError" in done.stderr


def test_the_program_with_tools_is_whole(
    anthropix_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)
    mail = {"to": "ada@example.com", "subject": "Lunch", "text": "Today?"}
    found, sent = ToolCall("find_customer", {"name": "Ada"}), ToolCall("send_mail", mail)
    anthropix_emulator.queue(found, sent, "I have asked her.", "That of Ada.")
    [clerk] = [snippet for snippet in SNIPPETS if "clerk = Agent(" in snippet]
    assert len(clerk.splitlines()) < LONGEST_PROGRAM
    (tmp_path / "clerk.py").write_text(clerk)
    command = [sys.executable, "-W", "error", str(tmp_path / "clerk.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=6 * DEADLINE)
    assert done.stderr == ""
    assert "-- to ada@example.com: Lunch\nI have asked her.\nThat of Ada.\n-- " in done.stdout
    said = anthropix_emulator.requests[-1].body["messages"]
    assert [message["role"] for message in said] == ["user", "assistant"] * 3 + ["user"]
    cache = f"--cache-dir={tmp_path / 'cache'}"
    checked = [sys.executable, "-m", "mypy", "--strict", cache, str(tmp_path / "clerk.py")]
    done = subprocess.run(checked, capture_output=True, text=True, check=False, timeout=12 * DEADLINE, cwd=tmp_path)
    assert done.stdout.startswith("Success"), done.stdout + done.stderr


def test_a_checker_finds_nothing_wrong_with_the_first_programs(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(program(0, 1))
    cache = f"--cache-dir={tmp_path / 'cache'}"
    command = [sys.executable, "-m", "mypy", "--strict", cache, str(tmp_path / "first.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=12 * DEADLINE, cwd=tmp_path)
    assert done.stdout.startswith("Success"), done.stdout + done.stderr


def test_the_checkers_find_nothing_wrong_with_any_program(tmp_path: Path) -> None:
    for page, snippets in PROGRAMS.items():
        text = "from __future__ import annotations\n" + "\n".join(snippets)
        (tmp_path / f"{page.replace('-', '_').lower()}_page.py").write_text(text, "utf-8")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    cache = f"--cache-dir={tmp_path / 'cache'}"
    for command in (
        ["mypy", "--check-untyped-defs", "--disable-error-code=import-untyped", cache, "."],  # Django has no types
        ["pyright", "--pythonpath", sys.executable, "."],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=12 * DEADLINE,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def anchors_of(text: str) -> set[str]:
    """Get what a link to a heading of a page may say, as GitHub makes it of the heading."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[str, str, str]]:
    """Get page, file and anchor of every link that stays in here."""
    for page, text in EVERY_PAGE.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text)):
            if not re.match(r"https?:", link):
                file, _, anchor = link.partition("#")
                yield page, file and (ROOT / page).parent.joinpath(file).resolve().relative_to(ROOT).as_posix(), anchor


def test_every_page_is_one_click_away() -> None:
    here = {file for page, file, _ in links() if page == "README.md"}
    assert {*EVERY_PAGE} - {"README.md", "tests/fuzz/README.md"} <= here


def test_every_link_leads_somewhere() -> None:
    found = list(links())
    assert len(found) > 100
    assert [(page, file) for page, file, _ in found if not (ROOT / file).exists()] == []
    anchored = [(page, file or page, anchor) for page, file, anchor in found if anchor]
    assert len(anchored) > 10
    assert [each for each in anchored if each[2] not in anchors_of(EVERY_PAGE[each[1]])] == []


PLACES = (ROOT, Path(anthropix_actors.__file__).parent, ROOT / "tests", ROOT / "docs", ROOT / "examples")
"""What files are named by: of the project, the package, the tests, the pages, the examples."""


def test_every_file_that_a_page_names_exists() -> None:
    named = {
        (page, name)
        for page, text in EVERY_PAGE.items()
        if page != "CHANGELOG.md"
        for name in re.findall(r"`([\w./-]+\.(?:py|md|toml|cfg|json)|[a-z\d_./-]+/)`", text)
    }
    assert len(named) > 50
    missing = [
        (page, name)
        for page, name in sorted(named)
        if not any((place / name).exists() for place in (*PLACES, (ROOT / page).parent))
    ]
    assert missing == []


def test_the_numbers_that_the_pages_tell_are_right() -> None:
    assert f"All {len(endpoints())} endpoints" in DOCS["endpoints"]
    assert f"{len(RULES)} rules" in DOCS["reliability"]


def test_the_timeouts_that_their_page_tells_are_the_defaults() -> None:
    told = re.findall(r"^\| `(\w+)` \| (?:(\d+) s|None) \|", DOCS["timeouts"], re.MULTILINE)
    timeout = anthropix_actors.Timeout()
    fields = ("connect", "first_byte", "read", "idle", "total")
    assert told == [(name, str(getattr(timeout, name) or "")) for name in fields]


def test_the_page_on_the_emulator_names_every_answer() -> None:
    told = {*get_args(emulator.Answer), *get_args(emulator.Fault)}
    answers = {kind.__name__ for kind in told if kind.__module__.startswith("anthropix_actors.")}
    assert len(answers) > 9
    assert [name for name in sorted(answers) if f"{name}(" not in DOCS["emulator"]] == []
