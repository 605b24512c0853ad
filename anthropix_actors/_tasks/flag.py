"""A `threading.Event` that waits with a condition which is there anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading


class Flag:
    """A flag that is set once, and may be waited for. Any thread.

    An Event has a condition of its own, which takes 1.3 KiB: with hundreds of chats, that counts.

    Args:
        condition: The condition to wait with; it may be notified for other reasons, too.

    Example:
        >>> import threading
        >>> flag = Flag(threading.Condition())
        >>> flag.wait(0.01)
        False
        >>> flag.set()
        >>> flag.wait()
        True
    """

    __slots__ = ("_condition", "_is_set")

    def __init__(self, condition: threading.Condition) -> None:
        """Start unset."""
        self._condition = condition
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake the threads that wait for it."""
        with self._condition:
            self._is_set = True
            self._condition.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for at most `timeout` seconds; return whether it is."""
        with self._condition:
            return self._condition.wait_for(self.is_set, timeout)
