"""One log of a store that cannot be read: nobody else is the worse for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from anthropix_actors import Agent, ChatDone, Client, Conversations, Hub, Worker
from anthropix_actors.cli._store import store as command
from anthropix_actors.emulator import Emulator
from anthropix_actors.stores import SQLiteStore, Unreadable

from actors import ASK, Inbox
from servers import DEADLINE, until
from stores_for_tests import Written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Spoilt(SQLiteStore):
    """A store of which another program spoils entries."""

    def spoil(self, name: str, number: int) -> None:
        self._execute(
            "INSERT INTO entries SELECT id, :number, 0, NULL, '{half' FROM logs WHERE name = :name",
            {"name": name, "number": number},
        )

    def _execute(self, statement: str, values: dict[str, object]) -> None:
        with closing(sqlite3.connect(self.path, timeout=DEADLINE, isolation_level=None)) as db:
            assert db.execute(statement, values).rowcount == 1


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Spoilt]:
    with Spoilt(tmp_path / "logs.db") as store:
        yield store


def test_who_follows_another_log_follows_on(store: Spoilt) -> None:
    with Hub(store, patience=0.1) as hub:
        good, bad = Written(store, "good"), Written(store, "bad")
        followed, spoilt = Inbox(), Inbox()
        hub.ref("good").subscribe(followed)
        hub.ref("bad").subscribe(spoilt)
        store.spoil("bad", bad.count)
        assert isinstance(spoilt.next().error, Unreadable)
        good.end()
        assert isinstance(followed.next(), ChatDone)


def test_a_job_whose_log_cannot_be_read_fails_alone(store: Spoilt, client: Client) -> None:
    with Hub(store) as hub:
        first = hub.submit(dict(ASK), id="first")
        store.take("jobs", "ghost", 1)
        Written(store, first, holder=None)
        store.spoil(first, 1)
        second = hub.submit(dict(ASK), id="second")
        with Worker(client, store):
            assert hub.result(second, timeout=DEADLINE)
            until(lambda: store.job("jobs", first) is None)
        with pytest.raises(Unreadable):
            hub.result(first, timeout=DEADLINE)


def test_a_chat_whose_inbox_cannot_be_read_goes_on(store: Spoilt, caplog: pytest.LogCaptureFixture) -> None:
    with Hub(store) as hub:
        writer = hub.to("a")
        store.spoil("a/inbox", 1)
        until(lambda: "hears of no cancel" in caplog.text)
        writer.release()


def test_a_conversation_whose_inbox_cannot_be_read_goes_on_and_others_hear(
    store: Spoilt, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = (client.converse(Agent(model=ASK["model"]), store=store, id=name) for name in ("bad", "good"))
    talks = Conversations(store)
    store.spoil("bad/inbox", 1)
    until(lambda: "hears nothing more" in caplog.text)
    talks.stop("good")
    until(lambda: not good.is_alive())
    assert bad.say("Hello").result(timeout=DEADLINE)
    bad.stop()
    assert talks.names() == ["bad", "good"]
    with pytest.raises(Unreadable):
        list(talks.follow("bad/inbox", timeout=1))
    with pytest.raises(Unreadable):
        client.converse(Agent(model=ASK["model"]), store=store, id="bad")


def test_a_conversation_whose_log_cannot_be_read_and_whose_inbox_is_another_keeps_nobody_from_hearing(
    store: Spoilt, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = (client.converse(Agent(model=ASK["model"]), store=store, id=name) for name in ("bad", "good"))
    assert bad.say("Hello").result(timeout=DEADLINE)
    state = store.state("bad")
    assert state is not None
    store.spoil("bad", state.length)
    store.delete("bad/inbox")
    until(lambda: "hears nothing more" in caplog.text)
    Conversations(store).stop("good")
    until(lambda: not good.is_alive())


def test_a_log_that_cannot_be_read_is_counted(store: Spoilt) -> None:
    store.claim("bad")
    store.spoil("bad", 0)
    done = CliRunner().invoke(command, ["stats", f"sqlite:{store.path}"])
    assert (done.exit_code, "logs: 1 open" in done.output) == (0, True)
    done = CliRunner().invoke(command, ["show", f"sqlite:{store.path}", "bad"])
    assert (done.exit_code, "entry 0 of the log 'bad' cannot be read" in done.output) == (1, True)


@pytest.fixture
def client() -> Iterator[Client]:
    with Emulator() as emulator, Client("sk-test", base_url=emulator.url) as client:
        yield client
