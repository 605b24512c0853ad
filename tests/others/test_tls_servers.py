"""Chats over TLS that others speak, where they are installed: nginx, haproxy, stunnel, mitmproxy, `openssl s_server`.

What is behind them is a server of `servers.py`, whose answers they encrypt in their own way: into records of their own
sizes, with their own farewells. Where a program is missing, its tests are skipped; with REQUIRE_TLS_SERVERS set, they
fail.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import io
import json
import os
import signal
import ssl
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from anthropix_actors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    ChatCancelled,
    ChatDone,
    ChatEvent,
    ChatFailed,
    Client,
    Timeout,
    TruncatedError,
)

from actors import ASK, Inbox, text_of
from fronts import (
    Front,
    Interceptor,
    OpenSSL,
    Place,
    Relay,
    Running,
    Terminator,
    haproxy,
    kill,
    nginx,
    place,
    running,
    stunnel,
)
from servers import (
    DEADLINE,
    LAST_CHUNK,
    Gated,
    Halt,
    Peer,
    Tunnel,
    acquire,
    after,
    answer,
    answering,
    batch_of,
    chunk,
    chunks,
    head,
    json_answer,
    line_of,
    send_answer,
    sse,
    until,
    wait,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    import trustme

    Connect = Callable[..., Client]
    Script = Callable[[Peer], object]
    Behind = Callable[[Front, Script], contextlib.AbstractContextManager[Running]]

pytestmark = pytest.mark.untraced

OLD, NEW = "ssl_protocols TLSv1.2", "ssl_protocols TLSv1.3"
TICKETS, NO_TICKETS = "ssl_session_tickets on", "ssl_session_tickets off"
CACHE = "ssl_session_cache shared:sessions:1m"
SMALL, FULL = "ssl_buffer_size 512", "ssl_buffer_size 16k"
VERSION_OF_HAPROXY = "ssl-min-ver TLSv1.{0} ssl-max-ver TLSv1.{0}".format

FRONTS: list[Front] = [
    Terminator("nginx, 1.3, small records", "nginx", nginx(NEW, SMALL, TICKETS, CACHE)),
    Terminator("nginx, 1.3, full records, no tickets", "nginx", nginx(NEW, FULL, NO_TICKETS)),
    Terminator("nginx, 1.2, small records, no tickets", "nginx", nginx(OLD, SMALL, NO_TICKETS, CACHE)),
    Terminator("nginx, 1.2, full records", "nginx", nginx(OLD, FULL, TICKETS)),
    Terminator("nginx, 1.3, buffering", "nginx", nginx(NEW, FULL, of_location=()), live=False),
    Terminator("nginx, 1.2, buffering", "nginx", nginx(OLD, SMALL, of_location=()), live=False),
    Terminator("haproxy, 1.3", "haproxy", haproxy(VERSION_OF_HAPROXY(3))),
    Terminator("haproxy, 1.3, small records", "haproxy", haproxy(VERSION_OF_HAPROXY(3), "tune.ssl.maxrecord 512")),
    Terminator("haproxy, 1.2, no tickets", "haproxy", haproxy(f"{VERSION_OF_HAPROXY(2)} no-tls-tickets")),
    Terminator(
        "haproxy, 1.2, small records", "haproxy", haproxy(VERSION_OF_HAPROXY(2), "tune.ssl.maxrecord 512", mode="tcp")
    ),
    Terminator("stunnel, 1.3", "stunnel", stunnel("sslVersion = TLSv1.3")),
    Terminator("stunnel, 1.2", "stunnel", stunnel("sslVersion = TLSv1.2")),
    Interceptor("mitmproxy"),
    Interceptor("mitmproxy, 1.2", options=("tls_version_client_max=TLS1_2",)),
    Interceptor("mitmproxy, TLS in TLS", "https"),
    Interceptor("mitmproxy, buffering", live=False),
    OpenSSL("openssl, 1.3", "-tls1_3"),
    OpenSSL("openssl, 1.3, no tickets", "-tls1_3 -num_tickets 0"),
    OpenSSL("openssl, 1.3, many tickets", "-tls1_3 -num_tickets 20"),
    OpenSSL("openssl, 1.3, small records", "-tls1_3 -max_send_frag 512"),
    OpenSSL("openssl, 1.3, padded records", "-tls1_3 -record_padding 4096"),
    OpenSSL("openssl, 1.3, another hello", "-tls1_3 -groups P-521"),
    OpenSSL("openssl, 1.2", "-tls1_2"),
    OpenSSL("openssl, 1.2, no tickets", "-tls1_2 -no_ticket"),
    OpenSSL("openssl, 1.2, small records", "-tls1_2 -max_send_frag 512"),
    OpenSSL("openssl, 1.2, by blocks", "-tls1_2 -no_etm -cipher ECDHE-ECDSA-AES256-SHA384"),
]
LIVE = [front for front in FRONTS if front.live]

TEXTS = ["Hello", ",", " ", "空 ø", "x" * 100_000, "!", *(f" word {number}" for number in range(300))]
TEXT = "".join(TEXTS)


def each(fronts: list[Front]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("front", fronts, ids=lambda front: front.name)


@pytest.fixture(scope="module")
def interceptors(
    tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA
) -> Iterator[Callable[[Interceptor], tuple[Place, subprocess.Popen[bytes]]]]:
    """Run mitmproxy once for each way to use it: it takes long to start."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def runs(front: Interceptor) -> tuple[Place, subprocess.Popen[bytes]]:
            return stack.enter_context(front.runs(tmp_path_factory.mktemp("mitmproxy"), authority))

        yield runs


