"""Sessions of managed agents: their events, as they happen; and answers to the calls of their agents.

All other calls about sessions go through `Client.request` and `Client.paginate`.

Source: https://docs.claude.com/en/api/beta/sessions, read 2026-11-23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, overload

from msgspec.structs import replace

from anthropix_actors._calls.item_stream import ItemStream, stream_items
from anthropix_actors._calls.options import CALL_OPTIONS, TASK_OPTIONS, task_options
from anthropix_actors._checks.paths import item_path
from anthropix_actors._http.retry import RetryPolicy, without_limit
from anthropix_actors._tasks.mailbox import delivery_to
from anthropix_actors._tasks.subscriber import subscriber_problems
from anthropix_actors.errors import ParameterError
from anthropix_actors.sessions.actor import SessionActor
from anthropix_actors.sessions.arguments import betas_of, event_id_of, strings
from anthropix_actors.sessions.follower import Follower
from anthropix_actors.sessions.task import SessionTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Unpack

    from anthropix_actors._calls.blocking import BlockingCall
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._calls.option_types import CallOptions, WorkOptions
    from anthropix_actors._http.request import Request
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors.sessions.ref import SessionRef
    from anthropix_actors.tools.call import Call
    from anthropix_actors.tools.toolbox import Toolbox

_SESSIONS = "/v1/sessions"


class Sessions:
    """The sessions of a client: `client.sessions`. Any thread may use it.

    The options of a call are `timeout` (a `Timeout`, or seconds in all), `max_retries`, `beta`, `extra_headers`,
    `workspace_id`, and for a call that waits `cancel`, a `CancelToken`.
    """

    def __init__(self, core: ClientCore) -> None:
        """Use `client.sessions`, which the client makes."""
        self._core = core

    @overload
    def events(
        self,
        session: str | Mapping[str, Any],
        *,
        stream: Literal[True] = True,
        thread: str | Mapping[str, Any] | None = None,
        after: str | Mapping[str, Any] | None = None,
        event_deltas: Iterable[str] = (),
        **options: Unpack[CallOptions],
    ) -> ItemStream[dict[str, Any]]: ...
    @overload
    def events(
        self,
        session: str | Mapping[str, Any],
        *,
        stream: Subscriber,
        thread: str | Mapping[str, Any] | None = None,
        after: str | Mapping[str, Any] | None = None,
        event_deltas: Iterable[str] = (),
        tag: str | None = None,
        **options: Unpack[WorkOptions],
    ) -> SessionRef: ...
    def events(  # noqa: PLR0913 - parameters of the API, by name
        self,
        session: str | Mapping[str, Any],
        *,
        stream: Literal[True] | Subscriber = True,
        thread: str | Mapping[str, Any] | None = None,
        after: str | Mapping[str, Any] | None = None,
        event_deltas: Iterable[str] = (),
        tag: str | None = None,
        **options: Any,
    ) -> ItemStream[dict[str, Any]] | SessionRef:
        """Follow a session: its events as they happen, each once, however often the connection is lost.

        A lost connection is opened again as long as a retry may help, and the events missed meanwhile are listed.
        Following ends when the session is terminated or deleted (a thread: when the thread is terminated).

        Args:
            session: Its id, or its object.
            stream: True returns an `ItemStream`, to loop over. A subscriber gets a `SessionEvent` for each event, a
                `SessionRetrying` when the connection was lost, and one of `SessionDone`, `SessionFailed` and
                `SessionCancelled` in the end; a `SessionRef` is returned at once.
            thread: Follow only this thread of the session.
            after: Begin after this event (its id, or the event itself); "" for the session's first event; by default
                with the next event from now on.
            event_deltas: Types of events to preview while they are made, such as "agent.message": `event_start` and
                `event_delta` come before the event itself. Previews lost with a connection are not sent again.
            tag: With a subscriber: a word of your own.
            **options: See the class. Unless `timeout` says otherwise, a session may be silent for ever, and followed
                for as long as it takes: the client's `idle` and `total` timeouts do not apply.

        Raises:
            ParameterError: an argument is invalid; the error names every place, and nothing was sent.
            AnthropixError: with `stream=True`, the session cannot be followed; `NotFoundError` if it does not exist.

        Example:
            >>> with client.sessions.events("sesn_1") as events:
            ...     events.cancel("seen enough")
            True

        Source: https://docs.claude.com/en/api/beta/sessions/events/stream, read 2026-11-23.
        """
        problems = (
            [] if stream is True else subscriber_problems(stream, "stream", "True or something with a tell method")
        )
        event_id = event_id_of(after, problems)
        deltas = strings(event_deltas, "event_deltas", problems)
        if problems:
            raise ParameterError(problems)
        # A session without work has no events: silence is not a fault, unless the caller sets a timeout.
        given = task_options(
            self._core, options, *(CALL_OPTIONS if stream is True else TASK_OPTIONS), of=self.events, idle=None
        )
        cancel = given.pop("cancel", None)
        follower, request = self._follower(session, thread, event_id, deltas, given)
        if stream is True:
            return self._loop(follower, request, cancel)
        task = SessionTask(self._core, follower, request.timeout, tag)
        delivery = delivery_to(stream, task.scope, window=self._core.window)
        ref: SessionRef = self._core.registry.start(SessionActor, task, [delivery])
        return ref

    @overload
    def serve(
        self,
        session: str | Mapping[str, Any],
        *,
        tools: Toolbox | Iterable[Any],
        stream: None = None,
        approve: Callable[[Call], object] | Subscriber | None = None,
        tools_at_once: int = 8,
        tag: str | None = None,
        **options: Unpack[CallOptions],
    ) -> dict[str, Any]: ...
    @overload
    def serve(
        self,
        session: str | Mapping[str, Any],
        *,
        tools: Toolbox | Iterable[Any],
        stream: Subscriber,
        approve: Callable[[Call], object] | Subscriber | None = None,
        tools_at_once: int = 8,
        after: str | Mapping[str, Any] | None = None,
        event_deltas: Iterable[str] = (),
        tag: str | None = None,
        **options: Unpack[WorkOptions],
    ) -> SessionRef: ...
    def serve(  # noqa: PLR0913 - parameters, by name
        self,
        session: str | Mapping[str, Any],
        *,
        tools: Toolbox | Iterable[Any],
        stream: Subscriber | None = None,
        approve: Callable[[Call], object] | Subscriber | None = None,
        tools_at_once: int = 8,
        after: str | Mapping[str, Any] | None = None,
        event_deltas: Iterable[str] = (),
        tag: str | None = None,
        **options: Any,
    ) -> dict[str, Any] | SessionRef:
        """Answer the calls of a session's agent, until it ends: its custom tools are run, and approvals asked for.

        Each call is run once, as soon as it comes; first of all those that wait already. A call that has an answer,
        from here before a restart or from another client, is not run. A call of a tool that is not in `tools` is left
        to others. What a tool raises, its timeout, and input that does not fit are results, too: the agent is told.
        Results are sent again for as long as a retry may help. A cancel ends the tools that run, and sends no more:
        the next one that serves the session runs those calls again, whose ids are the same (`call.id`).

        Args:
            session: Its id, or its object.
            tools: What may be called: functions with type hints, `Tool`s, actors (`{"ask_user": ref}`), and servers
                (`Mcp`).
            stream: A subscriber gets a `SessionEvent` for each event, a `SessionToolStarted`, `SessionToolProgress`
                and `SessionToolDone` for the calls, `SessionApprovalNeeded` and `SessionApprovalGiven`, and at last the
                same as from `events`; a `SessionRef` is returned at once. Without one, this waits for the end.
            approve: Is asked whether the agent may use a tool of its own or of an MCP server, where it asks for that;
                and about calls of tools made with `approve=True`. A function gets a `Call`, on a thread of its own, and
                returns True, or a text that says why not; an actor is told the `Call`, and answers `call.done(True)` or
                `call.fail(why)`. Whatever else they do denies it. By default, nobody is asked, and others may answer.
            tools_at_once: How many tools may run at once.
            after: The first event that the subscriber is told is the one after this, as in `events`.
            event_deltas: As in `events`.
            tag: A word of your own.
            **options: See the class; `cancel` only without a subscriber.

        Returns:
            The event that ended the session; with a subscriber, the ref.

        Raises:
            ParameterError: an argument is invalid; the error names every place, and nothing was sent.
            AnthropixError: without a subscriber, the session cannot be followed any longer, or was cancelled.

        Example:
            >>> def get_weather(city: str) -> str:
            ...     return "rain, 8 degrees"
            >>> client.sessions.serve("sesn_1", tools=[get_weather], stream=subscriber).cancel("seen enough")
            True
        """
        from anthropix_actors.sessions.serving import ServeActor, ServeTask, checked_tools  # noqa: PLC0415 - see `LATE`

        problems = [] if stream is None else subscriber_problems(stream, "stream")
        event_id = event_id_of(after, problems)
        deltas = strings(event_deltas, "event_deltas", problems)
        self._core.adopt(tools)
        box, approver = checked_tools(tools, approve, tools_at_once, problems)
        if problems:
            raise ParameterError(problems)
        given = task_options(
            self._core, options, *(CALL_OPTIONS if stream is None else TASK_OPTIONS), of=self.serve, idle=None
        )
        cancel = given.pop("cancel", None)
        follower, followed = self._follower(session, None, event_id, deltas, given)
        sent = {name: value for name, value in given.items() if name != "timeout"}
        path = item_path(_SESSIONS, "session", session) + "/events"

        def request(event: Mapping[str, Any]) -> Request:
            betas = betas_of("POST", path)
            made = self._core.request_factory.build("POST", path, json={"events": [event]}, default_betas=betas, **sent)
            return replace(made, retry=without_limit(made.retry))

        task = ServeTask(
            self._core,
            follower,
            followed.timeout,
            tag,
            tools=box,
            approver=approver,
            at_once=tools_at_once,
            request=request,
        )
        delivery = [] if stream is None else [delivery_to(stream, task.scope, window=self._core.window)]
        try:
            ref: SessionRef = self._core.registry.start(ServeActor, task, delivery, cancel=cancel)
            return ref if stream is not None else ref.result()
        except BaseException:  # Ctrl-C
            task.cancel("interrupted")
            raise

    def _follower(
        self, session: Any, thread: Any, after: str | None, event_deltas: list[str], options: dict[str, Any]
    ) -> tuple[Follower, Request]:
        path = item_path(_SESSIONS, "session", session)
        if thread is not None:
            path = item_path(path + "/threads", "thread", thread)
        places = (path + "/events/stream", path + "/events") if thread is None else (path + "/stream", path + "/events")
        betas = betas_of("GET", places[0])

        def request(path: str, **more: Any) -> Request:
            return self._core.request_factory.build("GET", path, default_betas=betas, **options, **more)

        stream = request(places[0], params={"event_deltas": event_deltas}, accept="text/event-stream")
        retry = without_limit(stream.retry)
        stream = replace(stream, retry=RetryPolicy(0))  # the follower itself retries
        follower = Follower(
            self._core,
            stream,
            lambda query: request(places[1], params=query),
            retry=retry,
            after=after,
            thread=thread is not None,
        )
        return follower, stream

    def _loop(self, follower: Follower, request: Request, cancel: Any) -> ItemStream[dict[str, Any]]:
        def events(call: BlockingCall) -> Iterator[dict[str, Any]]:
            first = True
            for event in follower.events(call.requester):
                if event is not None or first:
                    yield cast("dict[str, Any]", event)
                first = False

        return stream_items(self._core, request.timeout, events, cancel=cancel)
