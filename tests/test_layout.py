"""The house: which room may import from which, and who may touch what is below."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import anthropix_actors
import pytest_anthropix_actors

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.untraced

PACKAGE = Path(anthropix_actors.__file__).parent

# The house, from the cellar up: a room imports only from the rooms before it, imports for types included.
ROOMS = [
    *("_wire", "errors", "usage"),  # words: what travels, what is raised, what it costs
    *("_foreign", "_decode", "_checks", "content"),  # code, bytes and values of others
    *("_cancel", "_http", "limits"),  # how a request travels, and what ends it
    *("_tasks", "_calls", "tools", "stores"),  # what all work has in common: actors, calls, tools, and what outlives it
    *("chat", "batches", "files", "endpoints", "sessions", "models"),  # what the API has
    *("conversation", "hub"),  # what is built of it
    *("messages", "types", "subscribers", "ledger", "client", "__init__"),  # what a program meets
    *("emulator", "cli", "_pyinstaller"),
]

THIRD_PARTIES = {
    "msgspec": {
        *("usage", "_decode", "_checks", "content", "_http", "limits", "_calls", "tools"),
        *("chat", "batches", "endpoints", "sessions", "stores", "conversation", "hub"),
        *("subscribers", "ledger", "emulator", "cli"),
    },
    "sseclient": {"_decode"},
    "requests": {"_http"},
    "urllib3": {"_http"},
    "certifi": {"_http"},
    "pykka": {"_tasks", "tools", "chat", "subscribers", "client", "cli", "conversation", "hub"},
    "starlette": {"emulator"},
    "uvicorn": {"emulator"},
    "python_multipart": {"emulator"},
    "h11": {"emulator"},
    "mcp": {"tools"},
    "mcp_types": {"tools"},
    "anyio": {"tools"},
    "httpx2": {"tools"},
    "pytest_anthropix_actors": {"emulator"},
    "redis": {"stores"},
    "click": {"cli"},
    "PyInstaller": {"_pyinstaller"},
}

LATE = {
    ("suggest", "difflib"),
    ("handler_methods", "anthropix_actors._checks.suggest"),
    ("stream", "anthropix_actors.chat.pieces"),
    ("parameters", "anthropix_actors.tools.toolbox"),
    ("client_transport", "anthropix_actors._http.transport"),
    ("client_core", "anthropix_actors._calls.blocking"),
    ("client_core", "anthropix_actors.limits.governor"),
    ("options", "anthropix_actors._calls.cancel_token"),
    ("call_errors", "anthropix_actors._checks.suggest"),
    ("subscriber", "anthropix_actors._checks.subscriber_hints"),
    ("task", "anthropix_actors._tasks.mailbox"),
    ("task", "anthropix_actors.chat.coalescing"),
    ("task", "anthropix_actors.chat.merging"),
    ("sessions", "anthropix_actors.sessions.serving"),
    ("server", "anthropix_actors.tools.mcp.connection"),
}
"""Files and what they import when it is first used."""

WHAT_SOME_CHATS_NEED = [
    *("tools", "subscribers", "limits"),
    *("_checks.subscriber_hints", "_checks.suggest", "_checks.instead", "_tasks.mailbox", "_tasks.concurrency"),
    *("_calls.blocking", "_calls.cancel_token", "_calls.pages"),
    *(f"chat.{part}" for part in ("coalescing", "event_queue", "merging", "output", "pieces", "resume", "stream")),
]
"""A program that has only made a client has not imported any of these."""

LONGER = {
    "client": "half of it is what its methods promise",
    "batches/batches": "half of it is what its methods promise",
    "types": "a list",
    "__init__": "a list",
    "errors": "a list",
    "endpoints/table": "a table",
    "hub/_write/open_log": "one state, in short steps",
    "hub/hub": "half of it is what its methods promise",
    "chat/parameters": "a table",
    "tools/tool_call": "one state, and all that may happen to it",
    "conversation/actor": "one actor, and all that it may be asked to do",
    "tools/mcp/server": "half of it is what its methods promise",
    "tools/mcp/connection": "one state, and all that may happen to it",
    "conversation/talk": "one state, and all that may happen to it",
    "_http/tls": "one state, and all that urllib3 asks of a socket",
}


def files() -> Iterator[tuple[str, Path]]:
    """Get room and file of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        yield (parts[0] if len(parts) > 1 else path.stem), path


