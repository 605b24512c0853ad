"""Subscribers for every kind of program. Each is imported when it is used first."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.late_imports import late_import

if TYPE_CHECKING:
    from anthropix_actors.subscribers.gtk import to_gtk
    from anthropix_actors.subscribers.gui import GuiSubscriber
    from anthropix_actors.subscribers.loop import to_loop
    from anthropix_actors.subscribers.qt import QtSubscriber, to_qt
    from anthropix_actors.subscribers.textual import to_textual
    from anthropix_actors.subscribers.tk import to_tk
    from anthropix_actors.subscribers.wx import to_wx

__all__ = [
    "GuiSubscriber",
    "QtSubscriber",
    "to_gtk",
    "to_loop",
    "to_qt",
    "to_textual",
    "to_tk",
    "to_wx",
]

_HOMES = {
    "GuiSubscriber": "gui",
    "QtSubscriber": "qt",
    "to_gtk": "gtk",
    "to_loop": "loop",
    "to_qt": "qt",
    "to_textual": "textual",
    "to_tk": "tk",
    "to_wx": "wx",
}
"""The module that each public name is in."""


def __getattr__(name: str) -> Any:
    """Return a public name, and import its module if that was not done yet."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with late_import():
        thing = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return thing


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet as well."""
    return sorted({*globals(), *__all__})
