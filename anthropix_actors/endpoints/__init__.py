"""Every endpoint of the API: the kind of its response, the kind of its pages, the betas that it needs.

Example:
    >>> found = find("GET", "/v1/sessions/sesn_1/events")
    >>> found.path, found.page, found.betas
    ('/v1/sessions/{session_id}/events', 'cursor', ('managed-agents-2026-04-01',))
"""

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.endpoints.table import Answer, Endpoint, Page, endpoints, find

__all__ = ["Answer", "Endpoint", "Page", "endpoints", "find"]

publish(__name__, map(globals().get, __all__))
