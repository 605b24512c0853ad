"""What is promised of a log that one writes and others read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.errors import ParameterError
from anthropix_actors.stores.conformance.kit import (
    check_of_log,
    eventually,
    expect,
    expect_equal,
    expect_refusal,
    numbered,
    numbers_in,
    started,
)
from anthropix_actors.stores.log import Log, LogState, Lost

if TYPE_CHECKING:
    from collections.abc import Callable


@check_of_log
def entries_are_numbered_without_gaps(log: Log, name: str) -> None:
    """Entries are numbered from 0, each with the epoch of its writer and an id and a cursor of its own."""
    epoch = log.claim(name)
    log.append(name, epoch, 0, numbered(0, 1))
    log.append(name, epoch, 2, numbered(2))
    later = log.claim(name)
    log.append(name, later, 3, numbered(3, 4))
    entries = log.read(name)
    expect_equal([entry.number for entry in entries], [0, 1, 2, 3, 4], "the numbers of five entries")
    expect_equal([entry.data for entry in entries], numbered(0, 1, 2, 3, 4), "their data")
    expect_equal([entry.epoch for entry in entries], [epoch] * 3 + [later] * 2, "their epochs")
    expect_equal(entries[0].id, f"{epoch}-0", "the id of the first")
    cursors = [entry.cursor for entry in entries]
    expect_equal(len({*cursors}), 5, "how many cursors there are")
    plain = all(cursor.isascii() and cursor.isprintable() and " " not in cursor for cursor in cursors)
    expect(plain, f"a cursor is not of printable ASCII without spaces: {cursors}")


@check_of_log
def a_log_is_read_from_any_point(log: Log, name: str) -> None:
    """`read` returns what comes after a cursor, as often as it is asked."""
    started(log, name, 0, 1, 2)
    entries = log.read(name)
    for number, entry in enumerate(entries):
        for _ in range(2):
            expect_equal(log.read(name, after=entry.cursor), entries[number + 1 :], f"what comes after entry {number}")


@check_of_log
def what_is_appended_again_is_there_once(log: Log, name: str) -> None:
    """Entries under numbers that are there already are left out, whatever they say."""
    epoch = started(log, name, 0, 1)
    log.append(name, epoch, 0, numbered(0, 1))
    log.append(name, epoch, 1, numbered(1, 2))
    log.append(name, epoch, 0, [{"n": "another"}])
    log.append(name, epoch, 1, [])
    expect_equal(numbers_in(log, name), [0, 1, 2], "what is there after repeats")


@check_of_log
def a_gap_is_refused(log: Log, name: str) -> None:
    """An append that would leave numbers out is a `ParameterError`, and appends nothing."""
    epoch = started(log, name, 0)
    expect_refusal(ParameterError, "an append of number 2 after 0", log.append, name, epoch, 2, numbered(2))
    expect_equal(numbers_in(log, name), [0], "what is there after it")


@check_of_log
def an_append_is_whole_or_not_at_all(log: Log, name: str) -> None:
    """If one of the entries cannot be appended, none is; an append of nothing is none."""
    epoch = started(log, name, 0)
    wrong: Any = [{"n": 1}, {"n": {2}}]
    expect_refusal(ParameterError, "an entry that is not JSON", log.append, name, epoch, 1, wrong)
    log.append(name, epoch, 1, [])
    expect_equal(numbers_in(log, name), [0], "what is there after it")


@check_of_log
def a_closed_log_takes_nothing_more(log: Log, name: str) -> None:
    """Once it is closed, repeats are left out as ever, and what is new is a `ParameterError`; no reader waits."""
    epoch = started(log, name, 0)
    log.append(name, epoch, 1, numbered(1), close=True)
    log.append(name, epoch, 1, numbered(1), close=True)
    log.append(name, epoch, 0, numbered(0, 1))
    expect_refusal(ParameterError, "an append to a closed log", log.append, name, epoch, 2, numbered(2))
    expect_equal(numbers_in(log, name), [0, 1], "what is there")
    expect(_state(log, name).closed, "the state does not say that the log is closed")


@check_of_log
def a_log_may_be_closed_with_nothing(log: Log, name: str) -> None:
    """`close=True` closes a log also without entries, and one that has none."""
    log.append(name, log.claim(name), 0, [], close=True)
    expect_equal((_state(log, name).closed, _state(log, name).length), (True, 0), "closed, length")
    expect_equal(log.read(name, wait=0.01), [], "what is read of it")


@check_of_log
def a_log_that_is_not_there_is_lost(log: Log, name: str) -> None:
    """Reading and writing what was never made, or is deleted, is `Lost`; `state` is None."""
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: log.read(name),
        "append": lambda: log.append(name, 1, 0, numbered(0)),
        "an append of nothing": lambda: log.append(name, 1, 0, []),
    }
    for what, call in calls.items():
        expect_refusal(Lost, f"{what} of a log that never was", call)
    expect_equal(log.state(name), None, "the state of a log that never was")
    epoch = started(log, name, 0)
    log.delete(name)
    log.delete(name)
    calls["append"] = lambda: log.append(name, epoch, 1, numbered(1))
    for what, call in calls.items():
        expect_refusal(Lost, f"{what} of a log that was deleted", call)
    expect_equal((log.state(name), log.names(name)), (None, []), "state and names after it")


@check_of_log
def a_log_that_is_made_anew_is_another_one(log: Log, name: str) -> None:
    """A cursor of a log that was deleted is `Lost`, even if there is one of its name, with as many entries."""
    started(log, name, 0, 1)
    cursors = [entry.cursor for entry in log.read(name)]
    before = _state(log, name).generation
    log.delete(name)
    started(log, name, 0, 1, 2)
    expect(_state(log, name).generation != before, "a log that was made anew has the generation of the one before")
    for cursor in cursors:
        expect_refusal(Lost, "a cursor of the log before", log.read, name, after=cursor)
        found = log.read_many({name: cursor}).get(name)
        expect(isinstance(found, Lost), f"read_many with a cursor of the log before: expected Lost, got {found!r}")
    expect_equal(numbers_in(log, name), [0, 1, 2], "what is read from the beginning")


@check_of_log
def what_is_no_cursor_is_refused(log: Log, name: str) -> None:
    """`read` with anything but a cursor is a `ParameterError`."""
    started(log, name, 0)
    wrong: list[Any] = ["", "7", "abc", "abc.", "abc.-1", "a b", "abc.x", "é.1", 7, b"abc.1"]
    for cursor in wrong:
        expect_refusal(ParameterError, f"read after {cursor!r}", log.read, name, after=cursor)
        expect_refusal(ParameterError, f"read_many after {cursor!r}", log.read_many, {name: cursor})


@check_of_log
def a_cursor_of_another_store_is_lost(log: Log, name: str) -> None:
    """A cursor that looks like one, but of which there is no entry here, is `Lost`: a browser may send any."""
    started(log, name, 0, 1)
    for cursor in ("x.0", "xx.0", "0.0", "deadbeef.0", "1ax.0", "1axzz.0", "1ax1x1.0", f"1ax{10**30}.0"):
        expect_refusal(Lost, f"read after {cursor!r}", log.read, name, after=cursor)
        found = log.read_many({name: cursor}).get(name)
        expect(isinstance(found, Lost), f"read_many after {cursor!r}: expected Lost, got {found!r}")


@check_of_log
def a_long_log_is_read_in_steps(log: Log, name: str) -> None:
    """However long a log is, reading on after the last cursor gets all of it, in its order."""
    epoch, length = log.claim(name), 2500
    for first in range(0, length, 500):
        log.append(name, epoch, first, numbered(*range(first, first + 500)))
    expect_equal(numbers_in(log, name), [*range(length)], "the entries of a long log")
    expect_equal(_state(log, name).length, length, "its length")


@check_of_log
def a_log_that_is_deleted_while_it_is_read_is_lost(log: Log, name: str) -> None:
    """A reader is told that the rest is gone, and gets no entry of another log."""
    started(log, name, *range(5))
    cursor = log.read(name)[1].cursor
    log.delete(name)
    expect_refusal(Lost, "reading on in a log that was deleted", log.read, name, after=cursor)
    started(log, name, *range(10, 15))
    expect_refusal(Lost, "reading on in another one of the name", log.read, name, after=cursor)


@check_of_log
def several_logs_are_read_at_once(log: Log, name: str) -> None:
    """`read_many` returns what is new in each log, or that it is lost, and leaves out those without anything new."""
    for part in "abc":
        started(log, f"{name}/{part}", 0, 1)
    entries = log.read(f"{name}/b")
    cursors = {f"{name}/a": None, f"{name}/b": entries[0].cursor, f"{name}/c": log.read(f"{name}/c")[1].cursor}
    found = log.read_many({**cursors, f"{name}/d": None})
    lost = found.pop(f"{name}/d", None)
    expect(isinstance(lost, Lost), f"what there is of a log that is not there: expected Lost, got {lost!r}")
    expected = {f"{name}/a": log.read(f"{name}/a"), f"{name}/b": entries[1:]}
    expect_equal(found, expected, "what is new in three logs")
    expect_equal(log.read_many({}), {}, "what is new in no logs")
    many = {f"{name}/many/{number}": number for number in range(300)}
    for each, number in many.items():
        started(log, each, number)
    found = log.read_many(dict.fromkeys(many))
    numbers = {each: _only(found[each]) for each in found}
    expect_equal(numbers, many, "what is new in 300 logs")


@check_of_log
def the_state_is_told(log: Log, name: str) -> None:
    """`state` tells generation, epoch, length, whether it is closed, and who has it, if that lives."""
    log.claim(name)
    made = _state(log, name)
    expect_equal((made.length, made.closed, made.holder), (0, False, None), "length, closed, holder of a new log")
    expect(made.generation, "a log has no generation")
    log.beat(name, 60)
    epoch = log.claim(name, holder=name)
    log.append(name, epoch, 0, numbered(0, 1), close=True)
    expect_equal(log.state(name), LogState(made.generation, epoch, 2, closed=True, holder=name), "the state")
    log.beat(name, 0)
    expect_equal(_state(log, name).holder, None, "the holder whose life has ended")


@check_of_log
def a_log_expires(log: Log, name: str) -> None:
    """`expire` has a log deleted in time, or, with None, kept; it may be made anew at once."""
    for part in ("kept", "gone", "later"):
        started(log, f"{name}/{part}", 0)
    cursor = log.read(f"{name}/gone")[0].cursor
    log.expire(f"{name}/kept", 0.2)
    log.expire(f"{name}/kept", None)
    log.expire(f"{name}/later", 3600)
    log.expire(f"{name}/gone", 0.2)
    log.expire(f"{name}/none", 1)
    eventually(lambda: log.state(f"{name}/gone") is None, "a log did not expire")
    expect_equal(log.names(name), [f"{name}/kept", f"{name}/later"], "the names after one has expired")
    expect_refusal(Lost, "read of a log that has expired", log.read, f"{name}/gone")
    started(log, f"{name}/gone", 1)
    expect_equal(numbers_in(log, f"{name}/gone"), [1], "what is in the one made anew")
    expect_refusal(Lost, "a cursor of the one that has expired", log.read, f"{name}/gone", after=cursor)


def _state(log: Log, name: str) -> LogState:
    found = log.state(name)
    if found is None:
        raise AssertionError(f"state({name!r}) is None, and there is such a log")
    return found


def _only(found: Any) -> Any:
    return found[0].data["n"] if isinstance(found, list) and len(found) == 1 else found


LOG_CHECKS = (
    entries_are_numbered_without_gaps,
    a_log_is_read_from_any_point,
    what_is_appended_again_is_there_once,
    a_gap_is_refused,
    an_append_is_whole_or_not_at_all,
    a_closed_log_takes_nothing_more,
    a_log_may_be_closed_with_nothing,
    a_log_that_is_not_there_is_lost,
    a_log_that_is_made_anew_is_another_one,
    what_is_no_cursor_is_refused,
    a_cursor_of_another_store_is_lost,
    a_long_log_is_read_in_steps,
    a_log_that_is_deleted_while_it_is_read_is_lost,
    several_logs_are_read_at_once,
    the_state_is_told,
    a_log_expires,
)
