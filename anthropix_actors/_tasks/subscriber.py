"""The types that may subscribe, and the check of a subscriber."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import pykka

from anthropix_actors._checks.subscriber_hints import no_subscriber
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import Problem


@runtime_checkable
class Subscriber(Protocol):
    """Anything with a `tell` method that takes one message. A `pykka.ActorRef` is one.

    `tell` is called from the chat's thread, one message at a time. It should return soon: while it runs, its chat reads
    nothing. If it raises, the subscriber counts as dead and gets no more messages.
    """

    def tell(self, message: Any, /) -> None:
        """Take one message."""


def subscriber_problems(
    subscriber: object, place: str, expected: str = "something with a tell method"
) -> list[Problem]:
    """Return the problems of an object given as a subscriber.

    Args:
        subscriber: The object.
        place: The name of its parameter, for the error.
        expected: What the parameter may be, for the error.
    """
    if (what := no_subscriber(subscriber)) is not None:
        return [Problem(place, f"expected {expected}, got {what}")]
    if isinstance(subscriber, pykka.ActorRef) and not subscriber.is_alive():
        return [Problem(place, f"expected an actor that is alive, got {subscriber}, which has stopped")]
    return []


publish("anthropix_actors.messages", (Subscriber,))
