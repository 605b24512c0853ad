"""The ref of a chat that runs elsewhere."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.chat.actor import ChatActor
from anthropix_actors.chat.ref import ChatRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Never

    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.hub._read.follow_task import FollowTask
    from anthropix_actors.hub.hub import Hub

_NO_MAILBOX = "the chat {!r} runs elsewhere: it has no mailbox here"


class LogRef(ChatRef):
    """A chat that runs elsewhere, or did: what is read of its log. All methods may be called from any thread.

    It is a `ChatRef`: wherever one may be passed, this may be. Nothing is read before somebody follows it, or waits. To
    follow it no longer, or to let go of it, ends nothing but the reading.

    Attributes:
        name: The name of the log, and so of the chat.
    """

    has_cursors = True

    def __init__(self, hub: Hub, name: str, make: Callable[[], FollowTask]) -> None:
        """Use `Hub.follow`, or `Hub.ref`."""
        self.name = name
        self.actor_urn = uuid.uuid4().urn
        self.actor_class = ChatActor  # pyright: ignore[reportAttributeAccessIssue]
        self._hub = hub
        self._make = make
        self._renew()

    def _renew(self) -> FollowTask:
        task = self._make()
        task.ref = self
        self._task = task
        self.actor_stopped = task.finished  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
        return task

    def __repr__(self) -> str:
        """Show name and state."""
        return f"<{type(self).__name__} {self.name!r}, {self.state}>"

    __str__ = __repr__

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the chat, wherever it runs. As `Hub.cancel`."""
        return self._hub.cancel(self.name, reason)

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002 - pykka's signature
        """Follow the chat no longer; it goes on."""
        self._task.cancel("stopped")
        return True

    def subscribe(self, subscriber: Subscriber, *, window: int | None = None, coalesce: bool = False) -> None:
        """Let a subscriber follow this chat. As `ChatRef.subscribe`.

        The first one is told what the log has, message by message, from its beginning or from the cursor that this ref
        was asked for with, and then follows; each message has its `cursor`. A later one first gets events that rebuild
        the answer so far. Where it is followed from a cursor, there can be one only.

        Raises:
            TypeError: `subscriber` has no `tell`.
            ParameterError: `window` or `coalesce` is wrong, or it is the second one after a cursor.
        """
        self._live()
        super().subscribe(subscriber, window=window, coalesce=coalesce)

    def tell(self, message: Never) -> None:  # noqa: ARG002 - pykka's signature
        """Raise: there is no mailbox.

        Raises:
            pykka.ActorDeadError: always.
        """
        raise pykka.ActorDeadError(_NO_MAILBOX.format(self.name))

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ARG002 - as above
        """Raise: there is no mailbox.

        Raises:
            pykka.ActorDeadError: always.
        """
        raise pykka.ActorDeadError(_NO_MAILBOX.format(self.name))

    def _live(self) -> FollowTask:
        """Return the task; another one, if the reading of this one was ended."""
        task: Any = self._task
        return self._renew() if task.has_left else task

    def _wait(self, timeout: float | None) -> Any:
        task, mine = self._live(), object()
        task.audience.waiting.add(mine)  # before it begins: nobody else may follow
        try:
            task.start()
            return super()._wait(timeout)
        finally:
            task.audience.waiting.discard(mine)
            task.audience.cancel_if_abandoned()


publish("anthropix_actors.hub", (LogRef,))
