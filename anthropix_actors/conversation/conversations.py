"""Conversations in a store, for processes that do not run them: a web server, an approver's script. No API key."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.conversation.inbox import inbox_of
from anthropix_actors.conversation.record import fold
from anthropix_actors.conversation.said import checked_answer, checked_content, checked_turn, checked_when
from anthropix_actors.conversation.talk import approval_of
from anthropix_actors.errors import ParameterError
from anthropix_actors.stores import Lost, Unreadable
from anthropix_actors.stores.entries import entries_of
from anthropix_actors.stores.names import INBOX, store_problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anthropix_actors.conversation.core.state import When
    from anthropix_actors.conversation.messages import Approval
    from anthropix_actors.conversation.record import Past
    from anthropix_actors.stores import Entry, Log

API_VERSION = "2023-06-01"
"""Of the API for which what is said is checked here. Who runs the conversation checks it again, for its own."""

WAIT = 1.0
"""Seconds of one wait for news."""

PAUSE = 0.1
"""Seconds between two looks for a log that is not there yet."""

_OURS = ("open", "say")


class Conversations:
    """The conversations in a store, whoever runs them. All methods may be called from any thread, and in any process.

    What is said, answered or cancelled here is kept in the store, each once, and obeyed by the process that runs the
    conversation, or else by the next one that does (`Client.converse` with its `id`).

    Args:
        store: The store.

    Raises:
        ParameterError: it is none.

    Example:
        >>> from anthropix_actors.stores import MemoryStore
        >>> talks = Conversations(MemoryStore())
        >>> talks.say("talk-17", "Hello", key="request-1"), talks.say("talk-17", "Hello", key="request-1")
        (True, False)
        >>> talks.names()
        ['talk-17']
    """

    def __init__(self, store: Log) -> None:
        """Read and write nothing yet."""
        if problems := store_problems(store, "post", "read", "read_many", "names"):
            raise ParameterError(problems)
        self._store = store

    # What anybody may do

    def say(
        self,
        id: str,  # noqa: A002 - what it is called in a store
        content: str | Sequence[Any],
        *,
        when: When = "next",
        key: str | None = None,
    ) -> bool:
        """Say something in a conversation; see `ConversationRef.say`.

        Args:
            id: The conversation; it need not have begun.
            content: A text, or content blocks.
            when: "next", "idle" or "now".
            key: A name for this, if it may be sent twice: it is said once for each key.

        Returns:
            Whether it is said; False if something was said with this key before.

        Raises:
            ParameterError: the API would not take it.
            StoreError: the store cannot be reached: with a key, try again.
        """
        said = {"kind": "say", "content": checked_content(content, API_VERSION), "when": checked_when(when)}
        return self._post(id, said, None if key is None else f"say/{key}")

    def answer(self, id: str, approval: Approval, *, allow: bool, by: str | None = None) -> bool:  # noqa: A002
        """Approve or deny a call; see `ConversationRef.answer`. The first answer counts, from wherever it comes.

        Returns:
            Whether it is the first one that is posted. It is checked again where the call is made: it counts for
            exactly this call.

        Raises:
            ParameterError: it is no approval, or no decision.
        """
        checked_answer(approval, allow=allow, by=by)
        plain = msgspec.to_builtins(approval)
        answer = {"kind": "answer", "approval": plain, "allow": allow, "by": by}
        return self._post(id, answer, f"answer/{approval.call_id}/{approval.digest}")

    def cancel(self, id: str, *, turn: int | None = None, reason: str = "cancelled") -> None:  # noqa: A002
        """Cancel the turn of this number, or the one that runs; the conversation goes on.

        Raises:
            ParameterError: it is no number of a turn.
        """
        self._post(id, {"kind": "cancel", "turn": checked_turn(turn), "reason": str(reason)})

    def stop(self, id: str, *, reason: str = "stopped") -> None:  # noqa: A002
        """Have the process that runs a conversation end it, and give it up. Without one, nothing happens."""
        self._post(id, {"kind": "stop", "reason": str(reason)})

    def _post(self, name: str, data: dict[str, Any], key: str | None = None) -> bool:
        return self._store.post(inbox_of(name), data, key=key or secrets.token_hex(16))

    # What there is

    def approvals(self, id: str) -> list[Approval]:  # noqa: A002
        """Return what waits for approval. Those for which an answer was posted are not in it any more."""
        past = self._past(id)
        answers = [data.get("approval") for data in self._posted(id) if data.get("kind") == "answer"]
        answered = [(each.get("call_id"), each.get("digest")) for each in answers if isinstance(each, dict)]
        waiting = [approval_of(call) for call in past.state.calls if call.status == "asks"]
        return [each for each in waiting if (each.call_id, each.digest) not in answered]

    def history(self, id: str) -> list[dict[str, Any]]:  # noqa: A002
        """Return the messages so far, as `ConversationRef.history`; none of a conversation that has not begun."""
        copy: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(self._past(id).history))
        return copy

    def follow(self, id: str, *, after: str | None = None, timeout: float | None = None) -> Iterator[Entry]:  # noqa: A002
        """Loop over what happens in a conversation: the entries of its log, as docs/conversations.md has them.

        Args:
            id: The conversation. If it has not begun, the loop waits for that.
            after: The `cursor` of the last entry that was seen; None from the beginning.
            timeout: Seconds without news after which the loop ends; None for never.

        Raises:
            Lost: the log was deleted.
            Unreadable: the next entry is no JSON object.
            ParameterError: `after` is no cursor.
        """
        quiet = 0.0
        while timeout is None or quiet < timeout:
            wait = WAIT if timeout is None else min(WAIT, timeout - quiet)
            found = self._store.read_many({id: after}, wait=wait).get(id, [])
            if isinstance(found, Unreadable):
                raise found
            if isinstance(found, Lost):
                if after is not None:
                    raise found
                wait, found = min(wait, PAUSE), []
                time.sleep(wait)
            for entry in found:
                after = entry.cursor
                yield entry
            quiet = 0.0 if found else quiet + wait

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all conversations that begin with `prefix`, sorted."""
        inboxes = [name for name in self._store.names(prefix) if name.endswith(INBOX)]
        names = [inbox.removesuffix(INBOX) for inbox in inboxes]
        return [name for name in names if self._is_conversation(name)]

    def _is_conversation(self, name: str) -> bool:
        try:
            return any(data.get("kind") in _OURS for data in self._posted(name))
        except Unreadable:  # the others are to be told
            return True

    def _past(self, name: str) -> Past:
        try:
            return fold(entry.data for entry in entries_of(self._store, name))
        except Lost:
            return fold([])

    def _posted(self, name: str) -> list[Any]:
        try:
            return [entry.data for entry in entries_of(self._store, inbox_of(name))]
        except Lost:
            return []


publish("anthropix_actors", (Conversations,))
