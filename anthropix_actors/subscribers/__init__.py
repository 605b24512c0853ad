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
    from anthropix_actors.subscribers.functions import to_function
    from anthropix_actors.subscribers.listener import Listener
    from anthropix_actors.subscribers.queues import to_queue

__all__ = [
    "Listener",
    "to_function",
    "to_queue",
]

_HOMES = {
    "Listener": "listener",
    "to_function": "functions",
    "to_queue": "queues",
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
