"""Rules on conversations: who speaks when, and says what. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from anthropix_actors.emulator.rules.chat_request import NOBODY, Asked, Turn
from anthropix_actors.emulator.rules.rule import AEGIS, Found, issue, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAKES_PREFILL = re.compile(
    r"claude-(?:[123]\b|instant|v\d|4-|(?:haiku|opus|sonnet)-4(?:[-.][0-5])?(?:[-@](?:\d{8}|latest))?$)", re.ASCII
)
"""The models that go on from words that are put into their mouth: what is older than Opus 4.6 and Sonnet 4.6."""


def _first_is_system(asked: Asked) -> Iterator[Found]:
    if asked.messages and asked.messages[0].role == "system":
        yield Found("messages.0")


def _empty_message(asked: Asked) -> Iterator[Found]:
    for message in asked.messages:
        optional = message is asked.messages[-1] and message.role == "assistant"
        if not optional and message.data.get("content") in ("", []):
            yield Found(message.place)


def _empty_text(asked: Asked) -> Iterator[Found]:
    for message in asked.messages:
        yield from (Found("messages") for block in message.blocks if block.data.get("text") == "")


def _blank_text(asked: Asked) -> Iterator[Found]:
    """Find a message that says nothing but white space; beside other blocks, as recordings show, it is taken."""
    for message in asked.messages:
        texts = [block.text("text") for block in message.blocks if block.kind == "text"]
        if texts and len(texts) == len(message.blocks) and "".join(texts) and not "".join(texts).strip():
            yield Found("messages")


def _prefill(asked: Asked) -> Turn:
    """Get the words that are put into the model's mouth; a paused turn that is to go on is none."""
    last = asked.last
    plain = all(block.kind in ("text", "thinking", "redacted_thinking") for block in last.blocks)
    return last if last.role == "assistant" and last.blocks and plain else NOBODY


def _prefill_whitespace(asked: Asked) -> Iterator[Found]:
    if asked.last.role == "assistant" and asked.last.blocks:
        text = asked.last.blocks[-1].text("text")
        if text != text.rstrip():
            yield Found("messages")


def _prefill_model(asked: Asked) -> Iterator[Found]:
    model = asked.body.get("model")
    claude = isinstance(model, str) and model.startswith("claude-") and not _TAKES_PREFILL.match(model)
    if claude and _prefill(asked).blocks:
        yield Found("")


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
        "a message that says nothing, unless it is the last and the model's",
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
        "a message of white space alone",
        "text content blocks must contain non-whitespace text",
        issue("anomalyco/opencode", 31259),
    ),
    seen(
        "prefill-whitespace",
        _prefill_whitespace,
        "words put into the model's mouth that end in white space",
        "final assistant content cannot end with trailing whitespace",
        issue("tailcallhq/forgecode", 1872),
    ),
    seen(
        "prefill-model",
        _prefill_model,
        "words put into the mouth of a model that does not go on from them: those from Opus 4.6 and Sonnet 4.6 on",
        "This model does not support assistant message prefill. The conversation must end with a user message.",
        issue("router-for-me/CLIProxyAPI", 5319),
    ),
)
