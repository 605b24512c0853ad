"""What a conversation writes into its log, and how the whole of it comes out of the log again. Pure.

An entry is one event of the core (`core.moves`): the state is what `advance` makes of all of them. Its `kind` is the
event's name, and it has the event's fields; those that have their default are left out. Besides:

| key | |
|---|---|
| `at` | when it was written, in seconds since 1970 |
| `limit` | the limit that was reached, so that no more could be asked |
| `starts` | the ids of the calls that start because of it: from here on their outcome may be unknown |
| `ends` | the turns that end because of it: number, how, what stopped it |
| `spent` | what turns have spent so far: number → requests, seconds, usage |
| `inbox` | the cursor of the entry of the inbox that it obeys |

Two kinds are no events: `conversation` is first, with the version of the format, and says what there was before;
`passed` says why an entry of the inbox was not obeyed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

import msgspec
from msgspec.structs import replace

from anthropix_actors.conversation.core import moves
from anthropix_actors.conversation.core.advance import advance
from anthropix_actors.conversation.core.format_1 import History
from anthropix_actors.conversation.core.history import settled
from anthropix_actors.conversation.core.state import State
from anthropix_actors.errors import AnthropixError, ParameterError, Problem
from anthropix_actors.stores import StoreError
from anthropix_actors.stores.error_form import error_form, error_of
from anthropix_actors.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

JSON = dict[str, Any]

HEAD = "conversation"
"""The kind of the first entry."""

FORMAT = 2
"""The version that is written. Those before it are read."""


class Spent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a turn has spent.

    Attributes:
        requests: How many requests were sent.
        seconds: How long it ran.
        usage: The tokens.
    """

    requests: int = 0
    seconds: float = 0.0
    usage: Usage = Usage()


class Past(msgspec.Struct, frozen=True):
    """What a log tells of a conversation.

    Attributes:
        state: What it was when the log ends.
        spent: What its turns have spent, by number.
        asked: When each approval was asked for that is waited for, in seconds since 1970, by the id of the call.
        inbox: The cursor of the last entry of the inbox that was obeyed.
        format: The version of the log's last entries; 0 for none.
    """

    state: State = State()
    spent: Mapping[int, Spent] = {}
    asked: Mapping[str, float] = {}
    inbox: str | None = None
    format: int = 0

    @property
    def history(self) -> tuple[Mapping[str, Any], ...]:
        """The messages: legal for the API, wherever the log ends."""
        return settled(self.state)


def head(state: State) -> JSON:
    """Return the first entry of the log of a conversation that begins as this."""
    more = {"messages": [*state.messages], "at_once": state.at_once, "most_marks": state.most_marks}
    return {"kind": HEAD, "format": FORMAT, **more}


def entry_of(event: moves.Event, effects: Iterable[moves.Effect], limit: str | None) -> JSON:
    """Return the entry of an event, and of what it leads to.

    Example:
        >>> entry_of(moves.Cancel(3, "enough"), [], None)
        {'kind': 'cancel', 'turn': 3, 'reason': 'enough'}
    """
    entry: JSON = {"kind": KINDS[type(event)], **msgspec.to_builtins(event, enc_hook=_written_error)}
    starts = [effect.call.id for effect in effects if isinstance(effect, moves.StartCall)]
    ends = [[each.turn, each.how, each.stopped] for each in effects if isinstance(each, moves.EndTurn)]
    more = {"limit": limit, "starts": starts, "ends": ends}
    return {**entry, **{key: value for key, value in more.items() if value}}


def not_answered(entry: Mapping[str, Any], refusal: ParameterError) -> JSON | None:
    """Return what is written in place of an answer that a store does not take; None for any other entry.

    Example:
        >>> refusal = ParameterError([Problem("entries[0]", "expected 9 bytes at most")])
        >>> not_answered({"kind": "answered", "ends": [[3, "done", None]]}, refusal)["ends"]
        [[3, 'failed', None]]
    """
    if entry["kind"] != KINDS[moves.Answered]:
        return None
    error = StoreError(f"the store did not take the answer: {refusal.problems[0].text}")
    ends = [[turn, "failed", None] for turn, *_ in entry.get("ends", ())]
    kept = {"at": entry.get("at"), "spent": entry.get("spent"), "ends": ends}
    return {**entry_of(moves.Failed(error), [], None), **{key: value for key, value in kept.items() if value}}


