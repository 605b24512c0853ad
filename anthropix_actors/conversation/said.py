"""What may be said in a conversation. Pure, but that files are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from anthropix_actors.chat.parameters import chat_body
from anthropix_actors.content.refusals import refused
from anthropix_actors.conversation.core.history import THINKING, is_blank, marks_in
from anthropix_actors.conversation.core.state import Phase
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anthropix_actors.conversation.core.state import State

FORMAT = 1
"""The version of `history_json`."""

_WHENS = ("next", "idle", "now")


def checked_when(when: Any) -> Any:
    """Return when something is to be delivered.

    Raises:
        ParameterError: it is none of the words for that.
    """
    if when not in _WHENS:
        raise ParameterError([Problem("when", f"expected one of {', '.join(map(repr, _WHENS))}, got {when!r}")])
    return when


def checked_turn(turn: Any) -> int | None:
    """Return the number of a turn; None for the one that runs.

    Raises:
        ParameterError: it is none.
    """
    if turn is not None and (isinstance(turn, bool) or not isinstance(turn, int) or turn < 0):
        raise ParameterError([Problem("turn", f"expected the number of a turn, or None, got {turn!r:.200}")])
    return turn


def checked_content(content: Any, api_version: str) -> list[Mapping[str, Any]]:
    """Return what is said as blocks, a copy.

    Raises:
        ParameterError: the API would not take it; it names all places.

    Example:
        >>> checked_content("Hello", "2023-06-01")
        [{'type': 'text', 'text': 'Hello'}]
    """
    blocks: Any = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list | tuple) or not blocks:
        hint = "; put it in a list: [...]" if isinstance(content, dict) else ""
        raise ParameterError([Problem("content", f"expected a text, or content blocks, got {content!r:.200}{hint}")])
    results = [block for block in blocks if isinstance(block, dict) and block.get("type") == "tool_result"]
    call = {"type": "tool_use", "name": "any", "input": {}}  # the API takes a result only after its call
    calls: list[Any] = [{**call, "id": each.get("tool_use_id")} for each in results]
    before: Sequence[Any] = [{"role": "user", "content": "-"}, {"role": "assistant", "content": calls}] if calls else []
    message = {"role": "user", "content": [*blocks]}
    params = {"model": "m", "max_tokens": 1, "messages": [*before, message]}
    place = f"messages[{len(before)}].content"
    try:
        body = chat_body(params, api_version=api_version)
    except ParameterError as exc:
        raise ParameterError(
            [Problem(problem.place.replace(place, "content", 1), problem.text) for problem in exc.problems]
        ) from None
    copied: list[Mapping[str, Any]] = body["messages"][-1]["content"]
    if problems := [*_blanks(copied, "content"), *refused(copied, "content")]:
        raise ParameterError(problems)
    return copied


def _blanks(blocks: Sequence[Mapping[str, Any]], place: str) -> Iterator[Problem]:
    for index, block in enumerate(blocks):
        if is_blank(block):
            yield Problem(f"{place}[{index}].text", "expected a text that is not blank")


def checked_answer(approval: Any, *, allow: Any, by: Any) -> None:
    """Check what somebody decides.

    Raises:
        ParameterError: it is no approval, or no decision.
    """
    problems = []
    if not hasattr(approval, "digest"):
        problems.append(Problem("approval", f"expected an Approval, as told, got {type(approval).__name__}"))
    if not isinstance(allow, bool):  # a text that says why not is no permission
        problems.append(Problem("allow", f"expected True or False, got {allow!r}"))
    if by is not None and (not isinstance(by, str) or not by.isprintable()):
        problems.append(Problem("by", f"expected a printable text, got {by!r}"))
    if problems:
        raise ParameterError(problems)


def checked_history(history: Any) -> list[Any]:
    """Return the messages of a history: given as messages, or as `history_json` made it.

    Raises:
        ParameterError: it is neither, or of a later version.

    Example:
        >>> checked_history('{"format": 1, "messages": []}')
        []
    """
    if history is None:
        return []
    if isinstance(history, str | bytes):
        try:
            history = json.loads(history)
        except (ValueError, RecursionError) as exc:
            raise ParameterError([Problem("history", f"expected JSON as of history_json(): {exc}")]) from None
    if isinstance(history, dict):
        if history.get("format") != FORMAT:
            what = f"expected format {FORMAT} of history_json(), got {history.get('format')!r}"
            raise ParameterError([Problem("history", what)])
        history = history.get("messages")
    if not isinstance(history, list | tuple):
        raise ParameterError([Problem("history", f"expected a list of messages, got {type(history).__name__}")])
    return list(history)


def refused_history(messages: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield what the API refuses of a history, besides what it refuses of any chat: each request would be refused.

    Example:
        >>> thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
        >>> [str(problem) for problem in refused_history([{"role": "assistant", "content": [thought]}])]
        ['history[0].content: expected an answer that does not end with thinking']
    """
    for index, message in enumerate(messages):
        place, content = f"history[{index}].content", message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        yield from refused(content, place)
        if message["role"] == "user":
            yield from _blanks(content, place)
        elif (left := [block for block in content if not is_blank(block)]) and left[-1]["type"] in THINKING:
            yield Problem(place, "expected an answer that does not end with thinking")


def check_marks(state: State, content: Sequence[Mapping[str, Any]]) -> None:
    """Refuse breakpoints of the cache that are more than the API takes: they stay in the history.

    Raises:
        ParameterError: there are too many.
    """
    more = marks_in(content)
    if more and state.marks + more > state.most_marks:
        left = max(0, state.most_marks - state.marks)
        what = f"expected at most {left} more cache_control, as those of the conversation stay, got {more}"
        raise ParameterError([Problem("content", what)])


def check_results(state: State, content: Sequence[Mapping[str, Any]]) -> None:
    """Refuse results of calls that nobody waits for.

    Raises:
        ParameterError: there are some.
    """
    idle = state.phase is Phase.IDLE
    open_calls = {call.id for call in state.calls if not call.ours} if idle and state.answer is not None else set()
    problems = [
        Problem(f"content[{index}].tool_use_id", f"no call waits for a result of {block.get('tool_use_id')!r}")
        for index, block in enumerate(content)
        if block.get("type") == "tool_result" and block.get("tool_use_id") not in open_calls
    ]
    if problems:
        raise ParameterError(problems)
