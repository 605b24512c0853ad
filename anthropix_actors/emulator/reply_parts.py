"""The parts of a `Reply`, other than texts and blocks as on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.plain_json import copy_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.errors import Problem


@dataclass(frozen=True, slots=True)
class Thinking:
    """A thinking block of a `Reply`.

    Attributes:
        thinking: The thoughts.
        signature: Their signature; None makes one up.
    """

    thinking: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call of a `Reply`.

    Attributes:
        name: The tool.
        input: Its arguments.
        id: The call's id; None makes one up.
        cut: The answer ends with `max_tokens` after `cut` characters of the arguments' JSON; None sends them all. As
            from the API, a stream then has truncated JSON, and an answer without a stream the complete arguments
            only.

    Example:
        >>> ToolCall("write_file", {"path": "a.txt", "text": "A long text."}, cut=30).cut
        30
    """

    name: str
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str | None = None
    cut: int | None = None

    def __post_init__(self) -> None:
        """Refuse a negative place, and what is no JSON.

        Raises:
            ValueError: `cut` is negative; name or input cannot be sent.
        """
        problems: list[Problem] = []
        copy_json({"name": self.name, "input": self.input}, "", problems)
        if problems:
            raise ValueError("; ".join(map(str, problems)))
        if self.cut is not None and self.cut < 0:
            raise ValueError(f"cut must be 0 or more, not {self.cut}")


@dataclass(frozen=True, slots=True)
class AskToUse:
    """A tool that a session's agent asks its user's permission for. Sessions only: see `Session.play`.

    Attributes:
        name: The tool.
        input: Its arguments.
        server: The MCP server whose tool it is; None for one of the agent's own, such as `bash`.
        id: The event's id; None makes one up.

    Example:
        >>> AskToUse("bash", {"command": "ls"}).server is None
        True
    """

    name: str
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])
    server: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Compaction:
    """A summary that replaces the conversation so far: an answer by itself, or a part of a `Reply`.

    Attributes:
        content: The summary; None is a failed compaction.
        encrypted_content: Opaque data of the API's; None leaves them out.
        signature: Its signature; None leaves it out.
    """

    content: str | None
    encrypted_content: str | None = None
    signature: str | None = None
