"""The declared shape of each call's parameters, and their validation. Pure.

Everything that the API fixes is checked: required keys, types, ranges, the shapes of known blocks; and combinations, in
`combinations`. Everything that it keeps open is not checked:
model names, block types and tool types are never compared with a list, and unknown keys pass.

Source: https://docs.claude.com/en/api/messages and /versioning, read 2026-11-23.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from anthropix_actors._checks.actors import is_of_actors, is_tool_server
from anthropix_actors._checks.block_shapes import (
    BLOCK,
    CACHE_CONTROL,
    CACHED,
    DOCUMENT,
    IMAGE,
    MAPPING,
    MAPPINGS,
    NON_EMPTY,
    SEARCH_RESULT,
    STRING,
    TEXT,
    TEXT_BLOCK,
    TOOL_NAME,
    TOOL_RESULT_CONTENT,
)
from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._checks.shapes import Kind, Leaf, ListOf, Shape, StringOr, Tagged, problems_of, within
from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors.chat.combinations import whole_problems
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_TOKENS = 4096
"""The default `max_tokens` of a chat, as in Anthropix."""

MAX_MESSAGES = 100_000
_SHOWN = 60
NEWER_VERSION = "2026-10-21"
"""From this version on, the API refuses some parameters that it took before."""

BOOL = Leaf("True or False", bool)
ANYTHING = Leaf("anything", Any)
NON_NEGATIVE = Leaf("an integer from 0", Annotated[int, Meta(ge=0)])
FRACTION = Leaf("a number from 0 to 1", Annotated[float, Meta(ge=0, le=1)])
ROLE = Leaf('"user", "assistant" or "system"', Literal["user", "assistant", "system"])
STRINGS = ListOf(STRING, "a list of strings")

TOOL_USE = Shape({"id": NON_EMPTY, "name": NON_EMPTY, "input": MAPPING}, CACHED)
_SERVER_RESULT = Shape({"tool_use_id": NON_EMPTY, "content": ANYTHING}, CACHED)
TOOL_RESULT = Shape(
    {"tool_use_id": NON_EMPTY},
    {**CACHED, "content": StringOr(ListOf(TOOL_RESULT_CONTENT, "a list of blocks")), "is_error": BOOL},
)

BLOCKS: dict[str, Shape] = {
    "text": TEXT,
    "image": IMAGE,
    "document": DOCUMENT,
    "search_result": SEARCH_RESULT,
    "thinking": Shape({"thinking": STRING, "signature": STRING}),
    "redacted_thinking": Shape({"data": STRING}),
    "tool_use": TOOL_USE,
    "tool_result": TOOL_RESULT,
    "server_tool_use": TOOL_USE,
    "web_search_tool_result": _SERVER_RESULT,
    "web_fetch_tool_result": _SERVER_RESULT,
    "code_execution_tool_result": _SERVER_RESULT,
    "bash_code_execution_tool_result": _SERVER_RESULT,
    "text_editor_code_execution_tool_result": _SERVER_RESULT,
    "tool_search_tool_result": _SERVER_RESULT,
    "container_upload": Shape({"file_id": NON_EMPTY}, CACHED),
}

_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")

CONTENT = StringOr(ListOf(Tagged(BLOCKS, BLOCK), "a list of blocks"))


class Messages(ListOf, frozen=True, dict=True):
    """A list of messages. Who gives a text alone is shown the list that it is meant to be."""

    def problems(self, value: Any, place: str) -> Iterator[Problem]:
        """Yield the problems of a list, or of what is none."""
        for problem in super().problems(value, place):
            text = json.dumps(value[:_SHOWN], ensure_ascii=False) if isinstance(value, str) else ""
            hint = f'; write [{{"role": "user", "content": {text}}}]' if text else ""
            yield Problem(problem.place, problem.text + hint)


MESSAGES = Messages(
    Shape({"role": ROLE, "content": CONTENT}, expected='a mapping with "role" and "content"'),
    "a list of messages",
    at_least=1,
    at_most=MAX_MESSAGES,
)

_OBJECT = Leaf('"object"', Literal["object"])
CUSTOM_TOOL = Shape(
    {"name": TOOL_NAME, "input_schema": Shape({"type": _OBJECT}, expected="a JSON schema of an object")},
    {
        **CACHED,
        "description": STRING,
        "strict": BOOL,
        "defer_loading": BOOL,
        "eager_input_streaming": BOOL,
        "allowed_callers": STRINGS,
        "input_examples": MAPPINGS,
    },
)
TOOL = Tagged(
    {"custom": CUSTOM_TOOL},
    'a tool like {"name": "...", "input_schema": {"type": "object", ...}}',
    otherwise=Shape(optional={"name": STRING, **CACHED}),
    without_type=CUSTOM_TOOL,
)
_CHOICE = Shape(optional={"disable_parallel_tool_use": BOOL})
TOOL_CHOICE = Tagged(
    {"auto": _CHOICE, "any": _CHOICE, "tool": Shape({"name": NON_EMPTY}, _CHOICE.optional), "none": MAPPING},
    'a mapping like {"type": "auto"}',
    otherwise=None,
)
_BUDGET = Leaf("an integer from 1024", Annotated[int, Meta(ge=1024)])
THINKING = Tagged(
    {
        "enabled": Shape({"budget_tokens": _BUDGET}, {"display": STRING}),
        "adaptive": Shape(optional={"display": STRING}),
    },
    'a mapping like {"type": "adaptive"}',
)
OUTPUT_FORMAT = Tagged(
    {"json_schema": Shape({"schema": MAPPING})}, 'a mapping like {"type": "json_schema", ...} (a type goes to output)'
)
OUTPUT_CONFIG = Shape(optional={"effort": STRING, "format": OUTPUT_FORMAT})

_SYSTEM = StringOr(ListOf(Tagged({"text": TEXT}, TEXT_BLOCK), "a list of text blocks"))
_SHARED: dict[str, Kind] = {
    "system": _SYSTEM,
    "tools": ListOf(TOOL, "a list of tools"),
    "tool_choice": TOOL_CHOICE,
    "thinking": THINKING,
    "output_config": OUTPUT_CONFIG,
    "output_format": OUTPUT_FORMAT,  # the older name, with the beta structured-outputs-2025-11-13
    "cache_control": CACHE_CONTROL,
    "context_management": MAPPING,
    "mcp_servers": MAPPINGS,
    "speed": STRING,
    "billing_policy": MAPPING,
    "compaction": MAPPING,
}

CHAT = Shape(
    {"model": NON_EMPTY, "messages": MESSAGES, "max_tokens": NON_NEGATIVE},
    {
        **_SHARED,
        "temperature": FRACTION,
        "top_p": FRACTION,
        "top_k": NON_NEGATIVE,
        "stop_sequences": STRINGS,
        "metadata": Shape(
            optional={"user_id": Leaf("a string of at most 512 characters", Annotated[str, Meta(max_length=512)])}
        ),
        "container": StringOr(MAPPING),
        "diagnostics": MAPPING,
        "inference_geo": STRING,
        "service_tier": STRING,
        "fallback_credit_token": StringOr(MAPPING),
        "fallbacks": StringOr(MAPPINGS),
        "thread": MAPPING,
    },
)
BATCHED = Shape(CHAT.required, {**CHAT.optional, "user_profile_id": NON_EMPTY})
"""A request of a batch: `user_profile_id`, a header of a chat, is in its body, as each request may have its own."""

COUNT_TOKENS = Shape({"model": NON_EMPTY, "messages": MESSAGES}, _SHARED)

PARAMETERS = (*CHAT.required, *CHAT.optional)
"""The names of a chat's parameters."""

