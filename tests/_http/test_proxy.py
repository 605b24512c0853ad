"""Which proxy is used, who says so, and how it is named when it fails."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import APIConnectionError, APIError, AuthenticationError, Client, ConfigurationError
from anthropix_actors._http.proxy import Proxy, proxy_for

from actors import ASK, Inbox
from servers import (
    DEADLINE,
    Halt,
    Peer,
    Server,
    Tunnel,
    acquire,
    after,
    answering,
    error_body,
    head,
    json_answer,
    pump,
    wait,
)

if TYPE_CHECKING:
    import ssl


@pytest.fixture
def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("named", "base_url", "kept"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8081", False),
        ("127.0.0.1:443", "https://127.0.0.1", True),
        ("127.0.0.1", "http://127.0.0.1:8080", True),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]", "http://[::1]:8080", True),
        ("::1", "http://[::1]:8080", True),
        ("x.example, 127.0.0.1:8080 ", "http://127.0.0.1:8080", True),
        ("api.example:8080", "http://api.example:8080", True),
        ("API.example", "http://api.example", True),
        (".example", "http://api.example", True),
        ("", "http://api.example", False),
    ],
)
def test_no_proxy_is_kept(named: str, base_url: str, *, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", named)
    found = proxy_for(base_url, None)
    assert (found is None) is kept
    assert kept or str(found) == "the proxy http://proxy.example:3128 (from ALL_PROXY)"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_an_error_names_the_dead_proxy_and_the_variable(name: str, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"http://user:geheim99@{dead}")
    with (
        Client("k", base_url="http://api.invalid", max_retries=0) as client,
        pytest.raises(APIConnectionError) as caught,
    ):
        client.chat(**ASK)
    assert str(caught.value).startswith(f"no connection to the proxy http://{dead} (from {name}): ")
    assert "geheim99" not in str(caught.value) + repr(client)
    assert caught.value.unsent


@pytest.mark.parametrize("proxy", ["http://proxy.invalid:3128", "proxy.invalid"])
def test_a_proxy_whose_name_is_unknown_is_named(proxy: str) -> None:
    with (
        Client("k", base_url="https://api.invalid", proxy=proxy, max_retries=0) as client,
        pytest.raises(APIConnectionError, match=r"the name of the proxy http://proxy.invalid\S* \(as passed to the c"),
    ):
        client.chat(**ASK)


MALFORMED = [
    "http://",
    "http://[::1",
    "http://h:x",
    "http://h:0",
    "http://h:99999",
    "http://a b",
    "http://h/path",
    "http://h?q",
    "h#f",
    ":::",
    "//h",
    "ht!tp://h",
]


@pytest.mark.parametrize("odd", MALFORMED)
def test_what_is_no_proxy_is_found_when_the_client_is_made(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"^proxy: expected a proxy's URL"):
        Client("k", proxy=odd)
    monkeypatch.setenv("https_proxy", odd)
    with pytest.raises(ConfigurationError, match=r"^https_proxy of the environment: expected a proxy's URL"):
        Client("k")
    Client("k", proxy="").close()
    monkeypatch.setenv("no_proxy", "api.anthropic.com")
    Client("k").close()


@pytest.mark.parametrize(
    "url", ["http://user:geheim/99@h:3128", "http://user:geheim#99@h", "http://us er:geheim99@h:x"]
)
def test_a_password_that_is_not_quoted_is_named_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        Client("k", proxy=url)
    assert "geheim" not in str(caught.value)


def test_what_is_no_text_is_no_proxy() -> None:
    with pytest.raises(ConfigurationError, match=r"^proxy: expected a URL, .* got dict"):
        Client("k", proxy={"http": "x"})  # type: ignore[arg-type]


def test_a_user_that_fits_no_header_is_found_when_the_client_is_made() -> None:
    with pytest.raises(ConfigurationError, match=r"base_url or the proxy http://h .*UnicodeEncodeError"):
        Client("k", proxy="http://\u0416:x@h")


def test_a_proxy_hides_its_password() -> None:
    assert repr(proxy_for("http://x", "http://u:geheim@h:1")) == "Proxy('http://h:1', 'proxy')"
    assert str(Proxy("x", "the system's settings", "http://h")) == "the proxy http://h (from the system's settings)"


def test_one_that_no_variable_names_comes_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS and Windows."""
    monkeypatch.setattr("anthropix_actors._http.proxy.getproxies", lambda: {"http": "http://h:1"})
    assert str(proxy_for("http://x", None)) == "the proxy http://h:1 (from the system's settings)"


