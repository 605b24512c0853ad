"""Whether a lock is held, for the `assert` of code that relies on its callers for that."""

from __future__ import annotations

from typing import Any


def is_held(lock: Any) -> bool:
    """Return whether this thread holds an `RLock`, or that of a `Condition`.

    Nothing public says so. But a `Condition` asks its lock in the same way, in each `wait` and `notify`, so every RLock
    that works with one has this method, also where a program has patched `threading`.

    Example:
        >>> import threading
        >>> lock = threading.RLock()
        >>> with lock:
        ...     is_held(lock)
        True
        >>> is_held(lock)
        False
    """
    held: bool = lock._is_owned()  # noqa: SLF001 - see above
    return held
