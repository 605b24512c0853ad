"""Which certificates a client trusts, as set by the caller or by the environment; and which libraries heed that."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3._version import __version__ as urllib3_version

from anthropix_actors.errors import ConfigurationError

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name certificates: requests' first, then OpenSSL's own."""


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
    return requests.utils.DEFAULT_CA_BUNDLE_PATH, "certifi"


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


def check_libraries() -> None:
    """Raise if requests or urllib3 lack methods that are overridden here: they would ignore a client's settings.

    An older requests never calls the hook that passes the TLS context: it would trust its own certificates instead.

    Raises:
        ConfigurationError: a library is too old.
    """
    hooks = hasattr(HTTPAdapter, "build_connection_pool_key_attributes")
    if not hooks or not hasattr(HTTPAdapter, "get_connection_with_tls_context"):
        raise ConfigurationError(f"requests {requests.__version__} is too old: install requests >= 2.32.3")
    if not hasattr(urllib3.HTTPResponse, "read1"):
        raise ConfigurationError(f"urllib3 {urllib3_version} is too old: install urllib3 >= 2.2")
