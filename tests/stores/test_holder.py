"""A holder: what this process has claimed is nobody else's as long as it beats."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from anthropix_actors import AnthropixError
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors.stores import Held, MemoryStore, StoreError
from anthropix_actors.stores.holder import HOLDERS, Holder

from servers import DEADLINE, until, wait
from stores_for_tests import Gate, Shaky, has_beats, raising

if TYPE_CHECKING:
    from collections.abc import Callable

LEASE = 0.15


def free(store: MemoryStore, name: str) -> bool:
    state = store.state(name)
    return state is not None and state.holder is None


def test_what_is_held_stays_held_until_it_is_released() -> None:
    store = Shaky()
    holder, other = Holder(store, LEASE), Holder(store, LEASE)
    first, second = holder.claim("a"), holder.claim("b")
    until(lambda: store.calls.get("beat", 0) >= 8)
    with pytest.raises(
        Held, match=r"the log 'a' belongs to '.*', which lives; it is free when .* 0\.15 s after its end"
    ):
        other.claim("a")
    with pytest.raises(Held, match="it is in use in this process"):
        holder.claim("a")
    holder.release("a", first)
    holder.release("a", first)
    epoch = other.claim("a")
    assert not free(store, "b")
    other.release("a", epoch)
    holder.release("b", second)
    assert free(store, "b")


def test_what_is_claimed_anew_while_it_is_released_stays_held() -> None:
    store = Shaky()
    holder, other = Holder(store), Holder(store)
    before, again = holder.claim("a"), []

    def claim() -> None:
        store.faults.clear()
        again.append(holder.claim("a", take_over=True))

    store.faults["state"] = claim
    holder.release("a", before)
    with pytest.raises(Held):
        other.claim("a")
    holder.release("a", again[0])
    other.release("a", other.claim("a"))


def test_what_another_has_taken_is_not_released() -> None:
    store = MemoryStore()
    holder, other = Holder(store), Holder(store)
    before = holder.claim("a")
    epoch = other.claim("a", take_over=True)
    holder.release("a", before)
    assert not free(store, "a")
    again = other.claim("a", take_over=True)
    other.release("a", epoch)
    assert not free(store, "a")
    store.delete("a")
    other.release("a", again)


def test_a_beat_that_fails_is_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    store = Shaky()
    holder = Holder(store, LEASE)
    epoch = holder.claim("a")
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise StoreError("away")

    store.faults["beat"] = fail
    wait(failed)
    store.faults.clear()
    before = store.calls.get("beat", 0)
    until(lambda: store.calls.get("beat", 0) > before + 1)
    holder.release("a", epoch)
    assert "failed; what it holds may be lost" in caplog.text


def test_at_exit_all_is_given_up() -> None:
    store = MemoryStore()
    holder = Holder(store)
    epochs = {name: holder.claim(name) for name in ("a", "b")}
    left: list[str] = []

    def leave(name: str) -> Callable[[str], object]:
        def leaves(reason: str) -> None:
            left.append(reason)
            threading.Thread(target=holder.release, args=(name, epochs[name])).start()

        return leaves

    for name in epochs:
        holder.at_exit(name, leave(name))
    holder.sweep(0.0)
    holder.cancel_and_join("the interpreter exits")(DEADLINE)
    until(lambda: free(store, "a") and free(store, "b"))
    assert left == ["the interpreter exits"] * 2
    epochs["a"] = holder.claim("a")
    holder.cancel_and_join("the interpreter exits")(0.01)  # nobody gives it up
    holder.release("a", epochs["a"])


def test_there_is_one_holder_for_each_store_and_lease() -> None:
    store, other = MemoryStore(), MemoryStore()
    holder = HOLDERS.of(store)
    assert HOLDERS.of(store) is holder
    assert HOLDERS.of(other) is not holder
    assert HOLDERS.of(store, 3.0) is not holder


def test_a_forked_child_holds_nothing() -> None:
    store = MemoryStore()
    holder = HOLDERS.of(store)
    epoch = holder.claim("a")
    name, beat = holder.name, holder._beat
    holder.after_fork()  # as in a child, but that this one has the parent's threads
    HOLDERS.after_fork()
    SWEEPER.unwatch(holder)
    assert holder.name != name
    assert str(os.getpid()) in holder.name
    holder.release("a", epoch)
    assert not free(store, "a")
    beat.close()
    assert free(store, "a")


def test_what_could_not_be_claimed_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Shaky()
    holder, other = Holder(store, LEASE), Holder(store, LEASE)
    store.faults["claim"] = raising(StoreError("away"))
    with pytest.raises(StoreError, match="away"):
        holder.claim("a")
    store.faults.clear()
    until(lambda: not has_beats())

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(AnthropixError, match=r"no thread to say that .* lives: can't start new thread"):
            holder.claim("a")
    other.release("a", other.claim("a"))


def test_two_threads_of_a_process_that_claim_at_once_do_not_fence_each_other() -> None:
    store, gate = Shaky(), Gate()
    holder = Holder(store)
    store.faults["claim"] = gate
    first, found = threading.Thread(target=lambda: found.append(holder.claim("a"))), []  # type: ignore[var-annotated]
    first.start()
    wait(gate.reached)
    with pytest.raises(Held, match="in use in this process"):
        holder.claim("a")
    gate.open.set()
    first.join(DEADLINE)
    assert found == [1]
    holder.release("a", 1)
