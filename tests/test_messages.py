from __future__ import annotations

import queue
from typing import Any

import pytest

from anthropix_actors import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatRetrying, Subscriber, TruncatedError

from actors import Inbox, Reader

CHAT: Any = object()
DATA: Any = {"type": "message_stop"}
MESSAGES = [
    ChatEvent(CHAT, DATA),
    ChatRetrying(CHAT, 1, 0.5, TruncatedError("cut")),
    ChatDone(CHAT, DATA),
    ChatFailed(CHAT, TruncatedError("cut")),
    ChatCancelled(CHAT, "enough", None),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_names_its_chat_and_cannot_be_changed(message: Any) -> None:
    assert message.chat is CHAT
    with pytest.raises(AttributeError):
        message.chat = None
    assert not hasattr(message, "__dict__")


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_told_from_the_others_by_match(message: Any) -> None:
    match message:
        case ChatEvent(data={"type": kind}):
            assert kind == "message_stop"
        case ChatRetrying(attempt=attempt, delay=delay, error=error):
            assert (attempt, delay, str(error)) == (1, 0.5, "cut")
        case ChatDone(message=answer):
            assert answer is DATA
        case ChatFailed(error=error):
            assert str(error) == "cut"
        case ChatCancelled(reason=reason, partial=partial):
            assert (reason, partial) == ("enough", None)
        case _:
            pytest.fail("no case fits")


def test_whatever_has_tell_is_a_subscriber_and_nothing_else() -> None:
    ref = Reader.start(Inbox())
    assert isinstance(ref, Subscriber)
    assert isinstance(Inbox(), Subscriber)
    ref.stop()
    others: list[Any] = [queue.Queue[int](), print, [], None, 5]
    for other in others:
        assert not isinstance(other, Subscriber)
