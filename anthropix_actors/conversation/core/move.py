"""One step of a conversation: the state as it changes, and the effects so far. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from anthropix_actors.conversation.core import moves
from anthropix_actors.conversation.core.history import (
    CANCELLED,
    INTERRUPTED,
    UNKNOWN,
    calls_in,
    kept_of_whole,
    marks_in,
    with_results,
    without_marks,
    without_refused,
)
from anthropix_actors.conversation.core.history import said as user_message
from anthropix_actors.conversation.core.state import Call, Phase, Said, State
from anthropix_actors.errors import (
    BadRequestError,
    ParameterError,
    RequestTooLargeError,
    UnprocessableEntityError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anthropix_actors.conversation.core.moves import Effect
    from anthropix_actors.errors import AnthropixError

SECONDS = "seconds"  # the limit that ends calls as well as requests

REFUSALS = (BadRequestError, RequestTooLargeError, UnprocessableEntityError, ParameterError)
"""Errors of requests that would be refused again: what they brought is taken out of the history."""


class Move:
    """One step: the state and the effects so far."""

    def __init__(self, state: State, spent: str | None) -> None:
        """Begin at a state; `spent` is the limit that is reached."""
        self.state = state
        self.spent = spent
        self.effects: list[Effect] = []

    def set(self, **changes: Any) -> None:
        """Change the state."""
        self.state = replace(self.state, **changes)

    def do(self, *effects: Effect) -> None:
        """Have something done."""
        self.effects += effects

    # Messages

    def commit(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Replace the history by a longer one."""
        added = tuple(messages[len(self.state.messages) :])
        if added:
            self.do(moves.Commit(added))
        self.set(messages=tuple(messages))

    def hear(self) -> None:
        """Note that the API has taken the messages: it has answered."""
        self.set(heard=len(self.state.messages), doubted=())

    def withdraw(self, error: AnthropixError) -> tuple[Said, ...]:
        """If the API refuses the messages, take the new ones out of the history; return what was said in them."""
        if not isinstance(error, REFUSALS):
            return ()
        state = self.state
        kept = without_refused(state.messages, state.heard, str(error))
        self.do(moves.Withdraw(state.heard, kept[state.heard :]))
        self.set(messages=kept, doubted=())
        return state.doubted

    def settle(self, answer: Sequence[Mapping[str, Any]], more: Iterable[Mapping[str, Any]] = ()) -> None:
        """Commit an answer with what there is of results, and what is said after them."""
        kept = {block["id"] for block in calls_in(answer)}
        calls = [call for call in self.state.calls if call.id in kept]
        self.commit(with_results(self.state.messages, answer, calls, more))
        self.set(answer=None, calls=())

    def settle_paused(self) -> None:
        """Commit the paused answers as they came: the model went on from them."""
        for content in self.state.paused:
            self.commit(with_results(self.state.messages, content, ()))
        self.set(paused=())

    def leave_paused(self) -> None:
        """Commit what stays of the paused answers: the model does not go on from there."""
        paused, self.state = self.state.paused, replace(self.state, paused=())
        self.settle(kept_of_whole(block for content in paused for block in content))

    def steer(self) -> list[Mapping[str, Any]]:
        """Take what was said for this turn; return its blocks."""
        steers = self.state.steers
        self.do(*map(moves.TellSteered, steers))
        self.set(steers=(), doubted=(*self.state.doubted, *steers))
        return [block for said in steers for block in said.content]

    # Requests

    def begin(self, said: Said) -> None:
        """Begin a turn."""
        began_at = len(self.state.messages)
        self.set(turn=said.turn, began_at=began_at, closing=False, stopped=None, reason="", compacted=0, last=None)
        self.set(doubted=(*self.state.doubted, said), output=said.output)
        if self.state.answer is None:
            self.commit((*self.state.messages, user_message(said.content)))
        else:  # the results of calls that are the caller's come with what is said
            calls, rest = _with_given(self.state.calls, said.content)
            self.set(calls=calls)
            self.settle(self.state.answer, rest)
        self.ask()

    def ask(self) -> None:
        """Ask the model, unless a limit is reached: then for the last time, or not at all."""
        if self.spent is not None:
            self.do(moves.TellLimit(self.spent))
            self.set(stopped=self.spent)
            if not self.state.closes:
                self.end("done", message=self.state.last, stopped=self.spent)
                return
        self.set(phase=Phase.ASKING, closing=self.spent is not None)
        paused = tuple({"role": "assistant", "content": [*content]} for content in self.state.paused)
        self.do(moves.Ask(self.state.turn, (*self.state.messages, *paused), closing=self.state.closing))

    # Calls

    def run_calls(self) -> None:
        """Have the calls of the answer refused, approved, started."""
        self.refuse_calls()
        if self.spent == SECONDS:  # as if it had run out a moment later
            self.time_up()
            return
        for call in self.state.calls:
            if call.status == "asks":
                self.do(moves.TellApproval(call))
        self.start_calls()
        self.go_on_if_all_ended()

    def time_up(self) -> None:
        """Leave the calls that run, as the time of the turn is spent."""
        self.cancel_calls("the time of the turn is spent")
        self.boundary()

    def start_calls(self) -> None:
        """Start the calls that may start now, in order."""
        calls = self.state.calls
        early = self.state.phase is Phase.ASKING
        for call in [each for each in calls if each.status == "ready" and each.ours and each.refusal is None]:
            running = [each for each in self.state.calls if each.status == "running"]
            if len(running) >= self.state.at_once or any(each.alone for each in running):
                return
            if (call.alone and (running or early)) or _is_behind_barrier(call, self.state.calls):
                return
            if early and (call.approve or not call.safe):
                continue
            begun = replace(call, status="running", runs=call.runs + 1)
            self.update(begun)
            self.do(moves.StartCall(begun))

    def update(self, call: Call) -> None:
        """Put a call in the place of the one with its id."""
        self.set(calls=tuple(call if each.id == call.id else each for each in self.state.calls))

    def end_call(self, call: Call, content: Any, *, is_error: bool, seconds: float = 0.0) -> None:
        """Give a call its result."""
        more = marks_in(content)
        if more and self.state.marks + more > self.state.most_marks:  # they only ask for caching: the result counts
            content = without_marks(content)
        ended = replace(call, status="ended", content=content, is_error=is_error)
        self.update(ended)
        self.do(moves.TellDone(ended, seconds))

    def cancel_calls(self, reason: str) -> None:
        """Cancel the calls that run; their results are what is known of them."""
        for call in self.state.calls:
            if call.status == "running":
                self.do(moves.CancelCall(call, reason))
                self.end_call(call, CANCELLED if call.safe else UNKNOWN, is_error=True)

    def end_interrupted(self) -> None:
        """End the calls that ran somewhere else; what came of them is not known."""
        for call in self.state.calls:
            if call.status == "running":
                self.end_call(call, CANCELLED if call.safe else INTERRUPTED, is_error=True)

    def refuse_calls(self) -> None:
        """End the calls that are not to be run."""
        for call in self.state.calls:
            if call.status != "ended" and call.refusal is not None:
                self.end_call(call, call.refusal, is_error=True)

    def go_on_if_all_ended(self) -> None:
        """At the boundary, when all calls have their results, ask the model again."""
        state = self.state
        if state.phase is not Phase.ACTING or any(call.status != "ended" for call in state.calls if call.ours):
            return
        if all(call.ours for call in state.calls):
            self.boundary()
        else:
            self.end("done", message=state.last, stopped="tool_use")

    def boundary(self) -> None:
        """Commit the answer with its results, and what was said meanwhile; ask the model again."""
        assert self.state.answer is not None
        answer = self.state.answer
        self.settle(answer, self.steer())
        self.ask()

    # The end

    def cut_short(self, content: Sequence[Mapping[str, Any]]) -> None:
        """Go on after an answer that was cut for something said, or end the turn that was cancelled."""
        paused = [block for whole in self.state.paused for block in whole]
        kept = kept_of_whole([*paused, *content]) if paused else content
        self.set(paused=())
        if self.state.phase is Phase.CUTTING:
            self.settle(kept, self.steer())
            self.ask()
        else:
            self.settle(kept)
            self.end("cancelled", reason=self.state.reason)

    def end(self, how: str, **more: Any) -> None:
        """End the turn, and begin the next one that was said."""
        state = self.state
        if how == "cancelled" and state.error is not None:
            how, more = "failed", {"error": state.error}
        more.setdefault("undelivered", state.steers)
        self.do(moves.EndTurn(state.turn, how, **more))
        keeps = how == "suspended" or more.get("stopped") == "tool_use"
        self.set(phase=Phase.IDLE, steers=(), closing=False)
        if not keeps:
            self.set(answer=None, calls=())
        if state.stopping:
            self.stop(state.reason)
        elif state.queue:
            first, *queue = state.queue
            self.set(queue=tuple(queue))
            self.spent = None  # it has limits of its own
            self.begin(first)

    def stop(self, reason: str) -> None:
        """Take nothing more; what was said for later turns is handed back."""
        queue = self.state.queue
        self.set(phase=Phase.STOPPED, queue=())
        for said in queue:
            self.do(moves.EndTurn(said.turn, "cancelled", reason=reason, undelivered=(said,)))


def _is_behind_barrier(call: Call, calls: Sequence[Call]) -> bool:
    """Return whether a call before this one runs alone, and has not ended: or this does, and others have not."""
    before = calls[: [each.id for each in calls].index(call.id)]
    return any(each.status != "ended" and (each.alone or call.alone) for each in before if each.ours)


def _with_given(
    calls: Sequence[Call], content: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Call, ...], list[Mapping[str, Any]]]:
    """Return the calls with the results that are among what is said, and the rest of that."""
    given = {block["tool_use_id"]: block for block in content if block.get("type") == "tool_result"}
    ended = []
    for call in calls:
        result = None if call.ours else given.pop(call.id, None)
        if result is not None:
            blocks = result.get("content", "")
            shown = blocks if isinstance(blocks, str) else tuple(blocks)
            call = replace(call, status="ended", content=shown, is_error=bool(result.get("is_error")))  # noqa: PLW2901
        ended.append(call)
    return tuple(ended), [block for block in content if block.get("type") != "tool_result"]
