"""Paths of requests: filled as asked, or refused."""

from __future__ import annotations

import enum
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anthropix_actors import ParameterError
from anthropix_actors._checks.paths import fill_path
from anthropix_actors.endpoints import endpoints


class Word(enum.StrEnum):
    MODEL = "claude-haiku-4-5"

    def __str__(self) -> str:
        return "something else"


class Number(enum.IntEnum):
    SEVEN = 7

    def __str__(self) -> str:
        return "something else"


def problems(path: Any, path_params: Any = None) -> list[str]:
    with pytest.raises(ParameterError) as caught:
        fill_path(path, path_params)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("path", "values", "filled"),
    [
        ("/v1/models", None, "/v1/models"),
        ("/models", {}, "/v1/models"),
        ("models", None, "/v1/models"),
        ("v1/models", None, "/v1/models"),
        ("/v1beta/models", None, "/v1/v1beta/models"),
        ("/models/{model_id}", {"model_id": "claude-haiku-4-5"}, "/v1/models/claude-haiku-4-5"),
        ("/models/{model_id}", {"model_id": Word.MODEL}, "/v1/models/claude-haiku-4-5"),
        ("/skills/{skill_id}/versions/{version}", {"skill_id": "a", "version": 7}, "/v1/skills/a/versions/7"),
        ("/skills/{skill_id}/versions/{version}", {"skill_id": 0, "version": Number.SEVEN}, "/v1/skills/0/versions/7"),
        ("/{twice}/{twice}", {"twice": "a/b ?#%"}, "/v1/a%2Fb%20%3F%23%25/a%2Fb%20%3F%23%25"),
        ("/files/{file_id}", {"file_id": "é\x00\n"}, "/v1/files/%C3%A9%00%0A"),
        ("/files/{file_id}", {"file_id": "..."}, "/v1/files/..."),
        ("/a:b/%2F@c", None, "/v1/a:b/%2F@c"),
    ],
)
def test_a_template_is_filled(path: str, values: dict[str, Any] | None, filled: str) -> None:
    assert fill_path(path, values) == filled


@pytest.mark.parametrize("endpoint", endpoints(), ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_path_of_the_api_is_a_template(endpoint: Any) -> None:
    names = [segment[1:-1] for segment in endpoint.path.split("/") if segment.startswith("{")]
    filled = fill_path(endpoint.path, dict.fromkeys(names, "x"))
    assert filled.count("/") == endpoint.path.count("/")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (None, "got None"),
        ("", "an empty segment"),
        ("/", "an empty segment"),
        ("/v1", "an empty segment"),
        ("/v1/", "an empty segment"),
        ("/models/", "an empty segment"),
        ("//evil.example/v1", "an empty segment"),
        ("/a//b", "an empty segment"),
        ("https://evil.example/v1/models", "got a whole URL"),
        ("/models?limit=1", "pass it as `params`"),
        ("/models#top", "pass it as `params`"),
        ("/mod els", "got 'mod els'"),
        ("/models\n", r"got 'models\n'"),
        ("/models\x00", r"got 'models\x00'"),
        ("/modèles", "got 'modèles'"),
        ("/a\\b", r"got 'a\\b'"),
        ("/a%2", "got 'a%2'"),
        ("/a{b}", "got 'a{b}'"),
        ("/{a b}", "got '{a b}'"),
        ("/{}", "got '{}'"),
        ("/a/../b", "the one above, got '..'"),
        ("/a/%2e%2E", "the one above, got '%2e%2E'"),
        ("/a/.%2E/b", "the one above, got '.%2E'"),
        ("/./b", "the one above, got '.'"),
        ("/a/;b", "a semicolon, got ';b'"),
        ("/a/%3Bb", "a semicolon, got '%3Bb'"),
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(path: Any, expected: str) -> None:
    [problem] = problems(path)
    assert problem.startswith("path: expected ")
    assert expected in problem


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "a string that is not empty, got ''"),
        (None, "a string that is not empty, got None"),
        (True, "a string that is not empty, got True"),
        (1.5, "a string that is not empty, got 1.5"),
        (b"x", "a string that is not empty, got bytes"),
        (2**64, "an integer of at most 64 bits, got an integer of 65 bits"),
        (".", "a name, not a step to this folder or the one above, got '.'"),
        ("..", "a name, not a step to this folder or the one above, got '..'"),
        ("%2e%2E", "a name, not a step to this folder or the one above, got '%2e%2E'"),
        ("%2e.", "a name, not a step to this folder or the one above, got '%2e.'"),
        (";v=1", "a name, not one that begins with a semicolon, got ';v=1'"),
        ("\ud800", r"text that UTF-8 can encode, got '\ud800'"),
    ],
)
def test_a_value_that_is_no_name_is_refused(value: Any, expected: str) -> None:
    assert problems("/models/{model_id}", {"model_id": value}) == [f"path_params.model_id: expected {expected}"]


@pytest.mark.parametrize("value", [-(2**63), 2**64 - 1])
def test_every_integer_of_64_bits_is_a_value(value: int) -> None:
    assert fill_path("/models/{model_id}", {"model_id": value}).endswith(f"/models/{value}")


def test_everything_wrong_is_said_at_once() -> None:
    assert problems("/a b/{one}/../{two}/{three}", {"two": "", "four": 4, 5: "five"}) == [
        "path: expected letters, digits and percent codes between its slashes, or a parameter in braces, got 'a b'",
        "path: expected a name, not a step to this folder or the one above, got '..'",
        "path_params.one: required, and missing: expected a string",
        "path_params.two: expected a string that is not empty, got ''",
        "path_params.three: required, and missing: expected a string",
        "path_params.four: not in the path; expected 'one', 'two', 'three'",
        "path_params: not in the path; expected 'one', 'two', 'three'",
    ]


def test_values_for_a_path_without_parameters_are_refused() -> None:
    expected = "path_params.model_id: not in the path; expected none: the path has no parameters"
    assert problems("/models", {"model_id": "x"}) == [expected]


def test_values_that_are_no_mapping_are_refused_with_the_path() -> None:
    assert problems("/{a}/ ", ["x"]) == [
        "path_params: expected a mapping, got list",
        "path: expected letters, digits and percent codes between its slashes, or a parameter in braces, got ' '",
    ]


@given(st.lists(st.text() | st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=4))
def test_a_value_is_one_segment_and_decodes_back(values: list[str | int]) -> None:
    template = "/sessions/" + "/events/".join(f"{{p{number}}}" for number in range(len(values)))
    try:
        filled = fill_path(template, {f"p{number}": value for number, value in enumerate(values)})
    except ParameterError as refused:
        named = {problem.place for problem in refused.problems}
        for number, value in enumerate(values):
            decoded = unquote(str(value))
            bad = decoded in {"", ".", ".."} or decoded.startswith(";")
            assert bad == (f"path_params.p{number}" in named)
        return
    assert filled.isascii()
    segments = filled.removeprefix("/v1").split("/")
    assert len(segments) == len(template.split("/"))
    assert [unquote(segment) for segment in segments[2::2]] == [str(value) for value in values]
    assert not {".", ".."} & {unquote(segment) for segment in segments}


@given(st.text())
def test_what_is_taken_as_a_path_leads_nowhere_else(path: str) -> None:
    try:
        taken = fill_path(path, None)
    except ParameterError:
        return
    assert taken.startswith("/v1/")
    assert taken.isascii()
    assert not set(taken) & set("?#\\{} \t\r\n")
    assert all(segment not in {"", ".", ".."} for segment in taken.split("/")[1:])
    assume(path.startswith("/"))
    assert taken in {path, f"/v1{path}"}
