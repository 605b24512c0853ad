from __future__ import annotations

import queue
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors._tasks.runs import Run, RunInbox

from servers import DEADLINE


def sent(inbox: RunInbox, messages: list[Any]) -> None:
    for message in inbox.packed(messages):
        inbox.put(message)


@given(st.lists(st.lists(st.integers(), max_size=5), max_size=8))
def test_its_size_is_that_of_a_mailbox_which_was_told_each_message_by_itself(pieces: list[list[int]]) -> None:
    inbox, plain, handled = RunInbox(), queue.SimpleQueue[int](), []
    for piece in pieces:
        sent(inbox, piece)
        for each in piece:
            plain.put(each)
        assert inbox.qsize() == plain.qsize()
    while queue.SimpleQueue.qsize(inbox):
        taken = inbox.get()
        for message in inbox.unpacked(taken) if isinstance(taken, Run) else (taken,):
            assert message == plain.get_nowait()
            handled.append(message)
            assert inbox.qsize() == plain.qsize()
    assert handled == [each for piece in pieces for each in piece]


def test_several_threads_may_tell_at_once() -> None:
    def tell() -> None:
        for _ in range(500):
            sent(inbox, [1, 2, 3])

    inbox = RunInbox()
    tellers = [threading.Thread(target=tell) for _ in range(4)]
    for teller in tellers:
        teller.start()
    handled = sum(len([*inbox.unpacked(inbox.get(timeout=DEADLINE))]) for _ in range(4 * 500))
    for teller in tellers:
        teller.join(DEADLINE)
    assert (handled, inbox.qsize()) == (6000, 0)
