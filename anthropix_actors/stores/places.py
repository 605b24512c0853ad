"""How far readers of logs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from anthropix_actors.stores.names import checked_name, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REMEMBERED = 20_000
"""How many places are kept for who comes again, beside those of one call."""

_REST = 2e-6
_SHORTEST_REST, _LONGEST_REST = 0.0005, 0.02


def rest_of(count: int, wait: float) -> float:
    """Return for how many seconds a reader of so many logs rests before it waits; for a few, 0.

    It is about what it costs to ask for them all once more. What comes meanwhile is read at once: so who follows a
    thousand busy logs takes half the time of a processor at most.

    Args:
        count: How many logs there are.
        wait: For how long it may wait.

    Example:
        >>> rest_of(1000, wait=60), rest_of(100, wait=60), rest_of(1000, wait=0)
        (0.002, 0.0, 0.0)
    """
    rest = min(_REST * count, _LONGEST_REST, wait)
    return rest if rest >= _SHORTEST_REST else 0.0


class Place:
    """How far a reader of a log is: a name and a cursor, checked and taken apart.

    Attributes:
        name: The log.
        after: The cursor.
        generation: The generation that it names; None for any.
        number: How many entries were read up to it.
    """

    __slots__ = ("after", "generation", "name", "number")

    def __init__(self, name: str, after: str | None) -> None:
        """Check name and cursor.

        Raises:
            ParameterError: they are none.
        """
        self.name = checked_name(name)
        self.after = after
        self.generation, self.number = place_of(after)


AnyPlace = TypeVar("AnyPlace", bound=Place)


class Places(Generic[AnyPlace]):
    """The places that were asked for last, by name.

    Who follows many logs comes again and again with the same cursors, but for a few: those are not checked again.

    Args:
        make: Makes a place of a name and a cursor, and of the place before of that name, if that is known.
    """

    def __init__(self, make: Callable[[str, str | None, AnyPlace | None], AnyPlace]) -> None:
        """Remember nothing yet."""
        self._make = make
        self._known: dict[str, AnyPlace] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._known)

    def of(self, cursors: Mapping[str, str | None]) -> dict[str, AnyPlace]:
        """Return the place of each cursor, by name.

        Raises:
            ParameterError: a name or a cursor is none.
        """
        known, places = self._known, {}
        if len(known) > _REMEMBERED + 2 * len(cursors):
            known.clear()
        for name, after in cursors.items():
            place = known.get(name)
            if place is None or place.after != after:
                place = known[name] = self._make(name, after, place)
            places[name] = place
        return places

    def forget(self, name: str) -> None:
        """Make the place of this name anew when it is asked for again."""
        self._known.pop(name, None)
