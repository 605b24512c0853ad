"""What others have posted for a conversation: read, and obeyed, by the process that runs it.

Each conversation has a log that anybody may post to, `<its name>/inbox`. What is obeyed is noted in the conversation's
own log, in the same entry as what came of it: so nothing is obeyed twice, whoever runs the conversation next.

| kind | with |
|---|---|
| `open` | nothing: the first one who ran the conversation |
| `say` | `content`, `when` |
| `answer` | `approval`, `allow`, `by` |
| `cancel` | `turn` (None for the one that runs), `reason` |
| `stop` | `reason` |
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.threads import in_background
from anthropix_actors.conversation.messages import Approval
from anthropix_actors.conversation.said import checked_content, checked_turn, checked_when
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.stores import Lost, StoreClosedError, Unreadable
from anthropix_actors.stores.entries import entries_of
from anthropix_actors.stores.names import INBOX, LONGEST_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anthropix_actors.conversation.talk import Talk
    from anthropix_actors.stores import Entry, Log

WAIT = 0.5
"""Seconds that a read waits for news: so long may it take until a new conversation hears of what is posted."""

PAUSE = 0.5
"""Seconds between two tries while the store is away."""

_NOT_OURS = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What an entry may raise that another program, or a person, has posted: it costs itself, and nobody's conversation."""


def inbox_of(name: object) -> str:
    """Return the name of a conversation's inbox.

    Raises:
        ParameterError: the conversation cannot have this name.

    Example:
        >>> inbox_of("talk-17")
        'talk-17/inbox'
    """
    longest = LONGEST_NAME - len(INBOX)
    if not isinstance(name, str) or not 0 < len(name) <= longest or not name.isprintable() or name.endswith(INBOX):
        what = f"expected 1 to {longest} printable characters that do not end with {INBOX}, got {shown(name)}"
        raise ParameterError([Problem("id", what)])
    return name + INBOX


def open_inbox(store: Log, name: str, after: str | None) -> list[Entry]:
    """Make the inbox of a conversation, if there is none; return what is in it after a cursor."""
    inbox = inbox_of(name)
    store.post(inbox, {"kind": "open"}, key="open")
    try:
        return [*entries_of(store, inbox, after)]
    except Lost:  # it was deleted, and made anew; or the store came back without the last of it
        known = _obeyed(store, name)
        return [entry for entry in entries_of(store, inbox) if entry.cursor not in known]


def _obeyed(store: Log, name: str) -> set[str]:
    """Return the cursors of what a conversation has obeyed, as its log says."""
    return {str(entry.data["inbox"]) for entry in entries_of(store, name) if "inbox" in entry.data}


def obey(talk: Talk, entry: Entry, *, late: bool = False) -> bool:
    """Do what an entry says, and note it; return False if the conversation has stopped, so that the next one does it.

    Args:
        talk: The conversation.
        entry: The entry.
        late: Whether it was posted before this process ran the conversation: whom it told to stop has ended.
    """
    if entry.data.get("kind") == "open":
        return True
    with talk.held():
        if talk.has_stopped:
            return False
        talk.posted, why = entry.cursor, ""
        try:
            if not (late and entry.data.get("kind") == "stop"):
                _DOES.get(str(entry.data.get("kind")), _unknown)(talk, entry.data)
        except (ParameterError, *_NOT_OURS) as exc:
            why = str(exc)
        finally:
            posted = talk.take_posted()
        if posted is not None:  # nothing came of it
            talk.pass_over(entry.cursor, why)
        return True


def _say(talk: Talk, data: Mapping[str, Any]) -> None:
    when = checked_when(data.get("when", "next"))
    talk.say(checked_content(data.get("content"), talk.core.api_version), when, None)


def _answer(talk: Talk, data: Mapping[str, Any]) -> None:
    try:
        approval = msgspec.convert(data.get("approval"), Approval)
    except msgspec.ValidationError as exc:
        raise ParameterError([Problem("approval", str(exc))]) from exc
    by = data.get("by")
    talk.decide(approval, allow=data.get("allow") is True, by=None if by is None else str(by))


def _cancel(talk: Talk, data: Mapping[str, Any]) -> None:
    number = checked_turn(data.get("turn"))
    turn = talk.turns.get(talk.state.turn if number is None else number)
    if turn is not None:
        turn.cancel(str(data.get("reason", "cancelled")))


def _stop(talk: Talk, data: Mapping[str, Any]) -> None:
    talk.stop(str(data.get("reason", "stopped")))


def _unknown(_: Talk, data: Mapping[str, Any]) -> None:
    raise ParameterError([Problem("kind", f"expected one of {', '.join(_DOES)}, got {data.get('kind')!r}")])


