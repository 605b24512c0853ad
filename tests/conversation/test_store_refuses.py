"""Answers that a store does not take: the conversation goes on without them, and does not pay for them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Agent, text_of
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.stores import MemoryStore

from servers import until
from stores_for_tests import Shaky, raising

if TYPE_CHECKING:
    from anthropix_actors import Client
    from anthropix_actors.emulator import Emulator
    from anthropix_actors.stores import Store

MODEL = "claude-haiku-4-5"


def kinds(store: Store) -> list[str]:
    return [entry.data["kind"] for entry in store.read("talk")]


def is_free(store: Store) -> bool:
    state = store.state("talk")
    return state is not None and state.holder is None


def test_an_answer_that_the_store_does_not_take_is_not_asked_for_again(emulator: Emulator, client: Client) -> None:
    store = MemoryStore(max_entry_bytes=2000)
    emulator.queue("x" * 3000, "Fine.")
    client.converse(Agent(model=MODEL), store=store, id="talk").say("Hello")
    until(lambda: kinds(store)[2:] == ["failed"])
    assert "expected 2,000 bytes" in store.read("talk")[-1].data["error"]["says"]
    until(lambda: is_free(store))
    talk = client.converse(Agent(model=MODEL), store=store, id="talk")
    assert text_of(talk.say("Again").result(timeout=10)) == "Fine."
    assert len(emulator.requests) == 2
    talk.stop()


@pytest.mark.parametrize(
    ("times", "written"), [(0, ["conversation"]), (1, ["conversation", "say"]), (9, ["conversation"])]
)
def test_other_entries_that_the_store_does_not_take_end_the_conversation(
    times: int, written: list[str], emulator: Emulator, client: Client
) -> None:
    store: Any = Shaky(max_entry_bytes=2000)
    talk = client.converse(Agent(model=MODEL), store=store, id="talk")
    store.faults["append"] = raising(ParameterError([Problem("first", "expected 1 at most")]), times=times)
    turn = talk.say("Hello" if times else "x" * 3000)
    with pytest.raises(ParameterError, match=r"2,000 bytes|1 at most"):
        turn.result(timeout=10)
    assert kinds(store) == written
    assert emulator.requests == []
