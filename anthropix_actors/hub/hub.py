"""The front door: chats that are written into a store, and followed of it, by any process on any machine."""

from __future__ import annotations

import contextlib
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any, overload

import msgspec

from anthropix_actors._cancel import exit_and_fork
from anthropix_actors._cancel.scope import as_reason
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._checks.call_errors import explains
from anthropix_actors._foreign.interrupts import uninterrupted
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._tasks.delivery import WINDOW
from anthropix_actors._tasks.subscriber import subscriber_problems
from anthropix_actors.chat.messages import ChatCancelled
from anthropix_actors.errors import ConfigurationError, ParameterError
from anthropix_actors.hub._read.crew import Crew
from anthropix_actors.hub._read.follow_task import FollowTask
from anthropix_actors.hub._read.follower import Follower
from anthropix_actors.hub._read.writer_check import WriterCheck
from anthropix_actors.hub._write.open_log import DAY
from anthropix_actors.hub._write.writing import Writing
from anthropix_actors.hub.entries import ENDS
from anthropix_actors.hub.entry_forms import kind_of
from anthropix_actors.hub.followed import Followed
from anthropix_actors.hub.jobs import job_data
from anthropix_actors.hub.names import chat_name, check_options, check_store, holder_name, is_chat
from anthropix_actors.hub.ref import LogRef
from anthropix_actors.hub.status import ChatStatus, Summaries, Summary, status_of
from anthropix_actors.stores import Held
from anthropix_actors.stores.beat import LEASE, Beat
from anthropix_actors.stores.entries import entries_of
from anthropix_actors.stores.names import INBOX, JOBS, checked_name

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._wire.message import Message
    from anthropix_actors.hub.log_writer import LogWriter
    from anthropix_actors.stores import Entry, Store

TTL = 3600.0
PATIENCE = 30.0

exit_and_fork.install()


class HubMetrics(msgspec.Struct, frozen=True):
    """What a hub does, and has done.

    Attributes:
        writing: Logs that it writes now.
        logs: Logs that it has written to their ends.
        entries: Entries that it has written.
        batches: In how many appends.
        bytes: How many bytes they had, as JSON.
        behind: Entries that wait for the store now.
        lag: Seconds for which the first of them has waited.
        reading: Logs that are read now: of chats that are followed here, and the inboxes of those that it writes.
        write_failures: Appends that failed, and were tried again or given up.
        read_failures: How often the store could not be read.
    """

    writing: int
    logs: int
    entries: int
    batches: int
    bytes: int
    behind: int
    lag: float
    reading: int
    write_failures: int
    read_failures: int


