"""Logs of format 1, written up to version 0.8: what was done was in them, not what happened. The history is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors.conversation.core.history import calls_in, with_results
from anthropix_actors.conversation.core.state import Call

if TYPE_CHECKING:
    from collections.abc import Mapping


class History:
    """The history that entries of format 1 tell of: legal for the API, wherever they end.

    Example:
        >>> history = History()
        >>> history.add({"kind": "messages", "messages": [{"role": "user", "content": "Hello"}]})
        >>> history.messages
        ({'role': 'user', 'content': 'Hello'},)
    """

    def __init__(self) -> None:
        """Start without messages."""
        self._messages: list[Mapping[str, Any]] = []
        self._answer: list[Mapping[str, Any]] | None = None
        self._calls: dict[str, Call] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Read one more entry; of those that are of no use here, nothing is taken."""
        calls = self._calls
        match entry:
            case {"kind": "messages", "messages": more}:
                self._messages += more
                self._answer = None
            case {"kind": "withdrawn", "heard": heard, "messages": rest}:
                self._messages[heard:] = rest
            case {"kind": "answer", "message": {"content": content}}:
                self._answer = content
                calls.clear()
                calls |= {block["id"]: Call(block["id"], block["name"], block["input"]) for block in calls_in(content)}
            case {"kind": "intent", "id": call_id} if call_id in calls:
                calls[call_id] = replace(calls[call_id], runs=1)
            case {"kind": "outcome", "id": call_id, "content": result, "is_error": is_error} if call_id in calls:
                calls[call_id] = replace(calls[call_id], status="ended", content=result, is_error=is_error)
            case _:
                pass

    @property
    def messages(self) -> tuple[Mapping[str, Any], ...]:
        """The messages; a call with an intent and without an outcome has a result that says so."""
        if self._answer is not None and self._calls:
            return with_results(self._messages, self._answer, [*self._calls.values()])
        return tuple(self._messages)