def fold(entries: Iterable[Mapping[str, Any]]) -> Past:
    """Return what a log tells of.

    Raises:
        ParameterError: it is of a version that is not known here, or no log of a conversation.

    Example:
        >>> said = {"content": [{"type": "text", "text": "Hello"}], "turn": 1}
        >>> past = fold([{"kind": "conversation", "format": 2}, {"kind": "say", "said": said}])
        >>> past.state.phase.value, past.history
        ('asking', ({'role': 'user', 'content': [{'type': 'text', 'text': 'Hello'}]},))
    """
    reader = Reader()
    for entry in entries:
        reader.add(entry)
    return reader.past


class Reader:
    """Reads a log, entry by entry.

    Attributes:
        past: What the entries so far tell of.
    """

    def __init__(self) -> None:
        """Start before the first entry."""
        self.past = Past()
        self._before = History()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Read one more entry.

        Raises:
            ParameterError: as `fold`.
        """
        kind = entry.get("kind")
        if kind == HEAD:
            self._begin(entry)
        elif self.past.format == 1:
            self._before.add(entry)
            messages = self._before.messages
            self._set(state=State(messages=messages, heard=len(messages)))
        elif self.past.format == 0 or not (kind == "passed" or kind in EVENTS):
            raise ParameterError([Problem("log", f"expected the log of a conversation, got {kind!r}")])
        else:
            self._read(entry)

    def _begin(self, entry: Mapping[str, Any]) -> None:
        version = entry.get("format")
        if version not in {1, FORMAT}:
            raise ParameterError([Problem("log", f"expected format {FORMAT} at most, got {version!r}")])
        messages = tuple(entry.get("messages", ()))
        known = {name: entry[name] for name in ("at_once", "most_marks") if name in entry}
        self._set(format=version, state=State(messages=messages, heard=len(messages), **known))

    def _read(self, entry: Mapping[str, Any]) -> None:
        past = self.past
        spent = {int(turn): msgspec.convert(each, Spent) for turn, each in entry.get("spent", {}).items()}
        self._set(spent={**past.spent, **spent}, inbox=entry.get("inbox", past.inbox))
        if entry["kind"] == "passed":
            return
        event = event_of(entry)
        state, effects = advance(past.state, event, spent=entry.get("limit"))
        asks = {effect.call.id: entry.get("at", 0.0) for effect in effects if isinstance(effect, moves.TellApproval)}
        waits = {call.id for call in state.calls if call.status == "asks"}
        asked = {call_id: at for call_id, at in {**past.asked, **asks}.items() if call_id in waits}
        self._set(state=_with_started(state, entry.get("starts", ())), asked=asked)

    def _set(self, **changes: Any) -> None:
        self.past = replace(self.past, **changes)


def _with_started(state: State, starts: Iterable[str]) -> State:
    """Return the state in which what the log says has begun, whatever the core of today would begin."""
    calls = tuple(
        replace(call, status="running", runs=call.runs + 1) if call.id in starts and call.status == "ready" else call
        for call in state.calls
    )
    return state if calls == state.calls else replace(state, calls=calls)


def event_of(entry: Mapping[str, Any]) -> moves.Event:
    """Return the event that an entry is of.

    Raises:
        ParameterError: it has not the fields of its kind.
    """
    try:
        event: moves.Event = msgspec.convert(entry, EVENTS[entry["kind"]], dec_hook=_read_error)
    except msgspec.ValidationError as exc:
        raise ParameterError([Problem("log", f"{entry['kind']}: {exc}")]) from exc
    return event


def _written_error(error: Any) -> JSON:
    """Return an error as JSON; without the answer so far, which is in the history, or is not to be."""
    assert isinstance(error, AnthropixError)
    form = error_form(error)
    form.pop("partial", None)
    return form


def _read_error(kind: type, form: Any) -> AnthropixError:
    assert kind is AnthropixError
    return error_of(form)


KINDS = {event: re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower() for event in get_args(moves.Event)}
"""Events, and what they are called in a log."""

EVENTS = {kind: event for event, kind in KINDS.items()}
