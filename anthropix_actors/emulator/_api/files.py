"""The endpoints of files, which are kept in memory.

Source: https://docs.claude.com/en/api/files-create, read 2026-11-23.
"""

from __future__ import annotations

import datetime as dt
import itertools
import mimetypes
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from python_multipart.multipart import parse_options_header

from anthropix_actors.emulator._api.checks import refused_keys
from anthropix_actors.emulator._api.forms import FORM, form_body
from anthropix_actors.emulator._api.pages import by_cursor, values
from anthropix_actors.emulator._api.route import Endpoint
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.ids import Ids
from anthropix_actors.emulator.answers import Status
from anthropix_actors.emulator.records import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator._script.responder import Compiler
    from anthropix_actors.emulator._script.steps import Step
    from anthropix_actors.emulator.records import Request

PATH = "/v1/files"

MAX_BYTES = 500 << 20

_SHORTEST, _LONGEST = 3600, 7_776_000
"""Seconds that a file may live."""

_MOST_IDS = 100

_PIECE = 1 << 16
"""Bytes that are sent at a time."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file: its number in the order of uploads, its bytes, and what the API tells of it."""

    number: int
    content: bytes
    metadata: dict[str, Any]


class Files:
    """All files of an emulator. Runs in its event loop."""

    def __init__(self) -> None:
        """Start without any."""
        self._ids = Ids()
        self._numbers = itertools.count()
        self._files: dict[str, _File] = {}

    def endpoints(self) -> list[Endpoint]:
        """Get what it serves."""
        return [
            Endpoint("POST", PATH, self._upload, read=form_body, limit=MAX_BYTES),
            Endpoint("GET", PATH, self._list),
            Endpoint("GET", PATH + "/{id}", self._retrieve),
            Endpoint("DELETE", PATH + "/{id}", self._delete),
            Endpoint("GET", PATH + "/{id}/content", self._download),
        ]

    def _upload(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        if refusal := _refused(request):
            return compiler.other(refusal)
        upload = _named(request.body["file"])
        lifetime = request.body.get("expires_in_seconds")
        now = dt.datetime.now(dt.UTC)
        metadata: dict[str, Any] = {
            "id": self._ids.new("file_01"),
            "type": "file",
            "filename": upload.filename,
            "mime_type": upload.mime_type,
            "size_bytes": upload.size_bytes,
            "created_at": _written(now),
            # From the API, only files that its own tools have made can be had back; programs could not be tested so.
            "downloadable": True,
            "expires_at": lifetime and _written(now + dt.timedelta(seconds=int(lifetime))),
        }
        self._files[metadata["id"]] = _File(next(self._numbers), upload.content, metadata)
        return compiler.json(metadata)

    def _list(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        named = dict.fromkeys(values(request.query, "ids"))
        newest_first = {file.number: file.metadata for file in reversed(self._files.values())}
        if not named:
            numbers, cursor = by_cursor(request.query, list(newest_first), falling=True)
            return compiler.json({"data": [newest_first[number] for number in numbers], "next_page": cursor})
        if {"page", "limit"} & request.query.keys():
            raise RefusedError(400, "ids: Input should come without page and limit")
        if len(named) > _MOST_IDS:
            raise RefusedError(400, f"ids: List should have at most {_MOST_IDS} items, not {len(named)}")
        found = [metadata for metadata in newest_first.values() if metadata["id"] in named]
        return compiler.json({"data": found, "next_page": None})

    def _retrieve(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        return compiler.json(self._named(request).metadata)

    def _delete(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        file_id = self._named(request).metadata["id"]
        del self._files[file_id]
        return compiler.json({"id": file_id, "type": "file_deleted"})

    def _download(self, request: Request, compiler: Compiler) -> Iterator[Step]:
        file = self._named(request)
        size = len(file.content)
        headers = {"content-type": file.metadata["mime_type"], "content-length": str(size)}
        pieces = (file.content[place : place + _PIECE] for place in range(0, size, _PIECE))
        return compiler.pieces(headers, pieces)

    def _named(self, request: Request) -> _File:
        file_id = request.path.split("/")[3]
        if file_id not in self._files:
            raise RefusedError(404, f"file: {file_id}")
        return self._files[file_id]


def _refused(request: Request) -> Status | None:
    """Check the form of an upload."""
    kind, _ = parse_options_header(request.headers.get("content-type"))
    if kind != FORM.encode() or request.body is None:
        return Status(400, f"The request body is not a valid form: {FORM} was expected")
    if "file" not in request.body:
        return Status(400, "file: Field required")
    lifetime = request.body.get("expires_in_seconds")
    if lifetime is not None and not _SHORTEST <= _number(lifetime) <= _LONGEST:
        return Status(400, f"expires_in_seconds: Input should be an integer from {_SHORTEST} to {_LONGEST}")
    return refused_keys(request.body, {"file", "expires_in_seconds"})


def _number(text: str | Upload) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def _named(upload: Upload) -> Upload:
    """Name and type a file as the API does."""
    kind = upload.mime_type or mimetypes.guess_type(upload.filename)[0] or "application/octet-stream"
    name = re.split(r"[/\\]", upload.filename)[-1] or "unnamed" + (mimetypes.guess_extension(kind) or "")
    return Upload(name, kind, upload.content)


def _written(moment: dt.datetime) -> str:
    return moment.isoformat(timespec="microseconds")
