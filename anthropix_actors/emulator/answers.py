"""The answers that the emulator can give.

An answer is plain data. Its content:

| answer | what the client gets |
|---|---|
| `None` | the default: an answer to the request by the rules below |
| `str` | a text |
| `ToolCall` | a call of that tool |
| `Reply` | text, thinking, tool calls and compactions in any order, with a stop reason and usage |
| `Refusal` | the content until the API's classifiers ended it, with `stop_reason: "refusal"` and `stop_details` |
| `PauseTurn` | a turn that is paused while a server tool runs, to be sent back unchanged |
| `Compaction` | the conversation's summary alone, with `stop_reason: "compaction"`, to be sent back unchanged |
| a mapping | that Message, unchanged |
| an iterable of mappings | those events, unchanged; taken one at a time, so that it may be endless |
| `bytes`, `Path` | a recorded event stream, byte for byte |
| `Status` | an error with its status, in the API's own form |
| `Raw` | any status, headers and body |

And the faults (`anthropix_actors.emulator.faults`), which wrap an answer or each other:

| fault | what the client sees |
|---|---|
| `Drop` | the connection is closed before the answer is complete |
| `Reset` | the connection is reset |
| `Stall` | silence, or pings only, until `Emulator.release()` |
| `ErrorEvent` | an `error` event inside the stream |
| `Cut` | the same bytes in pieces of other sizes |
| `Pace` | the deltas at `tokens_per_second` |

The requests of a batch take answers from the same queue, in their order, when they are processed. An error becomes an
`errored` result, and a mapping with the type of a result is that result: `{"type": "expired"}`. A batch's requests have
no connection of their own, so of the faults only `ErrorEvent` applies.

The default follows rules that a test can rely on:

- a paused turn that is sent back: the server tool's result goes first;
- thinking enabled or adaptive: a thinking block goes first;
- `tool_choice` any or tool: a call of that tool, with the smallest input that fits its schema;
- tools, and the user's last text names some of them (`<system-reminder>`s in it do not count): a sentence, then a call
  of each;
- a JSON schema asked for: JSON that fits it;
- else a text that quotes the prompt, or the tool result that came last;
- a stop sequence ends the text before it, and `max_tokens` cuts any longer answer, even in the middle of a tool call;
- `compaction` asked for: a summary alone; an edit `compact_20260112` in `context_management`, and more input than its
  trigger: a summary first, or with `pause_after_compaction` alone. What precedes a summary that is sent back no longer
  counts.

In all of them, usage reports the prompt cache as the API would: see `Emulator`.

Example:
    >>> Reply([Thinking("A greeting."), "Hello there."]).content[1]
    'Hello there.'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from anthropix_actors.emulator.faults import Fault
from anthropix_actors.emulator.reply_parts import AskToUse, Compaction, Thinking, ToolCall

_LOWEST_STATUS = 200
_HIGHEST_STATUS = 599


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer made of content blocks.

    Attributes:
        content: The blocks in order: a `str` is text, a mapping is a block as on the wire. Only a session's agent has
            an `AskToUse`.
        stop_reason: Why it ends; by default `tool_use` with a tool call, `max_tokens` if that is cut, `compaction` if
            it has nothing else, else `end_turn`.
        stop_sequence: Which stop sequence ended it.
        usage: Token counts that replace the estimate.

    Example:
        >>> Reply([Thinking("A sum."), "Let me add.", ToolCall("add", {"a": 1, "b": 2})]).stop_reason is None
        True
    """

    content: Sequence[str | Thinking | ToolCall | AskToUse | Compaction | Mapping[str, Any]]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Refuse blocks after the end.

        Raises:
            ValueError: a block follows a tool call that is cut.
        """
        if any(isinstance(part, ToolCall) and part.cut is not None for part in self.content[:-1]):
            raise ValueError("a tool call with `cut` ends the answer: it goes last")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that the API's classifiers end, with status 200.

    Attributes:
        category: The policy area: `cyber`, `bio`, `frontier_llm`, `reasoning_extraction`, `general_harms`, or None.
        explanation: The API's words.
        content: The blocks before the refusal, as in a `Reply`; empty by default.
    """

    category: str | None = "general_harms"
    explanation: str | None = "This request was blocked under the usage policy."
    content: Sequence[str | Thinking | ToolCall | Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class PauseTurn:
    """An answer that ends in a call of a server tool, which is still running.

    A client sends it back unchanged, as the last message, and gets the rest: by default the tool's result and a text.

    Attributes:
        content: The blocks before the call, as in a `Reply`.
        name: The server tool.
        input: Its arguments.
        id: The call's id, which its result names; None makes one up.
    """

    content: Sequence[str | Thinking | Mapping[str, Any]] = ("Let me look that up.",)
    name: str = "web_search"
    input: Mapping[str, Any] = field(default_factory=lambda: {"query": "actors"})
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """An error: its HTTP status and the API's error body.

    Attributes:
        status: The HTTP status.
        message: What went wrong; by default the API's usual text.
        type: The API's name of the error; by default the one of the status.
        retry_after: Seconds for a `retry-after` header; none by default.
        headers: More headers, such as `x-should-retry`.
        error_code: The `error_code` in the error's details, such as `contract_spend_limit_reached`; none by default.

    Example:
        >>> Status(429, retry_after=2).status
        429
    """

    status: int
    message: str | None = None
    type: str | None = None
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    error_code: str | None = None

    def __post_init__(self) -> None:
        """Refuse a status that is not final.

        Raises:
            ValueError: `status` is not between 200 and 599.
        """
        _check_status(self.status)


@dataclass(frozen=True, slots=True)
class Raw:
    r"""Any response at all: an HTML page with status 200, half a JSON object, an empty 529.

    Attributes:
        body: The body.
        status: The HTTP status.
        content_type: The `content-type` header; None leaves it out.
        headers: More headers.

    Example:
        >>> Raw(b"<html>Welcome to our hotel's network", content_type="text/html").status
        200
    """

    body: bytes = b""
    status: int = 200
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Refuse a status that is not final.

        Raises:
            ValueError: `status` is not between 200 and 599.
        """
        _check_status(self.status)


Answer: TypeAlias = (
    str
    | ToolCall
    | bytes
    | Path
    | Reply
    | Refusal
    | PauseTurn
    | Compaction
    | Status
    | Raw
    | Fault
    | Mapping[str, Any]
    | Iterable[Mapping[str, Any]]
    | None
)
"""Any answer that the emulator can give."""


MESSAGE_ANSWERS = (ToolCall, Reply, Refusal, PauseTurn, Compaction)
"""Answers that are turned into a Message; `str` is one as well."""


def unwrap(answer: Answer) -> tuple[Answer, list[Fault]]:
    """Separate an answer from its faults.

    Returns:
        The plain answer, and the faults from the innermost to the outermost.

    Raises:
        TypeError: it is not an answer.

    Example:
        >>> from anthropix_actors.emulator.faults import Drop, Pace
        >>> unwrap(Pace(Drop("Hi", after_events=1)))[0]
        'Hi'
    """
    faults: list[Fault] = []
    while isinstance(answer, Fault):
        faults.insert(0, answer)
        answer = answer.answer
    if not _is_plain(answer):
        raise TypeError(f"not an answer: {answer!r}")
    return answer, faults


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (*MESSAGE_ANSWERS, str, bytes, Path, Status, Raw, Mapping, Iterable))


def _check_status(status: int) -> None:
    if not _LOWEST_STATUS <= status <= _HIGHEST_STATUS:
        raise ValueError(f"not a final HTTP status: {status}")
