"""The tools that a server lists → tools of ours. Pure, but that it asks the caller's function which need approval."""

from __future__ import annotations

import copy
import logging
import re
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._foreign.log import log
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.tools.call import Call  # noqa: TC001 - a tool's hints are read
from anthropix_actors.tools.definition import Tool
from anthropix_actors.tools.options import checked_options
from anthropix_actors.tools.schema import AnyInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Listing = Sequence[Mapping[str, Any]]
    Run = Callable[[str, dict[str, Any], Call], Any]

_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")


class Wanted(msgspec.Struct, frozen=True):
    """What the caller wants of a server's tools; as `Mcp.stdio`."""

    prefix: str
    only: frozenset[str] | None
    timeout: float | None
    approve: Any


class ServerInput:
    """The check of a server's tool: any object, which the server checks.

    Attributes:
        schema: The JSON schema, as the server has it.

    Example:
        >>> ServerInput({"type": "object"}).arguments({"path": "a.txt"})
        {'input': {'path': 'a.txt'}}
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        """Take the schema."""
        self.schema = schema

    def arguments(self, given: Any) -> dict[str, Any]:
        """Return the input as the one argument that it is.

        Raises:
            InputError: it is no object.
        """
        return {"input": AnyInput().arguments(given)}


def tools_of(listing: Listing, wanted: Wanted, run: Run, *, strict: bool = True) -> tuple[Tool[..., Any], ...]:
    """Return the tools that a server lists, and the caller wants.

    Args:
        listing: The server's list, as on the wire.
        wanted: What the caller wants.
        run: Runs a call, given the server's name of the tool, the input and the `Call`.
        strict: Whether all that are in `only` have to be there.

    Raises:
        ParameterError: two have the same name, the API takes no such name, or `only` names one that is not there.

    Example:
        >>> listing = [{"name": "files.read", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}]
        >>> (found,) = tools_of(listing, Wanted("my_", None, 60.0, False), print)
        >>> found.name, found.safe, found.approve
        ('my_files_read', True, False)
    """
    names = [str(each["name"]) for each in listing]
    problems: list[Problem] = []
    if strict and wanted.only is not None and (missing := sorted(wanted.only.difference(names))):
        problems.append(Problem("only", f"expected names of its tools, {', '.join(names)}; got {', '.join(missing)}"))
    tools: dict[str, Tool[..., Any]] = {}
    for each in listing:
        if wanted.only is not None and each["name"] not in wanted.only:
            continue
        try:
            tool = _tool(each, wanted, run)
        except ParameterError as exc:
            problems += exc.problems
            continue
        if tool.name in tools:
            problems.append(Problem(tool.name, "the server has two tools of this name: choose with only=[...]"))
        tools[tool.name] = tool
    if problems:
        raise ParameterError(problems)
    return tuple(tools.values())


def _tool(listed: Mapping[str, Any], wanted: Wanted, run: Run) -> Tool[..., Any]:
    name = str(listed["name"])

    def call_server(input: dict[str, Any], *, call: Call) -> Any:  # noqa: A002 - the API's word for it
        return run(name, input, call)

    hints = listed.get("annotations") or {}
    options = {
        "name": wanted.prefix + _REFUSED.sub("_", name),
        "description": listed.get("description") or listed.get("title"),
        "timeout": wanted.timeout,
        "safe": hints.get("readOnlyHint") is True and hints.get("destructiveHint") is not True,
        "idempotent": hints.get("idempotentHint") is True,
    }
    tool = Tool(call_server, checked_options(options))
    vars(tool)["_check"] = ServerInput(copy.deepcopy(listed["inputSchema"]))
    vars(tool)["approve"] = _needs_approval(tool, wanted.approve)
    return tool


def _needs_approval(tool: Tool[..., Any], approve: Any) -> bool:
    if isinstance(approve, bool):
        return approve
    try:
        return approve(tool) is not False
    except BaseException as exc:  # noqa: BLE001 - the caller's code may raise anything
        log(logging.ERROR, "approve raised of the tool %s, which so needs approval", tool.name, exc_info=exc)
        return True
