"""The ref of a conversation."""

from __future__ import annotations

import copy
import json
import weakref
from typing import TYPE_CHECKING, Any

import msgspec
from pykka._envelope import Envelope

from anthropix_actors._cancel.scope import as_reason, deadline_of
from anthropix_actors._checks.call_errors import explains
from anthropix_actors._checks.migration_hints import OF_A_CONVERSATION, missing
from anthropix_actors._checks.subscriber_hints import no_subscriber
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.untold import SAID, UntoldRef
from anthropix_actors._tasks.waits import task_of, wait
from anthropix_actors.conversation.core.history import may_end_at
from anthropix_actors.conversation.follower import of_one_problems
from anthropix_actors.conversation.said import FORMAT, checked_answer, checked_content, checked_when
from anthropix_actors.conversation.turn_ref import TurnRef
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.conversation.actor import ConversationActor
    from anthropix_actors.conversation.core.state import When
    from anthropix_actors.conversation.messages import Approval
    from anthropix_actors.conversation.talk import Talk
    from anthropix_actors.usage import Usage


class ConversationRef(UntoldRef["ConversationActor"]):
    """A conversation: an actor with a history. All methods may be called from any thread.

    It is a `pykka.ActorRef`; `stop()` (and with it `ActorRegistry.stop_all()`) ends the turn that runs first.

    Example:
        >>> talk = client.converse(clerk)
        >>> talk.say("Hello").result()["stop_reason"]
        'end_turn'
        >>> [message["role"] for message in talk.history()]
        ['user', 'assistant']
    """

    say_instead = f"use talk.say({SAID})"

    def __init__(self, actor: ConversationActor, talk: Talk) -> None:
        """Refs are returned by `Client.converse`; do not make one yourself."""
        super().__init__(actor)
        self._talk = talk

    def __repr__(self) -> str:
        """Show what it is doing, and how long its history is."""
        state = self._talk.state
        tag = "" if self._talk.tag is None else f"{self._talk.tag!r}, "
        return f"<ConversationRef {tag}{state.phase.value}, {len(state.messages)} messages>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Return whether both are refs of one conversation."""
        return isinstance(other, ConversationRef) and other.actor_urn == self.actor_urn

    def __hash__(self) -> int:
        """Go with `==`."""
        return hash(self.actor_urn)

    @explains("say", {"content": 'talk.say("...")'})
    def say(self, content: str | Sequence[Any], *, when: When = "next", output: Any = None) -> TurnRef:
        """Say something, and return the turn that it belongs to. Returns at once.

        Without a turn that runs, it begins one. In the middle of one, `when` decides.

        Args:
            content: A text, or content blocks: images, documents, results of calls that are yours.
            when: "next": at the next boundary of the running turn, after the results of its calls. "idle": in a turn of
                its own, after those before it. "now": the answer is cut, calls are cancelled, and the model hears it.
            output: A dataclass, a TypedDict or a msgspec Struct, as for `Client.chat`: the type of the turn's answer.

        Returns:
            The turn: the one that runs, for what is said in its middle.

        Raises:
            ParameterError: it cannot be sent; it names every place, and nothing was said.
            ConfigurationError: the conversation has stopped, or its client is closed.

        Example:
            >>> talk = client.converse(clerk)
            >>> turn = talk.say("Count to a million.")
            >>> talk.say("In French, please.", when="idle").result()["role"]
            'assistant'
        """
        return self._talk.say(checked_content(content, self._talk.core.api_version), checked_when(when), output)

    if not TYPE_CHECKING:  # pragma: no branch
        __getattr__ = missing(OF_A_CONVERSATION)

    @property
    def turns(self) -> list[TurnRef]:
        """The turn that runs, and those that wait for it, in the order in which they were said.

        Right after `Client.converse` with a store, these are the turns of before that go on.
        """
        return [turn.ref for turn in list(self._talk.turns.values())]

    @property
    def tag(self) -> str | None:
        """The tag that was given to `Client.converse`, or None."""
        return self._talk.tag

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel the turn that runs, in any phase. Returns at once; the conversation goes on.

        Returns:
            Whether there was one, and this call cancelled it.
        """
        turn = self._talk.turns.get(self._talk.state.turn)
        return turn is not None and turn.cancel(as_reason(reason))

    def answer(self, approval: Approval, *, allow: bool, by: str | None = None) -> None:
        """Approve or deny a call that waits for it; the first answer counts.

        Args:
            approval: From `ApprovalNeeded`.
            allow: Whether it may run.
            by: Who decides, for `ApprovalGiven`, and for the model if it is denied.

        Raises:
            ParameterError: it was decided before, or its turn is over; or it is not the approval that was asked for.
        """
        checked_answer(approval, allow=allow, by=by)
        self._talk.decide(approval, allow=allow, by=by)

    def subscribe(self, subscriber: Subscriber, *, coalesce: bool = False) -> None:
        """Let one more subscriber follow this conversation: the turn that runs, and all that come.

        One that follows it already goes on as it is; so it is told nothing twice.

        Args:
            subscriber: Anything with `tell(message)`, such as an `ActorRef`.
            coalesce: Merge neighbouring deltas while it is busy. For actors.

        Raises:
            TypeError: `subscriber` has no `tell`.
            ParameterError: it follows one turn only, as `aio()` does.
        """
        if (what := no_subscriber(subscriber)) is not None:
            raise TypeError(f"subscriber: expected something with a tell method, got {what}")
        if problems := of_one_problems(subscriber, "subscriber"):
            raise ParameterError(problems)
        self._talk.add_subscriber(subscriber, coalesce=coalesce)

    def unsubscribe(self, subscriber: Subscriber, reason: str = "unsubscribed") -> None:
        """Detach a subscriber; it gets no terminal message. A turn without any other is cancelled."""
        self._talk.remove_subscriber(subscriber, reason)

    def history(self) -> list[dict[str, Any]]:
        """Return the messages so far, a copy: legal for the API at every instant, even in the middle of a turn.

        Calls without an outcome have results that say so.
        """
        copy: list[dict[str, Any]] = json.loads(json.dumps(self._talk.messages()))
        return copy

    def history_json(self) -> str:
        """Return the history as JSON, for `Client.converse(agent, history=...)`, perhaps in another program."""
        return json.dumps({"format": FORMAT, "messages": self._talk.messages()}, ensure_ascii=False)

    def usage(self) -> Usage:
        """Return the tokens of all turns so far."""
        return self._talk.usage()

    def __enter__(self) -> Self:
        """Return the conversation itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the conversation, without waiting for that."""
        self.stop(block=False)

    def fork(self, at: TurnRef | int | None = None) -> ConversationRef:
        """Begin another conversation with the same agent and subscribers, and the history up to here, or to `at`.

        So an earlier question can be asked again, in other words.

        Args:
            at: A turn, for what was before it; or how many messages of `history()`, each call in which must have its
                result; None for all.

        Raises:
            ParameterError: the history cannot end there.

        Example:
            >>> talk = client.converse(clerk)
            >>> hello = talk.say("Hello")
            >>> _ = hello.result()
            >>> again = talk.fork(at=hello)
            >>> again.say("Good morning").result()["role"], len(talk.history())
            ('assistant', 2)
        """
        talk, messages = self._talk, self._talk.messages()
        place: Any = len(messages) if at is None else at
        if isinstance(at, TurnRef):
            task: Any = task_of(at)
            place = min(task.began_at, len(messages)) if task.talk is talk and task.began_at is not None else None
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place <= len(messages):
            what = f"expected a turn of this conversation that has begun, or 0 to {len(messages)} messages, got {at!r}"
            raise ParameterError([Problem("at", what)])
        if not may_end_at(messages, place):
            raise ParameterError([Problem("at", f"message {place} has calls, whose results are in the next one")])
        forked: ConversationRef = talk.start(
            talk.core, talk.agent, talk.new_chat, messages=messages[:place], tag=talk.tag, subscribers=talk.subscribers
        )
        return forked

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """End the conversation. As `pykka.ActorRef.stop`.

        A turn that waits for approvals only is suspended, any other one is cancelled; what was said for later turns is
        handed back in their `TurnCancelled`s.
        """
        was_alive = self.is_alive()
        self._talk.stop("the conversation was stopped")
        if block:
            wait(self.actor_stopped, deadline_of(timeout))
        return was_alive


class Left(msgspec.Struct, frozen=True):
    """Nobody refers to the conversation any more."""


def new_ref(talk: Talk) -> ConversationRef:
    """Return a ref for those who talk. When it is collected, the conversation ends with its last turn.

    The one that the actor has is in pykka's registry as well, and so is never collected.
    """
    actor = talk.actor
    ref: ConversationRef = copy.copy(actor)
    # In any thread, at any allocation: a `SimpleQueue` is made for that, and nothing else of it takes no lock.
    gone = weakref.finalize(ref, actor.actor_inbox.put, Envelope(Left()))
    gone.atexit = False
    return ref


publish("anthropix_actors", (ConversationRef,))
