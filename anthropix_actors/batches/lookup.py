"""Finds the batch of a creation that was begun, and of which nobody knows whether it succeeded.

The API neither recognises a repeated creation nor says what is in a batch before that has ended. So of the batches that
were created since then, those with as many requests may be it. One that has ended is known by the names of its
results; one that runs is waited for, as its results come no sooner. When none is left, and it is `SETTLED` seconds ago,
it was not created.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from anthropix_actors._calls.client_core import decode_json
from anthropix_actors.batches.results import BATCHES, counts_of, result_lines, results_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors._wire.resources import MessageBatch
    from anthropix_actors.batches.body import BatchBody
    from anthropix_actors.batches.record import BatchRecord
    from anthropix_actors.batches.task import BatchTask

SETTLED = 60.0
"""Seconds after which a batch that was created is in the list."""

SKEW = 600.0
"""Seconds by which this machine's clock may differ from the API's."""

_PAUSE = 5.0
_LIMIT = 100


def find_again(
    task: BatchTask, look: Callable[[str], MessageBatch], number: int, body: BatchBody, record: BatchRecord
) -> str | None:
    """Return the id of the batch that another process has created, perhaps after a long wait; None if it has not.

    Args:
        task: The task, in whose thread this runs.
        look: Returns a batch as it is now.
        number: The number of the body.
        body: What the batch was to be created of.
        record: What is known.

    Raises:
        APIError: it cannot be known.
        CancelledError: the task was cancelled.
    """
    began = record.unclear.get(number)
    if began is None:
        return None
    others = set(record.created.values())
    while True:
        listed = [each["id"] for each in _since(task, began - SKEW) if _may_be(each, body)]
        running = False
        for batch_id in [each for each in listed if each not in others]:
            batch = look(batch_id)
            if batch["processing_status"] != "ended":
                running = True
            elif _names_in(task, batch) == body.custom_ids():
                record.note_created(number, batch_id)
                return batch_id
            else:
                others.add(batch_id)
        age = time.time() - began
        if not running and not 0 <= age < SETTLED:
            return None
        task.scope.sleep(task.poll if running else min(task.poll, _PAUSE))


def _may_be(batch: MessageBatch, body: BatchBody) -> bool:
    return sum(counts_of(batch).values()) == body.count


def _since(task: BatchTask, when: float) -> Iterator[MessageBatch]:
    """Yield the batches that were created since then."""
    after: str | None = None
    while True:
        request = task.request("GET", BATCHES, params={"limit": _LIMIT, "after_id": after})
        page: Any = task.requester.send(request, decode_json)
        for batch in page["data"]:
            created = _time_of(batch.get("created_at"))
            if created is not None and created < when:
                return
            yield batch
        if not page.get("has_more"):
            return
        after = page["last_id"]


def _time_of(text: Any) -> float | None:
    with suppress(ValueError, TypeError):
        return datetime.fromisoformat(text).timestamp()
    return None


def _names_in(task: BatchTask, batch: MessageBatch) -> set[str]:
    """Return the names of a batch's results."""
    answer = task.requester.open(results_request(task.core, batch, task.options))
    try:
        return {line["custom_id"] for lines in result_lines(task.requester, answer) for line in lines}
    finally:
        task.requester.close(answer)
