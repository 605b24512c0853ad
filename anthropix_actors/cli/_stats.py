"""What a store holds, in numbers: as lines, or as Prometheus reads them."""

from __future__ import annotations

import collections
import contextlib
from typing import TYPE_CHECKING

import msgspec

from anthropix_actors.cli._logs import is_orphaned, kind_of
from anthropix_actors.stores import Lost, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anthropix_actors.stores import LogState, QueueState, Store


class Stats(msgspec.Struct, frozen=True):
    """A queue and all logs.

    Attributes:
        queue: The queue's name.
        jobs: Its jobs.
        logs: State → how many logs are in it: "open", "closed", or "posted" for those that have no writer.
        orphaned: How many open logs of chats have a writer that has died, and a job that does not wait for another.
        holders: Who lives and writes → how many open logs.
    """

    queue: str
    jobs: QueueState
    logs: Mapping[str, int]
    orphaned: int
    holders: Mapping[str, int]


def states_of(store: Store, prefix: str = "") -> Iterator[tuple[str, LogState]]:
    """Yield name and state of each log whose name begins with `prefix`."""
    for name in store.names(prefix):
        state = store.state(name)
        if state is not None:  # else it was deleted meanwhile
            yield name, state


def stats_of(store: Store, queue: str) -> Stats:
    """Count. Each log is asked for its state, so it takes a while where there are many thousands."""
    orphaned = 0
    logs = collections.Counter({"open": 0, "closed": 0, "posted": 0})
    holders: collections.Counter[str | None] = collections.Counter()
    for name, state in states_of(store):
        kind = kind_of(state)
        logs[kind] += 1
        holders[state.holder] += kind == "open"
        with contextlib.suppress(Lost, Unreadable):  # it was just deleted, or is none of ours
            orphaned += is_orphaned(store, queue, name, state)
    holders.pop(None, 0)
    living = {str(holder): number for holder, number in sorted(holders.items(), key=str) if number}
    return Stats(queue, store.queue_state(queue), dict(logs), orphaned, living)


def lines(stats: Stats) -> Iterator[str]:
    """Yield them for people."""
    jobs, logs = stats.jobs, stats.logs
    since = f" (the oldest for {jobs.oldest:.1f} s)" if jobs.waiting else ""
    yield f"{stats.queue}: {jobs.waiting} waiting{since}, {jobs.taken} taken, {jobs.orphaned} orphaned"
    yield f"logs: {logs['open']} open ({stats.orphaned} orphaned), {logs['closed']} closed, {logs['posted']} posted to"
    yield f"holders: {len(stats.holders)}"
    for holder, number in stats.holders.items():
        yield f"  {holder}: {number} open"


def prometheus(stats: Stats) -> Iterator[str]:
    """Yield them in the text format of Prometheus.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/, read 2026-11-27.
    """
    queue = stats.queue.replace("\\", r"\\").replace('"', r"\"")
    yield from _gauge("anthropix_jobs", "Jobs of a queue.")
    for state in ("waiting", "taken", "orphaned"):
        yield f'anthropix_jobs{{queue="{queue}",state="{state}"}} {getattr(stats.jobs, state)}'
    yield from _gauge("anthropix_oldest_job_seconds", "How long the oldest job has waited.")
    yield f'anthropix_oldest_job_seconds{{queue="{queue}"}} {stats.jobs.oldest}'
    yield from _gauge("anthropix_logs", "Logs of the store.")
    for state, number in stats.logs.items():
        yield f'anthropix_logs{{state="{state}"}} {number}'
    yield from _gauge("anthropix_orphaned_logs", "Open logs of chats that nobody who lives goes on with.")
    yield f"anthropix_orphaned_logs {stats.orphaned}"
    yield from _gauge("anthropix_holders", "Writers that live and have open logs.")
    yield f"anthropix_holders {len(stats.holders)}"


def _gauge(name: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} gauge"
