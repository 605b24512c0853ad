"""The stores that there are here, each by a URL that several processes may open."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anthropix_actors import stores

if TYPE_CHECKING:
    from collections.abc import Generator

MEMORY = "memory"
_IN_MEMORY: dict[str, Any] = {}


def opened(url: str) -> Any:
    """Return the store of a URL; that in memory is one for the process."""
    if url == MEMORY:
        return _IN_MEMORY.setdefault(url, stores.MemoryStore())
    open_store: Any = getattr(stores, "open_store")  # noqa: B009 - it may not be there
    return open_store(url)


@contextlib.contextmanager
def stores_here() -> Generator[dict[str, str]]:
    """Get the URLs of the stores, by name; a Redis server is started where there is one."""
    urls = {"memory": MEMORY}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if _is_there("sqlite"):
            urls["sqlite"] = f"sqlite:{folder}/logs.db"
        if _is_there("redis") and shutil.which("redis-server") and importlib.util.find_spec("redis"):
            urls["redis"] = stack.enter_context(_redis(folder))
        yield urls


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(f"anthropix_actors.stores.{name}") is not None


@contextlib.contextmanager
def _redis(folder: str) -> Generator[str]:
    """Run a server without persistence; get its URL."""
    path = Path(folder) / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    with subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 10
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            yield f"unix://{path}"
        finally:
            server.terminate()
