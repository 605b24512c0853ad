"""Many cancels in a row: another thread shuts down the sockets of all but the first."""

from __future__ import annotations

import _thread
import collections
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import CancelledError
from anthropix_actors._cancel import socket_shutdown
from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._cancel.sweeper import SWEEPER

from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STOP = CancelledError("stop")


class Bound:
    """A scope that is bound to a socket, and the other end of that."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)  # noqa: FBT003 - as it is called
        self.scope = CancelScope()
        self.scope.bind(self.ours)

    def cancel(self) -> None:
        self.scope.cancel(STOP)

    @property
    def is_shut_down(self) -> bool:
        try:
            return self.theirs.recv(1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.scope.release()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def five() -> Iterator[list[Bound]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Bound())) for _ in range(5)]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What was to be run in a thread of the system; it is for the test to run it. `threading` starts its own."""
    started: list[Callable[[], None]] = []

    def start(serve: Callable[[], None], _: object) -> None:
        started.append(serve)

    monkeypatch.setattr(_thread, "start_new_thread", start)
    return started


def in_a_thread(action: Callable[[], object]) -> None:
    """Run an action in a thread that has cancelled nothing before."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as exc:  # noqa: BLE001 - raised in the test
            raised.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


def cancel_all(those: list[Bound]) -> None:
    for each in those:
        each.cancel()


def shut_down(those: list[Bound]) -> list[bool]:
    return [each.is_shut_down for each in those]


def test_the_first_is_shut_down_at_once_and_the_others_soon(
    five: list[Bound], served: list[Callable[[], None]]
) -> None:
    in_a_thread(lambda: cancel_all(five))
    assert shut_down(five) == [True, False, False, False, False]
    (serve,) = served
    serve()
    assert all(shut_down(five))


def test_they_are_shut_down_by_a_thread_that_ends(five: list[Bound]) -> None:
    in_a_thread(lambda: cancel_all(five))
    until(lambda: all(shut_down(five)))


def test_one_whose_predecessor_has_ended_is_shut_down_at_once(
    five: list[Bound], served: list[Callable[[], None]]
) -> None:
    def cancel() -> None:
        for each in five:
            each.cancel()
            assert each.is_shut_down
            each.scope.release()

    in_a_thread(cancel)
    assert not served


def test_one_thread_does_not_wait_behind_what_another_has_cancelled(
    five: list[Bound], served: list[Callable[[], None]]
) -> None:
    in_a_thread(lambda: cancel_all(five[:4]))
    in_a_thread(five[4].cancel)
    assert five[4].is_shut_down
    served[0]()


def test_a_second_cancel_of_the_same_is_not_one_of_many(five: list[Bound], served: list[Callable[[], None]]) -> None:
    def cancel() -> None:
        five[0].cancel()
        five[0].cancel()

    in_a_thread(cancel)
    assert five[0].is_shut_down
    assert not served


def test_without_a_thread_each_is_shut_down_at_once(five: list[Bound], monkeypatch: pytest.MonkeyPatch) -> None:
    def none_to_be_had(_: object, __: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", none_to_be_had)
    in_a_thread(lambda: cancel_all(five))
    assert all(shut_down(five))


def test_after_an_interrupt_the_next_one_starts_the_thread(five: list[Bound], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Callable[[], None]] = []

    def start(serve: Callable[[], None], _: object) -> None:
        started.append(serve)
        if len(started) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(_thread, "start_new_thread", start)

    def cancel() -> None:
        five[0].cancel()
        with pytest.raises(KeyboardInterrupt):
            five[1].cancel()
        cancel_all(five[2:])

    in_a_thread(cancel)
    assert len(started) == 2
    started[1]()
    assert all(shut_down(five))


def test_what_an_interrupt_kept_a_cancel_from_is_done_by_the_next(
    five: list[Bound], served: list[Callable[[], None]]
) -> None:
    scope = five[0].scope
    with scope.child() as child:
        child.bind(five[1].ours)
        scope.cause = STOP  # an interrupt came right after this line of `cancel`
        assert not scope.cancel(STOP)
        assert child.cause is STOP
        child.release()
    assert five[0].is_shut_down
    (serve,) = served
    serve()


def test_one_that_is_added_while_the_thread_ends_is_shut_down(
    five: list[Bound], served: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is added after the thread has seen that there are no more, and before others can see that it ends."""

    class Late(collections.deque[Any]):
        def popleft(self) -> Any:
            if not self and not five[4].scope.cause:
                again.set()
                wait(added)
                raise IndexError
            return super().popleft()

    again, added = threading.Event(), threading.Event()
    monkeypatch.setattr(collections, "deque", Late)

    def cancel() -> None:
        cancel_all(five[:4])
        serving = threading.Thread(target=served[0])
        serving.start()
        wait(again)
        five[4].cancel()
        added.set()
        serving.join(DEADLINE)

    in_a_thread(cancel)
    assert len(served) == 1
    assert all(shut_down(five))


def test_a_forked_child_starts_afresh(five: list[Bound], served: list[Callable[[], None]]) -> None:
    """The thread that shut the sockets down does not exist there."""

    def cancel() -> None:
        cancel_all(five[:2])
        served.clear()
        socket_shutdown._THIS_THREAD.after_fork()
        cancel_all(five[2:])

    assert socket_shutdown._THIS_THREAD in SWEEPER.fork_listeners
    in_a_thread(cancel)
    assert shut_down(five) == [True, False, True, False, False]
    (serve,) = served
    serve()
    assert shut_down(five) == [True, False, True, True, True]
