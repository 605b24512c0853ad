"""Answers that are not the final one: 1xx before it, on every way to the server."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import APIConnectionError, APIError, Client, ProtocolError, Timeout

from actors import ASK
from servers import Halt, Peer, Server, Tunnel, after, answer, chunks, head, json_answer, send_answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

MOST_INTERIM = 1000

HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
UNKNOWN = b"HTTP/1.1 199 Whatever\r\nx: y\r\n\r\n"


def saying(*interim: bytes) -> Callable[[Peer], None]:
    """Get a script that sends interim answers first, and then says which request it was."""

    requests = itertools.count(1)

    def script(peer: Peer) -> None:
        while peer.read_request():
            peer.send(*interim)
            peer.send(head(), chunks(answer(f"answer {next(requests)}")), b"0\r\n\r\n")

    return script


def texts(client: Client, count: int = 3) -> list[Any]:
    return [client.chat(**ASK)["content"][0]["text"] for _ in range(count)]


EXPECTED = ["answer 1", "answer 2", "answer 3"]


@pytest.mark.parametrize(
    "interim",
    [(HINTS,), (PROCESSING,), (CONTINUE,), (UNKNOWN,), (CONTINUE, HINTS, PROCESSING, HINTS), (HINTS,) * 100],
    ids=["103", "102", "100", "199", "several", "a hundred"],
)
def test_interim_answers_are_read_past_and_each_chat_gets_its_own(
    interim: tuple[bytes, ...], connect: Callable[..., Client]
) -> None:
    with Server(saying(*interim)) as server:
        assert texts(connect(server)) == EXPECTED


def test_an_interim_answer_in_pieces_is_read_past(connect: Callable[..., Client]) -> None:
    pieces = [HINTS[n : n + 1] for n in range(len(HINTS))]
    with Server(saying(*pieces)) as server:
        assert texts(connect(server)) == EXPECTED


def test_calls_read_past_them_too(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        count = 0
        while peer.read_request():
            count += 1
            peer.send(HINTS, json_answer("200 OK", {"input_tokens": count}))

    with Server(script) as server:
        client = connect(server)
        assert [client.count_tokens(**ASK)["input_tokens"] for _ in range(3)] == [1, 2, 3]
        assert server.connections == 1


def test_over_tls_and_through_proxies_too(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    script = saying(HINTS, PROCESSING)
    with Server(script, server_tls) as server:
        with Client("k", base_url=server.url, verify=client_tls) as client:
            assert texts(client) == EXPECTED
        with (
            Server(Tunnel(server.port)) as proxy,
            Client("k", base_url=server.url, proxy=proxy.url, verify=client_tls) as client,
        ):
            assert texts(client) == ["answer 4", "answer 5", "answer 6"]
    with Server(saying(HINTS)) as plain, Client("k", base_url="http://api.invalid", proxy=plain.url) as client:
        assert texts(client) == EXPECTED


def test_a_proxy_may_send_them_before_it_opens_the_tunnel(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    class Hinting(Tunnel):
        def __call__(self, peer: Peer) -> None:
            peer.send(HINTS)
            super().__call__(peer)

    with (
        Server(saying(), server_tls) as server,
        Server(Hinting(server.port)) as proxy,
        Client("k", base_url=server.url, proxy=proxy.url, verify=client_tls) as client,
    ):
        assert texts(client) == EXPECTED


@pytest.mark.parametrize("cut", [b"HTTP/1.1 103 Ea", HINTS[:40], HINTS[:-2], HINTS], ids=["1", "2", "3", "between"])
def test_one_that_is_cut_is_a_connection_error(cut: bytes, connect: Callable[..., Client]) -> None:
    with Server(after(cut)) as server, pytest.raises(APIConnectionError) as caught:
        connect(server).chat(**ASK)
    assert caught.value.retryable


def test_there_is_an_end_to_them(connect: Callable[..., Client]) -> None:
    with (
        Server(Halt(PROCESSING * (MOST_INTERIM + 1))) as server,
        pytest.raises(ProtocolError, match=f"more than {MOST_INTERIM} responses of status"),
    ):
        connect(server).chat(**ASK)


def test_those_that_keep_coming_do_not_put_off_the_timeout(connect: Callable[..., Client]) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        for _ in range(MOST_INTERIM):
            peer.send(PROCESSING)
            peer.sock.settimeout(0.01)
            try:
                if not peer.sock.recv(1):
                    return
            except TimeoutError:
                pass

    with Server(script) as server, pytest.raises(APIError, match=r"timeout\.first_byte"):
        connect(server, timeout=Timeout(first_byte=0.3)).chat(**ASK)


def test_a_switch_of_protocols_is_an_error_and_its_connection_is_not_used_again(connect: Callable[..., Client]) -> None:
    """Whatever follows it is no HTTP."""

    def script(peer: Peer) -> None:
        peer.read_request()
        if peer.number == 1:
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")
            send_answer(peer, "of nobody")
            peer.wait_for_hang_up()
        else:
            send_answer(peer, "mine")

    with Server(script) as server:
        client = connect(server)
        with pytest.raises(APIError) as caught:
            client.chat(**ASK)
        assert caught.value.status == 101
        assert texts(client, 1) == ["mine"]
    assert server.connections == 2
