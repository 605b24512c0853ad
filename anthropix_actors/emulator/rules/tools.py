"""Rules on tools, and on strict schemas. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model.json import is_array, is_object
from anthropix_actors.emulator.rules.rule import AEGIS, FIBER, Violation, issue, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator.rules.chat_request import ChatRequest

_MAX_DEPTH = 100

_UNSUPPORTED = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
}
"""The keywords that a strict schema cannot have, by its type."""


def _duplicate_names(request: ChatRequest) -> Iterator[Violation]:
    known: set[str] = set()
    for tool in request.tools:
        name = tool.text("name")
        if name and name in known:
            yield Violation("tools")
        known.add(name)


def _choice_without_tools(request: ChatRequest) -> Iterator[Violation]:
    if (
        request.get_object("tool_choice").get("type") == "any"
        and not request.tools
        and not request.body.get("mcp_servers")
    ):
        yield Violation("")


def _choice_unknown(request: ChatRequest) -> Iterator[Violation]:
    choice = request.get_object("tool_choice")
    names = [tool.text("name") for tool in request.tools]
    named = isinstance(choice.get("name"), str) and choice.get("type") == "tool"
    if named and choice["name"] not in names and "" not in names:  # a tool without a name is a toolset
        yield Violation("", (choice["name"],))


def _alternatives(request: ChatRequest) -> Iterator[Violation]:
    for tool in request.tools:
        schema = tool.data.get("input_schema")
        if tool.kind == "custom" and is_object(schema) and {"oneOf", "allOf", "anyOf"} & schema.keys():
            yield Violation(f"{tool.typed_place}.input_schema")


def _strict_schemas(request: ChatRequest) -> Iterator[tuple[str, Any]]:
    """Yield the strict schemas, which the API guarantees to match, and their places."""
    for tool in request.tools:
        if tool.kind == "custom" and tool.data.get("strict") is True:
            yield tool.typed_place, tool.data.get("input_schema")
    wanted = request.get_object("output_config").get("format")
    if is_object(wanted):
        yield "output_config.format.schema", wanted.get("schema")
    if is_object(request.body.get("output_format")):
        yield "output_format.schema", request.body["output_format"].get("schema")


def _subschemas(schema: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield a schema and its subschemas."""
    if not is_object(schema) or depth > _MAX_DEPTH:
        return
    yield schema
    for key in ("properties", "$defs", "definitions"):
        inner = schema.get(key)
        for each in inner.values() if is_object(inner) else ():
            yield from _subschemas(each, depth + 1)
    for key in ("anyOf", "allOf", "oneOf", "prefixItems"):
        inner = schema.get(key)
        for each in inner if is_array(inner) else ():
            yield from _subschemas(each, depth + 1)
    yield from _subschemas(schema.get("items"), depth + 1)


def _open_objects(request: ChatRequest) -> Iterator[Violation]:
    for place, schema in _strict_schemas(request):
        for each in _subschemas(schema):
            if each.get("type") == "object" and each.get("additionalProperties") is not False:
                yield Violation(place)


def _unsupported_limits(request: ChatRequest) -> Iterator[Violation]:
    for place, schema in _strict_schemas(request):
        for each in _subschemas(schema):
            kind = each.get("type")
            for key in _UNSUPPORTED.get(kind, ()) if isinstance(kind, str) else ():
                if key in each:
                    yield Violation(place, (kind, key))


def _missing_schema(request: ChatRequest) -> Iterator[Violation]:
    wanted = request.body.get("output_format")
    if is_object(wanted) and wanted.get("type") == "json_schema" and "schema" not in wanted:
        yield Violation("output_format.schema")


RULES = (
    seen(
        "tool-name-twice",
        _duplicate_names,
        "two tools with the same name",
        "Tool names must be unique.",
        issue("eclipse-theia/theia", 16122),
    ),
    seen(
        "tool-choice-without-tools",
        _choice_without_tools,
        "a `tool_choice` of `any`, and no tools (`auto` and `none` are accepted)",
        "tool_choice.any may only be specified while providing tools",
        FIBER,
    ),
    seen(
        "tool-choice-unknown",
        _choice_unknown,
        "a `tool_choice` whose tool is not in the request",
        "Tool '{}' not found in provided tools",
        FIBER,
    ),
    seen(
        "tool-schema-alternatives",
        _alternatives,
        "`oneOf`, `allOf` or `anyOf` at the top of a tool's schema",
        "input_schema does not support oneOf, allOf, or anyOf at the top level",
        issue("Hmbown/Codewhale", 4329),
    ),
    seen(
        "output-format-schema",
        _missing_schema,
        "an `output_format` without a schema",
        "Field required",
        "https://github.com/braintrustdata/braintrust-sdk-ruby (a recorded answer)",
    ),
    seen(
        "schema-limits",
        _unsupported_limits,
        "limits of numbers, texts and arrays in a strict schema: an output format's, a strict tool's",
        "For '{}' type, property '{}' is not supported",
        "https://github.com/neilberkman/req_llm (two recorded answers)",
    ),
    seen(
        "schema-open",
        _open_objects,
        "in a strict schema, an object without `additionalProperties: false`",
        "For 'object' type, 'additionalProperties' must be explicitly set to false",
        AEGIS,
    ),
)
