"""`ServerState`: what the event loop and the user's threads share."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anthropix_actors.emulator._model.cache import PromptCache
from anthropix_actors.emulator._model.compaction import after_compaction
from anthropix_actors.emulator._model.ids import Ids
from anthropix_actors.emulator._model.message_threads import MessageThreads
from anthropix_actors.emulator.limits import Meter
from anthropix_actors.emulator.rules.sent_thoughts import SentThoughts
from anthropix_actors.emulator.sessions import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from anthropix_actors.emulator._api.batch import BatchSchedule
    from anthropix_actors.emulator._model.cache import InputCost
    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.limits import Limits
    from anthropix_actors.emulator.records import Request
    from anthropix_actors.emulator.rules.table import Rule

CHAT = "/v1/messages"


class ServerState:
    """The emulator's state: queued answers, recorded requests, hang-ups, sessions, caches and limits.

    Safe from any thread, by one lock, except where a method says that it runs in the event loop.

    Args:
        api_key: The only key that is accepted; None accepts any.
        handler: Returns the answer to a chat for which none is queued.
        schedule: When batches end.
        limits: The rate limits; None for none.
        rules: The rules for a chat's parameters.
        hosts: The address that it listens on, and further names that the `Host` header may have.
        scheme: `http` or `https`, as it is served.
        clock: Returns the time by which caches and threads expire, in seconds.
    """

    def __init__(  # noqa: PLR0913 - one place makes it
        self,
        api_key: str | None,
        handler: Callable[[Request], Answer] | None,
        schedule: BatchSchedule,
        limits: Limits | None,
        *,
        rules: Sequence[Rule],
        hosts: tuple[str, Collection[str]],
        scheme: str,
        clock: Callable[[], float],
    ) -> None:
        """Start with nothing recorded and nothing queued."""
        self.api_key = api_key
        self.hosts = hosts
        self.scheme = scheme
        self.schedule = schedule
        self.rules = rules
        self.thoughts = SentThoughts()
        self.meter = Meter(limits)
        self._cache = PromptCache()
        self._threads = MessageThreads()
        self._clock = clock
        self._handler = handler
        self._changed = threading.Condition()
        self._queues: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self._requests: list[Request] = []
        self._hangups = 0
        self._closed = False
        self._sessions: dict[tuple[str, str | None], Session] = {}
        self._event_ids = Ids()

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order."""
        with self._changed:
            return list(self._requests)

    @property
    def hangups(self) -> int:
        """How many clients disconnected before the end of the response."""
        with self._changed:
            return self._hangups

    def enqueue(self, path: str, answers: Iterable[Answer]) -> None:
        """Put answers at the end of a path's queue."""
        with self._changed:
            self._queues[path].extend(answers)

    def has_queued(self, path: str) -> bool:
        """Return whether a path has a queued answer."""
        with self._changed:
            return bool(self._queues.get(path))

    def pop(self, path: str) -> list[Answer]:
        """Take the next queued answer of a path; return a list of one or none, as the answer itself may be None."""
        with self._changed:
            script = self._queues.get(path)
            return [script.popleft()] if script else []

    def answer(self, request: Request) -> Answer:
        """Return the answer to a chat: queued, or the handler's; None is the default. Runs in the event loop."""
        scripted = self.pop(request.path)
        handled = self._handler(request) if self._handler and not scripted else None
        answer = scripted[0] if scripted else handled
        self.thoughts.record(request.body, answer)
        return answer

    def handle_with(self, handler: Callable[[Request], Answer]) -> None:
        """Let another function answer the chats for which no answer is queued."""
        self._handler = handler

    def expand_thread(self, request: Request) -> Request:
        """Return a chat of a thread with its whole conversation; any other chat unchanged. Runs in the event loop.

        Raises:
            RefusedError: the thread does not exist or cannot be continued.
        """
        body = self._threads.expand(_owner(request), request.body, self._clock())
        return request if body is request.body else replace(request, body=body)

    def store_thread(self, request: Request, message: Mapping[str, Any]) -> None:
        """Store a chat of a thread with its answer. Runs in the event loop."""
        self._threads.store(_owner(request), request.body, message, self._clock())

    def price(self, request: Request) -> InputCost:
        """Return what the input of a chat costs now. Runs in the event loop."""
        return self._cache.price(_owner(request), after_compaction(request.body), self._clock())

    def charge(self, cost: InputCost) -> InputCost:
        """Store what a chat writes to the prompt cache, as it is answered. Runs in the event loop."""
        self._cache.store(cost, self._clock())
        return cost

    def session(self, session_id: str, thread_id: str | None) -> Session:
        """Return a session, or a thread of one; it is created when it is first named."""
        with self._changed:
            key = (session_id, thread_id)
            if key not in self._sessions:
                self._sessions[key] = Session(self._changed, self._event_ids)
            return self._sessions[key]

    @property
    def sessions(self) -> list[Session]:
        """The sessions, and their threads, that were named so far."""
        with self._changed:
            return list(self._sessions.values())

    def record(self, request: Request) -> None:
        """Record a request."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def record_hangup(self) -> None:
        """Count a client that disconnected; not after `close`, when the emulator closes the connections."""
        with self._changed:
            if not self._closed:
                self._hangups += 1
                self._changed.notify_all()

    def close(self) -> None:
        """Count no more hang-ups."""
        with self._changed:
            self._closed = True

    def wait_for(self, number: Callable[[], int], count: int, timeout: float, what: str) -> None:
        """Wait until `number()` is at least `count`. Must not run in the event loop, which it would block.

        Raises:
            TimeoutError: it is less after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: number() >= count, timeout):
                raise TimeoutError(f"{number()} of {count} {what} after {timeout:g} s")


def _owner(request: Request) -> str:
    """Return the owner of the caches and threads that a request uses: its key and workspace."""
    headers = request.headers
    key = headers.get("x-api-key") or headers.get("authorization", "").partition(" ")[2].strip()
    return f"{key} {headers.get('anthropic-workspace-id')}"
