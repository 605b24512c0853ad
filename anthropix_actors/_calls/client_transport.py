"""A client's connections, imported with requests when the first client is made, while its certificates are loaded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._http.trust import Trust

if TYPE_CHECKING:
    from anthropix_actors._http.transport import Transport


def transport_for(base_url: str, *, proxy: str | None, verify: Any, auth: Any) -> Transport:
    """Return the connections of a client. The arguments are the client's own.

    requests takes half of the time that a fresh process needs for its first request.

    No fork comes in the middle: a child would find the locks held that the loading of certificates takes.

    Raises:
        ConfigurationError: the proxy or the certificates cannot be used, or a library below is too old.
    """
    with late_import():
        trust = Trust(verify)
        with trust.loading(beside=base_url.startswith("https:") and "requests" not in sys.modules):
            from anthropix_actors._http.transport import Transport

        return Transport(base_url, trust, proxy=proxy, auth=auth)
