"""When the next request may go: by itself, and against the emulator's buckets in simulated time."""

from __future__ import annotations

import heapq
import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anthropix_actors.emulator.limits import Bucket
from anthropix_actors.limits.model_limits import FIRST_REQUESTS, FOREVER, Pacer

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.limits.model_limits import Sent


def told(kind: str, per_minute: float, left: float) -> dict[str, str]:
    return {f"anthropic-ratelimit-{kind}-limit": f"{per_minute}", f"anthropic-ratelimit-{kind}-remaining": f"{left}"}


def test_before_anything_is_known_so_many_go_and_each_answer_lets_two_more_go() -> None:
    pacer, sent = Pacer(), []
    for _ in range(FIRST_REQUESTS):
        assert pacer.wait(10, 0.0) == 0.0
        sent.append(pacer.send(10, 0.0))
    assert pacer.wait(10, 0.0) == FOREVER
    pacer.answered(sent[0], {}, 0.0)
    pacer.answered(sent[0], {}, 0.0)  # counts once
    for _ in range(2):
        assert pacer.wait(10, 0.0) == 0.0
        pacer.send(10, 0.0)
    assert pacer.wait(10, 0.0) == FOREVER
    assert pacer.remaining(0.0) == {}


def test_a_refusal_stops_everything_and_then_one_goes_first() -> None:
    pacer = Pacer()
    first = pacer.send(10, 0.0)
    pacer.answered(first, {}, 1.0)
    pacer.refused(first, 5.0, 1.0)
    pacer.refused(first, 2.0, 1.0)  # a shorter one does not shorten it
    assert pacer.wait(10, 2.0) == 4.0
    assert pacer.wait(10, 6.0) == 0.0
    second = pacer.send(10, 6.0)
    assert pacer.wait(10, 6.0) == FOREVER
    pacer.answered(second, {}, 6.0)
    assert pacer.wait(10, 6.0) == 0.0


def knowing(kind: str, per_minute: float, left: float) -> Pacer:
    """Get a pacer that has seen a limit full, and then with so much left; nothing is on its way."""
    pacer = Pacer()
    for told_left in (per_minute, left):
        sent = pacer.send(0, 0.0)
        pacer.answered(sent, told(kind, per_minute, told_left), 0.0)
        pacer.ended(sent, None, 0.0)
    return pacer


@pytest.mark.parametrize(
    ("kind", "taken"), [("requests", 1), ("input-tokens", 100), ("output-tokens", 1000), ("tokens", 1100)]
)
def test_what_requests_on_their_way_will_take_is_not_there_for_others(kind: str, taken: float) -> None:
    limit = 100_000.0
    pacer = knowing(kind, limit, 0.01 * limit + 2 * taken)
    for expected in (2, 1):
        (left,) = pacer.remaining(0.0).values()
        assert left[0] == limit
        assert left[1] == pytest.approx(0.01 * limit + expected * taken)
        assert pacer.wait(100, 0.0) == 0.0
        pacer.send(100, 0.0)
    assert pacer.wait(100, 0.0) == pytest.approx(taken * 60 / limit)
    assert pacer.wait(100, 1000.0) == 0.0


def test_an_answer_tells_the_most_and_the_least_that_may_be_left() -> None:
    pacer = Pacer()
    sent = [pacer.send(100, 0.0) for _ in range(4)]
    pacer.answered(sent[1], told("input-tokens", 10_000, 5_000), 0.0)
    assert pacer.remaining(0.0) == {"input-tokens": (10_000, 4_700)}  # if it came first, the three others were after it
    pacer.answered(sent[0], told("input-tokens", 10_000, 5_100), 0.0)
    assert pacer.remaining(0.0) == {"input-tokens": (10_000, 4_800)}  # at least: it was the first, in truth
    pacer.answered(sent[2], told("input-tokens", 10_000, 2_000), 0.0)  # at most: somebody else uses the limit
    assert pacer.remaining(0.0) == {"input-tokens": (10_000, 1_900)}
    assert pacer.remaining(6.0) == {"input-tokens": (10_000, 2_900)}


