"""The usage of answers, in tokens, as numbers that add up. Pure.

An answer's own `usage` is not enough for that:

- tokens of a compaction are in its `iterations` and nowhere else, and are billed on the answer's model;
- an advisor's tokens are there as well, and are billed on the advisor's model: see `per_model`;
- the other iterations are parts of the totals. When one model steps in for another, the totals are those of the model
  that answered: the declined attempt is in the iterations, and is not counted;
- an answer that was cut off has its input tokens, but few of its output tokens: these are estimated from its content;
- an answer that began, and was cut before its content, reaches no subscriber, as another attempt follows: see `lost`.

Counts come from outside: an invalid one is 0, and none is larger than `MOST`.

Example:
    >>> whole = {"model": "claude-opus-5", "stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 5}}
    >>> sum([Usage.of(whole), Usage.of(whole)], Usage()).total_tokens
    30

Source: https://docs.claude.com/en/api/messages, https://docs.claude.com/en/docs/build-with-claude/compaction and
https://docs.claude.com/en/docs/agents-and-tools/tool-use/advisor-tool, read 2026-11-23.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from anthropix_actors.errors import APIStatusError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anthropix_actors._wire.message import Message
    from anthropix_actors.errors import AnthropixError

BYTES_PER_TOKEN = 4
"""How an estimate counts a token: four bytes of UTF-8, which is four letters of English."""

TOKENS_PER_CALL = 40
"""Tokens that an estimate adds for a tool call, besides its input: those of its name and frame in recorded answers."""

MOST = 10**9
"""More tokens or requests than any answer takes; a larger count is replaced by this."""

_RAW_INPUT = "input_json"  # a partial Message has only this text of an unfinished call

UNKNOWN_MODEL = "unknown"
"""The model of an answer that does not name one."""


class Usage(msgspec.Struct, frozen=True):
    """Counts of tokens and of requests to server tools; they add up with `+` and `sum(usages, Usage())`.

    Attributes:
        input_tokens: Tokens read, apart from the cache.
        output_tokens: Tokens written, including thinking and tool calls.
        cache_creation_5m_input_tokens: Tokens put in the cache for five minutes, including those for which the API does
            not say how long, unless all others are for an hour.
        cache_creation_1h_input_tokens: Tokens put in the cache for an hour.
        cache_read_input_tokens: Tokens read from the cache.
        thinking_tokens: How many of `output_tokens` were thinking.
        compaction_tokens: How many of all these went into compactions: read, cached or written.
        web_search_requests: How often the server searched the web.
        web_fetch_requests: How often the server fetched a page.
        estimate: True if any part was estimated, or may be missing.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    thinking_tokens: int = 0
    compaction_tokens: int = 0
    web_search_requests: int = 0
    web_fetch_requests: int = 0
    estimate: bool = False

    @classmethod
    def of(cls, message: Message | Mapping[str, Any] | None, *, complete: bool = False) -> Usage:
        """Return the usage of an answer, over all models that worked on it.

        Args:
            message: A complete Message, or one that was cut off; None if nothing arrived.
            complete: True if it is known to be complete. Else its `stop_reason` tells: a cut one has none.

        Example:
            >>> cut = {"content": [{"type": "text", "text": "Once upon a time"}], "usage": {"input_tokens": 10}}
            >>> cut["stop_reason"] = None
            >>> Usage.of(cut).output_tokens, Usage.of(cut).estimate
            (4, True)
        """
        return sum(per_model(message, complete=complete).values(), cls())

    @property
    def cache_creation_input_tokens(self) -> int:
        """Tokens put in the cache."""
        return self.cache_creation_5m_input_tokens + self.cache_creation_1h_input_tokens

    @property
    def total_tokens(self) -> int:
        """All tokens that were read, cached or written."""
        return self.input_tokens + self.cache_creation_input_tokens + self.cache_read_input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        """Return the sum of both."""
        if not isinstance(other, Usage):
            return NotImplemented
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Usage(**counts, estimate=self.estimate or other.estimate)

    def __radd__(self, other: int) -> Usage:
        """Return the sum of zero and this, as `sum()` needs."""
        return self if other == 0 else NotImplemented


_COUNTS = [name for name in Usage.__struct_fields__ if name != "estimate"]


def per_model(message: Message | Mapping[str, Any] | None, *, complete: bool = False) -> dict[str, Usage]:
    """Return the usage of an answer, by the model that is billed for it. There is more than one only with an advisor.

    Args:
        message: As for `Usage.of`.
        complete: As for `Usage.of`.

    Example:
        >>> advice = {"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 7, "output_tokens": 2}
        >>> usage = {"input_tokens": 10, "output_tokens": 5, "iterations": [advice]}
        >>> answer = {"model": "claude-haiku-4-5", "stop_reason": "end_turn", "usage": usage}
        >>> {model: usage.total_tokens for model, usage in per_model(answer).items()}
        {'claude-haiku-4-5': 15, 'claude-opus-5': 9}
    """
    if not isinstance(message, Mapping):
        return {}
    wire = _mapping(message.get("usage"))
    own = _reported(wire)
    if not complete and message.get("stop_reason") is None:
        own = _estimated(own, _items(message.get("content")))
    models = {_model(message): own}
    for iteration in _items(wire.get("iterations")):
        used = _reported(iteration)
        if iteration.get("type") == "compaction":
            models[_model(message)] += replace(used, compaction_tokens=used.total_tokens)
        elif iteration.get("type") == "advisor_message":
            models[_model(iteration)] = models.get(_model(iteration), Usage()) + used
    return models


