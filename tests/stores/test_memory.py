"""What only the store in memory has: what it forgets, and forks."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import ParameterError
from anthropix_actors.stores import MemoryStore, places
from anthropix_actors.stores.local import base

from redis_servers import started
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Collection

    from anthropix_actors.stores.places import Place


def test_logs_that_have_expired_are_deleted() -> None:
    store = MemoryStore()
    for number in range(50):
        store.claim(f"old-{number}")
        store.expire(f"old-{number}", 60 if number == 7 else 0.01)
    store.expire("old-7", None)
    store.claim("deleted")
    store.expire("deleted", 0.01)
    store.delete("deleted")
    until(lambda: store.state("old-49") is None and len(store._tables._ends) <= 1)  # that of old-7, which is void
    assert [*store._tables._logs] == [*store._tables._heads] == ["old-7"]


def test_holders_and_queues_that_are_over_are_forgotten() -> None:
    store = MemoryStore()
    for number in range(50):
        store.beat(f"old-{number}", 0.001)
    until(lambda: not store._tables.lives("old-49"))
    store.beat("me", 60)
    assert [*store._tables._lives] == ["me"]
    store.put("jobs", "a", {})
    store.take("jobs", "me", 1)
    assert store.finish("jobs", "me", "a")
    assert not store._tables._queues


def test_who_waits_for_many_logs_looks_at_those_that_change_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LOOK_AGAIN", 1000.0)
    store = MemoryStore()
    looks: list[int] = []
    look = store._read_now

    def counted(places: Collection[Place]) -> Any:
        looks.append(len(places))
        return look(places)

    monkeypatch.setattr(store, "_read_now", counted)
    cursors: dict[str, str | None] = {f"log-{number}": None for number in range(50)}
    for name in (*cursors, "another"):
        store.claim(name)
    reader, found = started(lambda: store.read_many(cursors, wait=DEADLINE))
    until(lambda: any(watch.waits for watch in store._changes._watching()))
    for number in range(100):
        store.append("another", 1, number, [{"n": number}])
    store.append("log-7", 1, 0, [{"n": 0}])
    reader.join(DEADLINE)
    assert [*found[0]] == ["log-7"]
    assert looks == [50, 1]


def test_who_follows_many_logs_rests_before_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    cursors: dict[str, str | None] = {f"log-{number}": None for number in range(300)}
    for name in cursors:
        store.append(name, store.claim(name), 0, [{"n": 0}])
    monkeypatch.setattr(places, "_REST", 1.0)
    monkeypatch.setattr(places, "_LONGEST_REST", 0.2)
    begun = time.monotonic()
    assert len(store.read_many(cursors, wait=DEADLINE)) == 300
    assert time.monotonic() - begun >= 0.2


def test_closed_it_keeps_what_it_has() -> None:
    store = MemoryStore()
    store.append("a", store.claim("a"), 0, [{"n": 1}])
    store.close()
    assert [entry.data for entry in store.read("a", wait=DEADLINE)] == [{"n": 1}]


def test_its_option_is_checked() -> None:
    with pytest.raises(ParameterError, match="max_entry_bytes: expected an integer from 1 on, got 0"):
        MemoryStore(max_entry_bytes=0)


FORKS = """
    import os, sys, threading, warnings
    from anthropix_actors.stores import MemoryStore

    warnings.simplefilter("ignore")  # Python warns of any fork while threads run
    store, done = MemoryStore(), threading.Event()
    epoch = store.claim("a")

    def write():
        number = 0
        while not done.is_set():
            store.append("a", epoch, number, [{"n": number}])
            number += 1

    threads = [threading.Thread(target=each) for each in (write, lambda: store.read("b", wait=60))]
    store.claim("b")
    for thread in threads:
        thread.start()
    children = []
    for _ in range(20):
        if (child := os.fork()) == 0:
            there = store.state("a").length
            writer = threading.Thread(target=store.append, args=("a", epoch, there, [{"n": "mine"}]), daemon=True)
            writer.start()
            writer.join(10)
            sys.exit(3 if not writer.is_alive() and store.state("a").length == there + 1 else 1)
        children.append(child)
    print({os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children})
    done.set()
    store.append("b", 1, 0, [], close=True)
    for thread in threads:
        thread.join()
    assert "mine" not in {entry.data["n"] for entry in store.read("a")}
"""


def test_a_forked_child_has_a_copy() -> None:
    """A lock that a thread held when its process forked would be held in the child for ever."""
    command = [sys.executable, "-P", "-W", "error", "-c", textwrap.dedent(FORKS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=6 * DEADLINE)
    assert (done.stdout, done.returncode) == ("{3}\n", 0), done.stderr
