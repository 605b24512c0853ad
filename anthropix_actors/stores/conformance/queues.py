"""What is promised of queues."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from anthropix_actors.errors import ParameterError
from anthropix_actors.stores.conformance import kit
from anthropix_actors.stores.conformance.kit import (
    Running,
    check_of_queue,
    eventually,
    expect,
    expect_equal,
    expect_refusal,
    together,
    wait_a_little,
)
from anthropix_actors.stores.queue import Job, QueueState, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@check_of_queue
def jobs_are_taken_in_the_order_in_which_they_were_put(store: Store, name: str) -> None:
    """`take` returns the oldest jobs, at most as many as are asked for, each with its data and its attempt."""
    _put(store, name, "abcde")
    store.beat(name, 60)
    first = store.take(name, name, 2)
    expect_equal(first, [Job(each, {"n": each}, 1, name) for each in "ab"], "the first two jobs")
    expect_equal(_ids(store.take(name, name, 10)), [*"cde"], "the others")
    expect_equal(store.take(name, name, 1), [], "what is left")


@check_of_queue
def a_job_is_put_once(store: Store, name: str) -> None:
    """A second job of an id is not put, also while the first one is taken; when that is finished, it may be."""
    expect(store.put(name, "a", {"n": 1}), "the first put returned False")
    expect(not store.put(name, "a", {"n": 2}), "the second put of an id returned True")
    expect(store.put(f"{name}/other", "a", {"n": 3}), "an id of another queue counts here")
    store.beat(name, 60)
    expect_equal(store.take(name, name, 2), [Job("a", {"n": 1}, 1, name)], "what is taken")
    expect(not store.put(name, "a", {"n": 4}), "a job that is taken could be put again")
    expect(store.finish(name, name, "a"), "finish returned False")
    expect(store.put(name, "a", {"n": 5}), "a job that is finished could not be put again")
    expect_equal(store.job(name, "a"), Job("a", {"n": 5}), "the job after it")


@check_of_queue
def a_job_that_is_taken_is_nobody_elses(store: Store, name: str) -> None:
    """As long as its holder lives, nobody else gets, finishes, gives back or removes a job."""
    one, other = f"{name}/one", f"{name}/other"
    _put(store, name, "a")
    store.beat(one, 60)
    store.beat(other, 60)
    store.take(name, one, 1)
    calls: dict[str, Callable[[], object]] = {
        "take": lambda: store.take(name, other, 1),
        "finish": lambda: store.finish(name, other, "a"),
        "give_back": lambda: store.give_back(name, other, "a"),
        "remove": lambda: store.remove(name, "a"),
        "its holder's take": lambda: store.take(name, one, 1),
    }
    for what, call in calls.items():
        expect(not call(), f"{what} did something to a job that another holder has")
    expect_equal(store.job(name, "a"), Job("a", {"n": "a"}, 1, one), "the job after it")
    expect(store.finish(name, one, "a"), "its holder could not finish it")
    expect(not store.finish(name, one, "a"), "it could be finished twice")
    expect_equal(store.job(name, "a"), None, "the job that is finished")


@check_of_queue
def orphaned_jobs_come_first(store: Store, name: str) -> None:
    """Jobs whose holder does not live are taken before all others, in their order, as another attempt."""
    one, other = f"{name}/one", f"{name}/other"
    _put(store, name, "abcd")
    store.beat(one, 60)
    store.beat(other, 60)
    store.take(name, one, 2)
    store.give_back(name, one, "a")
    store.take(name, one, 1)
    store.beat(one, 0)
    found = store.take(name, other, 3)
    expected = [("a", 2), ("b", 2), ("c", 1)]
    expect_equal(sorted((each.id, each.attempt) for each in found[:2]), expected[:2], "the orphaned jobs")
    expect_equal((found[2].id, found[2].attempt), expected[2], "the job after them")
    expect(not store.finish(name, one, "b"), "who does not have it any more could finish it")
    unknown = f"{name}/unknown"
    expect_equal(_ids(store.take(name, unknown, 1)), ["d"], "what one takes who never beats")
    expect_equal(_ids(store.take(name, other, 1)), ["d"], "what is taken of one who never beats")


@check_of_queue
def a_holder_whose_time_is_over_loses_its_jobs(store: Store, name: str) -> None:
    """When the seconds of a beat are over, the holder's jobs are orphaned, without anything being said."""
    _put(store, name, "a")
    store.beat(name, 0.2)
    store.take(name, name, 1)
    eventually(lambda: store.queue_state(name).orphaned == 1, "a job is had by one whose time is over")
    expect_equal(_ids(store.take(name, f"{name}/other", 1)), ["a"], "what another one takes")


