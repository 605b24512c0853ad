"""Queues in Redis."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from anthropix_actors.stores.kept_job import job_of
from anthropix_actors.stores.names import checked_name, checked_number, checked_seconds, encoded
from anthropix_actors.stores.queue import Job, QueueState
from anthropix_actors.stores.redis import queue_scripts as scripts
from anthropix_actors.stores.redis.places import Stream
from anthropix_actors.stores.redis.reading import LONGEST_WAIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anthropix_actors.stores.redis.connections import Connections
    from anthropix_actors.stores.redis.keys import Keys
    from anthropix_actors.stores.redis.scripts import Argument, Script


class RedisQueues:
    """The queues of a `RedisStore`."""

    _connections: Connections
    _keys: Keys
    _unanswered: dict[tuple[str, str], str]  # queue and holder → the token of a `take` that may have taken something
    max_entry_bytes: int

    def put(self, queue: str, job_id: str, data: Mapping[str, Any]) -> bool:
        """Put a job; see `Queue`."""
        of = self._keys.queue(checked_name(queue, "queue"))
        args: list[Argument] = [checked_name(job_id, "job_id"), encoded(data, "data", self.max_entry_bytes)]
        return self._did(scripts.PUT, queue, [of.jobs, of.waiting, of.since, of.bell], args)

    def take(self, queue: str, holder: str, count: int, *, wait: float = 0.0) -> list[Job]:
        """Take jobs; see `Queue`."""
        of = self._keys.queue(checked_name(queue, "queue"))
        args: list[Argument] = [checked_name(holder, "holder"), checked_number(count, "count", least=1)]
        shard = self._keys.shard(queue)
        ends = self._keys.ends(shard)
        parts = [of.jobs, of.waiting, of.taken, of.since, of.held, self._keys.holders(shard), of.bell, ends]
        deadline = time.monotonic() + checked_seconds(wait, "wait")
        while True:
            next_end, rung, ended, *found = self._take_now(queue, holder, parts, args)
            left = deadline - time.monotonic()
            if found or left <= 0:
                jobs = [_taken(holder, *found[place : place + 3]) for place in range(0, len(found), 3)]
                for job in jobs[count:]:  # a call that failed had asked for more
                    self.give_back(queue, holder, job.id)
                return jobs[:count]
            until = LONGEST_WAIT if next_end < 0 else (next_end + 1) / 1000
            bells = [Stream(of.bell, shard, rung.decode()), Stream(ends, shard, ended.decode())]
            self._connections.listen(bells, min(left, until, LONGEST_WAIT))
            if self._connections.closed:
                return []

    def _take_now(self, queue: str, holder: str, parts: list[str], args: list[Argument]) -> Any:
        """Take what there is; first of all, what a call before has taken that got no answer.

        A call that is repeated settles what it takes, though it be nothing: the first one may be on its way yet, to a
        server that stands still.
        """
        before = self._unanswered.pop((queue, holder), None)
        token, repeats = before or secrets.token_hex(8), before is not None

        def ask(client: Any) -> Any:
            nonlocal repeats
            settles, repeats = repeats, True
            return scripts.TAKE.run(client, [self._keys.reply(queue, token), *parts], [*args, int(settles)])

        try:
            return self._connections.ask(ask)
        except BaseException:  # an interrupt as well
            self._unanswered[queue, holder] = token
            raise

    def finish(self, queue: str, holder: str, job_id: str) -> bool:
        """Remove a job that is done; see `Queue`."""
        args: list[Argument] = [checked_name(holder, "holder"), checked_name(job_id, "job_id")]
        return self._did(scripts.FINISH, queue, self._parts(queue), args)

    def give_back(self, queue: str, holder: str, job_id: str) -> bool:
        """Put a job back; see `Queue`."""
        keys = [*self._parts(queue), self._keys.queue(queue).bell]
        args: list[Argument] = [checked_name(holder, "holder"), checked_name(job_id, "job_id")]
        return self._did(scripts.GIVE_BACK, queue, keys, args)

    def remove(self, queue: str, job_id: str) -> bool:
        """Remove a job that nobody has; see `Queue`."""
        keys = [*self._parts(queue), self._keys.holders(self._keys.shard(queue))]
        return self._did(scripts.REMOVE, queue, keys, [checked_name(job_id, "job_id")])

    def job(self, queue: str, job_id: str) -> Job | None:
        """Return a job; see `Queue`."""
        jobs = self._keys.queue(checked_name(queue, "queue")).jobs
        checked_name(job_id, "job_id")
        fields = [f"{what}:{job_id}" for what in ("data", "attempt", "holder")]
        data, attempt, holder = self._connections.ask(lambda client: client.hmget(jobs, fields))
        if data is None and attempt is None:
            return None
        return job_of(job_id, data, attempt, None if holder is None else holder.decode())

    def queue_state(self, queue: str) -> QueueState:
        """Return the state of a queue; see `Queue`."""
        keys = [*self._parts(queue), self._keys.holders(self._keys.shard(queue))]
        waiting, taken, orphaned, oldest = map(int, self._connections.run(scripts.QUEUE_STATE, keys))
        return QueueState(waiting, taken, orphaned, oldest / 1000)

    def _parts(self, queue: str) -> list[str]:
        of = self._keys.queue(checked_name(queue, "queue"))
        return [of.jobs, of.waiting, of.taken, of.since, of.held]

    def _did(self, script: Script, queue: str, keys: list[str], args: list[Argument]) -> bool:
        """Run a script that answers whether it did something."""
        return bool(self._connections.run(script, [self._keys.reply(queue, secrets.token_hex(8)), *keys], args))


def _taken(holder: str, job_id: bytes, data: bytes | None, attempt: bytes) -> Job:
    return job_of(job_id.decode(errors="replace"), data, attempt, holder)
