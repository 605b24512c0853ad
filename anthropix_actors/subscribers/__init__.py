"""Subscribers for every kind of program. Each is imported when it is used first.

>>> from anthropix_actors.subscribers import Listener
>>> class Printer(Listener):
...     def on_text(self, chat, text):
...         print(text, end="")
"""

from typing import TYPE_CHECKING

from anthropix_actors._foreign.late_imports import late_names

if TYPE_CHECKING:
    from anthropix_actors.subscribers.async_stream import AsyncStream, AsyncSubscriber, aio
    from anthropix_actors.subscribers.event_stream import SSE_HEADERS, SSELines, sse, sse_lines
    from anthropix_actors.subscribers.functions import to_function
    from anthropix_actors.subscribers.gtk import to_gtk
    from anthropix_actors.subscribers.gui import GuiSubscriber
    from anthropix_actors.subscribers.handlers import Handlers
    from anthropix_actors.subscribers.listener import Listener
    from anthropix_actors.subscribers.loop import to_loop
    from anthropix_actors.subscribers.qt import QtSubscriber, to_qt
    from anthropix_actors.subscribers.queues import to_queue
    from anthropix_actors.subscribers.textual import to_textual
    from anthropix_actors.subscribers.tk import to_tk
    from anthropix_actors.subscribers.wx import to_wx

__all__ = [
    "SSE_HEADERS",
    "AsyncStream",
    "AsyncSubscriber",
    "GuiSubscriber",
    "Handlers",
    "Listener",
    "QtSubscriber",
    "SSELines",
    "aio",
    "sse",
    "sse_lines",
    "to_function",
    "to_gtk",
    "to_loop",
    "to_qt",
    "to_queue",
    "to_textual",
    "to_tk",
    "to_wx",
]

_HOMES = {
    "async_stream": ("AsyncStream", "AsyncSubscriber", "aio"),
    "event_stream": ("SSE_HEADERS", "SSELines", "sse", "sse_lines"),
    "functions": ("to_function",),
    "gtk": ("to_gtk",),
    "gui": ("GuiSubscriber",),
    "handlers": ("Handlers",),
    "listener": ("Listener",),
    "loop": ("to_loop",),
    "qt": ("QtSubscriber", "to_qt"),
    "queues": ("to_queue",),
    "textual": ("to_textual",),
    "tk": ("to_tk",),
    "wx": ("to_wx",),
}
"""The modules that the names are in. No module has the name of what it publishes: it would take its place."""

__getattr__ = late_names(__name__, _HOMES, globals())


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet as well."""
    return sorted({*globals(), *__all__})
