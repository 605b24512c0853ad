"""Base URLs, origins and queries. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from anthropix_actors.errors import ConfigurationError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


PORTS = {"https": 443, "http": 80}
"""The default ports."""

_ENDPOINT = r"(/v1)?/messages(/.*)?$|/v1/(models|files|complete)(/.*)?$"


def normalize_base_url(text: str) -> str:
    """Check a base URL and cut a trailing `/` or `/v1`.

    Raises:
        ConfigurationError: it is not an http or https URL, has parts that it should not have, or its host is not a
            valid name.

    Example:
        >>> normalize_base_url("https://gateway.example/anthropic/v1/")
        'https://gateway.example/anthropic'
    """
    try:
        parts = urlsplit(text)
        complete = parts.scheme in PORTS and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")  # as the look-up of the name does
    except ValueError:  # a UnicodeError is one
        complete = False
        parts = None
    if not complete or parts is None or re.search(r"[\s\x00-\x1f]", text):
        got = "a text with an @" if "@" in text else repr(text)  # the text before the @ may be a password
        raise ConfigurationError(f"base_url: expected a URL like https://api.anthropic.com, got {got}")
    if parts.username is not None or parts.password is not None or "?" in text or "#" in text:
        raise ConfigurationError("base_url: expected a URL without user, password, query or fragment")
    text = text.rstrip("/")
    if endpoint := re.search(_ENDPOINT, text):
        what = f"expected the address without an endpoint's path, {text[: endpoint.start()]}, got {text}"
        raise ConfigurationError(f"base_url: {what}")
    return text.removesuffix("/v1").rstrip("/")


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port: a key is sent to one such origin only.

    Raises:
        ValueError: it is not an http or https URL, or has a user in it.

    Example:
        >>> origin_of("HTTPS://API.example/v1/messages") == origin_of("https://api.example:443")
        True
    """
    parts = urlsplit(url)
    port = PORTS.get(parts.scheme) if parts.port is None else parts.port
    if not port or not parts.hostname or parts.username is not None:
        raise ValueError(f"not an http or https URL: {url:.200}")
    return parts.scheme, parts.hostname, port


def encode_query(params: Mapping[str, Any] | None) -> str:
    """Return a query with its question mark, or "" if it is empty. None is left out, a list is repeated.

    Raises:
        ParameterError: a value is not a string, a number, a bool, or a list of them.

    Example:
        >>> encode_query({"limit": 20, "after_id": None, "types": ["a", "b c"]})
        '?limit=20&types%5B%5D=a&types%5B%5D=b+c'

    Source: the official SDK 2.12.0 sends lists as `name[]`.
    """
    pairs: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for name, value in (params or {}).items():
        several = isinstance(value, (list, tuple))
        for item in value if several else (value,):
            if isinstance(item, bool):
                pairs.append((f"{name}[]" if several else name, str(item).lower()))
            elif isinstance(item, (str, int, float)):
                pairs.append((f"{name}[]" if several else name, str(item)))
            elif item is not None:
                what = f"expected a string, a number, a bool, or a list of them, got {type(item).__name__}"
                problems.append(Problem(f"params.{name}", what))
    if problems:
        raise ParameterError(problems)
    return "?" + urlencode(pairs) if pairs else ""
