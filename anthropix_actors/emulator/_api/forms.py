"""Reads multipart forms.

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
    """Read the fields of a form. A body of another type is read by `json_body`.

    Returns:
        A mapping from names to text; a field with a file's name or type, or with the name `file`, is an `Upload`. None
        if the form is malformed.

    Raises:
        TooLargeError: the body has more than `limit` bytes.
        ClientDisconnect: the client has left.
    """
    kind, options = parse_options_header(http.headers.get("content-type"))
    if kind != FORM.encode():
        return await json_body(http, limit)
    form = _FormParser(options.get(b"boundary", b""))
    async for chunk in chunks(http, limit):  # to the end: the client would not read a response in mid-body
        form.feed(chunk)
    return form.fields if form.complete else None


class _FormParser:
    """A push parser of one form.

    Attributes:
        fields: Its fields so far.
        complete: Whether the end was reached and the form is well-formed.
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
        """Parse more bytes; after an error, ignore them."""
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
        self._content = bytearray()  # do not hold a large file twice

    def _end(self) -> None:
        self.complete = True


def _text(data: bytes | bytearray) -> str:
    return data.decode(errors="replace")
