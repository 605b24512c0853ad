"""What is wrong with the names of parameters, in place of Python's and msgspec's own errors, which suggest nothing."""

from __future__ import annotations

import contextlib
import functools
import inspect
from inspect import Parameter
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    ExplainedStruct = msgspec.Struct

F = TypeVar("F", bound="Callable[..., Any]")


def unknown_problems(names: Iterable[str], known: Collection[str], of: str = "") -> list[Problem]:
    """Return a problem with a hint for each unknown name.

    Args:
        names: The names that were given.
        known: Those that there are.
        of: What they are the parameters of, a key of `INSTEAD`.

    Example:
        >>> str(unknown_problems(["mesages"], ["messages", "model"])[0])
        'mesages: unknown parameter; did you mean messages?'
    """
    unknown = [name for name in names if name not in known]
    if not unknown:
        return []
    with late_import():
        from anthropix_actors._checks.suggest import hint
    return [Problem(str(name), "unknown parameter" + hint(str(name), known, of)) for name in unknown]


def parameters_of(function: Callable[..., object]) -> list[str]:
    """Return the names that a function's parameters have, without those that take any others.

    Example:
        >>> def run(requests, *, poll=60.0, **options): ...
        >>> parameters_of(run)
        ['requests', 'poll']
    """
    rest = {Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL}
    return [each.name for each in inspect.signature(function).parameters.values() if each.kind not in rest]


def explains(what: str, missing: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Return a decorator: what a function cannot be called with is a `ParameterError` that says what to write.

    Args:
        what: The function's name, for the error.
        missing: What to write where a parameter that is required is missing, by its name.

    Example:
        >>> @explains("Client")
        ... def make(api_key=None, *, base_url=None): ...
        >>> make(key="k")
        Traceback (most recent call last):
        ...
        anthropix_actors.errors.ParameterError: Client(key=...): unknown parameter; write api_key=...
    """

    def mark(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **given: Any) -> Any:
            try:
                return function(*args, **given)
            except TypeError:
                _explain(what, inspect.signature(function), args, given, missing or {})
                raise  # it comes from within

        return call  # type: ignore[return-value]

    return mark


def _explain(
    what: str, signature: inspect.Signature, args: tuple[Any, ...], given: Mapping[str, Any], missing: Mapping[str, str]
) -> None:
    """Raise if a signature cannot be called so."""
    try:
        signature.bind(*args, **given)
    except TypeError:
        own = [each for name, each in signature.parameters.items() if name != "self"]
        theirs = args[len(signature.parameters) - len(own) :]
        raise ParameterError(_problems(what, own, theirs, given, missing)) from None


def _problems(
    what: str, own: list[Parameter], args: tuple[Any, ...], given: Mapping[str, Any], missing: Mapping[str, str]
) -> list[Problem]:
    """Return what is wrong with a call: names that are unknown, given twice, missing, or left out."""
    known = [each.name for each in own]
    by_position = [each.name for each in own if each.kind is Parameter.POSITIONAL_OR_KEYWORD]
    problems = [Problem(f"{what}({each.place}=...)", each.text) for each in unknown_problems(given, known, what)]
    if args[len(by_position) :]:
        example = ", ".join(f"{name}=..." for name, _ in zip(known, args, strict=False))  # one may be a key
        without = f"without a name, only {', '.join(by_position)} may be given" if by_position else "each has its name"
        return [*problems, Problem(f"{what}(...)", f"{without}: write {what}({example})")]
    taken = by_position[: len(args)]
    problems += [Problem(f"{what}({name}=...)", "it was given twice") for name in taken if name in given]
    for each in own:
        if each.default is Parameter.empty and each.name not in {*taken, *given}:
            hint = f"; write {missing[each.name]}" if each.name in missing else ""
            problems.append(Problem(f"{what}({each.name}=...)", f"required, and missing{hint}"))
    return problems


if not TYPE_CHECKING:  # pragma: no branch # to type checkers, it is a Struct like any other

    def _make(cls: type, *args: Any, **given: Any) -> Any:
        try:
            return type(msgspec.Struct).__call__(cls, *args, **given)
        except TypeError:
            _explain(cls.__name__, inspect.signature(cls), args, given, {})
            raise

    _STRUCT = type(msgspec.Struct)
    with contextlib.suppress(TypeError):  # msgspec 0.19 cannot do that: there, its own errors have to do
        _STRUCT = type("ExplainingMeta", (_STRUCT,), {"__call__": _make})

    class ExplainedStruct(msgspec.Struct, metaclass=_STRUCT):
        """A base class: a call with other fields is a `ParameterError` that says what to write."""
