from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from anthropix_actors._tasks.contained import ContainedActor

from servers import DEADLINE, wait

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVING = [SystemExit, KeyboardInterrupt, GeneratorExit]


class Leaver(ContainedActor):
    """Leaves the program where it is told to."""

    use_daemon_thread = True

    def __init__(self, *, error: Any = SystemExit, at: str = "") -> None:
        super().__init__()
        self.error, self.at = error, at
        self.failures: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def leave(self, at: str) -> None:
        if self.at == at:
            raise self.error("bye")

    def on_start(self) -> None:
        self.leave("on_start")

    def on_stop(self) -> None:
        self.leave("on_stop")

    def on_receive(self, message: Any) -> Any:
        if message == "fail":
            raise ZeroDivisionError
        self.leave("on_receive")
        return message

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:  # noqa: ARG002
        self.failures.put(exception_value)
        self.leave("on_failure")


@pytest.fixture
def other() -> Iterator[pykka.ActorRef[Leaver]]:
    ref = Leaver.start()
    yield ref
    assert ref.ask("hello", timeout=DEADLINE) == "hello"
    ref.stop(timeout=DEADLINE)


def failures_of(ref: pykka.ActorRef[Leaver]) -> queue.SimpleQueue[Any]:
    """Return where an actor notes what it failed of."""
    failures: queue.SimpleQueue[Any] = ref.proxy().failures.get(timeout=DEADLINE)
    return failures


@pytest.mark.parametrize("error", LEAVING)
@pytest.mark.usefixtures("other")
def test_an_actor_that_leaves_the_program_fails_alone(error: Any) -> None:
    ref = Leaver.start(error=error, at="on_receive")
    failures = failures_of(ref)
    ref.tell("leave")
    wait(ref.actor_stopped)
    assert isinstance(failures.get(timeout=DEADLINE).__cause__, error)


@pytest.mark.usefixtures("other")
def test_who_asked_is_told_and_the_actor_goes_on() -> None:
    ref = Leaver.start(at="on_receive")
    with pytest.raises(RuntimeError, match="the actor raised SystemExit, which stops no other") as raised:
        ref.ask("leave", timeout=DEADLINE)
    assert isinstance(raised.value.__cause__, SystemExit)
    with pytest.raises(RuntimeError):
        ref.proxy().leave("on_receive").get(timeout=DEADLINE)
    assert ref.stop(timeout=DEADLINE)


@pytest.mark.usefixtures("other")
def test_an_actor_that_leaves_as_it_starts_is_not_alive() -> None:
    ref = Leaver.start(at="on_start")
    wait(ref.actor_stopped)
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is None


@pytest.mark.usefixtures("other")
def test_who_asks_one_that_leaves_as_it_fails_gets_an_answer() -> None:
    ref = Leaver.start(at="on_failure")
    failures = failures_of(ref)
    ref.tell("fail")
    asked = ref.ask("hello", block=False)
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=DEADLINE)
    assert isinstance(failures.get(timeout=DEADLINE), ZeroDivisionError)


@pytest.mark.usefixtures("other")
def test_one_that_leaves_as_it_stops_has_stopped() -> None:
    ref = Leaver.start(at="on_stop")
    ref.tell("hello")
    with pytest.raises(RuntimeError, match="SystemExit"):
        ref.stop(timeout=DEADLINE)
    assert not ref.is_alive()
