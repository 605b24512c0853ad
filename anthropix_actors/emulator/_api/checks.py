"""Checks of requests, before a model would see them; each returns the refusal, or None.

The parameters of a chat are first checked for presence and type, then by the rules.

Source: https://docs.claude.com/en/api/errors and https://docs.claude.com/en/api/versioning, read 2026-11-23.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.shapes import problems_of
from anthropix_actors.chat.parameters import CHAT, COUNT_TOKENS
from anthropix_actors.emulator._model.json import is_object
from anthropix_actors.emulator.answers import Status
from anthropix_actors.emulator.rules.chat_request import ChatRequest
from anthropix_actors.emulator.rules.table import first_refusal

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from anthropix_actors._checks.shapes import Shape
    from anthropix_actors.emulator.records import Request
    from anthropix_actors.emulator.rules.sent_thoughts import SentThoughts
    from anthropix_actors.emulator.rules.table import Rule
    from anthropix_actors.errors import Problem

VERSIONS = frozenset({"2023-06-01", "2026-10-21"})

MAX_BODY_BYTES = 32 << 20

_MISSING = "required, and missing"

_TEXT = re.compile(r"messages\[(\d+)\]\.content\[(\d+)\]\.text")


def check_headers(request: Request, api_key: str | None) -> Status | None:
    """Check the API key and the version."""
    key = _api_key(request.headers)
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
    """Return the refusal of a body of more than `limit` bytes."""
    return Status(413, f"Request exceeds the maximum size of {limit >> 20} MB")


def check_chat(request: Request, rules: Sequence[Rule], thoughts: SentThoughts) -> Status | None:
    """Check the body of `POST /v1/messages`, or of a batch's request, which has a `custom_id`."""
    known = frozenset({"stream", *CHAT.required, *CHAT.optional})
    return check_object(request) or _check_params(request, CHAT, known, rules, thoughts)


def check_count(request: Request, rules: Sequence[Rule], thoughts: SentThoughts) -> Status | None:
    """Check the body of `POST /v1/messages/count_tokens`."""
    known = frozenset({*COUNT_TOKENS.required, *COUNT_TOKENS.optional})
    return check_object(request) or _check_params(request, COUNT_TOKENS, known, rules, thoughts)


def check_object(request: Request) -> Status | None:
    """Check that the body is a JSON object."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return Status(400, f"content-type: Input should be application/json, not {kind or 'missing'}")
    if not is_object(request.body):
        return Status(400, "The request body is not valid JSON: an object was expected")
    return None


def check_keys(keys: Iterable[str], known: Container[str], place: str = "") -> Status | None:
    """Check that all keys are known."""
    unknown = next((key for key in keys if key not in known), None)
    return None if unknown is None else Status(400, f"{place}{unknown}: Extra inputs are not permitted")


def _api_key(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key", "") or (token.strip() if scheme.lower() == "bearer" else "")


def _check_params(
    request: Request, shape: Shape, known: frozenset[str], rules: Sequence[Rule], thoughts: SentThoughts
) -> Status | None:
    body: dict[str, Any] = request.body
    if "stream" in body and not isinstance(body["stream"], bool):
        return Status(400, "stream: Input should be a valid boolean")
    for problem in _problems(shape, body):
        text = "Field required" if problem.text.startswith(_MISSING) else problem.text
        return Status(400, f"{_place(problem.place)}: {text}")
    chat_request = ChatRequest(
        body,
        version=request.headers["anthropic-version"],
        betas=_betas(request.headers),
        known=known,
        in_batch=request.custom_id is not None,
        sent_with=thoughts.sent_with,
    )
    words = first_refusal(chat_request, rules)
    return None if words is None else Status(400, words)


def _problems(shape: Shape, body: dict[str, Any]) -> Iterator[Problem]:
    """Yield missing parameters and wrong types, except where a rule checks the value."""
    for problem in problems_of(shape, body, ""):
        if not _has_rule(problem.place, body):
            yield problem


def _has_rule(place: str, body: dict[str, Any]) -> bool:
    if text := _TEXT.fullmatch(place):
        message, block = map(int, text.groups())
        return bool(body["messages"][message]["content"][block].get("text") == "")
    budget = body["thinking"].get("budget_tokens") if place == "thinking.budget_tokens" else None
    return isinstance(budget, int) and not isinstance(budget, bool)


def _betas(headers: Mapping[str, str]) -> frozenset[str]:
    return frozenset(name.strip() for name in headers.get("anthropic-beta", "").split(",") if name.strip())


def _place(place: str) -> str:
    """Return `messages[2].content` in the API's notation.

    Example:
        >>> _place("messages[2].content[0].text")
        'messages.2.content.0.text'
    """
    return re.sub(r"\[(\d+)\]", r".\1", place)
