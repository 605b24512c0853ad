"""Every endpoint, one call away."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

import pytest

from anthropix_actors import (
    APIConnectionError,
    APIStatusError,
    Client,
    ConfigurationError,
    ConflictError,
    OverloadedError,
    ParameterError,
    ProtocolError,
    StalledError,
    Timeout,
    TruncatedError,
)
from anthropix_actors._calls.client_core import decode_json
from anthropix_actors.emulator import Emulator, Raw, Status
from anthropix_actors.endpoints import endpoints

from actors import core_of
from servers import LAST_CHUNK, PING, Halt, Peer, Server, after, chunk, head, json_answer, sse

if TYPE_CHECKING:
    from collections.abc import Callable

ODD = "a/b c%é?#;"


class Recording:
    """A server that notes requests, and answers each with an empty page."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def __call__(self, peer: Peer) -> None:
        while peer.read_request():
            line, *lines = peer.head.decode("latin-1").split("\r\n")
            method, path, _ = line.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            self.requests.append((method, path, headers))
            peer.send(json_answer("200 OK", {"data": [], "has_more": False, "last_id": None}))


def filled(path: str) -> tuple[dict[str, str], str]:
    """Get odd values for a path's parameters, and the path that they make."""
    names = [segment[1:-1] for segment in path.split("/") if segment.startswith("{")]
    expected = "/".join(quote(ODD, safe="") if segment.startswith("{") else segment for segment in path.split("/"))
    return dict.fromkeys(names, ODD), expected


def test_each_of_the_286_endpoints_can_be_called(connect: Callable[..., Client]) -> None:
    script = Recording()
    with Server(script) as server:
        client = connect(server)
        for endpoint in client.endpoints():
            values, path = filled(endpoint.path)
            for betas in ([], ["mine"]):
                body: Any = {"json": {"a": 1}} if endpoint.method == "POST" else {}
                client.request(endpoint.method, endpoint.path, path_params=values, beta=betas, **body)
                method, asked, headers = script.requests[-1]
                assert (method, asked) == (endpoint.method, path)
                expected = ",".join([*betas, *endpoint.betas])
                assert headers.get("anthropic-beta", "") == expected
                assert headers["x-api-key"] == "sk-test-secret"
                assert headers["anthropic-version"] == "2023-06-01"
                assert headers.get("content-type") == ("application/json" if body else None)
            if endpoint.page:
                assert list(client.paginate(endpoint.path, path_params=values, beta="mine")) == []
                assert script.requests[-1][:2] == ("GET", path)
                assert script.requests[-1][2]["anthropic-beta"] == ",".join(["mine", *endpoint.betas])
    assert len(client.endpoints()) == len(endpoints()) == 286
    assert len(script.requests) == 2 * 286 + sum(endpoint.page is not None for endpoint in endpoints())


@pytest.mark.parametrize("value", ["", ".", "..", "%2e%2e", "%2E.", ";a", None, 1.5, True])
def test_a_value_that_would_lead_elsewhere_is_refused(connect: Callable[..., Client], value: Any) -> None:
    script = Recording()
    with Server(script) as server:
        client, path = connect(server), "/sessions/{session_id}/events"
        with pytest.raises(ParameterError, match="path_params"):
            client.request("GET", path, path_params={"session_id": value})
        with pytest.raises(ParameterError, match="path_params"):
            client.paginate(path, path_params={"session_id": value})
    assert script.requests == []


def test_a_path_may_be_whole_and_finds_its_betas(connect: Callable[..., Client]) -> None:
    script = Recording()
    with Server(script) as server:
        client = connect(server)
        client.request("get", "/v1/sessions/sesn_1")
        client.request("DELETE", "sessions/sesn_1")
        client.request("GET", "/brand_new", params={"a": [1, None], "b": None, "c": "ü&"})
        assert [each[:2] for each in script.requests[:2]] == [
            ("GET", "/v1/sessions/sesn_1"),
            ("DELETE", "/v1/sessions/sesn_1"),
        ]
        assert script.requests[0][2]["anthropic-beta"] == "managed-agents-2026-04-01"
        path, _, query = script.requests[2][1].partition("?")
        assert (path, parse_qsl(query)) == ("/v1/brand_new", [("a[]", "1"), ("c", "ü&")])


def test_headers_go_over_all_others_and_none_removes_one(connect: Callable[..., Client]) -> None:
    script = Recording()
    with Server(script) as server:
        client = connect(server, beta="always", headers={"x-mine": "1", "anthropic-beta": "from-headers"})
        client.request("GET", "/sessions", beta="now")
        client.request("GET", "/sessions", headers={"Anthropic-Beta": "only", "X-Mine": None, "accept": "text/x"})
    assert script.requests[0][2]["anthropic-beta"] == "from-headers,always,now,managed-agents-2026-04-01"
    last = script.requests[1][2]
    assert (last["anthropic-beta"], last.get("x-mine"), last["accept"]) == ("only", None, "text/x")


