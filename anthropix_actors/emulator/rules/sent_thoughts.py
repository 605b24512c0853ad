"""Remembers the thoughts of scripted answers, so that changed ones are recognized when they are sent back.

The emulator need not remember thoughts that it signed itself. Signatures of a recording or a script do not encode
their thoughts, so it remembers which thoughts were sent with them, and at which places.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from anthropix_actors.emulator._model import events as _events
from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator.answers import PauseTurn, Refusal, Reply, unwrap
from anthropix_actors.emulator.reply_parts import Compaction, Thinking, ToolCall
from anthropix_actors.emulator.rules.chat_request import ChatRequest
from anthropix_actors.emulator.rules.thinking import places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator.answers import Answer

_MAX_SIGNATURES = 10_000
"""The number of signatures that are remembered; the oldest are forgotten."""


class _SentBlock(NamedTuple):
    """A block of an answer: its type; for thinking blocks, the signature and the thoughts."""

    kind: str
    signature: str = ""
    thinking: str = ""


class SentThoughts:
    """The thoughts that were sent, by signature. Not thread-safe: only the event loop uses it."""

    def __init__(self) -> None:
        """Start empty."""
        self._sent: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)

    def record(self, body: Any, answer: Answer) -> None:
        """Record the thoughts of the answer to a request. A lazy iterable of events is not read."""
        with contextlib.suppress(Exception):  # an invalid answer fails when its response is made
            parts = [part for part in _blocks_of(answer) if part.kind]
            if any(part.signature for part in parts):
                self._store(body, parts)

    def sent_with(self, signature: str) -> frozenset[tuple[str, int]]:
        """Return the thoughts sent with a signature, and their places; empty if it was never sent."""
        return frozenset(self._sent.get(signature, ()))

    def _store(self, body: Any, parts: list[_SentBlock]) -> None:
        last = ChatRequest(dict(body)).last_turn
        before = [block.kind for block in last.blocks] if last.role == "assistant" else []
        counted = places([*before, *(part.kind for part in parts)])[len(before) :]
        for part, place in zip(parts, counted, strict=True):
            if part.signature:
                self._sent[part.signature].add((part.thinking, place))
        while len(self._sent) > _MAX_SIGNATURES:
            del self._sent[next(iter(self._sent))]


def _blocks_of(answer: Answer) -> Iterator[_SentBlock]:
    plain, _ = unwrap(answer)
    match plain:
        case Reply() | Refusal() | PauseTurn():
            yield from map(_sent_block, _listed(plain.content))
        case Mapping():
            yield from map(_sent_block, _listed(cast("Mapping[str, Any]", plain).get("content")))
        case bytes() | Path():
            recorded = plain if isinstance(plain, bytes) else plain.read_bytes()
            if b'"signature' in recorded:  # most recordings have none, and need not be decoded
                yield from map(_sent_block, _events.accumulate(_events.decode(recorded))["content"])
        case _ if is_array(plain):
            yield from map(_sent_block, _events.accumulate(cast("list[dict[str, Any]]", plain))["content"])
        case _:
            return


def _listed(content: Any) -> list[Any]:
    """Return the content if it can be iterated repeatedly; else nothing."""
    return list(content) if isinstance(content, (list, tuple)) else []


def _sent_block(part: Any) -> _SentBlock:
    match part:
        case str():
            return _SentBlock("text" if part else "")
        case Thinking():
            return _SentBlock("thinking", part.signature or "", part.thinking)
        case ToolCall():
            return _SentBlock("tool_use")
        case Compaction():
            return _SentBlock("compaction")
        case _:
            block: dict[str, Any] = part if is_object(part) else dict(part)
            empty = block["type"] == "text" and not block.get("text")
            return _SentBlock("" if empty else block["type"], block.get("signature") or "", block.get("thinking") or "")