@pytest.fixture
def behind(
    tmp_path: Path,
    authority: trustme.CA,
    interceptors: Callable[[Interceptor], tuple[Place, subprocess.Popen[bytes]]],
) -> Behind:
    """Run a program before a server with a script."""

    def run(front: Front, script: Script) -> contextlib.AbstractContextManager[Running]:
        if isinstance(front, Interceptor):
            return front.through(script, *interceptors(front), authority)
        return front.before(script, tmp_path, authority)

    return run


@pytest.fixture
def reached(connect: Connect) -> Callable[..., Client]:
    """Make a client that reaches what runs."""

    def reach(there: Running, port: int | None = None, **more: Any) -> Client:
        url, options = there.reach(port or there.at.port)
        return connect(url, **{**options, **more})

    return reach


# All of them


@each(FRONTS)
def test_chat_after_chat_streams_whole_on_one_connection(
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    with behind(front, answering(*TEXTS)) as there, Relay(there.at.port) as relay:
        client = reached(there, relay.port)
        for _ in range(3):
            chat = client.chat(**ASK, stream=(inbox := Inbox()))
            assert text_of(inbox.until_end()) == TEXT
            assert isinstance(inbox.messages[-1], ChatDone)
            wait(chat.actor_stopped)  # then it has given the connection back
    assert relay.connections == 1


@each(LIVE)
def test_events_come_when_they_were_sent(front: Front, behind: Behind, reached: Callable[..., Client]) -> None:
    """Each is sent when the client has been told the one before it."""
    told = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head())
        for number, event in enumerate(answer(*TEXTS[:6])):
            if number > 2:  # a first text is told with all that comes before it
                acquire(told)
            peer.send(chunk(sse(event)))
        peer.send(LAST_CHUNK)
        peer.wait_for_hang_up()

    with behind(front, script) as there:
        inbox = Inbox()
        reached(there).chat(**ASK, stream=inbox)
        while not isinstance(message := inbox.next(), ChatDone):
            assert isinstance(message, ChatEvent), message
            told.release()
        assert text_of(inbox.messages) == "".join(TEXTS[:6])


class Cut(NamedTuple):
    """Where a stream is cut, and how the server does that.

    Attributes:
        name: What a test calls it.
        sent: The bytes before the cut.
        framed: Whether the framing of HTTP shows the cut.
        reset: Whether the connection is reset, when the client has been told the first text.
    """

    name: str
    sent: bytes
    framed: bool = True
    reset: bool = False


EVENTS = answer("Hello", " there")
CUTS = [
    Cut("between events", head() + chunks(EVENTS[:4])),
    Cut("in an event", head() + chunks(EVENTS[:4]) + chunk(sse(EVENTS[4]))[:-30]),
    Cut("before its last event", head() + chunks(EVENTS[:-1])),
    Cut("by a reset", head() + chunks(EVENTS[:4]), reset=True),
    Cut("at an end that looks like one", head() + chunks(EVENTS[:4]) + LAST_CHUNK, framed=False),
    Cut("without a length", head(framing="close") + b"".join(map(sse, EVENTS[:4])), framed=False),
]


def until_text(inbox: Inbox, text: str) -> None:
    """Wait until a subscriber has been told this text; nothing else may be told."""
    while text_of(inbox.messages) != text:
        assert isinstance(message := inbox.next(), ChatEvent), message


