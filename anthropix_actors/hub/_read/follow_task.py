"""The state of one chat that is read of a log: its answer so far, its subscribers, its end.

The chat runs elsewhere. To its subscribers here it is as any chat: the same messages, windows and waits; but a cancel
goes to where it runs, and that nobody follows it any more ends only the reading.
"""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel.scope import CancelScope
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._http.request import Timeout
from anthropix_actors._tasks.audience import Audience
from anthropix_actors._tasks.task import Task
from anthropix_actors.chat.accumulate import Accumulator
from anthropix_actors.chat.messages import ChatCancelled, ChatDone, ChatFailed
from anthropix_actors.chat.task import ChatTask
from anthropix_actors.errors import AnthropixError, ParameterError, Problem
from anthropix_actors.hub._read.follower import Reading
from anthropix_actors.hub._read.rebuild import Rebuild
from anthropix_actors.hub.entries import ENDS, told
from anthropix_actors.hub.entry_forms import kind_of
from anthropix_actors.stores.entries import entries_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anthropix_actors._tasks.delivery import Delivery
    from anthropix_actors._tasks.task import State
    from anthropix_actors._wire.message import Message
    from anthropix_actors.hub._read.crew import Crew
    from anthropix_actors.hub._read.follower import Follower
    from anthropix_actors.hub._read.writer_check import WriterCheck
    from anthropix_actors.stores import Entry, Log

_TERMINAL = (ChatDone, ChatFailed, ChatCancelled)

_AT_ONCE = 256
"""How many entries are told before the next are looked at."""


class _Elsewhere:
    """Stands in for the connections of a chat whose requests are sent elsewhere."""

    @property
    def auth(self) -> _Elsewhere:
        return self

    def refreshes_here(self) -> bool:
        return False


class _Readers(Audience):
    """The audience of a chat that is read: a callback is enough for the reading to begin, and to go on."""

    _task: FollowTask

    def add_callback(self, callback: Delivery) -> None:
        super().add_callback(callback)
        self._task.start()

    @property
    def have_left(self) -> bool:
        return super().have_left and not self.callbacks


