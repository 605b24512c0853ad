"""Which certificates are trusted, and which libraries."""

from __future__ import annotations

import datetime as dt
import os
import ssl
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import certifi
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from anthropix_actors import APIConnectionError, Client, ConfigurationError
from anthropix_actors._http.trust import about_certificate

from actors import ASK
from servers import Peer, Server, answering, send_answer

if TYPE_CHECKING:
    from pathlib import Path


class Bundle:
    """A path of a kind that gives bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self.path)


def test_false_is_refused_with_advice() -> None:
    for url in ("https://x", "http://x"):
        with pytest.raises(ConfigurationError, match=r"^verify: False would .* ssl\.SSLContext"):
            Client("k", base_url=url, verify=False)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # it is said, each time
def test_the_advice_works(server_tls: ssl.SSLContext) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with Server(answering("x"), server_tls) as server, Client("k", base_url=server.url, verify=context) as client:
        assert client.chat(**ASK)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("odd", [5, [], object(), 0, "", ("client.pem", "client.key")])
def test_what_is_neither_is_refused(odd: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^verify: expected the path of a CA bundle, .* got "):
        Client("k", verify=odd)


def test_variables_are_read_in_their_order(
    tmp_path: Path,
    authority: trustme.CA,
    server_tls: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    authority.cert_pem.write_to_path(str(good))
    bad.write_text("no certificate")
    with Server(answering("x"), server_tls) as server:
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, str(bad))
            with pytest.raises(ConfigurationError, match=rf"^{name}: no certificates can be read from {bad}"):
                Client("k", base_url=server.url)
            monkeypatch.setenv(name, str(good))
            for verify in (None, True):
                with Client("k", base_url=server.url, verify=verify) as client:
                    assert client.chat(**ASK)["stop_reason"] == "end_turn"
        in_bytes: Any = Bundle(good)
        Client("k", base_url=server.url, verify=in_bytes).close()
        with pytest.raises(ConfigurationError, match=r"^verify: no certificates can be read"):
            Client("k", base_url=server.url, verify=bad)


def test_where_nothing_is_encrypted_nothing_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    with Server(answering("x")) as server, Client("k", base_url=server.url, verify=tmp_path / "bad.pem") as client:
        assert client.chat(**ASK)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("hook", ["build_connection_pool_key_attributes", "get_connection_with_tls_context"])
def test_a_requests_that_would_ignore_the_certificates_is_refused(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HTTPAdapter, hook)
    with pytest.raises(ConfigurationError, match=r"^requests [\d.]+ is too old: install requests >= 2\.32\.3$"):
        Client("k")


def test_a_urllib3_that_cannot_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in HTTPResponse.__mro__:
        if "read1" in vars(kind):
            monkeypatch.delattr(kind, "read1")
    with pytest.raises(ConfigurationError, match=r"^urllib3 [\d.]+ is too old: install urllib3 >= 2\.2$"):
        Client("k")


OLD = """
import urllib3, urllib3.exceptions
del urllib3.exceptions.NameResolutionError, urllib3.HTTPResponse.read1
if hasattr(urllib3, "BaseHTTPResponse"):
    del urllib3.BaseHTTPResponse.read1
import anthropix_actors, anthropix_actors.emulator.pytest_plugin
try:
    anthropix_actors.Client("k")
except anthropix_actors.ConfigurationError as exc:
    print(exc)
"""


def test_with_the_urllib3_of_before_2_the_import_works_and_a_client_says_what_to_install() -> None:
    """It lacks these two names; a test run of somebody's, who has the pytest plugin installed, goes on."""
    done = subprocess.run([sys.executable, "-P", "-c", OLD], capture_output=True, text=True, check=True, timeout=60)
    assert "install urllib3 >= 2.2" in done.stdout


