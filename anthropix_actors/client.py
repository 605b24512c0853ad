"""The front door: checks a caller's arguments, and starts an actor. It decides nothing itself.

Modules that a chat does not need are imported at first use: a program that only chats starts faster without them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pykka

from anthropix_actors._calls.client_core import ClientCore
from anthropix_actors._calls.client_transport import transport_for
from anthropix_actors._calls.options import (
    CHAT_OPTIONS,
    COUNT_OPTIONS,
    PROFILE_OPTIONS,
    REQUEST_OPTIONS,
    checked_values,
    resume_problems,
    tag_problems,
)
from anthropix_actors._calls.request_factory import RequestFactory
from anthropix_actors._cancel import exit_and_fork
from anthropix_actors._cancel.scope import deadline_of
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._checks.call_errors import explains, unknown_problems
from anthropix_actors._checks.migration_hints import OF_A_CLIENT, by_name, missing, shows
from anthropix_actors._decode.sse import MAX_EVENT_BYTES
from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.on_first_use import OnFirstUse
from anthropix_actors._http.request import (
    Timeout,
    as_timeout,
    auth_headers,
    check_api_version,
    default_headers,
    merge_headers,
)
from anthropix_actors._http.retry import RetryPolicy
from anthropix_actors._http.urls import normalize_base_url
from anthropix_actors._tasks.delivery import WINDOW
from anthropix_actors._tasks.ref import TaskRef
from anthropix_actors._tasks.subscriber import subscriber_problems
from anthropix_actors._tasks.waits import refuse_deadlock, task_of
from anthropix_actors.chat.actor import ChatActor
from anthropix_actors.chat.parameters import (
    COUNT_PARAMETERS,
    MAX_TOKENS,
    PARAMETERS,
    chat_body,
    chat_problems,
    count_tokens_body,
)
from anthropix_actors.chat.ref import ChatRef
from anthropix_actors.chat.task import ChatTask
from anthropix_actors.errors import ConfigurationError, DeadlockError, ParameterError, Problem

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Never, Self, Unpack

    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._calls.item_stream import ItemStream
    from anthropix_actors._calls.option_types import ChatParams, RequestParams
    from anthropix_actors._calls.pages import PageKind, Pages
    from anthropix_actors._tasks.concurrency import Slots
    from anthropix_actors._tasks.subscriber import Subscriber
    from anthropix_actors._wire.message import Message
    from anthropix_actors._wire.resources import TokenCount
    from anthropix_actors.batches.batches import Batches
    from anthropix_actors.chat.output import Parsed
    from anthropix_actors.chat.stream import Stream
    from anthropix_actors.chat.task import PlanResume
    from anthropix_actors.conversation.agent import Agent
    from anthropix_actors.conversation.ref import ConversationRef
    from anthropix_actors.endpoints.request import Endpoints
    from anthropix_actors.endpoints.table import Endpoint
    from anthropix_actors.files.files import Files
    from anthropix_actors.limits.governor import Governor
    from anthropix_actors.models import Models
    from anthropix_actors.sessions.sessions import Sessions
    from anthropix_actors.stores import Log

T = TypeVar("T")

BASE_URL = "https://api.anthropic.com"
API_VERSION = "2023-06-01"

MAX_ANSWER_BYTES = 1 << 30
"""The default limit of an answer in memory: twice the largest file that the API takes."""

_PARTING = 1.0
"""Seconds, at most, that a `close` waits for stores, and with a grace for the ends of what it cancelled: some 50 ms."""

_REQUIRED = ("model", "messages")
_CHAT_OPTIONAL = {
    "max_tokens": MAX_TOKENS,
    **{name: None for name in (*PARAMETERS, *CHAT_OPTIONS) if name not in {*_REQUIRED, "max_tokens"}},
}
_COUNT_OPTIONAL = {name: None for name in (*COUNT_PARAMETERS, *COUNT_OPTIONS) if name not in _REQUIRED}


exit_and_fork.install()


class Client:
    """The API, for one set of credentials. Safe to share between threads; make one and keep it.

    Making it opens no connection. Closing it, even by leaving its `with` block, cancels the running chats.

    Args:
        api_key: Your key; by default `ANTHROPIC_API_KEY` of the environment.
        auth_token: A bearer token instead of a key; by default `ANTHROPIC_AUTH_TOKEN`.
        base_url: The API's address without `/v1`; by default `ANTHROPIC_BASE_URL`, or the API's own.
        api_version: The API's version, a date. From 2026-10-21 on the key travels as a bearer token, and the API
            refuses `temperature`, `top_p` and `top_k`.
        beta: The name or names of betas to use in every call.
        headers: Headers for every request, over the client's own; None removes one.
        timeout: A `Timeout`, or the seconds that a chat or a call may take in all.
        max_retries: How often to retry a request that failed before its first content.
        max_retry_after: The longest wait in seconds that the API may ask for; above it, a chat fails at once.
        max_concurrency: How many chats may run at once; the others wait for their turn, first come, first served,
            without a thread or a connection. None for no limit. A waiting chat sends no messages, its timeouts have not
            begun, and `cancel()` ends it at once.
        governor: True paces chats within the API's rate limits, and delays all when the API tells one to wait. A
            `Governor` does so together with other clients of the same key; False turns this off.
        window: How many messages a subscriber may be behind before its chat stops reading.
        max_event_bytes: The largest event of a stream to accept; 64 MiB by default.
        max_answer_bytes: The largest answer to keep in memory, of a chat or of a call. Answers that are read in a loop
            or written to a file have no limit. Both limits count bytes after decompression.
        proxy: A proxy's URL, "" for none; by default the environment's (`HTTPS_PROXY`, `NO_PROXY` …).
        verify: The CA bundle's path, or an `ssl.SSLContext`; by default (None or True) the bundle that
            `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE` or `SSL_CERT_FILE` names, or certifi's. False is refused: any server
            could get the key.
        auth: Sets the credentials of each attempt: an auth object as in requests, or a callable that gets the
            `requests.PreparedRequest` and returns headers to set, in the thread of the request. Then no key is needed.
            After a 401 its `refresh()` is called, if it has one, in a thread of its own, and the request is sent once
            more; it may use the client.
        ledger: A `Ledger`, or anything else with `tell(message)`: it gets the terminal message of every chat, and every
            result that a batch's subscriber gets, and does not keep a chat alive.

    Attributes:
        base_url: The URL that all requests go to.
        api_version: The version of the API that it speaks.

    Raises:
        ConfigurationError: there is no key, or an address, a proxy, a certificate, a version or `auth` cannot be used.
        ParameterError: another argument is of the wrong kind.

    Example:
        >>> client = Client("sk-ant-...", timeout=Timeout(connect=5), max_retries=4)
        >>> client
        Client(base_url='https://api.anthropic.com', api_version='2023-06-01')
        >>> client.close()

    Source: https://docs.claude.com/en/api/overview, read 2026-11-23.
    """

    @explains("Client")
    def __init__(  # noqa: PLR0913 - options of a front door, by name
        self,
        api_key: str | None = None,
        *,
        auth_token: str | None = None,
        base_url: str | None = None,
        api_version: str = API_VERSION,
        beta: str | Iterable[str] | None = None,
        headers: Mapping[str, str | None] | None = None,
        timeout: Timeout | float | None = None,
        max_retries: int = 2,
        max_retry_after: float = 60.0,
        max_concurrency: int | None = None,
        governor: Governor | bool = True,
        window: int = WINDOW,
        max_event_bytes: int = MAX_EVENT_BYTES,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        proxy: str | None = None,
        verify: str | os.PathLike[str] | ssl.SSLContext | Literal[True] | None = None,
        auth: Callable[[Any], Any] | None = None,
        ledger: Subscriber | None = None,
    ) -> None:
        """Take the options; missing ones come from the environment."""
        if auth is None or api_key is not None or auth_token is not None:
            api_key, auth_token = _credentials(api_key, auth_token)
        self.base_url = normalize_base_url(base_url or os.environ.get("ANTHROPIC_BASE_URL") or BASE_URL)
        self.api_version = check_api_version(api_version)
        known: dict[str, str] = {}
        if api_key is not None or auth_token is not None:
            known = auth_headers(api_key=api_key, auth_token=auth_token, api_version=api_version)
        system = merge_headers(default_headers(api_version), known, place="headers")
        _check_counts(
            max_retries=max_retries,
            max_retry_after=max_retry_after,
            window=window,
            max_event_bytes=max_event_bytes,
            max_answer_bytes=max_answer_bytes,
            max_concurrency=1 if max_concurrency is None else max_concurrency,
        )
        request_factory = RequestFactory(
            system,
            headers=headers,
            beta=beta,
            timeout=as_timeout(timeout, Timeout()),
            retry=RetryPolicy(max_retries, max_retry_after),
            max_event_bytes=max_event_bytes,
            max_answer_bytes=max_answer_bytes,
        )
        if ledger is not None and (problems := subscriber_problems(ledger, "ledger")):
            raise ParameterError(problems)
        transport = transport_for(self.base_url, proxy=proxy, verify=verify, auth=auth)
        self._core = ClientCore(
            transport,
            request_factory,
            api_version=self.api_version,
            window=window,
            ledger=ledger,
            slots=_slots(max_concurrency),
            governor=_checked_governor(governor),
        )
        SWEEPER.fork_listeners.add(transport)

    @OnFirstUse
    def batches(self) -> Batches:
        """Many requests at half the price, done within a day; see `anthropix_actors.batches`."""
        from anthropix_actors.batches.batches import Batches

        return Batches(self._core)

    @OnFirstUse
    def files(self) -> Files:
        """Files to upload once and name in many chats; see `anthropix_actors.files`."""
        from anthropix_actors.files.files import Files

        return Files(self._core)

    @OnFirstUse
    def models(self) -> Models:
        """The list of models; see `anthropix_actors.models`."""
        from anthropix_actors.models import Models

        return Models(self._core)

    @OnFirstUse
    def sessions(self) -> Sessions:
        """The events of a session, as they happen; see `anthropix_actors.sessions`."""
        from anthropix_actors.sessions.sessions import Sessions

        return Sessions(self._core)

    @OnFirstUse
    def _endpoints(self) -> Endpoints:
        from anthropix_actors.endpoints.request import Endpoints

        return Endpoints(self._core)

    @property
    def governor(self) -> Governor | None:
        """The rate limiter of this client's chats, which knows the API's limits, or None."""
        return self._core.governor

    if not TYPE_CHECKING:  # pragma: no branch # type checkers report unknown attributes themselves
        __getattr__ = missing(OF_A_CLIENT)

    def __repr__(self) -> str:
        """Show the address, not the key."""
        return f"Client(base_url={self.base_url!r}, api_version={self.api_version!r})"

    @overload
    def chat(self, *, stream: Literal[False] = False, **params: Unpack[ChatParams]) -> Message: ...
    @overload
    def chat(self, *, stream: Literal[False] = False, output: type[T], **params: Unpack[ChatParams]) -> Parsed[T]: ...
    @overload
    def chat(self, *, stream: Literal[True], output: Any = None, **params: Unpack[ChatParams]) -> Stream: ...
    @overload
    def chat(
        self, *, stream: Subscriber, coalesce: bool = False, output: Any = None, **params: Unpack[ChatParams]
    ) -> ChatRef: ...
    @shows(_REQUIRED, _CHAT_OPTIONAL)
    def chat(
        self, *_given: object, stream: bool | Subscriber = False, coalesce: bool = False, **params: Any
    ) -> Message | Parsed[Any] | Stream | ChatRef:
        """Send a conversation to the model, and return its answer in one of three ways.

        The request runs in an actor of its own in all three, and is streamed on the wire in all three, so an answer of
        any length arrives before a timeout. Any thread may call this.

        Args:
            stream: False waits and returns the Message. True returns a `Stream`, to loop over. With a subscriber
                (anything with `tell(message)`, such as an `ActorRef`) a `ChatRef` is returned at once, and the
                subscriber gets each event and one terminal message.
            coalesce: With a subscribing actor: merge neighbouring deltas while it is busy.
            **params: `model` and `messages` are required, `max_tokens` is 4096 by default (0 has no answer: it only
                fills the cache); all other parameters of the API may be given by name. Besides: `extra_body` and
                `extra_headers` (mappings that are added to the request), `beta` (added to the client's), `timeout` (a
                `Timeout`, or seconds in all), `max_retries` (replaces the client's), `user_profile_id` and
                `workspace_id` (on whose behalf, and where), `cancel` (a `CancelToken`), `tag` (a string of your choice,
                for a `Ledger` to tell chats apart), `resume` (True: an answer that was cut is resumed in another
                request, which carries the blocks that arrived), and `output`, a dataclass, a TypedDict or a msgspec
                Struct: the model is made to answer with JSON that fits it, which is decoded. The value is in the
                `Parsed` that is returned (with `output` and `message`), `Stream.output()`, `ChatRef.output()` and
                `ChatDone.output`; an answer that does not fit is an `OutputError`.

        Returns:
            A Message (a dict, as on the wire), a `Stream`, or a `ChatRef`.

        Raises:
            ParameterError: parameters are wrong; it names every place, and nothing was sent.
            ConfigurationError: the client is closed.
            AnthropixError: with `stream=False`, the chat failed; which class says why.

        Example:
            >>> message = client.chat(model="claude-sonnet-5", messages=[{"role": "user", "content": "Hello"}])
            >>> message["content"][0]["type"]
            'text'

        Source: https://docs.claude.com/en/api/messages, read 2026-11-23.
        """
        by_name("chat", _given)
        task, cancel = self._checked_chat(params, stream, coalesce=coalesce)
        start = self._core.registry.start
        try:
            if stream is True:
                with late_import():
                    from anthropix_actors.chat.event_queue import EventQueue
                    from anthropix_actors.chat.stream import Stream
                channel = EventQueue(task.scope, task.window)
                return Stream(start(ChatActor, task, [channel], cancel=cancel), channel)
            if stream is not False:
                delivery = task.delivery_to(stream, coalesce=coalesce)
                chat: ChatRef = start(ChatActor, task, [delivery], cancel=cancel)
                return chat
            chat = start(ChatActor, task, cancel=cancel)
            message = chat.result()
            return message if task.decode is None else _parsed(chat.output(), message)
        except DeadlockError:
            task.cancel("to wait for it here would never end")
            raise
        except BaseException:  # Ctrl-C, wherever it falls: the caller does not get the answer
            task.cancel("the caller was interrupted")
            raise

    @shows(_REQUIRED, _COUNT_OPTIONAL)
    def count_tokens(self, *_given: Never, **params: Unpack[ChatParams]) -> TokenCount:
        """Count the input tokens of a chat: its messages, system prompt and tools.

        Args:
            **params: The parameters of a chat; parameters without input, such as `max_tokens`, are checked but not
                sent. Besides: `extra_body`, `extra_headers`, `beta`, `timeout`, `max_retries`, `user_profile_id`,
                `workspace_id`, and `cancel`, a `CancelToken`.

        Returns:
            A mapping with `input_tokens`.

        Raises:
            ParameterError: parameters are wrong; it names every place, and nothing was sent.
            AnthropixError: the call failed, or was cancelled.

        Example:
            >>> client.count_tokens(model="claude-sonnet-5", messages=hello)["input_tokens"]
            5

        Source: https://docs.claude.com/en/api/messages-count-tokens, read 2026-11-23.
        """
        by_name("count_tokens", _given)
        given = dict(params)
        options = {name: given.pop(name) for name in PROFILE_OPTIONS if name in given}
        extra_body: Any = given.pop("extra_body", None)
        problems = unknown_problems(given, (*PARAMETERS, *COUNT_OPTIONS), "chat")
        given.setdefault("max_tokens", MAX_TOKENS)
        known = {name: value for name, value in given.items() if name in PARAMETERS}
        self._core.adopt(known.get("tools"))
        problems += chat_problems(known, api_version=self.api_version)
        if problems:
            raise ParameterError(problems)
        counted = {name: value for name, value in known.items() if name in COUNT_PARAMETERS}
        body = count_tokens_body(counted, api_version=self.api_version, extra_body=extra_body)
        count: TokenCount = self._core.ask(
            "POST", "/v1/messages/count_tokens", options, json=body, known=PROFILE_OPTIONS, of=self.count_tokens
        )
        return count

    @overload
    def request(
        self, method: str, path: str, *, stream: Literal[True], **given: Unpack[RequestParams]
    ) -> ItemStream[Any]: ...
    @overload
    def request(
        self, method: str, path: str, *, stream: Literal[False] = False, **given: Unpack[RequestParams]
    ) -> Any: ...
    @shows((), dict.fromkeys(REQUEST_OPTIONS))
    def request(self, method: str, path: str, *, stream: bool = False, **given: Any) -> Any:
        """Send a request to any endpoint, including those without a method here. `endpoints` lists them.

        Args:
            method: "GET", "POST" (which the API uses for updates as well) or "DELETE".
            path: The path, with or without `/v1`; its parameters in braces: `/sessions/{session_id}/events`.
            stream: True returns an `ItemStream`: of events (dicts), of JSON lines (dicts), else of bytes.
            **given: `path_params`, the values of the path's parameters; `params`, the query; `json`, the body; `files`,
                a mapping of fields to paths, bytes or open files (`json` then gives the form's other fields);
                `headers`, over all others; `beta`, before the endpoint's own; `timeout`; `max_retries`; and `cancel`,
                a `CancelToken`.

        Returns:
            The decoded JSON; bytes if the response is not JSON; None if it is empty; or a stream.

        Raises:
            ParameterError: an argument is wrong; it names every place, and nothing was sent.
            AnthropixError: the call failed, or was cancelled.

        Example:
            >>> client.request("GET", "/models/{model_id}", path_params={"model_id": "claude-sonnet-5"})["type"]
            'model'
        """
        return self._endpoints.request(method, path, given, stream=stream, of=self.request)

    @shows((), {name: None for name in REQUEST_OPTIONS if name not in {"json", "files"}})
    def paginate(self, path: str, *, kind: PageKind | None = None, **given: Unpack[RequestParams]) -> Pages[Any]:
        """Return any list, item by item over all its pages; a page is fetched when its first item is needed.

        Args:
            path: As for `request`.
            kind: How the next page is requested (docs/endpoints.md has a table); by default, the known kind of the
                path, or the kind that its first page looks like.
            **given: As for `request`, without a body.

        Raises:
            ParameterError: an argument is wrong; it names every place.

        Example:
            >>> [model["id"] for model in client.paginate("/models", params={"limit": 3})][:1]
            ['claude-fable-5-2']
        """
        return self._endpoints.paginate(path, given, kind, of=self.paginate)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return all known endpoints, for `request` and `paginate`.

        Example:
            >>> [found.path for found in client.endpoints() if found.answer == "jsonl"]
            ['/v1/messages/batches/{message_batch_id}/results']
        """
        return self._endpoints.known()

    def chats(self) -> tuple[ChatRef, ...]:
        """Return the running and waiting chats, the oldest first; each has its `tag`, `state` and `age`.

        Example:
            >>> for chat in client.chats():
            ...     print(chat.tag, chat.state, round(chat.age, 1))
        """
        return tuple(each for each in self._core.registry.running() if isinstance(each, ChatRef))

    def drain(self, timeout: float | None = None) -> bool:
        """Refuse new calls, and wait until all running tasks and calls, including waiting chats, have finished.

        New calls raise `ConfigurationError` from now on; nothing is cancelled. Close the client afterwards.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Returns:
            Whether all have finished.

        Raises:
            ParameterError: `timeout` is not a number from 0.
            DeadlockError: it would wait for itself, as it was called in a handler of a running task's subscriber.

        Example:
            >>> other = Client("sk-ant-1")
            >>> other.drain(timeout=10)
            True
        """
        if timeout is not None:
            _check_counts(timeout=timeout)
        deadline = deadline_of(timeout)
        for each in self._core.registry.running():
            if isinstance(each, TaskRef):
                refuse_deadlock(task_of(each))
        return self._core.registry.drain(deadline)

    def close(self, grace: float = 0.0) -> None:
        """Cancel all running tasks and calls, and close the idle connections. A second call does nothing.

        Args:
            grace: Seconds in which they may finish by themselves; meanwhile, new calls are refused (see `drain`). Then
                it returns when those that it cancelled have ended, too. With 0 it waits only until conversations with
                a store are free for others, a second at most, and not in a thread that they need, as in a `tell`.

        Raises:
            ParameterError: `grace` is not a number from 0.
            DeadlockError: with a `grace`, it was called in a handler of a running task's subscriber; all are cancelled.
        """
        _check_counts(grace=grace)
        try:
            if grace:
                self.drain(grace)
            self._core.join(self._core.close(), _PARTING, tasks=grace > 0)
        except BaseException:  # Ctrl-C: end the grace
            self._core.close()
            raise

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close the client."""
        self.close()

    @explains("converse", {"agent": 'client.converse(Agent(model="..."))'})
    def converse(  # noqa: PLR0913 - options of a front door, by name
        self,
        agent: Agent,
        *,
        stream: Subscriber | None = None,
        coalesce: bool = False,
        history: str | bytes | Sequence[Any] | None = None,
        tag: str | None = None,
        store: Log | None = None,
        id: str | None = None,  # noqa: A002 - what it is called in a store
        resume: bool = True,
        take_over: bool = False,
        lease: float = 10.0,
    ) -> ConversationRef:
        """Begin a conversation: an actor with a history, whose turns run tools until the model has answered.

        Args:
            agent: The recipe: model, system prompt, tools, limits.
            stream: A subscriber of every turn: it gets the `ChatEvent`s of each answer, a message for each thing that
                happens to a call, and one terminal message a turn.
            coalesce: Merge neighbouring deltas while it is busy. For actors.
            history: What was said before: the messages, or `history_json()` of a conversation.
            tag: A string of your choice, for a `Ledger` to tell conversations apart.
            store: A `Log`, such as `SQLiteStore("talks.db")`, in which all of it is written down as it happens.
            id: The name of the conversation in `store`. If there is one of this name, it goes on from there.
            resume: Whether turns that had not ended go on, too (`ConversationRef.turns` has them); else they end.
            take_over: Whether to take it from a process that runs it, and lives.
            lease: Seconds after which others may go on with it if this process dies.

        Returns:
            The conversation. Its thread ends with `stop()`, or with its last turn, when nothing refers to it any more.

        Raises:
            ParameterError: something cannot be sent; it names every place.
            ConfigurationError: the client is closed, or draining.
            Held: somebody else runs the conversation of this `id`.
            StoreError: the store cannot be reached.

        Example:
            >>> talk = client.converse(clerk)
            >>> print("".join(talk.say("Hello").text))
            Hello!
        """
        with late_import():
            from anthropix_actors.conversation.start import Kept, begin_conversation

        kept = Kept(store, id, resume, take_over, lease)
        return begin_conversation(self, agent, stream=stream, coalesce=coalesce, history=history, tag=tag, kept=kept)

    def _checked_chat(
        self, params: dict[str, Any], stream: object, *, coalesce: bool, kind: type[ChatTask] = ChatTask
    ) -> tuple[Any, CancelToken | None]:
        """Check all arguments of a chat; return its task, ready to start, and its token."""
        options = {name: params.pop(name) for name in CHAT_OPTIONS if name in params}
        tag, extra_body, output, resume = (
            options.pop(name, None) for name in ("tag", "extra_body", "output", "resume")
        )
        problems = [
            *unknown_problems(params, (*PARAMETERS, *CHAT_OPTIONS, "stream", "coalesce"), "chat"),
            *_stream_problems(stream, coalesce=coalesce),
            *tag_problems(tag),
            *resume_problems(resume),
        ]
        if problems:
            raise ParameterError(problems)
        self._core.adopt(params.get("tools"))
        params.setdefault("max_tokens", MAX_TOKENS)
        decode = None
        if output is not None:
            params["output_config"], decode = _for_output(params, output)
        options = checked_values(options)
        cancel = options.pop("cancel", None)
        theirs = options.get("extra_headers")  # may include betas
        betas = None if theirs else self._core.request_factory.betas(options.get("beta"))
        body = chat_body(params, api_version=self.api_version, extra_body=extra_body, betas=betas)
        body["stream"] = True
        request = self._core.request_factory.build(
            "POST", "/v1/messages", json=body, accept="text/event-stream", **options
        )
        plan_resume = _plan_resume() if resume else None
        return kind(self._core, request, body, tag=tag, decode=decode, plan_resume=plan_resume), cancel


def _credentials(api_key: str | None, auth_token: str | None) -> tuple[str | None, str | None]:
    """Return the key or the token: arguments before the environment, the environment's key before its token."""
    if api_key is not None and auth_token is not None:
        raise ConfigurationError("api_key and auth_token: expected one of them, got both")
    if api_key is None and auth_token is None:
        api_key = os.environ.get("ANTHROPIC_API_KEY") or None
        auth_token = None if api_key else os.environ.get("ANTHROPIC_AUTH_TOKEN") or None
    if api_key is None and auth_token is None:
        raise ConfigurationError(
            "there is no API key: set the environment variable ANTHROPIC_API_KEY, or pass Client(api_key=...). "
            "Keys are made at https://console.anthropic.com/settings/keys"
        )
    return api_key, auth_token


_SECONDS = (int, float), 0, "seconds from 0"
_COUNT = (int,), 0, "an integer from 0"
_POSITIVE = (int,), 1, "an integer from 1"
_EXPECTED: dict[str, tuple[tuple[type, ...], int, str]] = {
    "max_retries": _COUNT,
    **dict.fromkeys(("max_retry_after", "timeout", "grace"), _SECONDS),
}


def _check_counts(**given: float) -> None:
    problems = []
    for name, value in given.items():
        kinds, least, what = _EXPECTED.get(name, _POSITIVE)
        if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
            problems.append(Problem(name, f"expected {what}, got {value!r}"))
    if problems:
        raise ParameterError(problems)


def _slots(size: int | None) -> Slots | None:
    if size is None:
        return None
    with late_import():
        from anthropix_actors._tasks.concurrency import Slots
    return Slots(size)


def _checked_governor(given: object) -> Governor | Literal[True] | None:
    if given is True or given is False:
        return given or None
    with late_import():
        from anthropix_actors.limits.governor import Governor
    if not isinstance(given, Governor):
        raise ParameterError([Problem("governor", f"expected a Governor, True or False, got {given!r}")])
    return given


def _plan_resume() -> PlanResume:
    with late_import():
        from anthropix_actors.chat.resume import plan_resume
    return plan_resume


def _parsed(output: Any, message: Message) -> Parsed[Any]:
    with late_import():
        from anthropix_actors.chat.output import Parsed
    return Parsed(output, message)


def _for_output(params: Mapping[str, Any], output: Any) -> tuple[Any, Callable[[Message], Any]]:
    """Return the `output_config` that asks for a type, and what decodes an answer into it."""
    with late_import():
        from anthropix_actors.chat.output import decode_output, output_format
    return _with_format(params, output_format(output)), partial(decode_output, output)


def _with_format(params: Mapping[str, Any], wanted: dict[str, Any]) -> Any:
    """Return the `output_config` that asks for a format."""
    config = params.get("output_config")
    if params.get("output_format") is not None:
        raise ParameterError([Problem("output", "expected only one of output and output_format, got both")])
    if config is None:
        return {"format": wanted}
    if not isinstance(config, Mapping):
        return config  # the check of the parameters reports it
    if config.get("format") is not None:
        raise ParameterError([Problem("output", "expected only one of output and output_config.format, got both")])
    return {**config, "format": wanted}


def _stream_problems(stream: object, *, coalesce: bool) -> list[Problem]:
    if isinstance(stream, bool):
        problems = []
    else:
        problems = subscriber_problems(stream, "stream", "True, False or something with a tell method")
    if not problems and coalesce and not isinstance(stream, pykka.ActorRef):
        return [Problem("coalesce", "expected an ActorRef as stream: only an actor's mailbox can be behind")]
    return problems
