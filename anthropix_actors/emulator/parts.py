"""What a `Reply` is made of, beside texts and blocks as they are on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        cut: The answer ends with `max_tokens` after so many characters of the arguments' JSON; None tells them all. As
            from the API, a stream then has JSON that is cut, and an answer without a stream the arguments that are
            whole.

    Example:
        >>> ToolCall("write_file", {"path": "a.txt", "text": "A long text."}, cut=30).cut
        30
    """

    name: str
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str | None = None
    cut: int | None = None

    def __post_init__(self) -> None:
        """Refuse a place before the beginning.

        Raises:
            ValueError: `cut` is negative.
        """
        if self.cut is not None and self.cut < 0:
            raise ValueError(f"a place in the arguments is 0 or more, not {self.cut}")


@dataclass(frozen=True, slots=True)
class Compaction:
    """A summary that stands for the conversation so far: alone an answer, or a part of a `Reply`.

    Attributes:
        content: The summary; None is a compaction that failed.
        encrypted_content: Opaque data that go with it; None leaves them out.
        signature: Its signature; None leaves it out.
    """

    content: str | None
    encrypted_content: str | None = None
    signature: str | None = None
