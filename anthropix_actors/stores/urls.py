"""Stores by URL, as settings and command lines name them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.log import shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ConfigurationError, ParameterError, Problem

if TYPE_CHECKING:
    from anthropix_actors.stores.queue import Store

_REDIS = ("redis", "rediss", "unix")
_KNOWN = "memory://, sqlite:///path, sqlite:path, redis://, rediss://, redis+sentinel:// or redis+cluster://"


def open_store(url: str, **options: Any) -> Store:
    """Return the store that a URL names.

    Args:
        url: `memory://`; `sqlite:///var/lib/logs.db` or, from the present folder, `sqlite:logs.db`, with `%20` for a
            space as in any URL; `redis://host:6379/0`, `rediss://` over TLS, `unix://` for a socket's path,
            `redis+sentinel://` and `redis+cluster://`, as `RedisStore.from_url` takes them.
        options: Those of the store, such as `max_entry_bytes`.

    Raises:
        ParameterError: it is no such URL; the text has none of its passwords.
        ConfigurationError: a package is missing that it needs; the text says which.
        StoreError: the store cannot be opened.

    Example:
        >>> from anthropix_actors.stores import open_store
        >>> open_store("memory://", max_entry_bytes=1000).names()
        []
    """
    scheme, colon, rest = url.partition(":") if isinstance(url, str) else (type(url).__name__, "", "")
    scheme = scheme.lower()
    if scheme == "memory" and rest.strip("/") == "":
        opened: Store = _class("memory", "MemoryStore")(**options)
    elif scheme == "sqlite":
        opened = _class("sqlite", "SQLiteStore")(_path(rest), **options)
    elif scheme.partition("+")[0] in _REDIS:
        opened = _redis().from_url(url, **options)
    else:
        got = f"one that begins with {shown(scheme)}" if colon else "something else"  # which may be a password
        raise ParameterError([Problem("url", f"expected {_KNOWN}, got {got}")])
    return opened


def _path(rest: str) -> str:
    path = rest.removeprefix("//")
    if not path or (path != rest and not path.startswith("/")) or {"?", "#"} & {*path}:
        # Not what was given: it may have a password, as the URLs of other databases do.
        text = "expected sqlite:///path or sqlite:path, with ? and # as %3F and %23, and without a host"
        raise ParameterError([Problem("url", text)])
    return unquote(path)


def _redis() -> Any:
    try:
        return _class("redis", "RedisStore")
    except ImportError as exc:
        raise ConfigurationError("a store in Redis needs redis-py: pip install anthropix-actors[redis]") from exc


def _class(module: str, name: str) -> Any:
    with late_import():
        return getattr(import_module(f"anthropix_actors.stores.{module}"), name)


publish("anthropix_actors.stores", (open_store,))