def test_a_limit_that_may_have_been_full_until_requests_arrive_was_not_refilled_meanwhile() -> None:
    pacer = Pacer()
    sent = [pacer.send(GUESS, 0.0) for _ in range(32)]
    pacer.answered(sent[0], told("requests", 1200, 39), 0.0)  # the others have not arrived
    assert pacer.remaining(0.0)["requests"] == (1200, 8)
    assert pacer.remaining(0.5)["requests"] == (1200, 40 - 31)
    pacer.answered(sent[1], {}, 1.0)
    assert pacer.remaining(1.0)["requests"] == (1200, 9)  # known to be empty by so much only now
    assert pacer.remaining(1.025)["requests"][1] == pytest.approx(9.5)
    assert pacer.remaining(2.0)["requests"] == (1200, 40 - 30)
    for each in sent[2:]:
        pacer.answered(each, {}, 2.0)
    assert pacer.remaining(3.0)["requests"] == (1200, 30)


def test_requests_that_are_unanswered_take_no_output() -> None:
    pacer = Pacer()
    sent = [pacer.send(GUESS, 0.0) for _ in range(2)]
    pacer.answered(sent[0], told("output-tokens", 60_000, 5000), 0.0)
    pacer.ended(sent[1], None, 0.0)
    pacer.ended(sent[0], None, 0.0)
    assert pacer.remaining(60.0)["output-tokens"] == (60_000, 5000)


def test_a_limit_that_holds_less_than_a_minutes_worth_is_not_taken_to_hold_more() -> None:
    pacer = knowing("requests", 600, 600)
    small = Pacer()
    sent = small.send(0, 0.0)
    small.answered(sent, told("requests", 600, 9), 0.0)
    assert (pacer.remaining(100.0)["requests"], small.remaining(100.0)["requests"]) == ((600, 600), (600, 10))
    written = Pacer()
    written.answered(sent := written.send(0, 0.0), told("output-tokens", 600, 9), 0.0)
    written.ended(sent, None, 0.0)
    assert written.remaining(100.0) == {"output-tokens": (600, 9)}


def test_the_smallest_limit_is_a_limit_and_there_is_never_less_than_nothing_left() -> None:
    pacer = Pacer()
    pacer.answered(pacer.send(0, 0.0), told("requests", 1, 1), 0.0)
    assert pacer.remaining(0.0) == {"requests": (1, 1)}
    for _ in range(2):
        pacer.send(0, 0.0)
        assert pacer.remaining(0.0) == {"requests": (1, 0)}


def test_what_was_written_is_taken_off_and_learned_for_the_next() -> None:
    pacer = Pacer()
    usage = {"output_tokens": 1000, "input_tokens": 30, "cache_creation_input_tokens": 20}
    for _ in range(60):
        sent = pacer.send(100, 0.0)
        pacer.answered(sent, told("output-tokens", 100_000, 100_000), 0.0)
        pacer.ended(sent, usage | {"cache_read_input_tokens": 5000}, 0.0)
    assert pacer.remaining(0.0) == {"output-tokens": (100_000, 99_000)}
    pacer.answered(pacer.send(100, 0.0), told("tokens", 100_000, 100_000), 0.0)
    (_, left), (_, both) = pacer.remaining(0.0).values()
    assert left == pytest.approx(98_000, rel=0.001)
    assert both == pytest.approx(99_000, rel=0.001)
    pacer.send(100, 0.0)
    assert both - pacer.remaining(0.0)["tokens"][1] == pytest.approx(1050, rel=0.01)


def test_what_was_written_while_an_answer_was_on_its_way_is_taken_off_too() -> None:
    pacer = Pacer()
    first, second = pacer.send(100, 0.0), pacer.send(100, 0.0)
    pacer.ended(first, {"output_tokens": 700}, 0.0)
    pacer.answered(second, told("output-tokens", 10_000, 9_000), 0.0)
    pacer.ended(second, {"output_tokens": 300}, 0.0)
    assert pacer.remaining(0.0) == {"output-tokens": (10_000, 8_000)}


