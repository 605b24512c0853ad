from __future__ import annotations

import sys
import threading

import pytest

from anthropix_actors import AnthropixError
from anthropix_actors._foreign.on_first_use import MadeOnce, OnFirstUse

from servers import DEADLINE, wait


class Answer:
    made = 0

    @OnFirstUse
    def words(self) -> list[str]:
        """What it says."""
        self.made += 1
        return []

    @OnFirstUse
    def missing(self) -> object:
        raise ImportError("no such module")


def test_it_is_made_once_and_when_it_is_read() -> None:
    answer = Answer()
    assert answer.made == 0
    assert answer.words is answer.words
    assert answer.made == 1
    assert Answer().words is not answer.words
    assert Answer.words.__doc__ == "What it says."


def test_it_is_the_one_that_was_there_first() -> None:
    first = ["first"]

    class Slow(Answer):
        @OnFirstUse
        def words(self) -> list[str]:
            vars(self)["words"] = first  # as another thread would meanwhile
            return []

    answer = Slow()
    assert answer.words is first


def test_it_can_be_assigned_and_a_type_checker_agrees() -> None:
    answer = Answer()
    answer.words = ["assigned"]
    assert answer.words == ["assigned"]
    assert answer.made == 0


def test_a_failed_import_is_raised() -> None:
    with pytest.raises(ImportError, match="no such module"):
        _ = Answer().missing


def test_an_import_that_fails_while_the_interpreter_ends_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    with pytest.raises(AnthropixError, match="the interpreter is ending"):
        _ = Answer().missing


def test_what_imports_nothing_is_not_waited_for() -> None:
    """A fork, or a signal handler that waits for another thread, may come while it is made."""
    began, go_on = threading.Event(), threading.Event()

    class Held:
        @MadeOnce
        def words(self) -> list[str]:
            if threading.current_thread() is other:
                began.set()
                wait(go_on)
            return []

    held = Held()
    other = threading.Thread(target=lambda: held.words)
    other.start()
    wait(began)
    first = held.words
    go_on.set()
    other.join(DEADLINE)
    assert held.words is first
