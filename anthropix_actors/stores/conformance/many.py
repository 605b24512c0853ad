"""What is promised of an append to many logs at once: that it is an append to each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors.errors import AnthropixError, ParameterError
from anthropix_actors.stores.conformance import kit
from anthropix_actors.stores.conformance.kit import (
    Running,
    check_of_log,
    expect,
    expect_equal,
    expect_refusal,
    numbered,
    numbers_in,
    started,
    together,
    wait_a_little,
)
from anthropix_actors.stores.log import Append, Log

if TYPE_CHECKING:
    from collections.abc import Mapping


@check_of_log
def many_logs_are_appended_to_at_once(log: Log, name: str) -> None:
    """`append_many` appends to each log what is for it, closes it if asked, and returns nothing if all is there."""
    expect_equal(log.append_many({}), {}, "an append to no logs")
    names = [f"{name}/{number}" for number in range(40)]
    epochs = {each: log.claim(each) for each in names}
    for first, ends in ((0, False), (1, False), (3, True)):
        appends = {
            each: Append(epochs[each], first, numbered(first, first + 1), close=ends and number % 2 == 0)
            for number, each in enumerate(names)
        }
        for _ in range(2):  # what is there already is left out
            expect_equal(log.append_many(appends), {}, f"an append of number {first}")
    expect_equal([numbers_in(log, each) for each in names], [[0, 1, 2, 3, 4]] * 40, "what is there")
    states = [log.state(each) for each in names]
    expect_equal([state and state.closed for state in states], [True, False] * 20, "which of them are closed")
    entries = log.read(names[0])
    expect_equal([entry.epoch for entry in entries], [epochs[names[0]]] * 5, "the epochs of their entries")


@check_of_log
def what_is_refused_of_one_log_is_written_to_the_others(log: Log, name: str) -> None:
    """Of each log that is refused, `append_many` returns the error that `append` raises; all others are written."""
    appends = {f"{name}/{what}": part for what, part in _refused(log, name).items()}
    expected = {each: _error_of(log, each, part) for each, part in appends.items()}
    goods = {f"{name}/{what}": started(log, f"{name}/{what}", 0) for what in ("a good one", "m", "z")}
    appends |= {each: Append(epoch, 1, numbered(1)) for each, epoch in goods.items()}
    before = {each: log.state(each) for each in expected}
    for _ in range(2):
        found = log.append_many(dict(sorted(appends.items())))
        expect_equal({each: type(error) for each, error in found.items()}, expected, "which logs are refused")
        expect_equal([numbers_in(log, each) for each in goods], [[0, 1]] * 3, "what is in the others")
    expect_equal({each: log.state(each) for each in expected}, before, "the states of those that are refused")


@check_of_log
def what_is_no_append_keeps_no_other_from_being_one(log: Log, name: str) -> None:
    """What is no name, no number, no JSON or no `Append` is a `ParameterError` of that log alone."""
    epoch = started(log, name, 0)
    wrong: dict[Any, Any] = {
        "": Append(1, 0, []),
        None: Append(1, 0, []),
        "x" * 257: Append(1, 0, []),
        f"{name}/epoch": Append(-1, 0, []),
        f"{name}/first": Append(1, 1.5, []),  # type: ignore[arg-type]
        f"{name}/json": Append(1, 0, [{"n": {1}}]),
        f"{name}/entries": Append(1, 0, None),  # type: ignore[arg-type]
        f"{name}/part": (1, 0, []),
    }
    found = log.append_many({**wrong, name: Append(epoch, 1, numbered(1))})
    expect_equal({each: type(error) for each, error in found.items()}, dict.fromkeys(wrong, ParameterError), "refused")
    expect_equal(numbers_in(log, name), [0, 1], "what is there")


@check_of_log
def readers_are_woken_by_an_append_to_many(log: Log, name: str) -> None:
    """Readers that wait, each for another log, get what is appended to all of them."""
    epochs = {f"{name}/{number}": started(log, f"{name}/{number}", 0) for number in range(3)}
    readers = {each: Running(partial(log.read, each, log.read(each)[0].cursor, wait=kit.PATIENCE)) for each in epochs}
    wait_a_little()
    log.append_many({each: Append(epoch, 1, numbered(1)) for each, epoch in epochs.items()})
    for reader in readers.values():
        found = reader.result("a reader that waits for an append to many")
        expect_equal([entry.data for entry in found], numbered(1), "what it gets")


@check_of_log
def appends_to_many_at_once_are_there_once(log: Log, name: str) -> None:
    """Threads that append the same to the same logs leave it there once; one that was fenced leaves nothing."""
    names = [f"{name}/{number}" for number in range(10)]
    fenced = {each: log.claim(each) for each in names}
    epochs = {each: log.claim(each) for each in names}

    def write(epochs: Mapping[str, int]) -> set[str]:
        refused: set[str] = set()
        for first in range(5):
            refused |= {*log.append_many({each: Append(epochs[each], first, numbered(first)) for each in names})}
        return refused

    refused = together({"one": partial(write, epochs), "two": partial(write, epochs), "old": partial(write, fenced)})
    expect_equal(refused, [set(), set(), {*names}], "which logs are refused to whom")
    expect_equal([numbers_in(log, each) for each in names], [[*range(5)]] * 10, "what is there")


@check_of_log
def too_big_an_entry_keeps_no_other_from_being_written(log: Log, name: str) -> None:
    """Where a store has an attribute `max_entry_bytes`, what is above it is refused, and nothing else."""
    most = getattr(log, "max_entry_bytes", None)
    if most is None:
        return
    epochs = {each: started(log, each, 0) for each in (f"{name}/a", f"{name}/b", f"{name}/c")}
    appends = {each: Append(epoch, 1, numbered(1)) for each, epoch in epochs.items()}
    appends[f"{name}/b"] = Append(epochs[f"{name}/b"], 1, [{"n": 1}, {"text": "x" * most}])
    found = log.append_many(appends)
    expect(isinstance(found.get(f"{name}/b"), ParameterError), f"an entry that is too big: {found!r:.500}")
    expect_equal(len(found), 1, "how many logs are refused")
    expect_equal([numbers_in(log, each) for each in epochs], [[0, 1], [0], [0, 1]], "what is there")


def _refused(log: Log, name: str) -> dict[str, Append]:
    """Make logs that refuse what is for them."""
    fenced = started(log, f"{name}/fenced", 0)
    log.claim(f"{name}/fenced")
    gap, closed = started(log, f"{name}/gap", 0), started(log, f"{name}/closed", 0)
    log.append(f"{name}/closed", closed, 1, [], close=True)
    deleted = started(log, f"{name}/deleted", 0)
    log.delete(f"{name}/deleted")
    log.post(f"{name}/posts", {"n": 0}, key="a")
    return {
        "fenced": Append(fenced, 1, numbered(1), close=True),
        "gap": Append(gap, 2, numbered(2)),
        "closed": Append(closed, 1, numbered(1)),
        "deleted": Append(deleted, 1, numbered(1)),
        "never made": Append(1, 0, []),
        "posts": Append(0, 1, numbered(1)),
    }


def _error_of(log: Log, name: str, part: Append) -> type[Exception]:
    what = f"an append to {name!r}"
    return type(expect_refusal(AnthropixError, what, log.append, name, part.epoch, part.first, part.entries))


MANY_CHECKS = (
    many_logs_are_appended_to_at_once,
    what_is_refused_of_one_log_is_written_to_the_others,
    what_is_no_append_keeps_no_other_from_being_one,
    readers_are_woken_by_an_append_to_many,
    appends_to_many_at_once_are_there_once,
    too_big_an_entry_keeps_no_other_from_being_written,
)
