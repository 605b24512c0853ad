"""The emulator over TLS: its URL, its certificate, and what ends it. Faults over TLS are in test_faults.py."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from anthropix_actors import APIConnectionError, Client, ConfigurationError, TruncatedError
from anthropix_actors.emulator import Drop, Emulator, Reset, Stall

from servers import DEADLINE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import trustme

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}

HEAD = (
    b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: any\r\nanthropic-version: 2023-06-01\r\n"
    b"content-type: application/json\r\n"
)


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """A folder with certificates and keys."""
    one, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    one.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    one.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    one.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "other.pem"))
    key = load_pem_private_key(one.private_key_pem.bytes(), None)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / "secret.pem").write_bytes(secret)
    (tmp_path / "text.pem").write_text("no PEM")
    return tmp_path


@pytest.mark.parametrize(("certfile", "keyfile"), [("both.pem", None), ("cert.pem", "key.pem")])
def test_it_speaks_tls_with_a_certificate(
    folder: Path, connect: Callable[..., Client], certfile: str, keyfile: str | None
) -> None:
    with Emulator(certfile=folder / certfile, keyfile=str(folder / keyfile) if keyfile else None) as emulator:
        assert re.fullmatch(r"https://localhost:\d+", emulator.url)
        client = connect(emulator.url, verify=folder / "ca.pem")
        assert client.chat(**ASK)["stop_reason"] == "end_turn"
        batch = client.batches.create([{"custom_id": "a", "params": ASK}])
        url = client.batches.retrieve(batch)["results_url"]
        assert url is not None
        assert url.startswith(emulator.url)
        with pytest.raises(APIConnectionError, match="certificate"):
            connect(emulator.url).chat(**ASK)


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1"),
        ("0.0.0.0", True, "https://localhost"),
        ("127.0.0.2", True, "https://127.0.0.2"),
    ],
)
def test_the_url_has_the_name_that_a_certificate_is_for(folder: Path, host: str, url: str, *, tls: bool) -> None:
    with Emulator(host=host, certfile=folder / "both.pem" if tls else None) as emulator:
        assert emulator.url.rpartition(":")[0] == url


def test_a_client_of_the_library_sees_the_faults_over_tls(folder: Path, connect: Callable[..., Client]) -> None:
    with Emulator(certfile=folder / "both.pem") as emulator:
        client = connect(emulator.url, verify=folder / "ca.pem")
        emulator.queue(Drop("A text.", after_events=4), Reset("A text.", after_events=4), Drop(), Reset(), Stall())
        for fault in (TruncatedError, APIConnectionError, APIConnectionError, APIConnectionError):
            with pytest.raises(fault):
                client.chat(**ASK)
        with client.chat(**ASK, stream=True):
            emulator.wait_for_requests(5, DEADLINE)
        emulator.wait_for_hangups(1, DEADLINE)


def test_it_stops_beside_a_client_that_does_not_shake_hands(folder: Path, connect: Callable[..., Client]) -> None:
    with Emulator(certfile=folder / "both.pem") as emulator:
        with socket.create_connection(("127.0.0.1", urlsplit(emulator.url).port), timeout=DEADLINE) as silent:
            connect(emulator.url, verify=folder / "ca.pem").chat(**ASK)  # the silent one is accepted before
            emulator.stop(DEADLINE)
            assert silent.recv(1) == b""


def test_it_stops_beside_a_client_that_leaves_its_end_open(folder: Path, client_tls: ssl.SSLContext) -> None:
    with Emulator(certfile=folder / "both.pem") as emulator:
        emulator.queue(Drop("A text.", after_events=0))
        with (
            socket.create_connection(("127.0.0.1", urlsplit(emulator.url).port), timeout=DEADLINE) as plain,
            client_tls.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            body = json.dumps({**ASK, "max_tokens": 9, "stream": True}).encode()
            client.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
            while client.recv(1000):
                pass
            emulator.stop(DEADLINE)


def test_the_command_on_the_page_makes_a_certificate_of_its_own(tmp_path: Path, connect: Callable[..., Client]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text("utf-8")
    (command,) = re.findall(r"^\$ (openssl .*)$", page, re.MULTILINE)
    subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True, timeout=DEADLINE)
    with Emulator(certfile=tmp_path / "cert.pem", keyfile=tmp_path / "key.pem") as emulator:
        client = connect(emulator.url, verify=tmp_path / "cert.pem")
        assert client.chat(**ASK)["stop_reason"] == "end_turn"


WRONG: list[tuple[Any, Any, str]] = [
    ("none.pem", None, "certfile: no such file: .*none.pem"),
    ("", None, "certfile: no such file: "),
    ("both.pem", "none.pem", "keyfile: no such file: .*none.pem"),
    (7, None, "certfile: expected the path of a file, got int"),
    ("-----BEGIN CERTIFICATE-----", None, "certfile: expected the path of a file, got its text"),
    (None, "key.pem", "keyfile: a key without a certificate: give certfile, too"),
    ("text.pem", "key.pem", "certfile: no certificate can be read from .*text.pem"),
    ("key.pem", "cert.pem", "certfile: no certificate can be read from .*key.pem"),
    ("cert.pem", None, "certfile: no key that can be used is in .*cert.pem"),
    ("cert.pem", "text.pem", "keyfile: no key that can be used is in .*text.pem"),
    ("cert.pem", "other.pem", "keyfile: the key in .*other.pem is not that of the certificate"),
    ("cert.pem", "secret.pem", "keyfile: the key in .*secret.pem has a password: give a file without one"),
]


@pytest.mark.parametrize(("certfile", "keyfile", "text"), WRONG)
def test_files_that_cannot_be_used_are_told_before_anything_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, certfile: Any, keyfile: Any, text: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigurationError, match=text):
        Emulator(certfile=certfile, keyfile=keyfile)


def test_a_certificate_that_is_gone_is_told_when_it_starts(folder: Path) -> None:
    emulator = Emulator(certfile=folder / "both.pem")
    (folder / "both.pem").unlink()
    threads = threading.active_count()
    with pytest.raises(FileNotFoundError):
        emulator.start()
    assert threading.active_count() == threads