def test_what_a_request_that_failed_took_is_not_learned() -> None:
    pacer = Pacer()
    pacer.ended(pacer.send(100, 0.0), None, 0.0)
    pacer.ended(pacer.send(100, 0.0), {}, 0.0)
    pacer.answered(pacer.send(100, 0.0), told("tokens", 10_000, 10_000), 0.0)
    before = pacer.remaining(0.0)["tokens"][1]
    pacer.send(100, 0.0)
    assert before - pacer.remaining(0.0)["tokens"][1] == 1100


@pytest.mark.parametrize("odd", [None, "many", True, -5, float("nan"), float("inf"), 10**12, 10**400, [], {}])
def test_a_usage_that_makes_no_sense_changes_nothing(odd: Any) -> None:
    pacers = [knowing("tokens", 10_000, 10_000) for _ in range(2)]
    for pacer, usage in zip(pacers, (None, {"output_tokens": odd, "input_tokens": odd}), strict=True):
        pacer.ended(pacer.send(100, 0.0), usage, 0.0)
    for guess in (100, 10_000):
        assert pacers[0].wait(guess, 0.0) == pacers[1].wait(guess, 0.0)
    assert pacers[0].remaining(0.0) == pacers[1].remaining(0.0)


def test_one_odd_count_costs_the_others_nothing() -> None:
    pacer = knowing("output-tokens", 10_000, 10_000)
    pacer.ended(pacer.send(100, 0.0), {"output_tokens": 3000, "input_tokens": "many"}, 0.0)
    assert pacer.remaining(0.0) == {"output-tokens": (10_000, 7_000)}


@pytest.mark.parametrize(
    ("read", "cached", "left"), [(30, 20, 9950), (100, None, 9900), (300, 0, 9700), (0, 0, 10_000)]
)
def test_what_a_request_read_takes_the_place_of_what_was_booked_for_it(read: int, cached: Any, left: float) -> None:
    pacer = Pacer()
    sent = pacer.send(100, 0.0)
    pacer.answered(sent, told("input-tokens", 20_000, 10_000), 0.0)
    later = pacer.send(100, 0.0)
    pacer.answered(later, {}, 0.0)
    usage = {"input_tokens": read, "cache_creation_input_tokens": cached, "cache_read_input_tokens": 10**6}
    pacer.ended(later, usage, 0.0)
    assert pacer.remaining(0.0) == {
        "input-tokens": (20_000, min(left, 9900))
    }  # at most what was told, less what was sent


def test_what_is_known_of_the_input_is_learned() -> None:
    pacer = knowing("input-tokens", 100_000, 100_000)
    for _ in range(40):
        sent = pacer.send(100, 0.0)
        pacer.answered(sent, {}, 0.0)
        pacer.ended(sent, {"input_tokens": 250}, 0.0)
    before = pacer.remaining(0.0)["input-tokens"][1]
    pacer.send(100, 0.0)
    assert before - pacer.remaining(0.0)["input-tokens"][1] == pytest.approx(250, rel=0.01)


@pytest.mark.parametrize(("guess", "read", "learned"), [(1, 50_000, 8.0), (50_000, 1, 1 / 8)])
def test_one_that_was_far_off_is_not_learned_whole(guess: int, read: int, learned: float) -> None:
    pacer = knowing("input-tokens", 100_000, 100_000)
    pacer.ended(pacer.send(guess, 0.0), {"input_tokens": read}, 0.0)
    before = pacer.remaining(0.0)["input-tokens"][1]
    pacer.send(100, 0.0)
    assert before - pacer.remaining(0.0)["input-tokens"][1] == pytest.approx(100 * learned)


def test_an_answer_without_output_is_learned_too() -> None:
    pacer = knowing("output-tokens", 10_000, 10_000)
    pacer.ended(pacer.send(0, 0.0), {"output_tokens": 0}, 0.0)
    pacer.send(0, 0.0)
    assert pacer.remaining(0.0) == {"output-tokens": (10_000, 10_000)}


