"""One script for many logs: as many round trips as there are servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.cluster import RedisCluster

from anthropix_actors.stores.log import StoreError
from anthropix_actors.stores.redis.faults import FAULTS, passes, store_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.stores.redis.connections import Connections
    from anthropix_actors.stores.redis.scripts import Call, Script


def run_many(connections: Connections, script: Script, calls: Mapping[str, Call]) -> dict[str, Any]:
    """Run a script with each of these. It may be run again where its reply is lost.

    Of several servers, one that is away keeps none of the others from what is asked of them; it is asked again, until
    the patience of the connections is over.

    Args:
        connections: To the servers.
        script: It must be one that may be repeated.
        calls: What it is run with, by any names.

    Returns:
        By the same names, the replies; and the `StoreError` of each for which it could not be run.

    Raises:
        StoreError: it could not be run for any.
    """
    found: dict[str, Any] = {}

    def ask(client: Any) -> None:
        faults: list[BaseException] = []
        left = {name: call for name, call in calls.items() if name not in found}
        for server, names in _by_server(client, left):
            try:
                replies = script.run_all(server, [left[name] for name in names])
            except FAULTS as exc:
                faults.append(exc)
                continue
            for name, reply in zip(names, replies, strict=True):
                if not isinstance(reply, Exception):
                    found[name] = reply
                elif passes(reply):
                    faults.append(reply)
                else:
                    found[name] = _refusal(reply)
        if faults:
            _look_for_servers(client)
            raise faults[0]

    try:
        connections.ask(ask)
    except StoreError as exc:
        if not found:
            raise
        found |= {name: exc for name in calls if name not in found}
    return found


def _by_server(client: Any, calls: Mapping[str, Call]) -> list[tuple[Any, list[str]]]:
    """Return which of these names each server has."""
    if not isinstance(client, RedisCluster):
        return [(client, [*calls])]
    node_of: Any = client.get_node_from_key  # untyped
    found: dict[str, tuple[Any, list[str]]] = {}
    for name, call in calls.items():
        node = node_of(call.keys[0])
        _, names = found.setdefault(node.name, (client.get_redis_connection(node), []))
        names.append(name)
    return [*found.values()]


def _refusal(exc: Exception) -> StoreError:
    error = store_error(exc)
    error.__cause__ = exc
    return error


def _look_for_servers(client: Any) -> None:
    """Ask a Cluster where what is: its client does that by itself only for what is asked by way of it."""
    if isinstance(client, RedisCluster):
        client.nodes_manager.initialize()
