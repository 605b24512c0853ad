"""Functions that the model may call: schemas, calls, results. Each name is imported when it is used first.

>>> from anthropix_actors.tools import tool
>>> @tool
... def get_weather(city: str) -> str:
...     '''Tell the weather of a city, now.'''
...     return "rain, 8 degrees"
>>> get_weather.wire["input_schema"]["required"]
['city']
"""

from typing import TYPE_CHECKING

from anthropix_actors._foreign.late_imports import late_names

if TYPE_CHECKING:
    from anthropix_actors.tools.call import Call, Outcome
    from anthropix_actors.tools.definition import Tool, tool
    from anthropix_actors.tools.errors import InputError, McpError, ToolError
    from anthropix_actors.tools.mcp.server import Mcp
    from anthropix_actors.tools.run import run_tools
    from anthropix_actors.tools.tool_call import ToolCall
    from anthropix_actors.tools.toolbox import Toolbox

__all__ = [
    "Call",
    "InputError",
    "Mcp",
    "McpError",
    "Outcome",
    "Tool",
    "ToolCall",
    "ToolError",
    "Toolbox",
    "run_tools",
    "tool",
]

_HOMES = {
    "call": ("Call", "Outcome"),
    "definition": ("Tool", "tool"),
    "errors": ("InputError", "McpError", "ToolError"),
    "mcp.server": ("Mcp",),
    "run": ("run_tools",),
    "tool_call": ("ToolCall",),
    "toolbox": ("Toolbox",),
}
"""The modules that the names are in. No module has the name of what it publishes: it would take its place."""

__getattr__ = late_names(__name__, _HOMES, globals())


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet as well."""
    return sorted({*globals(), *__all__})
