"""What a tool raises for the model, and what is raised of an input that does not fit."""

from __future__ import annotations

from typing import Any

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import AnthropixError, ParameterError


class ToolError(AnthropixError):
    """Raise it in a tool: the model is told that the call failed, in your words. It is not logged.

    Args:
        content: A text, or text blocks; the API takes no other blocks in an error. "" says that it failed, and no more.

    Example:
        >>> raise ToolError("there is no city of this name; ask the user for its country")
        Traceback (most recent call last):
        ...
        anthropix_actors.ToolError: there is no city of this name; ask the user for its country
    """

    def __init__(self, content: str | list[Any] = "") -> None:
        """Keep the content; it is the error's text."""
        super().__init__(content)
        self.content = content


class InputError(ParameterError):
    """The input of a call does not fit the tool: the tool is not run, and the model is told each place.

    Attributes:
        problems: Every problem found, in the order of the tool's parameters.
    """


class NotStartedError(ToolError):
    """The call was not begun: the tool could not be reached."""


class McpError(AnthropixError):
    """An MCP server cannot be used: it does not start, does not answer in time, or breaks the protocol."""


publish("anthropix_actors", (ToolError, McpError))
publish("anthropix_actors.tools", (InputError,))
