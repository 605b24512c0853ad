"""Whether msgspec accepts a value for a type; its first look at a type, which only one thread at a time may take."""

from __future__ import annotations

import contextlib
import os
import threading
from functools import partial
from typing import Any

import msgspec

from anthropix_actors._foreign.locks import is_held

RESOLVING = threading.RLock()
"""Held while msgspec inspects a type for the first time."""

if hasattr(os, "register_at_fork"):  # pragma: no branch
    # A child forked in the middle of that would have a half-inspected type, and wait for the lock forever.
    os.register_at_fork(before=RESOLVING.acquire, after_in_parent=RESOLVING.release, after_in_child=RESOLVING.release)

_PATIENCE = 1.0
"""Seconds to wait for the lock: a signal handler may hold it up, while it waits for a chat whose thread needs it."""


class _Resolving:
    """The context of a first look at a type; its value is whether nobody else takes one.

    `acquire` is called in C, as by `with RESOLVING`: an interrupt right after it would leave the lock held.
    """

    __enter__ = staticmethod(partial(RESOLVING.acquire, timeout=_PATIENCE))

    def __exit__(self, *_: object) -> None:
        if is_held(RESOLVING):
            RESOLVING.release()


def fits(value: Any, kind: Any) -> bool:
    """Return whether msgspec accepts a value for a type; False, too, where it cannot have a first look at the type.

    Example:
        >>> fits({"text": "Hi"}, dict[str, str]), fits({"text": 5}, dict[str, str])
        (True, False)
    """
    return (id(kind) in _resolved or _resolve(kind)) and accepts(value, kind)


def accepts(value: Any, kind: Any) -> bool:
    """Return whether msgspec accepts a value for a type without Structs, which needs no first look.

    Example:
        >>> accepts("Hi", str), accepts("Hi", int)
        (True, False)
    """
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError):  # ValueError: half a surrogate pair, an integer of 5,000 digits
        return False
    return True


_resolved: dict[int, Any] = {}
"""The types that msgspec has inspected, by their ids."""


def _resolve(kind: Any) -> bool:
    """Let msgspec inspect a type for the first time, in one thread only; return whether it has.

    It stores its results on the classes of the type one by one; another thread that uses a half-inspected class crashes
    the interpreter (msgspec 0.22). So does a signal handler that uses it in the middle of that, in the same thread.
    """
    if is_held(RESOLVING):
        return False
    with _Resolving() as alone:
        if alone:
            with contextlib.suppress(msgspec.ValidationError):
                msgspec.convert(None, kind)
            _resolved[id(kind)] = kind
    return alone
