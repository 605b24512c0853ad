"""Which certificates a client trusts, as set by the caller or by the environment, and how they are loaded."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi

from anthropix_actors._foreign.threads import in_background
from anthropix_actors.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name certificates: requests' first, then OpenSSL's own."""


class Trust:
    """The certificates that a client trusts. One thread uses it.

    Args:
        verify: A CA bundle's path, or a context; None or True takes the environment's bundle, or certifi's.

    Raises:
        ConfigurationError: `verify` is of a wrong type, or the path does not exist.
    """

    def __init__(self, verify: Any = None) -> None:
        """Find them; they are not read yet."""
        self._certificates = trusted(verify)
        self._context: ssl.SSLContext | None = None
        self._loaded = threading.Event()

    @contextlib.contextmanager
    def loading(self, *, beside: bool) -> Generator[None]:
        """Load them in a thread of its own meanwhile, if `beside`.

        OpenSSL needs 20 ms for some 140 certificates, and not the interpreter's lock. So a fresh process can import
        meanwhile what it needs as well. Whatever happens then, the thread is waited for: a process that ends while
        OpenSSL is in the middle of that may crash.
        """
        if not (beside and in_background(self._load, "anthropix-certificates")):
            yield
            return
        try:
            yield
        finally:
            self._loaded.wait()

    def _load(self) -> None:
        try:
            with contextlib.suppress(Exception):  # `context` comes to the same
                self._context = context_of(self._certificates)
        finally:
            self._loaded.set()

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
    if isinstance(verify, ssl.SSLContext):
        return verify
    if verify is False:
        raise ConfigurationError(
            "verify: False would send the key to any server that responds. Pass the path of a bundle with the server's "
            "certificate, or of its authority. If that is impossible, pass an ssl.SSLContext with check_hostname = "
            "False and verify_mode = ssl.CERT_NONE"
        )
    given = None if verify is True else verify
    if not isinstance(given, str | os.PathLike | None):
        what = "the path of a CA bundle, an ssl.SSLContext, or True or None for the usual certificates"
        raise ConfigurationError(f"verify: expected {what}, got {type(given).__name__}")
    sources = {"verify": os.fsdecode(given) if given is not None else None}
    sources |= {name: os.environ.get(name) for name in _BUNDLES}
    for name, path in sources.items():
        if path:
            if not Path(path).exists():
                if "-----BEGIN" in path:
                    raise ConfigurationError(f"{name}: expected the path of a file, got the text of a certificate")
                raise ConfigurationError(f"{name}: no such file or folder: {path}")
            return path, name
    return certifi.where(), "certifi"


def context_of(trusted: ssl.SSLContext | tuple[str, str]) -> ssl.SSLContext:
    """Return a context that trusts these certificates.

    Raises:
        ConfigurationError: no certificates can be read.
    """
    if isinstance(trusted, ssl.SSLContext):
        return trusted
    path, name = trusted
    folder = Path(path).is_dir()
    try:
        return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"{name}: no certificates can be read from {path}: {exc}") from None
