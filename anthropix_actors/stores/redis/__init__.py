"""A store in Redis: logs and queues for programs on many machines. Needs the extra `redis`.

>>> from anthropix_actors.stores.redis import RedisStore
>>> RedisStore.from_url("http://127.0.0.1:6379")
Traceback (most recent call last):
...
anthropix_actors.errors.ParameterError: url: expected a URL that begins with one of redis://, ...
"""

from anthropix_actors.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
