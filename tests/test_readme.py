"""Every snippet of the README runs, in its order, in one program."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import anthropix_actors
from anthropix_actors import emulator
from anthropix_actors.emulator import Status

from servers import DEADLINE

if TYPE_CHECKING:
    import pytest

    from anthropix_actors.emulator import Emulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_snippets_run(
    request: pytest.FixtureRequest,
    anthropix_emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(README)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropix_emulator.url)
    at_sigterm = signal.getsignal(signal.SIGTERM)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, at_sigterm))
    names: dict[str, Any] = {}
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), names)
        for name, value in list(names.items()):
            if name.startswith("test_"):
                names.pop(name)(anthropix_emulator)
            if name in {"chat", "work"}:
                value.actor_stopped.wait(10)
    names["client"].close()
    printed = capsys.readouterr().out
    assert "messages[0].content[0].text -> required, and missing" in printed
    assert "top_k -> expected an integer from 0, got -1" in printed
    assert len(SNIPPETS) >= 9


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    console = re.search(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert console is not None
    targets = re.findall(r"^\$ make (\w+)", console[1], re.MULTILINE)
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_changelog_begins_with_the_packages_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == anthropix_actors.__version__


def test_every_error_and_message_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`(\w+Error|Chat[A-Z]\w+|Batch[A-Z]\w+|Session[A-Z]\w+|Stream|Timeout|Client)`", README))
    assert named
    assert [name for name in sorted(named) if not hasattr(anthropix_actors, name)] == ["ValueError"]


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


def test_a_checker_finds_nothing_wrong_with_the_first_programs(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(program(0, 1))
    cache = f"--cache-dir={tmp_path / 'cache'}"
    command = [sys.executable, "-m", "mypy", "--strict", cache, str(tmp_path / "first.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=12 * DEADLINE, cwd=tmp_path)
    assert done.stdout.startswith("Success"), done.stdout + done.stderr


def test_the_checkers_find_nothing_wrong_with_all_programs_in_a_row(tmp_path: Path) -> None:
    (tmp_path / "all.py").write_text("from __future__ import annotations\n" + program(*range(len(SNIPPETS))))
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    cache = f"--cache-dir={tmp_path / 'cache'}"
    for command in (
        ["mypy", "--check-untyped-defs", cache, "all.py"],
        ["pyright", "--pythonpath", sys.executable, "all.py"],
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


def test_every_page_is_one_click_away_and_every_link_leads_somewhere() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("https:")}
    assert pages <= links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_timeouts_that_the_readme_tells_are_the_defaults() -> None:
    (told,) = re.findall(r"^Timeouts are in seconds.*?\n\n", README, re.MULTILINE | re.DOTALL)
    timeout = anthropix_actors.Timeout()
    fields = ("connect", "first_byte", "read", "idle", "total")
    assert re.findall(r"`(\w+)`[^()]*?\(([^)]+)\)", told) == [(name, str(getattr(timeout, name))) for name in fields]


def test_the_page_on_the_emulator_names_every_answer_and_runs() -> None:
    page = (ROOT / "docs" / "emulator.md").read_text()
    told = {*get_args(emulator.Answer), *get_args(emulator.Fault)}
    answers = {kind.__name__ for kind in told if kind.__module__.startswith("anthropix_actors.")}
    assert len(answers) > 9
    assert [name for name in sorted(answers) if f"{name}(" not in page] == []
    (snippet,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    hello = [{"role": "user", "content": "Hello"}]
    exec(compile(snippet, "emulator.md", "exec"), {"Client": anthropix_actors.Client, "hello": hello})
