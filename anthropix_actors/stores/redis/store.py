"""A store in Redis: for programs on many machines."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Literal

from redis.cluster import RedisCluster

from anthropix_actors._foreign.log import log, shown
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.stores.log import StoreError
from anthropix_actors.stores.names import LARGEST_ENTRY, checked_seconds
from anthropix_actors.stores.redis.connect import CLUSTER, connector, scheme_of
from anthropix_actors.stores.redis.connections import Connections
from anthropix_actors.stores.redis.faults import FAULTS
from anthropix_actors.stores.redis.keys import Keys
from anthropix_actors.stores.redis.logs import RedisLogs
from anthropix_actors.stores.redis.queues import RedisQueues

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

Eviction = Literal["warn", "refuse"]

_OLDEST = (6, 2)
_MOST_SHARDS = 100


class RedisStore(RedisLogs, RedisQueues):
    """A `Store` in Redis 6.2 or newer, or in Valkey. Safe from any thread, and in the children of a fork.

    What it does and what is lost when: docs/redis.md. Needs the extra `redis`.

    Args:
        connect: Makes a client of redis-py that decodes nothing, such as a `redis.Redis`; called once in each process.
        prefix: What the names of all keys begin with.
        shards: Into how many parts logs and queues are divided, each of them in one place of a Cluster. The same for
            all programs, for ever: what is in other parts is not found.
        patience: For how many seconds a call goes on trying when Redis cannot be reached.
        max_entry_bytes: The largest entry, or job, as JSON.
        eviction: What to do where Redis would throw away logs when its memory is full (`maxmemory-policy` is not
            `noeviction`): "warn" in the log, or "refuse".

    Raises:
        StoreError: Redis cannot be reached, or is not fit for it; the text says what to do.
        ParameterError: an option is wrong.

    Example:
        >>> from anthropix_actors.stores import StoreError
        >>> try:
        ...     store = RedisStore.from_url("redis://127.0.0.1:1/0", patience=0)
        ... except StoreError as error:
        ...     print(error)
        Redis: Error 111 connecting to 127.0.0.1:1. Connection refused.
    """

    def __init__(  # noqa: PLR0913 - independent options, each with its default
        self,
        connect: Callable[[], Any],
        *,
        prefix: str = "anthropix",
        shards: int = 1,
        patience: float = 5.0,
        max_entry_bytes: int = LARGEST_ENTRY,
        eviction: Eviction = "warn",
    ) -> None:
        """Connect, and check what is there."""
        keys = Keys(_checked_prefix(prefix), _checked_shards(shards))
        connections = Connections(connect, checked_seconds(patience, "patience"))
        super().__init__(connections, keys, max_entry_bytes)
        self._unanswered = {}
        if eviction not in {"warn", "refuse"}:
            raise ParameterError([Problem("eviction", f"expected 'warn' or 'refuse', got {shown(eviction)}")])
        try:
            self._check(eviction)
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_url(  # noqa: PLR0913 - as above
        cls,
        url: str,
        *,
        prefix: str = "anthropix",
        shards: int | None = None,
        timeout: float = 10.0,
        patience: float = 5.0,
        max_entry_bytes: int = LARGEST_ENTRY,
        eviction: Eviction = "warn",
        **options: Any,
    ) -> Self:
        """Connect to what a URL says.

        Args:
            url: `redis://user:password@host:port/db`, `rediss://` with TLS, `unix:///path`,
                `redis+sentinel://host:port,host:port/service/db`, `redis+cluster://host:port,host:port`; the latter two
                also with `rediss`.
            prefix: As of `RedisStore`.
            shards: As of `RedisStore`; 16 for a Cluster, else 1.
            timeout: For how many seconds a connection, or a reply, may be late.
            patience: As of `RedisStore`.
            max_entry_bytes: As of `RedisStore`.
            eviction: As of `RedisStore`.
            options: More options of redis-py: `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `credential_provider`;
                `sentinel_kwargs` for the Sentinels themselves.

        Raises:
            StoreError: as of `RedisStore`.
            ParameterError: the URL, or an option, is wrong.
        """
        if shards is None:
            shards = 16 if scheme_of(url) in CLUSTER else 1
        connect = connector(url, checked_seconds(timeout, "timeout"), options)
        more: dict[str, Any] = {"prefix": prefix, "shards": shards, "patience": patience}
        return cls(connect, **more, max_entry_bytes=max_entry_bytes, eviction=eviction)

    def __repr__(self) -> str:
        """Show what the keys begin with: an address may have a password."""
        return f"<RedisStore {self._keys.prefix!r}, {len(self._keys.shards)} shards>"

    def _check(self, eviction: Eviction) -> None:
        """Look whether Redis is new enough, and keeps what it is given.

        Raises:
            StoreError: it does not.
        """
        try:
            found = self._connections.ask(_infos)
        except (TypeError, ValueError) as exc:
            raise ParameterError([Problem("options", f"expected options of redis-py: {exc}")]) from None
        for server in found:
            version = str(server["redis_version"])
            if tuple(map(int, version.split(".")[:2])) < _OLDEST:
                raise StoreError(f"Redis: it is {version}: 6.2 or Valkey is needed")
            policy = server.get("maxmemory_policy", "not known")
            if policy != "noeviction":
                self._may_evict(policy, eviction)

    def _may_evict(self, policy: str, eviction: Eviction) -> None:
        text = f"Redis may throw logs away, as its maxmemory-policy is {policy}: set noeviction"
        if eviction == "refuse":
            raise StoreError(text)
        log(logging.WARNING, text)


def _infos(client: Any) -> list[Mapping[str, Any]]:
    """Return what each server that is written to says of itself; of a Cluster, those that are there."""
    if not isinstance(client, RedisCluster):
        return [client.info()]
    nodes: Any = client  # untyped
    found: list[Mapping[str, Any]] = []
    for node in nodes.get_primaries():
        with contextlib.suppress(*FAULTS):
            found.append(nodes.get_redis_connection(node).info())
    return found or [client.info()]


def _checked_prefix(prefix: object) -> str:
    if not isinstance(prefix, str) or not prefix.isprintable() or {*"{}"} & {*prefix} or not prefix:
        raise ParameterError([Problem("prefix", f"expected printable text without braces, got {shown(prefix)}")])
    return prefix


def _checked_shards(shards: object) -> int:
    if isinstance(shards, bool) or not isinstance(shards, int) or not 0 < shards <= _MOST_SHARDS:
        raise ParameterError([Problem("shards", f"expected 1 to {_MOST_SHARDS}, got {shown(shards)}")])
    return shards


publish("anthropix_actors.stores.redis", (RedisStore,))
