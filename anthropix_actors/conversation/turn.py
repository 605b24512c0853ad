"""The state of one turn, shared by the conversation's actor, its refs and the sweeper."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.threads import in_background
from anthropix_actors._http.request import Timeout
from anthropix_actors._tasks.task import Task
from anthropix_actors.conversation.follower import Follower
from anthropix_actors.conversation.messages import ToolDone, ToolProgress, TurnCancelled, TurnFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._tasks.task import State
    from anthropix_actors.conversation.budget import Budget
    from anthropix_actors.conversation.messages import ToolUse
    from anthropix_actors.conversation.request import RequestTask
    from anthropix_actors.conversation.talk import Talk
    from anthropix_actors.errors import AnthropixError, CancelledError


class TurnTask(Task):
    """The state of one turn. The conversation's thread drives it; it has none of its own.

    Attributes:
        talk: The conversation.
        number: The number of the turn.
        budget: What it may spend.
        toolbox: Its tools, since it has begun.
        output: The type that its last answer is decoded into, or None.
        began_at: How many messages the conversation had before it; None before it begins.
        calls: Its calls, each a `ToolCall` or a `SubAgentCall`, by id.
        told: Its own messages so far, for those who join late.
        chat: The task of the request that runs, or ran last; None before the first.
        followers: Its subscribers.
    """

    what = "turn"
    patience = 5.0  # its conversation ends it, which waits for nothing but the end of its chat

    def __init__(self, talk: Talk, number: int, budget: Budget, *, output: Any = None) -> None:
        """Start with no request, and told nobody."""
        super().__init__(talk.core.transport, CancelScope(), Timeout(total=None), tag=talk.tag)
        self.talk = talk
        self.number = number
        self.budget = budget
        self.output = output
        self.toolbox = talk.toolbox
        self.told: list[Any] = []
        self.began_at: int | None = None
        self.calls: dict[str, Any] = {}
        self.chat: RequestTask | None = None
        self.followers: tuple[Follower, ...] = ()
        self._done: set[tuple[tuple[str, ...], str]] = set()  # the calls whose ends were told
        self._time_is_up = False
        self.audience.waiting.add(self)  # it goes on without subscribers, unless it had some, and all have left

    # The task

    def cancelled_message(self, error: CancelledError) -> Any:
        """Return the terminal message of a turn that was cancelled, where its conversation did not make it."""
        return TurnCancelled(self.ref, error.reason, self.budget.usage)

    def failed_message(self, error: AnthropixError) -> Any:
        """Return the terminal message of a turn that failed in itself."""
        return TurnFailed(self.ref, error, self.budget.usage)

    @property
    def state(self) -> State:
        """What the turn is doing."""
        return "running" if self.terminal is None else super().state

    def cancel(self, reason: str) -> bool:
        """Cancel the turn: its chat, its calls, its sub-agents. Returns at once. Any thread."""
        first = super().cancel(reason)
        if first:
            self.talk.cancel(self.number, reason)
            chat = self.chat
            if chat is not None:  # here as well: the conversation's thread may be busy
                chat.cancel(reason)
        return first

    def is_held_by(self, actors: set[str]) -> bool:
        """Return whether a call of it is run by one of these actors, or by a sub-agent's that is."""
        return any(call.is_run_by(actors) for call in list(self.calls.values()))

    def sweep(self, now: float) -> None:
        """Look for subscribers that have died, and for time that has run out. In the sweeper's thread."""
        super().sweep(now)
        if self.terminal is None:
            self.talk.look(self, now)
        elif self.audience.delivered.is_set():  # by another thread
            SWEEPER.unwatch(self)

    def cancel_and_join(self, reason: str) -> Callable[[float], object]:
        """Cancel; return a function that waits until the subscribers know."""
        deliveries = self.audience.deliveries
        if self.talk.state.is_waiting:  # for people: it may go on elsewhere
            self.talk.stop(reason)
        else:
            self.cancel(reason)

        def join(timeout: float) -> None:
            deadline = time.monotonic() + timeout
            self.audience.delivered.wait(timeout)
            for delivery in deliveries:
                delivery.flush(max(0.0, deadline - time.monotonic()))

        return join

    def _stop_actor(self) -> None:
        """Do nothing: the actor is the conversation's."""

    def is_late(self, now: float) -> bool:
        """Return whether its time has just run out: once. In the sweeper's thread."""
        deadline = self.budget.deadline
        if self._time_is_up or deadline is None or now < deadline:
            return False
        self._time_is_up = True
        return True

    # Subscribers. Any thread

    def follow(self, subscriber: Subscriber, *, window: int, coalesce: bool = False) -> None:
        """Tell a subscriber what has been told, and what is to come. One that is told already stays as it is.

        Raises:
            ParameterError: it follows another alone.
        """
        follower = Follower(subscriber, self.scope, window=window, coalesce=coalesce)
        with self.lock:
            if self._is_told(subscriber):
                return
            follower.own.put(*self.told)
            self.audience.attach(follower.own)
            chat = self.chat
            if self.terminal is None:
                self.followers = (*self.followers, follower)
                self.audience.waiting.discard(self)
        join = partial(self._join, follower, chat)
        if not (follower.may_block and in_background(join, "anthropix-told")):
            join()

    def _is_told(self, subscriber: Subscriber) -> bool:
        mine = [each.own for each in self.followers if each.is_of(subscriber)]
        return any(each in mine and not each.detached for each in self.audience.deliveries)

    def _join(self, follower: Follower, chat: RequestTask | None) -> None:
        """Tell what was told, and only then what there is of the answer that streams."""
        self.audience.drain(follower.own)
        with self.lock:
            # A later one has it from the start; one that has ended has been told, or will be, as a whole.
            if chat is not None and chat is self.chat and chat.terminal is None and self.terminal is None:
                chat.attach(follower.delivery(chat.scope))

    def unfollow(self, subscriber: Subscriber, reason: str) -> None:
        """Tell a subscriber nothing more; cancel the turn if it was the last."""
        for follower in [each for each in self.followers if each.is_of(subscriber)]:
            self.leave_out(follower.own)
            chat = self.chat
            for delivery in () if chat is None else chat.audience.deliveries:
                if delivery.subscriber is follower.own.subscriber:
                    delivery.detach()
            self.audience.detach(follower.own, reason)

    def leave_out(self, delivery: Delivery) -> None:
        """Forget the follower whose delivery takes nothing more."""
        with self.lock:
            self.followers = tuple(each for each in self.followers if each.own is not delivery)

    def chat_begins(self, chat: RequestTask) -> None:
        """Note the chat that is about to start, and let the followers follow it. In the conversation's thread."""
        chat.expect_several()
        with self.lock:
            self.chat = chat
            chat.audience.deliveries = tuple(each.delivery(chat.scope) for each in self.followers)

    # Messages. In the conversation's thread, or a tool's

    def tell(self, message: Any) -> None:
        """Tell the subscribers a message of the turn's own. Never waits."""
        with self.lock:
            if self.terminal is not None or self._comes_late(message):
                return
            self.told.append(message)
            followers = self.followers
            for follower in followers:
                follower.own.put(message)
        for follower in followers:
            self._drain(follower.own, may_block=follower.may_block)

    def _comes_late(self, message: Any) -> bool:
        """Return whether it is progress of a call whose end was told: another thread may end a call that says more."""
        if isinstance(message, ToolDone):
            self._done.add((message.path, message.call.id))
        return isinstance(message, ToolProgress) and (message.path, message.call.id) in self._done

    def tell_progress(self, use: ToolUse, _: Any, data: Any) -> None:
        """Tell what a tool passed to `call.progress`. In the tool's thread."""
        self.tell(ToolProgress(self.ref, use, data))

    def conclude(self, terminal: Any) -> None:
        """End the turn, unless it has ended. Never waits. In the conversation's thread."""
        self.settle(terminal)
        self.finished.set()
        for delivery in self.audience.all_deliveries:
            self._drain(delivery, may_block=True)
        self.audience.note_told()
        self.leave(self.ref)
        if self.audience.delivered.is_set():
            SWEEPER.unwatch(self)
        in_background(self._log_end, "anthropix-log")

    def _drain(self, delivery: Delivery, *, may_block: bool) -> None:
        drain = partial(self.audience.drain, delivery)
        if not (may_block and in_background(drain, "anthropix-told")):
            with contextlib.suppress(Exception):
                drain()
