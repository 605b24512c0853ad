"""What a log of a store is: whose it is, and who goes on with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anthropix_actors.stores import Entry, LogState, Store

CHAT = "chat"
POSTED = frozenset({"open", "say", "answer", "cancel", "stop"})
"""The kinds of what is posted into an inbox, of a conversation or of a chat."""


def what_is(first: Entry | None) -> str:
    """Return what a log is, by its first entry: "chat", "conversation", "inbox", "batch run" or "log". Pure.

    Example:
        >>> what_is(None)  # only a chat's log is there before it has an entry: its job waits
        'chat'
    """
    if first is None:
        return CHAT
    match first.data:
        case {"kind": "begin", "format": _, "attempt": _}:
            return CHAT
        case {"kind": "conversation"}:
            return "conversation"
        case {"kind": "run", "batches": _}:
            return "batch run"
        case {"kind": str() as kind} if kind in POSTED and not first.epoch:
            return "inbox"
    return "log"


def what_is_log(store: Store, name: str, state: LogState) -> str:
    """Return what a log of a store is. Raises `Lost` if it was just deleted."""
    return what_is(store.read(name)[0] if state.length else None)


def kind_of(state: LogState) -> str:
    """Return the state of a log in a word: "open", "closed", or "posted" for one that has no writer."""
    return "closed" if state.closed else "open" if state.epoch else "posted"


def line_of(state: LogState, what: str) -> str:
    """Return what a log is, and what there is of it, for people."""
    holder = f", written by {state.holder}" if state.holder and not state.closed else ""
    return f"{what}, {kind_of(state)}, {state.length} entries{holder}"


def is_orphaned(store: Store, queue: str, name: str, state: LogState) -> bool:
    """Return whether a log is a chat's that was begun or put, and that nobody who lives goes on with.

    A job that was taken is that of a dead worker, as a living one has claimed its log (or will in a moment).
    """
    if kind_of(state) != "open" or state.holder is not None or what_is_log(store, name, state) != CHAT:
        return False
    job = store.job(queue, name)
    return job is None or job.holder is not None
