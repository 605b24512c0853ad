"""Which test runs which line of the core, and how long it takes; in a process of its own, as it is slow."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coverage
import pytest

import anthropix_actors

if TYPE_CHECKING:
    from collections.abc import Generator

UNUSED = (
    *("cli", "emulator", "others", "processes", "batches/test_crash.py"),
    *("test_docstrings.py", "test_examples.py", "test_fuzz.py", "test_layout.py", "test_readme.py"),
    *("test_torture.py", "test_types.py"),
)
"""Tests of other things, and those whose work is done in other processes, where nobody sees a change."""


def arguments(tests: Path) -> list[str]:
    """Get what pytest is called with."""
    left_out = [f"--ignore={tests / name}" for name in UNUSED]
    imported = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # the package, by us
    return [f"--rootdir={tests.parent}", "-q", "-p", "no:cacheprovider", "-W", imported, str(tests), *left_out]


PACKAGE = Path(anthropix_actors.__file__).parent


class Cover:
    """A plugin that says of each test what it runs."""

    def __init__(self) -> None:
        self._coverage = coverage.Coverage(
            data_file=None, source_pkgs=["anthropix_actors"], config_file=False, messages=False
        )
        self._coverage.start()
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._coverage.switch_context(item.nodeid)
        start = time.monotonic()
        result = yield
        self.seconds[item.nodeid] = time.monotonic() - start
        self._coverage.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)

    def lines(self) -> dict[str, dict[int, list[str]]]:
        """Get the tests that ran each line of each module."""
        self._coverage.stop()
        data = self._coverage.get_data()
        found: dict[str, dict[int, list[str]]] = {}
        for name in data.measured_files():
            module = ".".join(Path(name).relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
            tests = data.contexts_by_lineno(name)
            good = {line: sorted({each for each in ran if each} - self.failed) for line, ran in tests.items()}
            found[module] = good
        return found


def main() -> int:
    tests, out = Path(sys.argv[1]), Path(sys.argv[2])
    plugin = Cover()
    pytest.main(arguments(tests), plugins=[plugin])
    out.write_text(
        json.dumps({"lines": plugin.lines(), "seconds": plugin.seconds, "failed": sorted(plugin.failed)}), "utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
