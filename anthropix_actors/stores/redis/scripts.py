"""What Redis does in one step: scripts in Lua, and what they have in common.

A script that cannot be repeated without harm keeps its answer for a minute, under a key of its call: who lost the reply
asks again, and gets it.

All keys of a script are named by the caller and lie in one slot of a Cluster. Redis 6.2 is enough.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

if TYPE_CHECKING:
    from collections.abc import Sequence

Argument = str | bytes | int


class Call(NamedTuple):
    """What a script is run with. All keys lie in one slot of a Cluster."""

    keys: Sequence[str]
    args: Sequence[Argument]


class Script(NamedTuple):
    """One script."""

    source: str
    sha: str

    def run(self, client: Any, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run it; send its text where the server does not have it, as after a restart."""
        try:
            return client.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self.source, len(keys), *keys, *args)

    def run_all(self, server: Any, calls: Sequence[Call]) -> list[Any]:
        """Run it with each of these, in one round trip to one server; return the replies, some of which may be errors.

        All may be run again, where the server does not have its text.
        """
        replies = self._piped(server, calls)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            with contextlib.suppress(ResponseError):  # which it gets once more
                self.run(server, *calls[0])
            replies = self._piped(server, calls)
        return replies

    def _piped(self, server: Any, calls: Sequence[Call]) -> list[Any]:
        pipe = server.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self.sha, len(keys), *keys, *args)
        return list(pipe.execute(raise_on_error=False))


_COMMON = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function lives(holders, holder)
  local ends = holder and redis.call('ZSCORE', holders, holder)
  return ends and tonumber(ends) > clock()
end
local function ring(bell)
  redis.call('XADD', bell, 'MAXLEN', 1, '*', 'rung', 1)
end
local function last_of(bell)
  local found = redis.call('XREVRANGE', bell, '+', '-', 'COUNT', 1)
  return found[1] and found[1][1] or '0-0'
end
"""

_ONCE = """
local REPLY = KEYS[1]
local answered = redis.call('GET', REPLY)
if answered then return cmsgpack.unpack(answered) end
local function once(answer)
  redis.call('SET', REPLY, cmsgpack.pack(answer), 'PX', 60000)
  return answer
end
"""


def script(body: str, *, once: bool = False) -> Script:
    """Return a script; one that is done `once` has a first key for its answer, and returns that by way of `once`."""
    source = _COMMON + (_ONCE if once else "") + body
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
