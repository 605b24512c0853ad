"""Refs of actors that take no messages but pykka's own: what would be lost in silence is answered with what to do."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, TypeVar

import pykka
from pykka.messages import ProxyCall

from anthropix_actors._foreign.log import log, shown

A = TypeVar("A", bound=pykka.Actor)

SAID = "<said>"
"""Stands for what was said in a text that says how to say it."""


class UntoldRef(pykka.ActorRef[A]):
    """A ref whose actor is not for its users to tell or ask anything: they have its methods.

    What pykka itself says, to stop it or for a proxy, goes through.
    """

    say_instead: ClassVar[str] = "its methods do all that can be done with it"
    """What to write instead of `tell` and `ask`; `SAID` in it becomes what was to be said."""

    def tell(self, message: Any) -> None:
        """Log a warning that says what to write instead, unless it is a message of pykka's own.

        It does not raise: `ActorRegistry.broadcast`, and loops like it, tell every actor that there is.
        """
        if not _is_pykkas(message):
            log(logging.WARNING, "%s", self._refusal("tell", message))
        super().tell(message)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Raise, unless it is a message of pykka's own. As `pykka.ActorRef.ask`.

        Raises:
            TypeError: nobody would read it; the text says what to write instead.
        """
        self._refuse("ask", message)
        return super().ask(message, block=block, timeout=timeout)

    def _refuse(self, method: str, message: object) -> None:
        if not _is_pykkas(message):
            raise TypeError(self._refusal(method, message))

    def _refusal(self, method: str, message: object) -> str:
        instead = self.say_instead.replace(SAID, shown(message) if isinstance(message, str) else '"..."')
        return f"{type(self).__name__}.{method}() does not reach the model: {instead}"


def _is_pykkas(message: object) -> bool:
    return type(message).__module__ == ProxyCall.__module__
