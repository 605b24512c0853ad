"""What code of others raises. Its class may answer anything, or raise, when it is asked: so it is asked nothing. Pure.

`isinstance` asks an object for its `__class__`, and every attribute goes through its `__getattribute__`; the type that
the interpreter knows it by does neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

_NAME: Any = vars(type)["__name__"]


def is_a(thing: object, *kinds: type[T]) -> TypeGuard[T]:
    """Return whether a thing is of one of these types, whatever it says of itself.

    Example:
        >>> is_a(KeyError("a"), LookupError)
        True
    """
    return issubclass(type(thing), kinds)


def kind_of(thing: object) -> str:
    """Return the name of a thing's type.

    Example:
        >>> kind_of(KeyError("a"))
        'KeyError'
    """
    name: str = _NAME.__get__(type(thing))
    return name


def for_log(error: BaseException | None) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Return an exception as `logging` takes it; None for one that cannot be looked at, so that no log can show it.

    Example:
        >>> for_log(None), for_log(KeyError("a"))[0]
        (None, <class 'KeyError'>)
    """
    if error is None:
        return None
    try:
        isinstance(error, BaseExceptionGroup)
        _ = error.__cause__, error.__context__, error.__suppress_context__
        return type(error), error, error.__traceback__
    except BaseException:  # noqa: BLE001 - as said above
        return None
