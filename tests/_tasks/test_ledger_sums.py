"""Sums that threads and signal handlers add to: nothing is lost, nothing counts twice."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors._tasks import ledger_sums as _books
from anthropix_actors._tasks.ledger_sums import Books

from actors import lock_of
from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

KEYS = st.sampled_from("abc")


@given(st.lists(st.lists(st.tuples(KEYS, st.integers(1, 99)), max_size=4)))
def test_each_sum_is_the_sum_of_what_was_added(items: list[list[tuple[str, int]]]) -> None:
    books = Books()
    for item in items:
        books.add(item)
    pairs = [pair for item in items for pair in item]
    assert books.now() == {key: sum(each for name, each in pairs if name == key) for key, _ in pairs}


def interrupted_at(step: int, does: Callable[[], object], handler: Callable[[], object]) -> bool:
    """Let a thread be interrupted before one bytecode of the books, as by a signal; get whether it came so far."""
    left = [step]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != _books.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if left[0] == 0:
                sys.settrace(None)
                frame.f_trace = None
                handler()
        return trace

    before, here = sys.gettrace(), sys._getframe()  # pyright: ignore[reportPrivateUsage]
    here.f_trace_opcodes = True  # or, on CPython 3.12, it is not looked for in any frame
    sys.settrace(trace)
    try:
        does()
    finally:
        sys.settrace(before)
    return left[0] <= 0


def others_can_add(books: Books) -> bool:
    other = threading.Thread(target=books.add, args=([("other", 1)],), daemon=True)
    other.start()
    other.join(DEADLINE)
    return not other.is_alive() and books.now().get("other") == 1


def test_a_handler_that_adds_and_reads_loses_nothing_wherever_it_comes() -> None:
    """Before each bytecode of `add`, and of `now`."""
    for does in ("add", "now"):
        step, more = 0, True
        while more:
            step += 1
            books, seen = Books(), list[dict[str, int]]()
            books.add([("a", 1), ("b", 10)])

            def handler(books: Books = books, seen: list[dict[str, int]] = seen) -> None:
                books.add([("a", 2), ("b", 20)])
                seen.append(books.now())

            work = functools.partial(books.add, [("a", 4), ("b", 40)]) if does == "add" else books.now
            more = interrupted_at(step, work, handler)
            whole = 1 + 2 * more + 4 * (does == "add")
            assert books.now() == {"a": whole, "b": 10 * whole}
            for sums in seen:
                assert sums["b"] == 10 * sums["a"]  # no half of it is seen
                assert sums["a"] in (3, 7)  # its own is in, and the other is or is not
            assert others_can_add(books)
        assert step > 20


def test_what_a_handler_raises_leaves_the_sums_whole() -> None:
    class Interrupts(int):
        """A signal comes while it is added."""

        def __add__(self, other: int) -> int:
            raise KeyboardInterrupt

    books = Books()
    books.add([("a", Interrupts(1)), ("b", 10)])
    with pytest.raises(KeyboardInterrupt):
        books.add([("b", 20), ("a", 2)])
    books._sums["a"] = 1  # no signal comes any more
    books.add([("b", 40), ("a", 4)])
    assert books.now() == {"a": 7, "b": 70}
    assert others_can_add(books)


def test_what_was_added_and_is_still_in_the_queue_counts_once() -> None:
    books = Books()
    item = [("a", 1)]
    books.add(item)
    books._queued.append(item)  # as if a signal handler had raised before it was taken out
    assert books.now() == {"a": 1}
    books.add([("a", 2)])
    assert books.now() == {"a": 3}
    assert not books._queued


def test_what_cannot_be_added_is_refused_and_keeps_nobody_else_from_adding() -> None:
    books = Books()
    books.add([("a", 1)])
    for _ in range(2):
        with pytest.raises(TypeError):
            books.add([("b", 1), ("a", "text")])
        with pytest.raises(TypeError):
            books.add([([], 1)])  # type: ignore[list-item]
    books.add([("a", 2)])
    assert books.now() == {"a": 3}
    assert others_can_add(books)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer that sends signals")
def test_signals_while_the_main_thread_adds_lose_nothing() -> None:
    books, handled = Books(), [0]

    def handler(*_: Any) -> None:
        books.add([("handler", 1)])
        assert books.now()["handler"] == handled[0] + 1
        handled[0] += 1
        signal.setitimer(signal.ITIMER_REAL, 0.0005)  # the next one: none comes while this one counts

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    rounds = 0
    try:
        while handled[0] < 200 and rounds < 10**6:
            books.add([("main", 1)])
            books.now()
            rounds += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert books.now() == {"handler": handled[0], "main": rounds}
    assert handled[0] >= 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_another_thread_adds_can_add() -> None:
    books, held, done = Books(), threading.Event(), threading.Event()
    books.add([("a", 1)])

    def hold() -> None:
        with lock_of(books):
            held.set()
            assert done.wait(DEADLINE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(DEADLINE)
    child = os.fork()
    if child == 0:  # pragma: no cover - in a process of its own
        signal.alarm(int(DEADLINE))
        try:
            books.add([("a", 2)])
            os._exit(0 if books.now() == {"a": 3} else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    books.after_fork()  # as the child did
    assert others_can_add(books)
    done.set()
    holder.join(DEADLINE)
    assert books.now() == {"a": 1, "other": 1}
