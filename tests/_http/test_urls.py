from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ConfigurationError, ParameterError
from anthropix_actors._http.urls import encode_query, normalize_base_url, origin_of


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
    assert normalize_base_url(given) == expected


@pytest.mark.parametrize("host", ["a..b", ".x", "x" * 64 + ".example", "x:0", "\u0416" * 64, "x..", "x:0/v1"])
def test_what_no_host_can_be_called_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^base_url: expected a URL like"):
        normalize_base_url(f"https://{host}")


def test_a_port_of_0_is_no_origin() -> None:
    with pytest.raises(ValueError, match="not an http or https URL"):
        origin_of("https://x:0")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://x/v1/messages", "https://x"),
        ("https://x/gate/v1/messages/", "https://x/gate"),
        ("https://x/messages", "https://x"),
        ("https://x/v1/messages/batches", "https://x"),
        ("https://x/v1/models", "https://x"),
        ("https://x/v1/files/file_1", "https://x"),
    ],
)
def test_an_endpoints_path_is_refused_with_what_was_meant(given: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"without an endpoint's path, {meant}, got {given.rstrip('/')}$"):
        normalize_base_url(given)


@pytest.mark.parametrize("given", ["https://x/v1/account/gate/anthropic", "https://messages.example", "https://x/v1x"])
def test_a_gateways_path_is_not(given: str) -> None:
    assert normalize_base_url(given) == given


@pytest.mark.parametrize("given", ["", "x", "http://", "http://[::1", "https://x:99999", "http://a\nb", "ws://x"])
def test_what_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError):
        normalize_base_url(given)


@pytest.mark.parametrize("url", ["https://x?", "https://x#", "https://x/v1?", "https://x/?a=b", "https://x/#a"])
def test_a_base_url_ends_with_its_path(url: str) -> None:
    """Else the path of a request would become part of the query."""
    with pytest.raises(ConfigurationError, match="query or fragment"):
        normalize_base_url(url)


@pytest.mark.parametrize(
    "url", ["https://u:secret@x", "ftp://u:secret@x", "https://u:secret@x:99999", "https://u:secret@"]
)
def test_a_password_in_a_base_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        normalize_base_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://api.example", "HTTPS://API.example:443/v1/x", True),
        ("http://127.0.0.1:80/a", "http://127.0.0.1", True),
        ("https://api.example", "http://api.example", False),
        ("https://api.example", "https://api.example.evil", False),
        ("https://api.example", "https://api.example:8443", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, *, same: bool) -> None:
    assert (origin_of(one) == origin_of(other)) is same


@pytest.mark.parametrize(
    "url", ["", "/v1", "ftp://x", "https://", "https://x:99999", "http://[::1", "https://evil@x", "https://x@evil"]
)
def test_what_has_no_origin_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|range|IPv6"):
        origin_of(url)


def test_a_query_leaves_out_none_and_repeats_lists() -> None:
    assert encode_query(None) == encode_query({"a": None, "b": [], "c": [None]}) == ""
    found = encode_query({"a": True, "b": 1.5, "c": ("x", False, 2), "d": "ä&="})
    assert parse_qsl(found.removeprefix("?")) == [
        ("a", "true"),
        ("b", "1.5"),
        ("c[]", "x"),
        ("c[]", "false"),
        ("c[]", "2"),
        ("d", "ä&="),
    ]


def test_all_that_fits_no_query_is_named_at_once() -> None:
    with pytest.raises(ParameterError) as raised:
        encode_query({"a": {}, "b": 1, "c": [b"x"]})
    assert [problem.place for problem in raised.value.problems] == ["params.a", "params.c"]


@given(st.dictionaries(st.text(min_size=1).filter(str.isidentifier), st.text(min_size=1)))
def test_a_query_says_what_it_was_made_of(params: dict[str, str]) -> None:
    assert dict(parse_qsl(encode_query(params).removeprefix("?"))) == params
