"""Subscribers for every kind of program. Each is imported when it is used first.

>>> from anthropix_actors.subscribers import Listener
>>> class Printer(Listener):
...     def on_text(self, chat, text):
...         print(text, end="")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.late_imports import late_import

if TYPE_CHECKING:
    from anthropix_actors.subscribers.async_stream import AsyncStream, AsyncSubscriber, aio
    from anthropix_actors.subscribers.event_stream import SSE_HEADERS, SSELines, sse, sse_lines
    from anthropix_actors.subscribers.functions import to_function
    from anthropix_actors.subscribers.listener import Listener
    from anthropix_actors.subscribers.queues import to_queue

__all__ = [
    "SSE_HEADERS",
    "AsyncStream",
    "AsyncSubscriber",
    "Listener",
    "SSELines",
    "aio",
    "sse",
    "sse_lines",
    "to_function",
    "to_queue",
]

_HOMES = {
    "async_stream": ("AsyncStream", "AsyncSubscriber", "aio"),
    "event_stream": ("SSE_HEADERS", "SSELines", "sse", "sse_lines"),
    "functions": ("to_function",),
    "listener": ("Listener",),
    "queues": ("to_queue",),
}
"""The modules that the names are in. No module has the name of what it publishes: it would take its place."""

_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Return something public, and import it if that was not done yet."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with late_import():
        thing = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return thing


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet as well."""
    return sorted({*globals(), *__all__})
