"""Structured output: a type → the JSON schema that the API takes, and an answer → a value of the type. Pure.

The API takes a part of JSON Schema: every object is closed, and most limits are not enforced. What it does not take is
moved into descriptions, where the model reads it; the value is checked against the whole type in the end.

Source: https://docs.claude.com/en/docs/build-with-claude/structured-outputs, read 2026-11-23.
"""

from __future__ import annotations

import functools
import typing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from anthropix_actors._shapes import RESOLVING
from anthropix_actors.errors import OutputError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anthropix_actors.types import Message

T = TypeVar("T")

FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)  # fmt: skip
"""The formats of strings that the API makes sure of."""

_KEPT = frozenset({"type", "description", "enum", "const", "anyOf", "required", "items", "properties", "$ref"})
_SILENT = frozenset({"title", "default", "discriminator"})  # they say nothing that the model needs
_LEAST_ITEMS = (0, 1)
_QUOTED = 200


class Parsed(msgspec.Struct, Generic[T], frozen=True):
    """An answer, and what it says as a value.

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
    """Get what to send as `output_config.format`, for a dataclass, a TypedDict or a msgspec Struct.

    Raises:
        ParameterError: it is none of these, or has fields that no schema of the API can describe.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class City:
        ...     name: str
        >>> output_format(City)["schema"]["properties"]
        {'name': {'type': 'string'}}
    """
    if not _is_record(kind):
        got = getattr(kind, "__name__", None) or repr(kind)
        what = f"expected a dataclass, a TypedDict or a msgspec Struct, got {got:.80}"
        raise ParameterError([Problem("output", what)])
    try:
        with RESOLVING:
            schema = _schema(kind)
    except (TypeError, NameError) as exc:  # msgspec's words for what it does not know
        raise ParameterError([Problem("output", str(exc))]) from exc
    return {"type": "json_schema", "schema": schema}


def decode_output(kind: type[T], message: Message) -> T:
    """Get the value that an answer says.

    Raises:
        OutputError: it is no JSON, or does not fit the type.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class City:
        ...     name: str
        >>> decode_output(City, {"content": [{"type": "text", "text": '{"name": "Bergen"}'}]})
        City(name='Bergen')
    """
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    with RESOLVING:
        decoder: msgspec.json.Decoder[T] = _decoder(cast("Any", kind))
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise OutputError(f"{_why(message)}: {exc}; it begins {text[:_QUOTED]!r}", text=text) from exc


@functools.lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@functools.lru_cache(maxsize=256)
def _schema(kind: Any) -> dict[str, Any]:
    """Get the schema of a type: its own is at the root, as the API wants an object there."""
    whole = msgspec.json.schema(kind)
    definitions = whole.pop("$defs", {})
    problems: list[Problem] = []
    schema = _closed(definitions[_name(whole)] if "$ref" in whole else whole, "output", problems)
    used: dict[str, Any] = {}
    wanted = [*_references(schema)]
    while wanted:
        name = wanted.pop()
        if name not in used:
            used[name] = _closed(definitions[name], f"output.{name}", problems)
            wanted += _references(used[name])
    if problems:
        raise ParameterError(problems)
    return {**schema, "$defs": used} if used else schema


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _references(part: Any) -> Iterator[str]:
    """Get the names of the definitions that a part of a schema refers to."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield _name(part)
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _is_record(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type):
        return False
    if issubclass(origin, msgspec.Struct):
        return not origin.__struct_config__.array_like
    # dataclasses.is_dataclass looks for the same; importing it is a hundredth of what importing the package takes
    return hasattr(origin, "__dataclass_fields__") or typing.is_typeddict(origin)


def _why(message: Message) -> str:
    reason = message.get("stop_reason")
    if reason == "max_tokens":
        return "the answer was cut by max_tokens, and does not fit"
    if reason == "refusal":
        return "the model refused to answer"
    return "the answer does not fit the type of output"


def _closed(schema: Mapping[str, Any], place: str, problems: list[Problem]) -> dict[str, Any]:
    """Get a schema as the API takes it, with the rest in its description."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    kept: dict[str, Any] = {key: value for key, value in schema.items() if key in _KEPT}
    rest = {key: value for key, value in schema.items() if key not in _KEPT | _SILENT}
    if "anyOf" in kept:
        kept["anyOf"] = [_closed(part, place, problems) for part in kept["anyOf"]]
    kind = kept.get("type")
    if kind == "object":
        _close_object(kept, rest, place, problems)
    elif kind == "array":
        _close_array(kept, rest, place, problems)
    elif kind == "string" and rest.get("format") in FORMATS:
        kept["format"] = rest.pop("format")
    elif not kept.keys() & {"type", "anyOf", "enum", "const"}:
        problems.append(Problem(place, "expected a type that says what it is; there is no schema for anything at all"))
    if rest:
        words = ", ".join(f"{key}: {value}" for key, value in rest.items())
        kept["description"] = f"{kept['description']} ({words})" if kept.get("description") else f"({words})"
    return kept


def _close_object(kept: dict[str, Any], rest: dict[str, Any], place: str, problems: list[Problem]) -> None:
    if rest.pop("additionalProperties", False):
        what = "expected fields with names; keys that the model chooses are not possible: take a list of pairs"
        problems.append(Problem(place, what))
    properties = kept.get("properties", {})
    kept["properties"] = {name: _closed(part, f"{place}.{name}", problems) for name, part in properties.items()}
    kept["additionalProperties"] = False


def _close_array(kept: dict[str, Any], rest: dict[str, Any], place: str, problems: list[Problem]) -> None:
    members = rest.pop("prefixItems", None)
    if members:  # a tuple: the API knows lists alone
        kinds = [_closed(part, f"{place}[{index}]", problems) for index, part in enumerate(members)]
        different = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
        kept["items"] = different[0] if len(different) == 1 else {"anyOf": different}
    else:
        kept["items"] = _closed(kept.get("items", {}), f"{place}[]", problems)
    if rest.get("minItems") in _LEAST_ITEMS:
        kept["minItems"] = rest.pop("minItems")
