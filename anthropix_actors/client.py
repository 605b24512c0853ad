"""The front door: takes what a caller says, has it checked, and starts an actor. It decides nothing."""

from __future__ import annotations

import difflib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Literal, overload

import msgspec
import pykka

from anthropix_actors._chat import start_chat
from anthropix_actors._delivery import WINDOW, Channel, delivery_to
from anthropix_actors._params import PARAMETERS, chat_body
from anthropix_actors._request import (
    Request,
    Timeout,
    as_timeout,
    auth_headers,
    base_url_of,
    beta_names,
    check_api_version,
    default_headers,
    merge_headers,
)
from anthropix_actors._retry import RetryPolicy
from anthropix_actors._scope import CancelScope
from anthropix_actors._sse import MAX_EVENT_BYTES
from anthropix_actors._transport import Transport
from anthropix_actors._watch import SWEEPER
from anthropix_actors.errors import ConfigurationError, ParameterError, Problem
from anthropix_actors.messages import Subscriber
from anthropix_actors.stream import Stream

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from types import TracebackType
    from typing import Self, Unpack

    from anthropix_actors._chat import ChatRef
    from anthropix_actors._delivery import Delivery
    from anthropix_actors.types import ChatParams, Message

BASE_URL = "https://api.anthropic.com"
API_VERSION = "2023-06-01"
MAX_TOKENS = 4096

_OPTIONS = ("extra_headers", "extra_body", "timeout", "beta")


