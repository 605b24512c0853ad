"""Ids that look like the API's, and are the same in every run."""

from __future__ import annotations

import hashlib
import itertools

_LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH = 22


class Ids:
    """Hands out ids. Not thread-safe.

    Args:
        seed: Another seed makes other ids.

    Example:
        >>> ids = Ids()
        >>> ids.new("msg_01")[:6], ids.new("msg_01") == ids.new("msg_01")
        ('msg_01', False)
    """

    def __init__(self, seed: str = "") -> None:
        """Start with the first one."""
        self._seed = seed
        self._numbers = itertools.count()

    def new(self, prefix: str) -> str:
        """Return the next id: the prefix and 22 letters and digits."""
        number = int.from_bytes(hashlib.sha256(f"{self._seed}{prefix}{next(self._numbers)}".encode()).digest())
        letters = ""
        for _ in range(_LENGTH):
            number, place = divmod(number, len(_LETTERS))
            letters += _LETTERS[place]
        return prefix + letters
