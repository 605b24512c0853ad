"""`Mcp`: a server whose tools the model may call. Light: what speaks the protocol is imported when it is used."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from anthropix_actors._cancel import exit_and_fork
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._checks.call_errors import unknown_problems
from anthropix_actors._checks.shapes import shown
from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._foreign.log import log
from anthropix_actors._foreign.public_names import publish
from anthropix_actors._foreign.threads import in_background
from anthropix_actors.errors import CancelledError, ConfigurationError, ParameterError, Problem
from anthropix_actors.tools.errors import McpError, NotStartedError, ToolError
from anthropix_actors.tools.mcp.content import content_of
from anthropix_actors.tools.mcp.listing import Wanted, tools_of
from anthropix_actors.tools.mcp.places import Http, Stdio
from anthropix_actors.tools.mcp.waiting import Waiting

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self, TypedDict, Unpack

    from anthropix_actors.tools.call import Call
    from anthropix_actors.tools.definition import Tool
    from anthropix_actors.tools.mcp.connection import Connection

    class McpOptions(TypedDict, total=False):
        """The options of `Mcp.stdio` and `Mcp.http`."""

        prefix: str
        only: Iterable[str] | None
        timeout: float | None
        start_timeout: float
        approve: bool | Callable[[Tool[..., Any]], bool]


MOST_STARTS = 5
WITHIN = 60.0
"""So often, within so many seconds, a server is started that ends again and again."""

_DEFAULTS: Mapping[str, Any] = {
    "prefix": "",
    "only": None,
    "timeout": 120.0,
    "start_timeout": 60.0,
    "approve": False,
}

_SLACK = 10.0
"""Seconds more that a process gets to be ended, when it was not ready in time."""

exit_and_fork.install()


class Mcp:
    """A server of the Model Context Protocol, whose tools the model may call: `Mcp.stdio` or `Mcp.http` makes one.

    It may be given wherever tools are taken, in the list of `tools=`, and stands for all of its tools. It is started,
    or connected to, when it is first used; all conversations that use it share one connection. A server that ends costs
    the calls that run, and is started again by the next one. Needs `pip install "anthropix-actors[mcp]"`.

    Any thread may use it. In a `with` block it is started at the beginning, and closed at the end; else the client
    closes it whose chat or conversation has started it, or it is closed as the program exits.

    Example:
        >>> files = Mcp.stdio("files-server", "/tmp", prefix="files_", only=["read", "list"])
        >>> files
        <Mcp stdio files-server, closed>
    """

    def __init__(self, place: Stdio | Http, options: Mapping[str, Any]) -> None:
        """Servers are made by `Mcp.stdio` and `Mcp.http`; do not make one yourself."""
        problems = [*place.problems(), *unknown_problems(options, _DEFAULTS)]
        values = {**_DEFAULTS, **options}
        problems += _option_problems(values)
        if problems:
            raise ParameterError(problems)
        only = None if values["only"] is None else frozenset(values["only"])
        self._place = place
        self._wanted = Wanted(values["prefix"], only, values["timeout"], values["approve"])
        self._start_timeout: float = values["start_timeout"]
        self._lock = threading.RLock()  # a signal handler may use it while the thread that it interrupts holds it
        self._connection: Connection | None = None
        self._is_open = False  # a call may start the server again
        self._starts: deque[float] = deque(maxlen=MOST_STARTS)
        self._made: tuple[Any, tuple[Tool[..., Any], ...]] | None = None  # of which listing, which tools
        self.closer = Closer(self)
        SWEEPER.fork_listeners.add(self)

    @classmethod
    def stdio(
        cls,
        command: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stderr: str | os.PathLike[str] | None = None,
        **options: Unpack[McpOptions],
    ) -> Self:
        """Return a server that is a command, spoken to by its stdin and stdout. It is not started yet. Linux only.

        Args:
            command: The command.
            *args: Its arguments.
            env: What its environment has besides `HOME`, `LOGNAME`, `PATH`, `SHELL`, `TERM` and `USER`. It gets no
                other variable of this program, and so none of its keys.
            cwd: Its working directory.
            stderr: A file that its stderr is added to; by default it is the program's.
            **options: `prefix`: what its tools' names begin with, for the model. `only`: the names of the tools to
                take, as the server has them. `timeout`: seconds after which a call has failed; 120, None for none.
                `start_timeout`: seconds in which it has to start and list its tools; 60. `approve`: True if somebody
                has to allow each call, or a function that says so of each `Tool`.

        Raises:
            ParameterError: an argument is wrong; it names each place.

        Example:
            >>> Mcp.stdio("uvx", "mcp-server-git", approve=lambda tool: not tool.safe)
            <Mcp stdio uvx, closed>
        """
        return cls(Stdio(command, args, env, cwd, stderr), options)

    @classmethod
    def http(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
        **options: Unpack[McpOptions],
    ) -> Self:
        """Return a server at a URL, which speaks streamable HTTP. It is not connected to yet.

        Args:
            url: Its address.
            headers: Headers for every request.
            auth: A bearer token; or what `httpx2` takes: a user with a password, or an `httpx2.Auth`, such as one of
                `mcp.client.auth`.
            **options: As of `stdio`.

        Raises:
            ParameterError: an argument is wrong; it names each place.

        Example:
            >>> Mcp.http("https://mcp.example.org/mcp?user=1", auth="secret")
            <Mcp https://mcp.example.org/mcp, closed>
        """
        return cls(Http(url, headers, auth), options)

    def __repr__(self) -> str:
        """Show where it is, without arguments, headers or credentials, which may be secret."""
        return f"<Mcp {self._place}, {'open' if self.is_open else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether it was started or connected to, and not closed since."""
        return self._is_open

    def open(self) -> Self:
        """Start it, or connect to it, and list its tools. Returns when that is done.

        Raises:
            McpError: it cannot be used.
            ConfigurationError: the package `mcp` is not installed.
        """
        self.tools()
        return self

    def close(self, timeout: float = 5.0) -> None:
        """End the connection; a server that is a command is ended, with all that it has started. Calls that run fail.

        A conversation's later calls of its tools fail. Whatever lists its tools, as a new conversation does, opens it
        again.

        Args:
            timeout: Seconds to wait at most until it is gone; 0 not to wait.
        """
        with self._lock:
            self._is_open = False
            self._starts.clear()
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            connection.ended.wait(timeout)

    def __enter__(self) -> Self:
        """Open it."""
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close it."""
        self.close()

    # Tools

    def tools(self) -> tuple[Tool[..., Any], ...]:
        """Return its tools, as it offers them now. It is opened for that, if it is not open.

        Raises:
            McpError: it cannot be used.
            ParameterError: the API takes no such tools, or `only` names one that it does not have.
            ConfigurationError: the package `mcp` is not installed.

        Example:
            >>> for tool in files.tools():  # doctest: +SKIP
            ...     print(tool.name, tool.safe)
        """
        connection = self._connected()
        connection.ready.result(self._start_timeout + _SLACK)
        return self._tools_of(connection)

    def offered(self) -> tuple[Tool[..., Any], ...] | None:
        """Return its tools as they were listed last, None before. Returns at once."""
        made = self._made
        return None if made is None else made[1]

    def _tools_of(self, connection: Connection) -> tuple[Tool[..., Any], ...]:
        listing, made = connection.listing, self._made
        if made is None or made[0] != listing:
            made = self._made = listing, tools_of(listing, self._wanted, self._run, strict=made is None)
        return made[1]

    def _changed(self, connection: Connection) -> None:
        """Make tools of the new list, which needs the caller's code. On the loop's thread."""
        in_background(partial(self._make_again, connection), "anthropix-mcp-tools")

    def _make_again(self, connection: Connection) -> None:
        try:
            self._tools_of(connection)
        except ParameterError as exc:
            log(logging.ERROR, "%s has changed its tools, and those before are kept: %s", self, exc)

    # Calls

    def _run(self, name: str, given: dict[str, Any], call: Call) -> Any:
        """Run a call, on its tool's thread; return its content."""
        failure_of, waiting = _library().failure_of, Waiting(call)
        try:
            connection = self._connected(again=True)
            waiting.result(connection.ready)
            began = time.monotonic()
            future = connection.call(name, given, waiting.progress)
        except McpError as exc:
            raise NotStartedError(f"not started: {exc}") from exc
        try:
            answer = waiting.result(future)
        except CancelledError:
            future.cancel()
            if self._wanted.timeout is not None and time.monotonic() - began >= self._wanted.timeout:
                self._let_go_if(connection, connection.is_silent(began))
            raise
        except BaseException as exc:
            text, lost = failure_of(exc, str(self._place))
            self._let_go_if(connection, lost)
            raise ToolError(text) from exc
        content = content_of(answer.content, answer.structured)
        if answer.is_error:
            raise ToolError(content)
        return content

    def _let_go_if(self, connection: Connection, lost: bool) -> None:  # noqa: FBT001 - one condition
        """Have the next call start the server again."""
        if lost:
            connection.close()

    def _connected(self, *, again: bool = False) -> Connection:
        """Return the connection, perhaps one that has just begun to start.

        Args:
            again: Whether it is for a call, which does not open what was closed.

        Raises:
            McpError: it was closed, or has been started too often.
        """
        library = _library()
        with self._lock:
            if again and not self._is_open:
                raise McpError(f"{self._place} was closed")
            self._is_open = True
            if self._connection is not None and not self._connection.lost:
                return self._connection
            self._note_start()
            transport = library.transport_of(self._place)
            connection: Connection = library.Connection(str(self._place), transport, self._start_timeout, self._changed)
            self._connection = connection
        connection.start()
        return connection

    def _note_start(self) -> None:
        now = time.monotonic()
        if len(self._starts) == MOST_STARTS and now - self._starts[0] < WITHIN:
            raise McpError(f"{self._place} was started {MOST_STARTS} times within {WITHIN:g} s, and ended each time")
        self._starts.append(now)

    def after_fork(self) -> None:
        """Start afresh in a forked child: the connection is the parent's."""
        self._lock = threading.RLock()
        self._connection = None