def test_where_the_input_is_hard_to_guess_there_is_more_to_spare() -> None:
    easy, hard = (knowing("input-tokens", 60_000, 60_000) for _ in range(2))
    for pacer, reads in ((easy, (200, 200)), (hard, (50, 350))):
        for read in reads * 20:
            pacer.ended(pacer.send(100, 0.0), {"input_tokens": read}, 0.0)
        pacer.answered(pacer.send(0, 1000.0), told("input-tokens", 60_000, 600 + 250), 1000.0)
    assert easy.wait(100, 1000.0) == 0.0
    assert hard.wait(100, 1000.0) > 0.1


def test_output_that_is_written_in_minutes_is_held_back_for_a_minute() -> None:
    pacer = Pacer()
    sent = pacer.send(0, 0.0)
    pacer.answered(sent, told("output-tokens", 8_000, 8_000), 0.0)
    pacer.ended(sent, {"output_tokens": 16_000}, 240.0)
    assert pacer.remaining(240.0) == {"output-tokens": (8_000, 8_000)}
    pacer.send(0, 240.0)
    assert pacer.remaining(240.0) == {"output-tokens": (8_000, 4_000)}  # not all 16,000 at once
    assert pacer.wait(0, 240.0) == pytest.approx(80 * 60 / 8000)  # two of them have room, but for a little to spare


def test_a_long_answer_holds_nobody_while_the_api_has_room() -> None:
    pacer = Pacer()
    sent = pacer.send(0, 0.0)
    pacer.answered(sent, told("output-tokens", 8_000, 8_000), 1.0)
    pacer.ended(sent, {"output_tokens": 16_000, "input_tokens": 9}, 200.0)
    assert pacer.wait(0, 200.0) == 0.0


def test_a_debt_is_made_up_for_in_a_minute_when_nothing_is_on_its_way() -> None:
    pacer = knowing("output-tokens", 8_000, 8_000)
    for _ in range(5):
        pacer.ended(pacer.send(0, 0.0), {"output_tokens": 1_000_000}, 0.0)
    assert pacer.wait(0, 0.0) <= 60.0
    assert pacer.wait(0, 60.0) == 0.0


def test_an_answer_that_was_overtaken_may_tell_of_another_kind() -> None:
    pacer = Pacer()
    first, second = pacer.send(0, 0.0), pacer.send(0, 0.0)
    pacer.answered(second, told("requests", 60, 30), 0.0)
    pacer.answered(first, told("tokens", 6000, 3000), 0.0)
    for sent in (first, second):
        pacer.ended(sent, None, 0.0)
    assert pacer.remaining(0.0) == {"requests": (60, 29), "tokens": (6000, 3000)}  # the other was on its way
    assert pacer.wait(0, 0.0) == 0.0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_another_value_of_a_limit_is_taken_from_the_latest_request(order: tuple[int, int]) -> None:
    pacer = knowing("requests", 60, 30)
    both = [pacer.send(0, 0.0) for _ in range(2)]
    answers = [told("requests", 120, 100), told("requests", 30, 10)]
    for index in order:
        pacer.answered(both[index], answers[index], 0.0)
    for sent in both:
        pacer.ended(sent, None, 0.0)
    assert pacer.remaining(0.0) == {"requests": (30, 9)}  # the other was on its way
    assert pacer.wait(0, 0.0) == 0.0


def test_an_older_answer_does_not_lower_what_is_left() -> None:
    pacer = knowing("requests", 60, 60)
    older, newer = pacer.send(0, 0.0), pacer.send(0, 0.0)
    pacer.answered(newer, told("requests", 60, 50), 0.0)
    before = pacer.remaining(0.0)
    pacer.answered(older, told("requests", 60, 3), 0.0)
    assert pacer.remaining(0.0) == before == {"requests": (60, 50)}


def test_a_refused_request_took_nothing() -> None:
    pacer = Pacer()
    refused, other = pacer.send(100, 0.0), pacer.send(100, 0.0)
    pacer.answered(other, told("input-tokens", 10_000, 5_000), 0.0)
    assert pacer.remaining(0.0) == {"input-tokens": (10_000, 4_900)}  # what is refused later was on its way
    pacer.ended(refused, None, 0.0)
    pacer.refused(refused, 1.0, 0.0)
    assert pacer.remaining(0.0) == {"input-tokens": (10_000, 5_000)}


