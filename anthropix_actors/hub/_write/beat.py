"""The beat of a holder: what it has claimed is nobody else's as long as it goes on."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from anthropix_actors._foreign.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.stores import Log


class Beat:
    """Says that a holder lives, while it holds anything, and a little longer. Any thread.

    Args:
        store: Where it is said.
        holder: The holder.
        lease: For how many seconds, each time; it is said three times as often.
    """

    def __init__(self, store: Log, holder: str, lease: float) -> None:
        """Hold nothing, without a thread."""
        self._store = store
        self._holder = holder
        self._lease = lease
        self._held = 0
        self._said = -lease  # when it was said last, on the monotonic clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._afterwards: list[tuple[float, Callable[[], object]]] = []
        self._thread: threading.Thread | None = None

    def hold(self) -> None:
        """Hold one thing more. The holder lives when this returns.

        Raises:
            StoreError: the store could not be reached.
        """
        if time.monotonic() - self._said > self._lease / 2:
            self._say()
        with self._lock:
            self._held += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="anthropix-beat", daemon=True)
                self._thread.start()

    def let_go(self) -> None:
        """Hold one thing less."""
        with self._lock:
            self._held -= 1

    def afterwards(self, action: Callable[[], object], seconds: float = 0.0) -> None:
        """Do something in the store after a beat that arrives, the next one, or one in so many seconds.

        It may raise, and is done again after another beat.

        Where no beat comes, as nothing is held, the holder is over, and all that it has claimed is free.
        """
        self._afterwards.append((time.monotonic() + seconds, action))

    def close(self) -> None:
        """End: what is held is free."""
        self._ended.set()
        if (thread := self._thread) is not None:
            thread.join(self._lease)
        try:
            self._store.beat(self._holder, 0)
        except Exception as exc:  # noqa: BLE001 - of the store, and this is to end
            log(logging.WARNING, "the end of %s could not be said; it comes by itself", self._holder, exc_info=exc)

    def _say(self) -> None:
        now = time.monotonic()
        self._store.beat(self._holder, self._lease)
        self._said = now

    def _run(self) -> None:
        pause = self._lease / 3
        while not self._ended.wait(pause) and self._goes_on():
            try:
                self._say()
                self._do_what_is_due()
                pause = self._lease / 3
            except BaseException as exc:  # noqa: BLE001 - of the store, which may be anybody's
                pause = self._lease / 10
                log(logging.WARNING, "the beat of %s failed", self._holder, exc_info=exc)

    def _do_what_is_due(self) -> None:
        for each in [*self._afterwards]:
            due, action = each
            if time.monotonic() >= due:
                action()
                self._afterwards.remove(each)

    def _goes_on(self) -> bool:
        with self._lock:
            if not self._held:
                self._thread = None
            return self._held > 0
