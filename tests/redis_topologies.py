"""Several Redis servers at once: a primary and its replica that Sentinels watch, and a Cluster of several nodes."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.exceptions import RedisError

from anthropix_actors.stores.redis.keys import shard_of

from redis_servers import RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

TIMEOUT = 700
"""After how many milliseconds a server that says nothing counts as dead."""

FORMING = 30.0
"""Seconds that several servers may take to find each other, or to agree on another primary."""

_SYNC = ("--repl-diskless-sync-delay", "0", "--repl-timeout", "60")
_SLOTS = 16384


def agreed(condition: Callable[[], object]) -> None:
    """Wait until servers have come to something, which takes seconds."""
    deadline = time.monotonic() + FORMING
    while not condition():
        assert time.monotonic() < deadline, "the servers have not come to an agreement"
        time.sleep(0.01)


class Replicated:
    """Servers of which some follow others. All of them end with the `with` block of who made this."""

    def __init__(self, servers: Sequence[RedisServer]) -> None:
        self.servers = [*servers]

    def follows(self, replica: RedisServer) -> bool:
        """Return whether a replica has all that its primary had a moment ago."""
        found = replica.run("INFO", "replication")
        return bool(found["role"] == "slave" and found.get("master_link_status") == "up")

    def settle(self) -> None:
        """Wait until each replica has what its primary has now; one that has just come needs a while to begin."""
        for server in self.running:
            info = server.run("INFO", "replication")
            if info["role"] == "master" and info["connected_slaves"]:
                with Redis(unix_socket_path=str(server.path)) as client:
                    client.publish("settle", "")
                    followers: Any = client.execute_command("WAIT", 1, int(FORMING * 1000))
                    assert followers

    def cut_off(self, primary: RedisServer) -> None:
        """Let replicas get nothing more of a primary: what it is told from now on, it alone has."""
        primary.run("ACL", "SETUSER", "default", "-psync", "-sync")
        primary.run("CLIENT", "KILL", "TYPE", "replica")

    @property
    def running(self) -> list[RedisServer]:
        return [server for server in self.servers if server.process is not None]

    @property
    def url(self) -> str:
        """The URL of a store."""
        raise NotImplementedError

    def primary_of(self, key: str) -> RedisServer:
        """Return the server that has a key, or would have it, and lets it be written."""
        raise NotImplementedError

    def fail_over(self, killed: RedisServer) -> None:
        """Kill a primary, and wait until a replica has its place."""
        raise NotImplementedError

    def rejoin(self, server: RedisServer) -> None:
        """Start a server that was killed, as a replica, and wait until it is one that may be promoted."""
        raise NotImplementedError


class Watched(Replicated):
    """A primary, a replica, and Sentinels."""

    def __init__(self, servers: Sequence[RedisServer], sentinels: Sequence[RedisServer]) -> None:
        super().__init__(servers)
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/mymaster/0"

    @property
    def primary(self) -> RedisServer:
        """The server that the first Sentinel names."""
        _, port = self.sentinels[0].run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
        return next(server for server in self.servers if server.port == int(port))

    def primary_of(self, key: str) -> RedisServer:  # noqa: ARG002 - there is one
        return self.primary

    def fail_over(self, killed: RedisServer) -> None:
        killed.kill()
        agreed(lambda: self.primary is not killed and _is_primary(self.primary))

    def rejoin(self, server: RedisServer) -> None:
        server.start()
        server.run("REPLICAOF", "127.0.0.1", self.primary.port)  # a Sentinel sees to that only after ten seconds
        agreed(lambda: self.follows(server))
        agreed(self.is_known)
        self.settle()

    def know_each_other(self) -> bool:
        """Return whether each Sentinel knows of all others."""
        known = [
            _as_texts(each.run("SENTINEL", "MASTER", "mymaster"))["num-other-sentinels"] for each in self.sentinels
        ]
        return {*known} == {str(len(known) - 1)}

    def is_known(self) -> bool:
        """Return whether each Sentinel knows of a replica that it may promote."""
        for sentinel in self.sentinels:
            found = map(_as_texts, sentinel.run("SENTINEL", "REPLICAS", "mymaster"))
            if not any(each["flags"] == "slave" and each["master-link-status"] == "ok" for each in found):
                return False
        return True


@contextlib.contextmanager
def watched(sentinels: int = 1) -> Generator[Watched]:
    """Run a primary, a replica, and so many Sentinels."""
    with contextlib.ExitStack() as ends:
        primary = ends.enter_context(RedisServer(*_SYNC, tcp=True))
        follow = ("--replicaof", f"127.0.0.1 {primary.port}")
        replica = ends.enter_context(RedisServer(*_SYNC, *follow, tcp=True))
        found = Watched([primary, replica], [])
        agreed(lambda: found.follows(replica))
        found.sentinels = [ends.enter_context(RedisServer(mode="--sentinel", tcp=True)) for _ in range(sentinels)]
        for sentinel in found.sentinels:
            sentinel.run("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", primary.port, sentinels // 2 + 1)
            # Where it has not heard of the replica just now, it gives up, and tries again after twice this time.
            for name, value in (("down-after-milliseconds", TIMEOUT), ("failover-timeout", 2000)):
                sentinel.run("SENTINEL", "SET", "mymaster", name, value)
        agreed(found.is_known)
        agreed(found.know_each_other)
        found.settle()
        yield found


def _as_texts(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in found.items()}


def _is_primary(server: RedisServer) -> bool:
    with contextlib.suppress(RedisError):
        return bool(server.run("INFO", "replication")["role"] == "master")
    return False


class Cluster(Replicated):
    """Three primaries, each with as many replicas as was asked."""

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])

    def id_of(self, server: RedisServer) -> str:
        return str(server.run("CLUSTER", "MYID").decode())

    def primary_of(self, key: str) -> RedisServer:
        slot = self.slot_of(key)
        for first, last, (_, port, *_), *_ in self.running[0].run("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == port)
        raise LookupError(key)

    @property
    def primaries(self) -> list[RedisServer]:
        ports = {port for _, _, (_, port, *_), *_ in self.running[0].run("CLUSTER", "SLOTS")}
        return [server for server in self.servers if server.port in ports]

    def replica_of(self, primary: RedisServer) -> RedisServer:
        roles = {server: server.run("INFO", "replication") for server in self.running}
        return next(each for each, role in roles.items() if role.get("master_port") == primary.port)

    def slot_of(self, key: str) -> int:
        return int(self.running[0].run("CLUSTER", "KEYSLOT", shard_of(key)))

    def fail_over(self, killed: RedisServer) -> None:
        there = [server for server in self.running if server is not killed]
        killed.kill()
        agreed(lambda: all(_is_whole(server, killed.port) for server in there))

    def rejoin(self, server: RedisServer) -> None:
        server.start()
        agreed(lambda: self.follows(server))
        agreed(lambda: all(_agrees(each, len(self.servers)) for each in self.running))
        self.settle()

    def move(self, slot: int, source: RedisServer, target: RedisServer) -> Moving:
        return Moving(self, slot, source, target)


class Moving:
    """A slot that moves from one node to another, step by step."""

    def __init__(self, cluster: Cluster, slot: int, source: RedisServer, target: RedisServer) -> None:
        self.cluster, self.slot, self.source, self.target = cluster, slot, source, target

    def begin(self) -> None:
        self.target.run("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.cluster.id_of(self.source))
        self.source.run("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.cluster.id_of(self.target))

    def move(self, count: int = 1_000_000) -> None:
        """Move so many of the keys."""
        for key in self.source.run("CLUSTER", "GETKEYSINSLOT", self.slot, count):
            self.source.run("MIGRATE", "127.0.0.1", self.target.port, key, 0, 5000)

    def end(self) -> None:
        node = self.cluster.id_of(self.target)
        for server in (self.target, self.source, *self.cluster.running):
            with contextlib.suppress(RedisError):  # a replica
                server.run("CLUSTER", "SETSLOT", self.slot, "NODE", node)


@contextlib.contextmanager
def cluster(replicas: int = 0, *settings: str) -> Generator[Cluster]:
    """Run three primaries, with a third of the slots each and so many replicas each."""
    with contextlib.ExitStack() as ends:
        found = Cluster([])
        more = ("--cluster-node-timeout", str(TIMEOUT), "--cluster-replica-validity-factor", "0", *settings)
        buses = []
        for number in range(3 + 3 * replicas):
            buses.append(free_port())
            options = ("--cluster-enabled", "yes", "--cluster-port", str(buses[-1]), *_SYNC, *more)
            found.servers.append(ends.enter_context(RedisServer(*options, tcp=True)))
            found.servers[-1].run("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        primaries = found.servers[:3]
        for number, primary in enumerate(primaries):
            bounds = (_SLOTS * number // 3, _SLOTS * (number + 1) // 3 - 1)
            primary.run("CLUSTER", "ADDSLOTSRANGE", *bounds)
        for server in found.servers:
            for other, bus in zip(found.servers, buses, strict=True):
                if other is not server:
                    server.run("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        agreed(lambda: all(_agrees(server, len(found.servers)) for server in found.servers))
        for number, replica in enumerate(found.servers[3:]):
            replica.run("CLUSTER", "REPLICATE", found.id_of(primaries[number % 3]))
        for replica in found.servers[3:]:
            agreed(lambda: found.follows(replica))  # noqa: B023
        agreed(lambda: all(_knows(server, 3 * replicas) for server in found.servers))
        found.settle()
        yield found


@contextlib.contextmanager
def new_node(found: Cluster) -> Generator[RedisServer]:
    """Have one more node in a Cluster for a while, that has no slots yet."""
    bus = free_port()
    with RedisServer("--cluster-enabled", "yes", "--cluster-port", str(bus), tcp=True) as node:
        others = found.running
        others[0].run("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        found.servers.append(node)
        agreed(lambda: all(_agrees(each, len(others) + 1) for each in [*others, node]))
        yield node
        found.servers.remove(node)
        for each in others:
            each.run("CLUSTER", "FORGET", found.id_of(node))


def _agrees(server: RedisServer, nodes: int) -> bool:
    info = server.run("CLUSTER", "INFO").decode()
    return "cluster_state:ok" in info and f"cluster_known_nodes:{nodes}\r" in info


def _knows(server: RedisServer, replicas: int) -> bool:
    return int(server.run("CLUSTER", "NODES").decode().count("slave")) == replicas


def _is_whole(server: RedisServer, without: int) -> bool:
    primaries = [port for _, _, (_, port, *_), *_ in server.run("CLUSTER", "SLOTS")]
    return "cluster_state:ok" in server.run("CLUSTER", "INFO").decode() and without not in primaries
