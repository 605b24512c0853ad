"""What a conversation writes into a log, and how its history comes of it again.

| kind | written |
|---|---|
| `conversation` | first, with the version of the format |
| `messages` | when messages are added to the history |
| `answer` | when an answer is whole, before its calls run |
| `intent` | before a call runs |
| `decided` | when a call was approved or denied |
| `outcome` | when a call has a result |
| `late` | when a call that was given up ends after all |
| `end` | when a turn ends |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors.conversation.core import moves
from anthropix_actors.conversation.core.history import calls_in, with_results
from anthropix_actors.conversation.core.state import Call
from anthropix_actors.conversation.said import FORMAT
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anthropix_actors.stores import Log

JSON = dict[str, Any]


class Recorder:
    """Writes a conversation into a log. In the conversation's thread.

    Args:
        log: The log.
        name: Its name there.
        messages: The history that the conversation begins with, where the log is new.
    """

    def __init__(self, log: Log, name: str, messages: Iterable[Mapping[str, Any]]) -> None:
        """Claim the log, and write what it begins with.

        Raises:
            ParameterError: both the log and the caller have a history.
        """
        self._log = log
        self._name = name
        self._epoch = log.claim(name)
        entries = [entry.data for entry in log.read(name)]
        self._next = len(entries)
        given = list(messages)
        if entries and given:
            raise ParameterError([Problem("history", f"the log {name!r} has one: leave it out")])
        self.messages = given or fold(entries)
        if not entries:
            self._write({"kind": "conversation", "format": FORMAT})
            if given:
                self._write({"kind": "messages", "messages": given})

    def note(self, effect: moves.Effect) -> None:
        """Write what an effect is about, before it takes place."""
        entry = _ENTRIES.get(type(effect))
        if entry is not None:
            self._write(entry(effect))

    def _write(self, entry: JSON) -> None:
        self._log.append(self._name, self._epoch, self._next, [entry])
        self._next += 1


def fold(entries: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the history that a log tells of: legal for the API, wherever the log ends. Pure.

    A call with an intent and without an outcome may have taken effect: its result says so.

    Raises:
        ParameterError: it is of a version that is not known here.

    Example:
        >>> fold([{"kind": "conversation", "format": 1}, {"kind": "messages", "messages": [{"role": "user"}]}])
        [{'role': 'user'}]
    """
    messages: list[Mapping[str, Any]] = []
    answer: list[Mapping[str, Any]] | None = None
    calls: dict[str, Call] = {}
    for entry in entries:
        match entry:
            case {"kind": "conversation", "format": version}:
                if version != FORMAT:
                    raise ParameterError([Problem("log", f"expected format {FORMAT}, got {version!r}")])
            case {"kind": "messages", "messages": more}:
                messages += more
                answer = None
            case {"kind": "answer", "message": {"content": content}}:
                answer = content
                calls = {block["id"]: Call(block["id"], block["name"], block["input"]) for block in calls_in(content)}
            case {"kind": "intent", "id": call_id} if call_id in calls:
                calls[call_id] = replace(calls[call_id], started=True)
            case {"kind": "outcome", "id": call_id, "content": result, "is_error": is_error} if call_id in calls:
                calls[call_id] = replace(calls[call_id], status="ended", content=result, is_error=is_error)
            case _:
                pass
    if answer is not None and calls:
        return [*with_results(messages, answer, [*calls.values()])]
    return messages


def _messages(effect: moves.Commit) -> JSON:
    return {"kind": "messages", "messages": [*effect.messages]}


def _answer(effect: moves.TellAnswer) -> JSON:
    return {"kind": "answer", "message": {**effect.message}}


def _intent(effect: moves.StartCall) -> JSON:
    call = effect.call
    return {"kind": "intent", "id": call.id, "name": call.name, "input": {**call.input}}


def _decided(effect: moves.TellDecision) -> JSON:
    return {"kind": "decided", "id": effect.call.id, "allow": effect.allow, "by": effect.by}


def _outcome(effect: moves.TellDone) -> JSON:
    call = effect.call
    content = call.content if isinstance(call.content, str) else [*call.content]
    return {"kind": "outcome", "id": call.id, "content": content, "is_error": call.is_error}


def _late(effect: moves.Late) -> JSON:
    event = effect.event
    content = event.content if isinstance(event.content, str) else [*event.content]
    return {"kind": "late", "id": event.call_id, "content": content, "is_error": event.is_error}


def _end(effect: moves.EndTurn) -> JSON:
    return {"kind": "end", "turn": effect.turn, "how": effect.how, "stopped": effect.stopped}


_ENTRIES: dict[type, Callable[[Any], JSON]] = {
    moves.Commit: _messages,
    moves.TellAnswer: _answer,
    moves.StartCall: _intent,
    moves.TellDecision: _decided,
    moves.TellDone: _outcome,
    moves.Late: _late,
    moves.EndTurn: _end,
}
