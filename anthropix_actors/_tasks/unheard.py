"""A failure that no subscriber's method hears of is logged: else a program would end as if all had gone well."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log, named
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors._tasks.waits import task_of

if TYPE_CHECKING:
    from anthropix_actors.errors import AnthropixError


def log_unheard(ref: object, error: AnthropixError, why: str) -> None:
    """Log that a task failed: once, and not at all where a caller waited for its result, which raises the error.

    Args:
        ref: The task's ref; a test may give anything.
        error: Why it failed.
        why: Why its subscriber does not hear of that.

    Example:
        >>> log_unheard(None, APIConnectionError("no route"), "Answer has no on_failed")  # doctest: +SKIP
        it failed, and Answer has no on_failed: APIConnectionError: no route
    """
    task = task_of(ref) if isinstance(ref, TaskRef) else None
    if task is None or task.audience.note_unheard():
        what, fields = ("it", {}) if task is None else (named(task.what, task.tag), task.end_fields(task.state, error))
        log(logging.WARNING, "%s failed, and %s: %s: %s", what, why, type(error).__name__, error, **fields)