@pytest.mark.parametrize(
    ("seconds", "wait"), [(1e10, 3600.0), (float("inf"), 3600.0), (float("nan"), 0.0), (-5.0, 0.0), (7.0, 7.0)]
)
def test_a_refusal_stops_others_for_an_hour_at_most(seconds: float, wait: float) -> None:
    pacer = Pacer()
    sent = pacer.send(0, 0.0)
    pacer.ended(sent, None, 0.0)
    pacer.refused(sent, seconds, 0.0)
    assert pacer.wait(0, 0.0) == wait


def test_an_end_counts_once() -> None:
    pacer = knowing("output-tokens", 10_000, 10_000)
    sent, other = pacer.send(0, 0.0), pacer.send(0, 0.0)
    pacer.ended(sent, {"output_tokens": 100}, 0.0)
    pacer.ended(sent, {"output_tokens": 100}, 0.0)
    assert pacer.remaining(0.0) == {"output-tokens": (10_000, 8_900)}  # less what is held back for the other
    pacer.ended(other, None, 0.0)
    assert pacer.remaining(0.0) == {"output-tokens": (10_000, 9_900)}


def test_a_request_larger_than_what_was_seen_waits_until_there_may_be_as_much() -> None:
    pacer = Pacer()
    sent = pacer.send(10, 0.0)
    pacer.answered(sent, told("input-tokens", 6000, 0), 0.0)
    assert pacer.wait(500, 0.0) == pytest.approx(5.0, rel=0.03)
    assert pacer.wait(500, 6.0) == 0.0


def test_a_request_larger_than_the_limit_waits_until_the_limit_is_full_and_goes() -> None:
    pacer = knowing("tokens", 1000, 400)
    assert pacer.wait(1_000_000, 0.0) == pytest.approx(600 * 60 / 1000)
    assert pacer.wait(1_000_000, 36.0) == pytest.approx(0.0, abs=1e-9)
    pacer.send(1, 0.0)
    assert pacer.wait(1_000_000, 1000.0) > 0  # not while others are on their way


@pytest.mark.parametrize(
    "headers",
    [
        {"anthropic-ratelimit-requests-limit": "many", "anthropic-ratelimit-requests-remaining": "1"},
        {"anthropic-ratelimit-requests-limit": "0", "anthropic-ratelimit-requests-remaining": "0"},
        {"anthropic-ratelimit-requests-limit": "-5", "anthropic-ratelimit-requests-remaining": "1"},
        {"anthropic-ratelimit-requests-limit": "inf", "anthropic-ratelimit-requests-remaining": "1"},
        {"anthropic-ratelimit-requests-limit": "nan", "anthropic-ratelimit-requests-remaining": "1"},
        {"anthropic-ratelimit-requests-limit": "1e-300", "anthropic-ratelimit-requests-remaining": "1"},
        {"anthropic-ratelimit-requests-limit": "1e300", "anthropic-ratelimit-requests-remaining": "1"},
        {"anthropic-ratelimit-requests-limit": "5", "anthropic-ratelimit-requests-remaining": "-1"},
        {"anthropic-ratelimit-requests-limit": "5"},
        {"anthropic-ratelimit-requests-limit": "5", "anthropic-ratelimit-requests-remaining": ""},
    ],
)
def test_headers_that_make_no_sense_are_no_limits(headers: dict[str, str]) -> None:
    pacer = Pacer()
    pacer.answered(pacer.send(1, 0.0), headers, 0.0)
    assert pacer.remaining(0.0) == {}


TAKES = {"requests": (1.0, 1.0), "input-tokens": (200.0, 400.0), "output-tokens": (100.0, 900.0)}
GUESS = 300.0


