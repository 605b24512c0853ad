"""A thread of a hub whose start is interrupted: it ends, and the next call has one."""

from __future__ import annotations

import threading

import pytest

from anthropix_actors.hub._read.follower import Follower, Reading
from anthropix_actors.stores import MemoryStore

from servers import DEADLINE


def test_a_follower_whose_start_was_interrupted_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[threading.Thread] = []

    class Interrupted(threading.Thread):
        def start(self) -> None:
            super().start()
            begun.append(self)
            raise KeyboardInterrupt

    reads = Follower(MemoryStore(), "me", silence=1000, patience=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            reads.add(Reading("a"))
    begun[0].join(DEADLINE)
    assert not begun[0].is_alive()
    reads.close()
