"""A store of one machine, but for its tables."""

from __future__ import annotations

from anthropix_actors.stores.local.forks import FORKS
from anthropix_actors.stores.local.logs import Logs
from anthropix_actors.stores.local.queues import Queues
from anthropix_actors.stores.names import checked_number


class LocalStore(Logs, Queues):
    """A `Store` over tables. Safe from any thread, and in forked children.

    Args:
        max_entry_bytes: The largest entry, or job, as JSON.
    """

    def __init__(self, *, max_entry_bytes: int) -> None:
        """Begin with nobody who waits.

        Raises:
            ParameterError: there can be no such largest entry.
        """
        self.max_entry_bytes = checked_number(max_entry_bytes, "max_entry_bytes", least=1)
        super().__init__()
        FORKS.tell(self)

    def close(self) -> None:
        """Let those that wait go; see `Log`."""
        self._closed = True
        self._changes.tell()

    def before_fork(self) -> None:
        """Wait until nothing is being done, and let nothing begin."""
        raise NotImplementedError

    def after_fork_in_parent(self) -> None:
        """Let things go on."""
        raise NotImplementedError

    def after_fork_in_child(self) -> None:
        """Begin anew, with locks that nobody holds, and without those that wait."""
        self._changes = self._new_changes()
