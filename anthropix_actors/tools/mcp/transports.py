"""How a server is reached: the transports of the `mcp` library, which is imported with this."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx2
from mcp.client.stdio import StdioServerParameters, get_default_environment, stdio_client
from mcp.client.streamable_http import streamable_http_client

from anthropix_actors.tools.errors import McpError
from anthropix_actors.tools.mcp.places import Http, Stdio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

_GUARD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from anthropix_actors.tools.mcp.guard import main;"
    " main(int(sys.argv[2]), sys.argv[3:])"
)
_CONNECT = 30.0
_STDERR = 2


def transport_of(place: Stdio | Http) -> Callable[[], AbstractAsyncContextManager[Any]]:
    """Return what makes the transport to a server. Nothing is started yet.

    Raises:
        McpError: there is no such command.
    """
    if isinstance(place, Http):
        return partial(_http, place)
    parameters = _guarded(place)
    return partial(_stdio, parameters, place.stderr)


@contextlib.asynccontextmanager
async def _http(place: Http) -> AsyncGenerator[Any]:
    auth, headers = place.auth, dict(place.headers or {})
    if isinstance(auth, str):
        auth, headers = None, {**headers, "authorization": f"Bearer {auth}"}
    # How long a call may take is said by its own timeout.
    timeout = httpx2.Timeout(_CONNECT, read=None)
    async with (
        httpx2.AsyncClient(headers=headers, auth=auth, timeout=timeout) as http,
        streamable_http_client(place.url, http_client=http) as streams,
    ):
        yield streams


@contextlib.asynccontextmanager
async def _stdio(parameters: StdioServerParameters, stderr: str | os.PathLike[str] | None) -> AsyncGenerator[Any]:
    # A descriptor, as `sys.stderr` may have none: a notebook's, or a test's.
    file = os.dup(_STDERR) if stderr is None else os.open(stderr, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        async with stdio_client(parameters, errlog=cast("Any", file)) as streams:
            yield streams
    finally:
        os.close(file)


def _guarded(place: Stdio) -> StdioServerParameters:
    """Return how the guard is started, which starts the server."""
    env = get_default_environment() | dict(place.env or {})
    if shutil.which(place.command, path=env.get("PATH")) is None and place.cwd is None:
        raise McpError(f"there is no command {place.command!r}")
    path = [str(Path(each).absolute()) for each in sys.path]
    start = ["-I", "-S", "-c", _GUARD, json.dumps(path), str(os.getpid())]
    cwd = None if place.cwd is None else os.fspath(place.cwd)
    command = [*start, place.command, *place.args]
    # One byte that is no UTF-8 costs its line, not the connection.
    return StdioServerParameters(
        command=sys.executable, args=command, env=env, cwd=cwd, encoding_error_handler="replace"
    )
