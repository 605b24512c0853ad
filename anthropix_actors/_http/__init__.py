"""How a request is sent and its response read; only this package knows requests and urllib3."""
