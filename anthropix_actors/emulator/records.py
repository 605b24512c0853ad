"""Records of the requests that the emulator received."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anthropix_actors.emulator._model.json import is_object

_SECRET = frozenset({"authorization", "x-api-key", "proxy-authorization", "cookie"})


class Headers(dict[str, str]):
    """Headers with names in lower case; its repr hides secrets such as API keys.

    Example:
        >>> Headers({"x-api-key": "sk-ant-1", "accept": "*/*"})
        Headers({'x-api-key': '...', 'accept': '*/*'})
        >>> Headers({"x-api-key": "sk-ant-1"})["x-api-key"]
        'sk-ant-1'
    """

    def __repr__(self) -> str:
        """Show everything except secrets."""
        shown = {name: "..." if name in _SECRET else value for name, value in self.items()}
        return f"{type(self).__name__}({shown!r})"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was uploaded.

    Attributes:
        filename: Its name, as the client gave it.
        mime_type: Its type, as the client gave it; empty if it gave none.
        content: Its bytes; the repr shows their number instead.

    Example:
        >>> Upload("notes.txt", "text/plain", b"Hello")
        Upload(filename='notes.txt', mime_type='text/plain', size_bytes=5)
    """

    filename: str
    mime_type: str
    content: bytes

    @property
    def size_bytes(self) -> int:
        """The number of its bytes."""
        return len(self.content)

    def __repr__(self) -> str:
        """Show everything except the bytes."""
        name = type(self).__name__
        return f"{name}(filename={self.filename!r}, mime_type={self.mime_type!r}, size_bytes={self.size_bytes})"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the emulator received.

    Attributes:
        method: GET, POST and so on.
        path: The path without its query.
        query: The query's parameters; a repeated one has its values joined with commas.
        headers: The headers, names in lower case.
        body: The JSON of the body; its bytes if it is not JSON; None if it is empty or too large. For a form, its
            fields: an uploaded file is an `Upload`, other fields are text.
        custom_id: The `custom_id` of a batch's request, when a handler is asked for its answer; else None.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: Headers
    body: Any
    custom_id: str | None = None

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream; always False for a batch's request."""
        return self.custom_id is None and is_object(self.body) and self.body.get("stream") is True
