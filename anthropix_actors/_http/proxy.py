"""Which proxy a client uses, as set by the caller or by the environment."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

import msgspec
from requests.utils import select_proxy, should_bypass_proxies

from anthropix_actors._http.secrets import SHORTEST
from anthropix_actors._http.urls import PORTS
from anthropix_actors.errors import ConfigurationError

_PLACE = r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?"  # a name or an address, as urlsplit gives it


class Proxy(msgspec.Struct, frozen=True):
    """A proxy.

    Attributes:
        url: Its URL, perhaps with a password.
        source: Where it was set: the name of an environment variable, or "proxy" for the caller's parameter.
        place: Its URL without user and password.
    """

    url: str
    source: str
    place: str

    def __str__(self) -> str:
        """Return its name for errors, without secrets."""
        where = "as passed to the client" if self.source == "proxy" else f"from {self.source}"
        return f"the proxy {self.place} ({where})"

    def __repr__(self) -> str:
        """Return its repr, without the password."""
        return f"Proxy({self.place!r}, {self.source!r})"

    @property
    def advice(self) -> str:
        """What to do where it asks for a user and a password; theirs are not repeated."""
        scheme, _, host = self.place.partition("://")
        where = {"proxy": "pass proxy=", "the system's settings": "pass proxy="}.get(self.source, f"set {self.source}=")
        had = "it did not take those of its URL" if "@" in self.url.partition("://")[2] else "its URL has none"
        return f'{had}; {where}"{scheme}://user:password@{host}", both percent-encoded'

    @property
    def secrets(self) -> set[str]:
        """Its password, as in its URL and decoded, where it is long enough to be no plain word."""
        password = urlsplit(self.url).password or ""
        return {each for each in (password, unquote(password)) if len(each) >= SHORTEST}

    @property
    def encrypted(self) -> bool:
        """Return whether the connection to the proxy itself uses TLS."""
        return self.place.startswith("https:")


def proxy_for(base_url: str, proxy: str | None) -> Proxy | None:
    """Return the proxy for the base URL of a client.

    Args:
        base_url: The base URL.
        proxy: The caller's parameter; None takes the environment's, "" means none.

    Raises:
        ConfigurationError: the proxy cannot be used; the text names the variable, but not the password.
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
    """Return whether NO_PROXY names the host, with or without the port: requests allows a port only with a name."""
    parts = urlsplit(base_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    exempt = {entry.strip().lower() for entry in named.split(",")}
    if {f"{host}:{parts.port or PORTS[parts.scheme]}", host, parts.hostname} & exempt:
        return True
    return should_bypass_proxies(base_url, no_proxy=None)


def _source(proxy: str | None) -> str:
    """Return the name of the variable that holds the proxy; names in lower case come first."""
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
    if not re.fullmatch(_PLACE, host) or port == 0 or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _malformed(text, source)
    host = f"[{host}]" if ":" in host else host
    return Proxy(url, source, f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}")


def _malformed(text: str, source: str) -> ConfigurationError:
    got = "a text with an @: is a character of its user or password not percent-encoded?" if "@" in text else ""
    whose = "" if source == "proxy" else " of the environment"
    return ConfigurationError(
        f"{source}{whose}: expected a proxy's URL like http://proxy.example:3128, got {got or repr(text[:200])}. "
        'Pass proxy="" to go without one'
    )
