"""What checks are made of."""

from __future__ import annotations

import functools
import secrets
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropix_actors.stores.log import Entry, Log
    from anthropix_actors.stores.queue import Store

    MakeStore: TypeAlias = Callable[[], Any]
    Check: TypeAlias = Callable[[MakeStore], None]

Result = TypeVar("Result")
Refusal = TypeVar("Refusal", bound=BaseException)

PATIENCE = 20.0
"""Seconds that a check waits for what has to come. Half of them is soon: who waits to the end was not woken."""


def expect(holds: object, what: str) -> None:
    """Do nothing if it holds.

    Raises:
        AssertionError: it does not; `what` is its text.
    """
    if not holds:
        raise AssertionError(what)


def expect_equal(found: object, expected: object, what: str) -> None:
    """Do nothing if both are equal.

    Raises:
        AssertionError: they are not; the text has both.
    """
    expect(found == expected, f"{what}: expected {expected!r:.500}, got {found!r:.500}")


def expect_refusal(kind: type[Refusal], what: str, call: Callable[..., object], *args: Any, **options: Any) -> Refusal:
    """Return the error of this kind that a call raises.

    Raises:
        AssertionError: it raises none, or another one.
    """
    try:
        found: object = call(*args, **options)
    except kind as exc:
        return exc
    except Exception as exc:
        raise AssertionError(f"{what}: expected {kind.__name__}, got {exc!r:.500}") from exc
    raise AssertionError(f"{what}: expected {kind.__name__}, got {found!r:.500}")


def check_of_log(body: Callable[[Log, str], None]) -> Check:
    """Make a check of a function that gets a store and a name that nothing has yet."""

    @functools.wraps(body)
    def check(make_store: MakeStore) -> None:
        with closing(make_store()) as store:
            body(store, _unused())

    return check


def check_of_queue(body: Callable[[Store, str], None]) -> Check:
    """Make a check, as above, of a function that needs queues."""

    @functools.wraps(body)
    def check(make_store: MakeStore) -> None:
        with closing(make_store()) as store:
            body(store, _unused())

    return check


def check_of_two(body: Callable[[Store, Store, str], None]) -> Check:
    """Make a check, as above, of a function that gets two stores with the same data."""

    @functools.wraps(body)
    def check(make_store: MakeStore) -> None:
        with closing(make_store()) as one, closing(make_store()) as other:
            body(one, other, _unused())

    return check


def _unused() -> str:
    return f"check-{secrets.token_hex(6)}"


def numbered(*numbers: int) -> list[dict[str, Any]]:
    """Return entries that can be told apart."""
    return [{"n": number} for number in numbers]


def numbers_in(log: Log, name: str) -> list[Any]:
    """Return what `numbered` made, of all entries that there are."""
    return [entry.data["n"] for entry in everything(log, name)]


def everything(log: Log, name: str) -> list[Entry]:
    """Return all entries of a log."""
    found: list[Entry] = []
    while more := log.read(name, found[-1].cursor if found else None):
        found += more
    return found


def started(log: Log, name: str, *numbers: int) -> int:
    """Make a log with these entries; return the epoch."""
    epoch = log.claim(name)
    log.append(name, epoch, 0, numbered(*numbers))
    return epoch


class Running(Generic[Result]):
    """A function that runs in a thread of its own, and may wait there."""

    def __init__(self, function: Callable[[], Result]) -> None:
        """Start it."""
        self._function = function
        self._results: list[Result] = []
        self._errors: list[BaseException] = []
        self._began = time.monotonic()
        self._ended = self._began
        self._thread = threading.Thread(target=self._run, name="check", daemon=True)
        self._thread.start()

    def result(self, what: str, patience: float | None = None) -> Result:
        """Return what it returns, or raise what it raises.

        Raises:
            AssertionError: it did not end within so many seconds, or else soon.
        """
        patience = PATIENCE / 2 if patience is None else patience
        self._thread.join(2 * PATIENCE)
        expect(not self._thread.is_alive() and self._ended - self._began < patience, f"{what} did not end in time")
        for error in self._errors:
            raise error
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as exc:  # noqa: BLE001 - the check's thread raises it
            self._errors.append(exc)
        self._ended = time.monotonic()


def together(functions: Mapping[str, Callable[[], Result]]) -> list[Result]:
    """Run functions at once, each in a thread of its own; return what they return, or raise what the first raises."""
    gate = threading.Barrier(len(functions))

    def passed(function: Callable[[], Result]) -> Result:
        gate.wait(PATIENCE)
        return function()

    running = {what: Running(functools.partial(passed, function)) for what, function in functions.items()}
    return [each.result(what, patience=2 * PATIENCE) for what, each in running.items()]


def wait_a_little() -> None:
    """Let threads that were started come to where they wait; where they do not, the check proves less."""
    time.sleep(0.05)


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until it holds.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not holds():
        expect(time.monotonic() < deadline, what)
        time.sleep(0.01)
