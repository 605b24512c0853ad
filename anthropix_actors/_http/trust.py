"""Which certificates a client trusts, as set by the caller or by the environment, and how they are loaded."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import certifi

from anthropix_actors._foreign.threads import start_thread
from anthropix_actors.errors import ConfigurationError

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name certificates: requests' first, then OpenSSL's own."""


_ANY_CONTEXT: Any = next(kind for kind in ssl.SSLContext.__mro__ if kind.__module__ == "_ssl")
"""Of all contexts: a program may put another class in the place of `ssl.SSLContext`, as truststore does."""

_EXPIRED, _NOT_YET, _OTHER_NAME = 10, 9, (62, 64)
"""OpenSSL's codes for certificates that are out of date, early, or of another host name or IP address."""


class Trust:
    """The certificates that a client trusts. One thread uses it; what it says, any.

    Args:
        verify: A CA bundle's path, or a context; None or True takes the environment's bundle, or certifi's.

    Raises:
        ConfigurationError: `verify` is of a wrong type, or the path does not exist.
    """

    def __init__(self, verify: Any = None) -> None:
        """Find them; they are not read yet."""
        self._certificates = trusted(verify)
        self._context: ssl.SSLContext | None = None

    def __str__(self) -> str:
        """Return what a server's certificate is checked against, for errors."""
        if not isinstance(self._certificates, tuple):
            return "the context passed as verify"
        path, name = self._certificates
        where = {"verify": "as passed to the client", "certifi": "certifi's"}.get(name, f"from {name}")
        return f"{path} ({where})"

    @property
    def advice(self) -> str:
        """What to do where a server's certificate is not trusted that should be."""
        if not isinstance(self._certificates, tuple):
            what = "load its bundle into the context: context.load_verify_locations(path)"
        elif self._certificates[1] == "verify":
            what = "add its certificate to this bundle"
        else:
            what = "pass its bundle: Client(verify=path)"
        return f"If it is signed by an authority of your own, {what}"

    @contextlib.contextmanager
    def loading(self, *, beside: bool) -> Generator[None]:
        """Load them in a thread of its own meanwhile, if `beside`.

        OpenSSL needs 20 ms for some 140 certificates, and not the interpreter's lock. So a fresh process can import
        meanwhile what it needs as well. Whatever happens then, the thread is waited for: a process that ends while
        OpenSSL is in the middle of that may crash.
        """
        thread: threading.Thread | None = None
        if beside:
            with contextlib.suppress(RuntimeError):  # no thread: `context` loads them
                thread = start_thread(self._load, "anthropix-certificates")
        try:
            yield
        finally:
            if thread is not None:
                thread.join()

    def _load(self) -> None:
        with contextlib.suppress(Exception):  # `context` comes to the same
            self._context = context_of(self._certificates)

    def context(self) -> ssl.SSLContext:
        """Return a context that trusts them.

        Raises:
            ConfigurationError: no certificates can be read.
        """
        return self._context or context_of(self._certificates)


def trusted(verify: Any) -> ssl.SSLContext | tuple[str, str]:
    """Return the context, or the path of the certificates to trust and its source: "verify", a variable, "certifi".

    Raises:
        ConfigurationError: `verify` is of a wrong type, or the path does not exist.
    """
    if isinstance(verify, _ANY_CONTEXT):
        return cast("ssl.SSLContext", verify)
    if verify is False:
        raise ConfigurationError(
            "verify: False would send the key to any server that responds. Pass the path of a bundle with the server's "
            "certificate, or of its authority. If that is impossible, pass an ssl.SSLContext with check_hostname = "
            "False and verify_mode = ssl.CERT_NONE"
        )
    given = None if verify is True else verify
    if given == "" or not isinstance(given, str | os.PathLike | None):
        what = "the path of a CA bundle, an ssl.SSLContext, or True or None for the usual certificates"
        got = "an empty string" if given == "" else type(given).__name__
        raise ConfigurationError(f"verify: expected {what}, got {got}")
    sources = {"verify": os.fsdecode(given) if given is not None else None}
    sources |= {name: os.environ.get(name) for name in _BUNDLES}
    for name, path in sources.items():
        if path:
            _check_path(name, path)
            return path, name
    return certifi.where(), "certifi"


def _check_path(name: str, path: str) -> None:
    if "-----BEGIN" in path:
        raise ConfigurationError(f"{name}: expected the path of a file, got the text of a certificate")
    try:
        is_there = Path(path).exists()
    except (OSError, ValueError) as exc:  # a folder that may not be entered; a name that is none
        raise ConfigurationError(f"{name}: no certificates can be read from {path}: {exc}") from None
    if not is_there:
        raise ConfigurationError(f"{name}: no such file or folder: {path}")


def context_of(trusted: ssl.SSLContext | tuple[str, str]) -> ssl.SSLContext:
    """Return a context that trusts these certificates.

    Raises:
        ConfigurationError: no certificates can be read.
    """
    if not isinstance(trusted, tuple):
        return trusted
    path, name = trusted
    try:
        folder = Path(path).is_dir()
        context = ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"{name}: no certificates can be read from {path}: {exc}") from None
    with contextlib.suppress(AttributeError):  # LibreSSL cannot leave it out
        context.hostname_checks_common_name = False  # RFC 9525, 2: as browsers, requests and urllib3 do
    return context


def about_certificate(exc: BaseException, trust: Trust | None) -> str:
    """Return what is wrong with a server's certificate, and what to do.

    Args:
        exc: The exception of `ssl`, or that of urllib3, which is about the name alone.
        trust: What it was checked against, if known.
    """
    code = getattr(exc, "verify_code", None)  # some contexts, such as truststore's, raise it without a code
    if code == _EXPIRED:
        return f"has expired, or one that signed it has: {exc}. If it has not, the clock of this machine may be wrong"
    if code == _NOT_YET:
        return f"is not valid yet: {exc}. If it should be, the clock of this machine may be wrong"
    if code in _OTHER_NAME or not isinstance(exc, ssl.SSLError):
        return f"is for another name than that of the URL: {exc}. Only names in its subjectAltName count, not its CN"
    checked = f". It was checked against {trust}. {trust.advice}" if trust else ""
    return f"is not trusted: {exc}{checked}"
