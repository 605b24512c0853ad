"""`Emulator`: the API on loopback, in a thread of the same process."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from anthropix_actors.emulator._api.address import Address
from anthropix_actors.emulator._api.app import application
from anthropix_actors.emulator._api.batch import BatchSchedule
from anthropix_actors.emulator._api.server_thread import ServerThread
from anthropix_actors.emulator._api.state import CHAT, ServerState
from anthropix_actors.emulator.answers import Raw, Status, unwrap
from anthropix_actors.emulator.rules.table import active
from anthropix_actors.emulator.scripts.performance import Performance
from anthropix_actors.emulator.scripts.script import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from os import PathLike

    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.limits import Limits
    from anthropix_actors.emulator.records import Request
    from anthropix_actors.emulator.sessions import Session


class Emulator:
    """The Anthropic API on loopback: for programs without a key, for tests, and for faults on demand.

    It refuses the requests that the API refuses (`anthropix_actors.emulator.rules`), answers the others by simple rules
    or as scripted (`anthropix_actors.emulator.answers`), and records them all. Its usage counts cache reads and writes
    by the API's rules: the minimum size of each model, breakpoints and the top-level `cache_control`, 5 minutes and an
    hour, which change invalidates what (`Emulator(clock=...)` controls the time). It serves

    - `POST /v1/messages`, including message threads (`thread`), and `POST /v1/messages/count_tokens`;
    - `GET /v1/models` and `GET /v1/models/{id}`;
    - `/v1/messages/batches`: create, list, retrieve, cancel, results, delete. Each request of a batch is checked and
      answered as a chat without a stream, and counted, as at the API, when the whole batch has ended;
    - `/v1/files`: upload, list, retrieve, download, delete. Files are kept in memory; unlike at the API, every file
      can be downloaded, and none actually expires;
    - `/v1/sessions/{id}/events`: list, send, and `/stream`; `/v1/sessions/{id}/threads/{id}/events`: list, and
      `/stream` in place of `/events`. The events of a session come from `session`;

    and any other path can be scripted. All methods are safe from any thread. Use each instance once: in a `with` block,
    or between `start` and `stop`.

    Args:
        host: The address to listen on; loopback only by default.
        port: The port; 0 takes a free one.
        api_key: The only key that is accepted; by default any is.
        handler: Called with each chat's `Request` for which no answer is queued; returns the answer, or None for the
            default. A chat of a thread comes with its whole conversation. Runs in the emulator's only thread: until it
            returns, no other request is served. The requests of a batch, which have a `custom_id`, come when they are
            processed.
        batch_seconds: A batch ends this many seconds after its creation, and is partly done until then.
        batch_polls: A batch ends at this number of retrievals, and is partly done until then: for tests without a
            clock. With both, it ends when both are reached. By default, it ends when it is first retrieved; if it is
            canceled before, none of its requests is done.
        limits: How many chats and tokens are admitted per minute; by default any number.
        without: Names of rules that are switched off, for programs that talk to servers other than the API; see
            `anthropix_actors.emulator.RULES`. By default all rules are on.
        hosts: Further names that the `Host` header may have: a machine's or a container's name, or `"*"` for any. By
            default those of loopback and `host` are accepted, and if `host` is not loopback, any IP address: so a web
            page in a browser on this machine cannot read its responses.
        clock: Returns the time by which the prompt cache and message threads expire, in seconds: a test's own clock
            need not wait for an hour. Runs in the emulator's thread.
        certfile: The path of a certificate, as PEM, to serve over TLS: for `localhost`, which `url` then has in place
            of 127.0.0.1, or for `host`. Certificates of authorities between may follow it.
        keyfile: The path of its key, without a password; by default, `certfile` has the key, too.

    Raises:
        ConfigurationError: `certfile` or `keyfile` cannot be used.
        TypeError: `without` or `hosts` is a single string.
        ValueError: `batch_seconds` or `batch_polls` is negative; a name in `without` is not a rule's.

    Example:
        >>> import requests
        >>> with Emulator() as emulator:
        ...     emulator.queue("Hello.")
        ...     answer = requests.post(
        ...         emulator.url + "/v1/messages",
        ...         headers={"x-api-key": "any", "anthropic-version": "2023-06-01"},
        ...         json={"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
        ...         timeout=10,
        ...     )
        >>> answer.json()["content"]
        [{'type': 'text', 'text': 'Hello.'}]

    Source: https://docs.claude.com/en/api/overview, read 2026-11-23.
    """

    def __init__(  # noqa: PLR0913 - all have defaults, and names
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        handler: Callable[[Request], Answer] | None = None,
        batch_seconds: float = 0.0,
        batch_polls: int = 0,
        limits: Limits | None = None,
        without: Iterable[str] = (),
        hosts: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        certfile: str | PathLike[str] | None = None,
        keyfile: str | PathLike[str] | None = None,
    ) -> None:
        """Hold the options; nothing listens before `start`."""
        if isinstance(hosts, str):
            raise TypeError(f"hosts must be a list of names: give [{hosts!r}]")
        self._address = Address(host, port, certfile, keyfile)
        schedule = BatchSchedule(batch_seconds, batch_polls)
        names, scheme = (host, tuple(hosts)), self._address.scheme
        self._state = ServerState(
            api_key, handler, schedule, limits, rules=active(without), hosts=names, scheme=scheme, clock=clock
        )
        self._released = asyncio.Semaphore(0)
        self._server: ServerThread | None = None
        self._stopped = threading.Event()
        self._process = os.getpid()
        self._performances: list[Performance] = []

    def start(self) -> Self:
        """Listen; return when requests are accepted.

        Raises:
            OSError: the address cannot be bound.
            RuntimeError: it has been started before.
        """
        if self._server is not None:
            raise RuntimeError("an emulator can be started only once")
        listener = self._address.listen()
        self._process = os.getpid()
        app = application(self._state, self._released)
        self._server = ServerThread(app, listener, self._address.certfile, self._address.keyfile)
        return self

    def stop(self, timeout: float = 5.0) -> None:
        """Close all connections and stop. Does nothing if it is not running, or was started before a fork.

        Raises:
            TimeoutError: a handler, or an iterable of events, has not returned within `timeout` seconds.
        """
        if self._process != os.getpid():  # a forked child, where nothing runs, and locks may be held for ever
            return
        self._state.close()
        self._stopped.set()
        if self._server is not None:
            self._server.stop(timeout)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop.

        Raises:
            ScriptError: a script of `answer_with` or `Session.play` failed. It replaces no error in the block.
        """
        self.stop()
        if kind is None and self._process == os.getpid():
            played: list[Performance | Session] = [*self._performances, *self._state.sessions]
            for each in played:
                each.check()

    @property
    def url(self) -> str:
        """The base URL, without `/v1`, as clients want it.

        Raises:
            RuntimeError: it has not been started.
        """
        if self._server is None:
            raise RuntimeError("the emulator has not been started")
        return self._address.url

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order, including refused ones."""
        return self._state.requests

    @property
    def hangups(self) -> int:
        """How many clients closed their connection before the end of the response."""
        return self._state.hangups

    def queue(self, *answers: Answer, path: str = CHAT) -> None:
        """Put answers at the end of the queue; each valid request takes one.

        A request that is refused, for its key or its body, takes none. On paths other than `/v1/messages`, only the key
        and the version are checked.

        Args:
            *answers: The answers; see `anthropix_actors.emulator.answers`.
            path: The path whose requests take them. Any path other than `/v1/messages` takes mappings, `bytes`, `Raw`,
                `Status`, and None for the normal response, with or without faults: the request takes effect even if
                its response never arrives.

        Raises:
            TypeError: one of them is not an answer, or not one for `path`.

        Example:
            >>> Emulator().queue("First.", {"id": "msgbatch_1"}, path="/v1/messages/batches")
            Traceback (most recent call last):
            ...
            TypeError: only a chat is answered with 'First.'
        """
        for answer in answers:
            plain, _ = unwrap(answer)
            if path != CHAT and plain is not None and not isinstance(plain, Mapping | bytes | Raw | Status):
                raise TypeError(f"only a chat is answered with {plain!r}")
        self._state.enqueue(path, answers)

    def answer_with(self, *scripts: Script) -> Performance:
        """Let scripts answer the chats for which no answer is queued, in place of a handler.

        What goes wrong with a script is an error of the test: the `with` block raises it at its end.

        Args:
            *scripts: See `anthropix_actors.emulator.scripted`. The first that takes a conversation plays it.

        Returns:
            The conversations that they play.

        Raises:
            TypeError: one of them is no script, or there is none.

        Example:
            >>> from anthropix_actors.emulator import lines
            >>> Emulator().answer_with(lines("Hello."))
            <Performance of lines>
        """
        for script in scripts:
            if not isinstance(script, Script):
                raise TypeError(f"expected a function with @scripted, got {script!r}")
        if not scripts:
            raise TypeError("expected at least one script")
        performance = Performance(scripts)
        self._performances.append(performance)
        self._state.handle_with(performance.answer)
        return performance

    def session(self, session_id: str, thread_id: str | None = None) -> Session:
        """Return a session, or a thread of it, to add events and to cut its streams.

        Args:
            session_id: The session; it is created when it is first named, here or by a client.
            thread_id: The thread; it has its own events and streams.

        Example:
            >>> added = Emulator().session("sesn_1").add({"type": "session.status_running"})
        """
        return self._state.session(session_id, thread_id)

    def release(self, count: int = 1) -> None:
        """Resume `count` stalled answers: those that stall now, else the next ones to stall.

        Raises:
            RuntimeError: it is not running.
        """
        if self._server is None:
            raise RuntimeError("the emulator has not been started")
        for _ in range(count):
            self._server.call(self._released.release)

    def wait_for_requests(self, count: int = 1, timeout: float = 10.0) -> list[Request]:
        """Wait until `count` requests have come in total.

        Returns:
            All requests so far.

        Raises:
            TimeoutError: there are fewer after `timeout` seconds.
        """
        self._state.wait_for(lambda: len(self._state.requests), count, timeout, "requests")
        return self._state.requests

    def wait_for_hangups(self, count: int = 1, timeout: float = 10.0) -> None:
        """Wait until `count` clients in total have closed their connection before the end of the response.

        Raises:
            TimeoutError: there are fewer after `timeout` seconds.
        """
        self._state.wait_for(lambda: self._state.hangups, count, timeout, "hang-ups")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until `stop` is called, from any thread.

        Returns:
            True if it has stopped, False if `timeout` seconds have passed.
        """
        return self._stopped.wait(timeout)
