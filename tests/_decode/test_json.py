from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors._decode.json import DEEPEST, MOST_DIGITS, copied, decoded, joined, too_deep, whole, writable

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = st.text(st.characters(exclude_categories=()), max_size=6)  # with halves of surrogate pairs
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | TEXTS
    | st.sampled_from([10**4299, -(10**4299), "\ud83d", "\ude00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def expected(value: Any) -> Any:
    """Get what comes of a value that Python's json has written: all that JSON has no word for is replaced."""
    if isinstance(value, str):
        return joined(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [expected(item) for item in value]
    if isinstance(value, dict):
        return {joined(key): expected(item) for key, item in value.items()}
    return value


@given(VALUES, st.booleans())
def test_whatever_python_writes_is_read_and_can_be_written_again(value: Any, ascii_only: bool) -> None:  # noqa: FBT001
    written = json.dumps(value, ensure_ascii=ascii_only)
    document: Any = written if ascii_only else written.encode(errors="replace")
    found = decoded(document)
    if ascii_only:
        assert found == expected(value)
    assert json.loads(msgspec.json.encode(found)) == found


@given(TEXTS, TEXTS)
def test_halves_that_stand_side_by_side_are_joined_and_others_replaced(one: str, other: str) -> None:
    text = joined(one + other)
    text.encode()
    assert joined(text) == text
    if (one + other).isascii():
        assert text == one + other


@given(VALUES)
def test_a_value_without_halves_is_whole(value: Any) -> None:
    fine = expected(value)
    assert whole(copied(fine)) == fine


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "1" * (MOST_DIGITS + 1)])
def test_what_is_no_number_becomes_null(number: str) -> None:
    assert decoded(f'{{"a": [{number}], "b": 1}}') == {"a": [None], "b": 1}


def test_the_longest_integer_can_be_written() -> None:
    number = 10**MOST_DIGITS - 1
    assert decoded(str(number)) == number
    assert writable(number)
    assert writable(-number)
    assert not writable(number + 1)


@pytest.fixture
def fewer_digits() -> Iterator[None]:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.usefixtures("fewer_digits")
def test_where_fewer_digits_are_allowed_fewer_are_taken() -> None:
    assert decoded('{"a": ' + "1" * 700 + "}") == {"a": None}
    assert not writable(10**700)
    assert writable(10**600)


@pytest.mark.parametrize("document", ["", "{", "nonsense", "{}{}", '{"a":1,}', '"\\x"', b"\xff", b'{"a": "\xc3'])
def test_what_is_no_json_is_an_error(document: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        decoded(document)


def test_what_is_nested_too_deeply_to_be_read_is_an_error() -> None:
    with pytest.raises(RecursionError):
        decoded("[" * 100_000)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_how_deep_is_too_deep() -> None:
    assert not too_deep(1)
    assert not too_deep(nested(DEEPEST))
    assert too_deep(nested(DEEPEST + 1))
    assert not too_deep([[1]] * 10_000)


def test_a_copy_shares_nothing() -> None:
    value = {"a": [{"b": [1]}], "c": nested(900)}
    copy = copied(value)
    assert copy == value
    copy["a"][0]["b"].append(2)
    assert value["a"] == [{"b": [1]}]
