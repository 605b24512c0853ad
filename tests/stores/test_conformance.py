"""Each store of ours does what stores promise; and the checks find what another one does not."""

from __future__ import annotations

import copy
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import ParameterError, stores
from anthropix_actors.stores import Entry, Fenced, Held, Job, Lost, MemoryStore, QueueState, SQLiteStore, append_each
from anthropix_actors.stores.conformance import kit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from anthropix_actors import AnthropixError
    from anthropix_actors.stores import Append
    from anthropix_actors.stores.conformance.kit import Check

MOST = 2 << 20
"""Small enough to try what is too big."""


@pytest.mark.parametrize("check", stores.CHECKS)
def test_the_store_in_memory(check: Check) -> None:
    check(lambda: MemoryStore(max_entry_bytes=MOST))


@pytest.mark.parametrize("check", [*stores.CHECKS, *stores.SHARED_CHECKS])
def test_the_store_of_sqlite(check: Check, tmp_path: Path) -> None:
    check(lambda: SQLiteStore(tmp_path / "logs.db", max_entry_bytes=MOST))


def test_each_check_says_what_it_is_about() -> None:
    checks = [*stores.CHECKS, *stores.SHARED_CHECKS]
    assert len({check.__name__ for check in checks}) == len(checks) > 50
    assert all(check.__doc__ and check.__module__ == "anthropix_actors.stores" for check in checks)


def test_a_store_without_queues_is_checked_as_a_log() -> None:
    class Logs:
        def __init__(self) -> None:
            self._store = MemoryStore()

        def __getattr__(self, name: str) -> Any:
            if hasattr(stores.Log, name):
                return getattr(self._store, name)
            raise AttributeError(name)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._store.close()

    stores.check(Logs, checks=stores.LOG_CHECKS)
    with pytest.raises(AssertionError, match=r"a_job_is_put_once: AttributeError\('put'\)"):
        stores.check(Logs, checks=stores.QUEUE_CHECKS)


@pytest.mark.parametrize("check", stores.LOG_CHECKS)
def test_a_store_that_appends_to_one_after_the_other(check: Check) -> None:
    check(lambda: OneByOne(max_entry_bytes=MOST))


