"""What is promised of writers: epochs, holders, posts, and many at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anthropix_actors.errors import ParameterError
from anthropix_actors.stores.conformance.kit import (
    check_of_log,
    eventually,
    everything,
    expect,
    expect_equal,
    expect_refusal,
    numbered,
    numbers_in,
    started,
    together,
)
from anthropix_actors.stores.log import Fenced, Held, Log, Lost

if TYPE_CHECKING:
    from anthropix_actors.stores.log import Entry


@check_of_log
def a_writer_that_another_has_followed_is_fenced(log: Log, name: str) -> None:
    """A claim gets a higher epoch; with an older one, or one that nobody has, every append is `Fenced`."""
    before = started(log, name, 0)
    after = log.claim(name)
    expect(after > before, f"the second claim has epoch {after}, the first one {before}")
    for epoch in (before, after + 1, 0):
        expect_refusal(Fenced, f"an append with epoch {epoch}", log.append, name, epoch, 1, numbered(1))
        expect_refusal(Fenced, f"a repeat with epoch {epoch}", log.append, name, epoch, 0, numbered(0))
        expect_refusal(Fenced, f"closing with epoch {epoch}", log.append, name, epoch, 1, [], close=True)
    log.append(name, after, 1, numbered(1))
    expect_equal(numbers_in(log, name), [0, 1], "what is there")


@check_of_log
def a_log_that_is_held_is_nobody_elses(log: Log, name: str) -> None:
    """While a holder lives, others are `Held` off; it may claim again, and a claim without a holder asks nobody."""
    one, other = f"{name}/one", f"{name}/other"
    log.beat(one, 60)
    first = log.claim(name, holder=one)
    error = expect_refusal(Held, "a claim of a log whose holder lives", log.claim, name, holder=other)
    expect_equal(error.holder, one, "the holder that `Held` tells")
    expect(log.claim(name, holder=one) > first, "the holder's second claim has no higher epoch")
    epoch = log.claim(name)
    log.append(name, epoch, 0, numbered(0))
    expect(log.claim(name, holder=other) > epoch, "a log that nobody holds could not be claimed")


@check_of_log
def a_holder_lives_as_long_as_it_beats(log: Log, name: str) -> None:
    """What a holder has is free before its first beat, when its time is over, and when it ends with `beat(..., 0)`."""
    one, other = f"{name}/one", f"{name}/other"
    log.claim(name, holder=one)
    log.claim(name, holder=other)
    log.beat(other, 60)
    expect_refusal(Held, "a claim after its holder's beat", log.claim, name, holder=one)
    log.beat(other, 0)
    log.beat(one, 60)
    log.claim(name, holder=one)
    log.beat(one, 0.2)
    eventually(lambda: _claims(log, name, other), "a holder lives on though its time is over")
    log.beat(other, 0.2)
    log.beat(other, 60)
    expect_refusal(Held, "a claim after a longer beat", log.claim, name, holder=one)
    log.beat(f"{name}/nobody", 0)


@check_of_log
def what_is_posted_is_there_once_for_each_key(log: Log, name: str) -> None:
    """`post` appends in order, with epoch 0, once for each key of a log; the log is made with the first."""
    expect(log.post(name, {"n": 0}, key="a"), "the first post returned False")
    expect(log.post(name, {"n": 1}, key="b"), "the post of another key returned False")
    expect(not log.post(name, {"n": 2}, key="a"), "the second post of a key returned True")
    expect(log.post(f"{name}/other", {"n": 3}, key="a"), "a key of another log counts here")
    entries = log.read(name)
    expect_equal(
        [(each.number, each.epoch) for each in entries], [(0, 0), (1, 0)], "number and epoch of what was posted"
    )
    expect_equal(numbers_in(log, name), [0, 1], "what was posted")
    expect_equal(log.read(name, after=entries[0].cursor), entries[1:], "what was posted after the first")
    log.delete(name)
    expect(log.post(name, {"n": 4}, key="a"), "a key of a log that was deleted counts in the one made anew")


@check_of_log
def a_log_has_a_writer_or_is_posted_to(log: Log, name: str) -> None:
    """What is posted to cannot be claimed or appended to; what was claimed cannot be posted to."""
    log.claim(name)
    expect_refusal(ParameterError, "a post to a log with a writer", log.post, name, {"n": 0}, key="a")
    log.post(f"{name}/posts", {"n": 0}, key="a")
    expect_refusal(ParameterError, "a claim of a log that is posted to", log.claim, f"{name}/posts")
    expect_refusal(ParameterError, "an append to it", log.append, f"{name}/posts", 0, 1, numbered(1))
    expect_equal((numbers_in(log, name), numbers_in(log, f"{name}/posts")), ([], [0]), "what is there")


@check_of_log
def of_two_writers_one_is_fenced(log: Log, name: str) -> None:
    """Writers that claim a log again and again, at once, leave entries whose epochs only grow, without gaps."""

    def write(who: int) -> None:
        for _ in range(10):
            epoch = log.claim(name)
            first = len(everything(log, name))
            for number in range(first, first + 5):
                try:
                    log.append(name, epoch, number, [{"n": number, "who": who}])
                except (Fenced, ParameterError):
                    break

    together({f"writer {who}": partial(write, who) for who in range(2)})
    entries = everything(log, name)
    expect_equal([each.number for each in entries], [*range(len(entries))], "the numbers")
    expect_equal([each.data["n"] for each in entries], [*range(len(entries))], "the data")
    epochs = [each.epoch for each in entries]
    expect_equal(epochs, sorted(epochs), "the epochs in the order of the entries")
    wrote = {(each.epoch, each.data["who"]) for each in entries}
    expect_equal(len(wrote), len({*epochs}), "how many wrote, each with epochs of its own")


@check_of_log
def claims_at_once_get_epochs_of_their_own(log: Log, name: str) -> None:
    """No two claims of a log return the same epoch."""
    claims = together({f"claim {number}": partial(log.claim, name) for number in range(16)})
    expect_equal(len({*claims}), 16, "how many epochs 16 claims got")


@check_of_log
def posts_at_once_are_there_once(log: Log, name: str) -> None:
    """Of posts with one key at once, exactly one is appended."""

    def post(who: int) -> int:
        return sum(log.post(name, {"n": number, "who": who}, key=f"k{number}") for number in range(20))

    posted = together({f"thread {who}": partial(post, who) for who in range(8)})
    expect_equal(sum(posted), 20, "how many posts of 20 keys returned True")
    expect_equal(sorted(numbers_in(log, name)), [*range(20)], "what was posted")
    expect_equal([each.number for each in everything(log, name)], [*range(20)], "the numbers")


@check_of_log
def logs_at_once_do_not_mix(log: Log, name: str) -> None:
    """Many writers, each with a log of its own, and readers that follow them: each gets its own entries."""
    length = 30

    def write(each: str) -> list[Entry]:
        epoch = log.claim(each)
        for number in range(length):
            log.append(each, epoch, number, [{"n": number, "of": each}], close=number == length - 1)
        return []

    def follow(each: str) -> list[Entry]:
        found: list[Entry] = []
        while len(found) < length:
            try:
                found += log.read(each, found[-1].cursor if found else None, wait=1)
            except Lost:  # it is not made yet
                expect(not found, f"{each} was lost in the middle")
        return found

    names = [f"{name}/{number}" for number in range(8)]
    writers = {f"writer {each}": partial(write, each) for each in names}
    readers = {f"reader {each}": partial(follow, each) for each in names}
    found = together({**writers, **readers})[len(names) :]
    expected = [[{"n": number, "of": each} for number in range(length)] for each in names]
    expect_equal([[each.data for each in entries] for entries in found], expected, "what the readers got")


def _claims(log: Log, name: str, holder: str) -> bool:
    try:
        log.claim(name, holder=holder)
    except Held:
        return False
    return True


WRITER_CHECKS = (
    a_writer_that_another_has_followed_is_fenced,
    a_log_that_is_held_is_nobody_elses,
    a_holder_lives_as_long_as_it_beats,
    what_is_posted_is_there_once_for_each_key,
    a_log_has_a_writer_or_is_posted_to,
    of_two_writers_one_is_fenced,
    claims_at_once_get_epochs_of_their_own,
    posts_at_once_are_there_once,
    logs_at_once_do_not_mix,
)
