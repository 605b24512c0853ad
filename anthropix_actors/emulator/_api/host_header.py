"""The check of the `Host` header: pure.

A web page in this machine's browser can reach loopback by a name of its own that it has bound to 127.0.0.1 (DNS
rebinding), and could then read the emulator's responses. The browser sends that name in the `Host` header, so a name
that is not the emulator's is refused.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from anthropix_actors.emulator.answers import Status

if TYPE_CHECKING:
    from collections.abc import Collection

ANY = "*"


def check_host(header: str | None, listens: str, names: Collection[str]) -> Status | None:
    """Return the refusal of a host name that is not the emulator's, or None.

    Args:
        header: The `Host` header; None if there is none, which no browser does.
        listens: The address that the emulator listens on.
        names: Further names; `"*"` is every name.

    Example:
        >>> check_host("localhost:8787", "127.0.0.1", ()) is None
        True
        >>> check_host("evil.example", "127.0.0.1", ()).status
        403
    """
    if header is None or ANY in names:
        return None
    name = _name(header)
    if name in {_name(listens), *map(_name, names)} or name == "localhost" or name.endswith(".localhost"):
        return None
    # If it listens beyond loopback, any of the machine's addresses is accepted; an address cannot be rebound.
    if (address := _address(name)) is not None and (address.is_loopback or not _is_loopback(_name(listens))):
        return None
    return Status(403, f"Host: {name!r} is not a name of this emulator; to accept it: Emulator(hosts=[{name!r}])")


def _name(header: str) -> str:
    """Return the name without the port, in lower case, and without the brackets of IPv6.

    Example:
        >>> _name("[::1]:8787"), _name("Example.COM.:80"), _name("::1")
        ('::1', 'example.com', '::1')
    """
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    if name.count(":") == 1:
        name = name.partition(":")[0]
    return name.rstrip(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_loopback(listens: str) -> bool:
    address = _address(listens)
    return listens == "localhost" if address is None else address.is_loopback