class Closer:
    """Closes a server with the client that has opened it, without waiting."""

    def __init__(self, server: Mcp) -> None:
        """Hold the server."""
        self._server = server

    def close(self) -> None:
        """Close it."""
        self._server.close(timeout=0)


def _library() -> Any:
    """Return the module that speaks the protocol; it needs half a second when it is imported first.

    Raises:
        ConfigurationError: the package `mcp` is not installed.
    """
    try:
        with late_import():
            from anthropix_actors.tools.mcp import connection  # noqa: PLC0415 - it needs the extra
    except ImportError as exc:
        raise ConfigurationError(f'{exc}: pip install "anthropix-actors[mcp]"') from exc
    return connection


def _option_problems(values: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if not isinstance(values["prefix"], str):
        problems.append(Problem("prefix", f"expected a string, got {shown(values['prefix'])}"))
    only, approve = values["only"], values["approve"]
    if only is not None and (isinstance(only, str) or not _are_strings(only)):
        problems.append(Problem("only", f"expected a list of names, got {shown(only)}"))
    for name in ("timeout", "start_timeout"):
        value = values[name]
        fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
        if not fits and (value is not None or name == "start_timeout"):
            problems.append(Problem(name, f"expected seconds above 0, got {shown(value)}"))
    if not isinstance(approve, bool) and not callable(approve):
        problems.append(Problem("approve", f"expected True, False or a function, got {shown(approve)}"))
    return problems


def _are_strings(only: Any) -> bool:
    return isinstance(only, list | tuple | set | frozenset) and all(isinstance(each, str) for each in only)


publish("anthropix_actors", (Mcp,))
