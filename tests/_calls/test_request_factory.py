"""The requests that a client makes: its settings, and what a caller says for one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ParameterError, Timeout
from anthropix_actors._calls.request_factory import JSON_LINES, RequestFactory
from anthropix_actors._http.request import default_headers, merge_headers
from anthropix_actors._http.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM = merge_headers(default_headers("2023-06-01"), {"x-api-key": "sk-test"}, place="headers")


def factory(**settings: Any) -> RequestFactory:
    given: dict[str, Any] = {"timeout": Timeout(), "retry": RetryPolicy(2, 60.0), **settings}
    return RequestFactory(SYSTEM, max_event_bytes=10, max_answer_bytes=20, **given)


def headers(settings: Mapping[str, Any], **call: Any) -> Mapping[str, str]:
    return factory(headers=settings).build("POST", "/v1/messages", **call).headers


def test_a_request_has_the_clients_settings_and_the_callers_words() -> None:
    made = factory(timeout=Timeout(connect=3), retry=RetryPolicy(1, 9.0))
    request = made.build("GET", "/v1/models", params={"limit": 3, "after_id": None})
    assert (request.method, request.path, request.body) == ("GET", "/v1/models?limit=3", None)
    assert (request.timeout, request.retry) == (Timeout(connect=3), RetryPolicy(1, 9.0))
    assert (request.max_event_bytes, request.max_answer_bytes) == (10, 20)
    own = made.build("POST", "/v1/messages", json={"a": 1}, timeout=7, max_retries=0)
    assert own.body == b'{"a":1}'
    assert (own.timeout, own.retry) == (Timeout(connect=3, total=7), RetryPolicy(0, 9.0))


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [("application/json", "gzip, deflate"), (JSON_LINES, "gzip, deflate"), ("text/event-stream", "identity")],
)
def test_only_streams_that_are_read_as_they_come_are_not_compressed(accept: str, encoding: str) -> None:
    found = headers({}, accept=accept)
    assert (found["accept"], found["accept-encoding"]) == (accept, encoding)


def test_each_layer_of_headers_is_over_the_one_before() -> None:
    assert headers({}, body=b"{}")["content-type"] == "application/json"
    assert headers({"Content-Type": "a/b", "Accept": "c/d", "X-Mine": "1"}, body=b"{}").items() >= {
        ("content-type", "a/b"),
        ("accept", "c/d"),
        ("x-mine", "1"),
        ("x-api-key", "sk-test"),
    }
    assert headers({"x-mine": "1"}, extra_headers={"X-MINE": "2"})["x-mine"] == "2"


def test_none_removes_a_header_in_any_case_and_a_later_layer_may_set_it_again() -> None:
    removed = headers({"ACCEPT": None, "X-Api-Key": None, "Content-Type": None, "X-Not-There": None}, body=b"{}")
    assert not {"accept", "x-api-key", "content-type", "x-not-there"} & removed.keys()
    assert headers({"accept": None}, extra_headers={"Accept": "a/b"})["accept"] == "a/b"
    assert "x-mine" not in headers({"x-mine": "1"}, extra_headers={"X-Mine": None})
    assert headers({"x-mine": None, "X-Mine": "2"})["x-mine"] == "2"
    assert "x-mine" not in headers({"X-Mine": "2", "x-mine": None})


def test_betas_are_the_clients_then_the_callers_then_the_paths_each_once() -> None:
    made = factory(headers={"Anthropic-Beta": "a, b"}, beta="c")
    assert made.build("GET", "/", beta=["d", "a"], default_betas=("e", "c")).headers["anthropic-beta"] == "a,b,c,d,e"
    assert made.build("GET", "/", extra_headers={"Anthropic-Beta": "x"}).headers["anthropic-beta"] == "x"
    assert "anthropic-beta" not in made.build("GET", "/", extra_headers={"Anthropic-Beta": None}).headers
    assert "anthropic-beta" not in headers({"anthropic-beta": None})
    assert headers({"anthropic-beta": None}, beta="d")["anthropic-beta"] == "d"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"headers": {"x y": "1"}}, "headers: expected names of headers, got 'x y'"),
        ({"headers": {"x-y": "1\n2"}}, "headers['x-y']: expected one line of Latin-1"),
        ({"headers": ["x-y"]}, "headers: expected a mapping of names to values, got list"),
        ({"beta": 5}, "beta: expected a string or strings, got 5"),
    ],
)
def test_settings_that_cannot_be_sent_are_refused_when_the_client_is_made(settings: Any, problem: str) -> None:
    with pytest.raises(ParameterError) as caught:
        factory(**settings)
    assert problem in str(caught.value)


def test_what_a_caller_says_is_checked_in_each_call_and_all_of_it_is_named() -> None:
    with pytest.raises(ParameterError) as caught:
        factory().build("GET", "/", beta="a\nb", extra_headers={"x y": "1", "x-z": "\n"})
    places = [problem.place for problem in caught.value.problems]
    assert places == ["extra_headers['anthropic-beta']", "extra_headers", "extra_headers['x-z']"]
    with pytest.raises(ParameterError, match="extra_headers: expected a mapping of names to values, got int"):
        factory().build("GET", "/", extra_headers=5)  # type: ignore[arg-type]


def test_settings_are_as_they_were_when_the_client_was_made() -> None:
    settings = {"x-mine": "1"}
    made = factory(headers=settings)
    settings.update({"x-mine": "2", "x-other": "3", "accept": None})  # type: ignore[dict-item]
    found = made.build("GET", "/").headers
    assert found["x-mine"] == "1"
    assert "x-other" not in found
    assert found["accept"] == "application/json"


NAMES = st.sampled_from(["accept", "Accept", "accept-encoding", "content-type", "x-a", "X-A", "x-api-key", "X-B"])
LAYERS = st.dictionaries(NAMES, st.none() | st.sampled_from(["1", "2"]), max_size=5)


ACCEPTED = st.sampled_from(["application/json", "text/event-stream"])


@given(LAYERS, LAYERS, ACCEPTED, st.sampled_from([None, b"{}"]), st.sampled_from([None, "b"]))
def test_the_headers_are_those_of_all_layers_merged_at_once(
    mine: Any, extra: Any, accept: str, body: bytes | None, beta: str | None
) -> None:
    own = {"accept": accept} | ({"accept-encoding": "gzip, deflate"} if accept == "application/json" else {})
    own |= {"content-type": "application/json"} if body else {}
    betas = {"anthropic-beta": beta} if beta else None
    merged = merge_headers(SYSTEM, own, mine, betas, extra, place="extra_headers")
    assert headers(mine, accept=accept, body=body, beta=beta, extra_headers=extra) == merged
