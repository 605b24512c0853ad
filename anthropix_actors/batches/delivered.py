"""Which results were delivered, counted after they were. Pure; guarded by the task's lock."""

from __future__ import annotations

from operator import length_hint
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anthropix_actors._wire.resources import RequestCounts
    from anthropix_actors.batches.messages import BatchResult, BatchResults


def no_counts() -> RequestCounts:
    """Return the counts of no requests."""
    return {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}


class Delivered:
    """The results that were delivered, of those that were offered.

    A delivery takes a message from an iterator only when it sends it. So a list's iterator knows how many were sent,
    even while the last of them is on its way.

    Example:
        >>> from anthropix_actors import BatchResult
        >>> results = [BatchResult(None, name, {"type": "succeeded"}) for name in "abc"]
        >>> delivered = Delivered()
        >>> messages = delivered.offer(results, results)
        >>> next(messages).custom_id, delivered.count
        ('a', 1)
        >>> [result.custom_id for result in delivered.note()], delivered.counts()["succeeded"]
        (['a'], 1)
    """

    def __init__(self) -> None:
        """Start with none."""
        self._counts = cast("dict[str, int]", no_counts())
        self._results: Sequence[BatchResult] = ()
        self._kinds: Sequence[str] = ()
        self._messages: Iterator[BatchResult | BatchResults] = iter(())
        self._size = 1  # results per message
        self._noted = 0  # of `_results`

    def add(self, counts: Mapping[str, int]) -> None:
        """Count results that were delivered by another process."""
        for kind, count in counts.items():
            self._counts[kind] = self._counts.get(kind, 0) + count

    def offer(
        self, results: Sequence[BatchResult], messages: Sequence[BatchResult | BatchResults]
    ) -> Iterator[BatchResult | BatchResults]:
        """Return an iterator; the results of the messages that are taken from it are delivered.

        Args:
            results: The results. Those offered before have been noted, as far as they were delivered.
            messages: The messages that carry them: either one each, or one for all.
        """
        # Copied, as a message's list and its dicts are the subscriber's to change.
        self._results, self._kinds = tuple(results), [result.result["type"] for result in results]
        self._noted, self._size = 0, len(results) // (len(messages) or 1)
        self._messages = iter(messages)
        return self._messages

    def note(self) -> Sequence[BatchResult]:
        """Count the results that were delivered since the last call, and return them."""
        noted, self._noted = self._noted, self._taken
        counts = self._counts
        for kind in self._kinds[noted : self._noted]:
            try:
                counts[kind] += 1
            except KeyError:  # an unknown type
                counts[kind] = 1
        return self._results[noted : self._noted]

    @property
    def _taken(self) -> int:
        return len(self._results) - length_hint(self._messages) * self._size

    @property
    def count(self) -> int:
        """How many results were delivered, noted or not."""
        return sum(self._counts.values()) + self._taken - self._noted

    def counts(self) -> RequestCounts:
        """Return how many results of each type were delivered and noted."""
        return cast("RequestCounts", dict(self._counts))
