"""The terminal message of a turn, and what is counted for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors._decode.json import copied
from anthropix_actors.conversation.core.output import value_of
from anthropix_actors.conversation.messages import TurnCancelled, TurnDone, TurnFailed, TurnSuspended
from anthropix_actors.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from anthropix_actors.conversation.core.moves import EndTurn
    from anthropix_actors.conversation.core.state import Said
    from anthropix_actors.conversation.messages import Approval
    from anthropix_actors.conversation.turn import TurnTask


_READ = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def terminal_of(turn: TurnTask, end: EndTurn, approvals: Iterable[Approval], undelivered: Iterable[Said]) -> Any:
    """Return what the subscribers of a turn are told last.

    Args:
        turn: The turn.
        end: How it ends.
        approvals: What it waits for, if it is suspended.
        undelivered: What is handed back.
    """
    usage, back = turn.budget.usage, tuple(copied([*said.content]) for said in undelivered)
    if end.how == "done":
        message: Any = end.message
        try:
            output = value_of(turn.output, message)
        except OutputError as exc:
            exc.partial = message
            return TurnFailed(turn.ref, exc, usage, back)
        return TurnDone(turn.ref, message, output, usage, end.stopped, back)
    if end.how == "failed":
        assert end.error is not None
        return TurnFailed(turn.ref, end.error, usage, back)
    if end.how == "suspended":
        return TurnSuspended(turn.ref, tuple(approvals), usage, back)
    return TurnCancelled(turn.ref, end.reason, usage, back)


def sizes(message: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens that a compaction read, and those that it wrote.

    Example:
        >>> sizes({"usage": {"input_tokens": 9000, "output_tokens": 200}})
        (9000, 200)
    """
    usage: Any = message.get("usage") or {}
    iterations = [each for each in usage.get("iterations") or () if isinstance(each, dict)]
    of_it = next((each for each in iterations if each.get("type") == "compaction"), usage)
    read = sum(int(of_it.get(name) or 0) for name in _READ)
    return read, int(of_it.get("output_tokens") or 0)
