from __future__ import annotations

import threading
import time

import pytest

from anthropix_actors.stores.local.changes import LONGEST_PAUSE, Changes

from servers import DEADLINE, until


def test_who_waits_is_woken_by_a_change_and_not_before() -> None:
    changes, woken = Changes(), threading.Event()
    seen = changes.count

    def wait() -> None:
        changes.wait(seen, time.monotonic() + DEADLINE)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not woken.wait(0.05)
    changes.tell()
    thread.join(DEADLINE)
    assert woken.is_set()


def test_a_change_that_came_before_is_not_waited_for() -> None:
    changes = Changes()
    seen = changes.count
    changes.tell()
    changes.wait(seen, time.monotonic() + 1000)


def test_without_a_change_it_ends_at_its_time() -> None:
    changes = Changes()
    changes.wait(changes.count, time.monotonic() + 0.01)
    changes.wait(changes.count, time.monotonic() - 1)


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
    seen = changes.count
    until_when = time.monotonic() + DEADLINE
    threads = [threading.Thread(target=changes.wait, args=(seen, until_when)) for _ in range(20)]
    for thread in threads:
        thread.start()
    until(lambda: len(asked) > 3)
    changed.set()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert all(asked)


def test_when_the_one_that_asks_leaves_the_next_one_asks() -> None:
    changed = threading.Event()
    changes = Changes(changed.is_set)
    seen = changes.count
    first = threading.Thread(target=changes.wait, args=(seen, time.monotonic() + 0.2))
    first.start()
    until(lambda: changes._asking)
    second = threading.Thread(target=changes.wait, args=(seen, time.monotonic() + 3 * DEADLINE))
    second.start()
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
    changes.wait(changes.count, time.monotonic() + 0.3)
    assert len(asked) < 0.3 / LONGEST_PAUSE + 30


def test_who_cannot_ask_is_told_and_the_next_one_asks() -> None:
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("away")
        return True

    changes = Changes(ask)
    seen, ends = changes.count, time.monotonic() + DEADLINE
    with pytest.raises(OSError, match="away"):
        changes.wait(seen, ends)
    changes.wait(seen, ends)
    assert len(asked) == 2
