"""The interface of logs: one writer at a time, any number of readers, each from any point.

The rules:

- entries are numbered from 0 without gaps, so order, repetition and loss can be seen;
- who writes claims the log first, and gets an epoch; who has an older one is `Fenced`;
- what is appended a second time, under the same numbers, is not there twice;
- a cursor names the log's generation as well as an entry: one of a log that was deleted, and made anew, is `Lost`;
- a holder, such as a worker, says with each `beat` how long it will live at least: what it has claimed is nobody else's
  until then;
- a log is written by its writer, or else by anybody, with `post`: such a log has no epoch but 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self


class StoreError(AnthropixError):
    """A store could not be reached, or could not do what was asked; `__cause__` is what its library says."""


class StoreClosedError(StoreError):
    """This program has closed the store: it is of no use to try again."""


class Lost(AnthropixError):  # noqa: N818 - what happened, in the words of logs
    """What a reader has read up to is not there any more: the log was deleted, or is another one of the same name."""


class Unreadable(StoreError):  # noqa: N818 - as above
    """What is in one log cannot be understood: another program, or version, has written it. No other log is concerned.

    Attributes:
        name: The log; empty if it is not known.
        number: Which entry that is; None if it is not known, or all of them.
    """

    def __init__(self, name: str, number: int | None, why: str) -> None:
        """Say which log and entry, and why."""
        where = f"the log {name!r}" if number is None else f"entry {number}" + (f" of the log {name!r}" if name else "")
        super().__init__(f"{where} cannot be read: {why}")
        self.name = name
        self.number = number


class Fenced(AnthropixError):  # noqa: N818 - as above
    """Another writer has claimed the log meanwhile: nothing was appended."""


class Held(AnthropixError):  # noqa: N818 - as above
    """The log cannot be claimed: who has claimed it lives.

    Attributes:
        holder: Who that is.
    """

    def __init__(self, name: str, holder: str, why: str = "") -> None:
        """Say which log, who has it, and what to do."""
        super().__init__(f"the log {name!r} belongs to {holder!r}, which lives" + (f"; {why}" if why else ""))
        self.holder = holder


class Entry(msgspec.Struct, frozen=True):
    """One entry of a log.

    Attributes:
        epoch: The epoch of its writer; 0 for one that was posted.
        number: Its place in the log, from 0.
        data: What was appended: JSON as a dict.
        cursor: To read on after it: `Log.read(name, after=entry.cursor)`. Printable ASCII without spaces.
    """

    epoch: int
    number: int
    data: Mapping[str, Any]
    cursor: str

    @property
    def id(self) -> str:
        """Epoch and number: no other entry of the log has it."""
        return f"{self.epoch}-{self.number}"


class LogState(msgspec.Struct, frozen=True):
    """What a log is at one moment.

    Attributes:
        generation: Another for each log, even of the same name.
        epoch: The epoch of the latest claim.
        length: How many entries it has.
        closed: Whether nothing more comes.
        holder: Who has claimed it last, if that lives; else None.
    """

    generation: str
    epoch: int
    length: int
    closed: bool
    holder: str | None = None


class Append(msgspec.Struct, frozen=True):
    """What is to be appended to one log: the arguments of `Log.append`, for `Log.append_many`.

    Attributes:
        epoch: From `Log.claim`.
        first: The number of the first of the entries.
        entries: JSON, as dicts.
        close: Whether nothing more comes.
    """

    epoch: int
    first: int
    entries: Sequence[Mapping[str, Any]]
    close: bool = False


Reads = dict[str, list[Entry] | Lost | Unreadable]
"""What there is of each log, or why not."""


class Log(Protocol):
    """What keeps logs by name. All methods may be called from any thread, and may raise `StoreError`.

    A name is 1 to 256 printable characters; other names are a `ParameterError`, as are entries that are not JSON, and
    numbers out of range. At the end of a `with` block, it is closed.
    """

    def claim(self, name: str, holder: str | None = None) -> int:
        """Become the writer of a log, which is made if there is none; return the epoch.

        Args:
            name: The log.
            holder: Who claims it, if it is to be nobody else's while that lives (see `beat`); None for nobody.

        Raises:
            Held: another holder has claimed it, and lives. Without a holder, nobody is asked: it is taken.
            ParameterError: the log is one that is posted to.
        """
        ...

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        """Append entries, of which the first gets the number `first`; those that are there already are left out.

        All of them are there afterwards, or none.

        Args:
            name: The log.
            epoch: From `claim`.
            first: The number of the first of them.
            entries: JSON, as dicts.
            close: Whether nothing more comes.

        Raises:
            Fenced: another writer has claimed the log.
            Lost: there is no such log any more, or it has lost entries that were appended.
            ParameterError: there would be a gap before them, the log is closed, or they are too large for the store.
        """
        ...

    def append_many(self, appends: Mapping[str, Append]) -> dict[str, AnthropixError]:
        """Do what `append` does for each of these logs, at once: with one wait for the disk, or one round trip.

        What is refused of one log keeps no other from being written. A store may leave it to `append_each`.

        Args:
            appends: Name of a log → what is to be appended to it.

        Returns:
            Name of a log → the error that `append` raises, for those to which nothing was appended; of one with a
            `StoreError`, it is not known whether anything was. All others are written.

        Raises:
            StoreError: of none of them is it known. As with `append`, it may be called again.
        """
        ...

    def post(self, name: str, data: Mapping[str, Any], *, key: str) -> bool:
        """Append one entry without being the writer, once for each key; the log is made if there is none.

        Returns:
            Whether it was appended; False if there is one of this key.

        Raises:
            ParameterError: the log has a writer, or `data` is larger than the store takes.
        """
        ...

    def read(self, name: str, after: str | None = None, *, wait: float = 0.0) -> list[Entry]:
        """Return the entries after a cursor, or some thousand of them; None is from the first one on.

        Args:
            name: The log.
            after: The cursor of the last entry that was read.
            wait: Seconds to wait for one, if there is none yet and the log is not closed.

        Raises:
            Lost: there is no such log, or it is not the one that the cursor is of.
            Unreadable: the next entry is no JSON object: another program has written it. Those before it are read.
            ParameterError: it is no cursor.
        """
        ...

    def read_many(self, cursors: Mapping[str, str | None], *, wait: float = 0.0) -> Reads:
        """Return what `read` does for each of these logs: those that have something, are lost, or cannot be read.

        Args:
            cursors: Name of a log → the cursor of the last entry that was read, or None.
            wait: Seconds to wait for the first of them, if none has anything; over one connection.

        Returns:
            Of each: its entries, or the `Lost` or the `Unreadable` that `read` would raise. Other logs are read.
        """
        ...

    def state(self, name: str) -> LogState | None:
        """Return the state of a log; None if there is none of this name."""
        ...

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of all logs that begin with `prefix`, sorted."""
        ...

    def expire(self, name: str, seconds: float | None) -> None:
        """Let a log be deleted in so many seconds, or, with None, keep it; one that is not there is left alone."""
        ...

    def delete(self, name: str) -> None:
        """Delete a log; its readers and its writer find it `Lost`. One that is not there is left alone."""
        ...

    def beat(self, holder: str, seconds: float) -> None:
        """Say that a holder lives for so many seconds more, at least; 0 is its end: what it holds is free."""
        ...

    def close(self) -> None:
        """Let go of files and connections; what waits in another thread ends soon. Once is enough.

        What is called later may raise `StoreClosedError`: who holds something in the store gives up then.
        """
        ...

    def __enter__(self) -> Self:
        """Return the store itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close it."""
        ...


_ERRORS = (StoreError, StoreClosedError, Lost, Unreadable, Fenced, Held)
publish("anthropix_actors.stores", (*_ERRORS, Entry, LogState, Append, Log))
