"""`Address`: where an emulator listens, and by which URL and with which certificate it is reached."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Any

from anthropix_actors.errors import ConfigurationError

_BACKLOG = 2048

_OF_ANOTHER = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
"""OpenSSL's reasons for a key that is not the certificate's."""

_LOCALHOST = frozenset({"127.0.0.1", "0.0.0.0"})  # noqa: S104 - only compared with
"""Addresses that the URL names `localhost` over TLS: certificates are made for names, few are for an address."""


class Address:
    """Where an emulator listens.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one, which is known once it listens.
        certfile: The path of the certificate; None for plain HTTP.
        keyfile: The path of its key; by default, `certfile` has the key, too.

    Raises:
        ConfigurationError: the certificate or its key cannot be used.
    """

    def __init__(self, host: str, port: int, certfile: Any = None, keyfile: Any = None) -> None:
        """Read the certificate and its key, so that what is wrong with them is said before anything listens."""
        self.host = host
        self.certfile = _path("certfile", certfile)
        self.keyfile = _path("keyfile", keyfile)
        if self.certfile is not None:
            _check(self.certfile, self.keyfile)
        elif self.keyfile is not None:
            raise ConfigurationError("keyfile: a key without a certificate: give certfile, too")
        self._port = port

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "http" if self.certfile is None else "https"

    @property
    def url(self) -> str:
        """The URL, with the port that it listens on."""
        named = self.certfile is not None and self.host in _LOCALHOST
        host = "localhost" if named else self.host
        return f"{self.scheme}://[{host}]:{self._port}" if ":" in host else f"{self.scheme}://{host}:{self._port}"

    def listen(self) -> socket.socket:
        """Return a listening socket.

        Raises:
            OSError: the address cannot be bound.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, self._port), family=family, backlog=_BACKLOG)
        self._port = listener.getsockname()[1]
        return listener


def _path(name: str, given: Any) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike):
        raise ConfigurationError(f"{name}: expected the path of a file, got {type(given).__name__}")
    path = os.fsdecode(given)
    if "-----BEGIN" in path:
        raise ConfigurationError(f"{name}: expected the path of a file, got its text")
    if not Path(path).is_file():
        raise ConfigurationError(f"{name}: no such file: {path}")
    return path


def _check(certfile: str, keyfile: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certfile)  # OpenSSL does not say which of the two files cannot be read
    except OSError as exc:  # ssl.SSLError is one
        raise ConfigurationError(f"certfile: no certificate can be read from {certfile}: {exc}") from None
    name, path = ("certfile", certfile) if keyfile is None else ("keyfile", keyfile)

    def no_password() -> str:  # else OpenSSL asks for it on the terminal
        raise ConfigurationError(f"{name}: the key in {path} has a password: give a file without one")

    try:
        context.load_cert_chain(certfile, keyfile, no_password)
    except OSError as exc:
        if getattr(exc, "reason", None) in _OF_ANOTHER:
            raise ConfigurationError(f"{name}: the key in {path} is not that of the certificate") from None
        raise ConfigurationError(f"{name}: no key that can be used is in {path}: {exc}") from None