FRESH = """
import ssl, sys, threading
from anthropix_actors import APIConnectionError, Client, ConfigurationError
from anthropix_actors._http.trust import about_certificate
assert "requests" not in sys.modules

create, loaded_in = ssl.create_default_context, []
def create_default_context(**more):
    loaded_in.append(threading.current_thread().name)
    return create(**more)
ssl.create_default_context = create_default_context

if sys.argv[1] == "no thread":
    def start(thread):
        raise RuntimeError("can't start new thread")
    threading.Thread.start, start = start, threading.Thread.start
for _ in range(2):
    try:
        client = Client("k", base_url=sys.argv[2])
    except ConfigurationError as exc:
        print(exc)
        break
    assert "requests" in sys.modules
else:
    if sys.argv[1] == "no thread":
        threading.Thread.start = start
    if sys.argv[1] != "none":
        print(client.chat(model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}])["stop_reason"])
print(loaded_in)
"""


def fresh(way: str, url: str, bundle: Path) -> list[str]:
    """Make two clients in a process that has not imported requests; return what it printed."""
    environment = {**os.environ, "SSL_CERT_FILE": str(bundle)}
    command = [sys.executable, "-P", "-c", FRESH, way, url]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()


BESIDE = "anthropix-certificates"


def test_a_fresh_process_loads_certificates_while_it_imports_requests(
    tmp_path: Path, authority: trustme.CA, server_tls: ssl.SSLContext
) -> None:
    authority.cert_pem.write_to_path(str(bundle := tmp_path / "good.pem"))
    with Server(answering("x"), server_tls) as server:
        assert fresh("beside", server.url, bundle) == ["end_turn", f"['{BESIDE}', 'MainThread']"]
        assert fresh("no thread", server.url, bundle) == ["end_turn", "['MainThread', 'MainThread']"]
    assert fresh("none", "http://127.0.0.1:9", bundle) == ["[]"]


def test_a_fresh_process_is_told_of_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    (bundle := tmp_path / "bad.pem").write_text("no certificate")
    said, loaded_in = fresh("beside", "https://127.0.0.1:9", bundle)
    assert said.startswith(f"SSL_CERT_FILE: no certificates can be read from {bundle}: ")
    assert loaded_in == f"['{BESIDE}', 'MainThread']"


SLOW = """
import os, ssl, sys, threading
from anthropix_actors import Client, ConfigurationError

create, began, loaded = ssl.create_default_context, threading.Event(), []
def create_default_context(**more):
    began.set()
    threading.Event().wait(0.5)
    loaded.append(create(**more))
    return loaded[0]
ssl.create_default_context = create_default_context
"""

FAILS = """
try:
    Client("k", proxy="socks5://x")
except ConfigurationError:
    print(len(loaded))
"""

FORKS = """
thread = threading.Thread(target=Client, args=("k",))
thread.start()
began.wait()
child = os.fork()
if not child:
    os._exit(len(loaded))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
"""


@pytest.mark.parametrize("then", [FAILS, FORKS], ids=["a client that cannot be made", "a fork"])
def test_certificates_that_are_being_loaded_are_waited_for(then: str) -> None:
    """A process that ends in the middle may crash, in OpenSSL; a child would find OpenSSL's locks held."""
    command = [sys.executable, "-P", "-W", "ignore", "-c", SLOW + then]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "1\n"


def failing(server: Server, verify: Any) -> str:
    """Chat, in vain: a certificate that is wrong stays so. Return the error's text."""
    with (
        Client("k", base_url=f"https://localhost:{server.port}", verify=verify) as client,
        pytest.raises(APIConnectionError) as caught,
    ):
        client.chat(**ASK)
    assert (caught.value.retryable, caught.value.attempts, caught.value.unsent) == (False, 1, True)
    return caught.value.message


