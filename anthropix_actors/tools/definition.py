"""A tool: a function, or an actor, that the model may call; and how it is to be run."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, overload

import msgspec

from anthropix_actors._checks.block_shapes import TOOL_NAME
from anthropix_actors._checks.migration_hints import shows
from anthropix_actors._checks.resolving import accepts
from anthropix_actors._checks.shapes import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.tools.docstring import read_docstring
from anthropix_actors.tools.options import DEFAULTS, Options, checked_options
from anthropix_actors.tools.schema import AnyInput, InputCheck
from anthropix_actors.tools.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType
    from typing import NoReturn, Unpack

    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.tools.options import ToolOptions

_TAKEN = ("name", "description", "wire")

P = ParamSpec("P")
R = TypeVar("R")


class Tool(Generic[P, R]):
    """Something that the model may call. Made by `tool`; it cannot be changed, and is as callable as its function.

    In a class, `tool` makes a method; the tool of an object is `thing.method`.

    Attributes:
        function: The function.
        name: What the model calls it.
        description: What the model is told of it, or None.
        timeout: Seconds after which a call has failed, or None.
        grace: Seconds that a function may take to end after its call was cancelled or has timed out; then a warning
            is logged, and its thread is left alone.
        safe: Whether it changes nothing: a call may start before the answer is whole.
        idempotent: Whether the same call may run twice.
        unknown: What is done about a call that was interrupted, and may have taken effect: "tell" the model, or "ask"
            somebody whether to run it again.
        alone: Whether nothing else runs meanwhile.
        approve: Whether somebody has to allow each call.
        process: Whether it runs in a process of its own.
        actor: The actor that is told each call, or None.
        call_parameter: The name of the function's parameter that gets the `Call`, or None.
    """

    function: Callable[..., R]
    name: str
    description: str | None
    timeout: float | None
    grace: float
    safe: bool
    idempotent: bool
    unknown: Literal["tell", "ask"]
    alone: bool
    approve: bool
    process: bool
    actor: Subscriber | None
    call_parameter: str | None
    _check: Any  # an InputCheck, or an AnyInput
    _unbound: bool
    _wire: dict[str, Any]

    def __init__(self, function: Callable[P, R], options: Options, names: Mapping[str, Any] | None = None) -> None:
        """Tools are made by `tool` and `Tool.of`; do not make one yourself."""
        signature = read_signature(function, names)
        description, descriptions = read_docstring(signature.doc)
        name = options.name or signature.name
        if not accepts(name, TOOL_NAME.type):
            what = f"the API takes names of 1 to 128 letters, digits, _ and -, got {shown(name)}: pass name=..."
            raise ParameterError([Problem(signature.name, what)])
        check = InputCheck(signature, descriptions, strict=options.wire.get("strict") is True)
        if options.process and (why := _why_not_found(function)) is not None:
            raise ParameterError([Problem(signature.name, f"process=True: {why}")])
        shown_as: list[str] = [each for each in functools.WRAPPER_ASSIGNMENTS if hasattr(function, each)]
        vars(self).update(
            {each: getattr(function, each) for each in shown_as},
            __wrapped__=function,
            **{key: value for key, value in msgspec.structs.asdict(options).items() if key not in _TAKEN},
            function=function,
            name=name,
            description=description if options.description is None else options.description,
            call_parameter=signature.call,
            _unbound=signature.unbound,
            _check=check,
            _wire=options.wire,
        )

    @classmethod
    def of(cls, thing: Callable[P, R], **options: Unpack[ToolOptions]) -> Tool[P, R]:
        """Return the tool of a function, a bound method, a `functools.partial` or a callable object.

        Args:
            thing: What is to be called. A Tool is returned as it is, or made again if there are options.
            **options: As of `tool`.

        Raises:
            ParameterError: the model cannot call it, or options are wrong.

        Example:
            >>> def add(a: int, b: int) -> int:
            ...     return a + b
            >>> Tool.of(add, timeout=1)
            <Tool add>
        """
        if isinstance(thing, Tool):
            return thing if not options else cls(thing.function, checked_options(options))
        return cls(thing, checked_options(options))

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON schema of the input."""
        schema: dict[str, Any] = copy.deepcopy(self._check.schema)
        return schema

    @property
    def wire(self) -> dict[str, Any]:
        """What the API gets."""
        said = {} if self.description is None else {"description": self.description}
        return {"name": self.name, **said, "input_schema": self.input_schema, **copy.deepcopy(self._wire)}

    def arguments(self, input: Any) -> dict[str, Any]:  # noqa: A002 - the API's word for it
        """Return the input of a call as the keyword arguments that it stands for.

        Raises:
            InputError: it does not fit; it has the place of each problem.

        Example:
            >>> tool(lambda: None, name="nothing").arguments({"a": 1})
            Traceback (most recent call last):
            ...
            anthropix_actors.tools.InputError: a: unknown parameter; there are none
        """
        arguments: dict[str, Any] = self._check.arguments(input)
        return arguments

    def bound_problem(self) -> str | None:
        """Return why the tool cannot be called by a model, though it can be by its class's objects; or None."""
        return f"a method: expected that of an object, such as thing.{self.name}" if self._unbound else None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, as ever."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the tool of an object's method."""
        if instance is None or not self._unbound:
            return self
        bound: Tool[..., Any] = object.__new__(type(self))
        vars(bound).update(vars(self), function=self.function.__get__(instance, owner), _unbound=False)
        return bound

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: a tool that runs must not change."""
        raise AttributeError(f"a Tool cannot be changed; make another: Tool.of(tool, {name}=...)")

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse, too."""
        raise AttributeError(f"a Tool cannot be changed: {name} stays")

    def __repr__(self) -> str:
        """Show its name."""
        return f"<Tool {self.name}>"

    def __reduce__(self) -> str:
        """Pickle it as its function is pickled: by its name in its module."""
        if (name := vars(self).get("__qualname__")) is None:
            raise TypeError(f"{self!r} cannot be pickled: what it calls has no name")
        return str(name)


