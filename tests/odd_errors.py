"""Exceptions whose classes raise when they are asked for anything."""

from __future__ import annotations

from typing import Any

from anthropix_actors import ToolError


class Silent(Exception):  # noqa: N818 - what they are is in the file's name
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


class Wordless(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class Classless(Exception):  # noqa: N818
    @property
    def __class__(self) -> Any:
        raise ValueError("no class")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        """Do nothing."""


class NoName(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit


class Nameless(Exception, metaclass=NoName):  # noqa: N818
    pass


class Contentless(ToolError):  # noqa: N818
    @property
    def content(self) -> Any:
        raise SystemExit

    @content.setter
    def content(self, value: Any) -> None:
        """Do nothing."""


class Words(str):
    __slots__ = ()

    def __format__(self, spec: str) -> str:
        raise SystemExit


class Formless(Exception):  # noqa: N818
    def __str__(self) -> str:
        return Words("no form")


ODD: dict[str, type[BaseException]] = {
    "Silent": Silent,
    "Wordless": Wordless,
    "Classless": Classless,
    "Nameless": Nameless,
    "Contentless": Contentless,
    "Formless": Formless,
}
"""Each by its name."""
