"""What a chat is, told of its log and its job."""

from __future__ import annotations

from typing import Any

import pytest

from anthropix_actors.hub import Hub
from anthropix_actors.hub import status as statuses
from anthropix_actors.hub.entries import begin_entry
from anthropix_actors.hub.status import Summaries, Summary, status_of
from anthropix_actors.stores import Entry, Job, LogState, MemoryStore, Store

from stores_for_tests import Shaky, Written

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
    status = status_of("a", state, Summary().read_on(read[:1]).read_on(read[1:]), job)
    assert (status.state, status.attempts, status.holder, status.tag) == expected
    assert status.entries == len(entries)


def test_a_status_reads_only_what_has_come_since_the_last_one() -> None:
    store = Shaky()
    written = Written(store)
    written.add(*({"kind": "event", "event": {"type": "ping"}} for _ in range(2500)))
    asked = []
    store.faults["read"] = lambda: asked.append(1)
    with Hub(store) as hub:
        assert (hub.status("a").state, hub.status("a").entries) == ("running", 2501)
        asked.clear()
        written.end("Hi")
        assert (hub.status("a").state, hub.status("a").entries) == ("done", 2502)
    assert len(asked) == 3  # one of what came, and for each status one that finds no more


def test_a_log_that_was_made_anew_is_another_one(any_store: Store) -> None:
    Written(any_store).end("Hi")
    summaries = Summaries(any_store)
    assert summaries.of("a").end == "done"
    any_store.delete("a")
    assert summaries.of("a") == Summary()
    Written(any_store)
    assert (summaries.of("a").end, summaries.of("a").entries) == (None, 1)


def test_of_many_logs_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statuses, "_REMEMBERED", 2)
    store = MemoryStore()
    summaries = Summaries(store)
    for name in "abc":
        Written(store, name)
        assert summaries.of(name).begins == 1
    assert [*summaries._known] == ["b", "c"]
