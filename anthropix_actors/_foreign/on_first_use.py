"""Attributes that are made when they are first read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from anthropix_actors._foreign.late_imports import late_import

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

T = TypeVar("T")


class MadeOnce(Generic[T]):
    """Turns a method into an attribute: its value is made when it is first read. It can also be assigned.

    Like `functools.cached_property`, but without its lock, which a fork, or a signal handler that waits for another
    thread, may leave held in Python 3.11. So two threads, or a signal handler and the thread that it interrupts, may
    both make a value; both get the one that was stored first.

    Example:
        >>> class Answer:
        ...     @MadeOnce
        ...     def words(self) -> list[str]:
        ...         return []
        >>> answer = Answer()
        >>> answer.words is answer.words
        True
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        """Take the method."""
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        """Note the name: the value is stored in the instance under it, where it is found before this descriptor."""
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> Self | T:
        """Make the value and store it, unless another thread has done so meanwhile."""
        return self if instance is None else self._made(instance)

    def _made(self, instance: object) -> T:
        made: T = vars(instance).setdefault(self._name, self._make(instance))
        return made

    if TYPE_CHECKING:
        # At run time an assignment needs none: it goes to the instance, where it is found first.
        def __set__(self, instance: object, value: T) -> None:
            """Keep another value in its place."""


class OnFirstUse(MadeOnce[T]):
    """The same, for a method that imports what it needs. An `AnthropixError` where the interpreter is ending."""

    def _made(self, instance: object) -> T:
        with late_import():
            return super()._made(instance)
