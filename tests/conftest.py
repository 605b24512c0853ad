from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pykka
import pytest
import trustme
from hypothesis import given, settings
from hypothesis.strategies import none

from anthropix_actors import Client, Hub, Timeout
from anthropix_actors.stores import MemoryStore

from programs import Programs
from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from servers import Server

SHARED = Path(__file__).parents[2] / "shared"
NOT_HERE = "are not here"
"""What the reason says of a test that lacks recordings, which no program can be installed for."""

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


def _take(_: None) -> None:
    """Take an example, and do nothing."""


def pytest_collection_finish() -> None:
    """Keep the tests themselves, half a million objects, out of each search for garbage."""
    # With its first example, hypothesis makes a generator, and looks who refers to it: afterwards, nobody would.
    given(none())(_take)()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the environment has REQUIRE_ALL, fail a test that would be skipped."""
    report = yield
    if report.skipped and os.environ.get("REQUIRE_ALL") and NOT_HERE not in str(report.longrepr):
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run what has the mark `untraced` without coverage, here and in the programs that it starts.

    Coverage doubles what a test costs. It is not needed where a program, a toolkit or a storm of faults runs through
    lines that tests of their own have covered.
    """
    coverage: Any = sys.modules.get("coverage")
    tracing = coverage and coverage.Coverage.current()
    if not tracing or item.get_closest_marker("untraced") is None:
        return (yield)
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        tracing.stop()
        try:
            return (yield)
        finally:
            with warnings.catch_warnings(action="ignore"):  # it was imported before
                tracing.start()


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_not_ignored() -> None:
    """A shell has what it runs in the background ignore Ctrl-C, and so would the programs that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Every test ends with the threads it began with; what is ending gets a moment."""
    before = set(threading.enumerate())
    yield
    pykka.ActorRegistry.stop_all(timeout=5)
    deadline = time.monotonic() + 5
    for thread in set(threading.enumerate()) - before:
        with contextlib.suppress(RuntimeError):  # it is just about to start
            thread.join(max(0.0, deadline - time.monotonic()))
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.001)
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert not left, f"threads left behind: {left}"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the machine has set reaches a test."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def programs() -> Iterator[Programs]:
    with Programs() as programs:
        yield programs


@pytest.fixture
def begin(programs: Programs) -> Callable[..., subprocess.Popen[str]]:
    """Start programs for a server; they are ended at the end."""
    return programs.begin


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Make clients for a server; they are closed at the end."""
    clients: list[Client] = []

    def make(server: Server | str, **options: Any) -> Client:
        url = server if isinstance(server, str) else server.url
        long = 3 * DEADLINE  # what a test waits for is not to be a timeout
        options = {"timeout": Timeout(connect=5, read=long, idle=long, first_byte=long), "max_retries": 0, **options}
        client = Client("sk-test-secret", base_url=url, **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def hubs() -> Iterator[Callable[..., Hub]]:
    """Make hubs, over a store in memory if none is given; they are closed at the end."""
    made: list[Hub] = []

    def make(store: Any = None, **options: Any) -> Hub:
        made.append(Hub(MemoryStore() if store is None else store, **options))
        return made[-1]

    yield make
    for hub in made:
        hub.close()


@pytest.fixture(scope="session")
def display() -> Iterator[str | None]:
    """A display without a screen; None where there is no Xvfb."""
    if shutil.which("Xvfb") is None:
        yield None
        return
    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-noreset", "-screen", "0", "1000x800x24"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        yield f":{server.stdout.readline().strip()}"
        server.terminate()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), ids=lambda version: version.name)
def trusting(request: pytest.FixtureRequest, authority: trustme.CA) -> ssl.SSLContext:
    """A context like `client_tls`, with each version of TLS alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.minimum_version = context.maximum_version = request.param
    return context


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The recorded streams, where they are; a test that needs them says so when they are not."""
    folder = SHARED / "corpus"
    if not folder.is_dir():
        pytest.skip(f"the recorded streams {NOT_HERE}: {folder} is missing")
    return folder


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A port that drops every SYN: its queue of connections is full, and nobody accepts one."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port: int = listener.getsockname()[1]
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.settimeout(0)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    yield port
    for sock in (*fillers, listener):
        sock.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Get two sockets that are connected to each other; the first waits no longer than a test does."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    with ours, theirs:
        yield ours, theirs
