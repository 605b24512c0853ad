"""What a conversation is at one instant, as values. Pure.

The phases of a conversation:

    idle     no turn runs
    asking   a request is on its way, or its answer is streaming; safe calls of it may run
    cutting  the answer is being cut short, as somebody said something `now`; then the model is asked again
    acting   the answer is whole, and its calls run, or wait for approval
    ending   the turn was cancelled, and its request is about to end
    stopped  the conversation takes nothing more

A call's `status`:

    asks     somebody has to approve it
    ready    it may start
    running  it was started
    ended    it has an outcome, or was cancelled while it ran: what it still does is not waited for
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the hints of what is written into logs
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from anthropix_actors.conversation.core.history import marks_in

if TYPE_CHECKING:
    from anthropix_actors.errors import AnthropixError

When = Literal["next", "idle", "now"]
Status = Literal["asks", "ready", "running", "ended"]


class Phase(Enum):
    """What a conversation is doing."""

    IDLE = "idle"
    ASKING = "asking"
    CUTTING = "cutting"
    ACTING = "acting"
    ENDING = "ending"
    STOPPED = "stopped"


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was said, and not delivered to the model yet.

    Attributes:
        content: The blocks.
        turn: The number of the turn that it begins, or is to be delivered in.
        output: The format of the turn's answer, if that is to be a value.
    """

    content: tuple[Mapping[str, Any], ...]
    turn: int
    output: Mapping[str, Any] | None = None


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool call of the current answer.

    Attributes:
        id: Its id at the API.
        name: The tool's name.
        input: The arguments, as the model wrote them.
        status: See above.
        safe: Whether it may start while the answer is streaming: it changes nothing.
        alone: Whether no other call may run beside it.
        approve: Whether somebody has to approve it.
        idempotent: Whether it may run again where it is not known what came of it.
        asks_again: Whether somebody is to be asked then.
        refusal: Why it is not run: there is no such tool, or the arguments do not fit. Told to the model.
        ours: Whether we run it; else it is the caller's, who says the result.
        content: The result, once it has ended.
        is_error: Whether the result is an error.
        runs: How often it was started.
        digest: Of what is approved: name, arguments, schema.
        expires: Seconds until an approval that nobody gives counts as denied.
        allowed: The digest that was approved; "" for none.
    """

    id: str
    name: str
    input: Mapping[str, Any]
    status: Status = "ready"
    safe: bool = False
    alone: bool = False
    approve: bool = False
    idempotent: bool = False
    asks_again: bool = False
    refusal: str | None = None
    ours: bool = True
    content: str | tuple[Mapping[str, Any], ...] = ""
    is_error: bool = False
    runs: int = 0
    digest: str = ""
    expires: float | None = None
    allowed: str = ""

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self.runs > 0

    @property
    def is_bound(self) -> bool:
        """Whether it may start only as it was approved."""
        return self.approve or (self.asks_again and self.started and not self.idempotent)


class State(msgspec.Struct, frozen=True):
    """A conversation at one instant.

    Attributes:
        phase: See above.
        messages: The history that was committed: legal for the API at every instant.
        turn: The number of the turn that runs, or ran last.
        began_at: How many messages there were before that turn.
        numbered: The highest number that a turn was given.
        queue: What was said for turns of their own, in order.
        steers: What was said for the current turn, and waits for its next boundary.
        answer: The content of the answer whose calls run; None if there is none.
        calls: The calls of the current answer, in the model's order.
        closing: Whether the current request is the last one: a limit was reached.
        paused: The contents of answers that the model has paused, and that are sent back to it.
        stopped: The limit that was reached, or None.
        reason: Why the turn is cancelled.
        error: Why it fails, if it does and not its request.
        stopping: Whether the conversation stops when the turn has ended.
        compacted: How many compactions came in a row.
        at_once: How many calls may run at once.
        closes: Whether a limit is followed by one closing request. Not in a sub-agent: that is for its parent to do.
        last: The latest answer of the turn; None before the first.
        output: The format of its last answer, if that is to be a value.
        heard: How many messages the API has taken: it has answered a request with them.
        doubted: What was said since, and which it may refuse.
        most_marks: How many breakpoints of the cache the history may have, besides those of system prompt and tools.
    """

    phase: Phase = Phase.IDLE
    messages: tuple[Mapping[str, Any], ...] = ()
    turn: int = 0
    began_at: int = 0
    numbered: int = 0
    queue: tuple[Said, ...] = ()
    steers: tuple[Said, ...] = ()
    answer: tuple[Mapping[str, Any], ...] | None = None
    calls: tuple[Call, ...] = ()
    closing: bool = False
    paused: tuple[tuple[Mapping[str, Any], ...], ...] = ()
    stopped: str | None = None
    reason: str = ""
    error: AnthropixError | None = None
    stopping: bool = False
    compacted: int = 0
    at_once: int = 8
    closes: bool = True
    last: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    heard: int = 0
    doubted: tuple[Said, ...] = ()
    most_marks: int = 4

    @property
    def is_waiting(self) -> bool:
        """Whether the turn waits for people only: all calls without an outcome ask for approval."""
        left = [call.status for call in self.calls if call.status != "ended"]
        return self.phase is Phase.ACTING and "asks" in left and not {"ready", "running"} & {*left}

    @property
    def is_suspended(self) -> bool:
        """Whether the turn was left as it waited for people."""
        idle = self.phase in {Phase.IDLE, Phase.STOPPED}
        return idle and self.answer is not None and any(call.ours and call.status != "ended" for call in self.calls)

    @property
    def unfinished(self) -> tuple[int, ...]:
        """The numbers of the turns that have not ended, in order."""
        runs = self.is_suspended or self.phase not in {Phase.IDLE, Phase.STOPPED}
        return (*([self.turn] if runs else []), *(said.turn for said in self.queue))

    def call(self, call_id: str) -> Call | None:
        """Return the call of this id, or None."""
        return next((call for call in self.calls if call.id == call_id), None)

    @property
    def marks(self) -> int:
        """How many breakpoints of the cache there are in the history, and in what will come into it."""
        said = [each.content for each in (*self.queue, *self.steers)]
        return marks_in((self.messages, said, [call.content for call in self.calls]))
