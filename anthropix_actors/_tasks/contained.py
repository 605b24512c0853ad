"""An actor whose code may raise anything, and harms nobody else by it.

For an exception that is no `Exception`, such as a `SystemExit`, pykka stops every actor of the process; and one of
`on_start` or `on_failure` ends the thread, and leaves the actor alive for all who ask. Here it ends this actor alone,
as any other exception does.
"""

from __future__ import annotations

import sys
from typing import Any

import pykka

from anthropix_actors._foreign.raised import kind_of


class ContainedActor(pykka.ThreadingActor):
    """A `ThreadingActor` that ends alone, whatever its code raises."""

    def _actor_loop_setup(self) -> None:
        try:
            super()._actor_loop_setup()
        except BaseException:  # noqa: BLE001 - see above
            self._handle_failure(*sys.exc_info())

    def _actor_loop_running(self) -> None:
        try:
            super()._actor_loop_running()
        except BaseException:  # noqa: BLE001 - of `on_failure`
            self._handle_failure(*sys.exc_info())

    def _handle_receive(self, message: Any) -> Any:
        try:
            return self._anthropix_receive(message)
        except Exception:
            raise
        except BaseException as exc:
            raise RuntimeError(f"the actor raised {kind_of(exc)}, which stops no other") from exc

    def _anthropix_receive(self, message: Any) -> Any:
        """Handle a message as pykka does. A subclass may look first for what comes most often."""
        return super()._handle_receive(message)
