"""What may be done with a log or a job, as decisions on values. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors.stores.log import Fenced, Held, Lost
from anthropix_actors.stores.names import (
    MOST_READ,
    MOST_READ_BYTES,
    refused_closed,
    refused_gap,
    refused_mix,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anthropix_actors.stores.local.tables import Head, KeptJob
    from anthropix_actors.stores.places import Place


def next_epoch(head: Head, holder: str | None, *, held: bool) -> int:
    """Return the epoch of the next writer of a log.

    Args:
        head: The log.
        holder: Who claims it.
        held: Whether who has it now lives.

    Raises:
        ParameterError: it is posted to.
        Held: it is another's, who lives.
    """
    if is_posted_to(head):
        raise refused_mix(head.name)
    if held and holder is not None and holder != head.holder:
        raise Held(head.name, str(head.holder))
    return head.epoch + 1


def missing_of(head: Head, epoch: int, first: int, entries: Sequence[bytes]) -> Sequence[bytes]:
    """Return those of some entries that a log does not have yet.

    Raises:
        ParameterError: others would be missing before them, the log is closed, or it is posted to.
        Fenced: the epoch is not that of the writer.
    """
    if is_posted_to(head):
        raise refused_mix(head.name)
    if epoch != head.epoch:
        raise Fenced(f"the log {head.name!r} has been claimed by another writer, of epoch {head.epoch}")
    if first > head.length:
        raise refused_gap(head.name, first, head.length)
    missing = entries[head.length - first :]
    if missing and head.closed:
        raise refused_closed(head.name)
    return missing


def is_posted_to(head: Head) -> bool:
    """Return whether a log is one without a writer."""
    return head.epoch == 0 and head.length > 0


def there(name: str, head: Head | None) -> Head:
    """Return the log.

    Raises:
        Lost: there is none.
    """
    if head is None:
        raise Lost(f"there is no log {name!r}")
    return head


def with_more(place: Place, head: Head | None) -> Head | None:
    """Return a log that has entries after a place; None if it has none there.

    Raises:
        Lost: there is no log, it is another one of this name, or it has fewer entries.
    """
    head = there(place.name, head)
    if place.number > head.length or (place.generation != head.generation and place.generation is not None):
        raise Lost(f"the log {head.name!r} is not the one that was read: it was made anew")
    return head if place.number < head.length else None


def bounded(entries: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return as many entries as one `read` returns; only so many are taken from `entries`."""
    found: list[tuple[int, bytes]] = []
    size = 0
    for entry in entries:
        found.append(entry)
        size += len(entry[1])
        if len(found) >= MOST_READ or size >= MOST_READ_BYTES:
            break
    return found


def had_by(job: KeptJob | None, holder: str) -> KeptJob | None:
    """Return the job if this holder has it."""
    return job if job is not None and job.holder == holder else None
