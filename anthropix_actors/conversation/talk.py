"""The state of a conversation, shared by its actor, its refs, its chats and its calls.

What happens is put into the core under one lock, in whichever thread it happens; what is to be done about it goes into
the actor's mailbox, in the same order. So `say` knows at once which turn it belongs to, and nothing waits for anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pykka
from msgspec.structs import replace

from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._decode.json import copied
from anthropix_actors._foreign.log import log
from anthropix_actors._tasks.waits import refuse_deadlock, running_actors
from anthropix_actors.chat.messages import ChatDone, ChatFailed
from anthropix_actors.chat.output import output_format
from anthropix_actors.conversation.budget import Budget
from anthropix_actors.conversation.core import moves
from anthropix_actors.conversation.core.advance import advance, place_of
from anthropix_actors.conversation.core.history import calls_in, kept_of, settled
from anthropix_actors.conversation.core.output import KeptOutput, format_of
from anthropix_actors.conversation.core.state import Call, Phase, Said, State
from anthropix_actors.conversation.follower import is_same
from anthropix_actors.conversation.messages import Approval
from anthropix_actors.conversation.record import Spent, entry_of
from anthropix_actors.conversation.said import check_marks, check_results
from anthropix_actors.conversation.turn import TurnTask
from anthropix_actors.conversation.turn_ref import TurnRef
from anthropix_actors.errors import CancelledError, ConfigurationError, DeadlockError, ParameterError, Problem
from anthropix_actors.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.conversation.agent import Agent
    from anthropix_actors.conversation.core.state import When
    from anthropix_actors.conversation.record import Past
    from anthropix_actors.conversation.recorder import Recorder
    from anthropix_actors.conversation.request import RequestTask
    from anthropix_actors.errors import AnthropixError
    from anthropix_actors.tools import Outcome, Toolbox


_UNDER_WAY = {Phase.ASKING, Phase.CUTTING, Phase.ENDING}
"""Phases in which a request is under way: what it has cost is not known, if it is lost."""


class Effects(msgspec.Struct, frozen=True):
    """What the actor is to do, in order, when the entry is in the log. After the `last` ones, it stops."""

    todo: tuple[moves.Effect, ...]
    entry: Mapping[str, Any] | None = None
    last: bool = False


class Written(msgspec.Struct, frozen=True):
    """The log has so many entries for good."""

    count: int


class Broken(msgspec.Struct, frozen=True):
    """Nothing more will be written."""

    error: AnthropixError


class Again(msgspec.Struct, frozen=True):
    """What an effect has waited for is there: it was in its turn before."""

    effect: moves.Ask


class Released(msgspec.Struct, frozen=True):
    """The log was given up."""


class Talk:
    """The state of a conversation. Methods may be called from any thread.

    Attributes:
        core: The parts of its client.
        agent: The recipe.
        toolbox: Its tools.
        new_chat: Makes the task of a request from its parameters and a tag.
        start: Starts another conversation: a fork, or a sub-agent's.
        tag: The tag of its turns and chats.
        state: What it is, as a value.
        turns: Its turns that have not ended, by number.
        subscribers: Those that follow each turn, with whether their deltas are merged.
        parent: The budget of the turn that this is a sub-agent of, or None.
        above: The conversation that this is a sub-agent of, or None.
        askers: The sub-agents, at any depth, that wait for an approval, by the id of the call.
        actor: The ref of its actor, which the actor itself has; those who talk have others.
        left: Whether nobody has any of those: it ends with its last turn.
        recorder: Writes it into a log; None if nobody wants that.
        posted: The cursor of the entry of the inbox that is being obeyed; it is written with what comes of it.
    """

    def __init__(  # noqa: PLR0913 - the parts of the state
        self,
        core: ClientCore,
        agent: Agent,
        toolbox: Toolbox,
        new_chat: Callable[[dict[str, Any], str | None], RequestTask],
        start: Callable[..., Any],
        *,
        messages: Sequence[Mapping[str, Any]] = (),
        tag: str | None = None,
        parent: Budget | None = None,
        above: Talk | None = None,
    ) -> None:
        """Start with a history."""
        self.core = core
        self.agent = agent
        self.toolbox = toolbox
        self.new_chat = new_chat
        self.start = start
        self.tag = tag
        self.parent = parent
        self.above = above
        self.askers: dict[str, Talk] = {}
        self.state = replace(begun_by(agent, toolbox, messages), closes=parent is None)
        self.turns: dict[int, TurnTask] = {}
        self.subscribers: tuple[tuple[Subscriber, bool], ...] = ()
        self.actor: Any = None
        self.left = False
        self.recorder: Recorder | None = None
        self.posted: str | None = None
        self._lock = threading.RLock()
        self._asked: dict[str, tuple[Approval, float]] = {}  # what waits for approval, and since when
        self._since: dict[str, float] = {}  # when approvals were asked for before, on the monotonic clock
        self._spent: list[Budget] = []  # of the turns that have ended
        self._noted: dict[int, Spent] = {}  # what the log knows of it
        SWEEPER.fork_listeners.add(self)

    # What people do

    def say(self, content: Sequence[Mapping[str, Any]], when: When, output: Any) -> TurnRef:
        """Say something that was checked; return the turn that it belongs to.

        Raises:
            ParameterError: it cannot be said now.
            ConfigurationError: the conversation has stopped, or its client is closed.
        """
        with self._lock:
            self._refuse_stopped()
            check_results(self.state, content)
            check_marks(self.state, content)
            number = place_of(self.state, when)
            turn = self.turns.get(number)
            if turn is None:
                turn = self._new_turn(number, output)
            elif output is not None:
                what = 'expected None for what is said in the middle of a turn; when="idle" begins one of its own'
                raise ParameterError([Problem("output", what)])
            form = None if output is None else output_format(output)
            self.happens(moves.Say(Said(tuple(content), number, form), when))
            ref: TurnRef = turn.ref
            return ref

    @property
    def has_stopped(self) -> bool:
        """Whether it takes nothing more."""
        return self.state.phase is Phase.STOPPED or self.state.stopping

    def _refuse_stopped(self) -> None:
        if self.has_stopped:
            raise ConfigurationError("the conversation has stopped; begin another one with its history")

    def _new_turn(self, number: int, output: Any) -> TurnTask:
        if output is not None:
            format_of(output)  # refused now, not by the first request
        turn = TurnTask(self, number, Budget(self.agent.limits, self.parent), output=output)
        turn.ref = TurnRef(self.actor, turn)
        turn.leave = self.core.registry.untrack
        self.core.registry.track(turn.ref)
        try:
            turn.begin()
            SWEEPER.watch(turn)
        except BaseException:
            self.core.registry.untrack(turn.ref)
            raise
        for subscriber, coalesce in self.subscribers:
            turn.follow(subscriber, window=self.core.window, coalesce=coalesce)
        self.turns[number] = turn
        return turn

    def decide(self, approval: Approval, *, allow: bool, by: str | None) -> None:
        """Decide about a call.

        Raises:
            ParameterError: it was decided before, or nobody asks for it any more; or it is of another call.
        """
        with self._lock:
            below = self.askers.get(approval.call_id)
            if below is not None:
                below.decide(approval, allow=allow, by=by)
                return
            call = self.state.call(approval.call_id)
            if self.state.phase is not Phase.ACTING or call is None or call.status != "asks":
                what = f"{approval.call_id} was decided before, or its turn is over"
                raise ParameterError([Problem("approval", what)])
            if not call.digest == approval.digest == self._digest(approval.name, approval.input, call.runs):
                raise ParameterError([Problem("approval", "it is of another call: its digest differs")])
            self.happens(moves.Decided(call.id, allow, by, call.digest))

    def cancel(self, number: int, reason: str) -> None:
        """Cancel a turn."""
        self.happens(moves.Cancel(number, reason))

    def stop(self, reason: str, error: AnthropixError | None = None) -> None:
        """End the conversation; once is enough. With an error, a turn that runs fails."""
        with self._lock:
            if not self.has_stopped:
                self.happens(moves.Stop(reason, error))

    def close(self) -> Callable[[float], object] | None:
        """End, as the client is closed; return what waits until its log is given up, if this thread may wait for it."""
        waits = None if self.recorder is None or self._needs_this_thread() else self.recorder.wait_released
        self.stop("the client was closed")
        return waits

    def _needs_this_thread(self) -> bool:
        """Return whether it ends only when this thread goes on: its own, or one that tells or serves who follows it."""
        tasks = [task for turn in list(self.turns.values()) for task in (turn, turn.chat) if task is not None]
        try:
            for task in tasks:
                refuse_deadlock(task)
        except DeadlockError:
            return True
        return bool(self.actor.actor_urn in running_actors())

    def add_subscriber(self, subscriber: Subscriber, *, coalesce: bool) -> None:
        """Let a subscriber follow this turn and all that come."""
        with self._lock:
            if not any(is_same(each[0], subscriber) for each in self.subscribers):
                self.subscribers = (*self.subscribers, (subscriber, coalesce))
            turns = [*self.turns.values()]
        for turn in turns:
            turn.follow(subscriber, window=self.core.window, coalesce=coalesce)

    def remove_subscriber(self, subscriber: Subscriber, reason: str) -> None:
        """Tell a subscriber nothing more."""
        with self._lock:
            self.subscribers = tuple(each for each in self.subscribers if not is_same(each[0], subscriber))
            turns = [*self.turns.values()]
        for turn in turns:
            turn.unfollow(subscriber, reason)

    # What happens to it

    def happens(self, event: moves.Event) -> None:
        """Put an event into the core, and what is to be done about it into the actor's mailbox."""
        with self._lock:
            before = self.state
            begins = isinstance(event, moves.Say) and before.phase is Phase.IDLE
            number = event.said.turn if begins and isinstance(event, moves.Say) else before.turn
            effects, limit = self._advance(event, self.turns.get(number))
            for effect in effects:
                if isinstance(effect, moves.TellApproval):
                    self._ask_for(effect.call)
            changed = bool(effects) or self.state is not before
            entry = self._entry(event, effects, limit) if changed and self.recorder is not None else None
            last = self.state.phase is Phase.STOPPED
            if effects or entry or last:
                self.tell(Effects(tuple(effects), entry, last))

    def tell(self, message: Any) -> None:
        """Put something into the actor's mailbox, if it lives."""
        with contextlib.suppress(pykka.ActorDeadError):
            pykka.ActorRef.tell(self.actor, message)  # its own `tell` takes no messages

    def pass_over(self, cursor: str, why: str) -> None:
        """Note that nothing came of an entry of the inbox."""
        self.tell(Effects((), {"kind": "passed", "at": time.time(), "inbox": cursor, **({"why": why} if why else {})}))

    def _entry(self, event: moves.Event, effects: Sequence[moves.Effect], limit: str | None) -> dict[str, Any]:
        """Return what is to be in the log before anything is done about an event."""
        entry = {**entry_of(event, effects, limit), "at": time.time()}
        spent = {number: turn.budget.spent_so_far() for number, turn in self.turns.items() if turn.began_at is not None}
        news = {number: each for number, each in spent.items() if each != self._noted.get(number)}
        if news:
            self._noted.update(news)
            entry["spent"] = {str(number): msgspec.to_builtins(each) for number, each in news.items()}
        if (posted := self.take_posted()) is not None:
            entry["inbox"] = posted
        return entry

    def take_posted(self) -> str | None:
        """Return the cursor of what is being obeyed, unless it was taken."""
        posted, self.posted = self.posted, None
        return posted

    def held(self) -> AbstractContextManager[object]:
        """Return a context in which nothing happens to it but by this thread."""
        return self._lock

    def _advance(self, event: moves.Event, turn: TurnTask | None) -> tuple[list[moves.Effect], str | None]:
        """Put an event into the core, and count the request that it leads to; return the limit as well."""
        if turn is None:
            self.state, effects = advance(self.state, event)
            return effects, None
        budget, before = turn.budget, self.state.turn
        with budget.lock:  # what is taken, and given back, is nobody's to see
            spent = budget.take_request()
            self.state, effects = advance(self.state, event, spent=spent)
            asks = any(isinstance(effect, moves.Ask) for effect in effects)
            if spent is None and not (asks and self.state.turn == turn.number):
                budget.give_back_request()
        now = self.turns.get(self.state.turn)
        if now is not None and self.state.turn != before:
            now.budget.begin()
            self._renew_tools()
            now.toolbox = self.toolbox
            now.began_at = self.state.began_at
            if asks and now is not turn:  # the next turn, right after this one
                now.budget.take_request()
        for effect in effects:
            if isinstance(effect, moves.EndTurn) and (ended := self.turns.get(effect.turn)) is not None:
                with contextlib.suppress(CancelledError):
                    ended.scope.commit()  # a later cancel does nothing
        return effects, spent

    def _renew_tools(self) -> None:
        """Take the tools that servers offer now, as a turn begins: within one, requests begin with the same."""
        try:
            self.toolbox = self.toolbox.renewed()
        except ParameterError as exc:
            log(logging.ERROR, "the tools of a server have changed, and those before are kept: %s", exc)

    def chat_ended(self, task: RequestTask, terminal: Any) -> None:
        """Note how a request ended. In the chat's thread, when its events have been told."""
        task.turn.budget.add(terminal.usage)
        if isinstance(terminal, ChatDone):
            content: Any = terminal.message["content"]
            self.happens(moves.Answered(terminal.message, self.calls_of(content)))
        elif isinstance(terminal, ChatFailed):
            self.happens(moves.Failed(terminal.error))
        else:
            with task.lock:
                kept = kept_of(task.answer.partial_blocks())
            self.happens(moves.Cut(kept, self.calls_of(kept)))

    def call_streamed(self, block: Mapping[str, Any]) -> None:
        """Note a call that is whole, while its answer streams. In the chat's thread."""
        self.happens(moves.Streamed(self.call_of(block)))

    def call_ended(self, call_id: str, _: Any, outcome: Outcome) -> None:
        """Note the outcome of a call."""
        if outcome.state != "cancelled" or self.is_running(call_id):  # else by us, and that is known
            self.happens(_end_of(call_id, outcome))

    def call_was_late(self, call: Any, outcome: Outcome) -> None:
        """Note what a call did after it was given up. In its own thread."""
        self.happens(_end_of(call.id, outcome))
        log(logging.INFO, "a call of %s ended after it was given up: %s", call.name, outcome.state)

    def look(self, turn: TurnTask, now: float) -> None:
        """Look for time that has run out. In the sweeper's thread."""
        if turn.number != self.state.turn:
            return
        if turn.is_late(now):
            self.happens(moves.TimeUp(turn.number))
        patience = self.agent.limits.approval
        with self._lock:
            late = [call_id for call_id, (_, since) in self._asked.items() if patience and now - since >= patience]
            for call_id in late:
                self._forget(call_id)
                self.happens(moves.Decided(call_id, allow=False, by="a timeout: nobody decided in time"))

    # For the actor

    def is_running(self, call_id: str) -> bool:
        """Return whether a call is waited for."""
        call = self.state.call(call_id)
        return call is not None and call.status == "running"

    def calls_of(self, content: Iterable[Mapping[str, Any]]) -> tuple[Call, ...]:
        """Return the calls of an answer, as the core wants them."""
        return tuple(self.call_of(block) for block in calls_in(content))

    def call_of(self, block: Mapping[str, Any], runs: int = 0) -> Call:
        """Return a call that was started so often, as the core wants it: whether it may run, and how."""
        call = Call(str(block["id"]), str(block["name"]), copied(block.get("input") or {}))
        tool = self.toolbox.get(call.name)
        if tool is None:
            if self.toolbox.knows(call.name):
                return replace(call, ours=False)
            known = ", ".join(repr(each["name"]) for each in self.toolbox.wire if "name" in each)
            return replace(call, refusal=f"not started: there is no tool {call.name!r}, but {known or 'none'}")
        try:
            tool.arguments(block.get("input"))
        except ParameterError as exc:
            return replace(call, refusal=f"not started: {exc}")
        asks_again = tool.unknown == "ask"
        digest = self._digest(call.name, call.input, runs) if tool.approve or asks_again else ""
        return replace(
            call,
            safe=tool.safe,
            alone=tool.alone,
            approve=bool(tool.approve),
            idempotent=tool.idempotent,
            asks_again=asks_again,
            digest=digest,
            expires=self.agent.limits.approval,
        )

    def may_start(self, call: Call) -> bool:
        """Return whether a call that is about to start is exactly the one that was approved, if that is needed."""
        runs = call.runs - 1
        return not replace(call, runs=runs).is_bound or call.allowed == self._digest(call.name, call.input, runs)

    def _ask_for(self, call: Call) -> None:
        """Note that an approval is asked for. With the lock."""
        since = self._since.pop(call.id, time.monotonic())
        self._asked[call.id] = approval_of(call), since
        for above in self._all_above():
            above.askers[call.id] = self

    def _digest(self, name: str, given: Any, runs: int) -> str:
        """Return the digest of a call that was started so often: what is approved is this start of it."""
        tool = self.toolbox.get(name)
        bound = [name, given, None if tool is None else tool.input_schema]
        if tool is not None and tool.unknown == "ask" and not tool.idempotent and runs:
            bound.append(runs)
        return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()

    def _all_above(self) -> Iterator[Talk]:
        above = self.above
        while above is not None:
            yield above
            above = above.above

    def decided(self, call: Call) -> Approval:
        """Return the approval of a call that was decided, and forget it."""
        with self._lock:
            self._forget(call.id)
        return approval_of(call)

    def turn_ended(self, number: int) -> TurnTask:
        """Forget a turn that has ended, and return it."""
        with self._lock:
            turn = self.turns.pop(number)
            self._spent.append(turn.budget)  # what a cancelled sub-agent has used may be known later
            for call_id in [*self._asked] if number == self.state.turn else ():
                self._forget(call_id)
            return turn

    def _forget(self, call_id: str) -> None:
        self._asked.pop(call_id, None)
        for above in self._all_above():
            above.askers.pop(call_id, None)

    # From a log

    def load(self, past: Past, *, go_on: bool) -> None:
        """Go on with what a log tells of, or end it. Before anything else happens.

        Raises:
            ConfigurationError: the client is closed.
        """
        with self._lock:
            self.state = state = past.state
            self._noted = {**past.spent}
            behind = time.time() - time.monotonic()
            self._since = {call_id: min(at - behind, time.monotonic()) for call_id, at in past.asked.items()}
            unfinished = state.unfinished
            for number in past.spent.keys() - {*unfinished}:
                ended = Budget(self.agent.limits)
                ended.restore(past.spent[number])
                self._spent.append(ended)
            forms = {state.turn: state.output, **{said.turn: said.output for said in state.queue}}
            try:
                self._new_turns(past, forms)
            except BaseException:
                self._abandon()
                raise
            if unfinished and unfinished[0] == state.turn:
                first = self.turns[state.turn]
                first.began_at = state.began_at
                first.budget.begin()
            runs = {call.id: call.runs for call in state.calls}
            calls = tuple(self.call_of(each, runs.get(str(each["id"]), 0)) for each in calls_in(state.answer or ()))
            begins = begun_by(self.agent, self.toolbox, ())
            self.happens(moves.Resumed(calls, begins.at_once, begins.most_marks, go_on))

    def _new_turns(self, past: Past, forms: Mapping[int, Mapping[str, Any] | None]) -> None:
        """Make the turns that have not ended, and whose answers are to have these formats."""
        state = past.state
        for number in state.unfinished:
            form = forms[number]
            turn = self._new_turn(number, None if form is None else KeptOutput(form))
            lost = number == state.turn and state.phase in _UNDER_WAY
            turn.budget.restore(past.spent.get(number, Spent()), estimate=lost)

    def _abandon(self) -> None:
        """End without a trace in the log: nothing has happened."""
        self.state = replace(self.state, phase=Phase.STOPPED)
        reason = "it could not be resumed"
        self.tell(Effects(tuple(moves.EndTurn(number, "cancelled", reason=reason) for number in self.turns), last=True))

    # What is known of it

    def messages(self) -> tuple[Mapping[str, Any], ...]:
        """Return the history: legal for the API at every instant."""
        return settled(self.state)

    def usage(self) -> Usage:
        """Return the tokens of all its turns."""
        with self._lock:
            budgets = [*self._spent, *(turn.budget for turn in self.turns.values())]
        return sum((budget.usage for budget in budgets), Usage())

    def after_fork(self) -> None:
        """Stop in a forked child, where its thread does not run."""
        self._lock = threading.RLock()
        self.state = replace(self.state, phase=Phase.STOPPED)
        self.turns = {}
        self.recorder = None
        if self.actor is not None:  # else another thread was about to make it
            pykka.ActorRegistry.unregister(self.actor)
            self.actor.actor_stopped.set()


def _end_of(call_id: str, outcome: Outcome) -> moves.Ended:
    content: Any = outcome.content if isinstance(outcome.content, str) else tuple(outcome.content)
    return moves.Ended(call_id, content, outcome.is_error, outcome.seconds)


def begun_by(agent: Agent, toolbox: Toolbox, messages: Sequence[Mapping[str, Any]]) -> State:
    """Return what a conversation is that begins with a history."""
    return State(
        messages=tuple(messages),
        heard=len(messages),
        at_once=agent.limits.tools_at_once,
        most_marks=agent.most_marks(toolbox.wire),
    )


def approval_of(call: Call) -> Approval:
    """Return what is to be approved of a call."""
    kind: Any = "unknown" if call.started else "call"
    return Approval(call.id, call.name, copied(call.input), call.digest, call.expires, kind)
