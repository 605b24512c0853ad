"""Code that relies on its callers for a lock says so when they do not hold it."""

from __future__ import annotations

import threading

import pytest

from anthropix_actors import CancelledError, Governor
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._foreign.locks import is_held

from servers import DEADLINE


@pytest.mark.parametrize("lock", [threading.RLock(), threading.Condition(), threading.Condition(threading.RLock())])
def test_a_lock_is_held_by_the_thread_that_took_it_and_by_no_other(lock: threading.RLock | threading.Condition) -> None:
    held: list[bool] = []
    with lock, lock:
        assert is_held(lock)
        other = threading.Thread(target=lambda: held.append(is_held(lock)))
        other.start()
        other.join(DEADLINE)
    assert held == [False]
    assert not is_held(lock)


def test_who_does_not_hold_the_lock_is_told_so() -> None:
    scope, line = CancelScope(), Governor().line("claude-test")
    for act in (scope.socket.release, scope.socket.shut_down, line.wake_first):
        with pytest.raises(AssertionError):
            act()


def test_a_forked_child_has_a_lock_of_its_own() -> None:
    scope = CancelScope()
    scope.after_fork(CancelledError("forked"))
    with scope.condition:
        scope.socket.shut_down()