def tool_of_actor(name: str, actor: Any) -> Tool[..., Any]:
    """Return the tool that an actor is, without a function that would say what its input is: any object.

    Raises:
        ParameterError: the API takes no such name, or the actor cannot be told anything.

    Example:
        >>> tool_of_actor("ask_user", subscriber).wire
        {'name': 'ask_user', 'input_schema': {'type': 'object'}}
    """

    def stub() -> NoReturn:
        raise TypeError(f"the tool {name} is an actor: the model may call it, a program cannot")

    stub.__qualname__ = stub.__name__ = name
    tool = Tool(stub, checked_options({"actor": actor}))
    vars(tool)["_check"] = AnyInput()
    return tool


@overload
def tool(function: Callable[P, R], /, **options: Unpack[ToolOptions]) -> Tool[P, R]: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
@shows((), DEFAULTS)
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a tool of a function: a decorator, with or without options.

    The model is told the function's name, its docstring, and a JSON schema of its parameters, made of their type hints:
    everything that msgspec knows (`Literal`, `Annotated[int, Meta(ge=1)]`, enums, dates, dataclasses, TypedDicts,
    Structs ...), with the descriptions of a Google-style `Args:` section. What the model passes is checked before the
    function is called, and what does not fit goes back to the model, with each place.

    A keyword-only parameter `call: Call` gets the call: its id, its token, and a way to tell how far it is. What the
    function returns is the result: a str, content blocks, or anything msgspec encodes. A `ToolError` is an answer to
    the model; any other exception becomes one, too, and is logged.

    Args:
        function: The function: a def, a bound method, a `functools.partial`, or a callable object.
        **options: `name` and `description`, in place of the function's own. `timeout`: seconds after which the model is
            told that the call timed out. `grace`: seconds that the function may then take to end. `safe`: it changes
            nothing, so it may start early. `idempotent`: the same call may run twice. `unknown`: what is done
            about a call of a conversation that was interrupted, as its process died: "tell" the model that its outcome
            is unknown, or "ask" somebody whether to run it again. `alone`: nothing else runs
            meanwhile. `approve`: somebody has to allow each call. `process`: it runs in a process of its own, which a
            timeout or a cancel kills, with all that it has started. `actor`: an actor that is told each `Call`, and
            answers it with `call.done(value)` or `call.fail(error)`, from any thread, later; the function says only
            what the input is. Keys for the API: `cache_control`, `strict`, `defer_loading`, `allowed_callers`,
            `eager_input_streaming`, `input_examples`, and `extra`, a dict of any others.

    Raises:
        ParameterError: a parameter has no type hint, or one of which there is no schema; the API takes no such name; it
            is an `async def`; options are wrong. It names every place.

    Example:
        >>> from typing import Annotated, Literal
        >>> from msgspec import Meta
        >>> @tool(timeout=30)
        ... def get_weather(city: str, unit: Literal["C", "F"] = "C", days: Annotated[int, Meta(ge=1)] = 1) -> str:
        ...     '''Tell the weather.
        ...
        ...     Args:
        ...         city: Its name, in English.
        ...     '''
        ...     return f"{city}: rain, 8 degrees"
        >>> get_weather.wire["description"], get_weather.wire["input_schema"]["properties"]["city"]
        ('Tell the weather.', {'type': 'string', 'description': 'Its name, in English.'})
        >>> get_weather("Bergen")
        'Bergen: rain, 8 degrees'
    """
    checked = checked_options(options)

    def made(function: Callable[..., Any]) -> Tool[..., Any]:
        return Tool(function, checked, _names_at(inspect.currentframe()))

    return made if function is None else Tool(function, checked, _names_at(inspect.currentframe()))


def _names_at(frame: FrameType | None) -> Mapping[str, Any]:
    """Return the names where a tool is made: type hints in quotes may name what a function around it has."""
    caller = None if frame is None else frame.f_back
    return {} if caller is None or caller.f_locals is caller.f_globals else dict(caller.f_locals)


def _why_not_found(function: Any) -> str | None:
    """Return why a process of its own would not find a function by its module and name; None if it would."""
    name = getattr(function, "__qualname__", None)
    if not inspect.isfunction(function) or name is None:
        return f"expected a def at the top of a module, got {shown(function)}"
    if "<" in name:
        return f"expected a def at the top of a module, got one inside another, {name}"
    main = sys.modules.get("__main__")
    if function.__module__ == "__main__" and not (getattr(main, "__file__", None) or getattr(main, "__spec__", None)):
        return "expected a def in a file, got one that was typed in"
    return None


publish("anthropix_actors", (Tool, tool))
