"""What the emulator notes about the requests it got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anthropix_actors.emulator._json import is_object

_SECRET = frozenset({"authorization", "x-api-key", "proxy-authorization", "cookie"})


class Headers(dict[str, str]):
    """Headers with names in lower case; keys are not shown when it is printed.

    Example:
        >>> Headers({"x-api-key": "sk-ant-1", "accept": "*/*"})
        Headers({'x-api-key': '...', 'accept': '*/*'})
        >>> Headers({"x-api-key": "sk-ant-1"})["x-api-key"]
        'sk-ant-1'
    """

    def __repr__(self) -> str:
        """Show everything but secrets."""
        shown = {name: "..." if name in _SECRET else value for name, value in self.items()}
        return f"{type(self).__name__}({shown!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the emulator got.

    Attributes:
        method: GET, POST and so on.
        path: The path without its query.
        query: The query's parameters.
        headers: The headers, names in lower case.
        body: The JSON of the body, or the bytes where it is not JSON, or None where it is empty.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: Headers
    body: Any

    @property
    def stream(self) -> bool:
        """True when the client asked for a stream."""
        return is_object(self.body) and self.body.get("stream") is True
