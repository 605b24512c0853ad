"""What a hub refuses before it does anything."""

from __future__ import annotations

import math
from typing import Any

import pytest

from anthropix_actors import Hub, ParameterError
from anthropix_actors.stores import MemoryStore

from actors import ASK


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"lease": 0}, "lease: expected seconds above 0"),
        ({"lease": True}, "lease"),
        ({"ttl": -1}, "ttl"),
        ({"patience": math.inf}, "patience"),
        ({"patience": "1"}, "patience"),
        ({"window": 0}, "window: expected an integer from 1"),
        ({"window": True}, "window"),
        ({"window": 1.5}, "window"),
        ({"holder": ""}, "holder"),
        ({"holder": "h" * 201}, "holder: expected 1 to 200 characters, got 201"),
        ({"queue": "a\nb"}, "queue"),
        ({"store": object()}, "store: expected a store, such as MemoryStore"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], place: str) -> None:
    with pytest.raises(ParameterError, match=place):
        make: Any = Hub
        make(**{"store": MemoryStore(), **options})


@pytest.mark.parametrize("name", ["", "a\nb", "a" * 251, "a/inbox", "a/wake", None, 7])
def test_names_of_no_chat_are_refused(name: Any) -> None:
    with Hub(MemoryStore()) as hub:
        for call in (hub.to, hub.follow, hub.ref, hub.cancel, hub.status, hub.delete, hub.result):
            with pytest.raises(ParameterError, match="name: expected"):
                call(name)
        assert hub.names() == []
        assert hub.holder.startswith("hub-")
        assert Hub(MemoryStore(), holder="me").holder == "me"


def test_the_longest_name_of_a_hub_has_room_for_its_own_logs() -> None:
    with Hub(MemoryStore(), holder="h" * 200) as hub:
        hub.submit(ASK, id="a")
        hub.after_fork()
        hub.submit(ASK, id="b")
        with pytest.raises(TimeoutError):
            hub.result("a", timeout=0.01)
        assert hub.metrics().read_failures == 0