def test_one_call_checks_all_and_tells_all_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores in memory have nothing in common, and so are not `shared`."""
    monkeypatch.setattr(kit, "PATIENCE", 1.0)
    with pytest.raises(AssertionError) as caught:
        stores.check(MemoryStore, checks=stores.QUEUE_CHECKS[:2], shared=True)
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [check.__name__ for check in stores.SHARED_CHECKS]
    assert caught.value.__cause__ is not None


def test_a_store_that_does_not_say_how_much_it_takes_is_not_asked_to_refuse() -> None:
    class Unlimited:
        def __init__(self) -> None:
            self._store = MemoryStore()

        def __getattr__(self, name: str) -> Any:
            if name == "max_entry_bytes":
                raise AttributeError(name)
            return getattr(self._store, name)

    sized = [check for check in stores.CHECKS if "big" in check.__name__ or "refused" in check.__name__]
    stores.check(Unlimited, checks=sized)


class Impatient(MemoryStore):
    """Returns at once where it is to wait."""

    def read(self, name: str, after: str | None = None, *, wait: float = 0.0) -> list[Entry]:
        return super().read(name, after, wait=0 * wait)


class Deaf(MemoryStore):
    """Does not wake those that wait."""

    def _waited(self, look: Any, wait: float, names: Any = ()) -> Any:  # noqa: ARG002
        found = look(None)
        if found is None:
            time.sleep(wait)
            found = look(None)
        return found


class OneByOne(MemoryStore):
    """Has nothing better than `append`."""

    def append_many(self, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
        return append_each(self, appends)


class Repeating(OneByOne):
    """Appends what is there already."""

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        state = self.state(name)
        super().append(name, epoch, state.length if state else first, entries, close=close)


class Unfenced(OneByOne):
    """Lets every writer append."""

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        try:
            super().append(name, epoch, first, entries, close=close)
        except Fenced:
            super().append(name, self.claim(name), first, entries, close=close)


class AllOrNone(MemoryStore):
    """Appends to all logs, or to none."""

    def append_many(self, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
        probe = MemoryStore()
        probe._tables = copy.deepcopy(self._tables)
        refused = probe.append_many(appends)
        return refused or super().append_many(appends)


class Silent(MemoryStore):
    """Does not tell what was refused."""

    def append_many(self, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
        super().append_many(appends)
        return {}


class Unheld(MemoryStore):
    """Gives a log to whoever asks."""

    def claim(self, name: str, holder: str | None = None) -> int:
        try:
            return super().claim(name, holder)
        except Held:
            super().claim(name)
            return super().claim(name, holder)


class Forgetful(MemoryStore):
    """Returns nothing of a log that is lost."""

    def read(self, name: str, after: str | None = None, *, wait: float = 0.0) -> list[Entry]:
        try:
            return super().read(name, after, wait=wait)
        except Lost:
            return []


class Lax(MemoryStore):
    """Refuses no names."""

    def state(self, name: str) -> Any:
        try:
            return super().state(name)
        except ParameterError:
            return None


class Wrong(MemoryStore):
    """Refuses names with an error of another kind."""

    def delete(self, name: str) -> None:
        try:
            super().delete(name)
        except ParameterError as exc:
            raise TypeError(str(exc)) from exc


class Boundless:
    """Takes more than it says."""

    max_entry_bytes = 1 << 20

    def __init__(self) -> None:
        self._store = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Stateless(MemoryStore):
    """Does not tell the state."""

    def state(self, name: str) -> None:
        """Return nothing."""


class Posting(MemoryStore):
    """Posts a key again."""

    def post(self, name: str, data: Mapping[str, Any], *, key: str) -> bool:
        return super().post(name, data, key=f"{key[:1]}{time.monotonic_ns()}")


class Globbing(MemoryStore):
    """Takes a prefix for a pattern."""

    def names(self, prefix: str = "") -> list[str]:
        return [name for name in super().names() if re.match(re.escape(prefix).replace("%", ".*"), name)]


class Sharing(MemoryStore):
    """Returns the same job to all."""

    _same: dict[str, Job]

    def job(self, queue: str, job_id: str) -> Job | None:
        found = super().job(queue, job_id)
        same = self.__dict__.setdefault("_same", {})
        return found and same.setdefault(f"{queue} {job_id}", found)


class Twice(MemoryStore):
    """Gives a job to two that take at once."""

    def take(self, queue: str, holder: str, count: int, *, wait: float = 0.0) -> list[Job]:
        found = super().take(queue, holder, count, wait=wait)
        return [*found, *found] if count > 2 else found


class Ageless(MemoryStore):
    """Does not say how old jobs are."""

    def queue_state(self, queue: str) -> QueueState:
        found = super().queue_state(queue)
        return QueueState(found.waiting, found.taken, found.orphaned, 0.0)


class Undying(MemoryStore):
    """Never deletes what expires, nor frees what a holder has that says nothing more."""

    def expire(self, name: str, seconds: float | None) -> None:
        super().expire(name, seconds and seconds + 3600)

    def beat(self, holder: str, seconds: float) -> None:
        super().beat(holder, seconds and seconds + 3600)


class Stuck(MemoryStore):
    """Does not let go of those that wait."""

    def close(self) -> None:
        """Do nothing."""


class Rude(MemoryStore):
    """Lets those that wait go with an error of its own."""

    def _waited(self, look: Any, wait: float, names: Any = ()) -> Any:
        found = super()._waited(look, wait, names)
        if self._closed:
            raise ConnectionError("closed")
        return found


@pytest.mark.parametrize(
    ("broken", "names", "says"),
    [
        (Impatient, "waits_end_in_time", r"read\(wait=0.3\) returned after 0.\d+ s with nothing"),
        (Deaf, "a_reader_is_woken_by_an_append", "a reader that waits for an append did not end in time"),
        (Deaf, "takers_are_woken", "who waits for a job, after put did not end in time"),
        (Repeating, "what_is_appended_again_is_there_once", r"expected \[0, 1, 2\], got \[0, 1, 0, 1"),
        (Repeating, "a_gap_is_refused", "an append of number 2 after 0: expected ParameterError, got None"),
        (Unfenced, "a_writer_that_another_has_followed_is_fenced", "expected Fenced, got None"),
        (Repeating, "many_logs_are_appended_to_at_once", "an append of number 3: expected {}, got"),
        (
            AllOrNone,
            "what_is_refused_of_one_log_is_written_to_the_others",
            r"what is in the others: expected \[\[0, 1\]",
        ),
        (AllOrNone, "too_big_an_entry_keeps_no_other_from_being_written", "what is there"),
        (Silent, "what_is_refused_of_one_log_is_written_to_the_others", "which logs are refused"),
        (Silent, "what_is_no_append_keeps_no_other_from_being_one", "refused: expected"),
        (Unfenced, "appends_to_many_at_once_are_there_once", "which logs are refused to whom"),
        (Deaf, "readers_are_woken_by_an_append_to_many", "did not end in time"),
        (Unheld, "a_log_that_is_held_is_nobody_elses", "expected Held, got 3"),
        (Forgetful, "a_log_that_is_made_anew_is_another_one", r"a cursor of the log before: expected Lost, got \[\]"),
        (Lax, "what_is_no_name_is_refused", "state of the name '': expected ParameterError, got None"),
        (Wrong, "what_is_no_name_is_refused", "delete of the name '': expected ParameterError, got TypeError"),
        (
            Boundless,
            "big_entries_are_taken_and_bigger_ones_refused",
            "an entry that is too big: expected ParameterError",
        ),
        (Stateless, "the_state_is_told", r"is None, and there is such a log"),
        (Posting, "what_is_posted_is_there_once_for_each_key", "the second post of a key returned True"),
        (Globbing, "names_are_found_by_how_they_begin", "the names that begin with"),
        (Sharing, "jobs_are_the_queues_own", "a job whose data were changed outside"),
        (Twice, "no_job_is_taken_twice", "could not be finished"),
        (Ageless, "the_state_of_a_queue_is_told", "the oldest job does not grow older"),
        (Undying, "a_log_expires", "a log did not expire"),
        (Undying, "a_holder_lives_as_long_as_it_beats", "a holder lives on though its time is over"),
        (Stuck, "closing_ends_waits", "a reader that waits while the store is closed did not end in time"),
    ],
)
def test_what_a_store_does_not_keep_is_found(
    broken: type, names: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [check] = [each for each in stores.CHECKS if each.__name__ == names]
    monkeypatch.setattr(kit, "PATIENCE", 1.0)
    with pytest.raises(AssertionError, match=says):
        check(broken)


def test_those_that_are_let_go_may_be_told_so_in_any_way() -> None:
    [check] = [each for each in stores.CHECKS if each.__name__ == "closing_ends_waits"]
    check(Rude)
