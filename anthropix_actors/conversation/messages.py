"""The messages that a turn sends to its subscribers, besides the `ChatEvent`s of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.ref import ChatRef
    from anthropix_actors.conversation.turn_ref import TurnRef
    from anthropix_actors.errors import AnthropixError


class ToolUse(msgspec.Struct, frozen=True):
    """A call of a tool.

    Attributes:
        id: The API's id of the call, the same in every attempt.
        name: The tool's name.
        input: The arguments, as the model wrote them.
    """

    id: str
    name: str
    input: Mapping[str, Any]


class Approval(msgspec.Struct, frozen=True):
    """A call that somebody has to approve; give it to `ConversationRef.answer`.

    Attributes:
        call_id: The API's id of the call.
        name: The tool's name.
        input: The arguments.
        digest: Of name, arguments and schema: what is approved is this call, and no other.
        expires: Seconds until it counts as denied, from when it was asked for; None for never.
        kind: "call"; or "unknown" for a call that was started before, and interrupted: it may have taken effect, and
            whoever approves it has it run again.
    """

    call_id: str
    name: str
    input: Mapping[str, Any]
    digest: str
    expires: float | None = None
    kind: Literal["call", "unknown"] = "call"


class AnswerDone(msgspec.Struct, frozen=True):
    """One answer of the turn is whole.

    Attributes:
        turn: The turn it belongs to.
        chat: The chat that was asked.
        message: The whole Message.
        path: The names of the sub-agents below the turn's own agent; empty for its own.
    """

    turn: TurnRef
    chat: ChatRef
    message: Message
    path: tuple[str, ...] = ()


class ToolStarted(msgspec.Struct, frozen=True):
    """A call was started.

    Attributes:
        turn: The turn it belongs to.
        call: The call.
        path: As in `AnswerDone`.
    """

    turn: TurnRef
    call: ToolUse
    path: tuple[str, ...] = ()


class ToolProgress(msgspec.Struct, frozen=True):
    """What a tool passed to `call.progress`.

    Attributes:
        turn: The turn it belongs to.
        call: The call.
        data: What the tool passed.
        path: As in `AnswerDone`.
    """

    turn: TurnRef
    call: ToolUse
    data: Any
    path: tuple[str, ...] = ()


class ToolDone(msgspec.Struct, frozen=True):
    """A call has a result.

    Attributes:
        turn: The turn it belongs to.
        call: The call.
        result: What the model is told: a text, or content blocks.
        is_error: Whether it is an error.
        seconds: How long it took; 0.0 for one that was not run.
        path: As in `AnswerDone`.
    """

    turn: TurnRef
    call: ToolUse
    result: str | list[Mapping[str, Any]]
    is_error: bool
    seconds: float
    path: tuple[str, ...] = ()


class ApprovalNeeded(msgspec.Struct, frozen=True):
    """A call waits until somebody approves or denies it, with `ConversationRef.answer`.

    Attributes:
        turn: The turn it belongs to.
        approval: What is to be approved.
        path: As in `AnswerDone`.
    """

    turn: TurnRef
    approval: Approval
    path: tuple[str, ...] = ()


class ApprovalGiven(msgspec.Struct, frozen=True):
    """A call was approved or denied.

    Attributes:
        turn: The turn it belongs to.
        approval: What was to be approved.
        allow: Whether it was approved.
        by: Who did, as was passed to `answer`.
        path: As in `AnswerDone`.
    """

    turn: TurnRef
    approval: Approval
    allow: bool
    by: str | None
    path: tuple[str, ...] = ()


class Steered(msgspec.Struct, frozen=True):
    """What was said in the middle of the turn has reached the model.

    Attributes:
        turn: The turn it belongs to.
        content: The blocks.
        path: As in `AnswerDone`.
    """

    turn: TurnRef
    content: list[Mapping[str, Any]]
    path: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text of the blocks."""
        return "".join(block.get("text", "") for block in self.content)


class Compacted(msgspec.Struct, frozen=True):
    """The API has put a summary in the place of what came before.

    Attributes:
        turn: The turn it belongs to.
        before: The tokens of what came before.
        after: The tokens of the summary.
        path: As in `AnswerDone`.
    """

    turn: TurnRef
    before: int
    after: int
    path: tuple[str, ...] = ()


class LimitReached(msgspec.Struct, frozen=True):
    """A limit of the agent was reached: at most one request follows, in which the model can call no tool.

    Attributes:
        turn: The turn it belongs to.
        limit: "requests", "tokens" or "seconds".
        path: As in `AnswerDone`.
    """

    turn: TurnRef
    limit: str
    path: tuple[str, ...] = ()


class TurnDone(msgspec.Struct, frozen=True):
    """The model has answered. The last message of its turn.

    Attributes:
        turn: The turn.
        message: The last answer, whole; None if a limit was reached before there was one.
        output: The decoded value, if the turn's `output` asked for one.
        usage: The tokens of all its requests, those of sub-agents included.
        stopped: None if the model ended by itself; else a limit ("requests", "tokens", "seconds") or the stop reason.
        undelivered: What was said during the turn, and did not reach the model.
    """

    turn: TurnRef
    message: Message | None
    output: Any = None
    usage: Usage = Usage()
    stopped: str | None = None
    undelivered: tuple[Any, ...] = ()


class TurnFailed(msgspec.Struct, frozen=True):
    """A request of the turn failed for good. The last message of its turn.

    Attributes:
        turn: The turn.
        error: The reason; `error.partial` is the last answer so far, or None.
        usage: As in `TurnDone`.
        undelivered: As in `TurnDone`.
    """

    turn: TurnRef
    error: AnthropixError
    usage: Usage = Usage()
    undelivered: tuple[Any, ...] = ()


class TurnCancelled(msgspec.Struct, frozen=True):
    """The turn was cancelled, by a call or as it had lost its last subscriber. The last message of its turn.

    Attributes:
        turn: The turn.
        reason: The reason, in a few words.
        usage: As in `TurnDone`.
        undelivered: As in `TurnDone`.
    """

    turn: TurnRef
    reason: str
    usage: Usage = Usage()
    undelivered: tuple[Any, ...] = ()


class TurnSuspended(msgspec.Struct, frozen=True):
    """The conversation was stopped while its turn waited for people. The last message of its turn, in this process.

    Attributes:
        turn: The turn.
        approvals: What nobody has decided.
        usage: As in `TurnDone`.
        undelivered: As in `TurnDone`.
    """

    turn: TurnRef
    approvals: tuple[Approval, ...]
    usage: Usage = Usage()
    undelivered: tuple[Any, ...] = ()


TurnTerminal: TypeAlias = TurnDone | TurnFailed | TurnCancelled | TurnSuspended
"""The message that ends a turn."""

TurnMessage: TypeAlias = (
    AnswerDone
    | ToolStarted
    | ToolProgress
    | ToolDone
    | ApprovalNeeded
    | ApprovalGiven
    | Steered
    | Compacted
    | LimitReached
    | TurnDone
    | TurnFailed
    | TurnCancelled
    | TurnSuspended
)
"""Any message of a turn's own; besides them, its subscribers get the `ChatEvent`s and `ChatRetrying`s of its chats."""


publish(
    "anthropix_actors.messages",
    (
        *(ToolUse, Approval, AnswerDone, ToolStarted, ToolProgress, ToolDone, ApprovalNeeded, ApprovalGiven, Steered),
        *(Compacted, LimitReached, TurnDone, TurnFailed, TurnCancelled, TurnSuspended),
    ),
)
