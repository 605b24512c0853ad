"""A request: its path, headers, body and timeouts. Pure.

Source: https://docs.claude.com/en/api/overview and /versioning, read 2026-11-23.
"""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace

from anthropix_actors._checks.call_errors import ExplainedStruct
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._http.version import __version__
from anthropix_actors.errors import APITimeoutError, ConfigurationError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import BinaryIO

    from anthropix_actors._http.retry import RetryPolicy

BEARER_SINCE = "2026-10-21"
"""From this version of the API on, a key travels as a bearer token."""

LONGEST_TIMEOUT = 1e9
"""Seconds; a socket may not accept a larger timeout. None is forever."""

_TIMEOUT_OF_REQUESTS = ("connect", "read")
"""What the two numbers are that requests takes as a timeout."""

_VERSION_FORM = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_HEADER_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEADER_VALUE = r"(?![\t ])[\t\x20-\x7e\x80-\xff]*"


class Timeout(ExplainedStruct, frozen=True):
    """How long things may take, in seconds; None is forever. docs/timeouts.md has a table of what each means where.

    Attributes:
        connect: To reach each of the server's addresses: TCP, proxy and TLS.
        read: Between two bytes of the response, once it has begun.
        idle: Without progress: in a stream of events, without an event other than a ping; in other bodies, sent or
            received, without a byte. Healthy answers may be silent for minutes at high effort.
        total: For everything: all attempts, the waits between them, the whole response. A client's `total` is for
            chats and calls; batches and sessions that are followed take only their own.
        first_byte: From the end of the request to the head of the response.

    Raises:
        ParameterError: a value is not a positive number.

    Example:
        >>> Timeout(total=120)
        Timeout(connect=10, read=180, idle=300, total=120, first_byte=600)
    """

    connect: float | None = 10
    read: float | None = 180  # the API sends a ping every few seconds; some gateways send nothing while a model thinks
    idle: float | None = 300
    total: float | None = None
    first_byte: float | None = 600  # as long as the official SDK waits: a cold prompt may take minutes

    def __post_init__(self) -> None:
        """Raise if a value is not a time."""
        problems = [
            Problem(f"timeout.{name}", f"expected seconds above 0, or None, got {value!r}")
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not None and not _is_positive(value)
        ]
        if problems:
            raise ParameterError(problems)


def as_timeout(value: Timeout | float | None, default: Timeout) -> Timeout:
    """Return a caller's `timeout` as a Timeout: a number is the total, None the default.

    Raises:
        ParameterError: it is none of these.

    Example:
        >>> as_timeout(30, Timeout()).total
        30
    """
    if value is None:
        return default
    if isinstance(value, Timeout):
        return value
    if not _is_positive(value):
        problem = f"expected a Timeout, or seconds above 0 in all, got {value!r}"
        if isinstance(value, tuple) and len(value) == len(_TIMEOUT_OF_REQUESTS):
            parts = (f"{name}={part!r}" for name, part in zip(_TIMEOUT_OF_REQUESTS, value, strict=True))
            problem += f"; write Timeout({', '.join(parts)})"
        raise ParameterError([Problem("timeout", problem)])
    return replace(default, total=value)


def as_task_timeout(value: Timeout | float | None, default: Timeout) -> Timeout:
    """Return the Timeout of a long-running task: only its own `total` applies, never the client's.

    Raises:
        ParameterError: `value` is neither a Timeout nor seconds nor None.

    Example:
        >>> as_task_timeout(None, Timeout(idle=60, total=30)).total is None
        True
    """
    return as_timeout(value, replace(default, total=None))


def no_answer(timeout: Timeout) -> APITimeoutError:
    """Return the error for a response that did not begin in time."""
    what = f"no response within {timeout.first_byte} s after the request was sent (timeout.first_byte)"
    return APITimeoutError(what, retryable=True)


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= LONGEST_TIMEOUT


class Body(Protocol):
    """The body of a request that is too large for memory."""

    @property
    def content_type(self) -> str:
        """The value of the `content-type` header."""
        ...

    @property
    def repeatable(self) -> bool:
        """Return whether it can be sent again."""
        ...

    def open(self) -> tuple[BinaryIO, int | None]:
        """Return it as a file at its beginning, which the caller closes, and its length in bytes if known."""
        ...


