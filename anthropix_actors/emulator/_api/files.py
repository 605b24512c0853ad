"""The routes of files, which are kept in memory.

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

from anthropix_actors.emulator._api.checks import check_keys
from anthropix_actors.emulator._api.forms import FORM, form_body
from anthropix_actors.emulator._api.pages import page_by_cursor, query_values
from anthropix_actors.emulator._api.route import Route
from anthropix_actors.emulator._model.errors import RefusedError
from anthropix_actors.emulator._model.ids import Ids
from anthropix_actors.emulator.answers import Status
from anthropix_actors.emulator.records import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anthropix_actors.emulator._script.responder import Responder
    from anthropix_actors.emulator._script.steps import Step
    from anthropix_actors.emulator.records import Request

PATH = "/v1/files"

MAX_BYTES = 500 << 20

_MIN_SECONDS, _MAX_SECONDS = 3600, 7_776_000
"""The bounds of a file's lifetime."""

_MAX_IDS = 100

_CHUNK_BYTES = 1 << 16
"""The bytes of a file that are sent at a time."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file: its number in the order of uploads, its bytes, and its metadata as the API returns it."""

    number: int
    content: bytes
    metadata: dict[str, Any]


class FileRoutes:
    """All files of an emulator. Runs in its event loop."""

    def __init__(self) -> None:
        """Start without files."""
        self._ids = Ids()
        self._numbers = itertools.count()
        self._files: dict[str, _File] = {}

    def routes(self) -> list[Route]:
        """Return its routes."""
        return [
            Route("POST", PATH, self._upload, read=form_body, limit=MAX_BYTES),
            Route("GET", PATH, self._list),
            Route("GET", PATH + "/{id}", self._retrieve),
            Route("DELETE", PATH + "/{id}", self._delete),
            Route("GET", PATH + "/{id}/content", self._download),
        ]

    def _upload(self, request: Request, responder: Responder) -> Iterator[Step]:
        if refusal := _check_upload(request):
            return responder.answer(refusal)
        upload = _normalize(request.body["file"])
        lifetime = request.body.get("expires_in_seconds")
        now = dt.datetime.now(dt.UTC)
        metadata: dict[str, Any] = {
            "id": self._ids.new("file_01"),
            "type": "file",
            "filename": upload.filename,
            "mime_type": upload.mime_type,
            "size_bytes": upload.size_bytes,
            "created_at": _format_time(now),
            # The API lets only files of its own tools be downloaded; then programs could not be tested.
            "downloadable": True,
            "expires_at": lifetime and _format_time(now + dt.timedelta(seconds=int(lifetime))),
        }
        self._files[metadata["id"]] = _File(next(self._numbers), upload.content, metadata)
        return responder.json(metadata)

    def _list(self, request: Request, responder: Responder) -> Iterator[Step]:
        named = dict.fromkeys(query_values(request.query, "ids"))
        newest_first = {file.number: file.metadata for file in reversed(self._files.values())}
        if not named:
            numbers, cursor = page_by_cursor(request.query, list(newest_first), descending=True)
            return responder.json({"data": [newest_first[number] for number in numbers], "next_page": cursor})
        if {"page", "limit"} & request.query.keys():
            raise RefusedError(400, "ids: Input should come without page and limit")
        if len(named) > _MAX_IDS:
            raise RefusedError(400, f"ids: List should have at most {_MAX_IDS} items, not {len(named)}")
        found = [metadata for metadata in newest_first.values() if metadata["id"] in named]
        return responder.json({"data": found, "next_page": None})

    def _retrieve(self, request: Request, responder: Responder) -> Iterator[Step]:
        return responder.json(self._find(request).metadata)

    def _delete(self, request: Request, responder: Responder) -> Iterator[Step]:
        file_id = self._find(request).metadata["id"]
        del self._files[file_id]
        return responder.json({"id": file_id, "type": "file_deleted"})

    def _download(self, request: Request, responder: Responder) -> Iterator[Step]:
        file = self._find(request)
        size = len(file.content)
        headers = {"content-type": file.metadata["mime_type"], "content-length": str(size)}
        pieces = (file.content[place : place + _CHUNK_BYTES] for place in range(0, size, _CHUNK_BYTES))
        return responder.response(headers, pieces)

    def _find(self, request: Request) -> _File:
        file_id = request.path.split("/")[3]
        if file_id not in self._files:
            raise RefusedError(404, f"file: {file_id}")
        return self._files[file_id]


def _check_upload(request: Request) -> Status | None:
    """Return what is wrong with the form of an upload."""
    kind, _ = parse_options_header(request.headers.get("content-type"))
    if kind != FORM.encode() or request.body is None:
        return Status(400, f"The request body is not a valid form: {FORM} was expected")
    if "file" not in request.body:
        return Status(400, "file: Field required")
    lifetime = request.body.get("expires_in_seconds")
    if lifetime is not None and not _MIN_SECONDS <= _number(lifetime) <= _MAX_SECONDS:
        return Status(400, f"expires_in_seconds: Input should be an integer from {_MIN_SECONDS} to {_MAX_SECONDS}")
    return check_keys(request.body, {"file", "expires_in_seconds"})


def _number(text: str | Upload) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def _normalize(upload: Upload) -> Upload:
    """Complete a file's name and type as the API does."""
    kind = upload.mime_type or mimetypes.guess_type(upload.filename)[0] or "application/octet-stream"
    name = re.split(r"[/\\]", upload.filename)[-1] or "unnamed" + (mimetypes.guess_extension(kind) or "")
    return Upload(name, kind, upload.content)


def _format_time(moment: dt.datetime) -> str:
    return moment.isoformat(timespec="microseconds")
