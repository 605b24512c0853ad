"""The short form of the torture `kills`: whatever is killed, each word is there once, or is said to be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors.stores import Entry

from redis_servers import redis_program
from torture.kills import BROKER, KEEPS, Heard, Plan, Storm, on_broker, wrong_in_log

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.untraced

SEED = 20261127
PLAN = Plan(jobs=8, most=6)


def test_whatever_is_killed_over_a_file_each_word_is_there_once(tmp_path: Path) -> None:
    report = Storm(f"sqlite://{tmp_path}/kills.sqlite", PLAN, SEED).run()
    assert report.failures == []
    assert report.kills.total() >= 1
    assert report.ended["done"] > 0


def test_whatever_is_killed_over_a_broker_each_word_is_there_once() -> None:
    redis_program()
    report = on_broker(SEED, Plan(jobs=8, most=8, kills=BROKER), *KEEPS)
    assert report.failures == []
    assert report.kills.total() >= 1


def test_what_a_broker_forgets_is_said_to_be_lost() -> None:
    redis_program()
    report = on_broker(SEED, Plan(jobs=4, most=1, kills=("broker",), keeps=False))
    assert report.failures == []
    assert report.ended["Lost"] > 0


def storm(**heard: Heard) -> Storm:
    """A storm that is over, of one job, of which two readers have heard."""
    made = Storm("memory://", Plan(jobs=1, cancels=0), 1)
    made.readers = [_Reader(made.names[0], each) for each in heard.values()]  # type: ignore[misc]
    return made


class _Reader:
    def __init__(self, name: str, heard: Heard) -> None:
        self.heard = {name: heard}


def entries(*told: tuple[int, str]) -> list[Entry]:
    return [Entry(epoch, number, {"kind": kind}, f"a.{number}") for number, (epoch, kind) in enumerate(told)]


FINE = entries((1, "begin"), (1, "event"), (1, "done"))
TEXT = storm().model.text("job-1-0")


def heard(text: str = TEXT, *ends: tuple[str, Any]) -> Heard:
    return Heard("a.1", text, list(ends))


WHOLE = heard(TEXT, ("done", TEXT))


def test_what_is_right_is_found_to_be() -> None:
    made = storm(one=WHOLE, two=WHOLE)
    assert [*made.wrong_in(made.names[0], FINE, again=False)] == []
    lost = heard("job-1-0w0", ("Lost", "job-1-0w0"))
    made = storm(one=lost, two=lost)
    assert [*made.wrong_in(made.names[0], FINE, again=False)] == []


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (heard(TEXT), "one end for each"),
        (heard(TEXT, ("done", TEXT), ("done", TEXT)), "one end for each"),
        (heard(TEXT, ("Lost", None)), "disagree"),
        (heard(TEXT, ("OverloadedError", None)), "ended as OverloadedError"),
        (heard(TEXT[:-3], ("done", TEXT)), "read as"),
        (heard("job-1-0w1", ("Lost", "job-1-0w1")), "not its own"),
        (heard("job-1-0w0", ("Lost", "")), "the partial is ''"),
        (heard("", ("cancelled", "enough")), "it was cancelled"),
    ],
)
def test_what_must_not_be_is_noticed(one: Heard, says: str) -> None:
    made = storm(one=one, two=WHOLE if says == "disagree" else one)
    assert any(says in text for text in made.wrong_in(made.names[0], FINE, again=False))


def test_what_was_to_be_asked_again_is_not_lost() -> None:
    lost = heard("", ("Lost", None))
    made = storm(one=lost, two=lost)
    assert any("asked again" in text for text in made.wrong_in(made.names[0], FINE, again=True))


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ([FINE[0], FINE[2]], "gaps"),
        (entries((2, "begin"), (1, "event"), (2, "done")), "fenced"),
        (entries((1, "event"), (2, "event"), (2, "done")), "told again"),
        (entries((1, "event")), "one end"),
        (entries((1, "done"), (1, "done")), "one end"),
        (entries((1, "done"), (1, "event")), "one end"),
    ],
)
def test_a_log_that_must_not_be_is_noticed(log: list[Entry], says: str) -> None:
    assert any(says in text for text in wrong_in_log(log, again=False))
