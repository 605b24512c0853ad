"""The short form of `make torture`: each fault once, some hundreds of random chats; and that it would notice."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from anthropix_actors import BadRequestError, ChatDone, ChatEvent, ChatRetrying, TruncatedError
from anthropix_actors.emulator import Emulator
from anthropix_actors.messages import ToolDone, ToolProgress, ToolStarted, ToolUse, TurnCancelled

from torture import matrix, mechanisms, patience, schedules, turn_plans, turns
from torture.before import before
from torture.during import during
from torture.ears import wrong_in
from torture.habits import habits
from torture.matrix import Outcome, Run
from torture.plans import plan
from torture.subscribers import Notes
from torture.tls import cancels
from torture.tls import runs as tls
from torture.truth import MESSAGE, SNAPSHOTS, TOLD
from torture.watch import KEY

pytestmark = pytest.mark.untraced

SEED = 20261123


def test_whatever_goes_wrong_what_must_hold_holds() -> None:
    report = matrix.torture(SEED, short=True)
    assert report.failures == []
    assert report.cases > 350
    assert len(report.ended) > 20


def test_whatever_goes_wrong_over_tls_what_must_hold_holds() -> None:
    report = tls.torture(SEED, short=True)
    assert report.failures == []
    assert report.cases > 300
    assert len(report.ended) > 15


@pytest.mark.alone
def test_in_each_phase_of_tls_a_cancel_is_quick() -> None:
    report = cancels.torture(short=True)
    assert report.failures == []
    assert report.cases > 80


def test_whatever_many_chats_do_at_once_what_must_hold_holds() -> None:
    report = schedules.torture(SEED, count=300)
    assert report.failures == []
    assert len(report.ended) > 5
    assert all(report.ended.values())


@pytest.mark.alone
def test_whatever_many_conversations_do_at_once_what_must_hold_holds() -> None:
    report = turns.torture(SEED, count=30)
    assert report.failures == []
    assert report.calls > 30
    assert {"TurnDone", "TurnFailed", "TurnCancelled"} <= {*report.ended}


@pytest.mark.parametrize("name", patience.TRANSFERS)
def test_what_flows_is_not_idle_however_long_it_takes(name: str) -> None:
    assert patience.transferred(name) == []


@pytest.mark.parametrize("seed", range(4))
def test_answers_that_overtake_each_other_hold_nobody_back(seed: int) -> None:
    assert patience.overtaken(seed) == []


def test_a_schedule_follows_from_its_seed() -> None:
    assert [plan(7, number) for number in range(50)] == [plan(7, number) for number in range(50)]
    assert plan(7, 1) != plan(8, 1)
    assert [turn_plans.plan(7, number) for number in range(50)] == [turn_plans.plan(7, number) for number in range(50)]


CASES = {str(case): case for case in [*before(), *during(), *habits()]}
CUT = CASES["after text_delta: close, chunked"]


def test_each_fault_has_a_name_of_its_own() -> None:
    assert len(CASES) == len([*before(), *during(), *habits()]) > 400
    over_tls = list(tls.cases(random.Random(SEED)))
    assert len({str(case) for case in over_tls}) == len(over_tls) > 1400


@pytest.mark.parametrize("way", matrix.WAYS)
def test_another_error_than_the_expected_one_is_noticed(way: str) -> None:
    assert found_in(Run(CUT, way)) == []
    (found,) = found_in(Run(replace(CUT, ends=BadRequestError), way))
    assert "expected BadRequestError, got TruncatedError" in found
    (found,) = found_in(Run(replace(CUT, retryable=False), way))
    assert "expected retryable=False" in found
    (found,) = found_in(Run(replace(CUT, ends=None), way))
    assert "expected a whole answer" in found


def found_in(run: Run) -> list[str]:
    return matrix.tried(run).found


def cut(**more: Any) -> TruncatedError:
    error = TruncatedError("cut", retryable=True)
    error.attempts = 1
    error.partial = more.get("partial")
    return error


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(told=TOLD, message=MESSAGE),
        Outcome(told=TOLD[1:3], error=cut()),
        Outcome(told=[TOLD[0], *TOLD[2:4]], error=cut()),
        Outcome(error=cut(partial={"content": "made up"})),
        Outcome(told=TOLD[:5], error=cut()),
        Outcome(error=cut(), ends=(2, True)),
        Outcome(error=cut(), ends=(1, False)),
        Outcome(error=cut(), seconds=1000),
        Outcome(error=cut(), things=[f"x-api-key: {KEY}"]),
        Outcome(error=cut(), things=[ValueError(KEY)]),
    ],
    ids=[
        "cut and taken for whole",
        "without a beginning",
        "with a gap",
        "made up",
        "partial lacks what was told",
        "two ends",
        "an end that is not last",
        "slow",
        "the key in a text",
        "the key in an error",
    ],
)
def test_what_must_not_be_is_noticed(outcome: Outcome) -> None:
    assert any(check(Run(CUT, "actor"), outcome) for check in matrix.CHECKS)


@pytest.mark.parametrize("known", [0, 8])
def test_what_had_arrived_and_is_not_known_is_noticed(known: int) -> None:
    outcome = Outcome(error=cut(partial=SNAPSHOTS[known]))
    checks = [check(Run(replace(CUT, arrived=9), "call"), outcome) for check in matrix.CHECKS]
    assert [text for text in checks if text.startswith("partial after 9 events")]


NOBODY: Any = None
DONE = ChatDone(NOBODY, dict(MESSAGE or {}))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
EVENT = ChatEvent(NOBODY, TOLD[0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([EVENT], "0 terminal"),
        ([DONE, DONE], "2 terminal"),
        ([DONE, EVENT], "1 terminal"),
        ([EVENT, ChatRetrying(NOBODY, 1, 0.1, cut()), DONE], "after the first content"),
    ],
)
def test_a_wrong_order_is_noticed(messages: list[Any], text: str) -> None:
    notes = Notes()
    notes.messages = messages
    assert text in notes.disorder()


USE = ToolUse("toolu_1", "work", {})
BEGUN = ToolStarted(NOBODY, USE)
TOLD_OF_IT = ToolProgress(NOBODY, USE, 1)
ENDED = ToolDone(NOBODY, USE, "42", is_error=False, seconds=0.1)
OVER = TurnCancelled(NOBODY, "enough")


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([BEGUN, ENDED], "0 terminal"),
        ([OVER, OVER], "2 terminal"),
        ([BEGUN, OVER, ENDED], "1 terminal"),
        ([BEGUN, OVER], "have no end"),
        ([BEGUN, BEGUN, ENDED, OVER], "started again"),
        ([BEGUN, ENDED, TOLD_OF_IT, OVER], "after its end"),
        ([TOLD_OF_IT, OVER], "before its start"),
        ([BEGUN, ENDED, ENDED, OVER], "done twice"),
    ],
)
def test_a_wrong_order_in_a_turn_is_noticed(messages: list[Any], text: str) -> None:
    assert any(text in found for found in wrong_in(messages, goes=False))
    assert not [*wrong_in([BEGUN, TOLD_OF_IT, ENDED, OVER], goes=False)]


def test_what_conversations_must_not_do_is_noticed() -> None:
    mine = replace(turn_plans.plan(SEED, 0), ears=("plain",), says=(), others=(), lonely=False, faults=0.0)
    model = turn_plans.Model(SEED)
    with Emulator(handler=model) as emulator, turns.Clients(emulator.url) as clients:
        storm = turns.Storm(mine, clients.one(1), model)
        storm.run()
        fine, wrong = turns.Report(), turns.Report()
        storm.check(fine)
        storm.spoil()
        storm.check(wrong)
    assert fine.failures == []
    for text in ("times handed back", "ran 2 times", "nobody asked for it", "was answered 2 times", "two threads"):
        assert any(text in failure for failure in wrong.failures), text


def test_each_mechanism_that_can_be_taken_out_is_there() -> None:
    assert mechanisms.stale() == []
