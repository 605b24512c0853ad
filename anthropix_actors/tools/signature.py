"""What a function says of itself: name, docstring, parameters and their types; or why it can be no tool."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from inspect import Parameter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from anthropix_actors._checks.shapes import described
from anthropix_actors._checks.subscriber_hints import A_GENERATOR, only_made_by
from anthropix_actors._foreign.log import shown
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.tools.call import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")

_A_DEF = "a def whose parameters have type hints"
_UNUSABLE = {
    Parameter.VAR_POSITIONAL: "the model passes each parameter by name: expected none with *",
    Parameter.VAR_KEYWORD: "the model passes each parameter by name: expected none with **; a dict is one parameter",
    Parameter.POSITIONAL_ONLY: "the model passes each parameter by name: expected none before a /",
}


class Argument(NamedTuple):
    """A parameter that the model passes: its name, its type, and its default, `Parameter.empty` if it has none."""

    name: str
    hint: Any
    default: Any


class Signature(NamedTuple):
    """What a function says of itself.

    Attributes:
        name: Its name.
        doc: Its docstring, or None.
        arguments: The parameters that the model passes.
        call: The name of the parameter that gets the `Call`, or None.
        unbound: Whether it is a method, and its first parameter is the object that it is called on.
    """

    name: str
    doc: str | None
    arguments: tuple[Argument, ...]
    call: str | None
    unbound: bool


def read_signature(thing: Any, names: Mapping[str, Any] | None = None) -> Signature:
    """Return what a function says of itself.

    Args:
        thing: A function, a bound method, a `functools.partial`, or an object with `__call__`.
        names: What type hints in quotes may name besides the function's globals.

    Raises:
        ParameterError: it can be no tool; each problem has the name of the function, and of the parameter.

    Example:
        >>> def get_weather(city: str, days: int = 1, *, call: Call): ...
        >>> found = read_signature(get_weather)
        >>> [argument.name for argument in found.arguments], found.call
        (['city', 'days'], 'call')
    """
    function, name, bound = _behind(thing)
    if (what := _no_tool(thing)) is not None:
        raise ParameterError([Problem(name, what)])
    try:
        parameters = [each for each in inspect.signature(thing).parameters.values() if each.name not in bound]
    except Exception as exc:  # a `__signature__` of the caller's may raise anything
        raise ParameterError(
            [Problem(name, f"expected {_A_DEF}, got one that cannot be read: {described(exc)}")]
        ) from exc
    unbound = _is_method(thing, parameters)
    reader = _Reader(function, name, names or {})
    call = next((each.name for each in parameters if reader.is_call(each)), None)
    arguments = tuple(
        Argument(each.name, reader.hint_of(each), each.default) for each in parameters[unbound:] if each.name != call
    )
    if reader.problems:
        raise ParameterError(reader.problems)
    return Signature(name, getattr(function, "__doc__", None) or _doc_of(thing), arguments, call, unbound)


def _no_tool(thing: Any) -> str | None:
    """Return why a thing can be no tool, whatever its signature; None if it may be one."""
    if isinstance(thing, (staticmethod, classmethod)):
        return f"expected {_A_DEF}, got a {type(thing).__name__}: put @tool below it, or pass tool(Class.method)"
    if isinstance(thing, type) or not callable(thing):
        return f"expected {_A_DEF}, got {'a class' if isinstance(thing, type) else shown(thing)}"
    made = only_made_by(thing)
    if made == A_GENERATOR:
        return f"expected {_A_DEF}, got {made}: return a list"
    if made is not None:
        return (
            f"expected {_A_DEF}, got {made}: a tool has a thread of its own, in which a def may call asyncio.run(...)"
        )
    return None


def _behind(thing: Any) -> tuple[Any, str, set[str]]:
    """Return the function whose docstring and hints count, its name, and the arguments that are given already.

    What a partial has by name is left out, as the model must neither see nor change it.
    """
    bound: set[str] = set()
    while isinstance(thing, functools.partial):
        bound |= thing.keywords.keys()
        thing = thing.func
    if inspect.ismethod(thing):
        thing = thing.__func__
    if not callable(thing) or hasattr(thing, "__name__"):
        return thing, str(getattr(thing, "__name__", "tool")), bound
    return type(thing).__call__, type(thing).__name__, bound


def _is_method(thing: Any, parameters: list[Parameter]) -> bool:
    scope, _, _ = getattr(thing, "__qualname__", "").rpartition(".")
    in_class = bool(scope) and not scope.endswith("<locals>") and inspect.isfunction(thing)
    return in_class and bool(parameters) and parameters[0].name == "self"


def _doc_of(thing: Any) -> str | None:
    """Return the docstring of a callable object's class."""
    return None if inspect.isroutine(thing) or isinstance(thing, functools.partial) else type(thing).__doc__


class _Reader:
    """Reads the type hints of a function, and notes all problems."""

    def __init__(self, function: Any, name: str, names: Mapping[str, Any]) -> None:
        self._name = name
        function = inspect.unwrap(function)
        self._globals: dict[str, Any] = getattr(function, "__globals__", {})
        cells = zip(_free_variables(function), getattr(function, "__closure__", None) or (), strict=False)
        self._names = {**names, **{name: cell.cell_contents for name, cell in cells if _is_full(cell)}}
        self.problems: list[Problem] = []

    def is_call(self, parameter: Parameter) -> bool:
        """Return whether a parameter gets the `Call`. Its hint may name what only type checkers import."""
        if parameter.kind is not Parameter.KEYWORD_ONLY:
            return False
        hint = parameter.annotation
        if hint is Parameter.empty:
            return parameter.name == "call"
        return hint is Call or (isinstance(hint, str) and hint.strip("'\"").rpartition(".")[2] == Call.__name__)

    def hint_of(self, parameter: Parameter) -> Any:
        """Return the type of a parameter."""
        if parameter.kind in _UNUSABLE:
            self._note(parameter, _UNUSABLE[parameter.kind])
        elif not _PROPERTY.fullmatch(parameter.name):
            self._note(parameter, "the API takes names of at most 64 letters from a to z, digits and _")
        elif parameter.annotation is Parameter.empty:
            self._note(parameter, "expected a type hint: the model is told what to pass")
        elif parameter.annotation is Call:
            self._note(parameter, "expected a * before it: the Call is passed by name")
        else:
            return self._resolved(parameter)
        return None

    def _resolved(self, parameter: Parameter) -> Any:
        named = SimpleNamespace(__annotations__={"hint": parameter.annotation})
        try:
            return typing.get_type_hints(named, self._globals, self._names, include_extras=True)["hint"]
        except NameError as exc:
            self._note(parameter, f"its type hint names what is not there ({exc}); import it outside of TYPE_CHECKING")
        except Exception as exc:  # noqa: BLE001 - a hint is code of the caller's
            self._note(parameter, f"its type hint cannot be read: {described(exc)}")
        return None

    def _note(self, parameter: Parameter, text: str) -> None:
        self.problems.append(Problem(f"{self._name}.{parameter.name}", text))


def _free_variables(function: Any) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    return () if code is None else code.co_freevars


def _is_full(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # a name that is bound later
        return False
    return True
