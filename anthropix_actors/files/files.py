"""Files: uploaded once, named in many requests; or made by tools, and downloaded.

Source: https://docs.claude.com/en/api/files-create, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast, overload

from anthropix_actors._calls.pages import pages_at
from anthropix_actors._checks.paths import item_path
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.files.multipart import Multipart
from anthropix_actors.files.sinks import sink_for

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._calls.option_types import CallOptions
    from anthropix_actors._calls.pages import Pages
    from anthropix_actors._wire.resources import DeletedFile, FileMetadata

_FILES = "/v1/files"
_SHORTEST, _LONGEST = 3_600, 7_776_000

File: TypeAlias = "str | FileMetadata"
"""A file's id, or its metadata."""


class Files:
    """The files of a client: `client.files`. Any thread may use it.

    The options of a call are `timeout` (a `Timeout`, or seconds in all), `max_retries`, `beta`, `extra_headers`,
    `workspace_id`, and `cancel`, a `CancelToken`, with which another thread cancels it.
    """

    def __init__(self, core: ClientCore) -> None:
        """Use `client.files`, which the client makes."""
        self._core = core

    def upload(
        self,
        file: str | os.PathLike[str] | bytes | BinaryIO,
        *,
        filename: str | None = None,
        expires_in_seconds: int | None = None,
        **options: Unpack[CallOptions],
    ) -> FileMetadata:
        """Upload a file, and return its metadata, which `content.document` and `content.image` take.

        It is read from the disk while it is sent, and never as a whole in memory.

        Args:
            file: A path, bytes, or a file that is open for reading bytes, which is sent from its current position.
            filename: Its name at the API; by default the file's own name.
            expires_in_seconds: When the API deletes it: after an hour (3,600) to ninety days (7,776,000).
            **options: See the class.

        Raises:
            ParameterError: there is no such file, or it cannot be read; nothing was sent.
            AnthropixError: it was not uploaded. An upload from a pipe is not retried.

        Example:
            >>> uploaded = client.files.upload(b"Some text.", filename="text.txt")
            >>> uploaded["filename"], uploaded["size_bytes"]
            ('text.txt', 10)
        """
        fields = {} if expires_in_seconds is None else {"expires_in_seconds": expires_in_seconds}
        problems = _expiry_problems(expires_in_seconds)
        try:
            body = Multipart(fields, {"file": file if filename is None else (filename, file)})
        except ParameterError as exc:
            raise ParameterError([Problem("file", problem.text) for problem in exc.problems] + problems) from None
        if problems:
            raise ParameterError(problems)
        return cast("FileMetadata", self._core.ask("POST", _FILES, options, body=body, of=self.upload))

    def list(self, *, limit: int | None = None, **options: Unpack[CallOptions]) -> Pages[FileMetadata]:
        """List the metadata of all files, page by page as you loop.

        Args:
            limit: Files per page.
            **options: See the class.

        Example:
            >>> uploaded = client.files.upload(b"Some text.", filename="text.txt")
            >>> uploaded["id"] in [file["id"] for file in client.files.list()]
            True
        """
        return pages_at(self._core, _FILES, options, {"limit": limit}, "cursor", of=self.list)

    def retrieve(self, file: File, **options: Unpack[CallOptions]) -> FileMetadata:
        """Return a file's metadata.

        Raises:
            AnthropixError: the call failed; `NotFoundError` if there is no such file.
        """
        return cast("FileMetadata", self._core.ask("GET", item_path(_FILES, "file", file), options, of=self.retrieve))

    def delete(self, file: File, **options: Unpack[CallOptions]) -> DeletedFile:
        """Delete a file. Requests can no longer name it.

        Raises:
            AnthropixError: the call failed; `NotFoundError` if there is no such file.
        """
        return cast("DeletedFile", self._core.ask("DELETE", item_path(_FILES, "file", file), options, of=self.delete))

    @overload
    def download(self, file: File, to: None = None, **options: Unpack[CallOptions]) -> bytes: ...
    @overload
    def download(self, file: File, to: str | os.PathLike[str] | BinaryIO, **options: Unpack[CallOptions]) -> int: ...
    def download(
        self, file: File, to: str | os.PathLike[str] | BinaryIO | None = None, **options: Unpack[CallOptions]
    ) -> bytes | int:
        """Download a file, as it arrives: to the disk, to an open file, or into memory.

        A file on the disk appears when it is complete, and not before; an existing one is replaced then, and its
        permissions are kept. Links are followed; pipes and devices are written to.

        Args:
            file: Its id, or its metadata.
            to: A path, or a file that is open for writing bytes; None for memory.
            **options: See the class.

        Returns:
            The number of bytes written; the bytes themselves without `to`.

        Raises:
            ParameterError: `to` cannot be written; nothing was sent.
            AnthropixError: it could not be fetched completely; bytes written to an open file until then stay in it.

        Example:
            >>> uploaded = client.files.upload(b"Some text.", filename="text.txt")
            >>> client.files.download(uploaded)
            b'Some text.'
        """
        path = item_path(_FILES, "file", file) + "/content"
        sink = sink_for(to)
        got = self._core.ask(
            "GET", path, options, accept="application/binary", use=sink.take, again=sink.again, of=self.download
        )
        return cast("bytes | int", got)


def _expiry_problems(seconds: Any) -> list[Problem]:
    whole_number = isinstance(seconds, int) and not isinstance(seconds, bool)
    if seconds is None or (whole_number and _SHORTEST <= seconds <= _LONGEST):
        return []
    return [Problem("expires_in_seconds", f"expected an integer from {_SHORTEST} to {_LONGEST}, got {seconds!r}")]
