from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ConfigurationError, ParameterError, Timeout
from anthropix_actors._http.request import (
    Request,
    as_timeout,
    auth_headers,
    beta_names,
    check_api_version,
    default_headers,
    merge_headers,
)
from anthropix_actors._http.retry import RetryPolicy


def test_the_timeout_of_requests_is_said_how_to_write() -> None:
    odd: Any = (3, 5.5)
    said = r"^timeout: expected a Timeout, or seconds .*, got \(3, 5\.5\); write Timeout\(connect=3, read=5\.5\)$"
    with pytest.raises(ParameterError, match=said):
        as_timeout(odd, Timeout())
    odd = (3, 5, 7)
    with pytest.raises(ParameterError, match=r"got \(3, 5, 7\)$"):
        as_timeout(odd, Timeout())


def test_a_timeout_is_taken_in_three_forms() -> None:
    default = Timeout(connect=1, read=2, idle=3)
    assert as_timeout(None, default) is default
    assert as_timeout(Timeout(total=9), default) == Timeout(total=9)
    assert as_timeout(9, default) == Timeout(connect=1, read=2, idle=3, total=9)
    for odd in (0, -1, float("nan"), float("inf"), True, "9"):
        with pytest.raises(ParameterError):
            as_timeout(odd, default)  # type: ignore[arg-type]


def test_credentials_become_one_header() -> None:
    old, new = "2023-06-01", "2026-10-21"
    assert auth_headers(api_key="k", auth_token=None, api_version=old) == {"x-api-key": "k"}
    assert auth_headers(api_key="k", auth_token=None, api_version=new) == {"authorization": "Bearer k"}
    assert auth_headers(api_key=None, auth_token="t", api_version=old) == {"authorization": "Bearer t"}
    with pytest.raises(ConfigurationError, match="auth_token"):
        auth_headers(api_key=None, auth_token="t\n", api_version=old)
    with pytest.raises(ConfigurationError, match="api_key: expected a string, got int"):
        auth_headers(api_key=5, auth_token=None, api_version=old)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="api_key"):
        auth_headers(api_key=5, auth_token=None, api_version=old)  # type: ignore[arg-type]


@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "A", "b-c", "B-C"]), st.sampled_from(["1", "2", None])), max_size=3)
)
def test_the_last_word_on_a_header_counts_whatever_its_case(layers: list[dict[str, str | None]]) -> None:
    expected: dict[str, str | None] = {}
    for layer in layers:
        expected |= {name.lower(): value for name, value in layer.items()}
    assert merge_headers(*layers, place="headers") == {
        key: value for key, value in expected.items() if value is not None
    }


def test_headers_that_are_none_are_all_named_and_their_values_are_not() -> None:
    odd: Any = {"x y": "1", "": "2", "fine": "a\x00b", "also fine": "3", "count": 4, "ok": "\xff"}
    with pytest.raises(ParameterError) as caught:
        merge_headers(None, odd, place="headers")
    assert [problem.place for problem in caught.value.problems] == [
        "headers",
        "headers",
        "headers['fine']",
        "headers",
        "headers['count']",
    ]
    assert "\x00" not in str(caught.value)


def test_betas_are_split_and_stripped() -> None:
    assert beta_names(None) == []
    assert beta_names(" a ,,b ") == ["a", "b"]
    assert beta_names(iter(["a", "b,c"])) == ["a", "b", "c"]


def test_a_version_is_a_date() -> None:
    assert check_api_version("2023-06-01") == "2023-06-01"
    with pytest.raises(ConfigurationError):
        check_api_version("2023-06-01 ")


def test_a_request_does_not_show_its_headers_and_body() -> None:
    request = Request("POST", "/v1/x", b"private", {"x-api-key": "secret"}, Timeout(), RetryPolicy(), 1, 1)
    assert "secret" not in repr(request)
    assert "private" not in repr(request)


def test_the_default_headers_name_the_library_and_the_version() -> None:
    headers = default_headers("2023-06-01")
    assert headers["anthropic-version"] == "2023-06-01"
    assert headers["user-agent"].startswith("anthropix-actors/0.")


@pytest.mark.parametrize(
    "value", [" secret", "\tsecret", "secret\n", "sec\rret", "secret\u20ac", "secret\x7f", 5, b"secret"]
)
def test_a_value_that_cannot_be_sent_is_refused_and_not_repeated(value: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        merge_headers({"x-api-key": value}, place="headers")
    assert "secret" not in str(caught.value)
    assert caught.value.problems[0].place == "headers['x-api-key']"


@pytest.mark.parametrize("odd", [["x: y"], "x: y", 5])
def test_headers_are_a_mapping(odd: Any) -> None:
    with pytest.raises(ParameterError, match="expected a mapping of names to values"):
        merge_headers(odd, place="extra_headers")


@pytest.mark.parametrize("odd", [5, [5], b"a", ["a", None]])
def test_betas_are_strings(odd: Any) -> None:
    with pytest.raises(ParameterError, match=r"^beta: expected a string or strings"):
        beta_names(odd)


@pytest.mark.parametrize(
    "version", ["", "latest", "2023-6-1", "2023-06-01\n", "\uff12\uff10\uff12\uff13-06-01", None, 20230601]
)
def test_what_is_no_date_is_no_version(version: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^api_version: "):
        check_api_version(version)


@pytest.mark.parametrize("part", ["connect", "read", "idle", "total", "first_byte"])
@pytest.mark.parametrize("odd", [0, -1, float("nan"), float("inf"), 1e10, 10**400, True, "9"])
def test_each_part_of_a_timeout_is_seconds_that_a_socket_can_wait(part: str, odd: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        Timeout(**{part: odd})
    assert [problem.place for problem in caught.value.problems] == [f"timeout.{part}"]


def test_all_parts_of_a_timeout_that_are_wrong_are_named() -> None:
    with pytest.raises(ParameterError) as caught:
        Timeout(connect=0, idle=-1)
    assert [problem.place for problem in caught.value.problems] == ["timeout.connect", "timeout.idle"]
    assert Timeout(connect=None, read=None, idle=None, total=None) == Timeout(None, None, None, None)


@pytest.mark.parametrize("secret", ["", " k", "k ", "k\n", "\u043a", "k\x00", None])
def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(secret: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        auth_headers(api_key=None, auth_token=secret, api_version="2023-06-01")
    assert str(caught.value).startswith("auth_token: ")
    assert not secret or secret not in str(caught.value).removeprefix(
        "auth_token: expected printable ASCII without spaces"
    )
