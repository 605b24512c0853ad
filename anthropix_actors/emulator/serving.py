"""`serve`: an emulator that runs until it is stopped, for a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anthropix_actors.emulator.server import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from os import PathLike

    from anthropix_actors.emulator.answers import Answer
    from anthropix_actors.emulator.records import Request


def serve(  # noqa: PLR0913 - all have defaults, and names
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    batch_seconds: float = 0.0,
    without: Iterable[str] = (),
    hosts: Collection[str] = (),
    handler: Callable[[Request], Answer] | None = None,
    started: Callable[[Emulator], None] | None = None,
    certfile: str | PathLike[str] | None = None,
    keyfile: str | PathLike[str] | None = None,
) -> None:
    """Run an emulator until Ctrl-C, or until `Emulator.stop` is called.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        api_key: The only key that is accepted; by default any is.
        batch_seconds: How long a batch takes.
        without: Names of rules that are switched off, as for `Emulator`.
        hosts: Further names that the `Host` header may have, as for `Emulator`.
        handler: Answers chats, as for `Emulator`.
        started: Called once, in this thread, with the emulator when it accepts requests, to print its URL or to queue
            answers.
        certfile: The path of a certificate, to serve over TLS, as for `Emulator`.
        keyfile: The path of its key, as for `Emulator`.

    Raises:
        ConfigurationError: `certfile` or `keyfile` cannot be used.
        OSError: the address cannot be bound.
        TypeError: `without` or `hosts` is a single string.
        ValueError: `batch_seconds` is negative; a name in `without` is not a rule's.

    Example:
        >>> serve(started=Emulator.stop)
    """
    with Emulator(
        handler=handler,
        host=host,
        port=port,
        api_key=api_key,
        batch_seconds=batch_seconds,
        without=without,
        hosts=hosts,
        certfile=certfile,
        keyfile=keyfile,
    ) as emulator:
        if started is not None:
            started(emulator)
        try:
            emulator.wait()
        except KeyboardInterrupt:
            return