class Hub:
    """Chats over a store: written by one process, followed and cancelled by any that shares the store.

    A chat has a name; its log in the store has the same. `to` writes a chat into it; `follow` reads it, from the
    beginning or from a cursor, while it is written and long after; `cancel` reaches the chat wherever it runs. `submit`
    leaves a chat to whoever takes it. One hub serves any number of chats, and all threads of a process; its own threads
    run while they are needed.

    Args:
        store: The store: a `MemoryStore`, or any other that has `Store`'s methods. Closing it is yours.
        lease: After how many seconds without a sign of life those that run a chat count as dead.
        ttl: For how many seconds a log is kept after its end.
        holder: A name for this hub that no other has, and nobody can guess; made up by default.
        patience: For how many seconds the store may be away: then what is written is given up, and who follows is told.
        window: How many messages one that follows may be behind, and a loop be ahead of.
        queue: The queue that jobs are put into.

    Attributes:
        store: The store.
        holder: The name of this hub in the store.
        queue: The queue that jobs are put into.

    Raises:
        ParameterError: an argument is wrong.

    Example:
        >>> from anthropix_actors import Hub
        >>> from anthropix_actors.stores import MemoryStore
        >>> with Hub(MemoryStore()) as hub:
        ...     chat = client.chat(model="claude-sonnet-5", messages=hello, stream=hub.to("answer-17"))
        ...     for text in hub.follow("answer-17").text:
        ...         print(text, end="")
        Hello!
    """

    @explains("Hub")
    def __init__(  # noqa: PLR0913 - options of a front door, by name
        self,
        store: Store,
        *,
        lease: float = LEASE,
        ttl: float = TTL,
        holder: str | None = None,
        patience: float = PATIENCE,
        window: int = WINDOW,
        queue: str = JOBS,
    ) -> None:
        """Take the options. Does not use the store, and starts no thread."""
        check_store(store)
        check_options(lease=lease, ttl=ttl, patience=patience, window=window)
        self.store = store
        self.queue = checked_name(queue, "queue")
        self._given = None if holder is None else holder_name(holder)
        self._lease = lease
        self._ttl = ttl
        self._patience = patience
        self._window = window
        self._start(self._given)
        SWEEPER.fork_listeners.add(self)

    def _start(self, holder: str | None) -> None:
        """Make the parts, none of which has a thread yet."""
        self.holder = holder or f"hub-{secrets.token_hex(12)}"
        self._is_closed = False
        self._crew = Crew()
        self._summaries = Summaries(self.store)
        self._beat = Beat(self.store, self.holder, self._lease)
        self._follower = Follower(self.store, self.holder, silence=self._lease / 3, patience=self._patience)
        self._writing = Writing(
            self.store, self.holder, self._beat, self._follower, self._crew, ttl=self._ttl, patience=self._patience
        )

    def __repr__(self) -> str:
        """Show the holder, and how much is written and read."""
        return f"<Hub {self.holder}, writes {len(self._writing.open)}, reads {self._follower.count}>"

    # Writing

    def to(self, name: str, *, tag: str | None = None) -> LogWriter:
        """Return a subscriber that writes a chat into the log of this name: for `stream`, or `ChatRef.subscribe`.

        The log is claimed at once: so what is raised is raised before a request is sent. What the chat tells is in the
        store a moment later, in order, and exactly one end last. When the store is slow or away, the chat waits; after
        `patience` seconds, the log is given up, and the chat cancelled unless somebody else follows it. It is cancelled
        too when another claims the log, or it is deleted; and when somebody calls `cancel` with its name, even before
        it began. A log that a dead machine has begun is gone on with: those who follow it are told a `ChatResumed` that
        keeps nothing.

        Args:
            name: The name of the chat: 1 to 250 printable characters. Who knows it may follow and cancel the chat.
            tag: A tag, which those who follow the chat get as `chat.tag`.

        Raises:
            Held: the chat of this name runs; `holder` says where.
            ParameterError: it has ended, or the name is none.
            StoreError: the store could not be reached.
            ConfigurationError: the hub is closed.

        Example:
            >>> chat = client.chat(model="claude-sonnet-5", messages=hello, stream=hub.to("answer-18"))
            >>> hub.result("answer-18", timeout=60)["role"]
            'assistant'
        """
        self.check_open()
        return self._writing.begin(chat_name(name), tag)

    def submit(
        self,
        params: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002 - the word of queues
        retry_lost: bool = False,
        tag: str | None = None,
    ) -> str:
        """Put a chat into the queue, for any worker to run; return its name. It can be followed at once.

        It is put once: a second call with the same `id` changes nothing, whether the first one's chat waits, runs or
        has ended.

        Args:
            params: The parameters of `Client.chat`, without a `stream`. They are checked, and files in them are read:
                they travel as JSON, without a key or headers. What is secret in them is readable in the store.
            id: The name; made up by default, so that nobody can guess it.
            retry_lost: Whether to ask once more for an answer whose worker has died in the middle of it; by default, it
                is `Lost`. What was told before is paid for twice.
            tag: A tag for the chat.

        Raises:
            ParameterError: a parameter is wrong; it names every place. Or the log of this name is none of a chat.
            StoreError: the store could not be reached, or refuses the job.

        Example:
            >>> hub.submit({"model": "claude-sonnet-5", "messages": hello}, id="answer-19")
            'answer-19'
            >>> hub.status("answer-19").state
            'queued'
        """
        self.check_open()
        name = f"chat-{secrets.token_hex(12)}" if id is None else chat_name(id)
        data = job_data(params, retry_lost=retry_lost, tag=tag)
        if self._makes_log(name):
            self.store.put(self.queue, name, data)
        return name

    def _makes_log(self, name: str) -> bool:
        """Make the log of a job, so that it can be followed; return False if a chat has begun to write it."""
        state = self.store.state(name)
        if state is None:
            with contextlib.suppress(Held):  # by one who has just begun
                self.store.claim(name, f"{self.holder}/submits")  # who never lives: a worker may claim it
                self.store.expire(name, max(DAY, self._ttl))
                return True
            return False
        self._writing.refuse_others(name)
        return not state.closed and not state.length and state.holder is None

    # Reading

    @overload
    def follow(self, name: str, *, after: str | None = None) -> Followed: ...
    @overload
    def follow(self, name: str, *, to: Subscriber, after: str | None = None, window: int | None = None) -> LogRef: ...
    def follow(
        self, name: str, *, to: Subscriber | None = None, after: str | None = None, window: int | None = None
    ) -> Followed | LogRef:
        """Follow a chat, wherever it runs or ran: from its beginning, or from a cursor on.

        Without `to`, a loop is returned. With `to`, a subscriber is told the same messages: `ChatEvent`,
        `ChatRetrying`, `ChatResumed`, and exactly one of `ChatDone`, `ChatFailed` and `ChatCancelled`, last. Each has
        the `cursor` to go on from, and `chat`, a ref that works as that of any chat. A subscriber that is `window`
        messages behind makes nobody wait: the log is read on when it has room.

        Where the chat's process has died, and nobody goes on with it, the end is a `ChatFailed` with `Lost`, after the
        lease. To leave cancels nothing.

        Args:
            name: The name of the chat.
            to: The subscriber: an actor, or anything else that has a `tell`.
            after: The cursor of the last message that was had; None for all of them.
            window: How many messages an actor may be behind; None for the hub's.

        Raises:
            Lost: there is no log of this name, or it is not the one that the cursor is of.
            ParameterError: it is no cursor, or `to` no subscriber.
            StoreError: the store could not be reached.

        Example:
            >>> [type(message).__name__ for message in hub.follow("answer-1")][-1]
            'ChatDone'
        """
        if to is None:
            return Followed(self.ref(name, after=after), after, partial(self._ref_after, name), self._window)
        if problems := subscriber_problems(to, "to"):
            raise ParameterError(problems)
        ref = self.ref(name, after=after)
        ref.subscribe(to, window=window)
        return ref

    def _ref_after(self, name: str, after: str | None) -> LogRef:
        return self.ref(name, after=after)

    def ref(self, name: str, *, after: str | None = None) -> LogRef:
        """Return the ref of a chat, to pass wherever a `ChatRef` may be passed: to `aio`, `sse_lines`, `as_completed`.

        Nothing more is read before somebody follows it, or waits for it. Raises as `follow`.

        Args:
            name: The name of the chat.
            after: The cursor of the last message that its first subscriber has had.

        Example:
            >>> from anthropix_actors.subscribers import sse_lines
            >>> b"".join(sse_lines(hub.ref("answer-1"))).splitlines()[-3:-1]
            [b'event: message_stop', b'data: {"type":"message_stop"}']
        """
        self.check_open()
        first = [self._read_first(chat_name(name), after)]  # for its first task alone
        return LogRef(self, name, lambda: self._task(name, after, first.pop() if first else ()))

    def _read_first(self, name: str, after: str | None) -> Sequence[Entry]:
        """Return what there is after a cursor; of a log that has ended there, the end once more."""
        entries = self.store.read(name, after)
        if not entries and after is not None:
            state = self.store.state(name)
            if state is not None and state.closed:
                # Once more: what came between the two calls is not to be skipped.
                entries = self.store.read(name, after)
                ends = [entry for entry in entries_of(self.store, name) if kind_of(entry.data) in ENDS]
                return entries or ends[:1]
        return entries

    def _task(self, name: str, after: str | None, first: Sequence[Entry]) -> FollowTask:
        check = WriterCheck(self.store, self.queue, name)
        return FollowTask(self.store, self._follower, self._crew, check, after=after, first=first, window=self._window)

    def result(self, name: str, timeout: float | None = None) -> Message:
        """Wait for the answer of a chat, and return the whole Message.

        Raises:
            TimeoutError: there is no result yet; the chat goes on.
            CancelledError: it was cancelled.
            Lost: there is no such log, or who ran the chat has died.
            AnthropixError: the chat failed; the class is the same as where it ran.

        Example:
            >>> hub.result("answer-1", timeout=60)["content"]
            [{'type': 'text', 'text': 'Hello!'}]
        """
        return self.ref(name).result(timeout)

    # All chats

    def cancel(self, name: str, reason: str = "cancelled") -> bool:
        """Cancel a chat, wherever it runs; also one that waits in the queue, or that has not begun.

        Returns at once; those who follow it are told by it.

        Returns:
            Whether this call did it; False if it has ended, or was cancelled before.

        Raises:
            StoreError: the store could not be reached.

        Example:
            >>> hub.cancel("answer-1", "the user pressed Stop")
            False
        """
        state, reason = self.store.state(chat_name(name)), as_reason(reason)
        if state is not None and state.closed:
            return False
        is_running = state is not None and state.holder is not None  # then no job of its name waits
        job = None if is_running else self.store.job(self.queue, name)
        if job is not None and uninterrupted(partial(self._end_job, name, reason, job.data.get("tag")), _leave):
            return True
        inbox = name + INBOX
        posted = self.store.post(inbox, {"kind": "cancel", "reason": reason}, key="cancel")
        if state is None:
            self.store.expire(inbox, max(DAY, self._ttl))
        return posted

    def _end_job(self, name: str, reason: str, tag: str | None) -> bool:
        """Take a job that waits out of the queue, and write the end of its chat; return False if it has just begun.

        Not to be interrupted: in between, there is neither a job nor an end.
        """
        if not self.store.remove(self.queue, name):
            return False
        try:
            writer = self._writing.begin(name, tag)
        except Held:
            return False
        nobody: Any = None
        writer.tell(ChatCancelled(nobody, reason, None))
        writer.wait(self._patience)
        return True

    def status(self, name: str) -> ChatStatus:
        """Return what a chat is at this moment: where it is, and how it ended.

        The first call for a log reads all of it, some thousand entries at a time; the next ones what has come since.

        Raises:
            StoreError: the store could not be reached.

        Example:
            >>> hub.status("answer-1").state, hub.status("nothing").state
            ('done', 'unknown')
        """
        state = self.store.state(chat_name(name))
        told = self._summaries.of(name) if state is not None and state.length else Summary()
        return status_of(name, state, told, self.store.job(self.queue, name))

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the chats that have a log and begin with `prefix`, sorted.

        Example:
            >>> hub.names("answer-1")
            ['answer-1']
        """
        return [name for name in self.store.names(prefix) if is_chat(name)]

    def delete(self, name: str) -> None:
        """Delete the log of a chat, and its job if nobody has taken it. A chat that runs is cancelled by that.

        Those who follow it are told that it is `Lost`. One that is not there is left alone.
        """
        self.store.remove(self.queue, chat_name(name))
        for each in (name, name + INBOX):
            self.store.delete(each)

    def metrics(self) -> HubMetrics:
        """Return what this hub does, and has done. Does not use the store.

        Example:
            >>> hub.metrics().behind
            0
        """
        opened = self._writing.open
        behind = [each for each in opened if each.behind]
        now = time.monotonic()
        counts = self._writing.counts
        return HubMetrics(
            writing=len(opened),
            logs=counts.logs,
            entries=counts.entries,
            batches=counts.batches,
            bytes=counts.bytes,
            behind=sum(each.behind for each in behind),
            lag=max((now - each.since for each in behind), default=0.0),
            reading=self._follower.count,
            write_failures=self._writing.appender.failures,
            read_failures=self._follower.failures,
        )

    # Its own life

    @contextlib.contextmanager
    def lives(self) -> Generator[None]:
        """Let the hub's holder live in the store within this block: what it takes from a queue is nobody else's.

        Example:
            >>> with hub.lives():
            ...     jobs = hub.store.take("jobs", hub.holder, 1)
        """
        self.check_open()
        self._beat.hold()
        try:
            yield
        finally:
            self._beat.let_go()

    def close(self, grace: float = 0.0) -> None:
        """Wait for the chats that are written here, then cancel those that go on, and end all threads of the hub.

        What they have told, and their ends, are written, if the store is there. Those that are followed here are told
        that they are followed no longer (`ChatCancelled`); the chats themselves go on. Once is enough.

        Args:
            grace: Seconds to wait for the chats that are written here.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._writing.close(grace)
        self._follower.close()
        self._beat.close()
        self._crew.close()

    def __enter__(self) -> Self:
        """Return the hub itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def after_fork(self) -> None:
        """Start afresh in a forked child, under another name: what was written or followed is the parent's."""
        self._writing.after_fork()
        self._start(None if self._given is None else f"{self._given}-{secrets.token_hex(6)}")

    def check_open(self) -> None:
        """Do nothing while the hub is open.

        Raises:
            ConfigurationError: it is closed.

        Example:
            >>> hub.check_open()
        """
        if self._is_closed:
            raise ConfigurationError("the hub is closed; make another one")


def _leave(_: bool) -> None:  # noqa: FBT001 - whether it was cancelled
    """Leave a chat cancelled whose cancel was interrupted."""


publish("anthropix_actors.hub", (Hub, HubMetrics))
