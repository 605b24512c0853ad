"""Walks docs/foreign-code.md: each entry's code does each thing that it may do, and harms only its own task."""

from __future__ import annotations

import ast
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from torture import foreign

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs" / "foreign-code.md"
KEYS = ["thread", "locks held", "raises", "blocks", "calls back", "is slow", "shown by"]
PLACES = sorted({*foreign.HABITS, *foreign.WORK})


def entries() -> dict[str, dict[str, str]]:
    """Return the entries of the page by their headings, each with its facts by their keys."""
    (text,) = re.findall(r"^### .*?(?=^## )", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    found = {}
    for entry in text.removeprefix("### ").split("\n### "):
        place, _, facts = entry.partition("\n")
        pairs = [fact.partition(":") for fact in re.split(r"^- ", facts, flags=re.MULTILINE)[1:]]
        assert [key for key, _, _ in pairs] == KEYS, place
        found[place] = {key: " ".join(value.split()) for key, _, value in pairs}
    return found


def shown(kind: str) -> list[str]:
    """Return the proofs that the page names: kinds of code of the torture, or tests."""
    named = [each.strip() for entry in entries().values() for each in entry["shown by"].split("- ") if each.strip()]
    return [each.removeprefix("torture: ") for each in named if each.startswith("torture: ") == (kind == "torture")]


def test_every_entry_says_something_of_everything() -> None:
    assert len(entries()) > 15
    assert all(all(entry.values()) for entry in entries().values())
    held = [place for place, entry in entries().items() if not entry["locks held"].startswith("none")]
    assert len(held) == 3, f"a lock is held while foreign code runs: {held}"


def test_every_kind_of_code_that_is_tortured_has_an_entry() -> None:
    assert sorted(shown("torture")) == PLACES


@pytest.mark.parametrize("name", shown("test"))
def test_what_is_named_is_a_test(name: str) -> None:
    file, function = re.fullmatch(r"([\w/]+\.py)::(test_\w+)", name).groups()  # type: ignore[union-attr]
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("place", PLACES)
def test_whatever_it_does_it_harms_nobody_else(place: str) -> None:
    """Each thing that it may do, in one of its phases; `make torture` tries all phases."""
    chosen: dict[str, foreign.Case] = {}
    for number, case in enumerate([*foreign.cases(), *foreign.work()]):
        if case.place == place and (case.habit not in chosen or number % 3 == 0):
            chosen[case.habit] = case
    with foreign.logs_everything(), ThreadPoolExecutor(foreign.AT_ONCE) as pool:
        found = list(pool.map(foreign.one, chosen.values()))
    assert not [f"{case}: {text}" for case, texts in zip(chosen.values(), found, strict=True) for text in texts]