class FollowTask(ChatTask):
    """The state of one chat that is read of a log.

    Its turns run on threads of a crew: one at a time, whenever entries have come.

    Attributes:
        reading: What the follower reads for it.
    """

    def __init__(  # noqa: PLR0913 - the parts of the state
        self,
        store: Log,
        follower: Follower,
        crew: Crew,
        check: WriterCheck,
        *,
        after: str | None,
        first: Sequence[Entry],
        window: int,
    ) -> None:
        """Start with the entries that were read when it was asked for; read nothing yet."""
        transport: Any = _Elsewhere()
        Task.__init__(self, transport, CancelScope(), Timeout(total=None))
        self.audience = _Readers(self)
        self.window = window
        self.answer = Accumulator()
        self.reading = _TaskReading(self, check, first[-1].cursor if first else after)
        self._store = store
        self._follower = follower
        self._crew = crew
        self._after = after
        self._rebuild = Rebuild(is_whole=after is None)
        self._arrived: collections.deque[Entry | AnthropixError] = collections.deque(first)
        self._has_all = bool(first) and _is_last(first[-1])
        self._is_started = self._is_busy = self._is_paused = False

    # Subscribers. Any thread

    def start(self) -> None:
        """Begin to read, once.

        Raises:
            AnthropixError: the hub is closed, or the interpreter is ending; nobody is told anything.
        """
        with self.lock:
            started, self._is_started = self._is_started, True
        if started:
            return
        try:
            self.begin()
            SWEEPER.watch(self)
            if not self._has_all:
                self._follower.add(self.reading)
            self._have_turn()
        except BaseException:  # an interrupt as well: nobody has the chance to follow it, or to leave
            SWEEPER.unwatch(self)
            self._follower.drop(self.reading)
            self.audience.deliveries = ()
            raise

    def attach(self, delivery: Delivery) -> None:
        """Deliver what there is to a new subscriber, and all that follows.

        Raises:
            ParameterError: it has begun in the middle: what was before cannot be told.
        """
        if self._is_started and self._after is not None and not self.audience.includes(delivery.subscriber):
            what = "expected one subscriber where a chat is followed from a cursor: call follow once more for another"
            raise ParameterError([Problem("subscriber", what)])
        super().attach(delivery)
        self.start()

    def snapshot(self) -> Message | None:
        """Return the Message so far; where it is not read from its beginning, of the whole log. May wait for that."""
        if self._after is None:
            return super().snapshot()
        with self.lock:
            terminal = self.terminal
        if isinstance(terminal, ChatDone):
            return terminal.message
        name = self.reading.name
        return told((entry.data for entry in entries_of(self._store, name)), name)[0]

    @property
    def has_left(self) -> bool:
        """Whether it is read no more, though its chat goes on."""
        return self.scope.cause is not None

    @property
    def state(self) -> State:
        """What the chat is doing, as far as it was read."""
        return super().state if self.terminal is not None else self._rebuild.state

    def cancel(self, reason: str) -> bool:
        """Read no more. The chat itself goes on."""
        first = super().cancel(reason)
        if first:
            self._follower.drop(self.reading)
            self._have_turn()
        return first

    def annotated(self, error: AnthropixError) -> AnthropixError:
        """Add what was read of the Message to an error, where it has none."""
        if error.partial is None and self._after is None:
            error.partial = super().snapshot()
        return error

    def _stop_actor(self) -> None:
        """Do nothing: there is no actor."""

    # Entries. In the follower's thread

    def wants_more(self) -> bool:
        """Return whether there is room for more entries."""
        if len(self._arrived) < self.window:  # mostly, and asked for each reading in each round
            return True
        with self.lock:
            self._is_paused = len(self._arrived) >= self.window
        return not self._is_paused

    def take(self, *items: Entry | AnthropixError) -> None:
        """Take entries, or what there is in place of more; have them told."""
        self._arrived.extend(items)
        self._have_turn()

    # Turns. On a thread of the crew

    def _have_turn(self) -> None:
        with self.lock:
            is_busy, self._is_busy = self._is_busy, True
        if not is_busy:
            self._crew.run(self._turn)

    def _turn(self) -> None:
        self.thread = threading.get_ident()
        try:
            while burst := self._burst():
                self._tell(burst)
        except BaseException as exc:  # noqa: BLE001 - it was cancelled, or is a bug of ours
            self._follower.drop(self.reading)
            self._end(self.terminal_for(exc))
        finally:
            self.thread = None

    def _burst(self) -> list[Entry | AnthropixError]:
        """Return what has arrived, or some of it; end the turn where nothing has."""
        if self.terminal is None:
            self.scope.check()
        with self.lock:
            count = 0 if self.terminal is not None else min(len(self._arrived), _AT_ONCE)
            burst = [self._arrived.popleft() for _ in range(count)]
            self._is_busy = bool(burst)
            goes_on = self._is_paused and len(self._arrived) <= self.window // 2
            self._is_paused = self._is_paused and not goes_on
        if goes_on:
            self._follower.wake()
        return burst

    def _tell(self, burst: Sequence[Entry | AnthropixError]) -> None:
        """Add entries to the answer, and tell their messages; may wait for a slow subscriber."""
        with self.lock:
            messages, end = self._messages_up_to_end(burst)
            deliveries = self.audience.deliveries
        self.audience.tell_all(messages, deliveries)
        if end is not None:
            self.scope.commit()
            self._follower.drop(self.reading)  # what was no end to it may be one here
            self._end(end)

    def _messages_up_to_end(self, burst: Sequence[Entry | AnthropixError]) -> tuple[list[Any], Any]:
        messages: list[Any] = []
        for item in burst:
            for message in self._messages_of(item):
                if isinstance(message, _TERMINAL):
                    return messages, message
                messages.append(message)
        return messages, None

    def _messages_of(self, item: Entry | AnthropixError) -> Sequence[Any]:
        if isinstance(item, AnthropixError):
            return [self.failed_message(self.annotated(item))]
        return self._rebuild.messages_of(item, self)

    def _end(self, terminal: Any) -> None:
        self.finish(terminal)
        SWEEPER.unwatch(self)


class _TaskReading(Reading):
    """What the follower reads for one task."""

    def __init__(self, task: FollowTask, check: WriterCheck, cursor: str | None) -> None:
        super().__init__(check.name, cursor)
        self._task = task
        self._check = check

    def wants_more(self) -> bool:
        return self._task.wants_more()

    def take(self, entries: Sequence[Entry]) -> bool:
        self._task.take(*entries)
        return not _is_last(entries[-1])

    def fail(self, error: AnthropixError) -> None:
        self._task.take(error)

    def close(self) -> None:
        self._task.cancel("the hub was closed")

    def look(self) -> AnthropixError | None:
        return self._check.look()


def _is_last(entry: Entry) -> bool:
    return kind_of(entry.data) in ENDS
