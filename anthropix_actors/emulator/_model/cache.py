"""Prompt caching, as the API counts it: pure, the time is passed in.

A request is a sequence of blocks: its tools, its system prompt, its messages. `cache_control` on a block is a
breakpoint; at the top level it is one on the last block that can be cached. Only a breakpoint whose prefix is long
enough is written. For a read, each breakpoint and the blocks before it, 20 in all, are looked up; the longest prefix
that is cached counts. Two prefixes are the same if all their blocks are, and the settings of their level:

| what changes | tools | system | messages |
|---|---|---|---|
| a tool | lost | lost | lost |
| web search on or off, citations on or off, `speed` | | lost | lost |
| `tool_choice`, `thinking`, any image or none | | | lost |

A read renews a prefix for its time to live, 5 minutes or an hour. Each model, each key and each workspace has a cache
of its own.

Unlike at the API, tokens are the emulator's own estimate; a prefix can be read as soon as its request is answered;
thinking blocks of earlier turns stay in the prefix.

Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11-26; a model
that it does not name has the minimum size of its line.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model import json as _json
from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator._model.tokens import count_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LOOK_BACK = 20
"""Blocks that are looked up from a breakpoint back, including its own."""

MINUTES_5 = 300.0
HOUR = 3600.0

_MIN_CACHEABLE = {
    "claude-opus-4-8": 1024,
    "claude-opus-4-7": 2048,
    "claude-opus-4-6": 4096,
    "claude-opus-4-5": 4096,
    "claude-opus-4": 1024,
    "claude-haiku-4-5": 4096,
    "claude-3-5-haiku": 2048,
    "claude-opus": 512,
    "claude-fable": 512,
    "claude-mythos-preview": 4096,
    "claude-mythos": 512,
}
"""The fewest tokens of a prefix that is cached, by the beginning of the model's name: the first match counts."""

_MIN_CACHEABLE_OTHERS = 1024

_NOT_CACHED = frozenset({"thinking", "redacted_thinking"})

_SWEEP_SIZE = 1024
"""The number of entries above which expired ones are removed."""


@dataclass(frozen=True, slots=True)
class InputCost:
    """What the input of a request costs.

    Attributes:
        read: Tokens read from the cache.
        written_1h: Tokens written for an hour.
        written_5m: Tokens written for 5 minutes.
        other: All other tokens.
        entries: The prefixes to write or renew when the request is answered, each with its time to live.
    """

    read: int
    written_1h: int
    written_5m: int
    other: int
    entries: tuple[tuple[bytes, float], ...] = ()

    @property
    def uncached(self) -> int:
        """Tokens not read from the cache: those that count towards the rate limits."""
        return self.written_1h + self.written_5m + self.other

    def usage(self) -> dict[str, Any]:
        """Return the part of a Message's usage that reports it."""
        return {
            "input_tokens": self.other,
            "cache_creation_input_tokens": self.written_1h + self.written_5m,
            "cache_read_input_tokens": self.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.written_5m,
                "ephemeral_1h_input_tokens": self.written_1h,
            },
        }


@dataclass(frozen=True, slots=True)
class _Block:
    """One block of a request.

    Attributes:
        level: 0 for tools, 1 for the system prompt, 2 for messages.
        text: The bytes that must be the same.
        tokens: The number of its tokens.
        ttl: How long the prefix up to it is kept, in seconds; 0 without a breakpoint.
        cacheable: Whether it may be the last block of a prefix.
    """

    level: int
    text: bytes
    tokens: int
    ttl: float
    cacheable: bool


def min_cacheable(model: str) -> int:
    """Return the fewest tokens of a prefix that a model caches.

    Example:
        >>> [min_cacheable(model) for model in ("claude-opus-4-8", "claude-haiku-4-5-20251001", "other")]
        [1024, 4096, 1024]
    """
    return next((tokens for name, tokens in _MIN_CACHEABLE.items() if model.startswith(name)), _MIN_CACHEABLE_OTHERS)


class PromptCache:
    """The cached prefixes. Not thread-safe: only the event loop uses it."""

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[bytes, tuple[float, float]] = {}  # time to live, and when it expires
        self._sweep = _SWEEP_SIZE

    def price(self, owner: str, body: Mapping[str, Any], now: float) -> InputCost:
        """Return what the input of a request costs now. Changes nothing.

        Args:
            owner: The owner of the request.
            body: The request.
            now: The time, in seconds.
        """
        total = count_input(body)
        blocks = _blocks(body) if any(map(_ttl, _markable(body))) else []  # most requests have no breakpoint
        ends = [place for place, block in enumerate(blocks) if block.ttl]
        if not ends:
            return InputCost(0, 0, 0, total)
        sizes = [min(size, total) for size in accumulate(block.tokens for block in blocks)]
        prefixes = _prefixes(f"{owner} {body.get('model')}", body, blocks)
        hit = self._longest_hit(prefixes, ends, now)
        written = [place for place in ends if place > hit and sizes[place] >= min_cacheable(str(body.get("model")))]
        read = sizes[hit] if hit >= 0 else 0
        hour = max((sizes[place] for place in written if blocks[place].ttl == HOUR), default=read)
        last = max((sizes[place] for place in written), default=read)
        kept = [(prefix, self._entries[prefix][0]) for prefix in prefixes[: hit + 1] if self._is_live(prefix, now)]
        kept += [(prefixes[place], blocks[place].ttl) for place in written]
        return InputCost(read, hour - read, last - hour, total - last, tuple(kept))

    def store(self, cost: InputCost, now: float) -> None:
        """Write and renew the prefixes of a request that is answered."""
        for prefix, ttl in cost.entries:
            self._entries[prefix] = ttl, now + ttl
        if len(self._entries) > self._sweep:
            self._entries = {prefix: entry for prefix, entry in self._entries.items() if entry[1] > now}
            self._sweep = max(_SWEEP_SIZE, 2 * len(self._entries))

    def _longest_hit(self, prefixes: list[bytes], ends: list[int], now: float) -> int:
        """Return the index of the last block of the longest cached prefix; -1 for none."""
        for end in reversed(ends):
            for place in range(end, max(end - LOOK_BACK, -1), -1):
                if self._is_live(prefixes[place], now):
                    return place
        return -1

    def _is_live(self, prefix: bytes, now: float) -> bool:
        return prefix in self._entries and self._entries[prefix][1] > now


