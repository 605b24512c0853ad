"""Foreign code on threads of its own: in order, on one thread, and past what does not return."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors._foreign import threads as _foreign
from anthropix_actors._foreign.threads import Asker, Pulse, in_background, start_thread

from actors import busy_since, make_it_miss, no_thread_for, thread_of, until_at_rest
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def asker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asker]:
    monkeypatch.setattr(_foreign, "IDLE", 0.05)
    monkeypatch.setattr(_foreign, "PATIENCE", 1000.0)
    asker = Asker()
    monkeypatch.setattr(_foreign, "ASKER", asker)
    yield asker
    until_at_rest(asker)


class Blocked:
    """Something that does not return before it is let."""

    def __init__(self) -> None:
        self.began, self.let = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.began.set()
        self.let.wait(2 * DEADLINE)


def test_what_runs_in_the_background_keeps_no_process_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
    assert in_background(lambda: threads.put(threading.current_thread()), "a name")
    thread = threads.get(timeout=DEADLINE)
    assert (thread.name, thread.daemon) == ("a name", True)
    thread.join(DEADLINE)
    monkeypatch.setattr(threading.Thread, "start", no_thread_for())
    assert not in_background(pytest.fail, "a name")


def test_what_comes_while_the_interpreter_ends_is_not_waited_for() -> None:
    program = (
        "import os, sys; from anthropix_actors._foreign.threads import in_background\n"
        "class Late:\n"
        "    def __del__(self, sys=sys, os=os, in_background=in_background):\n"
        "        began = in_background(os.getpid, 'late')\n"
        "        os.write(1, f'{sys.is_finalizing()} {began}'.encode())\n"
        "late = Late()\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("True False", "")


def test_while_the_interpreter_ends_no_thread_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    assert not in_background(pytest.fail, "a name")
    with pytest.raises(RuntimeError, match="the interpreter is ending"):
        start_thread(pytest.fail, "a name")


def test_one_thread_does_all_in_order_and_ends_when_there_is_nothing_to_do(asker: Asker) -> None:
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(2):
        for number in range(3):
            asker.ask(lambda number=number: done.put((number, threading.current_thread())))  # type: ignore[misc]
        numbers, threads = zip(*[done.get(timeout=DEADLINE) for _ in range(3)], strict=True)
        assert numbers == (0, 1, 2)
        assert len(set(threads)) == 1
        assert threads[0].daemon
        until(lambda: busy_since(asker) is None)
        threads[0].join(DEADLINE)
        assert not threads[0].is_alive()


def test_what_takes_its_time_is_waited_for_and_what_does_not_return_is_left_behind(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Blocked(), Blocked()
    asker.ask(first)
    wait(first.began)
    thread = thread_of(asker)
    asker.ask(second)
    asker.look()
    assert thread_of(asker) is thread
    assert not second.began.is_set()
    monkeypatch.setattr(_foreign, "PATIENCE", 0.0)
    asker.look()
    wait(second.began)
    assert thread_of(asker) is not thread
    first.let.set()  # it is late, and takes nothing more
    assert thread is not None
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert busy_since(asker) is not None  # the other one's
    second.let.set()


def test_without_a_thread_what_is_asked_waits_for_the_next_time(asker: Asker) -> None:
    done = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_for())
        asker.ask(done.set)
    assert not done.is_set()
    asker.look()
    wait(done)


def test_what_is_asked_just_as_the_thread_ends_is_done(asker: Asker) -> None:
    class Late(queue.SimpleQueue[Any]):
        empty_once = True

        def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002
            if self.empty_once:
                self.empty_once = False
                self.put(done.set)
                raise queue.Empty
            return super().get(block, timeout)

    done = threading.Event()
    make_it_miss(asker, Late())
    asker.ask(int)
    wait(done)


def test_a_forked_child_asks_on_a_thread_of_its_own(asker: Asker) -> None:
    blocked, done = Blocked(), threading.Event()
    asker.ask(blocked)
    wait(blocked.began)
    asker.after_fork()
    asker.ask(done.set)
    wait(done)
    blocked.let.set()


@pytest.mark.usefixtures("asker")
def test_one_whose_is_alive_does_not_return_keeps_nobody_elses_from_being_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Thing:
        def __init__(self, is_alive: Callable[[], object]) -> None:
            self.is_alive = is_alive

    blocked = Blocked()
    stuck, dead = Pulse(Thing(blocked)), Pulse(Thing(lambda: False))
    assert stuck.is_alive()
    wait(blocked.began)
    assert dead.is_alive()  # as far as is known
    monkeypatch.setattr(_foreign, "PATIENCE", 0.0)
    until(lambda: not dead.is_alive())
    blocked.let.set()
