"""A type → its JSON schema, and a schema → the strict one that the API takes. Pure.

Where the API guarantees that JSON fits a schema, it takes a subset of JSON Schema: every object is closed, and most
limits are not enforced. Keywords outside of it are moved into descriptions, where the model reads them.

Source: https://docs.claude.com/en/docs/build-with-claude/structured-outputs, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._checks.resolving import RESOLVING
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)  # fmt: skip
"""The formats of strings that the API enforces."""

_KEPT = frozenset({"type", "description", "enum", "const", "anyOf", "required", "items", "properties", "$ref"})
_SILENT = frozenset({"title", "default", "discriminator"})  # they say nothing that the model needs
_LEAST_ITEMS = (0, 1)
_TIMES = (msgspec.inspect.DateTimeType, msgspec.inspect.TimeType, msgspec.inspect.TimeDeltaType)
_RECORDS = (
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TypedDictType,
    msgspec.inspect.NamedTupleType,
)


def schema_of(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of a type, and the definitions that it refers to; times have a format.

    Raises:
        TypeError, and whatever annotations raise: there is no schema for the type.

    Example:
        >>> schema_of(list[int])
        ({'type': 'array', 'items': {'type': 'integer'}}, {})
    """
    with RESOLVING:
        whole, info = msgspec.json.schema(kind), msgspec.inspect.type_info(kind)
    definitions = whole.pop("$defs", {})
    _name_times(whole, info, definitions, set())
    return whole, definitions


def _name_times(schema: dict[str, Any], info: Any, definitions: Mapping[str, Any], seen: set[str]) -> None:
    """Add the formats of times to a schema: msgspec omits them where a value may lack its offset from UTC."""
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if "$ref" in schema:
        name = name_of(schema)
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
    wholes = {id(part): definitions[name_of(part)] if "$ref" in part else part for part in _flat(schema)}
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


def name_of(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def references_in(part: Any) -> Iterator[str]:
    """Yield the names of the definitions that a part of a schema refers to."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield name_of(part)
        for value in part.values():
            yield from references_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from references_in(value)


def closed(schema: Mapping[str, Any], place: str, problems: list[Problem]) -> dict[str, Any]:
    """Return a schema as the API takes it, with the other keywords in its description."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    kept: dict[str, Any] = {key: value for key, value in schema.items() if key in _KEPT}
    rest = {key: value for key, value in schema.items() if key not in _KEPT | _SILENT}
    if "anyOf" in kept:
        kept["anyOf"] = [closed(part, place, problems) for part in kept["anyOf"]]
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
    kept["properties"] = {name: closed(part, f"{place}.{name}", problems) for name, part in properties.items()}
    kept["additionalProperties"] = False


def _close_array(kept: dict[str, Any], rest: dict[str, Any], place: str, problems: list[Problem]) -> None:
    members = rest.pop("prefixItems", None)
    if members:  # a tuple: the API has only lists
        kinds = [closed(part, f"{place}[{index}]", problems) for index, part in enumerate(members)]
        different = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
        kept["items"] = different[0] if len(different) == 1 else {"anyOf": different}
    else:
        kept["items"] = closed(kept.get("items", {}), f"{place}[]", problems)
    if rest.get("minItems") in _LEAST_ITEMS:
        kept["minItems"] = rest.pop("minItems")