BATCH_PARAMETERS = (*PARAMETERS, "user_profile_id", "extra_body")
"""The names of the parameters of a batch's request."""

COUNT_PARAMETERS = (*COUNT_TOKENS.required, *COUNT_TOKENS.optional)
"""The names of a token count's parameters."""


def chat_problems(params: Mapping[str, Any], *, api_version: str) -> list[Problem]:
    """Return all problems of a chat's parameters, in the order of the parameters; empty if they can be sent.

    Args:
        params: The parameters by name. An optional parameter that is None counts as left out.
        api_version: The version of the API that will get them; a newer one refuses more.

    Example:
        >>> [str(problem) for problem in chat_problems({"model": "m", "max_tokens": 1}, api_version="2023-06-01")]
        ['messages: required, and missing: expected a list of messages']
    """
    return _checked(CHAT, params, api_version)[1]


def count_tokens_problems(params: Mapping[str, Any], *, api_version: str) -> list[Problem]:
    """Return all problems of a token count's parameters, as `chat_problems` does."""
    return _checked(COUNT_TOKENS, params, api_version)[1]


def chat_body(
    params: Mapping[str, Any],
    *,
    api_version: str,
    extra_body: Mapping[str, Any] | None = None,
    betas: Iterable[str] | None = None,
) -> dict[str, Any]:
    """Return the body of a chat's request: the given parameters, and over them `extra_body`.

    It is a deep copy, so that the caller cannot change the request while it waits for a retry. If each parameter is
    right on its own, their combination is checked (`combinations`).

    Args:
        params: The parameters by name, as for `chat_problems`.
        api_version: The version of the API that will get them.
        extra_body: Other keys to send. They are only checked for being JSON, and replace parameters of the same name.
        betas: The betas of the request; None if they are not known.

    Raises:
        ParameterError: some parameters are wrong; it has all problems.

    Example:
        >>> params = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "system": None}
        >>> chat_body(params, api_version="2023-06-01", extra_body={"max_tokens": 8, "brand_new": 1})
        {'model': 'm', 'max_tokens': 8, 'messages': [{'role': 'user', 'content': 'Hi'}], 'brand_new': 1}
    """
    body, extra = _body(CHAT, params, api_version, extra_body)
    return _whole(body, extra, betas)


