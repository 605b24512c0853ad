"""What happens to a conversation, and what it wants done: the events and effects of `advance`. Pure.

Events are written into logs, as they are: what is added to one has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

# For msgspec, which reads the hints of what is written into logs:
from anthropix_actors.conversation.core.state import Call, Said, When  # noqa: TC001
from anthropix_actors.errors import AnthropixError  # noqa: TC001

Blocks: TypeAlias = tuple[Mapping[str, Any], ...]


# What happens


class Say(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody says something; its turn is from `place_of`."""

    said: Said
    when: When = "next"


class Streamed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call is whole, while the answer still streams."""

    call: Call


class Answered(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer is whole; `calls` are those of its content."""

    message: Mapping[str, Any]
    calls: tuple[Call, ...] = ()


class Cut(msgspec.Struct, frozen=True, omit_defaults=True):
    """The request ended as its chat was cancelled; `content` is what stays of the answer."""

    content: Blocks = ()
    calls: tuple[Call, ...] = ()


class Failed(msgspec.Struct, frozen=True, omit_defaults=True):
    """There will be no answer."""

    error: AnthropixError


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call has an outcome."""

    call_id: str
    content: str | Blocks
    is_error: bool = False
    seconds: float = 0.0


class Decided(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody decided about a call that needs approval."""

    call_id: str
    allow: bool
    by: str | None = None
    digest: str = ""


class Cancel(msgspec.Struct, frozen=True, omit_defaults=True):
    """The turn of this number is to end."""

    turn: int
    reason: str


class TimeUp(msgspec.Struct, frozen=True, omit_defaults=True):
    """The seconds of this turn's limits are spent."""

    turn: int


class Stop(msgspec.Struct, frozen=True, omit_defaults=True):
    """The conversation is to end; with an error, its turn fails."""

    reason: str
    error: AnthropixError | None = None


class Resumed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody goes on with the conversation, who did not run it before: nothing that ran then runs now.

    Attributes:
        calls: The calls of the answer, as the tools are now.
        at_once: How many may run at once.
        most_marks: As in the state.
        go_on: Whether the turns go on; else they end.
    """

    calls: tuple[Call, ...] = ()
    at_once: int = 8
    most_marks: int = 4
    go_on: bool = True


Event: TypeAlias = Say | Streamed | Answered | Cut | Failed | Ended | Decided | Cancel | TimeUp | Stop | Resumed


# What is to be done, in this order


class Commit(msgspec.Struct, frozen=True):
    """Messages were added to the history."""

    messages: Blocks


class Withdraw(msgspec.Struct, frozen=True):
    """The API has refused the messages after the first `heard`; these are in their place."""

    heard: int
    messages: Blocks


class GoOn(msgspec.Struct, frozen=True):
    """Go on with a turn that began elsewhere."""

    turn: int


class Ask(msgspec.Struct, frozen=True):
    """Send a request of a turn with these messages; a closing one lets the model call no tool."""

    turn: int
    messages: Blocks
    closing: bool = False


class DropAsk(msgspec.Struct, frozen=True):
    """A request that was not sent, and will not be."""

    turn: int


class CutChat(msgspec.Struct, frozen=True):
    """Cancel the request. A `Cut` follows, or an `Answered` or `Failed` that was faster."""

    reason: str


class StartCall(msgspec.Struct, frozen=True):
    """Start a call. An `Ended` follows."""

    call: Call


class CancelCall(msgspec.Struct, frozen=True):
    """Cancel a call. What it still says is only recorded."""

    call: Call
    reason: str


class TellAnswer(msgspec.Struct, frozen=True):
    """Tell that an answer is whole."""

    message: Mapping[str, Any]


class TellDone(msgspec.Struct, frozen=True):
    """Tell that a call has ended."""

    call: Call
    seconds: float = 0.0


class TellApproval(msgspec.Struct, frozen=True):
    """Tell that a call needs approval."""

    call: Call


class TellDecision(msgspec.Struct, frozen=True):
    """Tell what was decided about a call."""

    call: Call
    allow: bool
    by: str | None


class TellSteered(msgspec.Struct, frozen=True):
    """Tell that something that was said in the middle of a turn has been delivered to the model."""

    said: Said


class TellCompacted(msgspec.Struct, frozen=True):
    """Tell that the API has replaced what came before by a summary."""

    message: Mapping[str, Any]


class TellLimit(msgspec.Struct, frozen=True):
    """Tell that a limit was reached."""

    limit: str


class Late(msgspec.Struct, frozen=True):
    """Record an outcome that came too late to be told."""

    event: Ended


class EndTurn(msgspec.Struct, frozen=True):
    """End a turn, in one of four ways.

    Attributes:
        turn: Its number.
        how: "done", "failed", "cancelled" or "suspended".
        message: The last answer, of one that is done.
        stopped: What ended it, if not the model itself: a limit, or the stop reason.
        error: Why it failed.
        reason: Why it was cancelled.
        undelivered: What was said for it, and reached nobody.
        calls: The calls that wait for approval, of one that is suspended.
    """

    turn: int
    how: str
    message: Mapping[str, Any] | None = None
    stopped: str | None = None
    error: AnthropixError | None = None
    reason: str = ""
    undelivered: tuple[Said, ...] = ()
    calls: tuple[Call, ...] = ()


Effect: TypeAlias = (
    Commit
    | GoOn
    | Withdraw
    | Ask
    | DropAsk
    | CutChat
    | StartCall
    | CancelCall
    | TellAnswer
    | TellDone
    | TellApproval
    | TellDecision
    | TellSteered
    | TellCompacted
    | TellLimit
    | Late
    | EndTurn
)
