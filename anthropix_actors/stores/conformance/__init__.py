"""Whether a store does what `Log` and `Queue` promise: for those who write one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.stores.conformance.logs import LOG_CHECKS as _OF_LOGS
from anthropix_actors.stores.conformance.many import MANY_CHECKS
from anthropix_actors.stores.conformance.queues import QUEUE_CHECKS
from anthropix_actors.stores.conformance.shared import SHARED_CHECKS
from anthropix_actors.stores.conformance.values import VALUE_CHECKS
from anthropix_actors.stores.conformance.waits import WAIT_CHECKS
from anthropix_actors.stores.conformance.writers import WRITER_CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anthropix_actors.stores.conformance.kit import Check, MakeStore

__all__ = ["CHECKS", "LOG_CHECKS", "QUEUE_CHECKS", "SHARED_CHECKS", "check"]

LOG_CHECKS: tuple[Check, ...] = (*_OF_LOGS, *VALUE_CHECKS, *WRITER_CHECKS, *MANY_CHECKS, *WAIT_CHECKS)
"""The checks of a `Log`, for stores without queues."""

CHECKS: tuple[Check, ...] = (*LOG_CHECKS, *QUEUE_CHECKS)
"""The checks of a `Store`. Each is a function of `make_store`, with a name that says what it is about."""


def check(make_store: MakeStore, *, checks: Iterable[Check] = CHECKS, shared: bool = False) -> None:
    """Run all checks, and return if the store does what it promises. Takes some seconds.

    Each check makes a store, uses names that nobody else has, and closes it; it needs no empty store, and leaves none.
    Checks may also be run one by one: `@pytest.mark.parametrize("check", stores.CHECKS)`, and in the test
    `check(make_store)`.

    Args:
        make_store: Returns a store to check. It is called once or more for each check.
        checks: Those to run: `CHECKS`, or `LOG_CHECKS` for what has no queues.
        shared: Whether all that it returns have the same data, as stores of several processes have: then these are
            checked as well (`SHARED_CHECKS`), two stores at once.

    Raises:
        AssertionError: the store does not; the text has a line for each check that failed.

    Example:
        >>> from anthropix_actors import stores
        >>> stores.check(stores.MemoryStore, checks=stores.QUEUE_CHECKS[:3])
    """
    failed: dict[str, Exception] = {}
    for each in (*checks, *(SHARED_CHECKS if shared else ())):
        try:
            each(make_store)
        except Exception as exc:  # noqa: BLE001 - a store may raise anything
            failed[each.__name__] = exc
    if failed:
        lines = (f"{name}: {exc if isinstance(exc, AssertionError) else repr(exc)}" for name, exc in failed.items())
        raise AssertionError("\n".join(lines)) from next(iter(failed.values()))


publish("anthropix_actors.stores", (check, *CHECKS, *SHARED_CHECKS))
