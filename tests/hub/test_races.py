"""What happens between two calls of a store: nothing that comes there is skipped, or taken for lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors.hub._read.writer_check import WriterCheck
from anthropix_actors.messages import ChatDone, ChatEvent
from anthropix_actors.stores import Lost

from stores_for_tests import Shaky

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors import Hub

BEGIN: dict[str, Any] = {"kind": "begin", "format": 1, "attempt": 1, "holder": "x"}
STOP: dict[str, Any] = {"kind": "event", "event": {"type": "message_stop"}}
DONE: dict[str, Any] = {"kind": "done", "message": {"content": []}, "resumed": False}


class Watched(Shaky):
    """A store whose look at a job is known, too."""

    def job(self, *args: Any, **more: Any) -> Any:
        self._first("job")
        return super().job(*args, **more)


@pytest.fixture
def store() -> Shaky:
    return Watched()


def once(store: Shaky, method: str, action: Callable[[], object]) -> None:
    """Have something happen before the next call of a method."""

    def act() -> None:
        del store.faults[method]
        action()

    store.faults[method] = act


def test_what_is_written_while_a_reader_comes_back_is_not_skipped(store: Shaky, hubs: Callable[..., Hub]) -> None:
    hub = hubs(store)
    epoch = store.claim("a")
    store.append("a", epoch, 0, [BEGIN])
    [begun] = store.read("a")
    once(store, "state", lambda: store.append("a", epoch, 1, [STOP, DONE], close=True))
    messages = [*hub.follow("a", after=begun.cursor)]
    assert [type(message) for message in messages] == [ChatEvent, ChatDone]


def test_whoever_comes_back_after_the_end_is_told_the_end(store: Shaky, hubs: Callable[..., Hub]) -> None:
    hub = hubs(store)
    store.append("a", store.claim("a"), 0, [BEGIN, DONE], close=True)
    [_, end] = store.read("a")
    assert [type(message) for message in hub.follow("a", after=end.cursor)] == [ChatDone]


def test_a_log_that_another_has_finished_meanwhile_is_not_lost(store: Shaky) -> None:
    store.claim("a", "dead")
    check = WriterCheck(store, "jobs", "a")
    assert isinstance(check.look(), Lost)
    once(store, "job", lambda: store.append("a", store.claim("a"), 0, [BEGIN, DONE], close=True))
    assert check.look() is None
