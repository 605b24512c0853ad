"""What is made though an interrupt comes: got by who wants it, or undone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from anthropix_actors._foreign import interrupts
from anthropix_actors._foreign.interrupts import uninterrupted

from interrupts import KINDS, PACKAGE, Interrupter
from servers import DEADLINE, until, wait

if TYPE_CHECKING:
    from collections.abc import Callable


def test_what_is_raised_is_raised() -> None:
    with pytest.raises(SystemExit, match="no"):
        uninterrupted(lambda: exec("raise SystemExit('no')"), print)


def test_only_the_main_thread_needs_another_one() -> None:
    found: list[threading.Thread] = []

    def make() -> None:
        found.append(threading.current_thread())

    uninterrupted(make, print)
    thread = threading.Thread(target=uninterrupted, args=(make, print))
    thread.start()
    thread.join(DEADLINE)
    assert found[0] is not threading.main_thread()
    assert found[1] is thread


def no_thread(_call: object, _name: str) -> bool:
    return False


def test_where_there_is_no_thread_it_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "in_background", no_thread)
    assert uninterrupted(lambda: 1, print) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_an_interrupt_falls_what_was_made_is_undone(kind: str) -> None:
    for number in range(1, 100):
        made: list[int] = []
        undone: list[int] = []
        interrupter = Interrupter(number, kind, (PACKAGE,))
        try:
            with interrupter.within():
                assert uninterrupted(lambda made=made: made.append(1) or 7, undone.append) == 7  # type: ignore[misc]
        except KeyboardInterrupt:
            until(lambda made=made, undone=undone: undone == [7] * len(made))  # type: ignore[misc]
        if interrupter.place is None:
            assert undone == []
            assert number > 5
            return
    pytest.fail("no end")


def test_what_comes_after_the_interrupt_is_undone_though_that_fails() -> None:
    interrupted, ended = threading.Event(), threading.Event()

    def make() -> Callable[[], None]:
        wait(interrupted)
        return ended.set

    def undo(made: Callable[[], None]) -> None:
        made()
        raise ValueError("no")

    making = interrupts._Making(make, undo)
    thread = threading.Thread(target=making.run)
    thread.start()
    making.give_up()
    interrupted.set()
    wait(ended)
    thread.join(DEADLINE)
