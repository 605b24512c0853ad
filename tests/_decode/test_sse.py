from __future__ import annotations

import json
import logging
import random
from typing import TYPE_CHECKING, Any

import pytest
import sseclient
from hypothesis import example, given
from hypothesis import strategies as st

from anthropix_actors import ProtocolError
from anthropix_actors._decode.sse import MAX_EVENT_LINES, _Blocks

from decoding import blocks, events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def reference(document: bytes) -> list[tuple[str, str]]:
    """Parse a whole document as the specification says, step by step: name and data of each event."""
    text = document.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    found: list[tuple[str, str]] = []
    name, data = "", ""
    for line in lines[:-1]:  # what follows the last line end is no line
        if line == "":
            if data:
                found.append((name or "message", data.removesuffix("\n")))
            name, data = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
    return found


def parsed(chunks: list[bytes]) -> list[tuple[str, str]]:
    """Parse with the guard and sseclient-py, as the library does, but without JSON."""
    found = _Blocks(blocks(chunks)).events()
    return unnamed([(event.event, event.data) for event in found])


DOCUMENTS = [
    b"data: 1\n\ndata: 2\n\n",
    b"data: 1\r\rdata: 2\r\r",
    b"data: 1\r\n\r\ndata: 2\r\n\r\n",
    b"data: 1\n\r\ndata: 2\n\n",
    b"data: 1\r\r\ndata: 2\r\n\rdata: 3\n\rdata: 4\r\n\n",
    b"\xef\xbb\xbfdata: 1\n\n",
    b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\ndata: 2\n\n",
    b"\xef\xbbdata: 1\n\n",
    b"\xef\xbb",
    b"\n\n\ndata: 1\n\n\n\n\n\ndata: 2\n\n",
    b": a comment\n:\n\ndata: 1\n: \xff another\ndata: 2\n\n",
    b"data\n\ndata:\n\ndata: \n\n",
    b"data:1\ndata: 2\ndata:  3\n\n",
    b"event: x\n\ndata: 1\n\n",
    b"event: x\nevent:\ndata: 1\n\n",
    b"event\ndata: 1\n\n",
    b"event: error\ndata: 1\n\ndata: 2\n\n",
    b"id: 7\x00x\ndata: 1\nid: 8\nretry: 1s\n\n",
    b"id\x00: 7\ndata: \x00\n\n",
    b"database: 1\ndata : 2\n data: 3\nDATA: 4\n\ndata: 5\n\n",
    "data: é 漢 🎭 \u2028 \u0085 \x0b \x0c\n\n".encode(),
    b"data: \xff\xfe \xc3\n\ndata: \xe2\x82\n\n",
    b"data: 1\n\ndata: cut",
    b"data: 1\n\ndata: cut\n",
    b"data: 1\n\ndata: cut\r",
    b"data: 1\n\nevent: x\ndata: cut\r\n",
    b'event: a\ndata: {"type":"a"}\n\nevent: b\ndata: {"type":"a"}\n\ndata: event: a\ndata: {"type":"a"}\n\n',
    b'event: a\nevent: b\ndata: {"type":"b"}\n\nevent: a\ndata: {"type":"a","b":"event: c\ndata: {"type":"c"}\n\n',
    b"",
]