@each(FRONTS)
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.name)
def test_a_stream_that_is_cut_is_an_error_with_what_arrived(
    cut: Cut, front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    told = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(cut.sent)
        if cut.reset:
            wait(told)
            peer.reset()

    with behind(front, script) as there:
        chat = reached(there).chat(**ASK, stream=(inbox := Inbox()))
        if cut.reset and front.live:
            until_text(inbox, "Hello there")
        told.set()
        inbox.until_end()
        wait(chat.actor_stopped)
    assert isinstance(failed := inbox.messages[-1], ChatFailed)
    if isinstance(front, Interceptor) and not front.live and cut.framed:
        assert isinstance(failed.error, APIStatusError)  # of the proxy's own, in place of the stream
        assert failed.error.status == 502
        return
    assert isinstance(failed.error, APIConnectionError if cut.reset else TruncatedError)
    assert text_of(inbox.messages) == "Hello there"
    assert failed.error.partial is not None
    assert failed.error.partial["content"] == [{"type": "text", "text": "Hello there"}]


@each(LIVE)
def test_an_answer_is_whole_with_its_last_event_whatever_follows(
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head() + chunks(answer(*TEXTS)))

    with behind(front, script) as there:
        assert reached(there).chat(**ASK)["content"] == [{"type": "text", "text": TEXT}]


BEGUN = (head(), chunks(answer("Hi")[:3]))


@each(LIVE)
def test_a_program_that_is_killed_ends_a_stream(
    front: Front, tmp_path: Path, authority: trustme.CA, reached: Callable[..., Client]
) -> None:
    with front.before(Halt(*BEGUN), tmp_path, authority) as there:
        reached(there).chat(**ASK, stream=(inbox := Inbox()))
        until_text(inbox, "Hi")
        kill(there.process)
        inbox.until_end()
    assert isinstance(failed := inbox.messages[-1], ChatFailed)
    assert isinstance(failed.error, APIConnectionError)
    assert failed.error.partial is not None
    assert failed.error.partial["content"] == [{"type": "text", "text": "Hi"}]


@each(LIVE)
def test_a_cancel_ends_a_stream_and_the_server_is_told(
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    with behind(front, Halt(*BEGUN)) as there:
        chat = reached(there).chat(**ASK, stream=(inbox := Inbox()))
        until_text(inbox, "Hi")
        chat.cancel()
        inbox.until(ChatCancelled)
        wait(chat.actor_stopped)
        acquire(there.hung_up)


LARGE = "0123456789" * 2_000_000


@each(
    [
        front
        for front in FRONTS
        if front.name
        in {
            *("nginx, 1.3, small records", "nginx, 1.2, full records", "haproxy, 1.2, small records"),
            *("stunnel, 1.3", "mitmproxy, TLS in TLS", "openssl, 1.3", "openssl, 1.2"),
        }
    ]
)
def test_an_upload_of_20_MB_arrives_whole(  # noqa: N802 - as the unit is written
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    got: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        got.append(peer.body)
        send_answer(peer, "thanks")
        peer.wait_for_hang_up()

    patient = Timeout(first_byte=6 * DEADLINE)  # mitmproxy takes its time
    with behind(front, script) as there:
        answered = reached(there, timeout=patient).chat(model="m", messages=[{"role": "user", "content": LARGE}])
    assert answered["content"] == [{"type": "text", "text": "thanks"}]
    assert json.loads(got[0])["messages"][0]["content"] == LARGE


@each([front for front in LIVE if not isinstance(front, OpenSSL)])
def test_many_chats_at_once_are_whole(front: Front, behind: Behind, reached: Callable[..., Client]) -> None:
    with behind(front, answering(*TEXTS)) as there:
        client = reached(there)
        chats = [client.chat(**ASK, stream=Inbox()) for _ in range(20)]
        for chat in chats:
            assert chat.result(DEADLINE)["content"] == [{"type": "text", "text": TEXT}]


# Some of them: what they do with connections


def chat_whole(client: Client) -> None:
    """Chat, until the connection is given back."""
    chat = client.chat(**ASK, stream=Inbox())
    assert chat.result(DEADLINE)["content"] == [{"type": "text", "text": TEXT}]
    wait(chat.actor_stopped)


@each(
    [
        Terminator("nginx", "nginx", nginx("keepalive_timeout 100ms")),
        Terminator("nginx, 1.2", "nginx", nginx("keepalive_timeout 100ms", OLD)),
        Terminator("haproxy", "haproxy", haproxy("", "timeout http-keep-alive 100ms")),
        Terminator("haproxy, 1.2", "haproxy", haproxy(VERSION_OF_HAPROXY(2), "timeout http-keep-alive 100ms")),
        Terminator("stunnel", "stunnel", stunnel("TIMEOUTidle = 1")),
    ]
)
def test_an_idle_connection_that_was_closed_is_not_used_again(
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    with behind(front, answering(*TEXTS)) as there, Relay(there.at.port) as relay:
        client = reached(there, relay.port, max_retries=0)
        for number in (1, 2):
            chat_whole(client)
            assert relay.connections == number
            acquire(relay.ended)


def test_a_connection_is_used_as_often_as_nginx_allows(behind: Behind, reached: Callable[..., Client]) -> None:
    front = Terminator("nginx", "nginx", nginx("keepalive_requests 2"))
    with behind(front, answering(*TEXTS)) as there, Relay(there.at.port) as relay:
        client = reached(there, relay.port, max_retries=0)
        for number in (1, 1, 2, 2, 3):
            chat_whole(client)
            assert relay.connections == number


@pytest.mark.parametrize("order", [signal.SIGHUP, signal.SIGQUIT], ids=["reload", "quit"])
@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_stream_outlives_nginx(
    version: str, order: signal.Signals, behind: Behind, reached: Callable[..., Client]
) -> None:
    """The process that has begun a stream ends it, though it takes no more; the next one goes to a new one."""
    script = Gated(answer("Hi", *TEXTS))
    with behind(Terminator("nginx", "nginx", nginx(version)), script) as there:
        client = reached(there, max_retries=2)
        chat = client.chat(**ASK, stream=(inbox := Inbox()))
        until_text(inbox, "Hi")
        there.process.send_signal(order)
        until(lambda: there.said("gracefully shutting down"))
        script.go_on.set()
        inbox.until_end()
        assert text_of(inbox.messages) == f"Hi{TEXT}"
        wait(chat.actor_stopped)
        if order == signal.SIGHUP:
            assert client.chat(**ASK)["content"] == [{"type": "text", "text": f"Hi{TEXT}"}]
        else:
            with pytest.raises(APIConnectionError, match="refused"):
                client.chat(**ASK, max_retries=0)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_of_nginx_that_ends_ends_its_streams(
    end: signal.Signals, behind: Behind, reached: Callable[..., Client]
) -> None:
    """And nginx starts another, which serves the next."""
    script = Gated(answer("Hi", *TEXTS))
    with behind(Terminator("nginx", "nginx", nginx(NEW)), script) as there:
        client = reached(there)
        client.chat(**ASK, stream=(inbox := Inbox()))
        until_text(inbox, "Hi")
        (worker,) = Path(f"/proc/{there.process.pid}/task/{there.process.pid}/children").read_text().split()
        os.kill(int(worker), end)
        inbox.until_end()
        assert isinstance(failed := inbox.messages[-1], ChatFailed)
        assert isinstance(failed.error, TruncatedError)
        assert text_of(inbox.messages) == "Hi"
        script.go_on.set()
        assert client.chat(**ASK, max_retries=2)["content"] == [{"type": "text", "text": f"Hi{TEXT}"}]


@each(
    [
        Terminator("nginx", "nginx", nginx(of_location=("proxy_buffering off", "proxy_read_timeout 100ms"))),
        Terminator("haproxy", "haproxy", haproxy("", "timeout server 100ms")),
        Terminator("haproxy, raw", "haproxy", haproxy("", "timeout server 100ms", mode="tcp")),
        Terminator("haproxy, its client", "haproxy", haproxy("", "timeout client 100ms", mode="tcp")),
        Terminator("stunnel", "stunnel", stunnel("TIMEOUTidle = 1")),
    ]
)
def test_a_timeout_of_the_programs_own_is_a_cut(front: Front, behind: Behind, reached: Callable[..., Client]) -> None:
    with behind(front, Halt(*BEGUN)) as there:
        reached(there).chat(**ASK, stream=(inbox := Inbox()))
        inbox.until_end()
    assert isinstance(failed := inbox.messages[-1], ChatFailed)
    assert isinstance(failed.error, APIConnectionError)
    assert text_of(inbox.messages) == "Hi"


@each(LIVE)
def test_a_server_that_hangs_up_without_a_word_is_an_error(
    front: Front, behind: Behind, reached: Callable[..., Client]
) -> None:
    with behind(front, Peer.read_request) as there:
        with pytest.raises(APIError, match=r"502 Bad Gateway|the connection was reset") as caught:
            reached(there).chat(**ASK)
        assert caught.value.retryable


# A tunnel through another program's TLS


@each(
    [
        Terminator("haproxy, small records", "haproxy", haproxy("", "tune.ssl.maxrecord 512", mode="tcp")),
        Terminator("haproxy, 1.2", "haproxy", haproxy(VERSION_OF_HAPROXY(2), mode="tcp")),
        Terminator("stunnel", "stunnel", stunnel()),
    ]
)
@pytest.mark.parametrize("how", ["whole", "cut", "cancelled"])
def test_tls_in_tls_is_no_different(
    how: str, front: Front, tmp_path: Path, authority: trustme.CA, reached: Callable[..., Client]
) -> None:
    scripts: dict[str, Script] = {"whole": answering(*TEXTS), "cut": after(*BEGUN), "cancelled": Halt(*BEGUN)}
    inner = Terminator("nginx", "nginx", nginx(NEW, SMALL))
    (tmp_path / "outer").mkdir()
    with inner.before(scripts[how], tmp_path, authority) as there:
        with front.before(Tunnel(there.at.port), tmp_path / "outer", authority) as proxy:
            client = reached(there, proxy=f"https://localhost:{proxy.at.port}")
            if how == "whole":
                chat_whole(client)
                chat_whole(client)
                return
            chat = client.chat(**ASK, stream=(inbox := Inbox()))
            until_text(inbox, "Hi")
            if how == "cancelled":
                chat.cancel()
            inbox.until_end()
            acquire(there.hung_up)
            if how == "cancelled":
                assert isinstance(inbox.messages[-1], ChatCancelled)
            else:
                assert isinstance(failed := inbox.messages[-1], ChatFailed)
                assert isinstance(failed.error, TruncatedError)


# Certificates


@each(
    [
        Terminator("nginx", "nginx", nginx(NEW, "ssl_verify_client on", "ssl_client_certificate {at.ca}")),
        Terminator("nginx, 1.2", "nginx", nginx(OLD, "ssl_verify_client on", "ssl_client_certificate {at.ca}")),
        Terminator("haproxy", "haproxy", haproxy(f"{VERSION_OF_HAPROXY(3)} verify required ca-file {{at.ca}}")),
        Terminator("haproxy, 1.2", "haproxy", haproxy(f"{VERSION_OF_HAPROXY(2)} verify required ca-file {{at.ca}}")),
        Terminator("stunnel", "stunnel", stunnel("verifyChain = yes", "CAfile = {at.ca}")),
        OpenSSL("openssl", "-tls1_3 -Verify 2 -CAfile {at.ca} -verify_return_error"),
        OpenSSL("openssl, 1.2", "-tls1_2 -Verify 2 -CAfile {at.ca} -verify_return_error"),
    ]
)
@pytest.mark.parametrize("shown", [True, False])
def test_a_client_certificate_is_shown_where_it_is_asked_for(
    front: Front,
    behind: Behind,
    reached: Callable[..., Client],
    authority: trustme.CA,
    *,
    shown: bool,
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if shown:
        authority.issue_cert("client@example.org").configure_cert(context)
    with behind(front, answering(*TEXTS)) as there:
        client = reached(there, verify=context)
        if shown:
            chat_whole(client)
            chat_whole(client)
        else:
            with pytest.raises(APIError, match=r"(?i)certificate[ _](required|was sent)|alert handshake failure"):
                client.chat(**ASK)


def test_a_proxy_that_reads_along_must_be_trusted(
    behind: Behind, reached: Callable[..., Client], client_tls: ssl.SSLContext
) -> None:
    with behind(Interceptor("mitmproxy"), answering(*TEXTS)) as there:
        with pytest.raises(APIConnectionError, match="is not trusted"):
            reached(there, verify=client_tls).chat(**ASK)


# What openssl can do besides


def command(peer: Peer, text: str) -> None:
    """Have openssl do something now: it reads a command only at the beginning of what it reads at once."""
    until_taken(peer)
    peer.send(f"{text}\n".encode())
    until_taken(peer)


def until_taken(peer: Peer) -> None:
    until(lambda: fcntl.ioctl(peer.sock, termios.TIOCOUTQ, bytes(4)) == bytes(4))


@pytest.mark.parametrize(
    ("version", "commands"),
    [("tls1_3", "k"), ("tls1_3", "K"), ("tls1_3", "kKK"), ("tls1_2", "r"), ("tls1_2", "R")],
    ids=["new keys", "new keys for both", "many of them", "a handshake anew", "that with certificates"],
)
@pytest.mark.parametrize("size", [512, 16384])
def test_what_openssl_says_between_records_is_no_part_of_a_stream(
    version: str, commands: str, size: int, behind: Behind, reached: Callable[..., Client]
) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(head())
            for number, event in enumerate(answer(*TEXTS[:50])):
                peer.send(chunk(sse(event)))
                for text in commands if number % 5 == 3 else ():
                    command(peer, text)
            peer.send(LAST_CHUNK)

    with behind(OpenSSL("openssl", f"-{version} -max_send_frag {size}", quiet=False), script) as there:
        client = reached(there)
        for _ in range(2 if version == "tls1_3" else 1):  # a handshake may last beyond the answer
            chat = client.chat(**ASK, stream=Inbox())
            assert chat.result(DEADLINE)["content"] == [{"type": "text", "text": "".join(TEXTS[:50])}]
            wait(chat.actor_stopped)


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
@pytest.mark.parametrize(
    "text", ["P", "q", "Q"], ids=["what is not encrypted", "a farewell", "a farewell, then its own end"]
)
def test_what_openssl_says_in_place_of_a_record_cuts_a_stream(
    text: str, version: str, behind: Behind, reached: Callable[..., Client]
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*BEGUN)
        command(peer, text)
        peer.wait_for_hang_up()

    with behind(OpenSSL("openssl", f"-{version}", quiet=False), script) as there:
        reached(there).chat(**ASK, stream=(inbox := Inbox()))
        inbox.until_end()
    assert isinstance(failed := inbox.messages[-1], ChatFailed)
    assert isinstance(failed.error, APIConnectionError)
    assert isinstance(failed.error, TruncatedError) or "WRONG_VERSION_NUMBER" in str(failed.error)
    assert text_of(inbox.messages) == "Hi"


class Sink(io.BytesIO):
    """A file that says when it has got so many bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.full = threading.Event()

    def write(self, data: Any) -> int:
        count = super().write(data)
        if self.tell() >= self.size:
            self.full.set()
        return count


@each([front for front in FRONTS if isinstance(front, OpenSSL)])
@pytest.mark.parametrize("farewell", [True, False], ids=["whole", "cut"])
def test_a_download_that_ends_with_the_connection_is_whole_if_openssl_says_so(
    front: Front, behind: Behind, reached: Callable[..., Client], *, farewell: bool
) -> None:
    content = os.urandom(100_000)
    file = Sink(len(content))
    programs: list[subprocess.Popen[bytes]] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(framing="close", content_type="application/octet-stream"), content)
        wait(file.full)
        if not farewell:
            kill(*programs)

    with behind(front, script) as there:
        programs.append(there.process)
        client = reached(there)
        if farewell:
            assert client.files.download("f", file) == len(content)
        else:
            with pytest.raises(TruncatedError, match="without a close_notify"):
                client.files.download("f", file)
    assert file.getvalue() == content


@pytest.mark.parametrize("options", ["-tls1_2", "-tls1_3", "-tls1_3 -max_send_frag 512", "-tls1_2 -max_send_frag 512"])
def test_files_of_openssl_are_read_whole(options: str, tmp_path: Path, authority: trustme.CA, connect: Connect) -> None:
    """It sends them with HTTP/1.0: they end with the connection."""
    at = place(tmp_path, 0, authority)
    content = os.urandom(3_000_000)
    results = b"".join(line_of(f"r{number}") for number in range(5000))
    batch = batch_of("b", 5000, results_url="/results")
    files = {
        "v1/files/f/content": head(framing="close", content_type="application/octet-stream") + content,
        "v1/messages/batches/b": json_answer("200 OK", batch, {"connection": "close"}),
        "results": head(framing="close", content_type="application/x-jsonl") + results,
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with running([*OpenSSL.told(at), *options.split(), "-HTTP"], at):
        client = connect(f"https://localhost:{at.port}", verify=str(at.ca))
        assert client.files.download("f") == content
        assert [line["custom_id"] for line in client.batches.results("b")] == [f"r{number}" for number in range(5000)]
