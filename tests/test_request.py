from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ConfigurationError, ParameterError, Timeout
from anthropix_actors._request import (
    Request,
    as_timeout,
    auth_headers,
    base_url_of,
    beta_names,
    check_api_version,
    default_headers,
    merge_headers,
)
from anthropix_actors._retry import RetryPolicy


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com"),
        ("https://api.anthropic.com/", "https://api.anthropic.com"),
        ("https://api.anthropic.com/v1", "https://api.anthropic.com"),
        ("https://api.anthropic.com/v1/", "https://api.anthropic.com"),
        ("http://[::1]:8080/a/b", "http://[::1]:8080/a/b"),
    ],
)
def test_a_base_url_is_taken_with_and_without_its_end(given: str, expected: str) -> None:
    assert base_url_of(given) == expected


@pytest.mark.parametrize("given", ["", "x", "http://", "http://[::1", "https://x:99999", "http://a\nb", "ws://x"])
def test_what_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError):
        base_url_of(given)


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
    request = Request("/v1/x", b"private", {"x-api-key": "secret"}, Timeout(), RetryPolicy(), 1, 1)
    assert "secret" not in repr(request)
    assert "private" not in repr(request)


def test_the_default_headers_name_the_library_and_the_version() -> None:
    headers = default_headers("2023-06-01")
    assert headers["anthropic-version"] == "2023-06-01"
    assert headers["user-agent"].startswith("anthropix-actors/0.")
