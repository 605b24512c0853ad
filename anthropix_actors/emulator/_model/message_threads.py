"""Message threads: conversations of which a client sends only the new messages. Pure, the time is passed in.

A request with `thread: {"type": "create"}` is stored with its answer under the answer's id; one with `continue` names
that id and sends the messages since. It takes its system prompt and its tools from the thread. Each answer can be
continued once, within five minutes, by its owner. A refusal is not stored.

Source: https://platform.claude.com/docs/en/build-with-claude/message-threads, read 2026-11-26; the error codes are
those of the official SDK 2.14.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.json import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Mapping

LIFETIME = 300.0

_KEPT = ("system", "tools")
"""Parameters that a thread keeps, and that must not be sent again."""


@dataclass(slots=True)
class _StoredThread:
    """A conversation up to an answer."""

    owner: str
    kept: dict[str, Any]
    messages: list[Any]
    until: float
    continued: bool = False


class MessageThreads:
    """The stored conversations. Not thread-safe: only the event loop uses it."""

    def __init__(self) -> None:
        """Start without threads."""
        self._stored: dict[str, _StoredThread] = {}

    def expand(self, owner: str, body: dict[str, Any], now: float) -> dict[str, Any]:
        """Return a request with its whole conversation; unchanged if it continues no thread.

        Raises:
            RefusedError: there is no such thread, it was continued before, or the request repeats what it keeps.
        """
        previous = _previous_id(body)
        if previous is None or not is_array(body.get("messages")):
            return body
        held = self._stored.get(previous)
        if held is None or held.owner != owner or held.until <= now:
            raise RefusedError(404, f"thread: no thread was found for {previous}", "thread_not_found")
        if held.continued:
            raise RefusedError(400, f"thread: {previous} has already been continued", "thread_already_continued")
        if repeated := [key for key in _KEPT if body.get(key) is not None]:
            raise RefusedError(400, f"{repeated[0]}: the thread keeps it; leave it out, or create a thread")
        return {**body, **held.kept, "messages": [*held.messages, *body["messages"]]}

    def store(self, owner: str, body: Mapping[str, Any], message: Mapping[str, Any], now: float) -> None:
        """Store an expanded request with its answer, if it is of a thread."""
        if not is_object(body.get("thread")) or message.get("stop_reason") == "refusal":
            return
        if (before := self._stored.get(_previous_id(body) or "")) is not None:
            before.continued = True
        messages: list[Any] = list(body["messages"])
        answer: dict[str, Any] = {"role": "assistant", "content": list(message.get("content") or ())}
        if messages and messages[-1].get("role") == "assistant" and is_array(messages[-1].get("content")):
            answer["content"] = [*messages.pop()["content"], *answer["content"]]  # the rest of a paused turn
        kept = {key: body[key] for key in _KEPT if key in body}
        self._stored[str(message.get("id"))] = _StoredThread(owner, kept, [*messages, answer], now + LIFETIME)
        while (first := next(iter(self._stored))) and self._stored[first].until <= now:
            del self._stored[first]


def _previous_id(body: Mapping[str, Any]) -> str | None:
    thread = body.get("thread")
    if not is_object(thread) or thread.get("type") != "continue":
        return None
    return str(thread.get("previous_message_id"))
