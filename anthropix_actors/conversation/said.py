"""What may be said in a conversation. Pure, but that files are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from anthropix_actors.chat.parameters import chat_body
from anthropix_actors.conversation.core.state import Phase
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        raise ParameterError([Problem("content", f"expected a text, or content blocks, got {content!r:.200}")])
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
    blank = [
        Problem(f"content[{index}].text", "expected a text that is not blank")
        for index, block in enumerate(body["messages"][-1]["content"])
        if block["type"] == "text" and not block["text"].strip()
    ]
    if blank:
        raise ParameterError(blank)
    copied: list[Mapping[str, Any]] = body["messages"][-1]["content"]
    return copied


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
        except ValueError as exc:
            raise ParameterError([Problem("history", f"expected JSON as of history_json(): {exc}")]) from None
    if isinstance(history, dict):
        if history.get("format") != FORMAT:
            what = f"expected format {FORMAT} of history_json(), got {history.get('format')!r}"
            raise ParameterError([Problem("history", what)])
        history = history.get("messages")
    if not isinstance(history, list | tuple):
        raise ParameterError([Problem("history", f"expected a list of messages, got {type(history).__name__}")])
    return list(history)


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
