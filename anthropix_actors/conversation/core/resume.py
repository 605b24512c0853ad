"""How a conversation goes on that somebody else ran before: what ran then does not run now. Pure.

| it was | then |
|---|---|
| asking | the same is asked again: there is no answer |
| cutting an answer short | the model is asked again, with what was said |
| ending | the turn ends |
| acting: a call has an outcome | it stays |
| a call was not started | it is, as its tool is now; one that was approved is asked about again if it has changed |
| a call was started | it runs again if it may; or somebody is asked; or the model is told that its outcome is unknown |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from anthropix_actors.conversation.core import moves
from anthropix_actors.conversation.core.history import settled
from anthropix_actors.conversation.core.state import Call, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anthropix_actors.conversation.core.move import Move
    from anthropix_actors.conversation.core.state import Status

NOT_RESUMED = "it was not resumed"


def resumed(move: Move, event: moves.Resumed) -> None:
    """Go on with the turn that ran, if there is one."""
    move.set(at_once=event.at_once, most_marks=event.most_marks)
    state = move.state
    phase = Phase.ACTING if state.is_suspended else state.phase
    if phase in {Phase.IDLE, Phase.STOPPED}:
        move.set(phase=Phase.IDLE, stopping=False, reason="")
        return
    reason = state.reason if phase is Phase.ENDING else ""
    move.set(phase=phase, stopping=False, reason=reason)
    move.do(moves.GoOn(state.turn))
    if phase is Phase.ACTING:
        move.set(calls=tuple(taken_up(call, event.calls) for call in state.calls))
        move.end_interrupted()
    else:
        move.set(calls=())  # of an answer that is lost
    if not event.go_on:
        _leave(move)
    elif phase is Phase.ACTING:
        move.run_calls()
    elif phase is Phase.ASKING:
        move.spent = state.stopped or move.spent  # a closing request stays one
        move.ask()
    else:
        move.cut_short(())


def _leave(move: Move) -> None:
    """End the turn, and those behind it."""
    queue = move.state.queue
    move.set(queue=())
    if move.state.phase is Phase.ACTING:
        move.commit(settled(move.state))
        move.end("cancelled", reason=NOT_RESUMED)
    else:
        move.set(phase=Phase.ENDING, reason=move.state.reason or NOT_RESUMED)
        move.cut_short(())
    for said in queue:
        move.do(moves.EndTurn(said.turn, "cancelled", reason=NOT_RESUMED, undelivered=(said,)))


def taken_up(call: Call, known: Sequence[Call]) -> Call:
    """Return a call as it goes on; one that stays `running` is of unknown outcome.

    Args:
        call: As it was.
        known: The calls of its answer, as their tools are now.

    Example:
        >>> ran = Call("toolu_1", "send", {}, status="running", runs=1)
        >>> taken_up(ran, [Call("toolu_1", "send", {}, idempotent=True)]).status
        'ready'
    """
    now = next((each for each in known if each.id == call.id), None)
    if now is None or not call.ours or call.status == "ended":
        return call
    now = replace(now, runs=call.runs, allowed=call.allowed)
    status = _status(call.status, now)
    return call if status == "running" else replace(now, status=status)


def _status(before: Status, now: Call) -> Status:
    may_run = now.refusal is None and now.ours
    if before == "running" and not (may_run and (now.idempotent or now.asks_again)):
        return "running"
    return "asks" if may_run and now.is_bound and now.allowed != now.digest else "ready"
