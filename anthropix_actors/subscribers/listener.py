"""An actor to subclass, with a method for each thing that happens in what it follows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pykka

from anthropix_actors._checks.migration_hints import missing
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.contained import ContainedActor
from anthropix_actors._tasks.runs import Run, RunInbox
from anthropix_actors.chat.messages import ChatEvent
from anthropix_actors.subscribers.handlers import Handlers

if TYPE_CHECKING:
    from pykka._actor import ActorInbox

_NO_SUPER = "call super().__init__() first in the __init__ of its class"


class Listener(Handlers, ContainedActor):
    """An actor to subclass: a subscriber with a method for each thing that happens. Override those that you need.

    It is a `pykka.ThreadingActor`: `start()` returns the ref to subscribe, every method runs in the actor's own thread,
    one at a time, and one listener may follow any number of chats, batches and sessions. Of each, exactly one of the
    last three methods of its kind is called, and it is the last. Messages of your own arrive in `on_message`, or
    anywhere that pykka would send them: `ask`, proxies and an `on_receive` of yours work as in any actor, if that calls
    `super().on_receive(message)` for what is not its own.

    What a method raises ends the actor, as pykka does it: it is logged (on `anthropix_actors`), `on_failure` is called,
    and what it followed is cancelled, unless others follow it, too. So does a `SystemExit` or the like, for which pykka
    would stop every actor: `on_failure` gets a `RuntimeError` with it as its cause.

    The actor does not keep the interpreter from exiting. Its mailbox is a `queue.SimpleQueue`, the quickest there is;
    events that arrived together cross it as one message, though each calls its methods, and counts in the window, of
    which an empty mailbox takes four at once.

    Raises:
        TypeError: when a subclass is made with an `async def` or a `yield` in these methods, or with other arguments.
            A name that is nearly one of these, or another library's word for it, is a `UserWarning`.

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

    if not TYPE_CHECKING:  # pragma: no branch
        __getattr__ = missing(dict.fromkeys(("actor_ref", "_actor_ref"), _NO_SUPER))

    @staticmethod
    def _create_actor_inbox() -> ActorInbox:
        return RunInbox()

    def _anthropix_receive(self, message: Any) -> Any:
        """Handle a message as pykka does, but look first for what comes most often."""
        kind = type(message)
        if kind is ChatEvent:
            return self.on_receive(message)
        return self._anthropix_handle_run(message) if kind is Run else super()._anthropix_receive(message)

    def _anthropix_handle_run(self, run: Run) -> None:
        """Handle messages that were told at once, each as if it had come by itself."""
        inbox: Any = self.actor_inbox
        messages = inbox.unpacked(run)
        if _is(self.on_receive, Listener.on_receive) and _is(self.handle, Handlers.handle):
            self._anthropix_handle_all(messages)
            return
        for message in messages:
            self.on_receive(message)

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


def _is(method: object, function: object) -> bool:
    """Return whether a method is that one, and was not overridden."""
    return getattr(method, "__func__", None) is function


publish("anthropix_actors.subscribers", (Listener,))