class Request(msgspec.Struct, frozen=True):
    """One request, ready to be sent, and sent again.

    Attributes:
        method: The HTTP method.
        path: Its path after the base URL, from `/v1` on, with its query; or a whole URL on the same origin.
        body: Its body, or None.
        headers: All headers, including the key, so they stay out of the repr.
        timeout: Its timeouts.
        retry: When to send it again.
        max_event_bytes: The largest event to accept.
        max_answer_bytes: The largest response to keep in memory.
    """

    method: str
    path: str
    body: bytes | Body | None
    headers: Mapping[str, str]
    timeout: Timeout
    retry: RetryPolicy
    max_event_bytes: int
    max_answer_bytes: int

    def __repr__(self) -> str:
        """Return its repr, without body, query and headers."""
        return f"Request({self.method!r}, {self.path.partition('?')[0]!r}, {self.timeout!r}, {self.retry!r})"

    @property
    def repeatable(self) -> bool:
        """Return whether it can be sent again: a body that was read from a pipe is gone."""
        return self.body is None or isinstance(self.body, bytes) or self.body.repeatable


def auth_headers(*, api_key: str | None, auth_token: str | None, api_version: str) -> dict[str, str]:
    """Return the header that carries the credentials.

    Raises:
        ConfigurationError: they cannot be sent in a header; the text does not repeat them.

    Example:
        >>> auth_headers(api_key="sk-ant-1", auth_token=None, api_version="2023-06-01")
        {'x-api-key': 'sk-ant-1'}
    """
    if api_key is not None and api_version < BEARER_SINCE:
        return {"x-api-key": _checked_secret("api_key", api_key)}
    name, secret = ("api_key", api_key) if api_key is not None else ("auth_token", auth_token)
    return {"authorization": f"Bearer {_checked_secret(name, secret)}"}


def _checked_secret(name: str, secret: Any) -> str:
    if secret == "":
        what = "it is an empty string. Set the environment variable ANTHROPIC_API_KEY, or pass Client(api_key=...)"
        raise ConfigurationError(f"{name}: there is no API key: {what}")
    if not isinstance(secret, str):
        raise ConfigurationError(f"{name}: expected a string, got {type(secret).__name__}")
    fits = secret.isascii() and secret.isprintable() and secret == secret.strip()
    if not fits:
        raise ConfigurationError(f"{name}: expected printable ASCII without spaces around it (is there a line break?)")
    return secret


def check_api_version(api_version: str) -> str:
    """Return the version if it is a date.

    Raises:
        ConfigurationError: it is not.
    """
    if not isinstance(api_version, str) or not re.fullmatch(_VERSION_FORM, api_version):
        raise ConfigurationError(f'api_version: expected a date like "2023-06-01", got {api_version!r}')
    return api_version


def beta_names(beta: str | Iterable[str] | None) -> list[str]:
    """Return the names of betas in a string, perhaps with commas, or in several strings.

    Raises:
        ParameterError: `beta` is not a string, nor strings.

    Example:
        >>> beta_names("a, b")
        ['a', 'b']
    """
    if beta is None:
        return []
    given = [beta] if isinstance(beta, str) else beta
    try:
        return [name.strip() for item in given for name in item.split(",") if name.strip()]
    except (TypeError, AttributeError):
        raise ParameterError([Problem("beta", f"expected a string or strings, got {beta!r}")]) from None


def merge_headers(
    *layers: Mapping[str, str | None] | None, place: str, over: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Merge headers, later layers over earlier ones, ignoring the case of names. The value None removes a header.

    Args:
        layers: Headers, the most general first.
        place: The parameter that the last layer came from, for errors.
        over: Headers below all layers, which were merged before; they are not checked again.

    Raises:
        ParameterError: HTTP does not allow a name or a value. The text does not repeat the value.

    Example:
        >>> merge_headers({"Accept": "a", "x-b": "1"}, {"accept": "c", "X-B": None}, place="headers")
        {'accept': 'c'}
    """
    merged = dict(over or {})
    problems: list[Problem] = []
    for layer in layers:
        if layer is not None and not hasattr(layer, "items"):
            raise ParameterError([Problem(place, f"expected a mapping of names to values, got {type(layer).__name__}")])
        for name, value in (layer or {}).items():
            if not isinstance(name, str) or not re.fullmatch(_HEADER_NAME, name):
                problems.append(Problem(place, f"expected names of headers, got {name!r}"))
            elif value is None:
                merged.pop(name.lower(), None)
            elif not isinstance(value, str) or not re.fullmatch(_HEADER_VALUE, value):
                problems.append(
                    Problem(
                        f"{place}[{name!r}]",
                        "expected one line of Latin-1 that does not start with a space, or None to remove it",
                    )
                )
            else:
                merged[name.lower()] = value
    if problems:
        raise ParameterError(problems)
    return merged


def default_headers(api_version: str) -> dict[str, Any]:
    """Return the headers of every request, without credentials."""
    return {
        "accept": "application/json",
        # A compressor would hold small events back until its block is full.
        "accept-encoding": "identity",
        "anthropic-version": api_version,
        "user-agent": f"anthropix-actors/{__version__} Python/{platform.python_version()}",
    }


publish("anthropix_actors", (Timeout,))