class World:
    """Many chats that are wanted at once, against the emulator's bucket, in simulated time.

    Requests take different times to arrive, and answers to come back and to end: all of them overtake each other.
    """

    def __init__(self, kind: str, rate: int, slowness: float, holds: float, seed: int, *, late: float = 0.0) -> None:
        self.kind = kind
        self.slowness, self.late = slowness, late
        self.dice = random.Random(seed)
        self.least, self.most = TAKES[kind]
        mean = (self.least + self.most) / 2
        self.per_minute = rate * 60 * mean
        self.count = int(rate * (holds + 40))  # forty seconds' worth more than what goes at once
        self.rate, self.holds, self.taken = rate * mean, rate * mean * holds, 0.0
        self.bucket = Bucket(self.per_minute, holds, 0.0)
        self.pacer = Pacer()
        self.now = 0.0
        self.todo = self.count
        self.done = self.refused = 0
        self._later: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def run(self) -> None:
        while self.done < self.count:
            delay = self.send()
            if delay != FOREVER and (not self._later or self.now + delay <= self._later[0][0]):
                self.now += max(delay, 1e-6)  # or it might not change the number
            else:
                self.now, _, happens, what = heapq.heappop(self._later)
                happens(*what)

    def send(self) -> float:
        """Send what may go; get when to look again."""
        while self.todo:
            if delay := self.pacer.wait(GUESS, self.now):
                return delay
            self.todo -= 1
            sent, takes = self.pacer.send(GUESS, self.now), self.dice.uniform(self.least, self.most)
            late = self.late if self.dice.random() < 0.9 else 0.0  # nearly all of them, as where a machine is busy
            self.after(self.slowness / 4 + self.dice.uniform(0, 0.02) + late, self.arrives, sent, takes)
        return FOREVER

    def after(self, seconds: float, happens: Callable[..., None], *what: Any) -> None:
        heapq.heappush(self._later, (self.now + seconds, next(self._order), happens, what))

    def arrives(self, sent: Sent, takes: float) -> None:
        written = self.kind == "output-tokens"
        wait = self.bucket.wait(1.0 if written else takes, self.now)
        if not wait and not written:
            self.bucket.take(takes, self.now)
        left = int(max(0, self.bucket.level(self.now)))
        self.after(self.dice.uniform(0, self.slowness) / 2, self.answers, sent, takes, wait, left)

    def answers(self, sent: Sent, takes: float, wait: float, left: int) -> None:
        self.pacer.answered(sent, told(self.kind, self.per_minute, left), self.now)
        if wait:
            self.refused += 1
            self.todo += 1
            self.pacer.ended(sent, None, self.now)
            self.pacer.refused(sent, wait, self.now)
            return
        writing = self.dice.uniform(0, self.slowness)
        if self.kind == "output-tokens":
            for part in range(1, 5):
                self.after(writing * part / 5, lambda: self.bucket.take(takes / 4, self.now))
        self.after(writing, self.ends, sent, takes)

    def ends(self, sent: Sent, takes: float) -> None:
        self.done += 1
        self.taken += takes
        self.pacer.ended(sent, {"input_tokens": takes, "output_tokens": takes}, self.now)


@settings(max_examples=20)
@given(
    st.sampled_from(sorted(TAKES)),
    st.integers(1, 40),
    st.floats(0.01, 3.0),
    st.sampled_from([60.0, 30.0]),
    st.integers(0, 10**6),
)
def test_a_limit_is_used_and_not_run_into(kind: str, rate: int, slowness: float, holds: float, seed: int) -> None:
    world = World(kind, rate, slowness, holds, seed)
    world.run()
    assert world.refused <= max(5, 0.02 * world.count)
    best = (world.taken - world.holds) / world.rate
    assert world.now <= 1.15 * best + 3 * slowness + 2


@settings(max_examples=20)
@given(st.integers(1, 40), st.floats(0.0, 2.0), st.sampled_from([60.0, 30.0, 4.0, 2.0]), st.integers(0, 10**6))
def test_a_limit_of_requests_is_never_run_into_however_late_they_arrive(
    rate: int, late: float, holds: float, seed: int
) -> None:
    assume(rate * holds > FIRST_REQUESTS)  # so many go before anything is known
    world = World("requests", rate, 0.1, holds, seed, late=late)
    world.run()
    assert world.refused == 0
    assert world.now <= 1.15 * (world.taken - world.holds) / world.rate + 3 * late + 2


