from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import pytest
import requests

from anthropix_actors.emulator import (
    Answer,
    Cut,
    Drop,
    Emulator,
    ErrorEvent,
    Pace,
    Raw,
    Reset,
    Stall,
    Status,
    recording,
)
from anthropix_actors.emulator._script.steps import Head, SleepUntil, Step, rechunked, with_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trustme

DEADLINE = 20.0
HEADERS = {"x-api-key": "sk-ant-api03-secret", "anthropic-version": "2023-06-01", "content-type": "application/json"}
STREAMS = Path(__file__).parents[3] / "shared" / "corpus" / "streams"


@pytest.fixture(params=["http", "https"])
def emulator(
    request: pytest.FixtureRequest, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Emulator]:
    certificate = None
    if request.param == "https":
        certificate = tmp_path / "localhost.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with Emulator(certfile=certificate) as running:
        assert running.url.startswith(request.param + "://")
        yield running


def body_of(*, stream: bool = True) -> bytes:
    asked = {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    return json.dumps(asked).encode()


class Call:
    """One request on a connection of its own, whose chunks can be told apart."""

    def __init__(self, emulator: Emulator, *, stream: bool = True) -> None:
        url = urlsplit(emulator.url)
        assert url.hostname
        self.socket = socket.create_connection(("127.0.0.1", url.port), timeout=DEADLINE)
        if url.scheme == "https":
            trusting = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
            self.socket = trusting.wrap_socket(self.socket, server_hostname=url.hostname)
        self.file = self.socket.makefile("rb")
        body = body_of(stream=stream)
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        head += f"host: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        self.socket.sendall(f"POST /v1/messages HTTP/1.1\r\n{head}".encode() + body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def head(self) -> list[bytes]:
        return list(iter(lambda: self.file.readline().strip(), b""))

    def chunk(self) -> bytes:
        """Return the next chunk; the last one of a complete body is empty."""
        size = int(self.file.readline().strip(), 16)
        data = self.file.read(size)
        assert self.file.read(2) == b"\r\n"
        return data

    def chunks(self) -> list[bytes]:
        return list(iter(self.chunk, b""))

    def read_all(self) -> None:
        # Past TLS, as ssl takes a reset for an end.
        while socket.socket.recv(self.socket, 65536):
            pass

    def at_end(self) -> bool:
        return self.file.read(1) == b""


def stream(emulator: Emulator) -> requests.Response:
    return requests.post(emulator.url + "/v1/messages", headers=HEADERS, data=body_of(), timeout=DEADLINE)


def whole(emulator: Emulator) -> requests.Response:
    sent = body_of(stream=False)
    return requests.post(emulator.url + "/v1/messages", headers=HEADERS, data=sent, timeout=DEADLINE)


# Statuses and other answers


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("ask", [stream, whole])
def test_a_status_has_the_error_that_goes_with_it(
    emulator: Emulator, ask: Callable[[Emulator], requests.Response], status: int, error_type: str
) -> None:
    emulator.queue(Status(status))
    response = ask(emulator)
    assert response.status_code == status
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == error_type
    assert response.json()["error"]["message"]
    assert response.json()["request_id"] == response.headers["request-id"]


def test_a_status_says_when_to_come_back(emulator: Emulator) -> None:
    emulator.queue(Status(429, "Slow down.", retry_after=2, headers={"x-should-retry": "true"}))
    response = stream(emulator)
    assert response.headers["retry-after"] == "2"
    assert response.headers["x-should-retry"] == "true"
    assert response.json()["error"]["message"] == "Slow down."


def test_a_status_may_have_another_type(emulator: Emulator) -> None:
    emulator.queue(Status(503, type="overloaded_error"))
    assert stream(emulator).json()["error"] == {"type": "overloaded_error", "message": "Overloaded", "details": None}


@pytest.mark.parametrize("ask", [stream, whole])
def test_any_bytes_can_be_the_answer(emulator: Emulator, ask: Callable[[Emulator], requests.Response]) -> None:
    emulator.queue(
        Raw(b"<html>", content_type="text/html"),
        Raw(b'{"type":', status=500, content_type=None, headers={"x-a": "b"}),
        Raw(status=529),
        Raw(status=204),
    )
    page, half, empty, nothing = (ask(emulator) for _ in range(4))
    assert (page.status_code, page.content, page.headers["content-type"]) == (200, b"<html>", "text/html")
    assert (half.status_code, half.content, half.headers["x-a"]) == (500, b'{"type":', "b")
    assert "content-type" not in half.headers
    assert (empty.status_code, empty.content) == (529, b"")
    assert (nothing.status_code, nothing.content) == (204, b"")


@pytest.mark.parametrize("ask", [stream, whole])
def test_bytes_that_are_no_recording_are_sent_to_a_stream_alone(
    emulator: Emulator, ask: Callable[[Emulator], requests.Response], caplog: pytest.LogCaptureFixture
) -> None:
    emulator.queue(b"data: garbage\n\nmore")
    response = ask(emulator)
    if ask is stream:
        assert response.content == b"data: garbage\n\nmore"
    else:
        assert response.status_code == 500
        assert "no answer for" in caplog.text


# Cut connections


def test_a_dropped_stream_ends_after_so_many_events(emulator: Emulator) -> None:
    emulator.queue(Drop("Hello there.", after_events=3))
    with Call(emulator) as call:
        assert call.head()[0] == b"HTTP/1.1 200 OK"
        assert [call.chunk().split(b"\n")[0] for _ in range(3)] == [
            b"event: message_start",
            b"event: content_block_start",
            b"event: ping",
        ]
        assert call.at_end()
    assert emulator.hangups == 0


@pytest.mark.parametrize("size", [0, 1, 100, 100_000])
def test_a_dropped_stream_ends_after_so_many_bytes(emulator: Emulator, size: int) -> None:
    emulator.queue(Drop(recording("actors"), after_bytes=size))
    with Call(emulator) as call:
        call.head()
        expected = recording("actors")[:size]
        received = b""
        while len(received) < len(expected):
            received += call.chunk()
        assert received == expected
        assert call.at_end()


@pytest.mark.parametrize("place", [{"after_events": 0}, {"after_events": 1}, {"after_bytes": 5}])
def test_a_dropped_body_is_incomplete_without_a_stream_too(emulator: Emulator, place: dict[str, int]) -> None:
    emulator.queue(Drop("Hello.", **place))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        whole(emulator)


def test_a_connection_dropped_at_once_has_no_answer_at_all(emulator: Emulator) -> None:
    emulator.queue(Drop())
    with Call(emulator) as call:
        assert call.at_end()


@pytest.mark.parametrize("place", [{}, {"after_events": 0}, {"after_events": 4}, {"after_bytes": 300}])
def test_a_reset_is_a_reset(emulator: Emulator, place: dict[str, int]) -> None:
    emulator.queue(Reset("Hello.", **place))
    with Call(emulator) as call, pytest.raises(ConnectionResetError):
        call.read_all()


def test_a_dropped_connection_leaves_the_others_alone(emulator: Emulator) -> None:
    emulator.queue(Stall("Hello.", after_events=1), Drop(after_events=1), Reset(after_events=1))
    with Call(emulator) as patient:
        patient.head()
        patient.chunk()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            stream(emulator)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            stream(emulator)
        emulator.release()
        assert patient.chunks()[-1].startswith(b"event: message_stop")


# Silence


@pytest.mark.parametrize(
    ("place", "before"), [({"after_events": 0}, 0), ({"after_events": 2}, 2), ({"after_bytes": 10}, 1)]
)
def test_a_stalled_answer_goes_on_when_released(emulator: Emulator, place: dict[str, int], before: int) -> None:
    emulator.queue(Stall(recording("actors"), **place))
    with Call(emulator) as call:
        call.head()
        received = [call.chunk() for _ in range(before)]
        emulator.release()
        assert b"".join(received + call.chunks()) == recording("actors")


def test_a_stall_before_everything_sends_not_even_the_headers(emulator: Emulator) -> None:
    emulator.queue(Stall("Hello."))
    with Call(emulator) as call:
        emulator.wait_for_requests(1, DEADLINE)
        assert stream(emulator).status_code == 200  # a round trip in which the stalled one could have sent
        call.socket.settimeout(0)
        with pytest.raises((BlockingIOError, ssl.SSLWantReadError)):
            call.socket.recv(1)
        call.socket.settimeout(DEADLINE)
        emulator.release()
        assert call.head()[0] == b"HTTP/1.1 200 OK"


def test_a_release_may_come_before_the_stall(emulator: Emulator) -> None:
    emulator.release(2)
    emulator.queue(Stall("One.", after_events=1), Stall("Two.", after_events=1))
    assert b"message_stop" in stream(emulator).content
    assert b"message_stop" in stream(emulator).content


def test_pings_come_until_the_client_leaves(emulator: Emulator) -> None:
    emulator.queue(Stall(after_events=1, ping_every=0.001))
    with Call(emulator) as call:
        call.head()
        call.chunk()
        assert [call.chunk() for _ in range(5)] == [b'event: ping\ndata: {"type":"ping"}\n\n'] * 5
    emulator.wait_for_hangups(1, DEADLINE)


def test_pings_end_with_a_release(emulator: Emulator) -> None:
    emulator.queue(Stall("Hello.", after_events=1, ping_every=0.001))
    with Call(emulator) as call:
        call.head()
        call.chunk()
        call.chunk()
        emulator.release()
        assert b"message_stop" in call.chunks()[-1]


def test_a_client_that_leaves_a_stalled_answer_is_noticed(emulator: Emulator) -> None:
    emulator.queue(Stall(after_events=2), Stall())
    with Call(emulator) as call:
        call.head()
    emulator.wait_for_hangups(1, DEADLINE)
    with Call(emulator):
        emulator.wait_for_requests(2, DEADLINE)
    emulator.wait_for_hangups(2, DEADLINE)
    assert emulator.hangups == 2


def test_a_client_that_leaves_an_endless_answer_is_noticed(emulator: Emulator) -> None:
    emulator.queue({"type": "ping", "number": number} for number in itertools.count())
    with Call(emulator) as call:
        call.head()
        call.chunk()
    emulator.wait_for_hangups(1, DEADLINE)


def test_a_client_that_leaves_just_before_the_end_is_noticed(emulator: Emulator) -> None:
    left = threading.Event()

    def told() -> Iterator[dict[str, Any]]:
        for _ in range(17):
            yield {"type": "ping"}
        left.wait(DEADLINE)
        for _ in range(33):  # until the loop notices that the connection is lost
            yield {"type": "ping"}

    emulator.queue(told())
    with Call(emulator) as call:
        call.head()
        call.chunk()
    left.set()
    emulator.wait_for_hangups(1, DEADLINE)


def test_a_client_that_leaves_is_no_matter_for_stderr(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    left = threading.Event()

    def told() -> Iterator[dict[str, Any]]:
        yield {"type": "ping"}
        left.wait(DEADLINE)
        for _ in range(1000):  # asyncio warns at the fifth send on a reset connection
            yield {"type": "ping"}

    emulator.queue(told())
    with Call(emulator) as call:
        call.head()
        call.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    left.set()
    emulator.wait_for_hangups(1, DEADLINE)
    assert [record.getMessage() for record in caplog.records] == []


def test_stopping_cuts_whatever_is_under_way() -> None:
    with Emulator() as emulator:
        emulator.queue(
            Stall(after_events=1), Stall(), Pace(tokens_per_second=0.01), Stall(after_events=1, ping_every=5)
        )
        calls = [Call(emulator) for _ in range(4)]
        idle = http.client.HTTPConnection(emulator.url.removeprefix("http://"), timeout=DEADLINE)
        idle.request("GET", "/v1/models", headers=HEADERS)
        idle.getresponse().read()
        emulator.wait_for_requests(5, DEADLINE)
    for call in calls:
        with call, contextlib.suppress(ConnectionResetError):
            call.read_all()
    idle.close()
    assert emulator.hangups == 0


def test_an_answer_that_fails_on_the_way_is_cut(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    def told() -> Iterator[dict[str, Any]]:
        yield {"type": "ping"}
        raise LookupError("no more events")

    emulator.queue(told())
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        stream(emulator)
    assert "no more events" in caplog.text


# Errors inside a stream


def test_an_error_event_ends_a_stream(emulator: Emulator) -> None:
    emulator.queue(ErrorEvent("Hello there.", "rate_limit_error", "Enough.", after_events=4))
    response = stream(emulator)
    *_, before, last = response.content.split(b"\n\n")[:-1]
    assert b"Hello" in before
    event, data = last.split(b"\n")
    assert event == b"event: error"
    assert json.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "error": {"details": None, "type": "rate_limit_error", "message": "Enough."},
        "request_id": response.headers["request-id"],
    }


def test_an_error_event_is_a_status_without_a_stream(emulator: Emulator) -> None:
    emulator.queue(ErrorEvent())
    response = whole(emulator)
    assert response.status_code == 529
    assert response.json()["error"]["message"] == "Overloaded"


# Cuts and paces


@pytest.mark.parametrize("every", [1, 7, 1000, 1_000_000])
def test_a_body_can_be_cut_anywhere(emulator: Emulator, every: int) -> None:
    emulator.queue(Cut(recording("weather"), every=every))
    with Call(emulator) as call:
        call.head()
        chunks = call.chunks()
    assert b"".join(chunks) == recording("weather")
    assert {len(chunk) for chunk in chunks[:-1]} <= {every}


def test_the_first_sizes_may_be_chosen(emulator: Emulator) -> None:
    emulator.queue(Cut(recording("weather"), sizes=[3, 1, 1000]))
    with Call(emulator) as call:
        call.head()
        chunks = call.chunks()
    assert [len(chunk) for chunk in chunks[:3]] == [3, 1, 1000]
    assert all(chunk.endswith(b"\n\n") for chunk in chunks[3:])
    assert b"".join(chunks) == recording("weather")


def test_cuts_end_where_something_else_happens() -> None:
    steps: list[Step] = [Head(200, {}), b"abc", SleepUntil(1.0), b"de"]
    assert list(rechunked(iter(steps), itertools.repeat(2))) == [Head(200, {}), b"ab", b"c", SleepUntil(1.0), b"de"]


def test_faults_go_around_each_other_and_cuts_come_last(emulator: Emulator) -> None:
    emulator.queue(
        Drop(Stall(Cut(Pace("Hello there.", tokens_per_second=1e6), every=10), after_events=2), after_events=4)
    )
    with Call(emulator) as call:
        call.head()
        received = b""
        while received.count(b"\n\n") < 2:
            received += call.chunk()
        emulator.release()
        while received.count(b"\n\n") < 4:
            received += call.chunk()
        assert b"Hello" in received
        assert call.at_end()


def test_what_an_inner_fault_does_before_the_headers_is_no_place_for_an_outer_one(emulator: Emulator) -> None:
    emulator.queue(Drop(Stall(), after_events=0))
    emulator.release()
    with Call(emulator) as call:
        assert call.head()[0] == b"HTTP/1.1 200 OK"
        assert call.at_end()


def test_a_pace_waits_before_each_delta_for_its_tokens() -> None:
    def delta(**pieces: Any) -> bytes:
        return b"event: content_block_delta\ndata: " + json.dumps({"delta": pieces}).encode() + b"\n\n"

    told: list[Step] = [Head(200, {}), b"event: ping\n\n", delta(text="two words"), delta(signature="x")]
    told += [delta(partial_json="{"), b"content_block_delta?"]
    waits = [step.seconds for step in with_fault(Pace(tokens_per_second=2), iter(told)) if isinstance(step, SleepUntil)]
    assert waits == [1.0, 1.5, 2.0, 2.5]


def test_a_paced_answer_is_the_same_answer(emulator: Emulator) -> None:
    emulator.queue(Pace(recording("actors"), tokens_per_second=1e5))
    assert stream(emulator).content == recording("actors")


def streams() -> list[Path]:
    return sorted(STREAMS.glob("*.sse"))


@pytest.mark.skipif(not STREAMS.exists(), reason=f"the recorded streams are not there: {STREAMS}")
def test_every_recorded_stream_is_replayed_byte_for_byte(emulator: Emulator) -> None:
    assert streams()
    emulator.queue(*streams(), *(Cut(path, every=13) for path in streams()))
    for path in [*streams(), *streams()]:
        assert stream(emulator).content == path.read_bytes(), path.name


@pytest.mark.skipif(not STREAMS.exists(), reason=f"the recorded streams are not there: {STREAMS}")
def test_every_recorded_stream_is_answered_without_a_stream_too(emulator: Emulator) -> None:
    for path in streams():
        expected = json.loads(path.with_suffix(".expected.json").read_bytes())
        emulator.queue(path)
        response = whole(emulator)
        assert response.ok == ("message" in expected), path.name
        if response.ok:
            assert response.json()["id"] == expected["message"]["id"], path.name


# Invalid faults


@pytest.mark.parametrize(
    "make",
    [
        lambda: Status(100),
        lambda: Raw(status=600),
        lambda: Drop(after_events=1, after_bytes=1),
        lambda: Reset(after_events=-1),
        lambda: Stall(after_bytes=-1),
        lambda: Stall(ping_every=1),
        lambda: Stall(after_events=1, ping_every=0),
        lambda: ErrorEvent(after_events=-1),
        Cut,
        lambda: Cut(every=1, sizes=[1]),
        lambda: Cut(every=0),
        lambda: Cut(sizes=[1, 0]),
        lambda: Pace(tokens_per_second=0),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Answer]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says it in words of its own
        make()
