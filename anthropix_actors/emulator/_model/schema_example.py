"""An example value that matches a JSON schema.

Enough of JSON Schema for tool inputs and structured output: the schema's own values go first (`const`, `default`,
`enum`, `examples`), then its type and limits. `pattern` is ignored.

Source: https://json-schema.org/draft/2020-12/json-schema-validation, read 2026-11-23.
"""

from __future__ import annotations

import math
from typing import Any

from anthropix_actors.emulator._model.json import is_array, is_object

_MAX_DEPTH = 12
"""The depth at which a recursive schema ends."""

_FORMATS = {
    "date": "2026-11-23",
    "date-time": "2026-11-23T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example_for(schema: Any) -> Any:
    """Return a value that matches `schema`; the same one every time.

    Example:
        >>> example_for({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
        {'city': 'city'}
    """
    return _ExampleBuilder(schema).value(schema, "value", 0)


class _ExampleBuilder:
    """Walks a schema; `root` resolves its references."""

    def __init__(self, root: Any) -> None:
        self.root = root

    def value(self, schema: Any, name: str, depth: int) -> Any:
        if not is_object(schema) or depth > _MAX_DEPTH:
            return None
        known = self.flattened(schema, depth)
        for key in ("const", "default"):
            if key in known:
                return known[key]
        for key in ("enum", "examples"):
            if known.get(key):
                return known[key][0]
        return self.by_type(known, name, depth)

    def by_type(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        value: Any
        match _kind(schema):
            case "object":
                value = self.object(schema, depth)
            case "array":
                value = self.array(schema, name, depth)
            case "string":
                value = _string(schema, name)
            case "integer" | "number" as kind:
                value = _number(schema, whole=kind == "integer")
            case "boolean":
                value = True
            case _:
                value = None
        return value

    def flattened(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """Resolve `$ref`, take the first of `anyOf` and `oneOf`, and merge `allOf`."""
        if depth > _MAX_DEPTH:
            return {}
        parts: list[Any] = list(schema.get("allOf", ()))
        parts += [part[0] for key in ("anyOf", "oneOf") if (part := schema.get(key))]
        if "$ref" in schema:
            parts.append(self.resolve(schema["$ref"]))
        known = {key: item for key, item in schema.items() if key not in {"allOf", "anyOf", "oneOf", "$ref"}}
        for part in parts:
            if is_object(part):
                known = _joined(known, self.flattened(part, depth + 1))
        return known

    def resolve(self, reference: str) -> Any:
        """Look up `#/$defs/name`; a missing one allows any value."""
        place: dict[str, Any] = self.root
        for step in reference.split("/")[1:]:
            place = place.get(step.replace("~1", "/").replace("~0", "~"), {})
        return place

    def object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        return {name: self.value(properties.get(name, {}), name, depth + 1) for name in schema.get("required", ())}

    def array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        first = schema.get("prefixItems", ())
        items = [self.value(item, name, depth + 1) for item in first]
        more = range(len(items), schema.get("minItems", 0 if first else 1))
        return items + [self.value(schema.get("items", {}), name, depth + 1) for _ in more]


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Merge two schemas that must both match: properties and required add up, other keys come from the first."""
    joined = {**other, **one}
    if "properties" in one and "properties" in other:
        joined["properties"] = {**other["properties"], **one["properties"]}
    if "required" in one and "required" in other:
        joined["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return joined


def _kind(schema: dict[str, Any]) -> str:
    kind: Any = schema.get("type")
    if is_array(kind):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        return "object" if "properties" in schema or "required" in schema else "string"
    return str(kind)


def _string(schema: dict[str, Any], name: str) -> str:
    text = _FORMATS.get(schema.get("format", ""), name)
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", -math.inf)
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + step)
    high = schema.get("maximum", math.inf)
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - step)
    value = min(max(step, low), high)
    fits = math.floor(value / step) * step
    if fits < low:
        fits += step
    return int(fits) if whole else (fits if low <= fits <= high else (low + high) / 2)