@check_of_queue
def what_is_given_back_is_the_next(store: Store, name: str) -> None:
    """A job that is given back is at the front, the last one first, and counts no attempt."""
    _put(store, name, "abc")
    store.beat(name, 60)
    store.take(name, name, 2)
    for each in "ab":
        expect(store.give_back(name, name, each), "give_back returned False")
    expect(not store.give_back(name, name, "a"), "a job could be given back twice")
    expect(not store.give_back(name, name, "z"), "a job that is not there could be given back")
    expect_equal(store.job(name, "a"), Job("a", {"n": "a"}), "a job that was given back")
    found = store.take(name, name, 3)
    expect_equal([(each.id, each.attempt) for each in found], [("b", 1), ("a", 1), ("c", 1)], "what is taken then")


@check_of_queue
def what_nobody_has_can_be_removed(store: Store, name: str) -> None:
    """`remove` takes a job out that waits, or is orphaned."""
    _put(store, name, "ab")
    store.beat(name, 60)
    store.take(name, name, 1)
    expect(store.remove(name, "b"), "a job that waits could not be removed")
    expect(not store.remove(name, "b"), "it could be removed twice")
    store.beat(name, 0)
    expect(store.remove(name, "a"), "an orphaned job could not be removed")
    expect_equal(store.take(name, name, 1), [], "what is left")


@check_of_queue
def the_state_of_a_queue_is_told(store: Store, name: str) -> None:
    """`queue_state` counts jobs that wait, are taken and are orphaned, and says how old the oldest is that waits."""
    expect_equal(store.queue_state(name), QueueState(0, 0, 0, 0.0), "the state of a queue that never was")
    one, other = f"{name}/one", f"{name}/other"
    _put(store, name, "abcdef")
    store.beat(one, 60)
    store.beat(other, 60)
    store.take(name, one, 1)
    store.take(name, other, 2)
    store.beat(other, 0)
    state = store.queue_state(name)
    expect_equal((state.waiting, state.taken, state.orphaned), (3, 1, 2), "waiting, taken, orphaned")
    eventually(lambda: store.queue_state(name).oldest > state.oldest >= 0, "the oldest job does not grow older")
    store.take(name, one, 5)
    expect_equal(store.queue_state(name).oldest, 0.0, "the age of the oldest job that waits, without any")


@check_of_queue
def takers_are_woken(store: Store, name: str) -> None:
    """Who waits for a job gets it when it is put, given back, or when its holder ends, by `beat` or in time."""
    one, other = f"{name}/one", f"{name}/other"

    def put() -> None:
        _put(store, name, "a")
        store.beat(one, 60)

    def give_back() -> None:
        store.give_back(name, one, "a")

    def end() -> None:
        store.beat(one, 0)

    def run_out() -> None:
        store.beat(one, 0.2)

    for wake in (put, give_back, end, run_out):
        taker = Running(partial(store.take, name, other, 5, wait=kit.PATIENCE))
        wait_a_little()
        wake()
        what = f"who waits for a job, after {wake.__name__}"
        expect_equal(_ids(taker.result(what)), ["a"], what)
        store.give_back(name, other, "a")
        store.beat(one, 60)
        store.take(name, one, 1)


@check_of_queue
def takers_wait_no_longer_than_they_say(store: Store, name: str) -> None:
    """Who waits for a job that does not come returns with nothing when its time is over."""
    for wait in (0.0, 0.3):
        began = time.monotonic()
        found = Running(partial(store.take, name, name, 1, wait=wait)).result(f"take(wait={wait})")
        expect_equal(found, [], "what is taken of a queue that is empty")
        took = time.monotonic() - began
        expect(took >= 0.9 * wait, f"take(wait={wait}) returned after {took:.3f} s with nothing")


