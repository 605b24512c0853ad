"""What the API refuses before a model hears of it.

Source: https://docs.claude.com/en/api/errors and https://docs.claude.com/en/api/versioning, read 2026-11-23.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from anthropix_actors._params import CHAT, COUNT_TOKENS, chat_problems, count_tokens_problems
from anthropix_actors.emulator._json import is_object
from anthropix_actors.emulator.answers import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from anthropix_actors.emulator.records import Request
    from anthropix_actors.errors import Problem

    _Problems: TypeAlias = Callable[..., Iterable[Problem]]

VERSIONS = frozenset({"2023-06-01", "2026-10-21"})

MAX_BODY_BYTES = 32 << 20

_CHATTED = frozenset({*CHAT.required, *CHAT.optional, "stream"})
_COUNTED = frozenset({*COUNT_TOKENS.required, *COUNT_TOKENS.optional})

_MISSING = "required, and missing"


def refused_headers(request: Request, api_key: str | None) -> Status | None:
    """Check who asks, and in which version of the API."""
    key = _key(request.headers)
    if not key:
        return Status(401, "x-api-key header is required")
    if api_key is not None and key != api_key:
        return Status(401, "invalid x-api-key")
    version = request.headers.get("anthropic-version")
    if version is None:
        return Status(400, "anthropic-version: header is required")
    if version not in VERSIONS:
        return Status(400, f'anthropic-version: "{version}" is not a valid version')
    return None


def too_large(limit: int) -> Status:
    """Get the refusal of a body with more than `limit` bytes."""
    return Status(413, f"Request exceeds the maximum size of {limit >> 20} MB")


def refused_chat(request: Request) -> Status | None:
    """Check the body of `POST /v1/messages`."""
    return refused_object(request) or _refused(request, _CHATTED, chat_problems)


def refused_count(request: Request) -> Status | None:
    """Check the body of `POST /v1/messages/count_tokens`."""
    return refused_object(request) or _refused(request, _COUNTED, count_tokens_problems)


def refused_object(request: Request) -> Status | None:
    """Check that the body is a JSON object."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return Status(400, f"content-type: Input should be application/json, not {kind or 'missing'}")
    if not is_object(request.body):
        return Status(400, "The request body is not valid JSON: an object was expected")
    return None


def refused_params(params: Any, version: str, place: str) -> Status | None:
    """Check the parameters of a chat in a batch; `place` is where they are."""
    if not is_object(params):
        return Status(400, f"{place}: Input should be an object")
    return _refused_params(params, version, _CHATTED - {"stream"}, chat_problems, f"{place}.")


def refused_keys(keys: Iterable[str], known: Container[str], place: str = "") -> Status | None:
    """Check that all keys are known."""
    unknown = next((key for key in keys if key not in known), None)
    return None if unknown is None else Status(400, f"{place}{unknown}: Extra inputs are not permitted")


def _key(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key", "") or (token.strip() if scheme.lower() == "bearer" else "")


def _refused(request: Request, known: Container[str], problems: _Problems) -> Status | None:
    if "stream" in request.body and not isinstance(request.body["stream"], bool):
        return Status(400, "stream: Input should be a valid boolean")
    return _refused_params(request.body, request.headers["anthropic-version"], known, problems)


def _refused_params(
    body: dict[str, Any], version: str, known: Container[str], problems: _Problems, place: str = ""
) -> Status | None:
    params = {key: value for key, value in body.items() if key != "stream"}
    for problem in problems(params, api_version=version):
        text = "Field required" if problem.text.startswith(_MISSING) else problem.text
        return Status(400, f"{place}{_place(problem.place)}: {text}")
    return refused_keys(body, known, place)


def _place(place: str) -> str:
    """Write `messages[2].content` as the API does.

    Example:
        >>> _place("messages[2].content[0].text")
        'messages.2.content.0.text'
    """
    return re.sub(r"\[(\d+)\]", r".\1", place)
