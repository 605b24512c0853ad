"""The interface of logs: one writer at a time, any number of readers, each from any point.

The rules:

- entries are numbered from 0 without gaps, so order, repetition and loss can be seen;
- who writes claims the log first, and gets an epoch; who has an older one is `Fenced`;
- what is appended a second time, under the same numbers, is not there twice;
- a cursor names the log's generation as well as an entry: one of a log that was deleted, and made anew, is `Lost`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.errors import AnthropixError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Lost(AnthropixError):  # noqa: N818 - what happened, in the words of logs
    """What a reader has read up to is not there any more: the log was deleted, or is another one of the same name."""


class Fenced(AnthropixError):  # noqa: N818 - as above
    """Another writer has claimed the log meanwhile: nothing was appended."""


class Entry(msgspec.Struct, frozen=True):
    """One entry of a log.

    Attributes:
        epoch: The epoch of its writer.
        number: Its place in the log, from 0.
        data: What was appended: JSON as a dict.
        cursor: To read on after it: `Log.read(name, after=entry.cursor)`.
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
    """

    generation: str
    epoch: int
    length: int
    closed: bool


class Log(Protocol):
    """What keeps logs by name. All methods may be called from any thread."""

    def claim(self, name: str) -> int:
        """Become the writer of a log, which is made if there is none; return the epoch."""
        ...

    def append(
        self, name: str, epoch: int, first: int, entries: Sequence[Mapping[str, Any]], *, close: bool = False
    ) -> None:
        """Append entries, of which the first gets the number `first`; those that are there already are left out.

        Args:
            name: The log.
            epoch: From `claim`.
            first: The number of the first of them.
            entries: JSON, as dicts.
            close: Whether nothing more comes.

        Raises:
            Fenced: another writer has claimed the log.
            Lost: there is no such log any more.
            ValueError: there would be a gap before them, or the log is closed.
        """
        ...

    def read(self, name: str, after: str | None = None, *, wait: float = 0.0) -> list[Entry]:
        """Return the entries after a cursor; None is from the first one on.

        Args:
            name: The log.
            after: The cursor of the last entry that was read.
            wait: Seconds to wait for one, if there is none yet and the log is not closed.

        Raises:
            Lost: there is no such log, or it is not the one that the cursor is of.
            ValueError: it is no cursor.
        """
        ...

    def state(self, name: str) -> LogState | None:
        """Return the state of a log; None if there is none of this name."""
        ...

    def names(self) -> list[str]:
        """Return the names of all logs."""
        ...

    def delete(self, name: str) -> None:
        """Delete a log; its readers and its writer find it `Lost`. One that is not there is left alone."""
        ...


publish("anthropix_actors.stores", (Lost, Fenced, Entry, LogState, Log))
