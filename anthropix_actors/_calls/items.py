"""Streams that are read in the caller's own thread: results of batches, bytes of files, events of sessions."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from anthropix_actors._calls.blocking import BlockingCall
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from anthropix_actors._calls.core import ClientCore
    from anthropix_actors._cancel.token import CancelToken
    from anthropix_actors._http.request import Timeout

T = TypeVar("T")

_CLOSED = "the stream was closed"


class ItemStream(Generic[T]):
    """Items to loop over, read as the loop goes: memory stays flat, and a slow loop slows the server down.

    The request has been sent, and answered without an error, when you get it. Leaving the loop early closes the
    connection; so does losing the stream to the garbage collector. Several threads may loop over one stream: each item
    goes to one of them. It may be cancelled from any thread.

    Example:
        >>> with client.request("GET", "/models", stream=True) as chunks:
        ...     body = b"".join(chunks)
    """

    def __init__(self, call: BlockingCall, items: Iterator[T | None]) -> None:
        """Streams come from a client's methods; there is no need to make one."""
        self._call = call
        self._items = items
        # Reentrant, as a signal handler may close what the thread it interrupts is reading.
        self._lock = threading.RLock()
        next(items)  # opens it, and from here on closing the generator closes the connection
        # A finalizer must not wait for a lock, which the thread that it interrupts may hold.
        self._finalizer = weakref.finalize(self, SWEEPER.post, partial(_close, call, items, self._lock))
        self._finalizer.atexit = False

    def __iter__(self) -> Iterator[T]:
        """Loop over the items that nobody else took. Leaving the loop early closes the stream.

        Raises:
            CancelledError: it was cancelled.
            AnthropixError: it broke off.
        """
        at_item = False
        try:
            while True:
                try:
                    item = next(self)
                except StopIteration:
                    return
                at_item = True
                yield item
                at_item = False
        finally:
            if at_item:  # a finalizer, perhaps; what `next` raised has closed it
                SWEEPER.post(partial(_close, self._call, self._items, self._lock))

    def __next__(self) -> T:
        """Get the next item. Raises what the loop raises, and StopIteration at the end, or after `close`."""
        with self._lock:
            try:
                item: T = next(self._items)  # type: ignore[assignment] # only the first one is None
            except BaseException:
                self._finalizer.detach()  # there is nothing to close, and what was raised may lead back to the stream
                raise
        return item

    def close(self) -> None:
        """Take no more items, and close the connection. A thread that waits for an item gets a `CancelledError`."""
        _close(self._call, self._items, self._lock)

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel it from any thread: whoever reads it, or will read it, gets a `CancelledError`. Returns at once.

        Returns:
            Whether this call did it; False when it was cancelled before.
        """
        return self._call.cancel(reason)

    @property
    def request_id(self) -> str | None:
        """What the API calls the latest request."""
        return self._call.requester.request_id

    @property
    def response_headers(self) -> Mapping[str, str]:
        """The headers of the latest answer, names in lower case."""
        return self._call.requester.headers

    def __enter__(self) -> Self:
        """Get the stream itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close the stream."""
        self.close()


def _close(call: BlockingCall, items: Iterator[object], lock: threading.RLock) -> None:
    call.cancel(_CLOSED)
    if lock.acquire(blocking=False):  # else somebody reads, is woken by the cancel, and what that raises closes it
        try:
            items.close()  # type: ignore[attr-defined] # a generator
        finally:
            lock.release()


def stream_items(
    core: ClientCore,
    timeout: Timeout,
    items: Callable[[BlockingCall], Iterator[T]],
    *,
    cancel: CancelToken | None = None,
) -> ItemStream[T]:
    """Get a stream of what a generator reads in the caller's thread.

    Args:
        core: What the calls of the client share.
        timeout: How patiently.
        items: Opens what is read, and gives it item by item; None first, when it is open. Closes it in the end.
        cancel: The caller's token.

    Raises:
        AnthropixError: it could not be opened.
    """
    call = BlockingCall(core.transport, timeout)
    return ItemStream(call, _looked_after(core, call, items, cancel))


def _looked_after(
    core: ClientCore, call: BlockingCall, items: Callable[[BlockingCall], Iterator[T]], cancel: CancelToken | None
) -> Iterator[T]:
    try:
        core.begin(call, cancel)
        yield from items(call)
        call.log_end()
    except AnthropixError as exc:
        call.requester.annotate(exc)
        call.log_end(exc)
        raise
    finally:
        try:
            core.end(call)
        except BaseException:  # Ctrl-C in the middle of it
            core.end(call)
            raise
