"""Which proxy a client's requests go through, and who says so: the caller, or the environment."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

from requests.utils import select_proxy, should_bypass_proxies

from anthropix_actors._http.urls import PORTS
from anthropix_actors.errors import ConfigurationError

_PLACE = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?")  # a name or an address, as urlsplit gives it


class Proxy(NamedTuple):
    """A proxy.

    Attributes:
        url: Its URL, perhaps with a password.
        source: Who named it: an environment variable, or "proxy" for the caller's parameter.
        place: Its URL without user and password.
    """

    url: str
    source: str
    place: str

    def __str__(self) -> str:
        """Name it in an error, without secrets."""
        where = "as passed to the client" if self.source == "proxy" else f"from {self.source}"
        return f"the proxy {self.place} ({where})"

    def __repr__(self) -> str:
        """Leave the password out."""
        return f"Proxy({self.place!r}, {self.source!r})"

    @property
    def encrypted(self) -> bool:
        """Whether the connection to it is TLS."""
        return self.place.startswith("https:")


def proxy_for(base_url: str, proxy: str | None) -> Proxy | None:
    """Get the proxy for the one address that everything is sent to.

    Args:
        base_url: The address.
        proxy: The caller's; None takes the environment's, "" means none.

    Raises:
        ConfigurationError: it is no proxy that can be used; the text names the variable, and no password.
    """
    source = "proxy"
    if proxy is None:
        proxies = {} if _exempt(base_url) else getproxies()
        proxy = select_proxy(base_url, proxies)
        source = _source(proxy)
    if not isinstance(proxy, str | None):
        raise ConfigurationError(f'proxy: expected a URL, "" for none, or None, got {type(proxy).__name__}')
    return _checked(proxy, source) if proxy else None


def _exempt(base_url: str) -> bool:
    """Whether NO_PROXY names the address: also with a port, which requests takes with names alone."""
    parts = urlsplit(base_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    exempt = {entry.strip().lower() for entry in named.split(",")}
    if {f"{host}:{parts.port or PORTS[parts.scheme]}", host, parts.hostname} & exempt:
        return True
    return should_bypass_proxies(base_url, no_proxy=None)


def _source(proxy: str | None) -> str:
    """Get the name of the variable that says so; those in lower case come first."""
    for name in sorted(os.environ, reverse=True):
        if proxy and name.lower().endswith("_proxy") and os.environ[name] == proxy:
            return name
    return "the system's settings"


def _checked(text: str, source: str) -> Proxy:
    url = text if "://" in text else f"http://{text}"
    scheme = url.partition(":")[0].lower()
    if scheme not in {"http", "https"}:
        if not scheme.isalnum():
            raise _malformed(text, source)
        raise ConfigurationError(
            f"{source}: the proxy's scheme is {scheme!r}: only http and https proxies can be used, as a request through"
            ' another kind could not be cancelled. Pass proxy="" to go without one, or another proxy.'
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _malformed(text, source) from None
    host = parts.hostname or ""
    if not _PLACE.fullmatch(host) or port == 0 or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _malformed(text, source)
    host = f"[{host}]" if ":" in host else host
    return Proxy(url, source, f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}")


def _malformed(text: str, source: str) -> ConfigurationError:
    got = "something with an @: is a character of its user or password not percent-encoded?" if "@" in text else ""
    whose = "" if source == "proxy" else " of the environment"
    return ConfigurationError(
        f"{source}{whose}: expected a proxy's URL like http://proxy.example:3128, got {got or repr(text[:200])}. "
        'Pass proxy="" to go without one'
    )