def test_an_error_says_what_a_certificate_was_checked_against(
    tmp_path: Path, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(str(bundle := tmp_path / "x.pem"))
    for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    own = "If it is signed by an authority of your own,"
    with Server(answering("x"), server_tls) as server:
        text = failing(server, None)
        assert text.startswith("the server's certificate is not trusted: [SSL: CERTIFICATE_VERIFY_FAILED]")
        assert f"checked against {certifi.where()} (certifi's). {own} pass its bundle: Client(verify=path)" in text
        text = failing(server, bundle)
        assert f"against {bundle} (as passed to the client). {own} add its certificate to this bundle" in text
        text = failing(server, ssl.create_default_context())
        assert f"against the context passed as verify. {own} load its bundle into the context: context.load_v" in text
        monkeypatch.setenv("CURL_CA_BUNDLE", str(bundle))
        assert f"against {bundle} (from CURL_CA_BUNDLE). {own} pass its bundle" in failing(server, None)


@pytest.mark.parametrize(("begins", "ends", "says"), [(-9, -2, "has expired, or"), (2, 9, "is not valid yet")])
def test_a_certificate_out_of_its_time_is_said_to_be_that(
    begins: int, ends: int, says: str, authority: trustme.CA, client_tls: ssl.SSLContext
) -> None:
    serving, now = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), dt.datetime.now(dt.UTC)
    begin, end = (now + dt.timedelta(days=days) for days in (begins, ends))
    authority.issue_cert("localhost", not_before=begin, not_after=end).configure_cert(serving)
    with Server(answering("x"), serving) as server:
        text = failing(server, client_tls)
    assert text.startswith(f"the server's certificate {says}")
    assert "clock" in text
    assert "not trusted" not in text


def test_a_certificate_for_another_name_is_said_to_be_that(authority: trustme.CA, client_tls: ssl.SSLContext) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(serving)
    with Server(answering("x"), serving) as server:
        text = failing(server, client_tls)
    assert text.startswith("the server's certificate is for another name than that of the URL: [SSL")
    assert "subjectAltName" in text
    assert "not trusted" not in text


def test_what_has_no_code_is_not_trusted() -> None:
    """As of contexts that ask the system, such as truststore's on macOS."""
    assert about_certificate(ssl.SSLCertVerificationError("no"), None) == "is not trusted: ('no',)"


def test_a_name_that_is_only_in_a_certificates_cn_does_not_count(tmp_path: Path) -> None:
    """A context of the caller's is left as it is."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (bundle := tmp_path / "own.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (private := tmp_path / "key.pem").write_bytes(key.private_bytes(*form))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(bundle, private)
    with Server(answering("x"), serving) as server:
        assert "Only names in its subjectAltName count, not its CN" in failing(server, bundle)
        context = ssl.create_default_context(cafile=str(bundle))
        with Client("k", base_url=f"https://localhost:{server.port}", verify=context) as client:
            assert client.chat(**ASK)["stop_reason"] == "end_turn"
        assert context.hostname_checks_common_name


def test_a_path_that_cannot_be_looked_at_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / ("x" * 300), "in\0valid"):  # a name that is too long, and one that is none
        with pytest.raises(ConfigurationError, match=r"^verify: no "):
            Client("k", verify=path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / ("y" * 300)))
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_FILE: no "):
        Client("k")


def test_a_context_from_before_its_class_was_replaced_is_one(
    trusting: ssl.SSLContext, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `truststore.inject_into_ssl` replaces it."""
    another = type("SSLContext", (ssl.SSLContext,), {})
    with Server(answering("x"), server_tls) as server:
        monkeypatch.setattr(ssl, "SSLContext", another)
        with Client("k", base_url=server.url, verify=trusting) as client:
            assert client.chat(**ASK)["stop_reason"] == "end_turn"


def test_a_context_that_was_made_strict_stays_so(server_tls: ssl.SSLContext) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        warnings.catch_warnings(action="ignore"),
        Server(closing, server_tls) as server,
        Client("k", base_url=server.url, verify=context, max_retries=0) as client,
    ):
        assert client.chat(**ASK)["stop_reason"] == "end_turn"
        context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
        with pytest.raises(APIConnectionError, match="is not trusted"):
            client.chat(**ASK)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def closing(peer: Peer) -> None:
    """Answer, and close the connection: the next chat makes another."""
    peer.read_request()
    send_answer(peer, "x")
