"""Rules on conversations: roles, empty content, prefill. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from anthropix_actors.emulator.rules.chat_request import NO_TURN, ChatRequest, Turn
from anthropix_actors.emulator.rules.rule import AEGIS, Violation, issue, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAKES_PREFILL = re.compile(
    r"claude-(?:[123]\b|instant|v\d|4-|(?:haiku|opus|sonnet)-4(?:[-.][0-5])?(?:[-@](?:\d{8}|latest))?$)", re.ASCII
)
"""The models that take a prefill: those older than Opus 4.6 and Sonnet 4.6."""


def _first_is_system(request: ChatRequest) -> Iterator[Violation]:
    if request.messages and request.messages[0].role == "system":
        yield Violation("messages.0")


def _empty_message(request: ChatRequest) -> Iterator[Violation]:
    for message in request.messages:
        optional = message is request.messages[-1] and message.role == "assistant"
        if not optional and message.data.get("content") in ("", []):
            yield Violation(message.place)


def _empty_text(request: ChatRequest) -> Iterator[Violation]:
    for message in request.messages:
        yield from (Violation("messages") for block in message.blocks if block.data.get("text") == "")


def _blank_text(request: ChatRequest) -> Iterator[Violation]:
    """Find a message of white space only; beside other blocks, as recordings show, the API accepts it."""
    for message in request.messages:
        texts = [block.text("text") for block in message.blocks if block.kind == "text"]
        if texts and len(texts) == len(message.blocks) and "".join(texts) and not "".join(texts).strip():
            yield Violation("messages")


def _prefill(request: ChatRequest) -> Turn:
    """Return the prefill: a last turn of the model's, except a paused turn, which is resumed."""
    last = request.last_turn
    plain = all(block.kind in ("text", "thinking", "redacted_thinking") for block in last.blocks)
    return last if last.role == "assistant" and last.blocks and plain else NO_TURN


def _prefill_whitespace(request: ChatRequest) -> Iterator[Violation]:
    if request.last_turn.role == "assistant" and request.last_turn.blocks:
        text = request.last_turn.blocks[-1].text("text")
        if text != text.rstrip():
            yield Violation("messages")


def _prefill_model(request: ChatRequest) -> Iterator[Violation]:
    model = request.body.get("model")
    claude = isinstance(model, str) and model.startswith("claude-") and not _TAKES_PREFILL.match(model)
    if claude and _prefill(request).blocks:
        yield Violation("")


_CLAUDE_CODE = "anthropics/claude-code"

RULES = (
    seen(
        "first-message-system",
        _first_is_system,
        "a first message with the role `system`",
        "use the top-level 'system' parameter for the initial system prompt",
        AEGIS,
    ),
    seen(
        "message-empty",
        _empty_message,
        "an empty message, unless it is the last and the model's",
        "all messages must have non-empty content except for the optional final assistant message",
        issue(_CLAUDE_CODE, 6774),
    ),
    seen(
        "text-empty",
        _empty_text,
        "an empty text block",
        "text content blocks must be non-empty",
        issue(_CLAUDE_CODE, 59812),
    ),
    seen(
        "text-blank",
        _blank_text,
        "a message of white space only",
        "text content blocks must contain non-whitespace text",
        issue("anomalyco/opencode", 31259),
    ),
    seen(
        "prefill-whitespace",
        _prefill_whitespace,
        "a prefill that ends in white space",
        "final assistant content cannot end with trailing whitespace",
        issue("tailcallhq/forgecode", 1872),
    ),
    seen(
        "prefill-model",
        _prefill_model,
        "a prefill for a model that does not take one: those from Opus 4.6 and Sonnet 4.6 on",
        "This model does not support assistant message prefill. The conversation must end with a user message.",
        issue("router-for-me/CLIProxyAPI", 5319),
    ),
)
