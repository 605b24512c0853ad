"""The connections of a store: calls that are repeated where that may help, and waits that a close ends."""

from __future__ import annotations

import contextlib
import os
import select
import time
import weakref
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import TimeoutError  # noqa: A004 - redis-py's own
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from anthropix_actors.stores.log import StoreClosedError
from anthropix_actors.stores.redis.faults import FAULTS, WRONG_TYPE, is_replaced, passes, store_error
from anthropix_actors.stores.redis.places import xread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from anthropix_actors.stores.redis.places import Stream
    from anthropix_actors.stores.redis.scripts import Argument, Script

NO_RETRY = Retry(NoBackoff(), 0)
"""redis-py repeats what may have been done already, if it is let."""

_ASKS_EVERY, _ASKS_EVERY_AWAY = 1.0, 30.0
"""After how many seconds it is asked which is the primary; and while nobody answers, which may take as long."""

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0
_GRACE = 5.0
"""How long a server may be late, in seconds, to say that nothing has come."""


class Connections:
    """The connections of a store, in whatever process it is used: a forked child opens its own.

    Args:
        connect: Makes a client of redis-py.
        patience: For how many seconds a call is repeated when the server cannot be reached.
    """

    def __init__(self, connect: Callable[[], Any], patience: float) -> None:
        """Connect to nothing yet."""
        self._connect = connect
        self._patience = patience
        self._by_process: dict[int, _Client] = {}
        self.closed = False

    def run(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument] = (), patience: float | None = None
    ) -> Any:
        """Run a script; it may be run again if its reply is lost.

        Raises:
            StoreError: it could not be run.
        """
        return self.ask(lambda client: script.run(client, keys, args), patience)

    def ask(self, question: Callable[[Any], Any], patience: float | None = None) -> Any:
        """Return what `question` gets of a client, asked again if the connection fails."""
        patience = self._patience if patience is None else patience
        deadline: float | None = None
        pause = _FIRST_PAUSE
        while True:
            if self.closed:
                raise StoreClosedError("the store is closed")
            try:
                return question(self._here().of_primary())
            except FAULTS as exc:
                if isinstance(exc, TimeoutError) or is_replaced(exc):
                    # The others are as dead, and each would cost as long; or lead to what is the primary no more.
                    self._here().close_idle()
                now = time.monotonic()
                # From the first fault on: this process may have been frozen, or have waited for a dead connection.
                deadline = now + patience if deadline is None else deadline
                if not passes(exc) or now >= deadline:
                    raise store_error(exc) from exc
            except Exception:
                raise
            except BaseException:  # redis-py puts back a connection whose reply is still to come
                self._here().close_idle()
                raise
            finally:
                self._after_close()
            self.pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def listen(self, streams: Iterable[Stream], seconds: float) -> list[str] | None:
        """Wait until one of these streams has something new, or so many seconds, or until the store is closed.

        Returns:
            The keys of those that have something; None if the connection has failed.
        """
        try:
            return self._here().listen(streams, seconds)
        except FAULTS as exc:
            if not passes(exc) and WRONG_TYPE not in str(exc):  # of one log: a look finds which one that is
                raise store_error(exc) from exc
            self.pause(_FIRST_PAUSE)
            return None
        finally:
            self._after_close()

    def close(self) -> None:
        """End all waits, and close what is not in use; what is, is closed by who uses it."""
        self.closed = True
        here = self._by_process.get(os.getpid())
        if here is not None:
            here.wake()
            here.close_idle()

    def _here(self) -> _Client:
        """Return the client of this process."""
        here = self._by_process.get(os.getpid())
        if here is None:
            made = _Client(self._connect())
            here = self._by_process.setdefault(os.getpid(), made)  # of two threads' clients, the first is kept
        return here

    def pause(self, seconds: float) -> None:
        """Wait for so long, or until the store is closed."""
        here = self._by_process.get(os.getpid())
        time.sleep(seconds) if here is None else here.pause(seconds)

    def _after_close(self) -> None:
        if self.closed:
            self.close()


