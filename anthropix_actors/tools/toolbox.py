"""The tools of a chat, as the caller gives them; and what the API gets."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anthropix_actors._checks.actors import is_of_actors, is_tool_server
from anthropix_actors._checks.shapes import described, shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ConfigurationError, ParameterError, Problem
from anthropix_actors.tools.definition import Tool, tool_of_actor
from anthropix_actors.tools.errors import McpError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    _Part: TypeAlias = tuple[Any, str, list[Tool[..., Any] | dict[str, Any]]]

_EXPECTED = "a Tool, a function with type hints, {name: actor}, an Mcp, or a dict for the API"

_WRONG = {"name": "wrong", "input_schema": {"type": "object"}}
"""Keeps the place of what is no tool: its problem is known."""


class Toolbox:
    """Tools by name, in the caller's order: what `tools=` takes. It cannot be changed.

    Args:
        tools: Tools, functions with type hints, dicts of actors (`{"ask_user": ref}`), servers (`Mcp`), whose tools are
            those that they have now, and dicts for the API, which are passed on as they are: server tools, and tools
            whose calls the caller answers itself.

    Raises:
        ParameterError: some of them are no tools, or have the same name; it names each place.
        McpError: a server cannot be used.

    Example:
        >>> def add(a: int, b: int) -> int:
        ...     return a + b
        >>> box = Toolbox([add, {"type": "web_search_20260318", "name": "web_search"}])
        >>> box.get("add"), box.get("web_search"), box.knows("web_search"), box.knows("fetch")
        (<Tool add>, None, True, False)
    """

    def __init__(self, tools: Iterable[Any]) -> None:
        """Check them all."""
        problems: list[Problem] = []
        if isinstance(tools, (str, Mapping)) or not isinstance(tools, Iterable):
            raise ParameterError([Problem("tools", f"expected a list of tools, got {shown(tools)}")])
        things = ((thing, f"tools[{index}]") for index, thing in enumerate(tools))
        self._take(((thing, place, _entries(thing, place, problems)) for thing, place in things), problems)

    def _take(self, parts: Iterable[_Part], problems: list[Problem]) -> None:
        self._parts: list[_Part] = []
        self._entries: list[Tool[..., Any] | dict[str, Any]] = []
        self._places: dict[str, str] = {}
        for thing, place, entries in parts:
            self._parts.append((thing, place, entries))
            for entry in entries:
                self._add(entry, place, problems)
        if problems:
            raise ParameterError(problems)
        self._tools = {each.name: each for each in self._entries if isinstance(each, Tool)}

    def renewed(self) -> Toolbox:
        """Return the tools with those that servers offer now; itself, if they offer the same. Returns at once.

        Raises:
            ParameterError: some have the same name now.
        """
        parts = [
            (thing, place, list(thing.offered()) if is_tool_server(thing) else entries)
            for thing, place, entries in self._parts
        ]
        if all(new == old for (_, _, new), (_, _, old) in zip(parts, self._parts, strict=True)):
            return self
        made = object.__new__(type(self))
        made._take(parts, [])
        return made

    def _add(self, entry: Tool[..., Any] | dict[str, Any], place: str, problems: list[Problem]) -> None:
        name = entry.name if isinstance(entry, Tool) else entry.get("name")
        if isinstance(name, str) and (other := self._places.setdefault(name, place)) is not place:
            problems.append(Problem(place, f"expected a name of its own; {other} is {name!r}, too"))
        self._entries.append(entry)

    def __repr__(self) -> str:
        """Show the names."""
        return f"<Toolbox {', '.join(self._places)}>"

    def __iter__(self) -> Iterator[Tool[..., Any] | dict[str, Any]]:
        """Yield tools and dicts, in the caller's order: a Toolbox may be given wherever a list of tools may."""
        return iter(self._entries)

    @property
    def wire(self) -> list[dict[str, Any]]:
        """What the API gets: a dict for each, in the caller's order."""
        return [each.wire if isinstance(each, Tool) else copy.copy(each) for each in self._entries]

    def get(self, name: str) -> Tool[..., Any] | None:
        """Return the tool of a name; None if there is none, or it is one of the caller's dicts."""
        return self._tools.get(name)

    def knows(self, name: str) -> bool:
        """Return whether there is a tool or a dict of this name."""
        return name in self._places


def wire_of(tools: Sequence[Any], problems: list[Problem]) -> dict[int, list[dict[str, Any]]]:
    """Return what the API gets of the functions, actors and servers in a list of tools, by their index.

    Dicts for the API are left out, and so is everything else: they are checked with the other parameters.

    Args:
        tools: The list.
        problems: What is wrong with functions and actors is added to it.

    Example:
        >>> def get_weather(city: str) -> str: ...
        >>> wire_of([{"type": "web_search_20260318", "name": "web_search"}, get_weather], [])[1][0]["name"]
        'get_weather'
    """
    wire: dict[int, list[dict[str, Any]]] = {}
    for index, thing in enumerate(tools):
        if callable(thing) or is_of_actors(thing) or is_tool_server(thing):
            known = len(problems)
            entries = _entries(thing, f"tools[{index}]", problems)
            made = [entry.wire for entry in entries if isinstance(entry, Tool)]
            wire[index] = [_WRONG] if len(problems) > known else made
    return wire


def _entries(thing: Any, place: str, problems: list[Problem]) -> list[Tool[..., Any] | dict[str, Any]]:
    """Return what one thing in a list of tools stands for; add what is wrong with it to `problems`."""
    try:
        if is_of_actors(thing):
            return [tool_of_actor(name, actor) for name, actor in thing.items()]
        if is_tool_server(thing):
            return list(thing.tools())
        if isinstance(thing, Mapping):
            return [dict(thing)]
        if not callable(thing):
            raise ParameterError([Problem("", f"expected {_EXPECTED}, got {shown(thing)}")])  # noqa: TRY301
        made: Tool[..., Any] = Tool.of(thing)
        if (why := made.bound_problem()) is not None:
            raise ParameterError([Problem(made.name, f"got {why}")])  # noqa: TRY301
    except ParameterError as exc:
        problems += [Problem(place, str(each).removeprefix(": ")) for each in exc.problems]
    except (McpError, ConfigurationError):
        raise
    except Exception as exc:  # noqa: BLE001 - the caller's own classes may raise anything
        problems.append(Problem(place, f"it cannot be read: {described(exc)}"))
    else:
        return [made]
    return []


publish("anthropix_actors.tools", (Toolbox,))
