"""Sessions of TLS: resumed where the certificate was checked before, and nowhere else."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import truststore

from anthropix_actors import APIConnectionError, Client
from anthropix_actors._http.reuse import tls_sessions
from anthropix_actors._http.reuse.tls_context import TLSContext

from actors import ASK, Inbox, core_of
from servers import DEADLINE, Peer, Server, Tunnel, Turnstile, acquire, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trustme


class Closing:
    """Answer one request on each connection, and note whether each resumed a session."""

    def __init__(self) -> None:
        self.resumed: list[bool | None] = []

    def __call__(self, peer: Peer) -> None:
        sock: Any = peer.sock
        self.resumed.append(sock.session_reused)
        peer.read_request()
        peer.send(whole("x").replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
        peer.wait_for_hang_up()


def serving(authority: trustme.CA, name: str = "localhost", *, tickets: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    return context


@pytest.fixture
def place(server_tls: ssl.SSLContext) -> Iterator[Callable[..., ssl.SSLObject]]:
    """Connect to one server, by a context, under a name; get the object of the connection."""
    script = Closing()

    def connect(context: TLSContext, name: str | None = "localhost") -> Any:
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
            near = context.wrap_socket(sock, server_hostname=name)
            near.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert near.recv(5) == b"HTTP/"
            near.keep_session()
            return near._tls

    with Server(script, server_tls) as server:
        yield connect


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "no tickets"])
def test_a_connection_beside_another_resumes_its_session(
    authority: trustme.CA, trusting: ssl.SSLContext, *, tickets: bool
) -> None:
    """The server keeps the session itself where it gives no tickets."""
    resumed: list[bool] = []

    class Noting(Turnstile):
        def __call__(self, peer: Peer) -> None:
            sock: Any = peer.sock
            resumed.append(sock.session_reused)
            super().__call__(peer)

    script = Noting("x")
    with (
        Server(script, serving(authority, tickets=tickets)) as server,
        Client("k", base_url=server.url, verify=trusting) as client,
    ):
        chats, inbox = [], Inbox()
        for _ in range(4):
            chats.append(client.chat(**ASK, stream=inbox))
            acquire(script.reached)
            inbox.next()
        script.let.release(4)
        for chat in chats:
            chat.result(DEADLINE)
    assert resumed == [False, True, True, True]


@pytest.mark.parametrize("through", ["nothing", "http", "https"])
def test_each_new_connection_does_also_through_proxies(
    through: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """With an https proxy, each of both keeps a session of its own, though they have the same name."""
    script = Closing()
    with Server(script, server_tls) as server:
        tunnel, resumed = Tunnel(server.port), []

        def proxied(peer: Peer) -> None:
            sock: Any = peer.sock
            resumed.append(getattr(sock, "session_reused", None))
            tunnel(peer)

        with Server(proxied, server_tls if through == "https" else None) as proxy:
            url = "" if through == "nothing" else f"{through}://localhost:{proxy.port}"
            with Client("k", base_url=server.url, verify=client_tls, proxy=url, max_retries=0) as client:
                for _ in range(3):
                    client.chat(**ASK)
    assert script.resumed == [False, True, True]
    assert resumed == {"nothing": [], "http": [None] * 3, "https": [False, True, True]}[through]


def test_a_server_that_gives_no_session_is_asked_for_none(authority: trustme.CA, client_tls: ssl.SSLContext) -> None:
    context, script = serving(authority), Closing()
    context.num_tickets = 0
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with Server(script, context) as server, Client("k", base_url=server.url, verify=client_tls) as client:
        for _ in range(2):
            client.chat(**ASK)
    assert script.resumed == [False, False]


# What is checked


def test_a_session_is_resumed_under_its_own_name_alone(
    place: Callable[..., ssl.SSLObject], client_tls: ssl.SSLContext
) -> None:
    """OpenSSL would resume it under any, and check nothing."""
    context = TLSContext(client_tls)
    assert not place(context).session_reused
    assert place(context).session_reused
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        place(context, "example.org")
    assert place(context, "127.0.0.1").session_reused is False
    assert place(context).session_reused
    assert not place(TLSContext(client_tls)).session_reused, "another place"


class Impostor:
    """A server that is another one after some connections, with a certificate for another name."""

    def __init__(self, authority: trustme.CA, after: int) -> None:
        self.honest, self.other = serving(authority), serving(authority, "example.org")
        self.after = after
        self.resumed: list[bool] = []

    def __call__(self, peer: Peer) -> None:
        context = self.honest if peer.number <= self.after else self.other
        with context.wrap_socket(peer.sock, server_side=True) as sock:
            self.resumed.append(bool(sock.session_reused))
            Closing()(Peer(sock, peer.number))


def test_another_server_in_its_place_has_to_show_a_certificate(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    """It cannot resume the session, so the handshake is a full one."""
    script = Impostor(authority, after=2)
    with (
        Server(script) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=trusting, max_retries=0) as client,
    ):
        for _ in range(2):
            client.chat(**ASK)
        with pytest.raises(APIConnectionError, match="certificate"):
            client.chat(**ASK)
    assert script.resumed == [False, True]


def test_after_an_hour_the_certificate_is_checked_again(
    authority: trustme.CA, client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Closing()
    context = serving(authority)
    with Server(script, context) as server, Client("k", base_url=server.url, verify=client_tls) as client:
        for _ in range(3):
            client.chat(**ASK)
        monkeypatch.setattr(tls_sessions, "CHECKED_FOR", 0.0)
        client.chat(**ASK)
    assert script.resumed == [False, True, True, False]


@pytest.mark.parametrize("checks", ["no name", "nothing"])
def test_where_openssl_did_not_check_all_nothing_is_resumed(
    checks: str, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.check_hostname = False
    if checks == "nothing":
        context.verify_mode = ssl.CERT_NONE
    script = Closing()
    with (
        Server(script, server_tls) as server,
        Client("k", base_url=server.url, verify=context) as client,
        contextlib.ExitStack() as stack,
    ):
        if checks == "nothing":
            stack.enter_context(pytest.warns(match="Unverified HTTPS request"))
        for _ in range(2):
            client.chat(**ASK)
    assert script.resumed == [False, False]


class Odd(ssl.SSLContext):
    """Makes its connections in a way of its own."""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **options)


def odd_objects() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = type("Mine", (ssl.SSLObject,), {})
    return context


@pytest.fixture
def _injected() -> Iterator[None]:
    """The class of `truststore` is the one that `ssl` has."""
    truststore.inject_into_ssl()
    yield
    truststore.extract_from_ssl()


@pytest.mark.parametrize(
    "make",
    [
        lambda: truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        lambda: Odd(ssl.PROTOCOL_TLS_CLIENT),
        odd_objects,
    ],
    ids=["truststore", "wrap_bio", "sslobject_class"],
)
def test_a_context_that_may_check_by_itself_checks_each_connection(
    make: Callable[[], ssl.SSLContext], authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    context, script = make(), Closing()
    authority.configure_trust(context)
    with Server(script, server_tls) as server, Client("k", base_url=server.url, verify=context) as client:
        for _ in range(2):
            assert client.chat(**ASK)["stop_reason"] == "end_turn"
    assert script.resumed == [False, False]


@pytest.mark.usefixtures("_injected")
def test_that_class_does_so_too_where_it_has_taken_the_place_of_the_other(
    authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    test_a_context_that_may_check_by_itself_checks_each_connection(
        lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), authority, server_tls
    )


def test_a_context_that_was_made_strict_after_a_handshake_checked_nothing_in_it(server_tls: ssl.SSLContext) -> None:
    """Its authorities do not know the server's, so that any full handshake fails."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def strict(peer: Peer) -> None:
        peer.read_request()
        context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
        peer.send(whole("x"))

    with Server(strict, server_tls) as server:
        near = TLSContext(context)
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
            first = near.wrap_socket(sock, server_hostname="localhost")
            first.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert first.recv(5) == b"HTTP/"
            first.keep_session()
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            near.wrap_socket(sock, server_hostname="localhost")


