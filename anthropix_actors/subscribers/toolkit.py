"""What a toolkit has to bring for its windows: a loop that calls functions, and word of a widget's end."""

from __future__ import annotations

import sys
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from anthropix_actors._foreign.log import shown
from anthropix_actors.errors import ParameterError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors.subscribers.gui import GuiSubscriber


class GuiLoop:
    """What a subscriber needs of a toolkit. This class is for one that shows errors by `sys.excepthook`.

    Attributes:
        thread: The ident of the toolkit's thread; None before it is known.
    """

    def __init__(self) -> None:
        """Take the present thread for the toolkit's."""
        self.thread: int | None = threading.get_ident()

    def call_soon(self, function: Callable[[], object], /) -> object:
        """Have the toolkit's thread call a function. Any thread; never waits."""
        raise NotImplementedError

    def call_later(self, seconds: float, function: Callable[[], object], /) -> object:
        """Have the toolkit's thread call a function after some seconds. In that thread."""
        raise NotImplementedError

    def show(self, error: Exception, /) -> object:
        """Show what a handler raised, as the toolkit shows such errors. In its thread."""
        return sys.excepthook(type(error), error, error.__traceback__)

    def is_open(self) -> bool:
        """Return whether messages can be handled, as far as is known. Any thread; never waits."""
        return True


def raise_again(error: Exception) -> NoReturn:
    """Raise what a handler raised, in a call of its own, for a loop to show."""
    raise error


def close_with(widget: Any, subscriber: GuiSubscriber, on_destroyed: Callable[[Callable[[], object]], object]) -> None:
    """Close a subscriber when its widget is destroyed, and keep neither alive until then. In the toolkit's thread.

    Args:
        widget: The widget.
        subscriber: The subscriber.
        on_destroyed: Has the toolkit call a function when the widget is destroyed. Called once for each widget, as a
            program may make a subscriber for each question.
    """
    with_it = _BY_WIDGET.get(widget)
    if with_it is None:
        with_it = _BY_WIDGET[widget] = weakref.WeakSet()
        on_destroyed(partial(_close_all, with_it))
    with_it.add(subscriber)


_BY_WIDGET: weakref.WeakKeyDictionary[Any, weakref.WeakSet[GuiSubscriber]] = weakref.WeakKeyDictionary()


def _close_all(subscribers: weakref.WeakSet[GuiSubscriber], *_: object) -> None:
    for subscriber in [*subscribers]:
        subscriber.close()


def require(given: object, method: str, parameter: str, expected: str) -> None:
    """Raise if something given as a widget has not the method that such a widget has.

    Raises:
        ParameterError: it has not.
    """
    if isinstance(given, type) or not hasattr(given, method):
        raise ParameterError([Problem(parameter, f"expected {expected}, got {shown(given)}")])
