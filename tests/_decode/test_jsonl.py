from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import APIConnectionError, ProtocolError, TruncatedError
from anthropix_actors._decode.jsonl import json_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), st.lists, max_leaves=5)
LINES = st.lists(
    st.one_of(
        st.dictionaries(st.text(max_size=5), JSON, max_size=3).map(lambda item: json.dumps(item).encode()),
        st.dictionaries(st.text(max_size=5), JSON, max_size=3).map(
            lambda item: json.dumps(item, ensure_ascii=False).encode(errors="replace")
        ),
        st.sampled_from([b"", b" ", b"\t ", b"\r"]),
    ),
    max_size=8,
)


def flat(chunks: Iterable[bytes], **options: Any) -> list[tuple[int, dict[str, Any]]]:
    return [item for run in json_lines(chunks, **options) for item in run]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(data[start : start + size])
        start += size
    return [*chunks, data[start:]]


@pytest.mark.untraced
@given(LINES, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.lists(st.integers(0, 9), max_size=30))
def test_lines_cut_anywhere_are_the_same_objects_with_the_same_numbers(
    lines: list[bytes],
    end: bytes,
    ended: bool,  # noqa: FBT001
    sizes: list[int],
) -> None:
    data = end.join(lines) + (end if ended else b"")
    expected = [(number, json.loads(line)) for number, line in enumerate(lines, 1) if line.strip()]
    assert flat(cut(data, sizes)) == expected
    assert flat(data[place : place + 1] for place in range(len(data))) == expected


def test_what_has_arrived_comes_in_one_list_before_more_is_read() -> None:
    asked: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number, chunk in enumerate([b'{"a":1}\n{"a":2}\n{"a"', b":3", b"}\n\n", b'{"a":4}']):
            asked.append(number)
            yield chunk

    runs = json_lines(chunks())
    assert [*next(runs)] == [(1, {"a": 1}), (2, {"a": 2})]
    assert asked == [0]
    assert [*next(runs)] == [(3, {"a": 3})]
    assert asked == [0, 1, 2]
    assert [[*run] for run in runs] == [[(5, {"a": 4})]]


@pytest.mark.parametrize("line", [b"oops", b"[1]", b"5", b'{"a": 1} x', b'{"a"', b"\xff", b'"' + b"[" * 5000])
def test_a_line_that_is_no_object_comes_after_all_before_it_and_has_its_number(line: bytes) -> None:
    got: list[Any] = []
    with pytest.raises(ProtocolError, match="line 3") as raised:
        got.extend(item for run in json_lines([b'{"a": 1}\n\n' + line + b'\n{"a": 2}\n']) for item in run)
    assert got == [(1, {"a": 1})]
    assert raised.value.body == line
    assert raised.value.__cause__ is not None


def test_an_end_within_a_line_is_a_cut() -> None:
    with pytest.raises(TruncatedError, match="line 2") as raised:
        flat([b'{"a": 1}\n{"a"', b": "])
    assert raised.value.retryable


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a": "caf\xe9"}', "caf\ufffd"),
        (b'{"a": "\\ud83d!"}', "\ufffd!"),
        (b'{"a": "\\ud83d\\ude00"}', "\U0001f600"),
        (b'{"a": ["\\udfff", {"\\ud800": 1}]}', ["\ufffd", {"\ufffd": 1}]),
        (b'{"a": 1e999}', None),
        (b'{"a": [NaN, -Infinity]}', [None, None]),
        (b'{"a": "x\ty\x00"}', "x\ty\0"),
        (b'{"a": ' + b"7" * 40 + b"}", int("7" * 40)),
        (b'{"a": ' + b"7" * 5000 + b"}", None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_an_odd_value_costs_itself_and_not_the_rest_of_the_lines(line: bytes, value: Any) -> None:
    found = flat([b'{"n": 1}\n' + line + b'\n{"n": 3}\n'])
    assert found == [(1, {"n": 1}), (2, {"a": value}), (3, {"n": 3})]
    assert json.loads(msgspec.json.encode(found)) == [[number, item] for number, item in found]


def test_an_end_within_a_character_is_a_cut() -> None:
    with pytest.raises(TruncatedError):
        flat([b'{"custom_id": "caf\xc3'])


@pytest.mark.parametrize("step", [1, 2, 100])
def test_a_byte_order_mark_is_none_of_the_first_line(step: int) -> None:
    data = b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n'
    assert flat(data[place : place + step] for place in range(0, len(data), step)) == [(1, {"a": 1}), (2, {"a": 2})]
    assert flat([b"\xef\xbb\xbf\n{}"]) == [(2, {})]
    with pytest.raises(ProtocolError, match="line 2"):
        flat([b"{}\n" + data])


def test_an_error_of_the_chunks_says_at_which_line_it_came() -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"a": 1}\n{"a"'
        raise APIConnectionError("the connection was reset")

    runs = json_lines(chunks())
    assert [*next(runs)] == [(1, {"a": 1})]
    with pytest.raises(APIConnectionError, match="reset, at line 2"):
        next(runs)


@pytest.mark.parametrize("pieces", [1, 10])
def test_a_line_may_only_be_so_long(pieces: int) -> None:
    line = json.dumps({"a": "x" * 90}).encode()
    chunks = [line[start : start + len(line) // pieces + 1] for start in range(0, len(line), len(line) // pieces + 1)]
    assert len(flat([*chunks, b"\n"], max_line_bytes=100)) == 1
    with pytest.raises(ProtocolError, match="line 2 is longer than 50 bytes"):
        flat([b"{}\n", *chunks, b"\n"], max_line_bytes=50)


def test_nothing_is_nothing() -> None:
    assert flat([]) == flat([b""]) == flat([b"\n", b"", b"\r\n "]) == []
