from __future__ import annotations

import gc
import socket
import threading

import pytest

from anthropix_actors import CancelledError
from anthropix_actors._cancel.scope import CancelScope

from actors import until_blocked
from servers import DEADLINE

STOP = CancelledError("stop")


def test_the_first_cancel_wins_and_says_so() -> None:
    scope = CancelScope()
    scope.check()
    assert scope.cancel(STOP) is True
    assert scope.cancel(CancelledError("late")) is False
    assert scope.cause is STOP
    with pytest.raises(CancelledError, match="stop"):
        scope.check()


def test_after_the_finish_a_cancel_changes_nothing() -> None:
    scope = CancelScope()
    scope.commit()
    assert scope.cancel(STOP) is False
    scope.check()


def test_a_finish_after_a_cancel_raises() -> None:
    scope = CancelScope()
    scope.cancel(STOP)
    with pytest.raises(CancelledError):
        scope.commit()
    assert not scope.committed


def test_a_cancel_wakes_a_blocked_read(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    scope = CancelScope()
    scope.bind(ours)
    threading.Thread(target=scope.cancel, args=(STOP,)).start()
    assert ours.recv(1) == b""
    scope.release()


def test_a_socket_bound_after_a_cancel_is_shut_down_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    scope = CancelScope()
    scope.cancel(STOP)
    with pytest.raises(CancelledError):
        scope.bind(ours)
    assert theirs.recv(1) == b""
    scope.release()


def test_what_was_released_is_not_touched_by_a_late_cancel(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    scope = CancelScope()
    scope.bind(ours)
    scope.release()
    scope.cancel(STOP)
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"


def test_binding_another_socket_releases_the_one_before() -> None:
    first, second = socket.socketpair()
    scope = CancelScope()
    with first, second:
        scope.bind(first)
        scope.bind(second)
        scope.release()
    gc.collect()  # a duplicate that was left open would warn


def test_what_is_left_to_read_after_the_finish_is_abandoned_by_a_cancel(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    scope = CancelScope()
    scope.bind(ours)
    scope.commit()
    assert scope.cancel(STOP) is False
    assert ours.recv(1) == b""
    scope.release()


def test_a_wait_ends_when_it_is_ready_or_its_time_is_up() -> None:
    scope = CancelScope()
    ready = threading.Event()

    def make_ready() -> None:
        until_blocked(scope)
        ready.set()
        scope.notify()

    threading.Thread(target=make_ready).start()
    assert scope.wait(ready.is_set, DEADLINE) is True
    assert scope.wait(lambda: False, 0) is False


def test_a_cancel_ends_a_wait_and_a_sleep() -> None:
    scope = CancelScope()

    def cancel() -> None:
        until_blocked(scope)
        scope.cancel(STOP)

    threading.Thread(target=cancel).start()
    with pytest.raises(CancelledError):
        scope.sleep(2 * DEADLINE)
    with pytest.raises(CancelledError):
        scope.wait(lambda: True)


def test_forgetting_cancels_without_a_shutdown_even_while_the_lock_is_held(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    scope = CancelScope()
    scope.bind(ours)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with scope.condition:
            held.set()
            done.wait(DEADLINE)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(DEADLINE)
    scope.after_fork(STOP)
    done.set()
    holder.join(DEADLINE)
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"
    assert scope.cause is STOP


def test_a_cancel_from_within_a_cancel_of_the_same_thread_does_not_hang() -> None:
    """As when a signal handler cancels what the thread is just about to bind."""
    scope = CancelScope()
    with scope.condition:
        assert scope.cancel(STOP)


def test_a_child_is_cancelled_with_its_parent_and_not_after_it() -> None:
    parent = CancelScope()
    with parent.child() as child:
        assert parent.cancel(CancelledError("lunch"))
        assert child.cause is parent.cause
    with pytest.raises(CancelledError, match="lunch"), parent.child():
        pass
    other = CancelScope()
    with other.child() as child:
        pass
    other.cancel(CancelledError("late"))
    assert child.cause is None


def test_a_child_is_forgotten_with_its_parent() -> None:
    parent = CancelScope()
    with parent.child() as child:
        parent.after_fork(CancelledError("forked"))
        assert child.cause is parent.cause
