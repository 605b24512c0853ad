"""What a chat is at one moment, told of its log and its job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.hub.entries import ENDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anthropix_actors.stores import Entry, Job, LogState


class ChatStatus(msgspec.Struct, frozen=True):
    """What a chat is at one moment.

    Attributes:
        name: Its name.
        state: "queued": its job waits, or it was claimed and has not begun; "running"; then "done", "failed" or
            "cancelled"; "lost": who ran it has died, and nobody goes on with it; "unknown": there is no such chat.
        attempts: How often it was begun, by any machine.
        entries: How many entries its log has.
        holder: Who runs it; None if nobody does.
        tag: The tag that it was given, or None.
    """

    name: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "lost", "unknown"]
    attempts: int = 0
    entries: int = 0
    holder: str | None = None
    tag: str | None = None


def status_of(name: str, log: LogState | None, entries: Sequence[Entry], job: Job | None) -> ChatStatus:
    """Return what a chat is, by the state and the entries of its log, and its job. Pure.

    Example:
        >>> status_of("a", None, [], None).state
        'unknown'
    """
    kinds = [entry.data.get("kind") for entry in entries]
    begins = [entry.data for entry in entries if entry.data.get("kind") == "begin"]
    tag = begins[-1].get("tag") if begins else None if job is None else job.data.get("tag")
    ends = [kind for kind in kinds if kind in ENDS]
    holder = None if log is None or ends else log.holder
    if ends:
        state = ends[0]
    elif holder is not None:
        state = "running" if kinds else "queued"
    elif job is not None:
        state = "queued"
    else:
        state = "unknown" if log is None else "lost"
    return ChatStatus(name, state, len(begins), len(entries), holder, tag)


publish("anthropix_actors.hub", (ChatStatus,))