def test_everything_wrong_is_named_at_once_and_nothing_is_sent(connect: Callable[..., Client]) -> None:
    script = Recording()
    with Server(script) as server:
        client: Any = connect(server)
        with pytest.raises(ParameterError) as raised:
            client.request("BREW", "/models/{x}", path_params={"y": "1"}, json={"a": {1}}, stream="yes")
        assert [problem.place for problem in raised.value.problems] == [
            *("method", "stream", "path_params.x", "path_params.y", "json.a"),
        ]
        odd: list[tuple[dict[str, Any], str]] = [
            ({"files": 5, "json": [1]}, "files"),
            ({"files": {"file": "/no/such/file"}}, "no such file"),
            ({"params": {"a": {}}}, r"params\.a"),
            ({"header": {}}, "did you mean headers"),
            ({"headers": {"a b": "c"}}, "names of headers"),
            ({"headers": {"a": "b\r\nc: d"}}, "one line"),
            ({"timeout": -1}, "timeout"),
            ({"beta": 5}, "beta"),
            ({"cancel": 5}, "CancelToken"),
        ]
        for given, word in odd:
            with pytest.raises(ParameterError, match=word):
                client.request("POST", "/files", **given)
        odd_lists: list[dict[str, Any]] = [{"params": 5}, {"kind": "odd"}, {"nonsense": 1}]
        for given in odd_lists:
            with pytest.raises(ParameterError):
                client.paginate("/models", **given)
    assert script.requests == []


def test_nothing_is_sent_to_another_origin(connect: Callable[..., Client]) -> None:
    with Server(Recording()) as other, Server(Recording()) as server:
        client = connect(server)
        with pytest.raises(ParameterError, match="URL"):
            client.request("GET", other.url + "/v1/models")
        core = core_of(client)
        with pytest.raises(ConfigurationError, match="another origin"):
            core.wait_for(core.request_factory.build("GET", other.url + "/v1/models"), decode_json)
        assert other.connections == 0


