"""The actor of a conversation: does what the core wants done, in order. It waits for nothing, and runs no foreign code.

Requests are chats, actors of their own; so are calls. What comes of them goes into the core from their threads, and
what is to be done next comes into this actor's mailbox. With a log, it is done when the log has what it follows from;
but what ends or cuts something is done at once: then what was waiting is told, and what would have begun never begins.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._calls.cancel_token import CancelToken
from anthropix_actors._decode.json import copied
from anthropix_actors._foreign.log import log
from anthropix_actors._tasks.contained import ContainedActor
from anthropix_actors.chat.actor import ChatActor
from anthropix_actors.conversation.agent import Delegate
from anthropix_actors.conversation.core import moves
from anthropix_actors.conversation.core.output import format_of
from anthropix_actors.conversation.core.pending import Pending, hurries
from anthropix_actors.conversation.ends import sizes, terminal_of
from anthropix_actors.conversation.inbox import inboxes_of
from anthropix_actors.conversation.messages import (
    AnswerDone,
    ApprovalGiven,
    ApprovalNeeded,
    Compacted,
    LimitReached,
    Steered,
    ToolDone,
    ToolStarted,
    ToolUse,
)
from anthropix_actors.conversation.ref import ConversationRef, Left
from anthropix_actors.conversation.sub_agent import SubAgentCall
from anthropix_actors.conversation.talk import Again, Broken, Effects, Released, Written, approval_of
from anthropix_actors.errors import AnthropixError
from anthropix_actors.models import read_window
from anthropix_actors.stores import Fenced, Lost
from anthropix_actors.tools.tool_call import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anthropix_actors.conversation.core.state import Call, Said
    from anthropix_actors.conversation.request import RequestTask
    from anthropix_actors.conversation.talk import Talk
    from anthropix_actors.conversation.turn import TurnTask


class ConversationActor(ContainedActor):
    """The actor of one conversation. Started by `Client.converse`; all others have its ref."""

    use_daemon_thread = True

    def __init__(self, talk: Talk) -> None:
        """Start with nothing to do."""
        super().__init__()
        self._talk = talk
        self._turn: Any = None  # the turn that runs, a `TurnTask`
        self._running: dict[str, ToolCall | SubAgentCall] = {}
        self._last: list[Callable[[], None]] = []  # what is done when the effects are
        self._started: dict[str, float] = {}  # on the monotonic clock
        self._pending = Pending()
        self._number = 0  # of the entries of all that was to be done so far
        self._lost: AnthropixError | None = None  # why nothing more is written
        self._stopping = self._leaving = False
        self._reading: CancelToken | None = None  # while the model's window is read
        self._ref = talk.actor = ConversationRef(self, talk)
        if (recorder := talk.recorder) is not None:
            self._pending.durable = recorder.durable
            recorder.on_written = lambda count: talk.tell(Written(count))
            recorder.on_failed = lambda error: talk.tell(Broken(error))
            recorder.on_released = lambda: talk.tell(Released())
            recorder.at_exit(talk.stop)

    @staticmethod
    def _create_actor_inbox() -> Any:
        """Return a mailbox of a few bytes: pykka's has 3 KiB, for waits that are not needed here."""
        return queue.SimpleQueue()

    @property
    def actor_ref(self) -> Any:
        """The ref of our own class; as the registry has this one, `stop_all()` ends the conversation's turn first."""
        return self._ref

    def on_receive(self, message: Any) -> Any:
        """Do what the core wants done. Never raises: pykka would end the actor."""
        match message:
            case Effects(todo=todo, entry=entry, last=last):
                self._take(todo, entry)
                self._stopping = self._stopping or last
            case Written(count=count):
                self._pending.durable = count
            case Broken(error=error):
                self._break(error)
            case Again(effect=effect):
                self._do(effect)
            case Left():
                self._talk.left = True
            case Released():
                self.stop()
            case _:
                return super().on_receive(message)
        self._drain()
        while self._last:
            self._last.pop(0)()
        if self._talk.left and not self._talk.turns:
            self._talk.stop("nobody refers to it any more")
        if self._stopping and not self._talk.turns:
            self._leave()
        return None

    def _drain(self) -> None:
        """Do what need not wait."""
        for effect in self._pending.ready():
            self._do(effect)

    def _do(self, effect: moves.Effect) -> None:
        try:
            _DOES[type(effect)](self, effect)
        except BaseException as exc:  # noqa: BLE001 - a bug of this package, which must not end the conversation
            log(logging.ERROR, "an error in a conversation", exc_info=exc)

    # The log

    def _take(self, todo: Iterable[moves.Effect], entry: Mapping[str, Any] | None) -> None:
        """Have the entry written, and what is to be done wait for that, unless it ends or cuts something."""
        recorder = self._talk.recorder
        if entry is not None and recorder is not None and self._lost is None:
            self._number = recorder.put(entry)
        for effect in todo:
            if isinstance(effect, moves.EndTurn) and self._talk.turns[effect.turn].began_at is None:
                self._drain()
                self._do(effect)  # what waits is not of this turn
                continue
            self._pending.add(effect, self._number)
            if self._lost is not None or hurries(effect):
                self._pending.hurry()

    def _break(self, error: AnthropixError) -> None:
        """Begin nothing more, as it could not be written down: another has the log, or the store is away."""
        self._lost = error
        self._pending.hurry()
        if isinstance(error, Fenced | Lost):
            self._talk.stop(str(error))
        else:
            self._talk.stop(str(error), error)

    def _leave(self) -> None:
        """Give the log up, and stop: once."""
        recorder = self._talk.recorder
        if recorder is None:
            self.stop()
        elif not self._leaving:
            self._leaving = True
            inboxes_of(recorder.store).leave(recorder.name, self._talk)
            recorder.close()

    # Requests

    def ask(self, effect: moves.Ask) -> None:
        """Start the chat of a request."""
        talk = self._talk
        turn = self._turn = talk.turns[effect.turn]
        reading, self._reading = self._reading, None
        if reading is not None and reading.cancelled:
            talk.happens(moves.Cut())
            return
        if talk.agent.compact_at is not None and talk.agent.model not in talk.core.windows:
            self._reading, again = CancelToken(), partial(talk.tell, Again(effect))
            read_window(talk.core, talk.agent.model, self._reading, again)
            return
        try:
            chat = self._new_chat(turn, effect)
            turn.chat_begins(chat)
        except AnthropixError as exc:
            talk.happens(moves.Failed(exc))
        except BaseException as exc:
            talk.happens(moves.Failed(AnthropixError(f"an error in the conversation itself: {exc!r}")))
            raise
        else:
            with contextlib.suppress(AnthropixError):  # a chat that cannot start has an end as well, and tells it
                talk.core.registry.start(ChatActor, chat, None)

    def go_on(self, effect: moves.GoOn) -> None:
        """Go on with a turn that began elsewhere."""
        self._turn = self._talk.turns[effect.turn]

    def drop_ask(self, effect: moves.DropAsk) -> None:
        """Leave a request out that was cut before it began."""
        self._turn = self._talk.turns[effect.turn]
        self._talk.happens(moves.Cut())

    def _new_chat(self, turn: TurnTask, effect: moves.Ask) -> RequestTask:
        talk, first = self._talk, turn.chat is None
        window = talk.core.windows.get(talk.agent.model)
        params = talk.agent.request(turn.toolbox.wire, first=first, closing=effect.closing, window=window)
        params["messages"] = list(effect.messages)
        if turn.output is not None:
            params["output_config"] = {**(params.get("output_config") or {}), "format": format_of(turn.output)}
        chat = talk.new_chat(params, talk.tag)
        chat.in_turn(turn, None if effect.closing else talk.call_streamed)
        return chat

    def cut_chat(self, effect: moves.CutChat) -> None:
        """Cancel the chat that runs."""
        running = self._turn.chat if self._reading is None else self._reading  # while that lasts, there is no chat yet
        if running is not None:
            running.cancel(effect.reason)

    # Calls

    def start_call(self, effect: moves.StartCall) -> None:
        """Start a call, an actor of its own."""
        talk, call, use = self._talk, effect.call, _use(effect.call)
        if not talk.may_start(call):
            talk.happens(moves.Ended(call.id, "not started: it is not as it was approved", is_error=True))
            return
        tool: Any = self._turn.toolbox.get(call.name)
        progress = partial(self._turn.tell_progress, use)
        ended = partial(talk.call_ended, call.id)
        if isinstance(getattr(tool, "function", None), Delegate):
            running: Any = SubAgentCall(talk, self._turn, tool, call, ended)
        else:
            late, given = talk.call_was_late, copied(call.input)
            running = ToolCall(tool, call.id, given, on_progress=progress, on_outcome=ended, on_late=late)
        self._running[call.id] = running
        self._started[call.id] = time.monotonic()
        self._turn.calls[call.id] = running
        self._tell(ToolStarted, use)
        try:
            running.start()
        except BaseException as exc:
            talk.happens(moves.Ended(call.id, f"not started: {exc!r}", is_error=True))
            raise

    def cancel_call(self, effect: moves.CancelCall) -> None:
        """Cancel a call, and wait for nothing: tools after the rest, as that takes a thread for each."""
        running = self._running.pop(effect.call.id, None)
        if isinstance(running, SubAgentCall):
            running.cancel(effect.reason)
        elif running is not None:
            self._last.append(partial(running.cancel, effect.reason))

    # Messages

    def _tell(self, kind: Callable[..., Any], *what: Any) -> None:
        self._turn.tell(kind(self._turn.ref, *what))

    def tell_answer(self, effect: moves.TellAnswer) -> None:
        """Tell that an answer is whole."""
        self._tell(AnswerDone, self._turn.chat.ref, effect.message)

    def tell_done(self, effect: moves.TellDone) -> None:
        """Tell that a call has ended."""
        call = effect.call
        self._running.pop(call.id, None)
        began = self._started.pop(call.id, None)
        seconds = effect.seconds or (0.0 if began is None else time.monotonic() - began)
        result = call.content if isinstance(call.content, str) else copied([*call.content])
        self._tell(ToolDone, _use(call), result, call.is_error, seconds)

    def tell_approval(self, effect: moves.TellApproval) -> None:
        """Tell that a call needs approval."""
        self._tell(ApprovalNeeded, approval_of(effect.call))

    def tell_decision(self, effect: moves.TellDecision) -> None:
        """Tell what was decided."""
        self._tell(ApprovalGiven, self._talk.decided(effect.call), effect.allow, effect.by)

    def tell_steered(self, effect: moves.TellSteered) -> None:
        """Tell that something said has reached the model."""
        self._tell(Steered, copied([*effect.said.content]))

    def tell_compacted(self, effect: moves.TellCompacted) -> None:
        """Tell that what came before was replaced by a summary."""
        self._tell(Compacted, *sizes(effect.message))

    def tell_limit(self, effect: moves.TellLimit) -> None:
        """Tell that a limit was reached."""
        if self._turn is not None:
            self._tell(LimitReached, effect.limit)

    def end_turn(self, effect: moves.EndTurn) -> None:
        """Tell the end of a turn."""
        turn = self._talk.turn_ended(effect.turn)
        approvals = map(self._talk.decided, effect.calls)
        turn.conclude(terminal_of(turn, effect, approvals, self._undelivered(effect)))

    def _undelivered(self, effect: moves.EndTurn) -> Iterable[Said]:
        """Return what is handed back: not what is in a log that another goes on with."""
        if not isinstance(self._lost, Fenced) or self._talk.recorder is None:
            return effect.undelivered
        unwritten = [entry.get("said", {}) for entry in self._talk.recorder.unwritten]
        return [said for said in effect.undelivered if msgspec.to_builtins(said) in unwritten]

    def only_record(self, effect: moves.Commit | moves.Withdraw | moves.Late) -> None:
        """Do nothing more: it was recorded."""


def _use(call: Call) -> ToolUse:
    return ToolUse(call.id, call.name, copied(call.input))  # theirs to change: the call has its own


_DOES: dict[type, Callable[[ConversationActor, Any], None]] = {
    moves.Commit: ConversationActor.only_record,
    moves.Withdraw: ConversationActor.only_record,
    moves.Late: ConversationActor.only_record,
    moves.GoOn: ConversationActor.go_on,
    moves.Ask: ConversationActor.ask,
    moves.DropAsk: ConversationActor.drop_ask,
    moves.CutChat: ConversationActor.cut_chat,
    moves.StartCall: ConversationActor.start_call,
    moves.CancelCall: ConversationActor.cancel_call,
    moves.TellAnswer: ConversationActor.tell_answer,
    moves.TellDone: ConversationActor.tell_done,
    moves.TellApproval: ConversationActor.tell_approval,
    moves.TellDecision: ConversationActor.tell_decision,
    moves.TellSteered: ConversationActor.tell_steered,
    moves.TellCompacted: ConversationActor.tell_compacted,
    moves.TellLimit: ConversationActor.tell_limit,
    moves.EndTurn: ConversationActor.end_turn,
}
