"""The actor of one call: a daemon thread that runs it."""

from __future__ import annotations

import itertools
import queue
import threading
from typing import TYPE_CHECKING, Any

import pykka

# They have forks wait for locks: that of pykka's registry, and our own.
import anthropix_actors._tasks.actor  # pyright: ignore[reportUnusedImport]
import anthropix_actors._tasks.mailbox  # noqa: F401 # pyright: ignore[reportUnusedImport]
from anthropix_actors._tasks.contained import ContainedActor

if TYPE_CHECKING:
    from anthropix_actors.tools.tool_call import ToolCall

_RUN = object()
_numbers = itertools.count()


class ToolRef(pykka.ActorRef["ToolActor"]):
    """The ref of a call's actor: stopping it cancels the call, and waits for no tool."""

    def __init__(self, actor: ToolActor, call: ToolCall) -> None:
        """Refs are made with their actors."""
        super().__init__(actor)
        self._call = call

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002 - as pykka has it
        """Cancel the call, and have the actor stop when its function has ended."""
        self._call.cancel("stopped")
        stopped = super().stop(block=False)
        return True if block else stopped


class ToolActor(ContainedActor):
    """The actor that runs one call."""

    use_daemon_thread = True  # else a function that never ends would keep the process from exiting

    def __init__(self, call: ToolCall) -> None:
        """Put the start message first in the mailbox."""
        super().__init__()
        self._call = call
        self._ref = call.ref = ToolRef(self, call)
        self._ref.tell(_RUN)

    @staticmethod
    def _create_actor_inbox() -> Any:
        return queue.SimpleQueue()

    @property
    def actor_ref(self) -> Any:
        """The ref of our own class: the registry has it, so `stop_all()` cancels the call."""
        return self._ref

    def _start_actor_loop(self) -> None:
        name = f"anthropix-tool-{self._call.name}-{next(_numbers)}"
        threading.Thread(target=self._actor_loop, name=name, daemon=self.use_daemon_thread).start()

    def on_receive(self, message: Any) -> Any:
        """Run the call; no other message is expected."""
        if message is not _RUN:
            return super().on_receive(message)
        self._call.run()
        self.stop()
        return None
