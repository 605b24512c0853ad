"""Checks that requests and urllib3 have the methods that are overridden here: without them, TLS would fail open."""

from __future__ import annotations

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3._version import __version__ as urllib3_version

from anthropix_actors.errors import ConfigurationError


def check_libraries() -> None:
    """Raise if requests or urllib3 would ignore a client's settings.

    An older requests never calls the hook that passes the TLS context: it would trust its own certificates instead.

    Raises:
        ConfigurationError: a library is too old.
    """
    hooks = hasattr(HTTPAdapter, "build_connection_pool_key_attributes")
    if not hooks or not hasattr(HTTPAdapter, "get_connection_with_tls_context"):
        raise ConfigurationError(f"requests {requests.__version__} is too old: install requests >= 2.32.3")
    if not hasattr(urllib3.HTTPResponse, "read1"):
        raise ConfigurationError(f"urllib3 {urllib3_version} is too old: install urllib3 >= 2.2")
