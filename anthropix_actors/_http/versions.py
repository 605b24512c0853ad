"""Whether requests and urllib3 have what is overridden here. Where they have not, it would fail open."""

from __future__ import annotations

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3._version import __version__ as urllib3_version

from anthropix_actors.errors import ConfigurationError


def check_libraries() -> None:
    """Refuse to work with libraries that would ignore what a client is told.

    An older requests never calls the hook that hands over the TLS context: it would trust what it trusts by itself.

    Raises:
        ConfigurationError: they are too old.
    """
    hooks = hasattr(HTTPAdapter, "build_connection_pool_key_attributes")
    if not hooks or not hasattr(HTTPAdapter, "get_connection_with_tls_context"):
        raise ConfigurationError(f"requests {requests.__version__} is too old: install requests >= 2.32.3")
    if not hasattr(urllib3.HTTPResponse, "read1"):
        raise ConfigurationError(f"urllib3 {urllib3_version} is too old: install urllib3 >= 2.2")