def unnamed(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out the names that the data repeat: the guard drops most of them."""
    return [("message" if data.startswith(f'{{"type":"{name}"') else name, data) for name, data in found]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_parsed_as_the_specification_says_wherever_it_is_cut(document: bytes) -> None:
    expected = unnamed(reference(document))
    assert parsed([document]) == expected
    assert parsed([document[i : i + 1] for i in range(len(document))]) == expected
    for first in range(len(document) + 1):
        assert parsed([document[:first], document[first:]]) == expected
        for second in range(first, min(first + 8, len(document) + 1)):
            assert parsed([document[:first], b"", document[first:second], document[second:]]) == expected


FRAGMENTS = st.sampled_from(
    [
        *[b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b": c", b"data: x", b"data:", b"data", b"event: y", b"id: \x00"],
        *[
            b"\xef\xbb\xbf",
            b"\xff",
            "é🎭".encode(),
            b" ",
            b":",
            b"event: a\ndata: ",
            b'{"type":"a"}',
            "\u2028".encode(),
        ],
    ]
)


@given(st.lists(FRAGMENTS, max_size=25).map(b"".join), st.data())
@example(b"data: 1\n\r\ndata: 2\n\n", None)
def test_any_document_cut_anywhere_is_parsed_as_the_specification_says(document: bytes, data: Any) -> None:
    count = len(document)
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=8))) if data is not None else [8]
    chunks = [document[start:end] for start, end in zip([0, *cuts], [*cuts, count], strict=True)]
    assert parsed(chunks) == unnamed(reference(document))


@given(st.binary(max_size=60), st.integers(1, 5))
def test_any_bytes_are_parsed_as_the_specification_says(document: bytes, step: int) -> None:
    chunks = [document[i : i + step] for i in range(0, len(document), step)]
    assert parsed(chunks) == unnamed(reference(document))


def test_sseclient_needs_the_guard() -> None:
    """What it does on its own, so that the guard can go when it does better."""

    def alone(*chunks: bytes) -> list[str]:
        return [event.data for event in sseclient.SSEClient(iter(chunks)).events()]

    assert alone(b"data: cut") == ["cut"]
    assert alone(b"data: 1\n\r\ndata: 2\n\n") == ["1\n2"]
    assert alone(b"\xef\xbb\xbfdata: 1\n\n") == []
    with pytest.raises(UnicodeDecodeError):
        alone(b": \xff\n\n")


def stream(*found: Any) -> bytes:
    return b"".join(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in found)


def test_events_are_the_json_objects_without_the_pings() -> None:
    document = stream(
        ("message_start", {"type": "message_start", "message": {}}),
        ("ping", {"type": "ping"}),
        ("message", {"type": "ping"}),
        ("ping", ["not even an object"]),
        ("odd", {"no": "type"}),
    )
    assert list(events([document])) == [{"type": "message_start", "message": {}}, {"type": "odd", "no": "type"}]


@pytest.mark.parametrize("data", ["nonsense", "[1]", "5", '"text"', "null", '{"a":', "{", "[" * 5000])
def test_data_that_are_no_object_are_an_error_after_the_events_before_them(data: str) -> None:
    found = events([b'data: {"type":"a"}\n\n' + f"event: x\ndata: {data}\n\n".encode()])
    assert next(found) == {"type": "a"}
    with pytest.raises(ProtocolError, match="the data of 'x' are not a JSON object") as caught:
        next(found)
    assert caught.value.body == data
    assert len(str(caught.value)) < 200


def test_an_event_comes_as_soon_as_its_last_byte_is_there() -> None:
    pulled: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number, chunk in enumerate(
            [b'data: {"type":"1"}\n', b'\ndata: {"type":"2"}', b"\n\n", b'data: {"type":"3"}\n\n']
        ):
            pulled.append(number)
            yield chunk

    found = events(chunks())
    assert next(found) == {"type": "1"}
    assert pulled == [0, 1]
    assert next(found) == {"type": "2"}
    assert pulled == [0, 1, 2]
    assert list(found) == [{"type": "3"}]


@pytest.mark.parametrize("end", [b"", b"\n\n", b"\n\ndata: 1\n\n"])
@pytest.mark.parametrize("step", [7, 1 << 20])
def test_an_event_larger_than_the_limit_is_an_error(end: bytes, step: int) -> None:
    document = b"data: " + b"x" * 1000 + end
    chunks = [document[i : i + step] for i in range(0, len(document), step)]
    assert len(list(blocks(chunks, max_event_bytes=1100))) == end.count(b"\n\n")
    with pytest.raises(ProtocolError, match=r"larger than 900 bytes \(max_event_bytes\)"):
        list(blocks(chunks, max_event_bytes=900))


def test_an_endless_line_is_given_up_at_the_limit() -> None:
    pulled = 0

    def endless() -> Iterator[bytes]:
        nonlocal pulled
        while True:
            pulled += 1
            yield b"x" * 100

    with pytest.raises(ProtocolError):
        list(blocks(endless(), max_event_bytes=1000))
    assert pulled <= 11


def test_an_event_of_too_many_lines_is_an_error() -> None:
    fine = b"data: 1\n" * MAX_EVENT_LINES + b"\n"
    assert len(list(blocks([fine]))) == 1
    with pytest.raises(ProtocolError, match="more than 256 lines"):
        list(blocks([b"data: 1\n" + fine]))


def test_many_small_events_in_one_chunk_are_no_large_event() -> None:
    assert len(list(blocks([b"data: 1\n\n" * 1000], max_event_bytes=100))) == 1000


def test_the_pieces_of_a_long_event_are_joined_once() -> None:
    """Else the time for a long event would be quadratic in its length."""
    joins = 0

    class Counting(bytes):
        def join(self, pieces: Any) -> bytes:
            nonlocal joins
            joins += 1
            return super().join(pieces)

    document = b"data: " + b"x" * 10_000 + b"\n\n"
    chunks = [Counting(document[i : i + 10]) for i in range(0, len(document), 10)]
    assert list(blocks(chunks)) == [document.rstrip()]
    assert joins == 0, "no chunk is joined to what was there before"


@pytest.mark.untraced
def test_recorded_streams_give_the_same_events_however_they_are_cut(corpus: Path) -> None:
    dice = random.Random(7)
    for path in sorted(corpus.glob("streams/*.sse")):
        document = path.read_bytes()
        expected = [json.loads(data) for name, data in reference(document) if name != "ping"]
        cuts = sorted(dice.randrange(len(document)) for _ in range(40))
        ways = [
            [document],
            [document[i : i + 1] for i in range(len(document))],
            [document[a:b] for a, b in zip([0, *cuts], [*cuts, len(document)], strict=True)],
        ]
        for chunks in ways:
            assert list(events(chunks)) == expected, path.name


def test_a_name_before_the_one_that_the_data_repeat_does_not_come_back() -> None:
    document = b'event: ping\nevent: b\ndata: {"type":"b"}\n\n'
    assert list(events([document])) == [{"type": "b"}]


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_empty_lines_before_an_event_are_none_of_its_lines(step: int) -> None:
    document = b"\n\n\n" + b"data: 1\n" * MAX_EVENT_LINES + b"\n"
    assert len(list(blocks([document[i : i + step] for i in range(0, len(document), step)]))) == 1


def test_the_library_feeds_sseclient_itself() -> None:
    """One block is one event, so its own look for the end of an event is left out; all the rest is sseclient-py's."""
    found = list(_Blocks(iter([b"data: 1\n\n", b"id: 7\nevent: x\ndata: 2\ndata: 3\n\n"])).events())
    assert [(event.id, event.event, event.data) for event in found] == [(None, "message", "1"), ("7", "x", "2\n3")]
    assert issubclass(_Blocks, sseclient.SSEClient)
    assert _Blocks.events is sseclient.SSEClient.events


@pytest.mark.parametrize("data", ['{"type":"ping"', '{"type":"ping"} x', '{"type":"ping","type":"other"}'])
def test_a_ping_is_left_out_whatever_its_data_are(data: str) -> None:
    document = f'event: ping\ndata: {data}\n\ndata: {{"type":"a"}}\n\n'.encode()
    assert list(events([document])) == [{"type": "a"}]


LARGEST = [
    b"event: message_stop\n" + b'data: {"type":"message_stop"}',  # the name counts, though the data repeat it
    b"data: {}\n: \xff\xff",  # as does what a byte that is not UTF-8 becomes
]


@pytest.mark.parametrize("event", LARGEST)
@pytest.mark.parametrize("before", [b"", b"\n", b"\n\n\n", b"data: {}\n\n", b"data: {}\n\n\n"])
def test_an_event_is_too_large_or_not_wherever_it_is_cut(event: bytes, before: bytes) -> None:
    document, size = before + event + b"\n\n", len(event.decode(errors="replace").encode())
    for limit, fits in ((size, True), (size - 1, False)):
        for place in range(len(document)):
            for chunks in ([document[:place], document[place:]], [document[i : i + 1] for i in range(len(document))]):
                found: list[Any] = []
                try:
                    found.extend(events(chunks, max_event_bytes=limit))
                except ProtocolError:
                    assert not fits
                else:
                    assert fits
                assert len(found) == before.count(b"data") + fits


# An end without its empty line


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    ("last", "told"),
    [
        (b'event: message_stop\ndata: {"type":"message_stop"}', {"type": "message_stop"}),
        (b'data: {"type": "message_stop", "x": 1}', {"type": "message_stop", "x": 1}),
        (b'data: {"type":"error","error":{}}', {"type": "error", "error": {}}),
        (b"data: [DONE]", {"type": "message", "data": "[DONE]"}),
        (b'data: {"type":"message_stop"', None),
        (b'data: {"type":"message_delta"}', None),
        (b"data: 5", None),
        (b"data: {}", None),
        (b"event: message_stop", None),
        (b": data", None),
        (b"data: x\n" * MAX_EVENT_LINES + b'data: {"type":"message_stop"}', None),
    ],
)
def test_the_last_event_of_an_answer_may_lack_its_end(last: bytes, told: Any, end: bytes, step: int) -> None:
    document = b'data: {"type":"a"}\n\n' + last + end
    found = list(events([document[i : i + step] for i in range(0, len(document), step)]))
    assert found == [{"type": "a"}, *([told] if told else [])]


def test_a_program_that_logs_at_debug_gets_no_record_for_each_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert list(events([b'data: {"type":"message_stop"}\n\n'])) == [{"type": "message_stop"}]
    assert not caplog.records
