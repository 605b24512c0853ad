"""Structured output: a type → the JSON schema that the API takes, and an answer → a value of the type. Pure.

The API takes a subset of JSON Schema: every object is closed, and most limits are not enforced. Keywords outside of it
are moved into descriptions, where the model reads them; the value is checked against the whole type in the end.

Source: https://docs.claude.com/en/docs/build-with-claude/structured-outputs, read 2026-11-23.
"""

from __future__ import annotations

import functools
import typing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from anthropix_actors._checks.resolving import RESOLVING
from anthropix_actors._checks.shapes import described
from anthropix_actors._checks.type_schema import closed, name_of, references_in, schema_of
from anthropix_actors._foreign.log import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import OutputError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors._wire.message import Message

T = TypeVar("T")

_QUOTED = 200


class Parsed(msgspec.Struct, Generic[T], frozen=True):
    """An answer, and the value decoded from it.

    Attributes:
        output: The value.
        message: The whole Message.

    Example:
        >>> def describe(parsed: Parsed[int]) -> str:
        ...     return f"{parsed.output}, for {parsed.message['usage']['output_tokens']} tokens"
    """

    output: T
    message: Message


def output_format(kind: Any) -> dict[str, Any]:
    """Return the `output_config.format` for a dataclass, a TypedDict or a msgspec Struct.

    Raises:
        ParameterError: `kind` is none of these, or has fields that no schema of the API can describe.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class City:
        ...     name: str
        >>> output_format(City)["schema"]["properties"]
        {'name': {'type': 'string'}}
    """
    if not _is_record(kind):
        got = kind.__name__ if isinstance(kind, type) else shown(kind)
        what = f"expected a dataclass, a TypedDict or a msgspec Struct, got {got:.80}"
        raise ParameterError([Problem("output", what)])
    try:
        schema = _schema(kind)
    except ParameterError:
        raise
    except Exception as exc:  # in msgspec's words; annotations are evaluated, and may raise anything
        what = described(exc).rpartition("\n\n")[2]  # the text before is advice about hooks, which are not used here
        raise ParameterError([Problem("output", what)]) from exc
    return {"type": "json_schema", "schema": schema}


def decode_output(kind: type[T], message: Message) -> T:
    """Return the value decoded from an answer.

    Raises:
        OutputError: the answer is not JSON, or does not fit the type.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class City:
        ...     name: str
        >>> decode_output(City, {"content": [{"type": "text", "text": '{"name": "Bergen"}'}]})
        City(name='Bergen')
    """
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    try:
        decoder: msgspec.json.Decoder[T] = _decoder(cast("Any", kind))
        return decoder.decode(text)
    except BaseException as exc:  # the type's own `__post_init__` may raise anything, in a chat's thread
        raise OutputError(f"{_why(message)}: {described(exc)}; it begins {text[:_QUOTED]!r}", text=text) from exc


@functools.lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    with RESOLVING:
        return msgspec.json.Decoder(kind)


@functools.lru_cache(maxsize=256)
def _schema(kind: Any) -> dict[str, Any]:
    """Return the schema of a type: its own is at the root, as the API wants an object there."""
    whole, definitions = schema_of(kind)
    problems: list[Problem] = []
    if "$ref" in whole and (circle := _circle(name_of(whole), definitions, ())):
        what = "expected a type that does not contain itself: use a list of records that refer to each other by id"
        raise ParameterError([Problem("output", f"{what}; got {circle}")])
    schema = closed(definitions[name_of(whole)] if "$ref" in whole else whole, "output", problems)
    used: dict[str, Any] = {}
    wanted = [*references_in(schema)]
    while wanted:
        name = wanted.pop()
        if name not in used:
            used[name] = closed(definitions[name], f"output.{name}", problems)
            wanted += references_in(used[name])
    if problems:
        raise ParameterError(problems)
    return {**schema, "$defs": used} if used else schema


def _circle(name: str, definitions: Mapping[str, Any], around: tuple[str, ...]) -> str | None:
    """Return the path from a type back to itself, as text, or None: the API refuses recursive schemas."""
    if name in around:
        return " in ".join([name, *reversed(around[around.index(name) :])])
    inner = (_circle(each, definitions, (*around, name)) for each in dict.fromkeys(references_in(definitions[name])))
    return next((circle for circle in inner if circle), None)


def _is_record(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type):
        return False
    if issubclass(origin, msgspec.Struct):
        return not origin.__struct_config__.array_like
    # dataclasses.is_dataclass checks the same; importing it takes a hundredth of the time of importing the package
    return hasattr(origin, "__dataclass_fields__") or typing.is_typeddict(origin)


def _why(message: Message) -> str:
    reason = message.get("stop_reason")
    if reason == "max_tokens":
        return "the answer was cut by max_tokens, and does not fit"
    if reason == "refusal":
        return "the model refused to answer"
    return "the answer does not fit the type of output"


publish("anthropix_actors", (Parsed,))
