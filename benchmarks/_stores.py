"""The stores that there are here, each by a URL that several processes may open."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import shutil
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

from anthropix_actors.stores import MemoryStore, StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Generator

    from anthropix_actors.stores import Store

MEMORY = "memory://"
NORMAL = "sqlite, normal"
"""Does not wait for the disk."""

_NORMAL_FILE = "normal.db"


def opened(url: str) -> Store:
    """Return a store of a URL."""
    return open_store(url, **({"synchronous": "normal"} if url.endswith(_NORMAL_FILE) else {}))


def shared(url: str) -> Store:
    """Return a store of a URL that has what others of this URL have; that in memory is one for the process."""
    return _in_memory() if url == MEMORY else opened(url)


@functools.cache
def _in_memory() -> MemoryStore:
    return MemoryStore()


@contextlib.contextmanager
def stores_here() -> Generator[dict[str, str]]:
    """Get the URLs of the stores, by name; a Redis server is started where there is one."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        urls = {"memory": MEMORY, "sqlite": f"sqlite:{folder}/logs.db", NORMAL: f"sqlite:{folder}/{_NORMAL_FILE}"}
        if redis_is_here():
            urls["redis"] = stack.enter_context(redis_server())
        yield urls


def redis_is_here() -> bool:
    """Return whether a Redis can be started, and used."""
    return shutil.which("redis-server") is not None and importlib.util.find_spec("redis") is not None


@contextlib.contextmanager
def redis_server() -> Generator[str]:
    """Run a server that keeps nothing; get its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    url = f"redis://127.0.0.1:{port}"
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL) as server,
    ):
        try:
            _wait_for(url)
            yield url
        finally:
            server.kill()


def _wait_for(url: str) -> None:
    for _ in range(100):
        with contextlib.suppress(StoreError):
            open_store(url, patience=0.0).close()
            return
        time.sleep(0.05)
