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

from anthropix_actors._checks.shapes import RESOLVING, described
from anthropix_actors._foreign.log import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import OutputError, ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from anthropix_actors._wire.message import Message

T = TypeVar("T")

FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)  # fmt: skip
"""The formats of strings that the API enforces."""

_KEPT = frozenset({"type", "description", "enum", "const", "anyOf", "required", "items", "properties", "$ref"})
_SILENT = frozenset({"title", "default", "discriminator"})  # they say nothing that the model needs
_LEAST_ITEMS = (0, 1)
_QUOTED = 200
_TIMES = (msgspec.inspect.DateTimeType, msgspec.inspect.TimeType, msgspec.inspect.TimeDeltaType)
_RECORDS = (
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TypedDictType,
    msgspec.inspect.NamedTupleType,
)


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
    with RESOLVING:
        whole, info = msgspec.json.schema(kind), msgspec.inspect.type_info(kind)
    definitions = whole.pop("$defs", {})
    _name_times(whole, info, definitions, set())
    problems: list[Problem] = []
    if "$ref" in whole and (circle := _circle(_name(whole), definitions, ())):
        what = "expected a type that does not contain itself: use a list of records that refer to each other by id"
        raise ParameterError([Problem("output", f"{what}; got {circle}")])
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


def _circle(name: str, definitions: Mapping[str, Any], around: tuple[str, ...]) -> str | None:
    """Return the path from a type back to itself, as text, or None: the API refuses recursive schemas."""
    if name in around:
        return " in ".join([name, *reversed(around[around.index(name) :])])
    inner = (_circle(each, definitions, (*around, name)) for each in dict.fromkeys(_references(definitions[name])))
    return next((circle for circle in inner if circle), None)


def _name_times(schema: dict[str, Any], info: Any, definitions: Mapping[str, Any], seen: set[str]) -> None:
    """Add the formats of times to a schema: msgspec omits them where a value may lack its offset from UTC."""
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if "$ref" in schema:
        name = _name(schema)
        if name in seen:
            return
        seen.add(name)
        schema = definitions[name]
    if isinstance(info, (msgspec.inspect.DateTimeType, msgspec.inspect.TimeType)):
        kind = "date-time" if isinstance(info, msgspec.inspect.DateTimeType) else "time"
        schema["format"] = f"{kind} without an offset" if info.tz is False else schema.get("format", kind)
    elif isinstance(info, msgspec.inspect.TimeDeltaType):
        schema.setdefault("examples", "PT90M, P1DT2H; no weeks, months or years")  # msgspec does not read these units
    for part, inner in _parts(schema, info, definitions):
        _name_times(part, inner, definitions, seen)


def _parts(schema: dict[str, Any], info: Any, definitions: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the parts of a schema, each with its type."""
    if isinstance(info, msgspec.inspect.UnionType):
        yield from _options(schema, info, definitions)
    elif isinstance(info, _RECORDS):
        fields = {field.encode_name: field.type for field in info.fields}
        for name, part in schema.get("properties", {}).items():
            if name in fields:  # a tag is not a field
                yield part, fields[name]
        yield from zip(reversed(schema.get("prefixItems", ())), reversed(fields.values()), strict=False)
    elif isinstance(info, msgspec.inspect.CollectionType):
        if isinstance(schema.get("items"), dict):
            yield schema["items"], info.item_type
    elif isinstance(info, msgspec.inspect.TupleType):
        yield from zip(schema.get("prefixItems", ()), info.item_types, strict=True)


def _options(schema: dict[str, Any], info: Any, definitions: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the options of a union, each with its type: msgspec allows one text and one list, and puts Structs last."""
    types = [each.type if isinstance(each, msgspec.inspect.Metadata) else each for each in info.types]
    wholes = {id(part): definitions[_name(part)] if "$ref" in part else part for part in _flat(schema)}
    for types_of, keys in (
        (_TIMES, {"string"}),
        ((msgspec.inspect.CollectionType, msgspec.inspect.TupleType), {"array"}),
        (_RECORDS, {"object"}),
    ):
        parts = [part for part in _flat(schema) if wholes[id(part)].get("type") in keys]
        kinds = [each for each in types if isinstance(each, types_of)]
        kinds.sort(key=lambda each: isinstance(each, msgspec.inspect.StructType))
        yield from zip(parts, kinds, strict=False)


def _flat(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for option in schema.get("anyOf", ()) for part in (_flat(option) if "anyOf" in option else [option])]


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _references(part: Any) -> Iterator[str]:
    """Yield the names of the definitions that a part of a schema refers to."""
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
    # dataclasses.is_dataclass checks the same; importing it takes a hundredth of the time of importing the package
    return hasattr(origin, "__dataclass_fields__") or typing.is_typeddict(origin)


def _why(message: Message) -> str:
    reason = message.get("stop_reason")
    if reason == "max_tokens":
        return "the answer was cut by max_tokens, and does not fit"
    if reason == "refusal":
        return "the model refused to answer"
    return "the answer does not fit the type of output"


def _closed(schema: Mapping[str, Any], place: str, problems: list[Problem]) -> dict[str, Any]:
    """Return a schema as the API takes it, with the other keywords in its description."""
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
        problems.append(Problem(place, "expected a specific type: there is no schema for a value of any type"))
    if rest:
        words = ", ".join(f"{key}: {value}" for key, value in rest.items())
        kept["description"] = f"{kept['description']} ({words})" if kept.get("description") else f"({words})"
    return kept


def _close_object(kept: dict[str, Any], rest: dict[str, Any], place: str, problems: list[Problem]) -> None:
    if rest.pop("additionalProperties", False):
        what = "expected named fields: the model cannot choose the keys; use a list of pairs"
        problems.append(Problem(place, what))
    properties = kept.get("properties", {})
    kept["properties"] = {name: _closed(part, f"{place}.{name}", problems) for name, part in properties.items()}
    kept["additionalProperties"] = False


def _close_array(kept: dict[str, Any], rest: dict[str, Any], place: str, problems: list[Problem]) -> None:
    members = rest.pop("prefixItems", None)
    if members:  # a tuple: the API has only lists
        kinds = [_closed(part, f"{place}[{index}]", problems) for index, part in enumerate(members)]
        different = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
        kept["items"] = different[0] if len(different) == 1 else {"anyOf": different}
    else:
        kept["items"] = _closed(kept.get("items", {}), f"{place}[]", problems)
    if rest.get("minItems") in _LEAST_ITEMS:
        kept["minItems"] = rest.pop("minItems")


publish("anthropix_actors", (Parsed,))
