"""Streams that are read in the caller's own thread: batch results, bytes of files, session events."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from anthropix_actors._calls.blocking import BlockingCall
from anthropix_actors._cancel.scope import as_reason
from anthropix_actors._cancel.sweeper import SWEEPER
from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from anthropix_actors._calls.cancel_token import CancelToken
    from anthropix_actors._calls.client_core import ClientCore
    from anthropix_actors._http.request import Timeout

T = TypeVar("T")

_CLOSED = "the stream was closed"


class ItemStream(Generic[T]):
    """Items to loop over, read as the loop goes: memory stays flat, and a slow loop slows the server down.

    The request has been sent, and its response is not an error, when you get it. Leaving the loop early closes the
    connection; so does losing the stream to the garbage collector. Several threads may loop over one stream: each item
    goes to one of them. It may be cancelled from any thread.

    Example:
        >>> with client.request("GET", "/models", stream=True) as chunks:
        ...     body = b"".join(chunks)
    """

    def __init__(self, call: BlockingCall, items: Iterator[T | None]) -> None:
        """Streams are returned by a client's methods; do not make one yourself."""
        self._call = call
        self._items = items
        # Reentrant, as a signal handler may close the stream that the thread it interrupts is reading.
        self._lock = threading.RLock()
        next(items)  # opens the response; from here on closing the generator closes the connection
        # A finalizer must not wait for a lock: the thread that it interrupts may hold it.
        self._finalizer = weakref.finalize(self, SWEEPER.post, partial(_close, call, items, self._lock))
        self._finalizer.atexit = False

    def __iter__(self) -> Iterator[T]:
        """Loop over the items that no other loop takes. Leaving the loop early closes the stream.

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
            # May run in a finalizer, so no lock may be taken here. An error of `next` has closed the stream already.
            if at_item:
                SWEEPER.post(partial(_close, self._call, self._items, self._lock))

    def __next__(self) -> T:
        """Return the next item. Raises what the loop raises, and StopIteration at the end, or after `close`."""
        with self._lock:
            try:
                item: T = next(self._items)  # type: ignore[assignment] # only the first one is None
            except BaseException:
                self._finalizer.detach()  # there is nothing to close, and the traceback may refer to the stream
                raise
        return item

    def close(self) -> None:
        """Stop, and close the connection. A thread that waits for an item gets a `CancelledError`. Any thread."""
        _close(self._call, self._items, self._lock)

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel it: every thread that reads it, now or later, gets a `CancelledError`. Returns at once. Any thread.

        Returns:
            Whether this call did it; False if it was cancelled before.
        """
        return self._call.cancel(as_reason(reason))

    @property
    def request_id(self) -> str | None:
        """The API's id of the latest request."""
        return self._call.requester.request_id

    @property
    def response_headers(self) -> Mapping[str, str]:
        """The headers of the latest response, names in lower case."""
        return self._call.requester.headers

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close the stream."""
        self.close()


def _close(call: BlockingCall, items: Iterator[object], lock: threading.RLock) -> None:
    call.cancel(_CLOSED)
    if lock.acquire(blocking=False):  # else a thread is reading: the cancel wakes it, and its error closes the stream
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
    """Return a stream of the items that a generator reads in the caller's thread.

    Args:
        core: The core of the client.
        timeout: The timeouts of the call.
        items: A generator: opens the response, yields None when open, then the items; then closes it.
        cancel: The caller's token.

    Raises:
        AnthropixError: it could not be opened.
    """
    call = BlockingCall(core.transport, timeout)
    return ItemStream(call, _tracked(core, call, items, cancel))


def _tracked(
    core: ClientCore, call: BlockingCall, items: Callable[[BlockingCall], Iterator[T]], cancel: CancelToken | None
) -> Iterator[T]:
    try:
        core.registry.begin(call, cancel)
        yield from items(call)
        call.log_end()
    except AnthropixError as exc:
        call.requester.annotate(exc)
        call.log_end(exc)
        raise
    finally:
        try:
            core.registry.end(call)
        except BaseException:  # Ctrl-C in the middle of it
            core.registry.end(call)
            raise


publish("anthropix_actors", (ItemStream,))