def test_a_plain_proxy_that_asks_for_credentials_says_that_it_was_the_proxy() -> None:
    with (
        Server(after(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")) as proxy,
        Client("k", base_url="http://api.invalid", proxy=proxy.url, max_retries=0) as client,
        pytest.raises(
            APIError, match=rf"the proxy {proxy.url} \(as passed .*\) asks for a user and a password"
        ) as caught,
    ):
        client.chat(**ASK)
    assert (caught.value.status, caught.value.retryable) == (407, False)


@pytest.mark.parametrize("base_url", ["http://api.invalid", "https://api.invalid"])
def test_where_the_password_of_a_proxy_goes_is_said_and_it_is_not_repeated(
    base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = after(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
    said = []
    with Server(asks) as proxy:
        for user in ("", "user:geheim99@"):
            monkeypatch.setenv("ALL_PROXY", f"http://{user}127.0.0.1:{proxy.port}")
            with Client("k", base_url=base_url, max_retries=0) as client, pytest.raises(APIError) as caught:
                client.chat(**ASK)
            assert f'set ALL_PROXY="http://user:password@127.0.0.1:{proxy.port}"' in str(caught.value)
            said.append(str(caught.value))
    assert "its URL has none" in said[0]
    assert "it did not take those of its URL" in said[1]
    assert "geheim99" not in said[1]
    assert 'pass proxy="http://user:password@h:1"' in Proxy("http://h:1", "the system's settings", "http://h:1").advice


def test_a_plain_proxy_that_answers_itself_may_be_the_one_who_refuses() -> None:
    """tinyproxy says 401."""
    page = json_answer("401 Unauthorized", b"<h1>Access denied</h1>")
    with (
        Server(after(page)) as proxy,
        Client("k", base_url="http://api.invalid", proxy=proxy.url, max_retries=0) as client,
        pytest.raises(AuthenticationError, match=rf"Access denied.*perhaps sent by the proxy {proxy.url}"),
    ):
        client.chat(**ASK)


def test_an_error_in_the_apis_words_is_the_apis() -> None:
    refused = json_answer("401 Unauthorized", error_body("authentication_error", "no such key"))
    with Server(after(refused)) as proxy:
        with (
            Client("k", base_url="http://api.invalid", proxy=proxy.url, max_retries=0) as client,
            pytest.raises(AuthenticationError, match="no such key") as caught,
        ):
            client.chat(**ASK)
    assert "proxy" not in str(caught.value)


def test_behind_a_tunnel_the_proxy_says_nothing(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext) -> None:
    with (
        Server(after(json_answer("401 Unauthorized", b"x")), server_tls) as server,
        Server(Tunnel(server.port)) as proxy,
        Client("k", base_url=server.url, proxy=proxy.url, verify=client_tls, max_retries=0) as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        client.chat(**ASK)
    assert "proxy" not in str(caught.value)


def test_the_certificate_of_an_encrypted_proxy_may_be_the_wrong_one(server_tls: ssl.SSLContext) -> None:
    with (
        Server(answering("x"), server_tls) as proxy,
        Client("k", base_url="http://api.invalid", proxy=f"https://localhost:{proxy.port}", max_retries=0) as client,
        pytest.raises(APIConnectionError, match=r"the certificate of the proxy https://localhost:\d+ .* not trusted"),
    ):
        client.chat(**ASK)


def test_an_encrypted_proxy_opens_a_tunnel_too(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with (
        Server(answering("through two layers"), server_tls) as server,
        Server(Tunnel(server.port), server_tls) as proxy,
        Client("k", base_url=server.url, proxy=f"https://localhost:{proxy.port}", verify=client_tls) as client,
    ):
        for _ in range(2):
            chat = client.chat(**ASK, stream=Inbox())
            message: Any = chat.result(DEADLINE)
            assert message["content"][0]["text"] == "through two layers"
            wait(chat.actor_stopped)  # the connection is given back after the answer
    assert server.connections == 1


def test_an_answer_that_is_not_read_to_its_end_is_reset_through_two_layers(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Seen below both of them. Of the body of an error, 1 MiB is read."""
    ends: list[str] = []

    def relay(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", proxy.port)) as upstream:
            back = threading.Thread(target=pump, args=(upstream, peer.sock))
            back.start()
            try:
                while data := peer.sock.recv(65536):
                    upstream.sendall(data)
                ends.append("closed")
            except ConnectionResetError:
                ends.append("reset")
            upstream.shutdown(socket.SHUT_RDWR)
            back.join(DEADLINE)

    response = head("500 No", framing="9999999", content_type="text/plain")
    with (
        Server(Halt(response, b"x" * (1 << 20)), server_tls) as server,
        Server(Tunnel(server.port), server_tls) as proxy,
        Server(relay) as way,
        Client(
            "k", base_url=server.url, proxy=f"https://localhost:{way.port}", verify=client_tls, max_retries=0
        ) as client,
    ):
        with pytest.raises(APIError):
            client.chat(**ASK)
        acquire(way.hung_up)
    assert ends == ["reset"]


def test_a_proxy_may_have_an_ipv6_address(client_tls: ssl.SSLContext, server_tls: ssl.SSLContext) -> None:
    with Server(answering("Hi"), server_tls) as server, Server(Tunnel(server.port), family=socket.AF_INET6) as proxy:
        url = f"http://[::1]:{proxy.port}"
        with Client("k", base_url=server.url, proxy=url, verify=client_tls, max_retries=0) as client:
            assert client.chat(**ASK)["stop_reason"] == "end_turn"