# What may go wrong


def test_after_a_handshake_that_failed_the_next_is_a_full_one(
    authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    """A server may fail of the session itself: some do where clients show certificates."""
    script, context = Closing(), serving(authority)

    def failing(peer: Peer) -> None:
        if peer.number == 2:
            peer.sock.recv(1)
            peer.reset()
            return
        with context.wrap_socket(peer.sock, server_side=True) as sock:
            script(Peer(sock, peer.number))

    with (
        Server(failing) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=client_tls, max_retries=1) as client,
    ):
        for _ in range(3):
            client.chat(**ASK)
    assert script.resumed == [False, False, True]


def test_a_session_that_the_server_refuses_is_replaced_by_the_next(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    """Such as one with another key for its tickets."""
    script, keys = Closing(), [serving(authority), serving(authority)]

    def rotating(peer: Peer) -> None:
        with keys[peer.number > 2].wrap_socket(peer.sock, server_side=True) as sock:
            script(Peer(sock, peer.number))

    with (
        Server(rotating) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=trusting, max_retries=0) as client,
    ):
        for _ in range(5):
            client.chat(**ASK)
    assert script.resumed == [False, True, False, True, True]


def test_a_session_that_was_forgotten_meanwhile_is_not_kept_by_one_that_resumed_it(
    place: Callable[..., ssl.SSLObject], client_tls: ssl.SSLContext
) -> None:
    """Nobody knows any more when the certificate was checked."""
    context = TLSContext(client_tls)
    place(context)
    resumed = place(context)
    assert resumed.session_reused
    context._sessions.forget(resumed)
    context._sessions.keep(resumed)
    assert not place(context).session_reused


def test_few_sessions_are_taken_from_a_server_that_resumes_none(
    place: Callable[..., ssl.SSLObject], client_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python leaks memory with each."""
    context = TLSContext(client_tls)
    for _ in range(tls_sessions.AT_ONCE):
        context._sessions.forget(place(context))
    place(context)
    assert not place(context).session_reused
    monkeypatch.setattr(tls_sessions, "EVERY", 1e-3)
    place(context)
    assert place(context).session_reused, "some time later"


def test_a_forked_child_begins_with_a_full_handshake(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    script = Closing()
    with Server(script, server_tls) as server, Client("k", base_url=server.url, verify=client_tls) as client:
        client.chat(**ASK)
        core_of(client).transport.after_fork()
        client.chat(**ASK)
    assert script.resumed == [False, False]


def test_certificates_are_loaded_once_a_client(
    server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[object] = []

    def load(self: ssl.SSLContext, *args: Any, **options: Any) -> None:
        loads.append(self)
        super(ssl.SSLContext, self).load_verify_locations(*args, **options)

    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load, raising=False)
    script = Closing()
    with (
        Server(script, server_tls) as server,
        Server(Tunnel(server.port), server_tls) as proxy,
        Client("k", base_url=server.url, verify=bundle, proxy=f"https://localhost:{proxy.port}") as client,
    ):
        for _ in range(5):
            client.chat(**ASK)
    assert len(script.resumed) == 5
    assert len(loads) == 1
