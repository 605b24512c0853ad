from __future__ import annotations

import threading
import time

import pytest

from anthropix_actors.stores.local.changes import LONGEST_PAUSE, Changes

from servers import DEADLINE, until

FAR = 1000.0


def waiting(
    changes: Changes, names: tuple[str, ...] = (), seconds: float = DEADLINE
) -> tuple[threading.Thread, list[set[str] | None]]:
    """Wait for changes in a thread; collect what has changed."""
    found: list[set[str] | None] = []

    def wait() -> None:
        watch = changes.watch(names)
        found.append(changes.wait(watch, time.monotonic() + seconds))

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: any(watch.waits for watch in changes._watching() if watch._names is names) or found)
    return thread, found


def test_who_waits_is_woken_by_a_change_and_not_before() -> None:
    changes = Changes()
    thread, found = waiting(changes)
    assert not found
    changes.tell()
    thread.join(DEADLINE)
    assert found == [None]
    assert not changes._watches


def test_who_waits_for_some_logs_is_woken_by_these_alone() -> None:
    changes = Changes()
    both, (one, found_by_one) = waiting(changes, ("a", "b")), waiting(changes, ("b",))
    nobody, found_by_nobody = waiting(changes)
    changes.tell("c")
    changes.tell("a")
    both[0].join(DEADLINE)
    assert both[1] == [{"a"}]
    assert all(watch.changed == set() for watch in changes._watching())
    changes.tell("b")
    one.join(DEADLINE)
    assert found_by_one == [{"b"}]
    assert not found_by_nobody
    changes.tell()
    nobody.join(DEADLINE)


def test_a_change_that_came_before_is_not_waited_for() -> None:
    changes = Changes()
    watch = changes.watch(("a", "b"))
    changes.tell("a")
    changes.tell("b")
    assert changes.wait(watch, time.monotonic() + FAR) == {"a", "b"}
    changes.tell("a")
    changes.tell()
    changes.tell("b")
    assert changes.wait(watch, time.monotonic() + FAR) is None


def test_without_a_change_it_ends_at_its_time() -> None:
    changes = Changes()
    watch = changes.watch()
    for seconds in (0.01, -1):
        assert changes.wait(watch, time.monotonic() + seconds) == set()


def test_one_asks_for_all() -> None:
    """However many wait, the question is asked by one at a time; all are woken by its answer."""
    asking = threading.Semaphore(1)
    changed = threading.Event()
    asked: list[bool] = []

    def ask() -> bool:
        asked.append(asking.acquire(blocking=False))
        asking.release()
        return changed.is_set()

    changes = Changes(ask)
    waits = [waiting(changes, (f"log-{number}",)) for number in range(20)]
    until(lambda: len(asked) > 3)
    changed.set()
    for thread, found in waits:
        thread.join(DEADLINE)
        assert found == [None]
    assert all(asked)


def test_when_the_one_that_asks_leaves_the_next_one_asks() -> None:
    changed = threading.Event()
    changes = Changes(changed.is_set)
    first, _ = waiting(changes, ("a",), 0.2)
    until(lambda: changes._asker() is not None)
    second, _ = waiting(changes, ("b",), 3 * DEADLINE)
    first.join(DEADLINE)
    changed.set()
    second.join(DEADLINE)
    assert not second.is_alive()


def test_it_is_asked_less_often_the_longer_nothing_changes() -> None:
    asked: list[float] = []

    def ask() -> bool:
        asked.append(time.monotonic())
        return False

    changes = Changes(ask)
    watch = changes.watch()
    changes.wait(watch, time.monotonic() + 0.3)
    assert len(asked) < 0.3 / LONGEST_PAUSE + 30


def test_who_cannot_ask_is_told_and_the_next_one_asks() -> None:
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("away")
        return True

    changes, ends = Changes(ask), time.monotonic() + DEADLINE
    watch = changes.watch()
    with pytest.raises(OSError, match="away"):
        changes.wait(watch, ends)
    changes.wait(watch, ends)
    assert len(asked) == 2
