"""A job, of what a store keeps of it: also of what another program has put there. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from anthropix_actors.stores.queue import Job

_LONGEST = 80
"""How much is shown of what cannot be read."""


def job_of(job_id: str, data: Any, attempt: Any, holder: str | None) -> Job:
    """Return a job; one that cannot be read has a `fault`, as those that are taken with it are to be answered.

    Example:
        >>> job_of("a", b'{"n": 1}', 1, "hub-1")
        Job(id='a', data={'n': 1}, attempt=1, holder='hub-1', fault=None)
        >>> job_of("a", b"[1]", 1, None).fault
        "expected a JSON object, got b'[1]'"
    """
    try:
        found = msgspec.json.decode(data)
    except Exception as exc:  # noqa: BLE001 - of bytes that may be anything, or nothing
        return Job(job_id, {}, attempts(attempt), holder, f"expected a JSON object, got {_shown(data)}: {exc}")
    fault = None if isinstance(found, dict) else f"expected a JSON object, got {_shown(data)}"
    return Job(job_id, {} if fault else found, attempts(attempt), holder, fault)


def attempts(kept: Any) -> int:
    """Return how many holders have taken a job; 0 where that cannot be read.

    Example:
        >>> attempts(b"2"), attempts(None)
        (2, 0)
    """
    try:
        return int(kept)
    except (TypeError, ValueError):
        return 0


def _shown(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
