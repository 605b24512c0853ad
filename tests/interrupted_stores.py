"""Ctrl-C at each place of each call of a store: what holds afterwards is checked while the interrupt is on its way."""

from __future__ import annotations

import contextlib
import itertools
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from interrupts import PACKAGE, Interrupter
from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anthropix_actors.stores import Store

WHERE = (PACKAGE, contextlib.__file__)
"""Whose code is interrupted. Where a block of ours is left by way of `contextlib`, a signal handler may run in that."""

CALLS: dict[str, Callable[[Store, str], object]] = {
    "claim": lambda store, name: store.claim(name, "me"),
    "append": lambda store, name: store.append(name, _epoch(store, name), 0, [{"n": 0}, {"n": 1}]),
    "post": lambda store, name: store.post(f"{name}/inbox", {"n": 0}, key=name),
    "read": lambda store, _: store.read("log"),
    "read and wait": lambda store, _: store.read("open", wait=0.002),
    "read_many": lambda store, name: store.read_many({"log": None, name: None}),
    "read_many and wait": lambda store, _: store.read_many({"open": None}, wait=0.002),
    "state": lambda store, _: store.state("log"),
    "names": lambda store, _: store.names("lo"),
    "expire": lambda store, _: store.expire("log", None),
    "delete": lambda store, _: store.delete("no log"),
    "beat": lambda store, _: store.beat("me", 60),
    "put": lambda store, name: store.put("jobs", name, {"n": 0}),
    "take": lambda store, _: store.take("jobs", "me", 1),
    "take and wait": lambda store, _: store.take("no jobs", "me", 1, wait=0.002),
    "finish": lambda store, name: store.finish("jobs", "me", name),
    "give_back": lambda store, name: store.give_back("jobs", "me", name),
    "remove": lambda store, name: store.remove("jobs", name),
    "job": lambda store, name: store.job("jobs", name),
    "queue_state": lambda store, _: store.queue_state("jobs"),
}


def _epoch(store: Store, name: str) -> int:
    state = store.state(name)
    return store.claim(name) if state is None else state.epoch


def prepare(store: Store) -> None:
    """Make what the calls are about."""
    store.append("log", store.claim("log"), 0, [{"n": 0}])
    store.claim("open")


def faults(
    store: Store, call: str, kind: str, *, every: int = 1, also: Callable[[], object] = lambda: None
) -> Iterator[str]:
    """Interrupt a call everywhere; yield what was wrong after it."""
    for number in itertools.count(1, every):
        interrupter = Interrupter(number, kind, WHERE)
        name = f"{call}-{kind}-{number}"
        try:
            with interrupter.within():
                CALLS[call](store, name)
        except KeyboardInterrupt:  # its traceback keeps what it has come through alive
            if found := _wrong(partial(_works, store, name, also)):
                yield f"{call}, {interrupter.place}: {found}"
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is not what was raised
            yield f"{call}, {interrupter.place}: {exc!r} in place of the interrupt"
        if interrupter.place is None:
            return


def _works(store: Store, name: str, also: Callable[[], object]) -> None:
    """Use the store in another thread."""
    store.beat("other", 1)
    epoch = store.claim(f"{name}/other")
    store.append(f"{name}/other", epoch, 0, [{"n": 0}], close=True)
    assert [entry.data["n"] for entry in store.read(f"{name}/other")] == [0]
    store.delete(f"{name}/other")
    also()


def _wrong(act: Callable[[], None]) -> str:
    errors: list[Any] = ["it hangs"]

    def run() -> None:
        try:
            act()
        except BaseException as exc:  # noqa: BLE001 - told in the thread of the test
            errors[0] = repr(exc)
        else:
            errors.clear()

    thread = threading.Thread(target=run, name="test-other", daemon=True)
    thread.start()
    thread.join(DEADLINE)
    return str(errors[0]) if errors else ""
