"""Sessions of managed agents: what happens in them, as it happens."""

from anthropix_actors.sessions.sessions import Sessions

__all__ = ["Sessions"]
