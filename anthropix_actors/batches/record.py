"""What a run of batches writes into a log, so that the same call goes on after a crash.

| kind | written |
|---|---|
| `run` | first: the version of the format, and a digest of each batch's requests |
| `intent` | before a batch is created, with the time |
| `created` | when it is known which one it is |
| `refused` | when it certainly was not created |
| `told` | when results were handled by the subscriber, with their types |
| `end` | last |

The API cannot recognise a repeated creation. So an intent without an outcome is not repeated before it is known that
there is no such batch: see `actor.py`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from anthropix_actors.batches.delivered import no_counts
from anthropix_actors.errors import AnthropixError
from anthropix_actors.stores.entries import entries_of, refuse_others

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anthropix_actors.batches.body import BatchBody
    from anthropix_actors.batches.messages import BatchResult
    from anthropix_actors.stores import Log

FORMAT = 1


class BatchRecord:
    """The log of one run. It is read in the caller's thread, and written in the task's.

    Args:
        log: The store.
        name: The log's name there.
        bodies: The batches to create.

    Attributes:
        created: The ids of batches that were created, by the number of their body.
        unclear: When creations began of which it is not known whether they succeeded, by the number of their body.
        told: The type of each result that was told, by its `custom_id`.
        ended: Whether all was told.
    """

    def __init__(self, log: Log, name: str, bodies: Sequence[BatchBody]) -> None:
        """Claim the log, and read it.

        Raises:
            ParameterError: it is not one of this run: of other requests, or of something else.
        """
        self._log = log
        self._name = name
        run = {"kind": "run", "format": FORMAT, "batches": [body.digest() for body in bodies]}
        refuse_others(log, name, "id", "a run of these requests", lambda first: first in (None, run))
        self._epoch = log.claim(name)
        self._next = 0
        self.created: dict[int, str] = {}
        self.unclear: dict[int, float] = {}
        self.told: dict[str, str] = {}
        self.ended = False
        for entry in entries_of(self._log, self._name):
            self._fold(entry.data)
            self._next += 1
        if not self._next:
            self._write(run)

    def _fold(self, entry: Mapping[str, Any]) -> None:
        match entry:
            case {"kind": "intent", "body": body, "at": at}:
                self.unclear[body] = at
            case {"kind": "created", "body": body, "id": batch_id}:
                self.unclear.pop(body, None)
                self.created[body] = batch_id
            case {"kind": "refused", "body": body}:
                self.unclear.pop(body, None)
            case {"kind": "told", "results": results}:
                self.told.update(results)
            case _:
                self.ended = entry.get("kind") == "end"

    def counts(self) -> dict[str, int]:
        """Return how many results of each type were told."""
        counts: dict[str, int] = {**no_counts()}  # type: ignore[dict-item]
        for kind in self.told.values():
            counts[kind] = counts.get(kind, 0) + 1
        return counts

    def note_intent(self, body: int) -> None:
        """Note that a batch is about to be created."""
        self._write({"kind": "intent", "body": body, "at": time.time()})

    def note_created(self, body: int, batch_id: str) -> None:
        """Note that it was created."""
        self._write({"kind": "created", "body": body, "id": batch_id})

    def note_refused(self, body: int) -> None:
        """Note that it certainly was not created."""
        self._write({"kind": "refused", "body": body})

    def note_told(self, results: Iterable[BatchResult]) -> None:
        """Note that results were told."""
        self._write({"kind": "told", "results": {each.custom_id: each.result["type"] for each in results}})

    def note_end(self) -> None:
        """Note that all was told."""
        self._write({"kind": "end"}, close=True)

    def _write(self, entry: dict[str, Any], *, close: bool = False) -> None:
        try:
            self._log.append(self._name, self._epoch, self._next, [entry], close=close)
        except AnthropixError:  # another run of this id has claimed the log, say
            raise
        except BaseException as exc:  # the caller's code, which may raise anything
            raise AnthropixError(f"the log failed: {exc!r}") from exc
        self._next += 1
