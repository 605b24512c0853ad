"""Refs of actors that take no messages but pykka's own: what would be lost in silence is refused where it is said."""

from __future__ import annotations

import sys
from typing import Any, ClassVar, TypeVar

import pykka
from pykka.messages import ProxyCall

from anthropix_actors._foreign.log import shown

A = TypeVar("A", bound=pykka.Actor)

SAID = "<said>"
"""Stands for what was said in a text that says how to say it."""


class UntoldRef(pykka.ActorRef[A]):
    """A ref whose actor is not for its users to tell or ask anything: they have its methods.

    What pykka itself says goes through: to stop, a proxy's calls, and what `ActorRegistry.broadcast` tells every actor.
    """

    say_instead: ClassVar[str] = "its methods do all that can be done with it"
    """What to write instead of `tell` and `ask`; `SAID` in it becomes what was to be said."""

    def tell(self, message: Any) -> None:
        """Raise, unless it is a message of pykka's own. As `pykka.ActorRef.tell`.

        Raises:
            TypeError: nobody would read it; the text says what to write instead.
        """
        if not _is_called_by_pykka():
            self._refuse("tell", message)
        super().tell(message)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Raise, unless it is a message of pykka's own. As `pykka.ActorRef.ask`.

        Raises:
            TypeError: nobody would read it; the text says what to write instead.
        """
        self._refuse("ask", message)
        return super().ask(message, block=block, timeout=timeout)

    def _refuse(self, method: str, message: object) -> None:
        if type(message).__module__ != ProxyCall.__module__:
            instead = self.say_instead.replace(SAID, shown(message) if isinstance(message, str) else '"..."')
            raise TypeError(f"{type(self).__name__}.{method}() does not reach the model: {instead}")


def _is_called_by_pykka() -> bool:
    """Return whether the `tell` of the caller's caller was pykka's: a broadcast, which must reach the other actors."""
    return str(sys._getframe(2).f_globals.get("__name__")).startswith("pykka.")  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
