"""Imports that come late; `processes/test_fork.py` has what a fork finds of them."""

from __future__ import annotations

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
