"""What no interrupt leaves half done. A signal handler runs in the main thread, between any two steps of ours."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.threads import in_background

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")


def uninterrupted(make: Callable[[], Made], undo: Callable[[Made], object]) -> Made:
    """Make something that would hold something else for ever if its caller did not get it.

    In the main thread, it is made on another one, which no signal handler interrupts. If one raises meanwhile, nobody
    wants what is made: it is undone, now or when it is there.

    Args:
        make: Makes it; what it raises is raised.
        undo: Undoes it.

    Example:
        >>> uninterrupted(lambda: [1, 2], list.clear)
        [1, 2]
    """
    if threading.current_thread() is not threading.main_thread():
        return make()
    making = _Making(make, undo)
    try:
        if not in_background(making.run, "anthropix-making"):
            making.run()
        return making.made()
    except BaseException:
        making.give_up()
        raise


class _Making(Generic[Made]):
    """One such thing. It is in a list: who takes it out of there undoes it, so nobody does twice."""

    def __init__(self, make: Callable[[], Made], undo: Callable[[Made], object]) -> None:
        self._make = make
        self._undo = undo
        self._things: list[Made] = []
        self._error: BaseException | None = None
        self._is_unwanted = False
        self._done = threading.Event()

    def run(self) -> None:
        try:
            self._things.append(self._make())
        except BaseException as exc:  # noqa: BLE001 - raised in the caller's thread
            self._error = exc
        if self._is_unwanted:
            self.give_up()
        self._done.set()

    def made(self) -> Made:
        self._done.wait()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # else its traceback would hold it
        return self._things[0]

    def give_up(self) -> None:
        self._is_unwanted = True
        while self._things:
            try:
                self._undo(self._things.pop())
            except Exception as exc:  # noqa: BLE001 - the caller gets the interrupt
                log(logging.WARNING, "what was interrupted could not be undone", exc_info=exc)
