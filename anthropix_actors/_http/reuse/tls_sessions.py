"""TLS sessions, resumed by the next connections: their handshake is shorter, as the server shows no certificate.

So nothing is checked in it either, and OpenSSL resumes a session under any name. That is why a session is kept only

- under its name, by connections that all lead to the same place;
- where OpenSSL itself has checked the certificate and the name, in this process: classes that make their connections in
  their own way, as truststore's, may check by themselves after the handshake;
- for an hour after such a check; then the certificate is checked again.
"""

from __future__ import annotations

import ssl
import time

import msgspec

CHECKED_FOR = 3600.0
"""Seconds for which a check of the certificate holds; many servers end a session before."""


AT_ONCE, EVERY = 10, 600.0
"""How many sessions are taken from connections at once, and after how many seconds one more.

Python leaks 6 KiB with each (3.11 to 3.13), and there may be a new one with every connection: where the server gives
none that can be resumed, or refuses those that it gave.
"""


class _Kept(msgspec.Struct, frozen=True):
    session: ssl.SSLSession
    checked: float
    """When the server's certificate was checked."""


class TLSSessions:
    """One session of each name, at one place. Any thread, without a lock: any session of a name will do.

    It is resumed as often as the server agrees; to take one costs 0.1 ms, and 6 KiB that Python leaks.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._kept: dict[str, _Kept] = {}
        self._since, self._taken = time.monotonic(), 0

    def offer(self, tls: ssl.SSLObject) -> bool:
        """Let a connection resume the session of its name; return whether there is one. Before the handshake."""
        kept = self._kept.get(tls.server_hostname or "")
        if kept is None:
            return False
        if time.monotonic() - kept.checked >= CHECKED_FOR:
            self.forget(tls)
            return False
        tls.session = kept.session
        return True

    def keep(self, tls: ssl.SSLObject) -> None:
        """Keep the session of a connection that OpenSSL has checked, for others.

        Some time after the handshake: TLS 1.3 sends tickets then.
        """
        name = tls.server_hostname or ""
        now = time.monotonic()
        if name in self._kept or tls.session_reused or self._taken >= AT_ONCE + (now - self._since) // EVERY:
            return
        self._taken += 1
        session = tls.session
        if session is not None and session.id:  # without an id, it cannot be resumed
            self._kept[name] = _Kept(session, now)

    def forget(self, tls: ssl.SSLObject) -> None:
        """Forget the session of a name: the server did not resume it, or failed, perhaps because of it."""
        self._kept.pop(tls.server_hostname or "", None)


def is_checked_by_openssl(tls: ssl.SSLObject) -> bool:
    """Return whether OpenSSL itself checks certificate and name in the handshake that is about to begin."""
    context = tls.context
    usual = type(tls) is ssl.SSLObject and type(context).wrap_bio.__module__ == ssl.__name__
    return usual and context.check_hostname and context.verify_mode == ssl.CERT_REQUIRED
