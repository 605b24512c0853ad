"""What an interrupt in a call over Redis leaves: said by exceptions that come from within."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anthropix_actors.stores.redis import connections

if TYPE_CHECKING:
    from anthropix_actors.stores.redis import RedisStore


def test_a_question_that_is_interrupted_leaves_no_idle_connection(store: RedisStore) -> None:
    def question(_: object) -> None:
        raise KeyboardInterrupt

    assert store.claim("a") == 1
    with pytest.raises(KeyboardInterrupt):
        store._connections.ask(question)
    assert store.state("a") is not None


def test_connections_are_given_back_though_that_is_interrupted(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_back, calls = connections._give_back, []

    def interrupted(waiting: list[tuple[object, object]]) -> None:
        calls.append(len(waiting))
        if len(calls) == 1:
            raise KeyboardInterrupt
        give_back(waiting)

    store.claim("a")
    monkeypatch.setattr(connections, "_give_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.read("a", wait=0.01)
    assert len(calls) == 2
    monkeypatch.undo()
    assert store.read("a", wait=0.01) == []
