"""The wait of one call for what happens on the loop's thread; on the tool's thread, which also tells its progress."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, TypeVar

from anthropix_actors.errors import CancelledError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from anthropix_actors.tools.call import Call

T = TypeVar("T")


class Waiting:
    """Waits for futures, until the call is cancelled.

    Args:
        call: The call.
    """

    def __init__(self, call: Call) -> None:
        """Hear of its cancel from now on."""
        self._call = call
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        call.token.add(self)

    def cancel(self, reason: str) -> bool:  # noqa: ARG002 - as all that is cancelled
        """End the wait. Any thread."""
        self._told.put(_CANCELLED)
        return True

    def progress(self, data: Any) -> None:
        """Have the waiting thread tell how far the call is. Any thread."""
        self._told.put(_Progress(data))

    def result(self, future: Future[T]) -> T:
        """Wait for a future, and return its result, or raise its exception.

        Raises:
            CancelledError: the call was cancelled.
        """
        future.add_done_callback(self._told.put)
        while (told := self._told.get()) is not _CANCELLED:
            if told is future:
                result: T = future.result()
                return result
            self._call.progress(told.data)
        raise CancelledError(str(self._call.token.reason))


_CANCELLED = object()


class _Progress:
    def __init__(self, data: Any) -> None:
        self.data = data
