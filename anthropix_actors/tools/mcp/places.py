"""Where a server is: a command, or a URL; checked, and with no secret in its repr. Light: `transports.py` is not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from anthropix_actors._checks.shapes import shown
from anthropix_actors.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stdio(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """A command that is started, and spoken to by its stdin and stdout; as `Mcp.stdio`."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str] | None
    cwd: str | os.PathLike[str] | None
    stderr: str | os.PathLike[str] | None

    def __str__(self) -> str:
        """Return the command's name: its arguments may be secrets."""
        return f"stdio {os.fspath(self.command)}"

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with it."""
        for name, value in (("command", self.command), *(("args", each) for each in self.args)):
            if not isinstance(value, str) or "\0" in value or (name == "command" and not value):
                yield Problem(name, f"expected a string, got {shown(value)}")
        if self.env is not None and not _is_of_strings(self.env):
            yield Problem("env", "expected a mapping of strings to strings")
        for name, path in (("cwd", self.cwd), ("stderr", self.stderr)):
            if not isinstance(path, str | os.PathLike | None):
                yield Problem(name, f"expected a path, or None, got {shown(path)}")


class Http(msgspec.Struct, frozen=True):
    """A URL, with what identifies the caller; as `Mcp.http`."""

    url: str
    headers: Mapping[str, str] | None
    auth: Any

    def __str__(self) -> str:
        """Return the URL, without user, password and query."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with it."""
        try:
            is_url = urlsplit(self.url).scheme in {"http", "https"} and bool(urlsplit(self.url).hostname)
        except (ValueError, AttributeError, TypeError):
            is_url = False
        if not is_url:
            yield Problem("url", "expected an address with http:// or https://")
        if self.headers is not None and not _is_of_strings(self.headers):
            yield Problem("headers", "expected a mapping of strings to strings")


def _is_of_strings(thing: Any) -> bool:
    return isinstance(thing, Mapping) and all(isinstance(each, str) for pair in thing.items() for each in pair)
