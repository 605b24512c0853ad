"""What must hold whatever happens: nothing is left behind, and the key is in no text."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pykka

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Self

    from anthropix_actors import AnthropixError

KEY = "sk-torture-1b4d2f"

PATIENCE = 10.0
"""Seconds to wait for what is ending anyway."""


def descriptors() -> int:
    """Get how many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the plainest way


def rss() -> int:
    """Get the bytes of memory that this process has at present."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Memory:
    """Looks at how much memory there is in use, again and again.

    Attributes:
        most: The most there was.
    """

    def __init__(self) -> None:
        self.most = rss()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="torture-memory")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, rss())


class Leftovers:
    """What is there now that was not there when this was made: threads, actors, descriptors."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._descriptors = descriptors()

    def find(self) -> list[str]:
        """Name what is left, when what is ending has had its time."""
        deadline = time.monotonic() + PATIENCE
        while (left := self._left()) and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.01)
        return left

    def _left(self) -> list[str]:
        left = [f"thread {thread.name}" for thread in set(threading.enumerate()) - self._threads]
        left += [f"actor {ref}" for ref in pykka.ActorRegistry.get_all()]
        more = descriptors() - self._descriptors
        return left + ([f"{more} descriptors"] if more > 0 else [])


@contextlib.contextmanager
def collecting_here() -> Generator[None]:
    """Leave the search for garbage to whoever calls `gc.collect`: finalizers fail in a thread whose stack is used up.

    That of a thread which decodes JSON that is nested too deeply is, just when so many lists make Python search.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def everything_logged() -> Generator[io.StringIO]:
    """Collect what any library says, down to the finest detail."""
    text = io.StringIO()
    root = logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(0)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def texts_of(thing: Any) -> Iterator[str]:
    """Get all that can be read of a message or an error, and of what caused it."""
    yield f"{thing!s} {thing!r}"
    link: BaseException | None = thing if isinstance(thing, BaseException) else getattr(thing, "error", None)
    while link is not None:
        yield f"{link!s} {link!r} {vars(link)}"
        link = link.__cause__ or link.__context__


def names_the_key(*things: Any) -> bool:
    return any(KEY in text for thing in things for text in texts_of(thing))


def name_of(error: AnthropixError | None) -> str:
    return "a whole answer" if error is None else type(error).__name__
