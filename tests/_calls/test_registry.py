"""What runs for a client: taken up, refused, waited for, cancelled, left to the parent by a fork."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from anthropix_actors import ConfigurationError
from anthropix_actors._calls.registry import Registry
from anthropix_actors._cancel.sweeper import SWEEPER

from actors import lock_of
from servers import DEADLINE, wait


class Call:
    """Something that runs."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def cancel(self, reason: str) -> None:
        self.reasons.append(reason)


def test_what_runs_is_known_in_the_order_of_the_starts() -> None:
    registry: Any = Registry()
    calls = [Call(), Call(), Call()]
    for call in calls:
        registry.track(call)
    registry.untrack(calls[1])
    registry.untrack(calls[1])
    assert registry.running() == [calls[0], calls[2]]
    registry.cancel_all("enough")
    assert [call.reasons for call in calls] == [["enough"], [], ["enough"]]


@pytest.mark.parametrize(("how", "why"), [("close", "the client is closed"), ("drain", "being drained")])
def test_what_is_refused_is_not_taken_up(how: str, why: str) -> None:
    registry: Any = Registry()
    running, late = Call(), Call()
    registry.track(running)
    if how == "close":
        registry.close()
    else:
        assert not registry.drain(0.0)
    with pytest.raises(ConfigurationError, match=why):
        registry.track(late)
    assert registry.running() == [running]
    registry.untrack(running)
    assert registry.drain(None)


def test_a_closed_client_stays_closed_when_it_is_drained() -> None:
    registry: Any = Registry()
    registry.close()
    assert registry.drain(None)
    with pytest.raises(ConfigurationError, match="the client is closed"):
        registry.track(Call())


def test_a_forked_child_starts_with_nothing_that_runs_whoever_held_the_lock() -> None:
    registry: Any = Registry()
    registry.track(Call())
    held, let = threading.Event(), threading.Event()

    def hold() -> None:  # as a thread of the parent may at the moment of the fork
        with lock_of(registry):
            held.set()
            wait(let)

    holding = threading.Thread(target=hold)
    holding.start()
    wait(held)
    try:
        assert registry in SWEEPER.fork_listeners
        registry.after_fork()
        registry.track(call := Call())
        assert registry.running() == [call]
        registry.untrack(call)
        assert registry.drain(None)
    finally:
        let.set()
        holding.join(DEADLINE)
