"""The queue in which neighbouring deltas merge: nothing is lost, and only neighbours of one block of one chat merge."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anthropix_actors import ChatEvent
from anthropix_actors.chat.merging import MOST_CHARS, MergingQueue

CHATS: list[Any] = [object(), object()]


def delta(chat: Any, text: str, index: int = 0) -> ChatEvent:
    data: Any = {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}
    return ChatEvent(chat, data)


MESSAGES = st.one_of(
    st.builds(delta, st.sampled_from(CHATS), st.text("ab", max_size=5), st.integers(0, 1)), st.integers(0, 3)
)


def spread(messages: list[Any]) -> list[tuple[Any, ...]]:
    """Return what messages say, a character at a time; an empty delta says nothing."""
    said: list[tuple[Any, ...]] = []
    for message in messages:
        if isinstance(message, ChatEvent):
            data: Any = message.data
            said += [(id(message.chat), data["index"], letter) for letter in data["delta"]["text"]]
        else:
            said.append((message,))
    return said


@given(st.lists(MESSAGES, max_size=30), st.integers(1, 8), st.data())
def test_whatever_comes_is_taken_in_order_and_counted(messages: list[Any], largest: int, data: st.DataObject) -> None:
    waiting, taken = MergingQueue(largest), list[Any]()
    for message in messages:
        waiting.extend([message])
        if data.draw(st.booleans()):
            taken.append(waiting.popleft())
    taken += waiting.take_all()
    assert spread(taken) == spread(messages)
    assert (waiting.chars, waiting.deltas) == (0, 0)
    sizes = [len(spread([each])) for each in taken]
    assert max(sizes, default=0) < largest + 5


def test_neighbours_merge_and_others_do_not() -> None:
    one, other = CHATS
    waiting = MergingQueue()
    waiting.extend([delta(one, "a"), delta(one, "b"), delta(other, "c"), delta(one, "d"), delta(one, "e", index=1)])
    assert (len(waiting), waiting.deltas) == (4, 5)
    assert waiting.take_all() == [delta(one, "ab"), delta(other, "c"), delta(one, "d"), delta(one, "e", index=1)]


def test_a_delta_that_is_large_enough_takes_no_more() -> None:
    waiting = MergingQueue(2)
    waiting.extend([delta(CHATS[0], "a"), delta(CHATS[0], "bc"), delta(CHATS[0], "d")])
    assert waiting.take_all() == [delta(CHATS[0], "abc"), delta(CHATS[0], "d")]


def test_it_is_full_of_messages_or_of_characters() -> None:
    waiting = MergingQueue()
    waiting.extend([1, 2])
    assert waiting.is_full(2)
    assert not waiting.is_full(3)
    waiting.clear()
    assert not waiting.is_full(1)
    waiting.append(delta(CHATS[0], "a" * (MOST_CHARS - 1)))
    assert not waiting.is_full(2)
    waiting.append(delta(CHATS[0], ""))
    assert waiting.is_full(2)


def test_what_is_merged_has_the_cursor_of_its_last_part() -> None:
    waiting = MergingQueue()
    delta: Any = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
    chat: Any = None
    waiting.extend(ChatEvent(chat, delta, f"a.{number}") for number in range(3))
    (merged,) = waiting.take_all()
    assert (merged.data["delta"]["text"], merged.cursor) == ("xxx", "a.2")
