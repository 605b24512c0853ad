"""Entries → the messages that a chat's subscribers are told, and its answer so far. Its owner locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors._foreign.log import shown
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.chat.messages import ChatCancelled, ChatFailed, ChatResumed
from anthropix_actors.hub.entries import ENDS, add_to, message_of, refused, resume
from anthropix_actors.hub.entry_forms import kind_of, wrong_in
from anthropix_actors.stores import Unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anthropix_actors._tasks.task import State
    from anthropix_actors.hub._read.follow_task import FollowTask
    from anthropix_actors.stores import Entry


class Rebuild:
    """What one reader knows of a chat.

    An answer that was begun by a machine that died, and is asked for again by another, is told as one that was resumed
    with none of its blocks: the second `message_start` is left out, as nobody is to see an answer begin twice.

    Attributes:
        state: What the chat is doing.
    """

    def __init__(self, *, is_whole: bool) -> None:
        """Start before the first entry; or, if it is not whole, in the middle of an answer."""
        self.state: State = "queued" if is_whole else "answering"
        self._is_whole = is_whole
        self._any_told = not is_whole
        self._leaves_start_out = False

    def messages_of(self, entry: Entry, task: FollowTask) -> Sequence[Any]:
        """Return the messages of an entry: mostly one, or none; what it says of the chat goes into the task.

        One that cannot be understood is told as an end: what follows it is of no use without it.
        """
        try:
            error = refused(entry.data) or self._unreadable(entry, task)
            if error is None:
                return self._understood(entry, task)
        except Exception as exc:  # noqa: BLE001 - whatever is deep in it, another program may have written
            error = Unreadable(task.reading.name, entry.number, shown(exc))
            error.__cause__ = exc
        return (ChatFailed(task.ref, task.annotated(error), entry.cursor),)

    def _unreadable(self, entry: Entry, task: FollowTask) -> Unreadable | None:
        why = wrong_in(entry.data)
        return None if why is None else Unreadable(task.reading.name, entry.number, why)

    def _understood(self, entry: Entry, task: FollowTask) -> Sequence[Any]:
        data: Any = entry.data
        kind = kind_of(data)
        if kind == "begin":
            return self._begin(entry, task)
        if kind == "event" and data["event"]["type"] == "message_start":
            self._note(data, task)
            if self._leaves_start_out:
                self._leaves_start_out = False
                self._add(data, task)
                return ()
        self._take(kind, data, task)
        message = self._whole(message_of(data, task.ref, entry.cursor), task)
        return () if message is None else (message,)

    def _whole(self, message: Any, task: FollowTask) -> Any:
        """Add what was read of the answer to an end that is without it, as it was too large for the store."""
        match message:
            case ChatFailed(error=error):
                task.annotated(error)
            case ChatCancelled(partial=None) if self._is_whole:
                return replace(message, partial=task.answer.snapshot())
        return message

    def _begin(self, entry: Entry, task: FollowTask) -> Sequence[Any]:
        self.state = "sent"
        task.tag = entry.data.get("tag", task.tag)
        attempt = task.requester.attempts = entry.data.get("attempt", 1)
        if not self._any_told:
            return ()
        self._leaves_start_out = True
        task.answer = Accumulator()
        task.resumed = True
        return (ChatResumed(task.ref, attempt, 0, entry.cursor),)

    def _take(self, kind: str, data: Any, task: FollowTask) -> None:
        if kind == "event":
            self._add(data, task)
        elif kind == "retrying":
            self.state = "retrying"
        elif kind == "resumed":
            task.resumed = True
            resume(task.answer, data["kept"])
        elif kind in ENDS:
            self._note(data, task)
            task.lost = tuple(data.get("lost", ()))

    def _add(self, data: Any, task: FollowTask) -> None:
        self.state, self._any_told = "answering", True
        if self._is_whole:
            add_to(task.answer, data["event"])

    def _note(self, data: Any, task: FollowTask) -> None:
        """Note what an entry says of the request."""
        if (request_id := data.get("request_id")) is not None:
            task.requester.headers = {"request-id": request_id}
        task.requester.attempts = data.get("attempts", task.requester.attempts)
