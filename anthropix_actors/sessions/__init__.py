"""Sessions of managed agents: their events, as they happen."""

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.sessions.sessions import Sessions

__all__ = ["Sessions"]

publish(__name__, map(globals().get, __all__))
