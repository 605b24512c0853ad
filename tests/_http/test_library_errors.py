"""Which failures of the libraries are worth another attempt, and what their texts say to do."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from anthropix_actors import APIConnectionError, APITimeoutError, Client, Timeout

from actors import ASK
from records import ALERT, FATAL, HANDSHAKE, Encrypted
from servers import DEADLINE, Peer, Server, answer, answering, chunks, head

if TYPE_CHECKING:
    from collections.abc import Callable

PERMANENT = {
    **dict.fromkeys((41, 116), "wants a certificate of the client: .*load_cert_chain"),
    **dict.fromkeys((42, 43, 44, 45, 46, 48, 49), "does not accept the client's certificate, .*load_cert_chain"),
    **dict.fromkeys((40, 71), "has no cipher in common with the client, or wants a certificate .*load_cert_chain"),
    70: "and the client have no version of TLS in common",
    112: "does not know the name in the URL",
    120: "does not offer HTTP/1.1",
}
"""Alerts that every attempt would get, and what is said to them. Source: RFC 8446, 6.2, read 2026-11-28."""

PASSING = (10, 20, 21, 22, 30, 47, 50, 51, 80, 86, 90, 109, 110, 113, 115)
UNKNOWN_CA = 48

OLD_HELLO = bytes([HANDSHAKE, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1, *range(32), 0, 0, 0x2F, 0])
"""A server's hello of TLS 1.0."""


def failing(client: Client) -> APIConnectionError:
    """Chat; return the error."""
    with pytest.raises(APIConnectionError) as caught:
        client.chat(**ASK)
    return caught.value


def to_a_hello(reply: bytes) -> Callable[[Peer], None]:
    """Get a script that replies to a client's hello."""

    def script(peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.send(reply)

    return script


@pytest.mark.parametrize("code", [*PERMANENT, *PASSING])
def test_a_handshake_is_tried_again_unless_it_was_refused_for_good(code: int, client_tls: ssl.SSLContext) -> None:
    with (
        Server(to_a_hello(bytes([ALERT, 3, 3, 0, 2, FATAL, code]))) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=client_tls, max_retries=0) as client,
    ):
        error = failing(client)
    assert error.message.startswith("TLS failed: SSLError: [SSL")
    assert error.retryable is (code in PASSING)
    assert error.unsent is ("The server" in error.message) is (code in PERMANENT)
    assert re.search(rf"\. The server {PERMANENT[code]}" if code in PERMANENT else r"\(_ssl.c:\d+\)$", error.message)


def test_a_client_certificate_of_a_stranger_is_refused_for_good(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    """With TLS 1.3 that is said in place of the response."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(serving)
    serving.verify_mode = ssl.CERT_REQUIRED
    trustme.CA().issue_cert("client@example.org").configure_cert(trusting)
    with Server(answering("x"), serving) as server, Client("k", base_url=server.url, verify=trusting) as client:
        error = failing(client)
    assert "ALERT_UNKNOWN_CA" in error.message
    assert "does not accept the client's certificate" in error.message
    assert (error.retryable, error.attempts) == (False, 1)


def test_an_alert_within_a_response_is_not_about_the_handshake(
    authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    certificate = authority.issue_cert("localhost")

    def script(peer: Peer) -> None:
        far = Encrypted(peer.sock, certificate, ssl.TLSVersion.TLSv1_3)
        far.recv(65536)
        far.sendall(head() + chunks(answer("Hi")[:3]))
        far.put(far.keys.record(bytes([FATAL, UNKNOWN_CA]), ALERT))

    with (
        Server(script) as server,
        Client("k", base_url=f"https://localhost:{server.port}", verify=client_tls, max_retries=0) as client,
    ):
        error = failing(client)
    assert "ALERT_UNKNOWN_CA" in error.message
    assert "certificate" not in error.message
    assert error.retryable


@pytest.mark.parametrize("whose", ["the server's alert", "the server's hello", "the context"])
def test_versions_of_tls_that_differ_do_so_at_each_attempt(whose: str, authority: trustme.CA) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    serving.maximum_version = ssl.TLSVersion.TLSv1_2
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if whose != "the server's hello":
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if whose == "the context":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    made = Server(to_a_hello(OLD_HELLO)) if whose == "the server's hello" else Server(answering("x"), serving)
    with made as server, Client("k", base_url=f"https://localhost:{server.port}", verify=context) as client:
        error = failing(client)
    assert "The server and the client have no version of TLS in common: Client(verify=ssl.SSLContext)" in error.message
    assert (error.retryable, error.attempts, error.unsent) == (False, 1, True)


def test_a_tunnel_that_is_not_opened_in_time_is_said_to_be_that() -> None:
    with (
        Server(lambda peer: peer.wait_for_hang_up()) as proxy,
        Client(
            "k", base_url="https://api.invalid", proxy=proxy.url, max_retries=0, timeout=Timeout(connect=0.1)
        ) as client,
    ):
        error = failing(client)
    assert (
        error.message
        == f"the proxy {proxy.url} (as passed to the client) opened no tunnel within 0.1 s (timeout.connect)"
    )
    assert isinstance(error, APITimeoutError)
    assert (error.retryable, error.unsent) == (True, True)


OUT_OF_DESCRIPTORS = """
import os, resource, sys
from anthropix_actors import APIConnectionError, Client

def used():
    return len(os.listdir("/proc/self/fd"))

ask = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
with Client("k", base_url=sys.argv[1], max_retries=0) as client:
    before = used()
    with client.chat(**ask, stream=True) as stream:
        next(iter(stream))
        print(used() - before)
    # One is left, as glibc opens a file when the first thread ends, or aborts.
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        client.chat(**ask, stream=True).message()
    except APIConnectionError as exc:
        print(exc, exc.retryable)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_too_many_open_files_are_said_what_helps() -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(), chunks(answer("Hi")[:3]))
        peer.wait_for_hang_up()

    with Server(script) as server:
        command = [sys.executable, "-P", "-c", OUT_OF_DESCRIPTORS, server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE)
    held, said = done.stdout.splitlines()
    assert held == "2"
    assert said.startswith("no connection: OSError: [Errno 24] Too many open files. A chat holds two descriptors: ")
    assert "ulimit -n" in said
    assert "max_concurrency" in said
