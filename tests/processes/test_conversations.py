"""Conversations that outlive their processes: killed, stopped, left at any moment, another goes on with them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from anthropix_actors import Client, Conversations
from anthropix_actors.emulator import Emulator, Reply, ToolCall
from anthropix_actors.stores import Held, SQLiteStore

import torn
from servers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from programs import Programs

pytestmark = pytest.mark.untraced

KILLS = 25
TALKS = 4


@pytest.fixture
def world(tmp_path: Path) -> Iterator[torn.Torn]:
    with torn.Torn(tmp_path) as world:
        yield world


def test_whenever_a_process_is_killed_another_goes_on_and_nothing_is_done_twice(world: torn.Torn) -> None:
    failures: list[BaseException] = []

    def kill(name: str, seed: int) -> None:
        try:
            torn.torture(world, name, kills=KILLS, seed=seed)
        except BaseException as exc:  # noqa: BLE001 - raised below
            failures.append(exc)

    threads = [threading.Thread(target=kill, args=(f"talk-{n}", n)) for n in range(TALKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert world.errors == ""


def taken_over(client: Client, world: torn.Torn, name: str, lease: float) -> Any:
    """Return a conversation as soon as nobody holds it."""
    while True:
        try:
            return client.converse(torn.agent_of(world.effects(name)), store=world.store, id=name, lease=lease)
        except Held as exc:
            held = str(exc)
        assert "some 1 s after its end; take_over=True takes it now" in held


def test_a_process_that_was_stopped_finds_as_it_wakes_that_another_goes_on(world: torn.Torn) -> None:
    name, lease = "slow", 1.0
    talks = Conversations(world.store)
    talks.say(name, "say 0")
    stopped = world.begin(name, lease=lease, take_over=False)
    effects = world.folder / name
    until(lambda: effects.exists() and effects.read_text("utf-8").count("begins") == 2)
    os.kill(stopped, signal.SIGSTOP)
    try:
        with Client("key", base_url=world.emulator.url) as client:
            talk = taken_over(client, world, name, lease)
            for turn in talk.turns:
                turn.result(DEADLINE)
            os.kill(stopped, signal.SIGCONT)
            until(lambda: not torn.lives(stopped))
            torn.check(world, name, says=1)
            talk.say("say 1").result(DEADLINE)
            torn.check(world, name, says=2)
            talk.stop(timeout=DEADLINE)
    finally:
        if torn.lives(stopped):
            os.kill(stopped, signal.SIGKILL)
    assert world.errors == ""


CLERK = """
import sys, threading
from anthropix_actors import *
from anthropix_actors.stores import SQLiteStore
from anthropix_actors.subscribers import to_function

@tool(approve=True)
def send(to: str) -> str:
    "Send it."
    return f"sent to {to}"

asked, ended = threading.Event(), threading.Event()

def tell(message):
    if isinstance(message, ApprovalNeeded):
        asked.set()
    elif isinstance(message, (TurnDone, TurnSuspended)):
        print(type(message).__name__, flush=True)
        ended.set()

client = Client("key", base_url=sys.argv[1], proxy="")
agent = Agent(model="claude-sonnet-5", tools=[send])
talk = client.converse(agent, stream=to_function(tell), store=SQLiteStore(sys.argv[2]), id="a")
if not talk.turns:
    talk.say("Write to Ada.")
(asked if sys.argv[3] == "leave" else ended).wait(10)
"""


def test_a_turn_that_waits_for_approval_outlives_the_exit_of_its_program(programs: Programs, tmp_path: Path) -> None:
    with Emulator() as emulator:
        emulator.queue(Reply([ToolCall("send", {"to": "Ada"})]), Reply(["Done."]))
        arguments = [emulator.url, str(tmp_path / "talks.db")]

        def run(how: str) -> str:
            program = programs.run([sys.executable, "-P", "-W", "error", "-c", CLERK, *arguments, how])
            out, err = program.communicate(timeout=3 * DEADLINE)
            assert not err
            return out.strip()

        assert run("leave") == "TurnSuspended"
        with closing(SQLiteStore(arguments[1])) as store:
            talks = Conversations(store)
            [asked] = talks.approvals("a")
            assert talks.answer("a", asked, allow=True, by="eva")
            assert run("stay") == "TurnDone"  # at once: the lease of the first is 10 s, but it has given it up
            assert "sent to Ada" in str(talks.history("a"))


LEAVES = """
import sys
from anthropix_actors import *
from anthropix_actors.stores import SQLiteStore

store = SQLiteStore(sys.argv[2])
client = Client("key", base_url=sys.argv[1], proxy="")
with client if sys.argv[3] == "closed" else Client("other"):
    talk = client.converse(Agent(model="claude-sonnet-5"), store=store, id="a")
    talk.say("Hi").result(10)
"""


@pytest.mark.parametrize("how", ["closed", "left"])
def test_a_conversation_is_free_at_once_when_its_program_ends_without_a_stop(
    programs: Programs, tmp_path: Path, how: str
) -> None:
    with Emulator() as emulator:
        command = [sys.executable, "-P", "-W", "error", "-c", LEAVES, emulator.url, str(tmp_path / "talks.db"), how]
        for turns in range(1, 6):
            out, err = programs.run(command).communicate(timeout=3 * DEADLINE)
            assert (out, err) == ("", "")  # no `Held`
            with SQLiteStore(tmp_path / "talks.db") as store:
                assert len(Conversations(store).history("a")) == 2 * turns
