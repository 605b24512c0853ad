"""What all stores check before they do anything, and what they make. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from anthropix_actors._checks.plain_json import copy_json
from anthropix_actors._foreign.log import shown
from anthropix_actors.errors import ParameterError, Problem
from anthropix_actors.stores.log import Append

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_READ = 1000
"""How many entries one `read` returns at most."""

MOST_READ_BYTES = 64 << 20
"""How many bytes of JSON: when there are as many, the entry is the last one."""

INBOX = "/inbox"
"""What the name of a log and this is the name of: the log that others post to, for who writes the first one."""

JOBS = "jobs"
"""The queue of a hub, unless it has another."""

LONGEST_NAME = 256
LARGEST_ENTRY = 64 << 20
"""How many bytes an entry, or a job, may have by default, as JSON."""


def checked_name(name: object, place: str = "name") -> str:
    """Return the name of a log, queue, job or holder.

    Raises:
        ParameterError: it is none.

    Example:
        >>> checked_name("answer-17")
        'answer-17'
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        what = f"expected 1 to {LONGEST_NAME} printable characters, got {shown(name)}"
        raise ParameterError([Problem(place, what)])
    return name


def store_problems(store: Any, *methods: str) -> list[Problem]:
    """Return what is wrong with what is to be a store that has these methods.

    Example:
        >>> [problem.text for problem in store_problems("sqlite:talks.db", "claim")]
        ['expected a store, got a text: open_store(...) makes a store of a URL']
    """
    missing = [name for name in methods if not hasattr(store, name)]
    if not missing:
        return []
    what = f"expected a store, such as MemoryStore(), got {shown(store)}, which has no {missing[0]}"
    if isinstance(store, str):  # which may have a password
        what = "expected a store, got a text: open_store(...) makes a store of a URL"
    return [Problem("store", what)]


def checked_prefix(prefix: object) -> str:
    """Return what names are to begin with.

    Raises:
        ParameterError: it is no text.
    """
    if not isinstance(prefix, str):
        raise ParameterError([Problem("prefix", f"expected a str, got {shown(prefix)}")])
    return prefix


def checked_number(number: object, place: str, *, least: int = 0) -> int:
    """Return an integer from `least` on.

    Raises:
        ParameterError: it is none.
    """
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number < 1 << 53:
        raise ParameterError([Problem(place, f"expected an integer from {least} on, got {shown(number)}")])
    return number


def checked_seconds(seconds: object, place: str) -> float:
    """Return a number of seconds, 0 or more.

    Raises:
        ParameterError: it is none.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise ParameterError([Problem(place, f"expected seconds, 0 or more, got {shown(seconds)}")])
    return float(seconds)


def encoded(data: object, place: str, most: int) -> bytes:
    """Return an entry's data, or a job's, as JSON.

    Raises:
        ParameterError: they are no JSON object, or have more than `most` bytes.
    """
    problems: list[Problem] = []
    plain = copy_json(data, place, problems)
    if not problems and not isinstance(plain, dict):
        problems.append(Problem(place, f"expected a dict of JSON, got {type(data).__name__}"))
    if problems:
        raise ParameterError(problems)
    found = msgspec.json.encode(plain)
    if len(found) > most:
        raise ParameterError([Problem(place, f"expected {most:,} bytes of JSON at most, got {len(found):,}")])
    return found


def all_encoded(entries: Sequence[Mapping[str, Any]], most: int) -> list[bytes]:
    """Return the data of entries as JSON. Raises as `encoded`."""
    if not isinstance(entries, (list, tuple)):
        raise ParameterError([Problem("entries", f"expected a list of dicts, got {shown(entries)}")])
    return [encoded(data, f"entries[{number}]", most) for number, data in enumerate(entries)]


def checked_append(name: object, part: object, most: int) -> tuple[str, Append, list[bytes]]:
    """Return the name of a log, what is to be appended to it, and its entries as JSON.

    Raises:
        ParameterError: one of them is none, or an entry has more than `most` bytes.
    """
    checked, given = checked_name(name), checked_part(part)
    checked_number(given.epoch, "epoch")
    checked_number(given.first, "first")
    return checked, given, all_encoded(given.entries, most)


def checked_part(part: object) -> Append:
    """Return what is to be appended to one log.

    Raises:
        ParameterError: it is none.
    """
    if not isinstance(part, Append):
        raise ParameterError([Problem("appends", f"expected an Append, got {shown(part)}")])
    return part


def refused_gap(name: str, first: int, there: int) -> ParameterError:
    """Return the error for entries before which others would be missing."""
    what = f"expected {there} at most, as {name!r} has {there} entries, got {first}: others would be missing"
    return ParameterError([Problem("first", what)])


def refused_closed(name: str) -> ParameterError:
    """Return the error for entries of a log that is closed."""
    return ParameterError([Problem("name", f"the log {name!r} is closed: nothing more comes")])


def refused_mix(name: str) -> ParameterError:
    """Return the error for a log that is to be posted to and to have a writer."""
    return ParameterError([Problem("name", f"the log {name!r} has a writer, or is posted to: not both")])


def cursor_of(generation: str, number: int) -> str:
    """Return the cursor of an entry."""
    return f"{generation}.{number}"


def place_of(cursor: str | None) -> tuple[str | None, int]:
    """Return the generation that a cursor names, and how many entries were read up to it.

    Raises:
        ParameterError: it is no cursor.

    Example:
        >>> place_of("1a2b.6"), place_of(None)
        (('1a2b', 7), (None, 0))
    """
    if cursor is None:
        return None, 0
    generation, _, number = cursor.rpartition(".") if isinstance(cursor, str) and cursor.isascii() else ("", "", "")
    if not generation.isalnum() or not (number.isdecimal() and len(number) < 16):  # noqa: PLR2004
        raise ParameterError([Problem("after", f"expected the cursor of an entry, got {shown(cursor)}")])
    return generation, int(number) + 1
