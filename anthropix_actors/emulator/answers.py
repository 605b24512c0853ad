"""What the emulator can be told to answer.

An answer is plain data. What is said:

| answer | what the client gets |
|---|---|
| `None` | the default: whatever was asked for, by the rules below |
| `str` | a text |
| `ToolCall` | a call of that tool |
| `Reply` | text, thinking and tool calls in any order, with a stop reason and usage |
| a mapping | that Message, as it is |
| an iterable of mappings | those events, as they are; taken one at a time, so that it may be endless |
| `bytes`, `Path` | a recorded event stream, byte for byte |
| `Status` | an error with its status, in the API's own form |
| `Raw` | any status, headers and body |

And what happens to it on the way (`anthropix_actors.emulator.faults`); these go around an answer, and each other:

| fault | what the client sees |
|---|---|
| `Drop` | the connection is closed before the answer is complete |
| `Reset` | the connection is reset |
| `Stall` | silence, or pings only, until `Emulator.release()` |
| `ErrorEvent` | an `error` event inside the stream |
| `Cut` | the same bytes in pieces of other sizes |
| `Pace` | so many tokens per second |

The requests of a batch take answers from the same queue, in their order, when they are done. An error becomes an
`errored` result, and a mapping with the type of a result is that result: `{"type": "expired"}`. Faults have no
connection to happen to there, so only `ErrorEvent` counts.

The default follows rules that a test can rely on:

- thinking enabled or adaptive: a thinking block goes first;
- `tool_choice` any or tool: a call of that tool, with the least input that fits its schema;
- tools, and the user's last text names some of them (`<system-reminder>`s in it do not count): a sentence, then a call
  of each;
- a JSON schema asked for: JSON that fits it;
- else a text that quotes the prompt, or the tool result that came last;
- a stop sequence ends the text before it, and `max_tokens` ends whatever is longer.

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

_LOWEST_STATUS = 200
_HIGHEST_STATUS = 599


@dataclass(frozen=True, slots=True)
class Thinking:
    """A thinking block of a `Reply`.

    Attributes:
        thinking: The thoughts.
        signature: Their signature; one is made up when there is none.
    """

    thinking: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call of a `Reply`.

    Attributes:
        name: The tool.
        input: Its arguments.
        id: The call's id; one is made up when there is none.
    """

    name: str
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer made of content blocks.

    Attributes:
        content: The blocks in order: a `str` is text, a mapping is a block as it is on the wire.
        stop_reason: Why it ends; by default `tool_use` with a tool call, else `end_turn`.
        stop_sequence: Which stop sequence ended it.
        usage: What to say about tokens where it should differ from the estimate.

    Example:
        >>> Reply([Thinking("A sum."), "Let me add.", ToolCall("add", {"a": 1, "b": 2})]).stop_reason is None
        True
    """

    content: Sequence[str | Thinking | ToolCall | Mapping[str, Any]]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Status:
    """An error, told by its status and the API's error body.

    Attributes:
        status: The HTTP status.
        message: What went wrong; by default the API's usual words.
        type: The API's name of the error; by default the one that goes with the status.
        retry_after: Seconds for a `retry-after` header; none by default.
        headers: More headers, such as `x-should-retry`.

    Example:
        >>> Status(429, retry_after=2).status
        429
    """

    status: int
    message: str | None = None
    type: str | None = None
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Refuse what is no final status.

        Raises:
            ValueError: `status` is not between 200 and 599.
        """
        _check_status(self.status)


@dataclass(frozen=True, slots=True)
class Raw:
    r"""Any answer at all: an HTML page with status 200, half a JSON object, an empty 529.

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
        """Refuse what is no final status.

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
    | Status
    | Raw
    | Fault
    | Mapping[str, Any]
    | Iterable[Mapping[str, Any]]
    | None
)
"""Whatever the emulator can be told to answer."""


def unwrap(answer: Answer) -> tuple[Answer, list[Fault]]:
    """Take the faults off an answer.

    Returns:
        What is said, and the faults from the inside to the outside.

    Raises:
        TypeError: it is no answer.

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
    return value is None or isinstance(value, (str, ToolCall, bytes, Path, Reply, Status, Raw, Mapping, Iterable))


def _check_status(status: int) -> None:
    if not _LOWEST_STATUS <= status <= _HIGHEST_STATUS:
        raise ValueError(f"not a final HTTP status: {status}")