ANSWERS: dict[str, tuple[bytes, Any]] = {
    "json": (json_answer("200 OK", {"a": "ü"}), {"a": "ü"}),
    "a kind of json": (json_answer("200 OK", [1]).replace(b"application/json", b"application/problem+json"), [1]),
    "bytes": (head(framing="3", content_type="application/octet-stream") + b"\0\1\2", b"\0\1\2"),
    "lines": (head(framing="3", content_type="application/x-jsonl") + b"{}\n", b"{}\n"),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", None),
    "empty": (head(framing="0", content_type="application/json"), None),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_json_or_bytes(connect: Callable[..., Client], name: str) -> None:
    answer, expected = ANSWERS[name]
    with Server(after(answer)) as server:
        assert connect(server).request("POST", "/anything") == expected


def test_a_compressed_answer_is_unpacked(connect: Callable[..., Client]) -> None:
    body = gzip.compress(json.dumps({"a": [1] * 1000}).encode())
    compressed = head(framing=str(len(body)), content_type="application/json", headers={"content-encoding": "gzip"})
    with Server(after(compressed + body)) as server:
        assert connect(server).request("GET", "/anything") == {"a": [1] * 1000}


def test_a_stream_is_of_events_or_lines_or_bytes(connect: Callable[..., Client]) -> None:
    events: list[dict[str, Any]] = [{"type": "one", "x": 1}, {"type": "two"}]
    for kind, body, expected in (
        ("text/event-stream", b"".join(map(sse, [events[0], PING, events[1]])), events),
        ("application/x-jsonl", b'{"a": 1}\n\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        ("text/plain", b"plain", [b"plain"]),
    ):
        with (
            Server(after(head(content_type=kind), chunk(body), LAST_CHUNK)) as server,
            connect(server).request("GET", "/anything", stream=True) as stream,
        ):
            assert list(stream) == expected
            assert stream.request_id == "req_test"
            assert stream.response_headers["content-type"] == kind


def test_what_a_stream_asks_for_fits_what_the_path_answers_with(connect: Callable[..., Client]) -> None:
    script = Recording()
    with Server(script) as server:
        client = connect(server)
        for path in ("/sessions/s/events/stream", "/messages/batches/b/results", "/files/f/content", "/anything"):
            client.request("GET", path, stream=True).close()
        client.request("GET", "/anything")
    assert [headers["accept"] for _, _, headers in script.requests] == [
        *("text/event-stream", "application/binary, application/x-jsonl", "application/binary", "*/*"),
        "application/json",
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_our_classes(connect: Callable[..., Client], *, stream: bool) -> None:
    error = {"type": "error", "error": {"type": "conflict_error", "message": "busy"}}
    failures: list[tuple[bytes, type[Exception]]] = [
        (json_answer("409 Conflict", error), ConflictError),
        (json_answer("529 Overloaded", b""), OverloadedError),
        (json_answer("302 Found", b"", {"location": "http://127.0.0.1:9/"}), APIStatusError),
        (json_answer("200 OK", b"{oops"), ProtocolError),
        (head(content_type="application/json") + chunk(b"{}"), TruncatedError),
        (b"", APIConnectionError),
        (b"nonsense\r\n\r\n", ProtocolError),
    ]
    for answer, kind in failures:
        with Server(after(answer)) as server, pytest.raises(kind) as raised:
            client: Any = connect(server)
            got = client.request("GET", "/anything", stream=stream)
            assert [*got] == [b"{oops"], "a stream of bytes is none of JSON"
            raise ProtocolError("as expected")
        assert getattr(raised.value, "attempts", 1) in {0, 1}


def test_an_event_that_is_an_error_is_raised_in_its_place(connect: Callable[..., Client]) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with Server(after(head(), chunk(sse({"type": "one"}) + sse(error)))) as server:
        stream = connect(server).request("GET", "/anything", stream=True)
        assert next(stream) == {"type": "one"}
        with pytest.raises(OverloadedError) as raised:
            next(stream)
        assert (raised.value.in_stream, raised.value.request_id, raised.value.attempts) == (True, "req_test", 1)
        with pytest.raises(StopIteration):
            next(stream)


def test_the_last_event_of_an_answer_may_lack_its_end(connect: Callable[..., Client]) -> None:
    events = sse({"type": "one"}) + sse({"type": "message_stop"}).rstrip()
    with Server(after(head(), chunk(events), LAST_CHUNK)) as server:
        stream = connect(server).request("GET", "/anything", stream=True)
        assert list(stream) == [{"type": "one"}, {"type": "message_stop"}]


def test_a_stream_of_pings_stalls(connect: Callable[..., Client]) -> None:
    with Server(Halt(head(), chunk(sse(PING)))) as server:
        stream = connect(server).request("GET", "/anything", stream=True, timeout=Timeout(idle=0.05, read=10))
        with pytest.raises(StalledError):
            next(stream)


def test_calls_are_repeated_as_chats_are(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> None:
    client = connect(anthropix_emulator.url, max_retries=2)
    again = {"retry-after-ms": "1"}
    anthropix_emulator.queue(Status(529, headers=again), Status(429, headers=again), {"ok": 1}, path="/v1/x")
    assert client.request("POST", "/x", json={}) == {"ok": 1}
    anthropix_emulator.queue(*[Status(500, headers=again)] * 3, path="/v1/x")
    with pytest.raises(APIStatusError) as raised:
        client.request("GET", "/x", stream=True)
    assert raised.value.attempts == 3
    anthropix_emulator.queue(Raw(b"{}", headers={"x": "1"}), path="/v1/x")
    assert client.request("GET", "/x") == {}


def test_a_form_carries_files_and_fields(anthropix_emulator: Emulator, connect: Callable[..., Client]) -> None:
    client = connect(anthropix_emulator.url)
    got = client.request("POST", "/files", files={"file": ("a.txt", b"x")}, json={"expires_in_seconds": 3600})
    assert (got["filename"], got["size_bytes"]) == ("a.txt", 1)
    assert anthropix_emulator.requests[0].body["expires_in_seconds"] == "3600"


def test_a_list_of_an_unknown_path_is_known_by_its_pages(
    anthropix_emulator: Emulator, connect: Callable[..., Client]
) -> None:
    client = connect(anthropix_emulator.url)
    first = {"data": [{"n": 1}], "has_more": True, "next_page": "p2"}
    last = {"data": [{"n": 2}], "has_more": False, "next_page": None}
    anthropix_emulator.queue(first, last, first, last, path="/v1/new")
    assert [item["n"] for item in client.paginate("/new", params={"limit": 1}, beta=iter(["b"]))] == [1, 2]
    assert [item["n"] for item in client.paginate("/new", kind="token")] == [1, 2]
    assert [request.query for request in anthropix_emulator.requests] == [
        *({"limit": "1"}, {"limit": "1", "page": "p2"}, {}, {"page_token": "p2"}),
    ]
    assert [request.headers.get("anthropic-beta") for request in anthropix_emulator.requests] == ["b", "b", None, None]
