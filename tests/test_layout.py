"""The house: which module may import which, and who may touch what is below."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import anthropix_actors
import pytest_anthropix_actors

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(anthropix_actors.__file__).parent

# From the top row down: a module imports only from rows above its own.
ROWS = [
    "_foreign",
    "errors",
    "_cancel",
    "_cancel",
    "limits",
    "_decode",
    "_http",
    "_checks",
    "files",
    "_tasks",
    "_wire",
    "_calls",
    "usage",
    "chat",
    "batches",
    "endpoints",
    "sessions",
    "messages",
    "content",
    "ledger",
    "types",
    "models",
    "client",
    "__init__",
    "emulator",
    "cli",
    "_pyinstaller",
]

THIRD_PARTIES = {
    "msgspec": {
        "usage",
        "ledger",
        "content",
        "emulator",
        "cli",
        "_decode",
        "sessions",
        "endpoints",
        "_checks",
        "_http",
        "limits",
        "_calls",
        "chat",
        "batches",
    },
    "sseclient": {"_decode"},
    "requests": {"_http"},
    "urllib3": {"_http"},
    "pykka": {"client", "cli", "_tasks", "chat"},
    "starlette": {"emulator"},
    "uvicorn": {"emulator"},
    "python_multipart": {"emulator"},
    "h11": {"emulator"},
    "pytest_anthropix_actors": {"emulator"},
    "click": {"cli"},
    "PyInstaller": {"_pyinstaller"},
}

LONGER = {
    "client": "half of it is what its methods promise",
    "batches/batches": "half of it is what its methods promise",
    "_tasks/delivery": "the deliveries are variations of one",
    "_http/exchange": "the ways in which an answer is read",
    "_calls/core": "a client's settings, each with its word",
    "_tasks/task": "one lock, and all that changes under it",
    "types": "a list",
    "errors": "a list",
    "endpoints/table": "a table",
    "chat/parameters": "a table",
}


def files() -> Iterator[tuple[str, Path]]:
    """Get row and file of every module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        yield (parts[0] if len(parts) > 1 else path.stem), path


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Get the modules that are imported at run time, and whether at the top of the file."""
    checked = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and isinstance(test.test, ast.Name) and test.test.id == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "anthropix_actors":
            names = [f"anthropix_actors.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            yield name, node in tree.body


@pytest.mark.parametrize(
    ("row", "path"), list(files()), ids=lambda value: value if isinstance(value, str) else value.stem
)
def test_a_module_imports_only_from_the_rows_above_its_own(row: str, path: Path) -> None:
    assert row in ROWS, "a new module needs a row"
    for name, at_the_top in imports(ast.parse(path.read_text())):
        top, _, rest = name.partition(".")
        if top == "anthropix_actors":
            target = rest.partition(".")[0]
            target = target if target in ROWS else "__init__"
            assert ROWS.index(target) < ROWS.index(row) or target == row
        elif top not in sys.stdlib_module_names:
            assert row in THIRD_PARTIES[top], f"{path.stem} imports {top}"
        assert at_the_top or row in {"emulator", "cli"}, f"{path.stem} imports {name} late"


def test_all_four_dependencies_are_used() -> None:
    used = {name.partition(".")[0] for _, path in files() for name, _ in imports(ast.parse(path.read_text()))}
    assert {"pykka", "requests", "sseclient", "msgspec"} <= used


@pytest.mark.parametrize("path", [path for _, path in files()], ids=lambda path: path.stem)
def test_a_file_fits_in_a_head_or_says_why_not(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    name = path.relative_to(PACKAGE).with_suffix("").as_posix()
    assert lines <= 300 or (name in LONGER and lines <= 700)


def test_importing_the_package_imports_no_extra() -> None:
    program = "import sys, anthropix_actors; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "anthropix_actors" in loaded
    assert not loaded & {"starlette", "uvicorn", "click", "pytest", "tkinter", "PySide6", "anthropic", "asyncio"}


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
