from __future__ import annotations

import http.client
import io
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors._decode.chunked import LONGEST_LINE, ChunkedBody


def decoded(pieces: list[bytes]) -> tuple[bytes, ChunkedBody]:
    body = ChunkedBody()
    return b"".join(body.feed(piece) for piece in pieces), body


def by_http_client(data: bytes) -> bytes | None:
    """What http.client makes of it; None where it finds it wrong or incomplete."""

    class Sock:
        def makefile(self, *_: Any) -> io.BytesIO:
            return io.BytesIO(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + data)

    response = http.client.HTTPResponse(Sock())  # type: ignore[arg-type]
    response.begin()
    try:
        return response.read()
    except http.client.HTTPException:
        return None
    finally:
        response.close()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


SIZES = st.sampled_from(["%x", "%X", "0%x", "%x;name=value", "%x ;q", "%x\t"])
TRAILERS = st.lists(st.sampled_from([b"x: y\r\n", b"z:\n"]), max_size=2).map(b"".join)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    payloads = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=6))
    ends = draw(st.lists(st.sampled_from([b"\r\n", b"\r\n", b"\n"]), min_size=7, max_size=7))
    data = b""
    for payload, end in zip(payloads, ends, strict=False):
        data += (draw(SIZES) % len(payload)).encode() + end + payload + b"\r\n"
    return b"".join(payloads), data + b"0" + ends[-1] + draw(TRAILERS) + b"\r\n"


@given(bodies(), st.lists(st.integers(0, 300), max_size=6))
def test_a_body_cut_anywhere_decodes_to_what_http_client_reads(made: tuple[bytes, bytes], places: list[int]) -> None:
    payload, data = made
    assert by_http_client(data) == payload
    found, body = decoded(cut(data, places))
    assert found == payload
    assert (body.complete, body.excess, body.error) == (True, b"", None)


@given(bodies())
def test_a_body_decodes_byte_by_byte(made: tuple[bytes, bytes]) -> None:
    payload, data = made
    found, body = decoded([data[i : i + 1] for i in range(len(data))])
    assert (found, body.complete) == (payload, True)


@given(bodies(), st.integers(1, 40))
def test_an_incomplete_body_is_never_complete_and_gives_what_is_there(made: tuple[bytes, bytes], missing: int) -> None:
    payload, data = made
    found, body = decoded([data[:-missing]])
    assert payload.startswith(found)
    assert not body.complete
    assert body.error is None


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_any_bytes_at_all_give_the_same_wherever_they_are_cut_and_never_raise(data: bytes, places: list[int]) -> None:
    whole, one = decoded([data])
    pieces, other = decoded(cut(data, places))
    assert (whole, one.complete, str(one.error)) == (pieces, other.complete, str(other.error))
    if one.complete:
        assert by_http_client(data) == whole


@pytest.mark.parametrize(
    "size", [b"", b"-5", b"+5", b"0x5", b"x5", b"5_0", b"5 5", b"zz", b"\xff", b"f" * 17, b";x", "\uff15".encode()]
)
def test_a_size_that_is_no_number_is_an_error_after_what_came_before(size: bytes) -> None:
    found, body = decoded([b"2\r\nok\r\n" + size + b"\r\nabcde\r\n"])
    assert found == b"ok"
    assert body.error is not None
    assert "is not a number" in str(body.error)


@pytest.mark.parametrize("data", [b"3\r\nabcX\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabcdef\r\n"])
@pytest.mark.parametrize("step", [1, 100])
def test_a_chunk_that_does_not_end_where_its_size_says_is_an_error(data: bytes, step: int) -> None:
    _, body = decoded([data[i : i + step] for i in range(0, len(data), step)])
    assert body.error is not None
    assert "does not end where its size says" in str(body.error)


def test_a_huge_size_allocates_nothing() -> None:
    found, body = decoded([b"7fffffffffffffff\r\nabc", b"def"])
    assert found == b"abcdef"
    assert not body.complete


@pytest.mark.parametrize("step", [100, 100_000])
def test_a_line_without_end_is_an_error(step: int) -> None:
    data = b"5;" + b"x" * (LONGEST_LINE + 10) + b"\r\n"
    _, body = decoded([data[i : i + step] for i in range(0, len(data), step)])
    assert body.error is not None
    assert "too long" in str(body.error)


def test_what_follows_the_end_is_kept_apart() -> None:
    found, body = decoded([b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200", b" OK"])
    assert (found, body.complete, body.excess) == (b"a", True, b"HTTP/1.1 200 OK")


NASTY = st.lists(
    st.sampled_from([b"3", b"0", b"a", b"0x", b"\r", b"\n", b"\r\n", b"\r\n", b"abc", b";x", b" ", b"0\r\n\r\n"]),
    max_size=12,
).map(b"".join)


@given(NASTY | bodies().map(lambda made: made[1]), NASTY, st.integers(0, 60))
def test_what_is_nearly_a_body_is_taken_or_refused_wherever_it_is_cut(start: bytes, end: bytes, place: int) -> None:
    data = start[:place] + end + start[place:]
    whole, one = decoded([data])
    pieces, other = decoded([data[i : i + 1] for i in range(len(data))])
    assert (pieces, other.complete, str(other.error)) == (whole, one.complete, str(one.error))


@pytest.mark.parametrize("cuts", [[], [6], [7], [6, 7]])
def test_both_bytes_after_a_chunk_are_looked_at_also_when_they_come_apart(cuts: list[int]) -> None:
    found, body = decoded(cut(b"3\r\nabcX\n0\r\n\r\n", cuts))
    assert found == b"abc"
    assert "does not end where its size says" in str(body.error)


@pytest.mark.parametrize("step", [1, 1 << 10])
def test_a_size_may_have_any_number_of_leading_zeros(step: int) -> None:
    data = b"0" * 40 + b"3\r\nabc\r\n" + b"0" * 40 + b"\r\n\r\n"
    found, body = decoded([data[i : i + step] for i in range(0, len(data), step)])
    assert (found, body.complete, body.error) == (b"abc", True, None)