def _prefixes(owner: str, body: Mapping[str, Any], blocks: list[_Block]) -> list[bytes]:
    """Return a digest of each prefix: of its blocks, and of the settings that its levels depend on."""
    depends = (owner.encode(), _json.encode(_system_depends(body)), _json.encode(_messages_depend(body)))
    digest, level, found = b"", -1, list[bytes]()
    for block in blocks:
        while level < block.level:
            level += 1
            digest = hashlib.sha256(digest + b"%d " % level + depends[level]).digest()
        if block.text:
            digest = hashlib.sha256(digest + block.text).digest()
        found.append(digest)
    return found


def _system_depends(body: Mapping[str, Any]) -> list[Any]:
    searches = any(map(_is_web_search, _objects(body.get("tools"))))
    cites = any((block.get("citations") or {}) == {"enabled": True} for block in _message_blocks(body))
    return [searches, cites, body.get("speed")]


def _messages_depend(body: Mapping[str, Any]) -> list[Any]:
    return [
        body.get("tool_choice"),
        body.get("thinking"),
        any(_type(block) == "image" for block in _message_blocks(body)),
    ]


def _message_blocks(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the blocks of all messages, including those in tool results."""
    for message in body["messages"]:
        for block in _objects(message.get("content")):
            yield block
            yield from _objects(block.get("content"))


def _markable(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield body
    yield from _objects(body.get("tools"))
    yield from _objects(body.get("system"))
    yield from _message_blocks(body)


def _blocks(body: Mapping[str, Any]) -> list[_Block]:
    """Return the blocks of a request, the top-level `cache_control` applied."""
    blocks = list(_all_blocks(body))
    ttl = _ttl(body)
    if ttl and (cacheable := [place for place, block in enumerate(blocks) if block.cacheable]):
        last = blocks[cacheable[-1]]
        blocks[cacheable[-1]] = _Block(last.level, last.text, last.tokens, last.ttl or ttl, cacheable=True)
    return blocks


def _all_blocks(body: Mapping[str, Any]) -> Iterator[_Block]:
    for tool in _objects(body.get("tools")):
        yield _block(0, "", tool, count_input({"tools": [tool]}))
    for block in _objects(_as_blocks(body.get("system"))):
        yield _block(1, "", block, count_input({"system": [block]}))
    for message in body["messages"]:
        role = message.get("role")
        frame = count_input({"messages": [{"role": role, "content": []}]})
        for place, block in enumerate(_objects(_as_blocks(message.get("content")))):
            tokens = count_input({"messages": [{"role": role, "content": [block]}]})
            yield _block(2, f"{role} {place == 0} ", block, tokens - (frame if place else 0))


def _block(level: int, before: str, block: dict[str, Any], tokens: int) -> _Block:
    inner = max(map(_ttl, _objects(block.get("content"))), default=0.0)
    cacheable = _type(block) not in _NOT_CACHED and block.get("text") != ""
    text = b""
    if not (level == 0 and _is_web_search(block)):  # the system prompt's level says whether there is web search
        # The order of a block's own keys does not matter, but the order within a tool's input or schema does.
        text = before.encode() + _json.encode(dict(sorted(_unmarked(block).items())))
    return _Block(level, text, tokens, (_ttl(block) or inner) if cacheable else 0.0, cacheable)


def _unmarked(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block without breakpoints: they may move."""
    plain = {key: value for key, value in block.items() if key != "cache_control"}
    if is_array(plain.get("content")):
        plain["content"] = [_unmarked(part) if is_object(part) else part for part in plain["content"]]
    return plain


def _ttl(block: Mapping[str, Any]) -> float:
    marked = block.get("cache_control")
    if not is_object(marked):
        return 0.0
    return HOUR if marked.get("ttl") == "1h" else MINUTES_5


def _as_blocks(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) and content else content


def _objects(value: Any) -> Iterable[dict[str, Any]]:
    return [item for item in value if is_object(item)] if is_array(value) else []


def _is_web_search(tool: Mapping[str, Any]) -> bool:
    return _type(tool).startswith("web_search")


def _type(block: Mapping[str, Any]) -> str:
    return str(block.get("type", ""))
