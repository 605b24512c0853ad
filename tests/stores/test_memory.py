"""Logs: numbers without gaps, one writer, any number of readers, and cursors that say when something is lost."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import ParameterError
from anthropix_actors.stores import Fenced, Log, Lost, MemoryStore, SQLiteStore

from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    with closing(MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "logs.db")) as store:
        yield store


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in numbers]


def test_what_was_appended_is_read_from_any_point(log: Log) -> None:
    epoch = log.claim("a")
    log.append("a", epoch, 0, numbered(0, 1, 2))
    entries = log.read("a")
    assert [entry.id for entry in entries] == ["1-0", "1-1", "1-2"]
    assert [(entry.number, entry.data["n"]) for entry in entries] == [(0, 0), (1, 1), (2, 2)]
    assert log.read("a", after=entries[1].cursor) == entries[2:]
    assert log.read("a", after=entries[2].cursor) == []


def test_what_is_appended_again_is_there_once_and_a_gap_is_refused(log: Log) -> None:
    epoch = log.claim("a")
    log.append("a", epoch, 0, numbered(0, 1))
    log.append("a", epoch, 1, numbered(1, 2))
    assert [entry.data["n"] for entry in log.read("a")] == [0, 1, 2]
    with pytest.raises(ParameterError, match="would be missing"):
        log.append("a", epoch, 4, numbered(4))


def test_a_writer_that_another_has_followed_is_fenced(log: Log) -> None:
    before, after = log.claim("a"), log.claim("a")
    log.append("a", after, 0, numbered(0))
    with pytest.raises(Fenced):
        log.append("a", before, 1, numbered(1))
    assert len(log.read("a")) == 1


def test_a_closed_log_takes_nothing_more(log: Log) -> None:
    epoch = log.claim("a")
    log.append("a", epoch, 0, numbered(0), close=True)
    log.append("a", epoch, 0, numbered(0), close=True)
    with pytest.raises(ParameterError, match="closed"):
        log.append("a", epoch, 1, numbered(1))
    [entry] = log.read("a", wait=DEADLINE)
    assert log.read("a", after=entry.cursor, wait=DEADLINE) == []
    state = log.state("a")
    assert state is not None
    assert (state.epoch, state.length, state.closed) == (1, 1, True)


def test_a_reader_waits_for_what_comes(log: Log) -> None:
    epoch = log.claim("a")
    read: list[Any] = []
    reader = threading.Thread(target=lambda: read.extend(log.read("a", wait=DEADLINE)))
    reader.start()
    log.append("a", epoch, 0, numbered(7))
    reader.join(DEADLINE)
    assert [entry.data for entry in read] == [{"n": 7}]
    assert log.read("a", after=read[0].cursor, wait=0.01) == []


def test_a_log_that_is_gone_or_made_anew_is_lost(log: Log) -> None:
    for call in (lambda: log.read("a"), lambda: log.append("a", 1, 0, [])):
        with pytest.raises(Lost, match="there is no log 'a'"):
            call()
    epoch = log.claim("a")
    log.append("a", epoch, 0, numbered(0))
    [entry] = log.read("a")
    assert log.names() == ["a"]
    log.delete("a")
    log.delete("a")
    assert (log.names(), log.state("a")) == ([], None)
    log.append("a", log.claim("a"), 0, numbered(0))
    with pytest.raises(Lost, match="made anew"):
        log.read("a", after=entry.cursor)


@pytest.mark.parametrize("cursor", ["", "7", "abc", "abc.", "abc.-1", "abc.x"])
def test_what_is_no_cursor_is_refused(log: Log, cursor: str) -> None:
    log.claim("a")
    with pytest.raises(ParameterError, match="expected the cursor"):
        log.read("a", after=cursor)


def test_entries_are_the_logs_own(log: Log) -> None:
    data = {"n": [1]}
    log.append("a", log.claim("a"), 0, [data])
    data["n"].append(2)
    assert log.read("a")[0].data == {"n": [1]}
