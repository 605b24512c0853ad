"""What is to be done, and waits until what it follows from is in the log. Pure.

What ends or cuts something waits for no log: then all that is before it is done at once, but for what would begin.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from anthropix_actors.conversation.core import moves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.conversation.core.moves import Effect


class Pending:
    """Effects in order, each with the number of entries that the log is to have first.

    Attributes:
        durable: How many it has for good.

    Example:
        >>> pending = Pending(durable=1)
        >>> pending.add(moves.Ask(1, ()), 2)
        >>> [*pending.ready()]
        []
        >>> pending.hurry()
        >>> [*pending.ready()]
        [DropAsk(turn=1)]
    """

    def __init__(self, durable: int = 0) -> None:
        """Start with nothing to do."""
        self.durable = durable
        self._effects: deque[tuple[int, Effect]] = deque()

    def add(self, effect: Effect, number: int) -> None:
        """Have one more effect wait until the log has so many entries."""
        self._effects.append((number, effect))

    def ready(self) -> Iterator[Effect]:
        """Take those that need not wait, one by one."""
        while self._effects and self._effects[0][0] <= self.durable:
            yield self._effects.popleft()[1]

    def hurry(self) -> None:
        """Let none of them wait; what would begin does not, unless it need not wait anyway."""
        waiting, self._effects = self._effects, deque()
        for number, effect in waiting:
            late = number > self.durable
            if late and isinstance(effect, moves.Ask):
                self.add(moves.DropAsk(effect.turn), 0)
            elif not (late and isinstance(effect, moves.StartCall)):
                self.add(effect, 0)


def hurries(effect: Effect) -> bool:
    """Return whether an effect waits for no log.

    Example:
        >>> hurries(moves.CutChat("enough")), hurries(moves.EndTurn(1, "done"))
        (True, False)
    """
    ends = isinstance(effect, moves.EndTurn) and effect.how in {"cancelled", "suspended"}
    return ends or isinstance(effect, moves.CutChat)
