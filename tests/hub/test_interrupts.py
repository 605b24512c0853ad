"""Ctrl-C while a chat's log, or a conversation, is begun: nobody holds it afterwards."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Agent, ChatDone, Client, Hub
from anthropix_actors.stores import Held, MemoryStore

from actors import ASK
from interrupts import KINDS, PACKAGE, Interrupter
from servers import DEADLINE, until
from stores_for_tests import Written

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.hub import LogWriter


def is_free(begin: Callable[[], Any]) -> bool:
    try:
        begin()
    except Held:
        return False
    return True


def interrupted(act: Callable[[str], object], again: Callable[[str], Any], kind: str, *, every: int) -> int:
    """Interrupt an action at each so-manieth place; after each, it has to be free to be done again."""
    number = 1
    while True:
        interrupter = Interrupter(number, kind, (PACKAGE,))
        name = f"{kind}-{number}"
        try:
            with interrupter.within():
                act(name)
        except KeyboardInterrupt:
            pass
        if interrupter.place is None:
            return number
        gc.collect()
        until(lambda name=name: is_free(lambda: again(name)))  # type: ignore[misc]
        number += every


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_is_free_though_hub_to_was_interrupted(kind: str) -> None:
    with Hub(MemoryStore()) as hub:
        writers: list[LogWriter] = []
        assert (
            interrupted(lambda name: writers.append(hub.to(name)), lambda name: hub.to(name).release(), kind, every=3)
            > 10
        )


@pytest.mark.parametrize("kind", KINDS)
def test_others_follow_though_a_loop_was_interrupted(kind: str) -> None:
    """The thread that reads for all is started in the thread of who follows first."""
    number = 0
    while True:
        number += 5
        interrupter = Interrupter(number, kind, (PACKAGE,))
        with Hub(MemoryStore()) as hub:
            writer = Written(hub.store)
            writer.end()
            with contextlib.suppress(KeyboardInterrupt), interrupter.within():
                assert isinstance([*hub.follow("a")][-1], ChatDone)
            assert isinstance([*hub.follow("a")][-1], ChatDone)
            assert hub.result("a", timeout=DEADLINE)
        if interrupter.place is None:
            assert number > 50
            return


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_is_free_though_converse_was_interrupted(kind: str) -> None:
    store = MemoryStore()
    with Client("sk-test", base_url="http://127.0.0.1:1") as client:

        def begin(name: str) -> Any:
            return client.converse(Agent(model=ASK["model"]), store=store, id=name, lease=60)

        assert interrupted(begin, lambda name: begin(name).stop(), kind, every=11) > 100