@check_of_queue
def no_job_is_taken_twice(store: Store, name: str) -> None:
    """Eight threads that take jobs, while they are put, get each of them once."""
    jobs = 100
    store.beat(name, 60)

    def put() -> list[str]:
        _put(store, name, map(str, range(jobs)))
        return []

    def take() -> list[str]:
        found: list[str] = []
        while more := store.take(name, name, 3, wait=1):
            for job in more:
                expect(store.finish(name, name, job.id), f"job {job.id} could not be finished")
                found.append(job.id)
        return found

    takers: dict[str, Callable[[], list[str]]] = {f"taker {number}": take for number in range(8)}
    taken = [each for found in together({"putter": put, **takers}) for each in found]
    expect_equal(sorted(taken), sorted(map(str, range(jobs))), "the jobs that were taken")


@check_of_queue
def what_cannot_be_put_is_refused(store: Store, name: str) -> None:
    """What is no name, no count, no JSON, or too big, is a `ParameterError`; any JSON object is a job."""
    wrong: Any
    for wrong in ("", "x" * 257, "a\n", None, 7):
        calls = {
            "put": lambda wrong=wrong: store.put(wrong, "a", {}),
            "a job's id": lambda wrong=wrong: store.put(name, wrong, {}),
            "take": lambda wrong=wrong: store.take(wrong, name, 1),
            "a holder": lambda wrong=wrong: store.take(name, wrong, 1),
            "finish": lambda wrong=wrong: store.finish(name, name, wrong),
            "give_back": lambda wrong=wrong: store.give_back(name, name, wrong),
            "remove": lambda wrong=wrong: store.remove(name, wrong),
            "job": lambda wrong=wrong: store.job(name, wrong),
            "queue_state": lambda wrong=wrong: store.queue_state(wrong),
        }
        for what, call in calls.items():
            expect_refusal(ParameterError, f"{what} of {wrong!r:.20}", call)
    for wrong in (0, -1, 1.5, "1", None, True):
        expect_refusal(ParameterError, f"take(count={wrong!r})", store.take, name, name, wrong)
    for wrong in (-1, float("nan"), "1"):
        expect_refusal(ParameterError, f"take(wait={wrong!r})", store.take, name, name, 1, wait=wrong)
    for wrong in (None, [], {"a": {1}}, {"a": float("inf")}):
        expect_refusal(ParameterError, f"a put of {wrong!r}", store.put, name, "a", wrong)
    most = getattr(store, "max_entry_bytes", None)
    if most is not None:
        expect_refusal(ParameterError, "a job that is too big", store.put, name, "a", {"text": "x" * most})
    expect_equal(store.job(name, "a"), None, "what was put")


@check_of_queue
def jobs_are_the_queues_own(store: Store, name: str) -> None:
    """Changing what was put, or what was returned, changes no job; any JSON comes back as it was."""
    data = {"n": [1, 1.5, None, {"é": "日本\0"}]}
    store.put(name, "a", data)
    data["n"].append(2)
    for job in (store.job(name, "a"), *store.take(name, name, 1)):
        expect(job is not None, "the job is not there")
        cast("Any", job).data["n"].append(3)
    found = store.job(name, "a")
    expect_equal(found and found.data, {"n": [1, 1.5, None, {"é": "日本\0"}]}, "a job whose data were changed outside")


def _put(store: Store, queue: str, ids: Iterable[str]) -> None:
    for each in ids:
        store.put(queue, each, {"n": each})


def _ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


QUEUE_CHECKS = (
    jobs_are_taken_in_the_order_in_which_they_were_put,
    a_job_is_put_once,
    a_job_that_is_taken_is_nobody_elses,
    orphaned_jobs_come_first,
    a_holder_whose_time_is_over_loses_its_jobs,
    what_is_given_back_is_the_next,
    what_nobody_has_can_be_removed,
    the_state_of_a_queue_is_told,
    takers_are_woken,
    takers_wait_no_longer_than_they_say,
    no_job_is_taken_twice,
    what_cannot_be_put_is_refused,
    jobs_are_the_queues_own,
)
