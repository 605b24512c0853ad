"""A function's parameters → the JSON schema that the model gets, and the check of what the model passes.

msgspec makes both of one Struct, whose fields are the parameters. The defaults are left to the function itself: what
the model does not pass is not passed on.
"""

from __future__ import annotations

import re
from inspect import Parameter
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._checks.call_errors import unknown_problems
from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._checks.resolving import RESOLVING
from anthropix_actors._checks.shapes import described, shown
from anthropix_actors._checks.type_schema import closed, schema_of
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.tools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.tools.signature import Argument, Signature

_STRUCT = "ToolInput"

_AT = re.compile(r" - at `\$(.*)`\Z", re.DOTALL)
"""How msgspec ends its texts."""


class InputCheck:
    """The schema of a tool's input, and the check of an input.

    Attributes:
        schema: The JSON schema: an object, closed, with the definitions that it refers to.

    Example:
        >>> from anthropix_actors.tools.signature import read_signature
        >>> def get_weather(city: str, days: int = 1): ...
        >>> check = InputCheck(read_signature(get_weather), {"city": "In English."})
        >>> check.schema["properties"]["city"]
        {'type': 'string', 'description': 'In English.'}
        >>> check.arguments({"city": "Bergen"})
        {'city': 'Bergen'}
        >>> check.arguments({"days": "two"})
        Traceback (most recent call last):
        ...
        anthropix_actors.tools.InputError: city: required, and missing
        days: Expected `int`, got `str`
    """

    def __init__(self, signature: Signature, descriptions: Mapping[str, str], *, strict: bool = False) -> None:
        """Make both; `strict` makes a schema that the API can guarantee to match.

        Raises:
            ParameterError: there is no schema for a parameter.
        """
        self._arguments = {each.name: each for each in signature.arguments}
        self._fields = {name: f"p{index}" for index, name in enumerate(self._arguments)}
        try:
            with RESOLVING:
                self._struct = self._compiled()
                _, definitions = schema_of(self._struct)
        except Exception as exc:  # in msgspec's words; annotations are code of the caller's
            raise ParameterError(self._unusable(signature.name) or [Problem(signature.name, _words(exc))]) from exc
        (own,) = (name for name in definitions if name.rpartition(".")[2] == _STRUCT)
        schema = self._described(definitions.pop(own), descriptions)
        self.schema = _plain(schema, definitions, signature.name, strict=strict)

    def _compiled(self) -> Any:
        """Return the Struct, inspected by msgspec."""
        fields: list[Any] = []
        for each in self._arguments.values():  # their names are not those of the parameters: a Struct cannot have all
            absent = () if _is_required(each) else (msgspec.field(default_factory=_none),)
            fields.append((self._fields[each.name], each.hint, *absent))
        renamed = {field: name for name, field in self._fields.items()}
        struct = msgspec.defstruct(_STRUCT, fields, rename=renamed, kw_only=True, forbid_unknown_fields=True)
        msgspec.json.Decoder(struct)
        return struct

    def _unusable(self, function: str) -> list[Problem]:
        """Return a problem for each parameter of which msgspec can make no schema."""
        found: list[Problem] = []
        for each in self._arguments.values():
            try:
                with RESOLVING:
                    msgspec.json.Decoder(each.hint)
                    schema_of(each.hint)
            except Exception as exc:  # noqa: BLE001 - as above
                found.append(Problem(f"{function}.{each.name}", f"there is no JSON schema for its type: {_words(exc)}"))
        return found

    def _described(self, schema: dict[str, Any], descriptions: Mapping[str, str]) -> dict[str, Any]:
        """Return the schema of the parameters, with descriptions and defaults."""
        for name, part in schema["properties"].items():
            if name in descriptions:
                part.setdefault("description", descriptions[name])
            if (default := _as_json(self._arguments[name].default)) is not None:
                part["default"] = default
        return {key: value for key, value in schema.items() if key != "title"}

    def arguments(self, given: Any) -> dict[str, Any]:
        """Return what the model passes as keyword arguments.

        Raises:
            InputError: it does not fit; it has the place of each problem.
        """
        _as_object(given)
        try:
            struct = msgspec.convert(given, self._struct, str_keys=True)
        except BaseException as exc:  # a `__post_init__` may raise anything, in a chat's thread
            raise InputError(self._problems(given) or [Problem("input", described(exc))]) from exc
        return {name: getattr(struct, self._fields[name]) for name in given}

    def _problems(self, given: dict[str, Any]) -> list[Problem]:
        """Return all problems of an input: msgspec stops at the first."""
        found: list[Problem] = []
        for each in self._arguments.values():
            if each.name not in given:
                if _is_required(each):
                    found.append(Problem(each.name, "required, and missing"))
                continue
            try:
                msgspec.convert(given[each.name], each.hint, str_keys=True)
            except BaseException as exc:  # noqa: BLE001 - as in `arguments`
                text = described(exc)
                place = _AT.search(text)
                found.append(Problem(each.name + (place[1] if place else ""), _AT.sub("", text)))
        if not self._arguments:
            return [Problem(name, "unknown parameter; there are none") for name in given]
        return found + unknown_problems(given, self._arguments)


class AnyInput:
    """The check of an input that may be any object.

    Attributes:
        schema: The JSON schema.

    Example:
        >>> AnyInput().arguments({"question": "Why?"})
        {'question': 'Why?'}
    """

    schema: Mapping[str, Any] = {"type": "object"}

    def arguments(self, given: Any) -> dict[str, Any]:
        """Return the input.

        Raises:
            InputError: it is no object.
        """
        return dict(_as_object(given))


def _as_object(given: Any) -> dict[str, Any]:
    if type(given) is dict:
        return given
    raise InputError([Problem("input", f"expected an object, got {shown(given)}")])


def _none() -> None:
    """Return what stands for a default, and is never passed."""


def _is_required(argument: Argument) -> bool:
    return argument.default is Parameter.empty


def _words(exc: BaseException) -> str:
    """Return what is wrong, without the advice about hooks, which are not used here."""
    return described(exc).rpartition("\n\n")[2]


def _as_json(default: Any) -> Any:
    """Return a default as JSON; None if there is none, or it has no JSON: then the model need not know it."""
    problems: list[Problem] = []
    if default is Parameter.empty:
        return None
    try:
        value = copy_json(msgspec.to_builtins(default, str_keys=True), "", problems)
    except Exception:  # noqa: BLE001 - the caller's own class
        return None
    return None if problems else value


def _plain(schema: dict[str, Any], definitions: dict[str, Any], name: str, *, strict: bool) -> dict[str, Any]:
    """Return schema and definitions as one, of plain JSON."""
    problems: list[Problem] = []
    for key, each in definitions.items():
        if each.get("title") == key:
            del each["title"]
    if strict:
        schema = closed(schema, name, problems)
        definitions = {key: closed(each, f"{name}.{key}", problems) for key, each in definitions.items()}
    whole: dict[str, Any] = copy_json({**schema, "$defs": definitions} if definitions else schema, name, problems)
    if problems:
        raise ParameterError(problems)
    return whole