class _Client:
    """A client of redis-py, and how its waits are ended."""

    def __init__(self, client: Any) -> None:
        """Take the client over."""
        self.redis = client
        self._is_cluster = isinstance(client, RedisCluster)
        self._is_watched = isinstance(getattr(client, "connection_pool", None), SentinelConnectionPool)
        self._asks_at = 0.0  # when it asks the Sentinels next, on the monotonic clock
        self._woken, self._waker = os.pipe()
        self._is_woken = False
        weakref.finalize(self, _close_all, (self._woken, self._waker))

    def of_primary(self) -> Any:
        """Return the client. Now and then, ask the Sentinels first: a primary that lives may have been replaced.

        It takes writes for ten seconds yet, which are lost. Where it has been, redis-py closes what is idle.
        """
        now = time.monotonic()
        if self._is_watched and now >= self._asks_at:
            self._asks_at = now + _ASKS_EVERY
            try:
                self.redis.connection_pool.get_master_address()
            except FAULTS:  # it is for who connects to find that out
                self._asks_at = now + _ASKS_EVERY_AWAY
        return self.redis

    def wake(self) -> None:
        """End this client's waits, those that come later, too: what is written is never read."""
        if not self._is_woken:
            os.write(self._waker, b"x")
        self._is_woken = True

    def pause(self, seconds: float) -> None:
        """Wait for so long, or until `wake`."""
        self._poll([], seconds)

    def listen(self, streams: Iterable[Stream], seconds: float) -> list[str] | None:
        """Wait for streams: with one connection for each shard, none of which anybody else uses meanwhile."""
        rung: list[str] = []
        waiting: list[tuple[Any, Any]] = []
        try:
            for there in _by_shard(streams):
                pool = self._pool(there[0].key)
                waiting.append((pool, connection := pool.get_connection()))  # in one line: no signal comes between
                block = max(1, int(seconds * 1000))  # 0 would be for ever
                connection.send_packed_command([xread(there, block)])
            ready = self._poll([_socket_of(connection) for _, connection in waiting], seconds + _GRACE)
            for pool, connection in [*waiting]:
                if _socket_of(connection) in ready:
                    rung += [stream.decode() for stream in dict(connection.read_response() or ())]
                    pool.release(connection)
                    waiting.remove((pool, connection))
            if not ready:
                self.close_idle()  # as dead as these
                return None
            return rung
        finally:
            try:
                _give_back(waiting)
            except BaseException:
                _give_back(waiting)
                raise

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        for pool in self._pools():
            pool.disconnect(inuse_connections=False)

    def _poll(self, descriptors: Iterable[int], seconds: float) -> set[int]:
        poll = select.poll()
        for descriptor in (self._woken, *descriptors):
            poll.register(descriptor, select.POLLIN)
        return {descriptor for descriptor, _ in poll.poll(seconds * 1000)}

    def _pool(self, key: str) -> Any:
        if self._is_cluster:
            return self.redis.get_redis_connection(self.redis.get_node_from_key(key)).connection_pool
        return self.redis.connection_pool

    def _pools(self) -> list[Any]:
        if self._is_cluster:
            clients = [node.redis_connection for node in self.redis.get_nodes()]
            return [client.connection_pool for client in clients if client is not None]
        return [self.redis.connection_pool]


def _give_back(waiting: list[tuple[Any, Any]]) -> None:
    while waiting:
        pool, connection = waiting[-1]
        connection.disconnect()  # its reply, still to come, is for nobody
        pool.release(connection)
        waiting.pop()


def _by_shard(streams: Iterable[Stream]) -> list[list[Stream]]:
    found: defaultdict[str, list[Stream]] = defaultdict(list)
    for stream in streams:
        found[stream.shard].append(stream)
    return [*found.values()]


def _socket_of(connection: Any) -> int:
    return int(connection._get_socket().fileno())  # noqa: SLF001 - redis-py has no other way to wait for several


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