SENSELESS = st.sampled_from(["", "nan", "inf", "-1", "0", "1e-300", "1e400", "9" * 400, "many", "5, 5", "\u0665"])


class Unruly:
    """An API whose limits change, whose answers are overtaken or lost, and that says senseless things at times."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.dice = random.Random(data.draw(st.integers(0, 10**6), "seed"))
        self.kind = data.draw(st.sampled_from(["requests", "input-tokens", "output-tokens", "tokens"]), "kind")
        self.each = 1.0 if self.kind == "requests" else 500.0
        self.odd = data.draw(st.lists(SENSELESS, max_size=3), "odd")
        self.limits = data.draw(st.lists(st.integers(2, 60), min_size=1, max_size=4), "limits")  # in chats a minute
        self.pacer, self.now, self.running, self.paused = Pacer(), 0.0, 0, 0.0
        self.bucket = Bucket(self.limits[0] * self.each, 60.0, 0.0)
        self.sent: list[float] = []
        self._later: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def after(self, seconds: float, happens: Callable[..., None], *what: Any) -> None:
        heapq.heappush(self._later, (self.now + seconds, next(self._order), happens, what))

    def run(self, chats: int) -> None:
        for number, limit in enumerate(self.limits[1:], start=1):
            self.after(60.0 * number, self.changes, limit * self.each)
        while chats or self.running:
            delay = self.pacer.wait(self.each, self.now) if chats else FOREVER
            assert delay >= 0
            if not self.running:
                assert delay <= max(60.0, self.paused - self.now) + 1e-6
            if delay == 0:
                chats -= 1
                self.goes()
            elif self._later and self._later[0][0] <= self.now + delay:
                self.now, _, happens, what = heapq.heappop(self._later)
                happens(*what)
            else:
                assert delay < FOREVER
                self.now += max(delay, 1e-6)

    def changes(self, per_minute: float) -> None:
        self.bucket = Bucket(per_minute, 60.0, self.now)

    def goes(self) -> None:
        self.running += 1
        self.sent.append(self.now)
        self.after(self.dice.uniform(0, 2), self.arrives, self.pacer.send(self.each, self.now))

    def arrives(self, sent: Sent) -> None:
        bucket = self.bucket
        wait = bucket.wait(self.each, self.now)
        if not wait:
            bucket.take(self.each, self.now)
        headers = told(self.kind, bucket.per_minute, max(0, int(bucket.level(self.now))))
        if self.odd and self.dice.random() < 0.3:
            headers[self.dice.choice(sorted(headers))] = self.dice.choice(self.odd)
        answers = self.lost if self.dice.random() < 0.1 else self.answers
        self.after(self.dice.uniform(0, 3), answers, sent, headers, wait)

    def lost(self, sent: Sent, _: dict[str, str], wait: float) -> None:
        self.ends(sent, None, wait)

    def answers(self, sent: Sent, headers: dict[str, str], wait: float) -> None:
        self.pacer.answered(sent, headers, self.now)
        if wait:
            self.ends(sent, None, 0.0)
            self.paused = max(self.paused, self.now + wait)
            self.pacer.refused(sent, wait, self.now)
        else:
            usage = {"input_tokens": self.each, "output_tokens": 0}
            if self.kind == "output-tokens":
                usage = {"input_tokens": 9, "output_tokens": self.each}
            self.after(self.dice.uniform(0, 20), self.ends, sent, usage, 0.0)

    def ends(self, sent: Sent, usage: Any, _: float) -> None:
        self.running -= 1
        self.pacer.ended(sent, usage, self.now)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 300))
def test_whatever_the_api_says_nobody_waits_for_ever_and_no_limit_is_run_over(data: st.DataObject, chats: int) -> None:
    api = Unruly(data)
    api.run(chats)
    assert len(api.sent) == chats
    most = 2 * max(api.limits) + FIRST_REQUESTS  # a full bucket, what fills it in a minute, and the first
    for begin in api.sent:
        within = sum(begin <= at < begin + 60 for at in api.sent)
        assert within <= most + 2
