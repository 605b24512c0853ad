"""One call of a tool, as the tool sees it; and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors._foreign.raised import is_a
from anthropix_actors.errors import CancelledError
from anthropix_actors.tools.errors import ToolError
from anthropix_actors.tools.results import failure_of, log_failure, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors.tools.results import Result

State = Literal["done", "failed", "timed out", "cancelled", "not started"]
"""How a call ended. One that is `failed` was begun, and so were those that are `timed out` or `cancelled`: what they
did may have taken effect. One that is `not started` has done nothing."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of a call, and what the model is told of it.

    Attributes:
        content: A text, or content blocks; "" where there is nothing to say.
        is_error: Whether the model is told that it is an error.
        seconds: How long the call took.
        state: How it ended.

    Example:
        >>> Outcome("8 degrees").block("toolu_1")
        {'type': 'tool_result', 'tool_use_id': 'toolu_1', 'content': '8 degrees'}
    """

    content: str | list[dict[str, Any]]
    is_error: bool = False
    seconds: float = 0.0
    state: State = "done"

    def block(self, tool_use_id: str) -> dict[str, Any]:
        """Return the `tool_result` that tells the model, for the call with this id."""
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_use_id}
        if self.content:  # the API takes a result without content, and refuses an empty text
            block["content"] = self.content
        if self.is_error:
            block["is_error"] = True
        return block


class Call:
    """One call, for the tool that runs it: a parameter `*, call: Call` of a function, or what an actor is told.

    The library makes it. All of it may be used from any thread.

    Attributes:
        id: The call's id, the same in every attempt: a key for what must not happen twice.
        name: The name of the tool.
        input: The input as the model gave it.
        token: Cancelled when the call is, or has timed out: give it to any call of this library as `cancel=`.

    Example:
        >>> from anthropix_actors import tool
        >>> @tool(timeout=60)
        ... def count(to: int, *, call: Call) -> int:
        ...     for number in range(to):
        ...         call.check()
        ...         call.progress(number)
        ...     return to
    """

    def __init__(  # noqa: PLR0913 - what a tool sees is all here
        self,
        id: str,  # noqa: A002 - the API's word for it
        name: str,
        input: Mapping[str, Any],  # noqa: A002
        *,
        token: CancelToken,
        on_progress: Callable[[Any], object],
        on_answer: Callable[[Result], bool],
    ) -> None:
        """Calls are made by the library; do not make one yourself."""
        self.id = id
        self.name = name
        self.input = input
        self.token = token
        self._on_progress = on_progress
        self._on_answer = on_answer

    def __repr__(self) -> str:
        """Show name and id, not the input, which may be long."""
        return f"<Call {self.name} {self.id}>"

    def progress(self, data: Any) -> None:
        """Tell whoever follows the call how far it is. What comes after the call's end is told to nobody.

        Args:
            data: Anything: they get it as it is. From a tool with `process=True` it is JSON.
        """
        self._on_progress(data)

    def check(self) -> None:
        """Raise if the call was cancelled, or has timed out: call it between two steps of long work.

        Raises:
            CancelledError: the result would reach nobody. Let it pass.
        """
        if self.token.reason is not None:
            raise CancelledError(self.token.reason)

    def done(self, value: Any = None) -> bool:
        """Answer the call with what a function would return. Only the first answer counts.

        Returns:
            Whether it counts; False if the call was answered, cancelled or has timed out before.
        """
        return self._on_answer(result_of(value))

    def fail(self, error: str | BaseException) -> bool:
        """Answer the call with an error: a text for the model, or what a function would raise.

        Returns:
            Whether it counts, as of `done`.
        """
        raised: Any = ToolError(error) if is_a(error, str) else error
        log_failure(self.name, raised)
        return self._on_answer(failure_of(raised))


publish("anthropix_actors", (Call,))
publish("anthropix_actors.tools", (Outcome,))
