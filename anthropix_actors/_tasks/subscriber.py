"""The protocol of a subscriber."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from anthropix_actors._foreign.public_names import publish


@runtime_checkable
class Subscriber(Protocol):
    """Anything with a `tell` method that takes one message. A `pykka.ActorRef` is one.

    `tell` is called from the chat's thread, one message at a time. It should return soon: while it runs, its chat reads
    nothing. If it raises, the subscriber counts as dead and gets no more messages.
    """

    def tell(self, message: Any, /) -> None:
        """Take one message."""


publish("anthropix_actors.messages", (Subscriber,))
