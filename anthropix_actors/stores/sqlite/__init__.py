"""A store in a file of SQLite."""

from anthropix_actors.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
