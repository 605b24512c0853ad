"""What the API would send: checks of a script's answers against the request that they answer. Pure.

A script tests a program, so an answer that the API never gives would prove nothing. Recorded events and Messages as on
the wire are taken as they are.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model.default_reply import cut_to_limit, server_tool_results
from anthropix_actors.emulator._model.json import is_object
from anthropix_actors.emulator.answers import MESSAGE_ANSWERS, PauseTurn, Refusal, Reply, unwrap
from anthropix_actors.emulator.reply_parts import AskToUse, Compaction, Thinking, ToolCall
from anthropix_actors.emulator.rules.chat_request import ChatRequest
from anthropix_actors.emulator.scripts.errors import ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.faults import Fault

_ID = re.compile(r"[a-zA-Z0-9_-]+")


def lawful(answer: Answer, body: Mapping[str, Any], *, unknown_tools: bool = False) -> Answer:
    """Return a script's answer as the API would send it to a request.

    The results of server tools that a paused turn has called go first, if the script has not given them, and
    `max_tokens` cuts a longer answer, as in the emulator's own answers.

    Args:
        answer: The answer, with its faults.
        body: The request's checked body.
        unknown_tools: Whether it may call tools that the request does not have.

    Raises:
        ScriptError: the API sends no such answer to this request.

    Example:
        >>> lawful("One two three four.", {"model": "m", "max_tokens": 2, "messages": []})
        Reply(content=['One two'], stop_reason='max_tokens', stop_sequence=None, usage={})
    """
    try:
        plain, faults = unwrap(answer)
    except TypeError as exc:
        raise ScriptError(f"it yielded what is no answer: {answer!r}") from exc
    if isinstance(plain, (str, *MESSAGE_ANSWERS)):
        for problem in _problems(plain, ChatRequest(dict(body)), unknown_tools=unknown_tools):
            raise ScriptError(f"the API would not answer this request so: {problem}")
        plain = _completed(plain, body)
    return _wrapped(plain, faults)


def _parts(plain: Any) -> list[Any]:
    match plain:
        case Reply() | Refusal():
            return list(plain.content)
        case PauseTurn():
            call: Any = {"type": "server_tool_use", "id": plain.id or "srvtoolu_01", "name": plain.name}
            return [*plain.content, call]
        case _:
            return [plain]


def _completed(plain: Any, body: Mapping[str, Any]) -> Any:
    parts = _parts(plain)
    given = {part.get("tool_use_id") for part in parts if is_object(part)}
    missing = [each for each in server_tool_results(body) if each["tool_use_id"] not in given]
    if isinstance(plain, (Refusal, PauseTurn)):
        before: list[Any] = [*missing, *plain.content]
        return replace(plain, content=before)
    reply = plain if isinstance(plain, Reply) else Reply(parts)
    kept = cut_to_limit([*missing, *parts], body["max_tokens"])
    if kept == [*missing, *parts] or reply.stop_reason is not None:
        return replace(reply, content=[*missing, *parts])
    return replace(reply, content=kept, stop_reason="max_tokens")


def _wrapped(plain: Answer, faults: list[Fault]) -> Answer:
    for fault in faults:  # from the innermost
        plain = replace(fault, answer=plain)
    return plain


def _problems(plain: Any, request: ChatRequest, *, unknown_tools: bool) -> Iterator[str]:
    parts = _parts(plain)
    calls = [(name, call_id) for part in parts for name, call_id in _called(part)]
    if not parts and not isinstance(plain, Refusal):
        yield "it is empty"
    for part in parts:
        yield from _problems_of_part(part, request)
    if not unknown_tools:
        known = {tool.text("name") for tool in request.tools}
        yield from (f"it has no tool {name!r}, but {sorted(known)}" for name, _ in calls if name not in known)
    yield from _problems_of_ids([call_id for _, call_id in calls if call_id is not None])
    if isinstance(plain, Refusal) or (isinstance(plain, Reply) and plain.stop_reason is not None):
        return
    yield from _problems_of_choice([part for part in parts if _is_call(part)], request, paused=plain)


def _problems_of_part(part: Any, request: ChatRequest) -> Iterator[str]:
    match part:
        case str() if not part.strip():
            yield f"a text is empty: {part!r}"
        case AskToUse():
            yield "only a session's agent asks for permission"
        case Thinking() if not request.thinking_on:
            yield "its thinking is off"
        case Compaction() if not _may_compact(request):
            yield "it asks for no compaction"
        case _:
            return


def _may_compact(request: ChatRequest) -> bool:
    return bool(request.get_object("compaction") or request.get_object("context_management"))


def _problems_of_ids(ids: list[str]) -> Iterator[str]:
    yield from (f"a call's id is {each!r}" for each in ids if not _ID.fullmatch(each))
    if len({*ids}) < len(ids):
        yield f"two calls have one id: {ids}"


def _problems_of_choice(calls: list[Any], request: ChatRequest, *, paused: Any) -> Iterator[str]:
    choice = request.get_object("tool_choice")
    kind = choice.get("type")
    if kind == "none" and calls:
        yield "tool_choice is none"
    if kind in ("any", "tool") and not calls and not isinstance(paused, PauseTurn | Compaction):
        yield f"tool_choice demands a call: {choice}"
    names = [name for call in calls for name, _ in _called(call)]
    if kind == "tool" and any(name != choice.get("name") for name in names):
        yield f"tool_choice demands calls of {choice.get('name')!r} alone"
    if choice.get("disable_parallel_tool_use") and len(calls) > 1:
        yield "it takes one call at a time: disable_parallel_tool_use"


def _is_call(part: Any) -> bool:
    return isinstance(part, ToolCall) or (is_object(part) and part.get("type") == "tool_use")


def _called(part: Any) -> Iterator[tuple[str, str | None]]:
    """Yield name and id of a call, of one of the client's tools or of the API's own."""
    if isinstance(part, ToolCall):
        yield part.name, part.id
    elif is_object(part) and part.get("type") in ("tool_use", "server_tool_use"):
        yield str(part.get("name")), str(part.get("id"))
