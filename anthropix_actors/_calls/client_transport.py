"""A client's connections, imported with requests when the first client is made, while its certificates are loaded."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from anthropix_actors._foreign.late_imports import late_import
from anthropix_actors._http.trust import Trust

if TYPE_CHECKING:
    from anthropix_actors._http.transport import Transport

_HOME = "anthropix_actors._http.transport"


def transport_for(base_url: str, *, proxy: str | None, verify: Any, auth: Any) -> Transport:
    """Return the connections of a client. The arguments are the client's own.

    Raises:
        ConfigurationError: the proxy or the certificates cannot be used, or a library below is too old.
    """
    # A forked child would find the locks held that the import, and the loading of certificates, take.
    with contextlib.nullcontext() if _HOME in sys.modules else late_import():
        trust = Trust(verify)
        # requests takes half of the time that a fresh process needs for its first request.
        with trust.loading(beside=base_url.startswith("https:") and "requests" not in sys.modules):
            from anthropix_actors._http.transport import Transport

        return Transport(base_url, trust, proxy=proxy, auth=auth)
