"""Subscribers of one task alone: that for which they were first given. Each other is refused before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors._foreign.raised import is_a
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from anthropix_actors._tasks.task import Task

_SECOND = (
    "expected one aio() for each chat, turn, batch or session, got one that follows another already: make one more"
)
_OVER = "expected an aio() that is new, got one whose loop is over: make one more"


class OfOne:
    """A subscriber of one task alone. Any thread."""

    of_one = True
    """It ends with the first terminal message: a conversation, which has many, refuses it."""

    _of: Task | None = None

    def take_for(self, task: Task) -> None:
        """Follow this task, and no other.

        Raises:
            ParameterError: it follows another, or has ended.
        """
        if vars(self).setdefault("_of", task) is not task:  # in one step, as two threads may come
            raise ParameterError([Problem("aio()", _SECOND)])
        if not self.is_alive():
            raise ParameterError([Problem("aio()", _OVER)])

    def give_back(self, task: Task) -> None:
        """Follow this task no longer, which did not begin: it may follow another."""
        if self._of is task:
            del self._of

    def is_alive(self) -> bool:
        """Return whether it may still be told anything."""
        raise NotImplementedError


def one_of(subscriber: object) -> OfOne | None:
    """Return a subscriber if it is of one task alone. Asks it nothing: it may be any object."""
    return subscriber if is_a(subscriber, OfOne) else None
