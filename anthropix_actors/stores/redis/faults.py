"""What of redis-py's errors is worth another try, and what an operator can do about the others."""

from __future__ import annotations

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterError,
    ConnectionError,  # noqa: A004 - redis-py's own
    MaxConnectionsError,
    MovedError,
    RedisClusterException,
    RedisError,
    TimeoutError,  # noqa: A004 - redis-py's own
    TryAgainError,
)

from anthropix_actors.stores.log import StoreError

FAULTS = (RedisError, RedisClusterException, OSError, AttributeError, LookupError)
"""All that redis-py raises for what is no mistake in a call; the latter two where a Cluster has a node that is new."""

NO_PRIMARY = "it is no primary any more"

WRONG_TYPE = "WRONGTYPE"
"""What is said where another program has put something else under a key."""

_PASSING = (ConnectionError, TimeoutError, ClusterError, MovedError, AskError, TryAgainError)
_STRAY = (RedisClusterException, OSError, AttributeError, LookupError)
_LASTING = (AuthenticationError, AuthorizationError, MaxConnectionsError)

_OF_REPLICA = ("read only replica", "previous master is now a slave", NO_PRIMARY, "enough good replicas")
_MOMENTARY = (*_OF_REPLICA, "UNBLOCKED", "is busy running a script")
"""Words of errors that are of no class of their own, or of one script within another error."""

_ADVICE = {
    "used memory": "its memory is full: raise maxmemory, or let logs expire sooner",
    "MISCONF": "it cannot write to its disk: make room there, or see its log",
    "read only replica": "it is a replica: connect to the primary, or by way of Sentinel",
    NO_PRIMARY: "the Sentinels name no other primary yet",
    "previous master is now a slave": "it is a replica: the Sentinels name no other primary yet",
    "No master found": "the Sentinels name no primary: see SENTINEL MASTERS, and whether the name is right",
    "enough good replicas": "too few replicas follow it (min-replicas-to-write)",
    "cluster is down": "a part of the Cluster is away: see CLUSTER NODES",
    "slot not served": "a part of the Cluster is away: see CLUSTER NODES",
    "not covered": "a part of the Cluster is away: see CLUSTER NODES",
    "TTL exhausted": "a slot of the Cluster is being moved: wait until it has, or raise patience",
    "has no attribute": "a slot of the Cluster is being moved to a new node: wait until it has, or raise patience",
    "is busy running a script": "a script of another program holds it up: SCRIPT KILL",
    "loading the dataset": "it reads its files yet: wait until it has",
    "permission": "this user may not do that: see the ACL in docs/redis.md",
    "invalid username-password": "user or password are wrong",
    "without any password configured": "it has no password for this user: leave the password out, or set one",
    "Authentication required": "it wants a password: put it into the URL",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not one of ssl_ca_certs, or of another host",
    "SSL": "check that it speaks TLS on this port: rediss:// is for ports that do",
    "unknown command": "it lacks a command: Redis 6.2 or Valkey is needed",
}
"""What to do, by words of the error. The first that are found count."""


def passes(error: BaseException) -> bool:
    """Return whether the same call may do better in a moment."""
    if isinstance(error, _LASTING) or "SSL" in str(error):
        return False
    return isinstance(error, (*_PASSING, *_STRAY)) or any(words in str(error) for words in _MOMENTARY)


def is_replaced(error: BaseException) -> bool:
    """Return whether what has answered may be the primary no more, so that connections to it are of no use."""
    return any(words in str(error) for words in _OF_REPLICA)


def store_error(error: BaseException) -> StoreError:
    """Return the error that a caller gets, with what to do, and strip redis-py's, which is to be its `__cause__`.

    Example:
        >>> from redis.exceptions import OutOfMemoryError
        >>> print(store_error(OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")))
        Redis: its memory is full: raise maxmemory, or let logs expire sooner (command not allowed when used memory...
    """
    text = str(error)
    advice = next((advice for words, advice in _ADVICE.items() if words in text), None)
    # Its frames, and those of what came before it, hold connections and the password.
    error.__context__ = error.__cause__ = error.__traceback__ = None
    vars(error).pop("connection", None)
    return StoreError(f"Redis: {advice} ({text})" if advice else f"Redis: {text}")