def imports(path: Path, *, types: bool = True) -> Iterator[tuple[str, bool]]:
    """Get the modules that a file imports, for types alone or not, and whether at its top."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and isinstance(test.test, ast.Name) and test.test.id == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            known = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module or "" for name in known]
        for name in names if types or id(node) not in for_types else ():
            yield name, node in tree.body or id(node) in for_types


def module_of(path: Path) -> str:
    return ".".join(("anthropix_actors", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path) for _, path in files()}
EACH_FILE = pytest.mark.parametrize(
    ("room", "path"), list(files()), ids=lambda value: value if isinstance(value, str) else value.stem
)


@EACH_FILE
def test_a_room_imports_only_from_the_rooms_below_it(room: str, path: Path) -> None:
    assert room in ROOMS, "a new room needs its place"
    for name, at_the_top in imports(path):
        top, _, rest = name.partition(".")
        if top == "anthropix_actors":
            target = rest.partition(".")[0] or "__init__"
            assert target == room or ROOMS.index(target) < ROOMS.index(room), f"{room} imports {name}"
        elif top not in sys.stdlib_module_names:
            assert room in THIRD_PARTIES[top], f"{path.stem} imports {top}"
        late = room in {"client", "emulator", "cli"} or (path.stem, name) in LATE
        assert at_the_top or late, f"{path.stem} imports {name} late"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module_of(path): {name for name, _ in imports(path, types=False)} & MODULES for _, path in files()}
    TopologicalSorter(graph).prepare()  # or it raises, and names the cycle


def test_the_rooms_are_those_that_there_are() -> None:
    assert sorted({room for room, _ in files()}) == sorted(ROOMS)


def test_the_map_shows_the_rooms_in_their_order() -> None:
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text("utf-8")
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    floors = [rooms.split(" · ") for rooms in re.findall(r"<br>(.*)\"]$", picture, re.MULTILINE)]
    assert [room for rooms in reversed(floors) for room in rooms] == ROOMS
    table = page.partition("| room |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ROOMS


def test_no_folder_is_a_heap() -> None:
    folders = {path.parent for _, path in files()} - {PACKAGE}
    for folder in folders:
        assert len([*folder.glob("*.py")]) <= 20, folder
        assert len(folder.relative_to(PACKAGE).parts) <= 2


def test_all_four_dependencies_are_used() -> None:
    used = {name.partition(".")[0] for _, path in files() for name, _ in imports(path, types=False)}
    assert {"pykka", "requests", "sseclient", "msgspec"} <= used


@pytest.mark.parametrize("path", [path for _, path in files()], ids=lambda path: path.stem)
def test_a_file_fits_in_a_head_or_says_why_not(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    name = path.relative_to(PACKAGE).with_suffix("").as_posix()
    assert lines <= 300 or (name in LONGER and lines <= 700)


def test_importing_the_package_imports_nothing_of_it_before_it_is_used() -> None:
    program = (
        "import sys, anthropix_actors as package; first = {*sys.modules}; assert 'Client' in dir(package)\n"
        "assert not {'pykka', 'requests', 'msgspec', 'anthropix_actors.client'} & first, first\n"
        "for name in package.__all__: getattr(package, name)\n"
        "assert {'pykka', 'msgspec', 'anthropix_actors.client'} <= {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60)


def test_a_program_that_only_chats_imports_nothing_else() -> None:
    program = (
        "import sys; from anthropix_actors import Client; client = Client('sk-ant-1')\n"
        "rooms = {'anthropix_actors.' + room for room in ('batches', 'files', 'endpoints', 'models', 'sessions')}\n"
        f"late = {{'difflib', *('anthropix_actors.' + part for part in {WHAT_SOME_CHATS_NEED})}}\n"
        "assert not {*rooms, *late} & {*sys.modules}\n"
        "for name in ('batches', 'files', 'models', 'sessions'):\n"
        "    assert getattr(client, name) is getattr(client, name)\n"
        "assert len(client.endpoints()) > 200 and rooms <= {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'anthropix_actors' has no attribute 'chat_with_me'"):
        _ = anthropix_actors.chat_with_me
    with pytest.raises(ImportError, match="Nothing"):
        exec("from anthropix_actors import Nothing")


def test_importing_the_package_imports_no_extra() -> None:
    program = "import sys; from anthropix_actors import *; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "anthropix_actors" in loaded
    extras = {"starlette", "uvicorn", "click", "redis", "mcp", "anyio", "pytest", "tkinter", "PySide6", "anthropic"}
    assert not loaded & {*extras, "asyncio"}


def test_the_pytest_plugin_imports_nothing_until_it_is_used() -> None:
    program = (
        "import sys, pytest; before = {*sys.modules}; import pytest_anthropix_actors; print(*{*sys.modules} - before)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["pytest_anthropix_actors"]


INSTALLED = pytest.mark.skipif(
    importlib.metadata.version("anthropix-actors") != anthropix_actors.__version__,
    reason="another version is installed, with its entry points",
)


@INSTALLED
def test_the_plugin_is_a_module_of_its_own() -> None:
    (plugin,) = importlib.metadata.entry_points(group="pytest11", name="anthropix_actors")
    assert plugin.value == "pytest_anthropix_actors"


@INSTALLED
def test_a_run_of_pytest_that_does_not_use_the_fixture_imports_no_package(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.has_plugin('anthropix_actors')\n"
        "    assert 'anthropix_actors' not in sys.modules\n"
    )
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_fixture_is_also_where_it_was() -> None:
    from anthropix_actors.emulator.pytest_plugin import anthropix_emulator  # noqa: PLC0415

    assert anthropix_emulator is pytest_anthropix_actors.anthropix_emulator


def test_what_is_tested_is_what_is_installed() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert list((PACKAGE / "emulator" / "recordings").glob("*.sse"))
