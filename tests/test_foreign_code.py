"""docs/foreign-code.md, walked: each row's code does each thing that it may do, and harms nobody else."""

from __future__ import annotations

import ast
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from torture import foreign

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs" / "foreign-code.md"
COLUMNS = ["place", "what is called", "thread", "locks held", "raises", "blocks", "calls back", "is slow", "shown by"]
PLACES = sorted({*foreign.HABITS, *foreign.WORK})


def rows() -> list[dict[str, str]]:
    """Get the rows of the table, by the beginnings of its columns' names."""
    lines = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(cell.startswith(name) for cell, name in zip(cells[0], COLUMNS, strict=True))
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells[2:]]


def shown(kind: str) -> list[str]:
    """Get what is named as showing something: kinds of torture, or tests."""
    named = [each.strip() for row in rows() for each in row["shown by"].split(";")]
    return [each.removeprefix("torture: ") for each in named if each.startswith("torture: ") == (kind == "torture")]


def test_every_row_says_something_of_everything() -> None:
    assert len(rows()) > 15
    assert all(all(row.values()) for row in rows())
    held = [row["what is called"] for row in rows() if not row["locks held"].startswith("none")]
    assert len(held) == 4, f"a lock is held while foreign code runs: {held}"


def test_every_kind_of_code_that_is_tortured_is_in_the_table() -> None:
    assert sorted(shown("torture")) == PLACES


@pytest.mark.parametrize("name", shown("test"))
def test_what_is_named_is_a_test(name: str) -> None:
    file, function = re.fullmatch(r"([\w/]+\.py)::(test_\w+)", name).groups()  # type: ignore[union-attr]
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("place", PLACES)
def test_whatever_it_does_it_harms_nobody_else(place: str) -> None:
    """Each thing it may do, in one phase of those that it comes in; `make torture` has all phases."""
    chosen: dict[str, foreign.Case] = {}
    for number, case in enumerate([*foreign.cases(), *foreign.work()]):
        if case.place == place and (case.habit not in chosen or number % 3 == 0):
            chosen[case.habit] = case
    with foreign.logs_everything(), ThreadPoolExecutor(foreign.AT_ONCE) as pool:
        found = list(pool.map(foreign.one, chosen.values()))
    assert not [f"{case}: {text}" for case, texts in zip(chosen.values(), found, strict=True) for text in texts]
