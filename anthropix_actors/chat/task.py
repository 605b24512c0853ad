"""The state of one chat, shared by its actor, its refs and the sweeper.

One lock guards the answer so far, the subscribers and the terminal message together; so a subscriber that joins late
misses nothing and gets nothing twice.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.threads import in_background
from anthropix_actors._tasks.task import Task
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.chat.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed, ChatResumed
from anthropix_actors.errors import CancelledError, OutputError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.request import Request
    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.task import State
    from anthropix_actors._wire.events import Event
    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.block import PartialBlock
    from anthropix_actors.chat.messages import Terminal
    from anthropix_actors.chat.resume import ResumePlan
    from anthropix_actors.errors import AnthropixError

    PlanResume = Callable[[Mapping[str, Any], Mapping[str, Any], Sequence[PartialBlock]], ResumePlan | None]


class ChatTask(Task):
    """The state of one chat.

    Attributes:
        window: How many messages a subscriber may be behind.
        request: The request.
        decode: Returns the output, decoded from the whole Message, or raises an `OutputError`; None without an output.
        plan_resume: Returns how an answer that was cut off is resumed; None if no such answer is.
        resumed: Whether one was.
        answer: The Message so far.
        lost: The beginnings of answers that were cut off before their content, in attempts that were retried.
    """

    what = "chat"
    resumed = False
    lost: tuple[Mapping[str, Any], ...] = ()

    def __init__(  # noqa: PLR0913 - the parts of the state
        self,
        core: ClientCore,
        request: Request,
        body: Mapping[str, Any],
        *,
        tag: str | None = None,
        decode: Callable[[Message], Any] | None = None,
        plan_resume: PlanResume | None = None,
    ) -> None:
        """Start without an answer. `body` is the request's body, from which a governor guesses its tokens."""
        super().__init__(core.transport, CancelScope(), request.timeout, tag=tag, ledger=core.ledger)
        self.slots = core.slots
        self.window = core.window
        self.request = request
        self.decode = decode
        self.plan_resume = plan_resume
        self.answer = Accumulator()
        if core.governor is not None:
            patience = request.retry.max_retry_after
            throttle = core.governor.let_through(body, self.scope, patience=patience, usage=self.answer.usage)
            self.requester.throttle = throttle or self.requester.throttle

    def cancelled_message(self, error: CancelledError) -> Terminal:
        """Return the terminal message of a chat that was cancelled."""
        return ChatCancelled(self.ref, error.reason, error.partial)

    def failed_message(self, error: AnthropixError) -> Terminal:
        """Return the terminal message of a chat that failed."""
        return ChatFailed(self.ref, error)

    def done_message(self, message: Message) -> Terminal:
        """Return the terminal message of a complete answer."""
        try:
            output = None if self.decode is None else self.decode(message)
        except OutputError as exc:
            return ChatFailed(self.ref, self.annotated(exc))
        return ChatDone(self.ref, message, output, self.resumed)

    def annotated(self, error: AnthropixError) -> AnthropixError:
        """Add the Message so far and the details of the request to an error."""
        super().annotated(error)
        with contextlib.suppress(Exception):  # a bug there must not hide the end of the chat
            error.partial = error.partial or self.snapshot()
        return error

    def publish(self, events: list[Event]) -> None:
        """Add events to the answer, and deliver them; may wait for a slow subscriber. In the chat's thread.

        Raises:
            ProtocolError: one of them does not fit; those before it were delivered.
        """
        error: ProtocolError | None = None
        with self.lock:
            deliveries = self.audience.deliveries
            for index, event in enumerate(events):
                try:
                    self.answer.add(event)
                except ProtocolError as exc:
                    error, events = exc, events[:index]
                    break
        queues: list[Any] = [each for each in deliveries if each.takes_events]
        if len(queues) < len(deliveries):
            self.audience.tell_all([ChatEvent(self.ref, event) for event in events], deliveries)
        for queue in queues:
            queue.tell_events(events)
        if error is not None:
            raise error

    def resume_from(self, more: ResumePlan, usage: Mapping[str, Any]) -> None:
        """Go on with the events of another answer, and announce that. In the chat's thread."""
        with self.lock:
            self.answer.resume_from(more.kept, usage)
            self.resumed = True
            deliveries = self.audience.deliveries
        self.audience.tell(ChatResumed(self.ref, self.requester.attempts, more.kept), deliveries)

    def snapshot(self) -> Message | None:
        """Return a copy of the Message so far; None before there is any."""
        with self.lock:
            return self.answer.snapshot()

    def delivery_to(self, subscriber: Subscriber, *, window: int | None = None, coalesce: bool = False) -> Delivery:
        """Return a new delivery to a subscriber, with the `window` of the client by default."""
        with late_import():
            from anthropix_actors._tasks.mailbox import Mailbox, delivery_to

            mailbox: Callable[..., Delivery] = Mailbox
            if coalesce:
                from anthropix_actors.chat.coalescing import CoalescingMailbox

                mailbox = CoalescingMailbox
        return delivery_to(subscriber, self.scope, window=window or self.window, to_actor=mailbox)

    def attach(self, delivery: Delivery) -> None:
        """Deliver the events so far to a new subscriber, and all later ones.

        The events so far are queued under the lock, so that none can come between, and sent without it: by a thread
        made for that, or by the chat's thread if that has more to deliver. Not by the caller's thread: a `tell` that
        blocks would block it, and an interrupt would keep the subscriber from the terminal message.

        One that is a subscriber already stays as it is.

        Raises:
            ParameterError: it is of another task alone.
        """
        self.expect_several()
        with self.lock:
            if self.audience.includes(delivery.subscriber):
                return
            delivery.put(*[ChatEvent(self.ref, event) for event in self.answer.replay()])
            self.audience.attach(delivery)
        if not in_background(partial(self.audience.drain, delivery), "anthropix-told"):
            self.audience.drain(delivery)

    def expect_several(self) -> None:
        """Let no subscriber hold up the others: from now on there may be several."""
        with late_import():
            from anthropix_actors.chat.merging import MergingQueue

        self.keep = MergingQueue

    def _doing(self) -> State:
        return "answering" if self.requester.headers else "sent"
