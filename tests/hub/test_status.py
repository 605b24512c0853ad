"""What a chat is, told of its log and its job."""

from __future__ import annotations

from typing import Any

import pytest

from anthropix_actors.hub.entries import begin_entry
from anthropix_actors.hub.status import status_of
from anthropix_actors.stores import Entry, Job, LogState

JOB = Job("a", {"params": {}, "tag": "night"})
BEGUN = [begin_entry(1, "hub-1", "day")]


def log(*, holder: str | None = None, closed: bool = False) -> LogState:
    return LogState("g", 1, 0, closed, holder)


@pytest.mark.parametrize(
    ("state", "entries", "job", "expected"),
    [
        (None, [], None, ("unknown", 0, None, None)),
        (None, [], JOB, ("queued", 0, None, "night")),
        (log(), [], JOB, ("queued", 0, None, "night")),
        (log(), [], None, ("lost", 0, None, None)),
        (log(holder="hub-1"), [], None, ("queued", 0, "hub-1", None)),
        (log(holder="hub-1"), BEGUN, JOB, ("running", 1, "hub-1", "day")),
        (log(), BEGUN, JOB, ("queued", 1, None, "day")),
        (log(), BEGUN, None, ("lost", 1, None, "day")),
        (
            log(holder="hub-1", closed=True),
            [*BEGUN, begin_entry(2, "x"), {"kind": "done"}],
            JOB,
            ("done", 2, None, None),
        ),
        (log(closed=True), [{"kind": "failed"}], None, ("failed", 0, None, None)),
        (log(closed=True), [{"kind": "cancelled"}], None, ("cancelled", 0, None, None)),
    ],
)
def test_the_state_of_a_chat(state: Any, entries: list[Any], job: Any, expected: tuple[Any, ...]) -> None:
    read = [Entry(1, number, data, f"g.{number}") for number, data in enumerate(entries)]
    status = status_of("a", state, read, job)
    assert (status.state, status.attempts, status.holder, status.tag) == expected
    assert status.entries == len(entries)
