"""What is kept of readers that come again: never the wrong thing, and never too much."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ParameterError
from anthropix_actors.stores import places
from anthropix_actors.stores.places import Place, Places, rest_of


def made() -> tuple[Places[Place], list[tuple[str, str | None, Place | None]]]:
    """Return places, and what was made."""
    calls: list[tuple[str, str | None, Place | None]] = []

    def make(name: str, after: str | None, before: Place | None) -> Place:
        calls.append((name, after, before))
        return Place(name, after)

    return Places(make), calls


def test_a_place_is_made_once_for_each_cursor() -> None:
    known, calls = made()
    cursors: dict[str, str | None] = {"a": None, "b": "1f.6"}
    first = known.of(cursors)
    assert {name: (place.generation, place.number) for name, place in first.items()} == {"a": (None, 0), "b": ("1f", 7)}
    again = known.of({name: after and str(after.encode(), "ascii") for name, after in cursors.items()})
    assert [again[name] is first[name] for name in cursors] == [True, True]
    known.of({**cursors, "a": "1f.0"})
    assert calls[2:] == [("a", "1f.0", first["a"])]
    known.forget("b")
    known.forget("nothing")
    assert known.of({"b": "1f.6"})["b"] is not first["b"]
    assert calls[3:] == [("b", "1f.6", None)]


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([None, "1.0", "1.1", "2.0", "2.1"]), max_size=6),
        max_size=20,
    )
)
def test_whatever_comes_in_whatever_order_a_place_is_that_of_its_cursor(calls: list[dict[str, str | None]]) -> None:
    known, _ = made()
    for cursors in calls:
        found = known.of(cursors)
        assert {name: (place.name, place.after) for name, place in found.items()} == {
            name: (name, after) for name, after in cursors.items()
        }


def test_of_names_that_come_and_go_no_more_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_REMEMBERED", 100)
    known, calls = made()
    stays: dict[str, str | None] = {f"stays-{number}": None for number in range(50)}
    for number in range(5000):
        known.of({**stays, f"goes-{number}": None})
        assert len(known) <= 100 + 3 * 51
    assert len(calls) < 3 * 5000


@pytest.mark.parametrize("wrong", [{"": None}, {"a": 7}, {"a": "x"}, {7: None}])
def test_what_is_no_name_or_cursor_is_refused_each_time(wrong: dict[Any, Any]) -> None:
    known, _ = made()
    for _ in range(2):
        with pytest.raises(ParameterError):
            known.of(wrong)


def test_a_rest_is_never_longer_than_the_wait_nor_longer_than_anybody_notices() -> None:
    assert [rest_of(count, 60) for count in (1, 100, 1000, 10_000, 1_000_000)] == [0, 0, 0.002, 0.02, 0.02]
    assert rest_of(1_000_000, 0.001) == 0.001
    assert rest_of(1_000_000, 0) == 0
