"""What a worker does with a job, whatever happened to it before."""

from __future__ import annotations

from itertools import product

import pytest

from anthropix_actors.hub._work.run import Run
from anthropix_actors.hub._work.takeover import Step, step_for
from anthropix_actors.stores import Job


@pytest.mark.parametrize(
    ("step", "attempt", "given"),
    [
        (Step.ASK, 1, {}),
        (Step.ASK, 3, {}),
        (Step.LOSE, 2, {"told": True}),
        (Step.RESTART, 2, {"told": True, "retry_lost": True}),
        (Step.GIVE_UP, 4, {}),
        (Step.GIVE_UP, 4, {"told": True, "retry_lost": True}),
        (Step.FINISH, 4, {"closed": True, "told": True}),
    ],
)
def test_each_rule(step: Step, attempt: int, given: dict[str, bool]) -> None:
    flags = {"closed": False, "told": False, "retry_lost": False, **given}
    assert step_for(attempt, most=3, **flags) is step


def test_whatever_happened_nothing_is_told_twice_unless_it_may_be() -> None:
    flags = (False, True)
    for attempt, closed, told, again in product(range(1, 6), flags, flags, flags):
        step = step_for(attempt, closed=closed, told=told, retry_lost=again, most=3)
        assert (step is Step.FINISH) == closed
        if step in {Step.ASK, Step.RESTART}:
            assert attempt <= 3
            assert again or not told


def test_a_job_that_is_stopped_before_it_has_a_chat_has_no_end_yet() -> None:
    ended: list[Run] = []
    run = Run(Job("a", {}), ended.append)
    run.stop()
    assert (run.end, run.is_over, ended) == (None, False, [])
