"""Resuming an answer that was cut: the second request, and how its events continue the first answer's. Pure.

A second request carries the blocks that arrived, and asks for the rest. The rules:

- Thinking is left out of the request, as the API refuses it there. Incomplete blocks are dropped, even from the
  Message: an unfinished thinking block or tool call, a server's tool call without its result, and all that follow.
- An answer with a whole tool call is not resumed: the API wants that call's result first. Neither is an answer with
  a stop reason: only its end is missing.
- Models that take a prefill resume from it. Other models get a user turn that asks them to go on; so do all requests
  with thinking or an output format, which exclude a prefill.
- The events of the second answer are delivered as if they were the first's: indexes go on, its first text extends the
  text that was open, and its usage is added to that of the first.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming (error recovery) and
https://docs.claude.com/en/docs/about-claude/models/migration-guide (prefill), read 2026-11-23.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors.chat.block import MISSHAPEN, RAW_INPUT, misshapen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anthropix_actors.chat.block import PartialBlock

PLEASE_GO_ON = (
    "The connection was lost in the middle of your answer. Go on exactly where it ends, with its very next character. "
    "Repeat nothing of it, and do not mention the interruption."
)
"""The user turn for a model that takes no prefill."""

_TAKES_PREFILL = r"(?a)claude-(?:instant|v?[23]\b|(?:opus|sonnet|haiku)-4(?:[-.][0-5])?(?![-.]?[0-9](?![0-9]{7})))"

_THINKING = frozenset({"thinking", "redacted_thinking"})


class ResumePlan(msgspec.Struct, frozen=True):
    """How to resume an answer.

    Attributes:
        body: The body of the second request.
        kept: How many blocks of the answer remain.
        joins: Whether the last remaining block is a text that the second answer extends.
        trimmed: The white space at its end, which the API would refuse.
    """

    body: dict[str, Any]
    kept: int
    joins: bool
    trimmed: str

    def splicer(self, usage: Mapping[str, Any]) -> EventSplicer:
        """Return what changes the events of the second answer; `usage` is that of the first."""
        return EventSplicer(self, usage)


def plan_resume(
    body: Mapping[str, Any], message: Mapping[str, Any], parts: Sequence[PartialBlock]
) -> ResumePlan | None:
    """Return the plan to resume an answer, or None if it cannot be resumed.

    Args:
        body: The body of the first request.
        message: The answer so far.
        parts: Its blocks.

    Example:
        >>> from anthropix_actors.chat.block import PartialBlock
        >>> body = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Count."}]}
        >>> cut = [PartialBlock({"type": "text", "text": "One, two, "}, open=True)]
        >>> more = plan_resume(body, {"stop_reason": None}, cut)
        >>> more.body["messages"][-1]
        {'role': 'assistant', 'content': [{'type': 'text', 'text': 'One, two,'}]}
        >>> more.kept, more.joins, more.trimmed
        (1, True, ' ')
    """
    if message.get("stop_reason") is not None:
        return None
    kept = list(parts[: usable(parts)])
    if any(part.data.get("type") == "tool_use" for part in kept):
        return None
    said = [
        {key: value for key, value in part.data.items() if key != RAW_INPUT}  # which the API would refuse
        for part in kept
        if str(part.data.get("type")) not in _THINKING
    ]
    if not said:
        return ResumePlan(dict(body), 0, joins=False, trimmed="")
    last, trimmed = kept[-1], ""
    turns: list[dict[str, Any]] = [{"role": "assistant", "content": said}]
    if _takes_prefill(body) and last.data.get("type") == "text":
        text = last.data["text"]
        said[-1]["text"] = text.rstrip()
        trimmed = text[len(said[-1]["text"]) :]
    else:
        turns.append({"role": "user", "content": PLEASE_GO_ON})
    longer = {**body, "messages": [*body["messages"], *turns]}
    return ResumePlan(longer, len(kept), last.open and last.data.get("type") == "text", trimmed)


def usable(parts: Sequence[PartialBlock]) -> int:
    """Return how many blocks from the start are complete, or a text."""
    answered = [part.data.get("tool_use_id") for part in parts]  # not a set: other servers may send any type
    for index, part in enumerate(parts):
        data, kind = part.data, str(part.data.get("type"))
        if kind == "text":
            text = data.get("text")
            if not (isinstance(text, str) and text.strip()):
                return index
        elif part.open or (kind.endswith("tool_use") and kind != "tool_use" and data.get("id") not in answered):
            return index
    return len(parts)


def takes_prefill(model: str) -> bool:
    """Return whether a model takes the beginning of an answer as a prefill. Models after 4.5 do not.

    Example:
        >>> [takes_prefill(model) for model in ("claude-sonnet-4-5-20250929", "claude-sonnet-4-6", "claude-opus-5")]
        [True, False, False]
    """
    return re.search(_TAKES_PREFILL, model) is not None


def _takes_prefill(body: Mapping[str, Any]) -> bool:
    thinking, output = body.get("thinking") or {}, body.get("output_config") or {}
    plain = thinking.get("type", "disabled") == "disabled" and not output.get("format")
    return plain and takes_prefill(str(body.get("model")))


class EventSplicer:
    """Changes the events of a second answer so that they continue the first where it was cut.

    Args:
        more: The plan of the second request.
        usage: The `usage` of the first answer.

    Example:
        >>> more = ResumePlan({}, kept=1, joins=True, trimmed=" ")
        >>> splice = EventSplicer(more, {"input_tokens": 10, "output_tokens": 4})
        >>> start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        >>> list(splice.events(start))
        []
        >>> delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " three."}}
        >>> list(splice.events(delta))
        [{'type': 'content_block_delta', 'index': 0, 'delta': {'type': 'text_delta', 'text': 'three.'}}]
    """

    def __init__(self, more: ResumePlan, usage: Mapping[str, Any]) -> None:
        """Start before the second answer's first event."""
        self._offset = more.kept
        self._open = more.joins  # the first answer's last text has not been stopped
        self._trimmed = more.trimmed
        self._before = usage
        self._own: dict[str, Any] = {}
        self._begun = False  # a second message_start changes nothing
        self._first: int | None = None  # the index of the second answer's first block

    def events(self, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events to deliver for an event of the second answer: mostly one.

        Raises:
            ProtocolError: the event is not of the API's shape.
        """
        try:
            yield from self._told(event)
        except MISSHAPEN as exc:
            raise misshapen(event, exc) from exc

    def _told(self, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        kind = event.get("type")
        if kind == "message_start":
            if not self._begun:
                self._own = dict(_mapping(event["message"].get("usage")))
                self._begun = True
            return
        if kind == "content_block_start":
            if self._first is None:
                index = event.get("index")
                self._first = index if type(index) is int and index > 0 else 0
            if self._open:
                self._open = False
                if event["content_block"].get("type") == "text":
                    self._offset -= 1
                    yield from self._joined(event)
                    return
                yield {"type": "content_block_stop", "index": self._offset - 1}
        if kind == "message_delta":
            if self._open:
                self._open = False
                yield {"type": "content_block_stop", "index": self._offset - 1}
            told = _mapping(event.get("usage"))
            self._own.update({name: value for name, value in told.items() if value is not None})
            yield {**event, "usage": self.usage()}
        elif isinstance(event.get("index"), int):
            yield from self._moved(event)
        else:
            yield dict(event)

    def _joined(self, start: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the initial text of a block's start as a delta, as the block continues another one."""
        text = start["content_block"].get("text")
        if isinstance(text, str) and text:
            begun = {"type": "text_delta", "text": text}
            index = start.get("index", self._first)
            yield from self._moved({"type": "content_block_delta", "index": index, "delta": begun})

    def usage(self) -> dict[str, Any]:
        """Return the usage of both answers so far."""
        return _sum(self._before, self._own)

    def _moved(self, event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        index = event["index"] - (self._first or 0)
        if index < 0:
            raise ValueError("the index is too low")  # moved, it would be a block of the first answer
        moved = {**event, "index": index + self._offset}
        delta = event.get("delta")
        if self._trimmed and isinstance(delta, dict) and isinstance(delta.get("text"), str):
            text = self._without_trimmed(delta["text"])
            moved["delta"] = {**delta, "text": text}
            if not text:
                return
        yield moved

    def _without_trimmed(self, text: str) -> str:
        """Drop the white space that has been delivered already, if the model repeats it."""
        while self._trimmed and text.startswith(self._trimmed[0]):
            self._trimmed, text = self._trimmed[1:], text[1:]
        if text:
            self._trimmed = ""
        return text


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    total: dict[str, Any] = {**one, **other}
    for name in one.keys() & other.keys():
        first: Any = one[name]
        second: Any = other[name]
        if second is None:  # nothing to add: the tools that the first answer used stay counted
            total[name] = first
        elif isinstance(first, dict) and isinstance(second, dict):
            total[name] = _sum(first, second)
        elif isinstance(first, list) and isinstance(second, list):  # the iterations
            total[name] = [*first, *second]
        elif type(first) is int and type(second) is int:
            total[name] = first + second
    return total