class Client:
    """The API, for one set of credentials. Safe to share between threads; make one and keep it.

    Making it opens no connection. Closing it, also by leaving its `with` block, cancels the chats that run.

    Args:
        api_key: Your key; by default `ANTHROPIC_API_KEY` of the environment.
        auth_token: A bearer token instead of a key; by default `ANTHROPIC_AUTH_TOKEN`.
        base_url: The API's address without `/v1`; by default `ANTHROPIC_BASE_URL`, or the API's own.
        api_version: The API's version, a date. From 2026-10-21 on the key travels as a bearer token, and the API
            refuses `temperature`, `top_p` and `top_k`.
        beta: The name or names of betas to use in every call.
        headers: Headers for every request, over the client's own; None removes one.
        timeout: How patient to be: a `Timeout`, or the seconds a chat may take in all.
        max_retries: How often to send again what failed before its first content.
        max_retry_after: The longest wait in seconds that the API may ask for; above it, a chat fails at once.
        window: How many messages a subscriber may be behind before its chat stops reading.
        max_event_bytes: The largest event to accept.
        proxy: A proxy's URL, "" for none; by default the environment's (`HTTPS_PROXY`, `NO_PROXY` …).
        verify: The CA bundle's path, or an `ssl.SSLContext`; by default `REQUESTS_CA_BUNDLE`, or certifi's.

    Raises:
        ConfigurationError: there is no key, or something here cannot be used; the text says what to do.

    Example:
        >>> client = Client("sk-ant-...", timeout=Timeout(connect=5), max_retries=4)
        >>> client
        Client(base_url='https://api.anthropic.com', api_version='2023-06-01')
        >>> client.close()

    Source: https://docs.claude.com/en/api/overview, read 2026-11-23.
    """

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
        window: int = WINDOW,
        max_event_bytes: int = MAX_EVENT_BYTES,
        proxy: str | None = None,
        verify: str | os.PathLike[str] | ssl.SSLContext | None = None,
    ) -> None:
        """Take the options, and what is missing from the environment."""
        api_key, auth_token = _credentials(api_key, auth_token)
        self.base_url = base_url_of(base_url or os.environ.get("ANTHROPIC_BASE_URL") or BASE_URL)
        self.api_version = check_api_version(api_version)
        auth = auth_headers(api_key=api_key, auth_token=auth_token, api_version=api_version)
        self._timeout = as_timeout(timeout, Timeout())
        self._beta = beta_names(beta)
        self._headers = merge_headers(default_headers(api_version), auth, headers, place="headers")
        _check_counts(max_retries=max_retries, max_retry_after=max_retry_after, window=window, bytes_=max_event_bytes)
        self._retry = RetryPolicy(max_retries, max_retry_after)
        self._window = window
        self._max_event_bytes = max_event_bytes
        self._transport = Transport(self.base_url, proxy=proxy, verify=verify)
        self._chats: weakref.WeakSet[ChatRef] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        SWEEPER.forgetful.add(self._transport)

    def __repr__(self) -> str:
        """Name the address, not the key."""
        return f"Client(base_url={self.base_url!r}, api_version={self.api_version!r})"

    @overload
    def chat(self, *, stream: Literal[False] = False, **params: Unpack[ChatParams]) -> Message: ...
    @overload
    def chat(self, *, stream: Literal[True], **params: Unpack[ChatParams]) -> Stream: ...
    @overload
    def chat(self, *, stream: Subscriber, coalesce: bool = False, **params: Unpack[ChatParams]) -> ChatRef: ...
    def chat(
        self, *, stream: bool | Subscriber = False, coalesce: bool = False, **params: Any
    ) -> Message | Stream | ChatRef:
        """Send a conversation to the model, and get its answer in one of three ways.

        The request runs in an actor of its own in all three, and is streamed on the wire in all three, so an answer of
        any length arrives before a timeout. Any thread may call this.

        Args:
            stream: False waits and returns the Message. True returns a `Stream`, to loop over. A subscriber, anything
                with `tell(message)` such as an `ActorRef`, is told each event and one terminal message, and a `ChatRef`
                is returned at once.
            coalesce: With a subscribing actor: merge neighbouring deltas while it is busy.
            **params: `model` and `messages` are required, `max_tokens` is 4096 unless you say otherwise; all other
                parameters of the API may be given by name. Besides: `extra_body` and `extra_headers` (mappings that are
                added to the request), `beta` (added to the client's), and `timeout` (a `Timeout`, or seconds in all).

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
        scope = CancelScope()
        request = self._request(params, stream, coalesce=coalesce)
        if stream is True:
            channel = Channel(scope, self._window)
            return Stream(self._start(request, scope, channel), channel)
        if stream is not False:
            return self._start(request, scope, delivery_to(stream, scope, window=self._window, coalesce=coalesce))
        chat = self._start(request, scope)
        try:
            return chat.result()
        except BaseException:  # Ctrl-C while it waits
            chat.cancel("the caller stopped waiting")
            raise

    def close(self) -> None:
        """Cancel the chats that run, and close the idle connections. Returns at once; a second call does nothing."""
        with self._lock:
            self._closed = True
            chats = list(self._chats)
        for chat in chats:
            chat.cancel("the client was closed")
        self._transport.close()

    def __enter__(self) -> Self:
        """Get the client itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close the client."""
        self.close()

    def _start(self, request: Request, scope: CancelScope, *followers: Delivery) -> ChatRef:
        with self._lock:
            if self._closed:
                raise ConfigurationError("the client is closed; make another one")
            chat = start_chat(self._transport, request, followers, scope, waited_for=not followers)
            self._chats.add(chat)
        return chat

    def _request(self, params: dict[str, Any], stream: object, *, coalesce: bool) -> Request:
        """Check everything about a call, and put it in the form that is sent."""
        problems = [*_unknown(params), *_stream_problems(stream, coalesce=coalesce)]
        if problems:
            raise ParameterError(problems)
        options = {name: params.pop(name, None) for name in _OPTIONS}
        params.setdefault("max_tokens", MAX_TOKENS)
        body = chat_body(params, api_version=self.api_version, extra_body=options["extra_body"])
        body["stream"] = True
        headers = merge_headers(
            self._headers, self._beta_header(options["beta"]), options["extra_headers"], place="extra_headers"
        )
        return Request(
            path="/v1/messages",
            body=msgspec.json.encode(body),
            headers=headers,
            timeout=as_timeout(options["timeout"], self._timeout),
            retry=self._retry,
            max_event_bytes=self._max_event_bytes,
            window=self._window,
        )

    def _beta_header(self, beta: str | Iterable[str] | None) -> dict[str, str]:
        given = self._headers.get("anthropic-beta", "")
        names = dict.fromkeys([*beta_names(given), *self._beta, *beta_names(beta)])
        return {"anthropic-beta": ",".join(names)} if names else {}


def _credentials(api_key: str | None, auth_token: str | None) -> tuple[str | None, str | None]:
    """Get the key or the token: the arguments' before the environment's, the key's before the token's."""
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


def _check_counts(*, max_retries: int, max_retry_after: float, window: int, bytes_: int) -> None:
    problems = [
        Problem(name, f"expected {what}, got {value!r}")
        for name, value, kinds, least, what in (
            ("max_retries", max_retries, int, 0, "an integer from 0"),
            ("max_retry_after", max_retry_after, (int, float), 0, "seconds from 0"),
            ("window", window, int, 1, "an integer from 1"),
            ("max_event_bytes", bytes_, int, 1, "an integer from 1"),
        )
        if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least
    ]
    if problems:
        raise ParameterError(problems)


def _unknown(params: Mapping[str, Any]) -> list[Problem]:
    """Find parameters that the API is not known to have: most are typing errors, the rest goes through `extra_body`."""
    known = [*PARAMETERS, *_OPTIONS]
    return [Problem(name, "unknown parameter" + _hint(name, known)) for name in params if name not in known]


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else '; if the API knows it, pass it as extra_body={"...": ...}'


def _stream_problems(stream: object, *, coalesce: bool) -> list[Problem]:
    if not isinstance(stream, (bool, Subscriber)):
        return [Problem("stream", f"expected True, False or something with a tell method, got {type(stream).__name__}")]
    if isinstance(stream, pykka.ActorRef) and not stream.is_alive():
        return [Problem("stream", f"expected an actor that is alive, got {stream}, which has stopped")]
    if coalesce and not isinstance(stream, pykka.ActorRef):
        return [Problem("coalesce", "expected an ActorRef as stream: only an actor's mailbox can be behind")]
    return []
