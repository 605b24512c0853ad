"""One job that a worker has: its chat, and the log that its answer is streamed into."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from anthropix_actors._calls.client_core import CLIENT_CLOSED
from anthropix_actors._cancel.exit_and_fork import EXITS
from anthropix_actors._checks.shapes import shown
from anthropix_actors._foreign.log import log
from anthropix_actors.chat.messages import ChatCancelled, ChatDone, ChatEvent, ChatFailed
from anthropix_actors.errors import AnthropixError, AuthenticationError, ParameterError
from anthropix_actors.hub._work.takeover import Step, step_for
from anthropix_actors.hub._write.writing import HUB_CLOSED
from anthropix_actors.hub.entries import told
from anthropix_actors.hub.jobs import job_problem, params_problem
from anthropix_actors.hub.log_writer import LogDelivery
from anthropix_actors.stores import Lost, Unreadable
from anthropix_actors.stores.entries import entries_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropix_actors._cancel.scope import CancelScope
    from anthropix_actors._tasks.window import Window
    from anthropix_actors._wire.message import Message
    from anthropix_actors.chat.ref import ChatRef
    from anthropix_actors.hub._write.open_log import Outcome
    from anthropix_actors.hub.hub import Hub
    from anthropix_actors.hub.log_writer import LogWriter
    from anthropix_actors.stores import Job


class Asks(Protocol):
    """What asks the API: a `Client`."""

    @property
    def chat(self) -> Callable[..., Any]:
        """`Client.chat`."""
        ...


End = Literal["done", "failed", "cancelled", "lost", "fenced", "given_back"]
"""How it ends: the names of fields of `WorkerMetrics`."""

_STOPPED = "the worker was stopped"

_ENDS_OF_WORKERS = frozenset({_STOPPED, EXITS, CLIENT_CLOSED, HUB_CLOSED})
"""Why a chat is cancelled that nobody has asked to cancel: it is as if its worker had died."""

_ENDS: dict[type, End] = {ChatDone: "done", ChatFailed: "failed", ChatCancelled: "cancelled"}


class Run:
    """One job, and the subscriber of its chat, which passes all that it is told on to the log.

    It keeps the end of a chat from the log when another worker is to have the job.

    Attributes:
        job: The job.
        since: When it was taken, as `time.monotonic` says.
        faults: How often it could not begin.
        end: How it ends; None if it was over before, or as long as it is not known.
        is_over: Whether it is to be finished or given back, and nothing else.
        refused: Why no other job can be asked either: the API does not take the key.
        window: The log's, for the delivery.
    """

    delivery_class = LogDelivery
    window: Window
    end: End | None = None
    is_over = False
    refused: AnthropixError | None = None

    def __init__(self, job: Job, on_end: Callable[[Run], object]) -> None:
        """Hold the job; `on_end` is called once, with this, when it is to be finished or given back. Any thread."""
        self.job = job
        self.faults = 0
        self._on_end = on_end
        self._log: LogWriter | None = None
        self._chat: ChatRef | None = None
        self._data = job.data if isinstance(job.data, Mapping) else {}
        self._may_repeat = self._data.get("retry_lost") is True
        self._any_told = False
        self.since = time.monotonic()

    # In the thread that takes jobs

    def begin(self, client: Asks, hub: Hub, most: int) -> None:
        """Do with the job what its log says is to be done; see `takeover`.

        Raises:
            Held: whoever writes the log is alive after all.
            StoreError: the store could not be reached.
            ConfigurationError: hub or client are closed: no job can be begun any more.
        """
        name, attempt = self.job.id, self.job.attempt
        state = hub.store.state(name)
        closed = state is not None and state.closed
        if closed:
            self._is_at_end()
            return
        new = attempt == 1 and (state is None or not state.length)
        try:
            # First: the log then has all that its last writer will have written.
            opened = self._log or self._claimed(hub)
            partial, any_told = told(() if new else (entry.data for entry in entries_of(hub.store, name)), name)
        except Unreadable as exc:  # nobody can go on with it, and no reader gets beyond that entry
            self.fail(exc)
            return
        step = step_for(attempt, closed=closed, told=any_told, retry_lost=self._may_repeat, most=most)
        if step in {Step.ASK, Step.RESTART}:
            self._ask(client)
        else:
            self.end = "lost"
            opened.tell(ChatFailed(_NO_CHAT, _lost(step.value, partial)))

    def _claimed(self, hub: Hub) -> LogWriter:
        tag = self._data.get("tag")
        self._log = opened = hub.to(self.job.id, tag=tag if isinstance(tag, str) else None)
        self.window = opened.window
        opened.add_done_callback(self._log_ended)
        return opened

    def _ask(self, client: Asks) -> None:
        """Begin the chat.

        Raises:
            AnthropixError: it cannot begin now.
        """
        params: Any = self._data.get("params")
        if (problem := job_problem(self.job.fault, self._data)) is not None:
            log(logging.ERROR, "the job %r cannot be asked: %s", self.job.id, problem)
            self.fail(ParameterError([problem]))
            return
        try:
            self._chat = client.chat(**{**params, "tag": self._data.get("tag"), "stream": self})
        except ParameterError as exc:
            self.fail(exc)
        except AnthropixError:
            raise
        except Exception as exc:  # noqa: BLE001 - of names that are no parameters, such as `self`
            self.fail(ParameterError([params_problem(shown(exc))]))

    def fail(self, error: AnthropixError) -> None:
        """Write that it cannot be asked; without a log, only end."""
        self.end = "failed"
        if self._log is None:
            self._is_at_end()
        else:
            self._log.tell(ChatFailed(_NO_CHAT, error))

    # Any thread

    def stop(self) -> None:
        """Cancel its chat, if it has begun; the job is given back, if it may be asked again."""
        if self._chat is not None:
            self._chat.cancel(_STOPPED)

    def give_back(self) -> None:
        """Let another worker have the job."""
        self.end = "given_back"
        if self._log is None:
            self._is_at_end()
        else:
            self._log.give_away()

    def _log_ended(self, outcome: Outcome) -> None:
        if outcome == "fenced":
            self.end = "fenced"
        elif outcome == "refused":  # the same would come of it again
            self.end = "failed"
        elif outcome != "closed":  # the store was away for too long, say: what is in the log says what is to be done
            self.end = "given_back"
        self._is_at_end()

    def _is_at_end(self) -> None:
        self.is_over = True
        self._on_end(self)

    # The subscriber of the chat

    def tell(self, message: Any, /) -> None:
        """Pass a message on."""
        assert self._log is not None
        if self._goes_back(message):
            self.give_back()
            return
        if isinstance(message, ChatCancelled) and message.reason in _ENDS_OF_WORKERS:
            self.end = "lost"
            message = ChatFailed(message.chat, _lost(message.reason, message.partial))
        self.end = self.end or _ENDS.get(type(message))
        self._any_told = self._any_told or isinstance(message, ChatEvent)
        self._log.tell(message)

    def _goes_back(self, message: Any) -> bool:
        """Return whether another worker may do better, and readers will not see it."""
        match message:
            case ChatCancelled(reason=reason):
                return reason in _ENDS_OF_WORKERS and (self._may_repeat or not self._any_told)
            case ChatFailed(error=AuthenticationError() as error) if not self._any_told:
                self.refused = error
                return True
        return False

    # As the delivery sees the log

    @property
    def outcome(self) -> Outcome | None:
        """How the writing of the log has ended."""
        assert self._log is not None
        return self._log.outcome

    def join(self, scope: CancelScope) -> None:
        """Let the log know its chat."""
        assert self._log is not None
        self._log.join(scope)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the log is written."""
        assert self._log is not None
        return self._log.wait(timeout)


_NO_CHAT: Any = None
"""What the end of a log is of, where no chat has begun."""


def _lost(why: str, partial: Message | None) -> Lost:
    """Return the error for an answer that is lost."""
    error = Lost(f"the answer is lost: {why}")
    error.partial = partial
    return error
