"""An actor to subclass, with a method for each thing that happens in what it follows."""

from __future__ import annotations

import logging
import queue
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.chat.messages import ChatEvent
from anthropix_actors.subscribers.handlers import Handlers

if TYPE_CHECKING:
    from pykka._actor import ActorInbox


class Listener(Handlers, pykka.ThreadingActor):
    """An actor to subclass: a subscriber with a method for each thing that happens. Override those that you need.

    It is a `pykka.ThreadingActor`: `start()` returns the ref to subscribe, every method runs in the actor's own thread,
    one at a time, and one listener may follow any number of chats, batches and sessions. Of each, exactly one of the
    last three methods of its kind is called, and it is the last. Messages of your own arrive in `on_message`, or
    anywhere that pykka would send them: `ask`, proxies and an `on_receive` of yours work as in any actor, if that calls
    `super().on_receive(message)` for what is not its own.

    What a method raises ends the actor, as pykka does it: it is logged (on `anthropix_actors`), `on_failure` is called,
    and what it followed is cancelled, unless others follow it, too.

    The actor does not keep the interpreter from exiting. Its mailbox is a `queue.SimpleQueue`, the quickest there is.

    Raises:
        TypeError: when a subclass is made with an `async def` or a `yield` in these methods, or with other arguments.

    Example:
        >>> class Reader(Listener):
        ...     said = ""
        ...     def on_text(self, chat, text):
        ...         self.said += text
        >>> reader = Reader.start()
        >>> message = client.chat(model="claude-sonnet-5", messages=hello, stream=reader).result(timeout=60)
        >>> reader.proxy().said.get(timeout=60)
        'Hello!'
        >>> reader.stop()
        True
    """

    use_daemon_thread = True

    @staticmethod
    def _create_actor_inbox() -> ActorInbox:
        return queue.SimpleQueue()

    def _handle_receive(self, message: Any) -> Any:
        """Handle a message as pykka does, but look first for what comes most often."""
        return self.on_receive(message) if type(message) is ChatEvent else super()._handle_receive(message)

    def _handle_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:  # noqa: ARG002
        """End, as pykka does it; but log it where it is seen though no logging was set up: pykka's record is not."""
        log(logging.ERROR, "%s ends, as one of its methods raised", self, exc_info=exception_value)
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()

    def on_receive(self, message: Any) -> Any:
        """Call the method for a message. Override it as in any actor, and call this for what is not your own."""
        return self.handle(message)

    def on_message(self, message: Any) -> Any:
        """Take a message of your own program; what you return is the reply to an `ask`. Without this, pykka warns."""
        return pykka.ThreadingActor.on_receive(self, message)


publish("anthropix_actors.subscribers", (Listener,))
