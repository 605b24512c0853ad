"""From a URL to clients of redis-py: one server, Sentinel, or a Cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.sentinel import Sentinel

from anthropix_actors._foreign.log import shown
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.stores.redis.connections import NO_RETRY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ALONE = ("redis", "rediss", "unix")
SENTINEL = ("redis+sentinel", "rediss+sentinel")
CLUSTER = ("redis+cluster", "rediss+cluster")

_PORT = {"sentinel": 26379, "cluster": 6379}


def scheme_of(url: object) -> str:
    """Return the scheme of a URL of a store.

    Raises:
        ParameterError: it is none; the text does not have the URL, which may have a password.

    Example:
        >>> scheme_of("redis+cluster://one:6379,two:6379")
        'redis+cluster'
    """
    scheme, colon, rest = url.partition(":") if isinstance(url, str) else (type(url).__name__, "", "")
    if scheme.lower() not in {*ALONE, *SENTINEL, *CLUSTER} or not rest.startswith("//"):
        known = ", ".join(f"{each}://" for each in (*ALONE, *SENTINEL, *CLUSTER))
        got = f"one that begins with {shown(scheme + colon)}" if colon else "something else"
        raise ParameterError([Problem("url", f"expected a URL that begins with one of {known}, got {got}")])
    return scheme.lower()


def connector(url: str, timeout: float, options: Mapping[str, Any]) -> Callable[[], Any]:
    """Return what makes clients of redis-py for a URL. They repeat nothing by themselves.

    Args:
        url: As of `RedisStore.from_url`.
        timeout: For how many seconds a reply may be late.
        options: More options of redis-py.

    Raises:
        ParameterError: the URL or an option is not one.
    """
    scheme = scheme_of(url)
    settings: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "max_connections": 10_000,  # each reader that waits has one
        **options,
        "protocol": 2,
    }
    try:
        parts = urlsplit(url)
        in_url = _settings(parts)
        if scheme in ALONE:
            return lambda: Redis.from_url(url, retry=NO_RETRY, **settings)
        hosts = _hosts(parts)
        settings = {**settings, **in_url, "ssl": scheme.startswith("rediss")}
        if scheme in SENTINEL:
            service, _, db = parts.path.strip("/").partition("/")
            return _by_sentinel(hosts, unquote(service), {**settings, "db": int(db or 0)})
    except ValueError:
        # Its text may have a part of the password.
        text = "expected host:port, for Sentinel several and a service: redis+sentinel://one:26379,two:26379/mymaster/0"
        raise ParameterError([Problem("url", text)]) from None
    node: Any = ClusterNode  # untyped
    return lambda: RedisCluster(startup_nodes=[node(*host) for host in hosts], retry=NO_RETRY, **settings)


def _by_sentinel(hosts: list[tuple[str, int]], service: str, settings: dict[str, Any]) -> Callable[[], Any]:
    """Return what asks Sentinels for the primary. What is not said of them is as of the primary, but users.

    Raises:
        ValueError: there is no service.
    """
    if not service:
        raise ValueError(service)
    own = settings.pop("sentinel_kwargs", {})
    same = {key: value for key, value in settings.items() if key.startswith(("socket_", "ssl")) or key == "protocol"}
    theirs = {**same, "retry": NO_RETRY, **own}
    ask: Any = Sentinel  # untyped
    return lambda: ask(hosts, sentinel_kwargs=theirs).master_for(service, retry=NO_RETRY, **settings)


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    """Return the hosts of a URL, each with its port.

    Raises:
        ValueError: a port is no number, or a host is missing.
    """
    found = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{place}")
        if not one.hostname:
            raise ValueError(place)
        found.append((one.hostname, one.port or _PORT[parts.scheme.partition("+")[2]]))
    return found


def _settings(parts: SplitResult) -> dict[str, Any]:
    """Return user, password and options of a URL, as redis-py reads them.

    Raises:
        ValueError: it has no port where one is expected, or an option is wrong.
    """
    user, at, places = parts.netloc.rpartition("@")
    one = f"redis://{user}{at}{places.partition(',')[0]}?{parts.query}"
    read: Any = parse_url  # untyped
    return {name: value for name, value in read(one).items() if name not in {"host", "port"}}
