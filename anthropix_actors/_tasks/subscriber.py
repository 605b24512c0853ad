"""The types that may subscribe, and the check of a subscriber."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, runtime_checkable

import pykka

from anthropix_actors._foreign.late_imports import late_import
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


class OwnSubscriber:
    """A subscriber of this library. It says at once whether it has ended, without code of the caller."""

    def hears_no_more(self) -> bool:
        """Return whether it was closed, or has failed: what it is told, nobody hears. Any thread; never waits."""
        raise NotImplementedError


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
    if isinstance(subscriber, OwnSubscriber) and subscriber.hears_no_more():
        return [
            Problem(place, f"expected a subscriber that is alive, got {subscriber}, which was closed or has failed")
        ]
    return []


def no_subscriber(given: object) -> str | None:
    """Return what a wrong subscriber is, and a hint; None if it has a `tell` that can be called."""
    with late_import():
        from anthropix_actors._checks import subscriber_hints

    return subscriber_hints.no_subscriber(given)


def handled_in(subscriber: object) -> int | None:
    """Return the ident of the thread that handles what a subscriber is told; None where it does not say so.

    It says so in an attribute of this name, as those for windows do. Runs none of its code: the caller may hold a lock.
    """
    ident = inspect.getattr_static(subscriber, "handled_in", None)
    return ident if type(ident) is int else None


publish("anthropix_actors.messages", (Subscriber,))
