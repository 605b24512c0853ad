"""What is promised of two stores with the same data, as two processes have them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anthropix_actors.stores.conformance import kit
from anthropix_actors.stores.conformance.kit import (
    Running,
    check_of_two,
    expect_equal,
    expect_refusal,
    numbered,
    numbers_in,
    started,
    together,
    wait_a_little,
)
from anthropix_actors.stores.log import Append, Fenced, Held, Lost

if TYPE_CHECKING:
    from anthropix_actors.stores.queue import Store


@check_of_two
def each_sees_what_the_other_does(one: Store, other: Store, name: str) -> None:
    """Logs, cursors, names, states and jobs are the same in both."""
    epoch = started(one, name, 0, 1)
    cursor = one.read(name)[0].cursor
    expect_equal([each.data for each in other.read(name, after=cursor)], numbered(1), "what the other reads")
    expect_equal(other.state(name), one.state(name), "the state in the other")
    expect_equal(other.names(name), [name], "the names in the other")
    one.append(name, epoch, 2, numbered(2))
    one.append_many({name: Append(epoch, 3, numbered(3))})
    expect_equal(numbers_in(other, name), [0, 1, 2, 3], "what the other reads later")
    one.put(name, "a", {"n": 0})
    expect_equal(other.job(name, "a"), one.job(name, "a"), "the job in the other")
    other.delete(name)
    expect_refusal(Lost, "read of a log that the other has deleted", one.read, name)


@check_of_two
def a_writer_is_fenced_by_the_other(one: Store, other: Store, name: str) -> None:
    """Epochs and holders are the same in both."""
    epoch = started(one, name, 0)
    other.append(name, other.claim(name), 1, numbered(1))
    expect_refusal(Fenced, "an append after the other has claimed", one.append, name, epoch, 2, numbered(2))
    one.beat(name, 60)
    one.claim(name, holder=name)
    expect_refusal(Held, "a claim of what the other's holder has", other.claim, name, holder=f"{name}/other")
    one.beat(name, 0)
    other.claim(name, holder=f"{name}/other")
    expect_equal(numbers_in(one, name), [0, 1], "what is there")


@check_of_two
def each_wakes_the_others_readers(one: Store, other: Store, name: str) -> None:
    """A reader that waits is woken by the other's append, and by its `delete`."""
    epoch = started(one, name, 0)
    reader = Running(partial(other.read, name, one.read(name)[0].cursor, wait=kit.PATIENCE))
    wait_a_little()
    one.append(name, epoch, 1, numbered(1))
    found = reader.result("a reader that waits for the other's append")
    expect_equal([entry.data for entry in found], numbered(1), "what it gets")
    lost = Running(partial(other.read, name, found[0].cursor, wait=kit.PATIENCE))
    wait_a_little()
    one.delete(name)
    what = "a reader whose log the other deletes"
    expect_refusal(Lost, what, lost.result, what)


@check_of_two
def each_wakes_the_others_takers(one: Store, other: Store, name: str) -> None:
    """Who waits for a job is woken by the other's `put`, and by the end of its holder."""
    taker = Running(partial(other.take, name, f"{name}/other", 1, wait=kit.PATIENCE))
    wait_a_little()
    one.put(name, "a", {})
    expect_equal(len(taker.result("who waits for a job of the other")), 1, "how many jobs it gets")
    other.give_back(name, f"{name}/other", "a")
    one.beat(name, 60)
    one.take(name, name, 1)
    taker = Running(partial(other.take, name, f"{name}/other", 1, wait=kit.PATIENCE))
    wait_a_little()
    one.beat(name, 0)
    expect_equal(len(taker.result("who waits for a job whose holder ends")), 1, "how many jobs it gets")


@check_of_two
def both_at_once_do_everything_once(one: Store, other: Store, name: str) -> None:
    """Claims, posts and takes of both at once get epochs, entries and jobs of their own."""
    stores = {"one": one, "other": other}
    for number in range(40):
        one.put(name, str(number), {})
        one.beat(f"{name}/{number % 2}", 60)

    def claim(store: Store) -> list[int]:
        return [store.claim(name) for _ in range(20)]

    def post(store: Store) -> list[bool]:
        return [store.post(f"{name}/posts", {"n": number}, key=str(number)) for number in range(20)]

    def take(store: Store, holder: str) -> list[str]:
        return [job.id for _ in range(20) for job in store.take(name, holder, 1)]

    epochs = together({who: partial(claim, store) for who, store in stores.items()})
    expect_equal(len({*epochs[0], *epochs[1]}), 40, "how many epochs 40 claims got")
    posted = together({who: partial(post, store) for who, store in stores.items()})
    expect_equal(posted[0].count(True) + posted[1].count(True), 20, "how many posts of 20 keys returned True")
    expect_equal(sorted(numbers_in(one, f"{name}/posts")), [*range(20)], "what was posted")
    takers = enumerate(stores.values())
    taken = together({str(n): partial(take, store, f"{name}/{n}") for n, store in takers})
    expect_equal(
        sorted([*taken[0], *taken[1]], key=int), [str(number) for number in range(40)], "the jobs that were taken"
    )


SHARED_CHECKS = (
    each_sees_what_the_other_does,
    a_writer_is_fenced_by_the_other,
    each_wakes_the_others_readers,
    each_wakes_the_others_takers,
    both_at_once_do_everything_once,
)
