"""Stores that are slow, away, or fail, as programs may have them; and logs that a test writes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from anthropix_actors.stores import MemoryStore

from servers import start, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores import Store


class Shaky(MemoryStore):
    """A store in memory, whose methods do what a test says.

    Attributes:
        faults: Name of a method → what it does first: raise, or wait.
        calls: How often each method was called.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.faults: dict[str, Callable[[], object]] = {}
        self.calls: dict[str, int] = {}

    def _first(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        if (fault := self.faults.get(name)) is not None:
            fault()

    def claim(self, *args: Any, **more: Any) -> int:
        self._first("claim")
        return super().claim(*args, **more)

    def append(self, *args: Any, **more: Any) -> None:
        self._first("append")
        super().append(*args, **more)
        self._first("appended")

    def append_many(self, appends: Any) -> Any:
        self._first("append")
        refused = super().append_many(appends)
        self._first("appended")
        return refused

    def post(self, *args: Any, **more: Any) -> bool:
        self._first("post")
        return super().post(*args, **more)

    def read(self, *args: Any, **more: Any) -> Any:
        self._first("read")
        return super().read(*args, **more)

    def read_many(self, *args: Any, **more: Any) -> Any:
        self._first("read_many")
        return super().read_many(*args, **more)

    def state(self, *args: Any, **more: Any) -> Any:
        self._first("state")
        return super().state(*args, **more)

    def expire(self, *args: Any, **more: Any) -> None:
        self._first("expire")
        super().expire(*args, **more)

    def remove(self, *args: Any, **more: Any) -> bool:
        removed = super().remove(*args, **more)
        self._first("removed")
        return removed

    def beat(self, *args: Any, **more: Any) -> None:
        self._first("beat")
        super().beat(*args, **more)


def raising(exc: BaseException, *, times: int | None = None) -> Callable[[], None]:
    """Return a fault that raises, so many times or always."""
    left = [times]

    def fault() -> None:
        if left[0] != 0:
            left[0] = left[0] and left[0] - 1
            raise exc

    return fault


def has_beats() -> bool:
    """Return whether any holder's thread beats."""
    return any(thread.name == "anthropix-beat" for thread in threading.enumerate())


class Gate:
    """A fault that waits until the test opens it.

    Attributes:
        reached: Set when something waits.
        open: Set by the test.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        wait(self.open)


class Written:
    """A log that a test writes, entry by entry, as a chat elsewhere would."""

    def __init__(self, store: Store, name: str = "a", holder: str | None = "elsewhere") -> None:
        self.store = store
        self.name = name
        if holder is not None:
            store.beat(holder, 1000)
        self.epoch = store.claim(name, holder)
        self.count = 0
        self.add({"kind": "begin", "format": 1, "attempt": 1, "holder": holder})

    def add(self, *entries: dict[str, Any], close: bool = False) -> None:
        self.store.append(self.name, self.epoch, self.count, entries, close=close)
        self.count += len(entries)

    def tell(self, *events: dict[str, Any]) -> None:
        self.add(*({"kind": "event", "event": event} for event in events))

    def end(self, text: str = "") -> None:
        message = {**start()["message"], "content": [{"type": "text", "text": text}]}
        self.add({"kind": "done", "message": message, "resumed": False}, close=True)
