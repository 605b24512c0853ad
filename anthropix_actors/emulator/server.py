"""The emulator: the API on loopback, in a thread of the same process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from anthropix_actors.emulator._api.app import application
from anthropix_actors.emulator._api.batch import BatchSchedule
from anthropix_actors.emulator._api.server_thread import ServerThread
from anthropix_actors.emulator._api.state import CHAT, ServerState
from anthropix_actors.emulator.answers import Raw, Status, unwrap
from anthropix_actors.emulator.rules.table import active

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.limits import Limits
    from anthropix_actors.emulator.records import Request
    from anthropix_actors.emulator.sessions import Session

_BACKLOG = 2048


class Emulator:
    """The Anthropic API on loopback: for programs without a key, for tests, and for faults on demand.

    It refuses what the API refuses (`anthropix_actors.emulator.rules`), answers the other requests by plain rules or as
    scripted (`anthropix_actors.emulator.answers`), and records them all. Its usage counts what the prompt cache reads
    and writes, by the API's rules: the least size of each model, breakpoints and the top-level `cache_control`, 5
    minutes and an hour, what invalidates what (`Emulator(clock=...)` lets time pass). It serves

    - `POST /v1/messages`, message threads (`thread`) too, and `POST /v1/messages/count_tokens`;
    - `GET /v1/models` and `GET /v1/models/{id}`;
    - `/v1/messages/batches`: create, list, retrieve, cancel, results, delete. Each request of a batch is checked and
      answered as a chat without a stream, and counted, as by the API, when the whole batch has ended;
    - `/v1/files`: upload, list, retrieve, download, delete. Files are kept in memory; unlike from the API, every file
      can be downloaded, and none really expires;
    - `/v1/sessions/{id}/events`: list, send, and `/stream`; `/v1/sessions/{id}/threads/{id}/events`: list, and
      `/stream` in place of `/events`. What happens in a session is up to `session`;

    and any other path can be scripted. All methods are safe from any thread. Use it once: in a `with` block, or between
    `start` and `stop`.

    Args:
        host: Where to listen; loopback alone by default.
        port: The port; 0 takes a free one.
        api_key: The only key that is let in; by default any will do.
        handler: Gets each chat's `Request` for which no answer is queued and returns the answer, or None for the
            default. A chat of a thread comes with all of its conversation. It is called from the emulator's only
            thread: while it runs, nothing is served. The requests of a batch, which it can tell by their `custom_id`,
            come when they are done.
        batch_seconds: A batch has ended so many seconds after its creation, and until then is done in part.
        batch_polls: A batch ends when it is retrieved for the so many-th time, and is done in part until then: for
            tests, that want no clock. With both, it ends when both are over. By default, it ends when it is first
            looked at; if it is canceled before, nothing of it is done.
        limits: How many chats and tokens are let in by the minute; by default any number.
        without: Names of rules that are not kept, for programs that talk to other servers than the API; see
            `anthropix_actors.emulator.RULES`. By default all are.
        hosts: By which further names it may be called (the `Host` header): a machine's or a container's name, or `"*"`
            for any. By default by those of loopback and by `host`, and where that is not loopback, by any IP address:
            so a web page in a browser on this machine cannot read its answers.
        clock: Gets the time by which the prompt cache and message threads run out, in seconds: a test's own, that need
            not wait for an hour. It is called from the emulator's thread.

    Raises:
        TypeError: `without` or `hosts` is one string.
        ValueError: `batch_seconds` or `batch_polls` is negative; a name in `without` is no rule's.

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
    ) -> None:
        """Hold the options; nothing listens before `start`."""
        if isinstance(hosts, str):
            raise TypeError(f"hosts is a list of names: give [{hosts!r}]")
        self._address = (host, port)
        schedule = BatchSchedule(batch_seconds, batch_polls)
        self._state = ServerState(
            api_key, handler, schedule, limits, rules=active(without), hosts=(host, tuple(hosts)), clock=clock
        )
        self._released = asyncio.Semaphore(0)
        self._server: ServerThread | None = None
        self._stopped = threading.Event()

    def start(self) -> Self:
        """Listen. Returns when requests are taken.

        Raises:
            OSError: the address cannot be had.
            RuntimeError: it has been started before.
        """
        if self._server is not None:
            raise RuntimeError("an emulator is started once")
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._address = (host, listener.getsockname()[1])
        self._server = ServerThread(application(self._state, self._released), listener)
        return self

    def stop(self, timeout: float = 5.0) -> None:
        """Cut all answers and stop. Does nothing when it is not running.

        Raises:
            TimeoutError: a handler, or an iterable of events, has not returned within `timeout` seconds.
        """
        self._state.close()
        self._stopped.set()
        if self._server is not None:
            self._server.stop(timeout)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    @property
    def url(self) -> str:
        """The base URL, without `/v1`, as clients want it.

        Raises:
            RuntimeError: it has not been started.
        """
        if self._server is None:
            raise RuntimeError("the emulator has not been started")
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in order, refused ones too."""
        return self._state.requests

    @property
    def hangups(self) -> int:
        """How many clients closed their connection before the end of their answer."""
        return self._state.hangups

    def queue(self, *answers: Answer, path: str = CHAT) -> None:
        """Put answers at the end of the queue; each good request takes one.

        A request that is refused, for its key or its body, takes none. On paths other than `/v1/messages`, only the key
        and the version are looked at.

        Args:
            *answers: What to answer; see `anthropix_actors.emulator.answers`.
            path: Which requests take them. Paths other than `/v1/messages` may be any, and take mappings, `bytes`,
                `Raw`, `Status`, and None for what would be answered anyway, with or without faults: what a request
                asks for is done, even if its answer never arrives.

        Raises:
            TypeError: something is no answer, or not one for `path`.

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

    def session(self, session_id: str, thread_id: str | None = None) -> Session:
        """Get a session, or a thread of it, to let events happen there and to cut the streams on it.

        Args:
            session_id: The session; it comes into being when it is first named, here or by a client.
            thread_id: The thread; it has events and streams of its own.

        Example:
            >>> added = Emulator().session("sesn_1").add({"type": "session.status_running"})
        """
        return self._state.session(session_id, thread_id)

    def release(self, count: int = 1) -> None:
        """Let stalled answers go on: those that stall now, else the next ones to stall.

        Raises:
            RuntimeError: it is not running.
        """
        if self._server is None:
            raise RuntimeError("the emulator has not been started")
        for _ in range(count):
            self._server.call(self._released.release)

    def wait_for_requests(self, count: int = 1, timeout: float = 10.0) -> list[Request]:
        """Wait until so many requests have come, in all.

        Returns:
            All requests so far.

        Raises:
            TimeoutError: there are fewer after `timeout` seconds.
        """
        self._state.wait_for(lambda: len(self._state.requests), count, timeout, "requests")
        return self._state.requests

    def wait_for_hangups(self, count: int = 1, timeout: float = 10.0) -> None:
        """Wait until so many clients have closed their connection before the end of their answer, in all.

        Raises:
            TimeoutError: there are fewer after `timeout` seconds.
        """
        self._state.wait_for(lambda: self._state.hangups, count, timeout, "hang-ups")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody calls `stop`.

        Returns:
            True when it has stopped, False when `timeout` seconds have passed.
        """
        return self._stopped.wait(timeout)


def serve(  # noqa: PLR0913 - all have defaults, and names
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    batch_seconds: float = 0.0,
    without: Iterable[str] = (),
    hosts: Collection[str] = (),
    started: Callable[[Emulator], None] | None = None,
) -> None:
    """Run an emulator until Ctrl-C, or until somebody stops it.

    Args:
        host: Where to listen.
        port: The port; 0 takes a free one.
        api_key: The only key that is let in; by default any will do.
        batch_seconds: How long a batch takes.
        without: Names of rules that are not kept, as for `Emulator`.
        hosts: By which further names it may be called, as for `Emulator`.
        started: Called once with the emulator when it takes requests, to print its URL or to queue answers.

    Raises:
        OSError: the address cannot be had.
        TypeError: `without` is one string.
        ValueError: a name in `without` is no rule's.

    Example:
        >>> serve(started=Emulator.stop)
    """
    with Emulator(
        host=host, port=port, api_key=api_key, batch_seconds=batch_seconds, without=without, hosts=hosts
    ) as emulator:
        if started is not None:
            started(emulator)
        try:
            emulator.wait()
        except KeyboardInterrupt:
            return
