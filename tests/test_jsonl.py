from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import APIConnectionError, ProtocolError, TruncatedError
from anthropix_actors._jsonl import json_lines

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
    assert next(runs) == [(1, {"a": 1}), (2, {"a": 2})]
    assert asked == [0]
    assert next(runs) == [(3, {"a": 3})]
    assert asked == [0, 1, 2]
    assert list(runs) == [[(5, {"a": 4})]]


@pytest.mark.parametrize(
    "line", [b"oops", b"[1]", b"5", b'{"a": 1} x', b'{"a"', b"\xff", b'"' + b"[" * 5000, b'{"a": "\xff"}']
)
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


def test_a_text_that_is_not_utf_8_is_an_error_of_ours() -> None:
    """msgspec raises a UnicodeDecodeError for it, which is none of its own errors."""
    with pytest.raises(ProtocolError, match="line 1, which is no JSON object"):
        flat([b'{"custom_id": "caf\xe9"}\n{}\n'])
    with pytest.raises(TruncatedError):
        flat([b'{"custom_id": "caf\xc3'])


def test_an_error_of_the_chunks_says_at_which_line_it_came() -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"a": 1}\n{"a"'
        raise APIConnectionError("the connection was reset")

    runs = json_lines(chunks())
    assert next(runs) == [(1, {"a": 1})]
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
