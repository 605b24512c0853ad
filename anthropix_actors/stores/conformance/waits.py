"""What is promised of those that wait."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors.stores.conformance import kit
from anthropix_actors.stores.conformance.kit import (
    Running,
    check_of_log,
    expect,
    expect_equal,
    expect_refusal,
    numbered,
    started,
    wait_a_little,
)
from anthropix_actors.stores.log import Log, Lost

if TYPE_CHECKING:
    from collections.abc import Callable


@check_of_log
def a_reader_is_woken_by_an_append(log: Log, name: str) -> None:
    """A reader that waits gets what is appended, at once."""
    epoch = started(log, name, 0)
    reader = Running(partial(log.read, name, log.read(name)[0].cursor, wait=kit.PATIENCE))
    wait_a_little()
    log.append(name, epoch, 1, numbered(1))
    found = reader.result("a reader that waits for an append")
    expect_equal([entry.data for entry in found], numbered(1), "what it gets")


@check_of_log
def a_reader_is_woken_by_a_post(log: Log, name: str) -> None:
    """A reader that waits gets what is posted, at once."""
    log.post(name, {"n": 0}, key="a")
    reader = Running(partial(log.read, name, log.read(name)[0].cursor, wait=kit.PATIENCE))
    wait_a_little()
    log.post(name, {"n": 1}, key="b")
    found = reader.result("a reader that waits for a post")
    expect_equal([entry.data for entry in found], numbered(1), "what it gets")


@check_of_log
def a_reader_is_woken_by_the_end(log: Log, name: str) -> None:
    """A reader that waits returns when the log is closed; of one that is closed, none waits."""
    epoch = started(log, name, 0)
    cursor = log.read(name)[0].cursor
    reader = Running(partial(log.read, name, cursor, wait=kit.PATIENCE))
    wait_a_little()
    log.append(name, epoch, 1, [], close=True)
    expect_equal(reader.result("a reader that waits in a log that is closed"), [], "what it gets")
    late = Running(partial(log.read, name, cursor, wait=kit.PATIENCE))
    expect_equal(late.result("a reader of a log that is closed"), [], "what it gets")


@check_of_log
def a_reader_is_woken_when_its_log_is_deleted(log: Log, name: str) -> None:
    """A reader that waits finds its log `Lost` when it is deleted, and when it expires."""

    def delete(each: str) -> None:
        log.delete(each)

    def expire(each: str) -> None:
        log.expire(each, 0.2)

    for number, end in enumerate((delete, expire)):
        each = f"{name}/{number}"
        started(log, each, 0)
        reader = Running(partial(log.read, each, log.read(each)[0].cursor, wait=kit.PATIENCE))
        wait_a_little()
        end(each)
        what = f"a reader that waits, after {end.__name__}"
        expect_refusal(Lost, what, reader.result, what)


@check_of_log
def a_reader_of_many_is_woken_by_each(log: Log, name: str) -> None:
    """`read_many` that waits returns when one of its logs gets an entry, or is lost."""
    names = [f"{name}/{number}" for number in range(20)]
    epochs = [started(log, each, 0) for each in names]
    cursors = {each: log.read(each)[0].cursor for each in names}
    reader = Running(partial(log.read_many, cursors, wait=kit.PATIENCE))
    wait_a_little()
    log.append(names[7], epochs[7], 1, numbered(7))
    found = reader.result("read_many that waits")
    expect_equal([*found], names[7:8], "the logs that have something new")
    reader = Running(partial(log.read_many, {**cursors, names[7]: log.read(names[7])[1].cursor}, wait=kit.PATIENCE))
    wait_a_little()
    log.delete(names[9])
    found = reader.result("read_many that waits for a log that is deleted")
    expect(
        [*found] == names[9:10] and isinstance(found[names[9]], Lost), f"it is not told what is lost: {found!r:.200}"
    )


@check_of_log
def waits_end_in_time(log: Log, name: str) -> None:
    """A reader for whom nothing comes waits as long as it says, and no longer; with `wait=0`, not at all."""
    started(log, name, 0)
    cursor = log.read(name)[0].cursor
    calls: dict[str, Callable[[float], object]] = {
        "read": lambda wait: log.read(name, cursor, wait=wait),
        "read_many": lambda wait: log.read_many({name: cursor}, wait=wait),
    }
    for what, call in calls.items():
        for wait in (0.0, 0.3):
            began = time.monotonic()
            expect(not Running(partial(call, wait)).result(f"{what}(wait={wait})"), f"{what} got what is not there")
            took = time.monotonic() - began
            expect(took >= 0.9 * wait, f"{what}(wait={wait}) returned after {took:.3f} s with nothing")


@check_of_log
def closing_ends_waits(log: Log, name: str) -> None:
    """`close`, or the end of a `with` block, lets go of those that wait in other threads; once more does nothing."""
    started(log, name, 0)
    cursor = log.read(name)[0].cursor
    readers: list[Running[Any]] = [
        Running(partial(log.read, name, cursor, wait=kit.PATIENCE)),
        Running(partial(log.read_many, {name: cursor}, wait=kit.PATIENCE)),
    ]
    wait_a_little()
    with log as itself:
        expect(itself is log, "the store of a `with` block is not the store itself")
    log.close()
    for reader in readers:
        try:
            reader.result("a reader that waits while the store is closed")
        except AssertionError:
            raise
        except Exception:  # noqa: BLE001, S112 - it may be told that it is closed, in any way
            continue


WAIT_CHECKS = (
    a_reader_is_woken_by_an_append,
    a_reader_is_woken_by_a_post,
    a_reader_is_woken_by_the_end,
    a_reader_is_woken_when_its_log_is_deleted,
    a_reader_of_many_is_woken_by_each,
    waits_end_in_time,
    closing_ends_waits,
)
