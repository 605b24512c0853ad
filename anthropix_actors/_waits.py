"""Waiting for work in a caller's thread: in slices, and never for itself."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import pykka

from anthropix_actors._scope import SLICE
from anthropix_actors.errors import DeadlockError

if TYPE_CHECKING:
    from types import FrameType

    from anthropix_actors._record import Record


def wait(event: threading.Event, deadline: float | None) -> bool:
    """Wait for an event in slices, until a time on the monotonic clock; get whether it came."""
    while not event.wait(SLICE if deadline is None else max(0.0, min(SLICE, deadline - time.monotonic()))):
        if deadline is not None and time.monotonic() >= deadline:
            return False
    return True


def running_actors() -> set[str]:
    """Get the urns of the actors in whose handlers this thread is."""
    urns: set[str] = set()
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - pykka does not say which actor a thread runs
    while frame is not None:
        if frame.f_code.co_name.startswith("_actor_loop") and isinstance(
            actor := frame.f_locals.get("self"), pykka.Actor
        ):
            urns.add(actor.actor_urn)
        frame = frame.f_back
    return urns


def refuse_deadlock(record: Record) -> list[Record]:
    """Refuse to wait for work where that would be waiting for this thread itself.

    Returns:
        Other work that goes on only when this thread does, as long as it waits here.

    Raises:
        DeadlockError: the wait would never end.
    """
    if record.over.is_set():
        return []
    thread, actors = threading.get_ident(), running_actors()
    if record.thread == thread:
        raise DeadlockError(
            f"this is the {record.what}'s own thread, in a `tell` that it calls: it would wait for itself. Return, and"
            " wait for the terminal message; or wait on another thread."
        )
    if record.is_followed_by(actors):
        raise DeadlockError(
            f"this is a handler of an actor that follows the {record.what}: while it waits, it takes no messages, and"
            " when they fill its window, the answer stops. Return, and wait for the terminal message, which has all of"
            " it; or wait on another thread."
        )
    before = () if record.slots is None else record.slots.before(record)
    held = [work for work in before if work.thread == thread or work.is_followed_by(actors)]
    if before and all(work in held or work.held for work in before):
        raise DeadlockError(
            f"the {record.what} waits for its turn (max_concurrency), and all that have one wait for threads that wait"
            " here: none of them would ever end. Raise max_concurrency, or do not wait in a handler."
        )
    return held