def batch_body(
    params: Mapping[str, Any], *, api_version: str, extra_body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the parameters of a batch's request, as `chat_body` does.

    Raises:
        ParameterError: some parameters are wrong; it has all problems.
    """
    return _whole(*_body(BATCHED, params, api_version, extra_body), None)


def count_tokens_body(
    params: Mapping[str, Any], *, api_version: str, extra_body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the body of a token count's request, as `chat_body` does, even for a part of a conversation.

    Raises:
        ParameterError: some parameters are wrong; it has all problems.
    """
    body, extra = _body(COUNT_TOKENS, params, api_version, extra_body)
    return {**body, **extra}


def _body(
    shape: Shape, params: Mapping[str, Any], api_version: str, extra_body: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters and the extra body, each right on its own."""
    body, problems = _checked(shape, params, api_version)
    extra: dict[str, Any] = {}
    if isinstance(extra_body, Mapping):
        extra = copy_json(extra_body, "extra_body", problems)
    elif extra_body is not None:
        problems += MAPPING.problems(extra_body, "extra_body")
    if problems:
        raise ParameterError(problems)
    for _, _, block in _blocks(body):
        if block.get("type") in _CALLS:
            block.pop("input_json", None)  # a key of this library; the API refuses unknown keys
    _leave_out_blanks(body)
    return body, extra


def _whole(body: dict[str, Any], extra: dict[str, Any], betas: Iterable[str] | None) -> dict[str, Any]:
    if problems := whole_problems(body, extra=extra, betas=betas):
        raise ParameterError(problems)
    return {**body, **extra}


def _checked(shape: Shape, params: Mapping[str, Any], api_version: str) -> tuple[dict[str, Any], list[Problem]]:
    """Return a copy of the given parameters, and all their problems."""
    given = {name: value for name, value in params.items() if value is not None or name in shape.required}
    not_json: list[Problem] = []
    made = _made_tools(given, not_json)
    body: dict[str, Any] = copy_json(given, "", not_json)
    found = [*problems_of(shape, body, ""), *_version_problems(body, api_version), *_whole_answers(body)]
    blanks = {within(place, "text") for place, role, block in _blocks(body) if _is_blank(role, block)}
    found = [problem for problem in found if problem.place not in blanks]
    places = {problem.place for problem in found}
    found += [problem for problem in not_json if problem.place not in places]
    order = {name: index for index, name in enumerate(PARAMETERS)}
    if made:  # a dict of actors, or a server, stands for several; each of the others has kept its place in the problems
        body["tools"] = [each for index, one in enumerate(body["tools"]) for each in _in_place(one, made.get(index))]
    return body, sorted(found, key=lambda problem: order.get(_parameter(problem.place), len(order)))


def _made_tools(given: dict[str, Any], problems: list[Problem]) -> dict[int, list[dict[str, Any]]]:
    """Put dicts in place of the functions and actors in `tools`, one for each; return all, by their index."""
    tools: Any = given.get("tools")
    toolbox = sys.modules.get("anthropix_actors.tools.toolbox")  # else nobody has a Toolbox
    if toolbox is not None and isinstance(tools, toolbox.Toolbox):
        tools = given["tools"] = list(tools)
    if type(tools) not in {list, tuple} or not any(map(_is_made, tools)):
        return {}
    with late_import():
        from anthropix_actors.tools.toolbox import wire_of

    made = wire_of(tools, problems)
    given["tools"] = [(made[index] or [_NONE])[0] if index in made else each for index, each in enumerate(tools)]
    return made


_NONE = {"name": "none", "input_schema": {"type": "object"}}
"""Keeps the place of a server that has no tools."""


def _in_place(checked: Any, made: list[dict[str, Any]] | None) -> list[Any]:
    """Return what one thing in a list of tools stands for, given the first of it as it was checked."""
    if made is None:
        return [checked]
    return [checked, *made[1:]] if made else []


def _is_made(tool: object) -> bool:
    return callable(tool) or is_of_actors(tool) or is_tool_server(tool)


def _parameter(place: str) -> str:
    return place.partition(".")[0].partition("[")[0]


def _version_problems(body: Mapping[str, Any], api_version: str) -> Iterator[Problem]:
    """Yield the problems of parameters that the newer version of the API refuses and the older took."""
    if api_version < NEWER_VERSION:
        return
    advice = f"the API refuses this from version {NEWER_VERSION} on"
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            yield Problem(name, f'{advice}: leave it out, or make the client with api_version="2023-06-01"')
    for place, role, block in _blocks(body):
        if role == "assistant" and block.get("type") == "document":
            yield Problem(place, f"{advice}: a document directly in a message of the assistant")
        if role == "user" and block.get("type") == "text" and block.get("citations"):
            yield Problem(within(place, "citations"), f"{advice}: citations on a text block of the user")


def _whole_answers(body: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each message that is a whole answer: the API takes only role and content."""
    for place, message in _mappings(body.get("messages"), "messages"):
        if message.get("type") == "message" and "usage" in message:
            advice = 'expected {"role": answer["role"], "content": answer["content"]}, got the whole answer'
            yield Problem(place, advice)


def _is_blank(role: object, block: Mapping[str, Any]) -> bool:
    """Return whether a block is a blank text in an answer: the API sends such blocks, but refuses them."""
    text = block.get("text")
    return role == "assistant" and block.get("type") == "text" and isinstance(text, str) and not text.strip()


def _leave_out_blanks(body: dict[str, Any]) -> None:
    """Remove parts that the API sends but refuses: blank texts of answers, and answers that are empty without them."""
    if not any(_is_blank(role, block) for _, role, block in _blocks(body)):
        return
    turns = []
    for turn in body["messages"]:
        content = turn["content"]
        if isinstance(content, list):
            turn["content"] = [block for block in content if not _is_blank(turn["role"], block)]
        if turn["content"] or not content:
            turns.append(turn)
    body["messages"] = turns


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield place, role and block for every dict in the content of the messages."""
    for place, message in _mappings(body.get("messages"), "messages"):
        for inner, block in _mappings(message.get("content"), f"{place}.content"):
            yield inner, message.get("role"), block


def _mappings(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                yield f"{place}[{index}]", item
