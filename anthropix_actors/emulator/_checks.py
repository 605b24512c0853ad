"""What the API refuses before a model hears of it.

Source: https://docs.claude.com/en/api/errors and https://docs.claude.com/en/api/versioning, read 2026-11-23.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from anthropix_actors._params import CHAT, COUNT_TOKENS, chat_problems, count_tokens_problems
from anthropix_actors.emulator._json import is_object
from anthropix_actors.emulator.answers import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anthropix_actors.emulator.records import Request
    from anthropix_actors.errors import Problem

VERSIONS = frozenset({"2023-06-01", "2026-10-21"})

MAX_BODY_BYTES = 32 << 20

TOO_LARGE = Status(413, "Request exceeds the maximum size of 32 MB")

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


def refused_chat(request: Request) -> Status | None:
    """Check the body of `POST /v1/messages`."""
    return _refused_body(request, _CHATTED, chat_problems)


def refused_count(request: Request) -> Status | None:
    """Check the body of `POST /v1/messages/count_tokens`."""
    return _refused_body(request, _COUNTED, count_tokens_problems)


def _key(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key", "") or (token.strip() if scheme.lower() == "bearer" else "")


def _refused_body(request: Request, known: Iterable[str], problems: Callable[..., Iterable[Problem]]) -> Status | None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return Status(400, f"content-type: Input should be application/json, not {kind or 'missing'}")
    body = request.body
    if not is_object(body):
        return Status(400, "The request body is not valid JSON: an object was expected")
    if "stream" in body and not isinstance(body["stream"], bool):
        return Status(400, "stream: Input should be a valid boolean")
    params = {key: value for key, value in body.items() if key != "stream"}
    for problem in problems(params, api_version=request.headers["anthropic-version"]):
        text = "Field required" if problem.text.startswith(_MISSING) else problem.text
        return Status(400, f"{_place(problem.place)}: {text}")
    unknown = next((key for key in body if key not in known), None)
    return None if unknown is None else Status(400, f"{unknown}: Extra inputs are not permitted")


def _place(place: str) -> str:
    """Write `messages[2].content` as the API does.

    Example:
        >>> _place("messages[2].content[0].text")
        'messages.2.content.0.text'
    """
    return re.sub(r"\[(\d+)\]", r".\1", place)
