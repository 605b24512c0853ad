"""What the emulator notes about the requests it got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anthropix_actors.emulator._model.json import is_object

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
class Upload:
    """A file that was uploaded.

    Attributes:
        filename: Its name, as the client gave it.
        mime_type: Its type, as the client gave it; empty where it gave none.
        content: Its bytes; when it is printed, their number is shown instead.

    Example:
        >>> Upload("notes.txt", "text/plain", b"Hello")
        Upload(filename='notes.txt', mime_type='text/plain', size_bytes=5)
    """

    filename: str
    mime_type: str
    content: bytes

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return len(self.content)

    def __repr__(self) -> str:
        """Show everything but the bytes."""
        name = type(self).__name__
        return f"{name}(filename={self.filename!r}, mime_type={self.mime_type!r}, size_bytes={self.size_bytes})"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the emulator got.

    Attributes:
        method: GET, POST and so on.
        path: The path without its query.
        query: The query's parameters; where one is repeated, its values with commas between them.
        headers: The headers, names in lower case.
        body: The JSON of the body, or the bytes where it is not JSON, or None where it is empty or too large. Of a
            form, its fields: an uploaded file is an `Upload`, the others are text.
        custom_id: The `custom_id` of a request of a batch, when a handler is asked for its answer; else None.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: Headers
    body: Any
    custom_id: str | None = None

    @property
    def stream(self) -> bool:
        """True when the client asked for a stream; for a request of a batch there is none."""
        return self.custom_id is None and is_object(self.body) and self.body.get("stream") is True