def begun(events: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the Messages that begin in `events`, as cut ones.

    Example:
        >>> begun([{"type": "message_start", "message": {"usage": {"input_tokens": 3}}}])
        ({'usage': {'input_tokens': 3}, 'content': [], 'stop_reason': None},)
    """
    starts = (event for event in events if event.get("type") == "message_start")
    return tuple({**_mapping(event.get("message")), "content": [], "stop_reason": None} for event in starts)


def lost(chat: object) -> tuple[Mapping[str, Any], ...]:
    """Return the beginnings of answers that a chat's earlier attempts received and lost. They are billed as well."""
    found = getattr(chat, "lost", ())
    return found if isinstance(found, tuple) else ()


def spent_before(chat: object) -> Usage:
    """Return the usage of a chat's earlier attempts, as far as it is known.

    Example:
        >>> spent_before("a chat that did not lose any") == Usage()
        True
    """
    return sum(map(Usage.of, lost(chat)), Usage())


def spent(partial: Message | Mapping[str, Any] | None, *, sent: bool) -> Usage:
    """Return the usage of an answer that was cut off.

    Args:
        partial: The answer so far; None if nothing arrived.
        sent: Whether the API may have read the request. Then it may be billed, and how much is not known.

    Example:
        >>> spent(None, sent=True).estimate
        True
    """
    return Usage(estimate=sent) if partial is None else Usage.of(partial)


def spent_on_failure(error: AnthropixError) -> Usage:
    """Return the usage of a failed chat.

    Example:
        >>> spent_on_failure(APIStatusError("Overloaded", status=529)) == Usage()
        True
    """
    return Usage() if is_refusal(error) else spent(error.partial, sent=was_sent(error))


def is_refusal(error: AnthropixError) -> bool:
    """Return whether the API refused the request before any content: that is not billed.

    Example:
        >>> is_refusal(APIStatusError("Overloaded", status=529))
        True
    """
    return isinstance(error, APIStatusError) and not _mapping(error.partial).get("content")


def was_sent(error: AnthropixError) -> bool:
    """Return whether the API may have read a request that failed.

    Example:
        >>> was_sent(APIStatusError("Overloaded", status=529))  # no attempt was counted
        False
    """
    return error.attempts > 0 and not getattr(error, "unsent", False)


def _reported(wire: Mapping[str, Any]) -> Usage:
    """Read the counts of an answer or of an iteration."""
    cached = _mapping(wire.get("cache_creation"))
    short, long = _count(cached, "ephemeral_5m_input_tokens"), _count(cached, "ephemeral_1h_input_tokens")
    # At the end of a stream the total is updated, the breakdown is not: the rest is of the kind that is known.
    rest = max(0, _count(wire, "cache_creation_input_tokens") - short - long)
    only_long = long > 0 and not short
    server = _mapping(wire.get("server_tool_use"))
    return Usage(
        input_tokens=_count(wire, "input_tokens"),
        output_tokens=_count(wire, "output_tokens"),
        cache_creation_5m_input_tokens=short + (0 if only_long else rest),
        cache_creation_1h_input_tokens=long + (rest if only_long else 0),
        cache_read_input_tokens=_count(wire, "cache_read_input_tokens"),
        thinking_tokens=_count(_mapping(wire.get("output_tokens_details")), "thinking_tokens"),
        web_search_requests=_count(server, "web_search_requests"),
        web_fetch_requests=_count(server, "web_fetch_requests"),
    )


def _estimated(reported: Usage, content: list[Mapping[str, Any]]) -> Usage:
    """Replace counts that the API had not finished by estimates from the content that arrived."""
    thought = sum(_bytes(block.get("thinking")) + _bytes(block.get("data")) for block in content)
    written = thought + sum(map(_written, content))
    return replace(
        reported,
        output_tokens=max(reported.output_tokens, _tokens(written)),
        thinking_tokens=max(reported.thinking_tokens, _tokens(thought)),
        estimate=True,
    )


def _written(block: Mapping[str, Any]) -> int:
    """Return the bytes that the model wrote in a block, except thinking. Server tools' results are not the model's."""
    kind = block.get("type")
    if kind in ("text", "compaction"):
        return _bytes(block.get("text")) + _bytes(block.get("content"))
    if not isinstance(kind, str) or not kind.endswith("tool_use"):
        return 0
    arguments = block.get(_RAW_INPUT) or block.get("input")
    if arguments and not isinstance(arguments, str):
        try:
            arguments = json.dumps(arguments, ensure_ascii=False)
        except Exception:  # noqa: BLE001 - not JSON, or nested too deeply, or a mapping of the caller's own kind
            arguments = ""
    return TOKENS_PER_CALL * BYTES_PER_TOKEN + _bytes(arguments)


def _tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


def _bytes(text: Any) -> int:
    return len(text.encode(errors="replace")) if isinstance(text, str) else 0


def _model(wire: Mapping[str, Any]) -> str:
    model = wire.get("model")
    return model if isinstance(model, str) and model else UNKNOWN_MODEL


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, (list, tuple)) else []


def _count(wire: Mapping[str, Any], name: str) -> int:
    value = wire.get(name)
    if isinstance(value, float) and value.is_integer():  # some gateways write counts as floats
        value = int(value)
    return min(value, MOST) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
