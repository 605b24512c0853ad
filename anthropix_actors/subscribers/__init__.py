"""Subscribers for every kind of program: what brings the messages of a chat to where they are handled."""

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
    "gtk": ("to_gtk",),
    "gui": ("GuiSubscriber",),
    "loop": ("to_loop",),
    "qt": ("QtSubscriber", "to_qt"),
    "textual": ("to_textual",),
    "tk": ("to_tk",),
    "wx": ("to_wx",),
}
"""The modules that public names are in. Each is imported when one of its names is used first."""

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
