"""How much is left of one limit: what is told, taken, written, and made up for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors.limits.limit_estimate import MINUTE, Limit

EIGHT = 8000.0


def full(per_minute: float = EIGHT) -> Limit:
    """Get a limit of which all is left."""
    limit = Limit(per_minute, least=per_minute, most=per_minute, now=0.0)
    limit.seen(per_minute)
    return limit


def test_a_new_limit_takes_what_it_is_told() -> None:
    limit = Limit(60, least=3, most=5, now=10.0)
    limit.seen(60)
    assert limit.remaining(10.0) == 3
    assert limit.remaining(12.0) == 5
    assert limit.wait(4, 0.0, 10.0) == pytest.approx(1.6)


def test_of_a_limit_that_nobody_has_seen_full_nothing_is_left() -> None:
    assert Limit(60, least=0, most=0, now=0.0).remaining(1000.0) == 0


def test_the_smaller_of_both_bounds_is_believed_from_the_start() -> None:
    limit = Limit(60, least=50, most=5, now=0.0)
    limit.seen(60)
    assert limit.remaining(0.0) == 5


def test_what_is_told_at_some_time_is_filled_from_then() -> None:
    limit = Limit(60, least=0, most=60, now=0.0)
    limit.seen(60)
    limit.at_least(20, 10.0)
    assert limit.remaining(10.0) == 20


def test_a_debt_is_forgiven_as_far_as_it_was_not_made_up_for() -> None:
    for debt, left in ((-10, 10), (-30, 0)):
        limit = Limit(60, least=debt, most=60, now=0.0)
        limit.seen(60)
        limit.forgive(20.0)
        assert limit.remaining(20.0) == left


def test_a_request_larger_than_what_was_seen_waits_for_that_and_a_little_to_spare() -> None:
    limit = Limit(6000, least=0, most=0, now=0.0)
    assert limit.wait(500, 0.0, 0.0) == pytest.approx(5.05)


def test_to_look_changes_nothing() -> None:
    limit = full()
    limit.take(EIGHT, 0.0)
    assert [limit.remaining(now) for now in (30.0, 0.0, 30.0)] == pytest.approx([4000, 0, 4000])


def test_a_clock_that_goes_back_fills_nothing_twice() -> None:
    limit = full()
    limit.take(EIGHT, 30.0)
    limit.take(1000, 0.0)
    assert limit.remaining(30.0) == -1000
    assert limit.remaining(0.0) == -1000


@given(st.floats(1, 600), st.floats(0, 40_000))
def test_one_long_answer_leaves_what_is_left_in_truth(seconds: float, written: float) -> None:
    """It drains the bucket at its own pace, while the bucket is filled."""
    limit = full()
    limit.wrote(written, 0.0, seconds)
    drained = max(0.0, written - EIGHT / MINUTE * seconds)
    truth = EIGHT - drained
    latest = EIGHT - written * MINUTE / max(MINUTE, seconds)
    assert limit.remaining(seconds) == pytest.approx(max(truth, latest, -EIGHT), abs=1e-6)


def test_an_answer_that_writes_as_fast_as_the_limit_is_filled_leaves_it_full() -> None:
    limit = full()
    limit.wrote(16_000, 0.0, 200.0)  # 80 tokens a second, of 133
    assert limit.remaining(200.0) == EIGHT


def test_what_ran_over_is_taken_once() -> None:
    limit = full()
    for expected in (EIGHT, EIGHT, EIGHT - 1000):
        limit.wrote(3000, 0.0, 60.0)
        assert limit.remaining(60.0) == expected


def test_what_ran_over_before_an_answer_began_is_gone() -> None:
    limit = full()
    limit.wrote(1000, 57.0, 60.0)
    assert limit.remaining(60.0) == pytest.approx(EIGHT - 600)


def test_nothing_runs_over_while_a_limit_is_not_full() -> None:
    limit = full()
    limit.take(4000, 0.0)
    limit.wrote(6000, 0.0, 60.0)  # full again after 30 seconds: half a minute's worth ran over
    assert limit.remaining(60.0) == pytest.approx(EIGHT - 2000)
    limit.wrote(1000, 0.0, 60.0)
    assert limit.remaining(60.0) == pytest.approx(EIGHT - 3000)


@pytest.mark.parametrize(("now", "left"), [(45.0, 6000), (60.0, 8000), (63.0, 8000)])
def test_nothing_ran_over_of_a_limit_that_turns_out_to_hold_more(now: float, left: float) -> None:
    limit = Limit(EIGHT, least=EIGHT / 2, most=EIGHT / 2, now=0.0)
    limit.seen(EIGHT / 2)
    limit.take(0, 30.0)
    limit.seen(EIGHT)
    limit.wrote(1000, 0.0, now)
    ran_over = EIGHT / MINUTE * max(0.0, now - 60.0)
    assert limit.remaining(now) == pytest.approx(left - 1000 + ran_over)


def test_a_new_limit_begins_with_a_minutes_debt_at_most() -> None:
    limit = Limit(60, least=-1e9, most=-1e9, now=0.0)
    limit.seen(60)
    assert limit.remaining(0.0) == -60


def test_what_is_told_to_be_left_ends_what_ran_over() -> None:
    limit = full()
    limit.at_most(EIGHT - 1, 60.0)
    limit.wrote(1000, 0.0, 60.0)
    assert limit.remaining(60.0) == EIGHT - 1001


def test_what_was_taken_ends_what_ran_over_also_when_it_is_there_again() -> None:
    limit = full()
    limit.take(100, 30.0)
    limit.give_back(100)
    limit.at_most(EIGHT, 30.0)
    limit.wrote(6000, 0.0, 45.0)
    limit.at_most(EIGHT, 45.0)
    assert limit.remaining(45.0) == pytest.approx(EIGHT - 4000)  # only what ran over in the last 15 s was nobody's


def test_of_an_answer_that_takes_minutes_the_last_one_counts() -> None:
    limit = full()
    limit.take(EIGHT, 0.0)
    limit.take(EIGHT / 2, 90.0)
    assert limit.remaining(120.0) == EIGHT
    limit.at_most(EIGHT / 2, 120.0)
    limit.wrote(8000, 0.0, 120.0)
    assert limit.remaining(120.0) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "wrote", "back", "most", "least"]), st.floats(-1e15, 1e15), st.floats(0, 9)),
        max_size=20,
    )
)
def test_whatever_happens_nobody_waits_longer_than_two_minutes_and_after_that_than_one(
    steps: list[tuple[str, float, float]],
) -> None:
    limit, now = full(), 0.0
    for what, amount, passed in steps:
        now += passed
        match what:
            case "take":
                limit.take(abs(amount), now)
            case "wrote":
                limit.wrote(abs(amount), now - 100, now)
            case "back":
                limit.give_back(amount)
            case "most":
                limit.at_most(amount, now)
            case _:
                limit.at_least(amount, now)
        assert -EIGHT <= limit.remaining(now) <= EIGHT
        assert limit.wait(1e9, 0.0, now) <= 2 * MINUTE + 1e-6
    limit.forgive(now)
    assert limit.remaining(now) >= 0
    assert limit.wait(1e9, 0.0, now) <= MINUTE + 1e-6


def test_what_was_said_to_be_taken_and_was_not_is_there_again() -> None:
    limit = Limit(EIGHT, least=1000, most=5000, now=0.0)
    limit.seen(EIGHT)
    limit.give_back(500)
    assert limit.remaining(0.0) == 1500
    limit.give_back(-700)
    assert limit.remaining(0.0) == 800