_DOES: dict[str, Callable[[Talk, Mapping[str, Any]], None]] = {
    "say": _say,
    "answer": _answer,
    "cancel": _cancel,
    "stop": _stop,
}


class Inboxes:
    """Reads the inboxes of all conversations of this process that are in one store, on one thread."""

    def __init__(self, store: Log) -> None:
        """Read nothing yet."""
        self._store = store
        self._start_afresh()
        SWEEPER.fork_listeners.add(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()
        self._cursors: dict[str, str | None] = {}  # inbox → the cursor of the last entry that was read
        self._talks: dict[str, Talk] = {}
        self._obeyed: dict[str, set[str]] = {}  # inbox → the cursors of what was obeyed here: not all is in the log yet
        self._reading = False

    def follow(self, name: str, talk: Talk, after: str | None, obeyed: Iterable[str] = ()) -> None:
        """Have a conversation obey what is posted after a cursor, and is not among those that were obeyed."""
        with self._lock:
            if talk.has_stopped:  # its actor may have found nothing to leave
                return
            self._cursors[inbox_of(name)], self._talks[inbox_of(name)] = after, talk
            self._obeyed[inbox_of(name)] = {*obeyed}
            begins, self._reading = not self._reading, True
        if begins:
            in_background(self._read, "anthropix-inboxes")

    def leave(self, name: str, talk: Talk) -> None:
        """Let a conversation hear nothing more."""
        with self._lock:
            if self._talks.get(inbox_of(name)) is talk:
                for each in (self._talks, self._cursors, self._obeyed):
                    del each[inbox_of(name)]

    def _read(self) -> None:
        """Read as long as there is one who wants that. In its thread."""
        while True:
            with self._lock:
                cursors, talks = dict(self._cursors), dict(self._talks)
                if not cursors:
                    self._reading = False
                    return
            try:
                for inbox, found in self._store.read_many(cursors, wait=WAIT).items():
                    self._found(inbox, talks[inbox], found)
            except StoreClosedError as exc:
                self._end(str(exc))
                return
            except Exception as exc:  # noqa: BLE001 - the store's code, which may raise anything
                if self._cursors:  # else nobody wants it, and the store may be closed
                    log(logging.WARNING, "inboxes wait for their store", exc_info=exc)
                    time.sleep(PAUSE)

    def _end(self, reason: str) -> None:
        """End all conversations: nothing can be read, or written, any more."""
        with self._lock:
            talks = [*self._talks.values()]
            self._talks, self._cursors, self._obeyed, self._reading = {}, {}, {}, False
        for talk in talks:
            talk.stop(reason)

    def _found(self, inbox: str, talk: Talk, found: list[Entry] | Lost | Unreadable) -> None:
        """Have a conversation obey what was read for it, if that could be read."""
        try:
            self._obey(inbox, talk, found)
        except Unreadable as exc:  # nothing that comes later can be read either
            log(logging.ERROR, "a conversation hears nothing more of what is posted: %s", exc)
            self.leave(inbox.removesuffix(INBOX), talk)

    def _obey(self, inbox: str, talk: Talk, found: list[Entry] | Lost | Unreadable) -> None:
        """Have a conversation obey what was read for it: another one of the name may run by now, which has read it."""
        name, obeyed = inbox.removesuffix(INBOX), self._obeyed.get(inbox, set())
        if isinstance(found, Unreadable):
            raise found
        if isinstance(found, Lost):  # somebody has deleted it, or the store came back without the last of it
            self._store.post(inbox, {"kind": "open"}, key="open")
            obeyed |= _obeyed(self._store, name)
        for entry in [] if isinstance(found, Lost) else found:
            if self._talks.get(inbox) is not talk:
                return
            if entry.cursor not in obeyed and not obey(talk, entry):
                self.leave(name, talk)
                return
            obeyed.add(entry.cursor)
        with self._lock:
            if self._talks.get(inbox) is talk:
                self._cursors[inbox] = None if isinstance(found, Lost) else found[-1].cursor

    def after_fork(self) -> None:
        """Read nothing in a forked child: it is the parent's."""
        self._start_afresh()


# A reader keeps its store, so as long as it is here, no other store has this id.
_KNOWN: weakref.WeakValueDictionary[int, Inboxes] = weakref.WeakValueDictionary()


def inboxes_of(store: Any) -> Inboxes:
    """Return the reader of a store, which is made if there is none."""
    found = _KNOWN.get(id(store))
    return found or _KNOWN.setdefault(id(store), Inboxes(store))
