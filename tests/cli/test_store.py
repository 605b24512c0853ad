"""`anthropix store`, as a user types it: on a store that programs share."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from anthropix_actors import Hub
from anthropix_actors.cli._stats import stats_of
from anthropix_actors.stores import MemoryStore, open_store

from servers import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anthropix_actors.stores import Store


def anthropix(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-W", "error", "-m", "anthropix_actors.cli", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=6 * DEADLINE, check=False
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/answers.sqlite"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with contextlib.closing(open_store(url)) as store:
        yield store


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with a log of each kind, and with jobs of each kind."""
    store.beat("me", 60)
    store.append("a/closed", store.claim("a/closed"), 0, [{"n": 1}], close=True)
    store.append("a/open", store.claim("a/open", "me"), 0, [{"n": 1}, {"n": 2}])
    store.claim("orphaned", "nobody")
    store.post("inbox", {"n": 1}, key="1")
    for job in ("one", "two", "three"):
        store.put("jobs", job, {})
    store.take("jobs", "me", 1)
    store.take("jobs", "nobody", 1)
    return store


def test_a_store_is_checked_and_left_as_it_was(url: str, store: Store) -> None:
    done = anthropix("store", "check", url)
    assert (done.stderr, done.returncode) == ("", 0)
    steps = [line.split()[0] for line in done.stdout.splitlines()]
    assert steps == ["beat", "claim", "append", "read", "put", "take", "finish", "It"]
    assert store.names() == []


def test_logs_are_listed(url: str, filled: Store) -> None:
    assert filled.names()
    listed = anthropix("store", "list", url).stdout.splitlines()
    assert [line.split() for line in listed] == [
        ["closed", "1", "-", "a/closed"],
        ["open", "2", "me", "a/open"],
        ["posted", "1", "-", "inbox"],
        ["open", "0", "-", "orphaned"],
    ]
    (line,) = anthropix("store", "list", url, "a/c", "--json").stdout.splitlines()
    found = json.loads(line)
    assert (found["name"], found["length"], found["closed"], found["holder"]) == ("a/closed", 1, True, None)


def test_a_log_is_deleted(url: str, filled: Store) -> None:
    assert anthropix("store", "delete", url, "a/open").returncode == 0
    assert filled.state("a/open") is None
    again = anthropix("store", "delete", url, "a/open")
    assert (again.returncode, again.stderr) == (1, "Error: there is no log 'a/open'\n")


def test_jobs_logs_and_holders_are_counted(url: str, filled: Store) -> None:
    assert filled.names()
    done = anthropix("store", "stats", url)
    first, *others = done.stdout.splitlines()
    assert first.startswith("jobs: 1 waiting (the oldest for ")
    assert first.endswith(" s), 1 taken, 1 orphaned")
    assert others == ["logs: 2 open (1 orphaned), 1 closed, 1 posted to", "holders: 1", "  me: 1 open"]
    counted = json.loads(anthropix("store", "stats", url, "--json").stdout)
    assert counted["holders"] == {"me": 1}
    assert counted["logs"] == {"open": 2, "closed": 1, "posted": 1}
    empty = anthropix("store", "stats", url, "--queue", "others").stdout
    assert empty.startswith("others: 0 waiting, 0 taken, 0 orphaned\n")


def test_they_are_counted_for_prometheus(url: str, filled: Store) -> None:
    assert filled.names()
    lines = anthropix("store", "stats", url, "--prometheus").stdout.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values.pop('anthropix_oldest_job_seconds{queue="jobs"}')) > 0
    assert values == {
        'anthropix_jobs{queue="jobs",state="waiting"}': "1",
        'anthropix_jobs{queue="jobs",state="taken"}': "1",
        'anthropix_jobs{queue="jobs",state="orphaned"}': "1",
        'anthropix_logs{state="open"}': "2",
        'anthropix_logs{state="closed"}': "1",
        'anthropix_logs{state="posted"}': "1",
        "anthropix_orphaned_logs": "1",
        "anthropix_holders": "1",
    }
    assert lines[:2] == ["# HELP anthropix_jobs Jobs of a queue.", "# TYPE anthropix_jobs gauge"]


