"""A holder's beat: it goes on while anything is held, ends with that, and says when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores import StoreClosedError, StoreError
from anthropix_actors.stores.beat import Beat

from servers import DEADLINE, until
from stores_for_tests import Shaky, has_beats, raising

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT, LONG = 0.09, 1000.0
"""Leases: one that a test can wait for, and one after which nothing comes."""


@pytest.fixture
def store() -> Iterator[Shaky]:
    store = Shaky()
    store.claim("a", "me")
    yield store
    assert not has_beats()


def lives(store: Shaky) -> bool:
    state = store.state("a")
    return state is not None and state.holder == "me"


def test_it_beats_while_anything_is_held_and_ends_at_once_with_that(store: Shaky) -> None:
    beat = Beat(store, "me", SHORT)
    beat.hold()
    beat.hold()
    assert lives(store)
    beat.let_go()
    until(lambda: store.calls["beat"] > 5)
    beat.let_go()
    until(lambda: not has_beats())
    until(lambda: not lives(store))
    beat.hold()
    assert lives(store)
    beat.close()
    assert not lives(store)


def test_it_ends_at_once_however_long_the_lease(store: Shaky) -> None:
    beat = Beat(store, "me", LONG)
    beat.hold()
    beat.let_go()
    until(lambda: not has_beats())
    assert lives(store)  # as long as was said


def test_what_is_held_again_in_that_moment_does_not_make_it_beat_more_often(store: Shaky) -> None:
    beat = Beat(store, "me", LONG)
    for _ in range(100):
        beat.hold()
        beat.hold()
        beat.let_go()
        beat.let_go()
    beat.hold()
    beat._wake.set()  # as if it had been let go for a moment
    until(lambda: not beat._wake.is_set())
    beat.close()
    assert store.calls["beat"] == 2  # the first, and the last


def test_while_the_store_is_away_it_beats_more_often(store: Shaky, caplog: pytest.LogCaptureFixture) -> None:
    beat = Beat(store, "me", SHORT)
    beat.hold()
    store.faults["beat"] = raising(SystemExit("foreign"), times=3)
    until(lambda: store.calls["beat"] > 6)
    assert [record.getMessage() for record in caplog.records] == [
        "the beat of me failed; what it holds may be lost"
    ] * 3
    beat.close()


def test_what_could_not_be_said_is_not_held(store: Shaky) -> None:
    beat = Beat(store, "me", SHORT)
    store.faults["beat"] = raising(StoreError("away"), times=1)
    with pytest.raises(StoreError, match="away"):
        beat.hold()
    assert not has_beats()
    beat.close()


def test_it_ends_when_the_store_is_closed_and_begins_anew_where_it_is_not(
    store: Shaky, caplog: pytest.LogCaptureFixture
) -> None:
    beat = Beat(store, "me", SHORT)
    beat.hold()
    store.faults["beat"] = raising(StoreClosedError("the store is closed"), times=1)
    until(lambda: not has_beats())
    beats = store.calls["beat"]
    beat.hold()
    until(lambda: store.calls["beat"] > beats + 2)
    assert caplog.records == []
    beat.close()


def test_what_is_to_be_done_afterwards_is_done_once_after_a_beat_that_arrives(store: Shaky) -> None:
    beat, did = Beat(store, "me", SHORT), []
    fault = raising(StoreError("away"), times=2)

    def act() -> None:
        did.append(lives(store))
        fault()

    beat.hold()
    beat.afterwards(act)
    until(lambda: len(did) == 3)
    beats = store.calls["beat"]
    until(lambda: store.calls["beat"] > beats + 2)
    assert did == [True] * 3
    beat.close()


def test_its_end_is_bounded_and_what_it_cannot_say_is_logged(store: Shaky, caplog: pytest.LogCaptureFixture) -> None:
    beat = Beat(store, "me", DEADLINE)
    beat.hold()
    store.faults["beat"] = raising(StoreError("away"))
    beat.close()
    beat.let_go()  # late
    assert "the end of me could not be said; it comes by itself" in caplog.text
