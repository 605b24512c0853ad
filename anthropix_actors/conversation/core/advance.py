"""The core of a conversation: what follows from what happens. Pure.

    state, effects = advance(state, event)

A turn asks the model, runs the calls of its answer, and asks again, until an answer ends it:

| stop reason | then |
|---|---|
| `tool_use` | the calls run, and the model gets their results |
| `pause_turn`, `compaction` | the answer is sent back, and nothing else; with calls, as after `tool_use` |
| `end_turn`, `stop_sequence` | the turn is done; what was said meanwhile is one more request |
| any other | the turn is done, and says why it stopped |

Whatever happens, `history.settled(state)` is a history that the API takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors._decode.json import copied
from anthropix_actors.conversation.core import moves
from anthropix_actors.conversation.core.history import INTERRUPTED, kept_of_whole, lasting, settled, without_repeated
from anthropix_actors.conversation.core.move import Move
from anthropix_actors.conversation.core.resume import resumed
from anthropix_actors.conversation.core.state import Call, Phase, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anthropix_actors.conversation.core.moves import Effect, Event
    from anthropix_actors.conversation.core.state import When

GO_ON = frozenset({"pause_turn", "compaction"})
"""Stop reasons after which the same conversation is sent again, with the answer as it came."""

BY_ITSELF = frozenset({"end_turn", "stop_sequence"})
"""Stop reasons of a model that has said all it wants to say."""

MOST_COMPACTIONS = 2
"""How many compactions may come in a row: more gain nothing."""

DENIED = "denied"


def advance(state: State, event: Event, *, spent: str | None = None) -> tuple[State, list[Effect]]:
    """Return the state after an event, and what is to be done, in order.

    Args:
        state: The state before it.
        event: The event. One that does not fit the state any more changes nothing.
        spent: The limit that is reached, so that no further request may be sent but the closing one; None for none.

    Example:
        >>> from anthropix_actors.conversation.core.state import Said, State
        >>> hello = Said(({"type": "text", "text": "Hello"},), turn=1)
        >>> state, effects = advance(State(), moves.Say(hello))
        >>> state.phase.value, [type(effect).__name__ for effect in effects]
        ('asking', ['Commit', 'Ask'])
        >>> answer = {"content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn"}
        >>> state, effects = advance(state, moves.Answered(answer))
        >>> state.phase.value, effects[-1].how, [message["role"] for message in state.messages]
        ('idle', 'done', ['user', 'assistant'])
    """
    move = Move(state, spent)
    _HANDLERS[type(event)](move, event)
    return move.state, move.effects


def place_of(state: State, when: When) -> int:
    """Return the number of the turn in which something is delivered that is said now: the current one, or a new one."""
    running = state.phase in {Phase.ASKING, Phase.CUTTING, Phase.ACTING}
    if when != "idle" and running and not state.closing:
        return state.turn
    return state.numbered + 1


def _say(move: Move, event: moves.Say) -> None:
    state, said = move.state, event.said
    move.set(numbered=max(state.numbered, said.turn))
    if state.phase is Phase.STOPPED:
        move.do(moves.EndTurn(said.turn, "cancelled", reason="stopped", undelivered=(said,)))
    elif state.phase is Phase.IDLE:
        move.begin(said)
    elif said.turn != state.turn:
        move.set(queue=(*state.queue, said))
    else:
        move.set(steers=(*state.steers, said))
        if event.when == "now":
            _interrupt(move)


def _interrupt(move: Move) -> None:
    """Cut the answer, or leave its calls, so that the model gets what was said at once."""
    reason = "interrupted"
    move.cancel_calls(reason)
    if move.state.phase is Phase.ASKING:
        move.set(phase=Phase.CUTTING)
        move.do(moves.CutChat(reason))
    elif move.state.phase is Phase.ACTING:
        move.boundary()


def _streamed(move: Move, event: moves.Streamed) -> None:
    state = move.state
    if state.phase is not Phase.ASKING or state.closing or state.call(event.call.id) is not None:
        return
    move.set(calls=(*state.calls, event.call))
    move.start_calls()


def _answered(move: Move, event: moves.Answered) -> None:
    state, message = move.state, event.message
    if state.phase not in {Phase.ASKING, Phase.CUTTING, Phase.ENDING}:
        return
    # A copy: what is told is the subscribers' to change.
    content, reason = without_repeated(copied(message["content"])), message.get("stop_reason")
    move.do(moves.TellAnswer(message))
    if any(block.get("type") == "compaction" and block.get("content") for block in content):
        move.do(moves.TellCompacted(message))
    move.hear()
    move.set(calls=_begun(move, event.calls), last=message)
    if reason != "compaction":
        move.set(compacted=0)
    if state.phase is not Phase.ASKING:
        move.cut_short(kept_of_whole(content))
    elif reason in GO_ON and not event.calls:
        _send_again(move, content, str(reason))
    elif reason in {"tool_use", *GO_ON} and event.calls and not state.closing:
        _act(move, content)
    else:
        _finish(move, content, reason)


def _begun(move: Move, calls: Sequence[Call]) -> tuple[Call, ...]:
    """Return the calls of an answer, those that were started early as they are; cancel those that it has no more."""
    before = {call.id: call for call in move.state.calls}
    for lost in before.keys() - {call.id for call in calls}:
        if before[lost].status == "running":
            move.do(moves.CancelCall(before[lost], "another model goes on from before it"))
    return tuple(before.get(call.id, call) for call in calls)


def _send_again(move: Move, content: tuple[Mapping[str, Any], ...], reason: str) -> None:
    move.set(calls=())
    if reason == "compaction":
        move.settle_paused()
        move.settle(content)
        move.set(compacted=move.state.compacted + 1)
    else:
        move.set(paused=(*move.state.paused, content))
    if move.state.closing or move.state.compacted > MOST_COMPACTIONS:
        move.leave_paused()
        move.end("done", message=move.state.last, stopped=move.state.stopped or reason)
    else:
        move.ask()


def _act(move: Move, content: tuple[Mapping[str, Any], ...]) -> None:
    asks = tuple(
        replace(call, status="asks") if call.approve and call.refusal is None and call.status == "ready" else call
        for call in move.state.calls
    )
    move.settle_paused()
    move.set(phase=Phase.ACTING, answer=content, calls=asks)
    move.run_calls()


def _finish(move: Move, content: tuple[Mapping[str, Any], ...], reason: Any) -> None:
    """Take an answer that ends the turn; its calls, if it has any, are not run."""
    state = move.state
    move.cancel_calls("the answer was not whole")
    move.settle_paused()
    if reason == "max_tokens" and content and content[-1].get("type") == "tool_use":  # cut in the middle of it
        content = content[:-1]
    steered = [] if reason not in BY_ITSELF or state.closing else move.steer()
    move.settle(lasting(content) if reason in BY_ITSELF else kept_of_whole(content), steered)
    if steered:
        move.ask()
        return
    move.end("done", message=state.last, stopped=state.stopped or (None if reason in BY_ITSELF else str(reason)))


def _cut(move: Move, event: moves.Cut) -> None:
    if event.content:
        move.hear()
    if move.state.phase in {Phase.CUTTING, Phase.ENDING}:
        move.set(calls=_begun(move, event.calls))
        move.cut_short(event.content)
    elif move.state.phase is Phase.ASKING:  # its chat was cancelled by somebody else: so is the turn
        move.set(reason="the chat was cancelled", calls=_begun(move, event.calls), phase=Phase.ENDING)
        move.cancel_calls("the chat was cancelled")
        move.cut_short(event.content)


def _failed(move: Move, event: moves.Failed) -> None:
    phase = move.state.phase
    if phase not in {Phase.ASKING, Phase.CUTTING, Phase.ENDING}:
        return
    move.cancel_calls("the request failed")
    move.set(calls=())
    move.leave_paused()
    back = (*move.withdraw(event.error), *move.state.steers)
    how = "cancelled" if phase is Phase.ENDING else "failed"
    move.end(how, reason=move.state.reason, error=event.error, undelivered=back)


def _ended(move: Move, event: moves.Ended) -> None:
    call = move.state.call(event.call_id)
    if call is None or call.status != "running" or move.state.phase not in {Phase.ASKING, Phase.ACTING}:
        move.do(moves.Late(event))
        return
    move.end_call(call, event.content, is_error=event.is_error, seconds=event.seconds)
    move.start_calls()
    move.go_on_if_all_ended()


def _decided(move: Move, event: moves.Decided) -> None:
    call = move.state.call(event.call_id)
    if move.state.phase is not Phase.ACTING or call is None or call.status != "asks":
        return
    move.do(moves.TellDecision(call, event.allow, event.by))
    if event.allow:
        move.update(replace(call, status="ready", allowed=event.digest))
    else:
        denied = DENIED if event.by is None else f"{DENIED} by {event.by}"
        again = f"{INTERRUPTED}; to run it again was " if call.started else ""
        move.end_call(call, again + denied, is_error=True)
    move.start_calls()
    move.go_on_if_all_ended()


def _cancel(move: Move, event: moves.Cancel) -> None:
    state = move.state
    if event.turn != state.turn:
        said = next((each for each in state.queue if each.turn == event.turn), None)
        if said is not None:
            move.set(queue=tuple(each for each in state.queue if each is not said))
            move.do(moves.EndTurn(said.turn, "cancelled", reason=event.reason, undelivered=(said,)))
        return
    move.cancel_calls(event.reason)
    if state.phase in {Phase.ASKING, Phase.CUTTING}:
        move.set(phase=Phase.ENDING, reason=event.reason)
        move.do(moves.CutChat(event.reason))
    elif state.phase is Phase.ACTING:
        move.commit(settled(state))
        move.end("cancelled", reason=event.reason)


def _time_up(move: Move, event: moves.TimeUp) -> None:
    if move.state.phase is Phase.ACTING and event.turn == move.state.turn:
        move.time_up()


def _stop(move: Move, event: moves.Stop) -> None:
    state = move.state
    move.set(stopping=True, reason=event.reason, error=event.error)
    if state.phase is Phase.IDLE:
        move.stop(event.reason)
    elif state.is_waiting and event.error is None:
        asks = tuple(call for call in state.calls if call.status == "asks")
        move.end("suspended", calls=asks)
    else:
        _cancel(move, moves.Cancel(state.turn, event.reason))


_HANDLERS: dict[type, Callable[[Move, Any], None]] = {
    moves.Say: _say,
    moves.Streamed: _streamed,
    moves.Answered: _answered,
    moves.Cut: _cut,
    moves.Failed: _failed,
    moves.Ended: _ended,
    moves.Decided: _decided,
    moves.Cancel: _cancel,
    moves.TimeUp: _time_up,
    moves.Stop: _stop,
    moves.Resumed: resumed,
}