class Restless(MemoryStore):
    """A store in which logs are deleted at any time."""

    def names(self, prefix: str = "") -> list[str]:
        return ["gone", *super().names(prefix)]


def test_a_log_that_is_deleted_meanwhile_is_not_counted() -> None:
    store = Restless()
    store.claim("there")
    assert stats_of(store, "jobs").logs == {"open": 1, "closed": 0, "posted": 0}


LOGS = {
    "talk": ("conversation", {"kind": "conversation", "format": 2}),
    "poems": ("batch run", {"kind": "run", "format": 1, "batches": []}),
    "mine": ("log", {"kind": "begin", "n": 1}),
}


@pytest.fixture
def others(store: Store) -> Store:
    """A store with logs that are no chats."""
    for name, (_, first) in LOGS.items():
        store.append(name, store.claim(name, "stopped"), 0, [first, {"n": 2}], close=name != "talk")
    store.post("talk/inbox", {"kind": "open"}, key="open")
    return store


def test_a_log_that_is_no_chat_is_shown_as_what_it_is(url: str, others: Store) -> None:
    others.beat("stopped", 60)
    for name, (what, first) in LOGS.items():
        shown = anthropix("store", "show", url, name)
        assert [json.loads(each) for each in shown.stdout.splitlines()] == [first, {"n": 2}]
        state = "open, 2 entries, written by stopped" if name == "talk" else "closed, 2 entries"
        assert (shown.stderr, shown.returncode) == (f"{what}, {state}\n", 0)
    inbox = anthropix("store", "show", url, "talk/inbox")
    assert (inbox.stdout, inbox.stderr) == ('{"kind":"open"}\n', "inbox, posted, 1 entries\n")
    followed = anthropix("store", "follow", url, "poems")
    assert (followed.stdout.splitlines()[1:], followed.stderr, followed.returncode) == (['{"n":2}'], "", 0)


def test_what_waits_or_is_no_chat_is_no_orphan(others: Store) -> None:
    with Hub(others) as hub:
        for name in ("waits", "taken"):
            hub.submit({"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Why?"}]}, id=name)
    stats = stats_of(others, "jobs")
    assert (stats.logs["open"], stats.orphaned) == (3, 0)
    others.take("jobs", "dead", 1)
    assert stats_of(others, "jobs").orphaned == 1


def test_the_url_may_be_in_the_environment(url: str, filled: Store) -> None:
    assert filled.names()
    for arguments in (["stats"], ["list"], ["list", "a/"], ["list", url, "a/"], ["check"], ["delete", "a/open"]):
        done = anthropix("store", *arguments, ANTHROPIX_STORE=url)
        assert (done.returncode, done.stderr) == (0, "")
    assert filled.state("a/open") is None
    assert anthropix("store", "list", "a/c", ANTHROPIX_STORE=url).stdout.count("\n") == 1
    for arguments in (["stats"], ["list"], ["show", "a/closed"]):
        done = anthropix("store", *arguments, ANTHROPIX_STORE="")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error: which store? ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["stats"], ["list"], ["show", "x"], ["follow", "x"], ["delete", "x"]])
def test_to_look_makes_no_store(tmp_path: Path, arguments: list[str]) -> None:
    typo = f"sqlite://{tmp_path}/no%20there.db"
    done = anthropix("store", arguments[0], typo, *arguments[1:])
    assert (done.returncode, done.stderr) == (1, f"Error: there is no store {typo}: no such file\n")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("url", ["what://is/this", "sqlite:////no/such/folder/answers.sqlite"])
def test_a_store_that_cannot_be_opened_is_an_error_of_one_line(url: str) -> None:
    done = anthropix("store", "stats", url)
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
