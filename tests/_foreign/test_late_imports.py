"""Imports that come late; `processes/test_fork.py` has what a fork finds of them."""

from __future__ import annotations

import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from anthropix_actors import AnthropixError, Usage
from anthropix_actors._foreign.late_imports import late_import

from servers import DEADLINE, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def held() -> Iterator[None]:
    """Another thread is in the middle of an import."""
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with late_import():
            inside.set()
            wait(go_on)

    other = threading.Thread(target=hold)
    other.start()
    wait(inside)
    yield
    go_on.set()
    other.join(DEADLINE)


@pytest.mark.usefixtures("held")
def test_while_the_interpreter_ends_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    with late_import():
        assert import_module("anthropix_actors.usage").Usage is Usage


def test_what_can_no_longer_be_imported_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError), late_import():
        raise ImportError
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    with pytest.raises(AnthropixError, match="the interpreter is ending"), late_import():
        raise ImportError
    with pytest.raises(ZeroDivisionError), late_import():
        raise ZeroDivisionError


def test_a_signal_handler_in_the_middle_of_an_import_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own import finds the module half made, which is an ImportError of Python's."""
    (tmp_path / "half_made.py").write_text("import signal\nsignal.raise_signal(signal.SIGUSR1)\nlast = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    told: list[BaseException] = []

    def handle(*_: object) -> None:
        for attribute in ("last", None):
            said = pytest.raises(AnthropixError, match="a signal handler came in the middle of an import")
            with said as raised, late_import():
                exec("from half_made import last") if attribute else import_module("half_made").last
            told.append(raised.value)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with late_import():
            assert import_module("half_made").last == 1
    finally:
        signal.signal(signal.SIGUSR1, before)
        sys.modules.pop("half_made", None)
    assert [type(error.__cause__).__name__ for error in told] == ["ImportError", "AttributeError"]


def test_an_import_in_the_middle_of_another_fails_as_ever() -> None:
    with late_import(), pytest.raises(ImportError, match="no such module"), late_import():
        raise ImportError("no such module")
