"""Ctrl-C at every place of the caller's thread: nothing runs on, and the client works as before."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest

from interrupted import KINDS, PLANS, Plan, everything
from interrupts import LINES, SIGNALS, Interrupter, exits
from servers import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Where an interrupt falls between a socket or a file and its name, its collection closes it: at once, and with a word.
pytestmark = [
    pytest.mark.untraced,
    *(
        pytest.mark.filterwarnings(f"ignore:.*{what}.*:pytest.PytestUnraisableExceptionWarning")
        for what in ("<socket", "SpooledTemporaryFile")
    ),
]

EVERY = 7
"""So many places are one that is tried here; `make torture` tries them all."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Server(everything) as server:
        yield server.url


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_wherever_an_interrupt_falls_nothing_runs_on(plan: Plan, kind: str, url: str) -> None:
    report = plan.interrupted(url, kind, every=EVERY if plan.places > EVERY else 1)
    assert not report.faults, str(report)


# The tracer itself


class Lock:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def leaving() -> int:
    with Lock():
        return len("x")


def leaving_later() -> int:
    with Lock():
        number = len("x")
    return -number


@pytest.mark.parametrize(("function", "lines"), [(leaving, 2), (leaving_later, 3)])
def test_a_block_left_in_good_order_is_no_place_of_its_own(function: Callable[[], int], lines: int) -> None:
    assert exits(function.__code__)
    places = []
    for number in range(1, 10):
        interrupter = Interrupter(number, LINES, (__file__,))
        with contextlib.suppress(KeyboardInterrupt), interrupter.within():
            function()
        if interrupter.place is not None and interrupter.place.function == function.__qualname__:
            places.append(interrupter.place.line)
    assert len(places) == len(set(places)) == lines


def collecting(into: list[list[int]]) -> None:
    numbers = [1]
    sum(numbers)
    made = list(numbers)
    into.append(made)


def test_a_signal_falls_between_a_call_and_what_is_done_with_its_value() -> None:
    places = []
    for number in range(1, 10):
        into: list[list[int]] = []
        interrupter = Interrupter(number, SIGNALS, (__file__,))
        try:
            with interrupter.within():
                collecting(into)
        except KeyboardInterrupt:
            places.append((interrupter.place.line - collecting.__code__.co_firstlineno, len(into)))  # type: ignore[union-attr]
    # Python 3.13 tells of a function's instructions only behind its first call; its entry is had in another way.
    first = [(0, 0)] if sys.version_info >= (3, 13) else [(1, 0), (2, 0)]
    assert places == [*first, (3, 0), (4, 1)]
