"""Reads forms with files in them.

Source: https://www.rfc-editor.org/rfc/rfc7578, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from anthropix_actors.emulator._api.route import chunks, json_body
from anthropix_actors.emulator.records import Upload

if TYPE_CHECKING:
    from starlette.requests import Request as HTTPRequest

FORM = "multipart/form-data"


async def form_body(http: HTTPRequest, limit: int) -> Any:
    """Read the fields of a form. What is no form is read as `json_body` does.

    Returns:
        A mapping from names to text; what has a file's name or type, and what is called `file`, is an `Upload`. None
        where the form is broken.

    Raises:
        TooLargeError: there are more than `limit` bytes.
        ClientDisconnect: the client has left.
    """
    kind, options = parse_options_header(http.headers.get("content-type"))
    if kind != FORM.encode():
        return await json_body(http, limit)
    form = _FormParser(options.get(b"boundary", b""))
    async for chunk in chunks(http, limit):  # to the end: an answer in the middle of a body would not be heard
        form.feed(chunk)
    return form.fields if form.complete else None


class _FormParser:
    """A form that comes in pieces.

    Attributes:
        fields: Its fields so far.
        whole: Whether it has come to its end, and is good.
    """

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, Upload | str] = {}
        self.complete = False
        self._broken = not boundary
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._add_name,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_part_data": self._add_content,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )
        self._begin()

    def feed(self, chunk: bytes) -> None:
        """Go on with more bytes; what is broken stays broken."""
        try:
            if not self._broken:
                self._parser.write(chunk)
        except FormParserError:
            self._broken = True
            self.complete = False

    def _begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._content = bytearray()

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _end_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = _text(options.get(b"name", b""))
        kind = self._headers.get(b"content-type", b"")
        if name == "file" or kind or b"filename" in options:
            filename = _text(options.get(b"filename", b""))
            self.fields[name] = Upload(filename, _text(kind), bytes(self._content))
        else:
            self.fields[name] = _text(self._content)
        self._content = bytearray()  # a large file is not to be there twice

    def _end(self) -> None:
        self.complete = True


def _text(data: bytes | bytearray) -> str:
    return data.decode(errors="replace")
