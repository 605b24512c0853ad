from __future__ import annotations

import socket

import pytest

from anthropix_actors import APIConnectionError, CancelledError, StalledError, Timeout
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._http.attempt_scope import AttemptScope, running_attempt, this_attempt

from actors import socket_of

STOP = CancelledError("stop")


def test_an_attempt_names_the_scope_of_its_thread_and_lets_go_of_everything(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    scope, outer = AttemptScope(CancelScope()), AttemptScope(CancelScope())
    with outer.attempt():
        with scope.attempt():
            assert running_attempt() is scope
            scope.timer.idle_since = scope.timer.asked_since = 1.0
            scope.cancel_scope.bind(ours)
        assert running_attempt() is outer
    assert running_attempt() is None
    assert scope.timer.idle_since is scope.timer.asked_since is None
    scope.cancel_scope.cancel(STOP)
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"


def test_an_error_after_a_cancel_comes_out_as_the_cancel() -> None:
    scope = AttemptScope(CancelScope())
    with pytest.raises(CancelledError) as caught, scope.attempt():
        scope.cancel_scope.cancel(STOP)
        raise ConnectionResetError
    assert caught.value is STOP
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    with pytest.raises(CancelledError), scope.attempt():
        pytest.fail("no attempt begins after a cancel")


def test_an_error_of_the_attempt_itself_comes_out_as_it_is() -> None:
    scope = AttemptScope(CancelScope())
    with pytest.raises(ConnectionResetError), scope.attempt():
        raise ConnectionResetError


def test_a_failure_ends_one_attempt_and_allows_the_next(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    scope = AttemptScope(CancelScope())
    stalled = StalledError("nothing came")
    with pytest.raises(StalledError) as caught, scope.attempt():
        scope.cancel_scope.bind(ours)
        scope.fail(stalled)
        scope.fail(StalledError("again"))
        assert ours.recv(1) == b""
        raise APIConnectionError("the end")
    assert caught.value is stalled
    with scope.attempt():
        scope.cancel_scope.check()
    with pytest.raises(APIConnectionError, match="another"), scope.attempt():
        raise APIConnectionError("another")


def test_a_failure_without_a_connection_does_nothing() -> None:
    scope = AttemptScope(CancelScope())
    scope.fail(StalledError("nothing came"))
    with scope.attempt():
        pass


def test_steps_of_several_scopes_may_take_turns() -> None:
    first, second = AttemptScope(CancelScope()), AttemptScope(CancelScope())
    with first.step():
        assert running_attempt() is first
        with second.step():
            assert running_attempt() is second
        assert running_attempt() is first
    assert running_attempt() is None


def test_an_attempt_may_keep_its_socket_for_later() -> None:
    scope = AttemptScope(CancelScope())
    one, other = socket.socketpair()
    with one, other:
        with scope.attempt(hold=True):
            scope.cancel_scope.bind(one)
        assert running_attempt() is None
        scope.cancel_scope.cancel(CancelledError("lunch"))
        assert other.recv(1) == b""
        scope.cancel_scope.release()
    failed = AttemptScope(CancelScope())
    one, other = socket.socketpair()
    with one, other:
        with pytest.raises(ValueError, match="oops"), failed.attempt(hold=True):
            failed.cancel_scope.bind(one)
            raise ValueError("oops")
        assert socket_of(failed.cancel_scope) is None


def test_a_stall_fails_the_attempt_and_only_after_its_time(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    scope, timeout = AttemptScope(CancelScope()), Timeout(idle=10)
    with pytest.raises(StalledError) as caught, scope.attempt():
        scope.cancel_scope.bind(ours)
        scope.timer.idle_since = 100.0
        scope.sweep(109.0, timeout)
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"
        scope.sweep(110.0, timeout)
        assert ours.recv(1) == b""
        raise APIConnectionError("the end")
    assert isinstance(caught.value.__cause__, APIConnectionError)


def test_a_stall_after_the_outcome_is_decided_changes_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    scope = AttemptScope(CancelScope())
    with scope.attempt():
        scope.cancel_scope.bind(ours)
        scope.cancel_scope.commit()
        scope.fail(StalledError("nothing came"))
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"


def test_a_request_is_refused_outside_of_an_attempt() -> None:
    with pytest.raises(RuntimeError, match="only within an attempt"):
        this_attempt()
    scope = AttemptScope(CancelScope())
    with scope.step():
        assert this_attempt() is scope
